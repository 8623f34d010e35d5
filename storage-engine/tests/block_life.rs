//! The life of data over the real disk, against a model: heads become blocks, blocks become larger ones, deletions and retention take
//! data away, snapshots copy it, and after every step and every restart the store answers what the model says.
#![allow(clippy::unwrap_used, reason = "a test")]

use ferula_storage_engine::maintenance::{MaintenanceOptions, RetentionSettings};
use ferula_storage_engine::model::{FloatHistogram, Labels, Matcher, SampleColumns};
use ferula_storage_engine::shard::{ShardReader, StartSettings};
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendMode, HistogramSample, ReadNotes, SampleSeries, ShardRunner, ShardTask,
    TaskState, TimeRange,
};
use ferula_storage_engine::store::offline::OfflineStore;
use ferula_storage_engine::store::{OpenError, RuntimeChoice, Store, StoreOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[path = "block_life/offline.rs"]
mod offline;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
/// Start of the data; not aligned to anything.
const START: i64 = 1_000_003_000;
/// Width of a sealed block.
const RANGE: i64 = 10_000;
const SHARDS: usize = 2;
const SERIES: u32 = 30;

/// The value of a sample: bits of a float, or the count of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Float(u64),
    Histogram(u64),
}

/// What should be stored: by labels, then by time.
type Model = BTreeMap<String, BTreeMap<i64, Value>>;

fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        shard_count: Some(SHARDS),
        runtime: RuntimeChoice::Tokio,
        pin_threads: false,
        out_of_bounds_window_ms: Some(RANGE / 2),
        starts: StartSettings {
            keep: true,
            zero_sample: false,
        },
        maintenance: MaintenanceOptions {
            block_range_ms: RANGE,
            block_range_max_ms: Some(9 * RANGE),
            retention: RetentionSettings {
                time_ms: None,
                ..RetentionSettings::default()
            },
            page_samples_max: 7,
            ..MaintenanceOptions::default()
        },
        ..StoreOptions::new(dir)
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(120), future).await };
    runtime.block_on(bounded).unwrap()
}

fn open(dir: &Path) -> Store {
    let store = Store::open(options(dir)).unwrap();
    wait(store.wait_ready()).unwrap();
    store
}

fn labels(series: u32) -> Labels {
    let metric = ["requests_total", "memory_bytes", "up"][series as usize % 3];
    Labels::from_pairs([("__name__", metric.to_owned()), ("id", series.to_string())]).unwrap()
}

/// A value that is hard to keep now and then: payloads of NaN, -0.0, infinities, noise.
fn bits(series: u32, step: i64) -> u64 {
    match (i64::from(series) * 31 + step) % 11 {
        0 => 0x7ff0_0000_0000_0002,
        1 => (-0.0_f64).to_bits(),
        2 => f64::NEG_INFINITY.to_bits(),
        3 => 0x7ff8_0000_dead_beef,
        4 => (step as f64 * 0.1 + f64::from(series)).to_bits(),
        _ => (step as f64).to_bits(),
    }
}

fn histogram(count: u64) -> FloatHistogram {
    FloatHistogram {
        count: count as f64,
        zero_count: count as f64,
        zero_threshold: 0.001,
        ..FloatHistogram::default()
    }
}

/// Since when a sample counts: unknown, anew now and then, or known now and then. Late samples count as those before them.
fn start(series: u32, t: i64) -> i64 {
    let step = (t - START).div_euclid(1000);
    match series % 3 {
        0 => 0,
        1 => START - 1 + step / 17 * 17_000,
        _ if step / 25 % 2 == 1 => 0,
        _ => START - 2 + step / 50 * 50_000,
    }
}

fn key(labels: &Labels) -> String {
    format!("{labels:?}")
}

/// One sample of each series at step `step`, a second after the last; every tenth series has histograms.
fn append(store: &Store, model: &mut Model, step: i64) {
    let t = START + step * 1000;
    let mut batches: Vec<AppendBatch> = (0..SHARDS).map(|_| AppendBatch::default()).collect();
    for series in 0..SERIES {
        // Some series come late, some end early.
        if (series % 7 == 3 && step < 40) || (series % 7 == 5 && step > 60) {
            continue;
        }
        let labels = labels(series);
        let batch = &mut batches[store.shard_of(labels.route_hash())];
        let new = SampleSeries::New(batch.new_series.push(labels.as_bytes()));
        let value = if series % 10 == 9 {
            batch.histograms.push(HistogramSample {
                series: new,
                timestamp: t,
                histogram: Arc::new(histogram(step as u64)),
            });
            batch.histogram_start_of_last(start(series, t));
            Value::Histogram(step as u64)
        } else {
            let bits = bits(series, step);
            batch.series.push(new);
            batch.timestamps.push(t);
            batch.values.push(f64::from_bits(bits));
            batch.start_of_last(start(series, t));
            Value::Float(bits)
        };
        model.entry(key(&labels)).or_default().insert(t, value);
    }
    for (shard, batch) in batches.into_iter().enumerate() {
        let count = batch.sample_count() as u32;
        let outcome = wait(store.append(shard, batch, AppendMode::Partial)).unwrap();
        assert_eq!(outcome.accepted, count, "{:?}", outcome.rejections);
    }
}

/// Reads everything out of a shard.
struct Dump(mpsc::Sender<Model>);

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut all = Model::new();
        let selection = shard.select(&[], ALL);
        let mut notes = ReadNotes::default();
        for series in 0..selection.len() {
            let mut columns = SampleColumns::default();
            let mut histograms = Vec::new();
            shard.read(&selection, series, ALL, &mut columns, &mut notes);
            shard.read_histograms(&selection, series, ALL, &mut histograms, &mut notes);
            assert!(columns.timestamps.is_sorted_by(|a, b| a < b));
            let floats = columns.timestamps.iter().zip(&columns.values);
            let floats = floats.map(|(t, v)| (*t, Value::Float(v.to_bits())));
            let histograms = histograms
                .iter()
                .map(|(t, h)| (*t, Value::Histogram(h.count as u64)));
            let samples: BTreeMap<i64, Value> = floats.chain(histograms).collect();
            let labels = shard.labels(&selection, series);
            let id = labels.value("id").parse().unwrap();
            let mut starts = Vec::new();
            shard.read_starts(&selection, series, ALL, &mut starts);
            assert!(starts.is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1));
            for &t in samples.keys() {
                let begun = starts.partition_point(|(from, _)| *from <= t);
                let found = begun.checked_sub(1).map_or(0, |run| starts[run].1);
                assert_eq!(found, start(id, t), "start of {labels} at {t}: {starts:?}");
            }
            if !samples.is_empty() {
                let before = all.insert(key(&labels), samples);
                assert!(before.is_none(), "a series came twice");
            }
        }
        assert_eq!(notes.damage, Vec::<String>::new());
        self.0.send(all).unwrap();
        TaskState::Done
    }
}

fn dump(store: &Store) -> Model {
    let mut all = Model::new();
    for shard in 0..store.shard_count() {
        let (sender, receiver) = mpsc::channel();
        assert!(store.submit(shard, Box::new(Dump(sender))).is_ok());
        all.extend(receiver.recv_timeout(Duration::from_secs(60)).unwrap());
    }
    all
}

fn check(store: &Store, model: &Model, when: &str) {
    let stored = dump(store);
    let filled: Vec<_> = model.iter().filter(|(_, s)| !s.is_empty()).collect();
    assert_eq!(stored.len(), filled.len(), "{when}: series");
    for (labels, samples) in filled {
        let found = stored.get(labels);
        let found = found.unwrap_or_else(|| panic!("{when}: {labels} is missing"));
        assert!(
            found == samples,
            "{when}: {labels}: {found:?} is not {samples:?}"
        );
    }
}

fn maintain(store: &Store) {
    wait(store.maintain()).unwrap();
}

/// Steps of data sealed and compacted, checked as they come.
fn fill(store: &Store, model: &mut Model, steps: std::ops::Range<i64>) {
    for step in steps {
        append(store, model, step);
        if step % 20 == 19 {
            maintain(store);
            check(store, model, &format!("after step {step}"));
        }
    }
}

fn equals(name: &str, value: &str) -> Matcher {
    Matcher::equal(name, value)
}

#[test]
fn heads_become_blocks_and_restarts_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    fill(&store, &mut model, 0..150);
    let blocks = store.blocks();
    assert!(blocks.iter().any(|b| b.level >= 2), "{blocks:?}");
    for pair in blocks.windows(2).filter(|p| p[0].shard == p[1].shard) {
        assert!(pair[0].max_time < pair[1].min_time, "{pair:?}");
    }
    let stats = store.maintenance_stats();
    assert_eq!(stats.blocks, blocks.len() as u64);
    assert_eq!(stats.compactions_failed, 0);
    assert!(
        stats.compactions_triggered > 20 && stats.head_truncations > 20,
        "{stats:?}"
    );
    let busy = OfflineStore::open(dir.path(), &mut |_, _| ());
    assert!(matches!(busy, Err(OpenError::Lock(_))), "it is in use");
    let one = OfflineStore::open_block(dir.path(), blocks[0].id).unwrap();
    let selected = one.select(&[Vec::new()], ALL, &mut ReadNotes::default());
    assert_eq!(selected.labels().count(), blocks[0].series as usize);
    drop(store);
    offline::check(dir.path(), &model, "before a restart");
    for restart in 0..3 {
        let store = open(dir.path());
        check(&store, &model, &format!("restart {restart}"));
        fill(&store, &mut model, 150 + 30 * restart..180 + 30 * restart);
        wait(store.shutdown());
        drop(store);
        offline::check(dir.path(), &model, &format!("after restart {restart}"));
    }
    assert!(open(dir.path()).quarantined().is_empty());
}

/// Samples that come late, between those that are there and at their times; the latter change nothing.
fn append_late(store: &Store, model: &mut Model, step: i64) {
    let mut batches: Vec<AppendBatch> = (0..SHARDS).map(|_| AppendBatch::default()).collect();
    for series in (0..SERIES).filter(|s| s % 4 == 0 && s % 7 != 3 && s % 7 != 5 && s % 10 != 9) {
        let labels = labels(series);
        let batch = &mut batches[store.shard_of(labels.route_hash())];
        for late in [25_500, 25_000, 3_700] {
            let t = START + step * 1000 - late;
            let new = SampleSeries::New(batch.new_series.push(labels.as_bytes()));
            batch.series.push(new);
            batch.timestamps.push(t);
            batch.values.push(late as f64);
            let samples = model.entry(key(&labels)).or_default();
            samples
                .entry(t)
                .or_insert_with(|| Value::Float((late as f64).to_bits()));
        }
    }
    for (shard, batch) in batches.into_iter().enumerate() {
        wait(store.append(shard, batch, AppendMode::Partial)).unwrap();
    }
}

#[test]
fn late_samples_find_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    wait(store.set_out_of_order_window(60_000));
    for step in 0..150 {
        append(&store, &mut model, step);
        if step > 30 && step % 3 == 0 {
            append_late(&store, &mut model, step);
        }
        if step % 20 == 19 {
            check(&store, &model, &format!("before sealing after step {step}"));
            maintain(&store);
            check(&store, &model, &format!("after step {step}"));
        }
    }
    let stats = store.maintenance_stats();
    assert!(stats.vertical_compactions > 0, "{stats:?}");
    assert_eq!(stats.compactions_failed, 0);
    let late: usize = model
        .values()
        .map(|s| s.keys().filter(|t| *t % 1000 != 0).count())
        .sum();
    assert!(late > 300, "{late}");
    append_late(&store, &mut model, 150);
    drop(store);
    offline::check(dir.path(), &model, "late ones in the head too");
    let store = open(dir.path());
    check(&store, &model, "after a restart");
    maintain(&store);
    check(&store, &model, "after a restart and a round");
}

#[test]
fn deletions_hold_through_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    fill(&store, &mut model, 0..95);
    let delete = |store: &Store, model: &mut Model, matcher: Matcher, range: TimeRange| {
        wait(store.delete_series(vec![matcher.clone()], range)).unwrap();
        for series in (0..SERIES).map(labels) {
            if matcher.matches(series.value(&matcher.name))
                && let Some(samples) = model.get_mut(&key(&series))
            {
                samples.retain(|t, _| !range.contains(*t));
            }
        }
    };
    let range = |from: i64, to: i64| TimeRange {
        min: START + from * 1000,
        max: START + to * 1000,
    };
    delete(&store, &mut model, equals("__name__", "up"), range(15, 91));
    check(&store, &model, "a metric over blocks and head");
    delete(&store, &mut model, equals("id", "7"), ALL);
    check(&store, &model, "a series for good");
    delete(&store, &mut model, equals("id", "9"), range(0, 30));
    check(&store, &model, "histograms");
    assert!(store.block_states().iter().any(|b| b.tombstones > 0));
    drop(store);
    offline::check(dir.path(), &model, "deleted in blocks and head");
    let store = open(dir.path());
    check(&store, &model, "after a restart");
    // The series may come back with newer samples.
    fill(&store, &mut model, 95..120);
    wait(store.clean_tombstones()).unwrap();
    assert!(store.block_states().iter().all(|b| b.tombstones == 0));
    check(&store, &model, "cleaned");
    drop(store);
    let store = open(dir.path());
    check(&store, &model, "cleaned and restarted");
    fill(&store, &mut model, 120..150);
}

#[test]
fn a_snapshot_is_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    fill(&store, &mut model, 0..75);
    let whole = wait(store.snapshot("whole", true)).unwrap();
    let blocks_only = wait(store.snapshot("blocks-only", false)).unwrap();
    assert_eq!(whole, dir.path().join("snapshots/whole"));
    let blocks = store.blocks();
    let at_snapshot = model.clone();
    // What happens afterwards is not in it.
    wait(store.delete_series(vec![equals("__name__", "up")], ALL)).unwrap();
    wait(store.clean_tombstones()).unwrap();
    drop(store);
    offline::check(&whole, &at_snapshot, "the snapshot offline");
    let copy = open(&whole);
    check(&copy, &at_snapshot, "the snapshot");
    let mut continued = at_snapshot.clone();
    fill(&copy, &mut continued, 75..110);
    drop(copy);
    check(&open(&whole), &continued, "the snapshot, restarted");
    let copy = open(&blocks_only);
    let mut ids: Vec<_> = copy.blocks().iter().map(|b| b.id).collect();
    let mut wanted: Vec<_> = blocks.iter().map(|b| b.id).collect();
    ids.sort();
    wanted.sort();
    assert_eq!(ids, wanted, "the blocks and nothing else");
    let samples: usize = dump(&copy).values().map(BTreeMap::len).sum();
    let counted: u64 = blocks
        .iter()
        .map(|b| b.float_samples + b.histogram_samples)
        .sum();
    assert_eq!(samples as u64, counted);
    for bad in ["", "../x", ".hidden", "a/b"] {
        assert!(wait(copy.snapshot(bad, false)).is_err(), "{bad:?}");
    }
    // A snapshot that was not finished has no manifest and does not open.
    std::fs::remove_file(whole.join("ferula.json")).unwrap();
    assert!(matches!(
        Store::open(options(&whole)),
        Err(OpenError::Manifest { .. })
    ));
}

#[test]
fn retention_takes_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    fill(&store, &mut model, 0..200);
    drop(store);
    // Data ran faster than the clock here; a start believes what it finds.
    let store = open(dir.path());
    let newest = START + 199_000;
    let kept = 100_000;
    store.set_retention(RetentionSettings {
        time_ms: Some(kept),
        ..RetentionSettings::default()
    });
    let before = store.blocks();
    maintain(&store);
    let after = store.blocks();
    assert!(after.len() < before.len());
    for block in &before {
        let expected = block.max_time >= newest - kept;
        assert_eq!(
            after.iter().any(|b| b.id == block.id),
            expected,
            "{block:?}"
        );
    }
    assert_eq!(store.maintenance_stats().time_retentions, SHARDS as u64);
    // By size: what the log leaves of the budget goes to the newest blocks.
    let stats = store.maintenance_stats();
    let mut by_time = after.clone();
    by_time.sort_by_key(|b| b.max_time);
    let [.., second_block, newest_block] = by_time.as_slice() else {
        panic!("too few blocks: {after:?}");
    };
    // Taking blocks away makes the log grow a little; the second block just does not fit.
    let slack = second_block.bytes - 1;
    store.set_retention(RetentionSettings {
        time_ms: None,
        size_bytes: Some(stats.log_bytes + newest_block.bytes + slack),
        size_percent: None,
    });
    maintain(&store);
    maintain(&store);
    let left = store.blocks();
    assert_eq!(
        left.iter().map(|b| b.id).collect::<Vec<_>>(),
        [newest_block.id]
    );
    drop(store);
    assert_eq!(open(dir.path()).blocks().len(), 1);
}

#[test]
fn a_damaged_block_is_put_aside_and_the_rest_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let store = open(dir.path());
    fill(&store, &mut model, 0..60);
    let victim = store.blocks()[0].clone();
    drop(store);
    let blocks = dir.path().join(format!("shard-{:03}/blocks", victim.shard));
    let path = blocks.join(format!("{}.block", victim.id));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Left from crashes: they go.
    std::fs::write(blocks.join("left.tmp"), b"half").unwrap();
    let (found, damage) = offline::read(dir.path());
    assert!(damage[0].contains(&victim.id.to_string()), "{damage:?}");
    let count = |model: &Model| model.values().map(BTreeMap::len).sum::<usize>() as u64;
    let lost = victim.float_samples + victim.histogram_samples;
    assert_eq!(count(&found), count(&model) - lost);
    for restart in 0..2 {
        let store = open(dir.path());
        assert_eq!(store.quarantined().len(), 1, "restart {restart}");
        assert!(store.quarantined()[0].contains(&victim.id.to_string()));
        assert!(store.blocks().iter().all(|b| b.id != victim.id));
        assert!(!path.exists() && !blocks.join("left.tmp").exists());
        assert!(blocks.join(format!("{}.damaged", victim.id)).exists());
    }
}
