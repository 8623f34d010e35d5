//! Truncation against a plain map, in slices between appends; slots that come back; tasks that are waited for.

use super::*;
use crate::model::{BucketSpan, FloatHistogram, Labels, SeriesRef, SeriesSamples};
use crate::shard_api::{HistogramSample, RejectReason, SampleSeries, TimeRange};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }
}

fn labels(i: u64) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("metric_{}", i % 5)),
        ("id", i.to_string()),
    ])
    .unwrap()
}

fn histogram(n: u64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        schema: 1,
        count: n as f64,
        positive_spans: vec![BucketSpan {
            offset: 0,
            length: 1,
        }],
        positive_buckets: vec![n as f64],
        integer: true,
        ..FloatHistogram::default()
    })
}

/// A stored value: float bits or the count of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Float(u64),
    Histogram(u64),
}

/// What the shard should hold, by series.
type Plain = BTreeMap<u64, BTreeMap<TimestampMs, Kept>>;

fn contents(shard: &Shard, range: TimeRange) -> BTreeMap<Labels, Vec<(TimestampMs, Kept)>> {
    let reader = shard.reader();
    let mut all = BTreeMap::new();
    for slot in reader.head_slots(range) {
        let mut out = SeriesSamples::default();
        reader.read_head(slot, range, &mut out);
        let floats = out.floats.timestamps.iter().zip(&out.floats.values);
        let mut samples: Vec<_> = floats
            .map(|(t, v)| (*t, Kept::Float(v.to_bits())))
            .collect();
        let histograms = out.histograms.iter();
        samples.extend(histograms.map(|(t, h)| (*t, Kept::Histogram(h.count as u64))));
        samples.sort_by_key(|(t, _)| *t);
        let mut canonical = Vec::new();
        reader.put_canonical(slot, &mut canonical);
        if !samples.is_empty() {
            all.insert(Labels::from_stored(&canonical), samples);
        }
    }
    all
}

fn expected(plain: &Plain, range: TimeRange) -> BTreeMap<Labels, Vec<(TimestampMs, Kept)>> {
    let mut all = BTreeMap::new();
    for (i, samples) in plain {
        let samples: Vec<_> = samples
            .range(range.min..=range.max)
            .map(|(t, kept)| (*t, *kept))
            .collect();
        if !samples.is_empty() {
            all.insert(labels(*i), samples);
        }
    }
    all
}

/// Takes an event and answers the log at once.
fn feed(shard: &mut Shard, event: Event) -> Option<AppendOutcome> {
    let mut actions = Vec::new();
    let mut outcome = None;
    shard.on(0, event, &mut actions);
    while !actions.is_empty() {
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Log { lsn, .. } => {
                    let done = Event::LogDone {
                        lsn,
                        result: Ok(lsn),
                    };
                    shard.on(0, done, &mut actions);
                }
                Action::Reply { result, .. } => outcome = Some(result.unwrap()),
                _ => {}
            }
        }
    }
    outcome
}

fn append(shard: &mut Shard, batch: AppendBatch) -> AppendOutcome {
    let event = Event::Append {
        request: 1,
        batch: Box::new(batch),
        mode: AppendMode::Partial,
    };
    feed(shard, event).unwrap()
}

/// One float for one series by its labels.
fn append_one(shard: &mut Shard, i: u64, t: TimestampMs, v: f64) -> AppendOutcome {
    let mut batch = AppendBatch::default();
    let new = batch.new_series.push(labels(i).as_bytes());
    batch.series.push(SampleSeries::New(new));
    batch.timestamps.push(t);
    batch.values.push(v);
    append(shard, batch)
}

fn truncate(shard: &mut Shard, before: TimestampMs) {
    shard.truncate_head(before);
    while shard.slice() {}
}

fn unbounded() -> ShardConfig {
    ShardConfig {
        out_of_bounds_window_ms: None,
        ..ShardConfig::default()
    }
}

/// Appends a batch for some series, by reference where one is known, as a sender would: a reference that is refused is
/// forgotten and the labels are sent.
fn random_batch(
    random: &mut Random,
    shard: &mut Shard,
    plain: &mut Plain,
    known: &mut BTreeMap<u64, SeriesRef>,
    clock: &mut BTreeMap<u64, TimestampMs>,
    sealed: TimestampMs,
) {
    let mut batch = AppendBatch::default();
    let mut floats = Vec::new();
    let mut histograms = Vec::new();
    let base = 20 * random.below(20);
    for _ in 0..random.below(300) {
        let i = base + random.below(60);
        let t = clock.entry(i).or_insert(sealed);
        *t = (*t).max(sealed) + 1 + random.below(30) as i64;
        let kind = if i.is_multiple_of(7) && random.below(2) == 0 {
            Kept::Histogram(random.below(100))
        } else {
            Kept::Float(((random.below(1000) as f64) / 8.0).to_bits())
        };
        match kind {
            Kept::Float(_) => floats.push((i, *t, kind)),
            // Histograms come after all floats of a batch.
            Kept::Histogram(_) => histograms.push((i, *t, kind)),
        }
    }
    // A float behind a histogram in time would be out of order here: such floats are left out.
    let mut newest_histogram: BTreeMap<u64, TimestampMs> = BTreeMap::new();
    for (i, t, _) in &histograms {
        let first = newest_histogram.entry(*i).or_insert(*t);
        *first = (*first).min(*t);
    }
    floats.retain(|(i, t, _)| newest_histogram.get(i).is_none_or(|first| t < first));
    let mut sent = Vec::new();
    let mut new = BTreeMap::new();
    for &(i, t, kind) in floats.iter().chain(&histograms) {
        let who = match known.get(&i) {
            Some(reference) => SampleSeries::Known(*reference),
            None => SampleSeries::New(
                *new.entry(i)
                    .or_insert_with(|| batch.new_series.push(labels(i).as_bytes())),
            ),
        };
        match kind {
            Kept::Float(bits) => {
                batch.series.push(who);
                batch.timestamps.push(t);
                batch.values.push(f64::from_bits(bits));
            }
            Kept::Histogram(n) => batch.histograms.push(HistogramSample {
                series: who,
                timestamp: t,
                histogram: histogram(n),
            }),
        }
        sent.push((i, t, kind));
    }
    let outcome = append(shard, batch);
    let refused: BTreeMap<u32, RejectReason> = outcome
        .rejections
        .iter()
        .map(|r| (r.sample, r.reason))
        .collect();
    for (i, entry) in new {
        if let Some(Some(reference)) = outcome.created.get(entry as usize) {
            known.insert(i, *reference);
        }
    }
    for (at, (i, t, kind)) in sent.into_iter().enumerate() {
        match refused.get(&(at as u32)) {
            None => {
                plain.entry(i).or_default().insert(t, kind);
            }
            Some(RejectReason::UnknownSeries) => {
                assert!(!plain.contains_key(&i), "series {i} is there");
                known.remove(&i);
            }
            Some(reason) => panic!("series {i} at {t}: {reason}"),
        }
    }
}

#[test]
fn random_appends_and_truncations_agree_with_a_map() {
    for seed in 1..30 {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut shard = Shard::new(unbounded());
        let mut plain = Plain::new();
        let mut known = BTreeMap::new();
        let mut clock = BTreeMap::new();
        let mut sealed = 0;
        for _ in 0..60 {
            random_batch(
                &mut random,
                &mut shard,
                &mut plain,
                &mut known,
                &mut clock,
                sealed,
            );
            for _ in 0..random.below(4) {
                shard.slice();
            }
            if shard.is_truncated() {
                assert_eq!(contents(&shard, ALL), expected(&plain, ALL));
                assert_eq!(shard.stats().series, plain.len() as u64);
            } else {
                let kept = TimeRange {
                    min: sealed,
                    max: i64::MAX,
                };
                assert_eq!(contents(&shard, kept), expected(&plain, kept));
            }
            match random.below(6) {
                0 => {
                    sealed += random.below(400) as i64;
                    shard.truncate_head(sealed);
                    // A series that is gone for the oracle is refused by reference only when its turn has come; the
                    // truncation begins at once, no task is in its way.
                    while random.below(3) > 0 && shard.slice() {}
                    for samples in plain.values_mut() {
                        *samples = samples.split_off(&sealed);
                    }
                    while shard.slice() {}
                    plain.retain(|_, samples| !samples.is_empty());
                    known.retain(|i, _| random.below(2) == 0 || plain.contains_key(i));
                }
                1 => shard.release_slots(shard.stats().commits),
                _ => {}
            }
        }
        truncate(&mut shard, i64::MAX);
        let stats = shard.stats();
        assert_eq!((stats.series, stats.samples, stats.chunks), (0, 0, 0));
        assert_eq!((stats.sealed_chunk_bytes, stats.histogram_samples), (0, 0));
        assert!(contents(&shard, ALL).is_empty());
    }
}

#[test]
fn a_removed_series_is_unknown_and_its_slot_waits_for_a_checkpoint() {
    let mut shard = Shard::new(unbounded());
    let old = append_one(&mut shard, 1, 1000, 1.0).created[0].unwrap();
    let kept = append_one(&mut shard, 2, 5000, 1.0).created[0].unwrap();
    truncate(&mut shard, 2000);
    assert_eq!(shard.stats().series, 1);
    let mut batch = AppendBatch::default();
    for series in [old, kept] {
        batch.series.push(SampleSeries::Known(series));
        batch.timestamps.push(6000);
        batch.values.push(2.0);
    }
    let outcome = append(&mut shard, batch);
    assert_eq!(outcome.accepted, 1);
    assert_eq!(outcome.rejections[0].reason, RejectReason::UnknownSeries);
    // The labels bring it back, in another slot as long as no checkpoint covers the old one.
    let again = append_one(&mut shard, 1, 6000, 2.0).created[0].unwrap();
    assert_ne!(again.index, old.index);
    shard.release_slots(u64::MAX);
    let next = append_one(&mut shard, 3, 6000, 2.0).created[0].unwrap();
    assert_eq!(next.index, old.index);
    assert!(next.generation > old.generation);
    let never = append_one(&mut shard, 4, 6000, 2.0).created[0].unwrap();
    assert_eq!(never.index, 3);
}

#[test]
fn samples_before_a_truncation_are_out_of_bounds() {
    let mut shard = Shard::new(unbounded());
    append_one(&mut shard, 1, 5000, 1.0);
    shard.truncate_head(2000);
    let outcome = append_one(&mut shard, 2, 1999, 1.0);
    assert_eq!(outcome.rejections[0].reason, RejectReason::OutOfBounds);
    assert_eq!(append_one(&mut shard, 2, 2000, 1.0).accepted, 1);
}

/// Reads all samples of the head in each of its slices until it is told to end.
struct Watcher {
    end: Arc<AtomicBool>,
    seen: Arc<std::sync::Mutex<Vec<u64>>>,
}

impl ShardTask for Watcher {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut out = SeriesSamples::default();
        for slot in shard.head_slots(ALL) {
            shard.read_head(slot, ALL, &mut out);
        }
        self.seen.lock().unwrap().push(out.len() as u64);
        if self.end.load(Ordering::Relaxed) {
            TaskState::Done
        } else {
            TaskState::More
        }
    }
}

#[test]
fn a_truncation_waits_for_older_tasks_and_not_for_newer_ones() {
    let mut shard = Shard::new(unbounded());
    for t in 0..10 {
        append_one(&mut shard, 1, t * 1000, 1.0);
    }
    let watch = |shard: &mut Shard| {
        let (end, seen) = (Arc::default(), Arc::default());
        let watcher = Watcher {
            end: Arc::clone(&end),
            seen: Arc::clone(&seen),
        };
        shard.on(0, Event::Task(Box::new(watcher)), &mut Vec::new());
        (end, seen)
    };
    let (old_end, old_seen) = watch(&mut shard);
    shard.truncate_head(5000);
    let (new_end, new_seen) = watch(&mut shard);
    for _ in 0..20 {
        assert!(shard.slice());
    }
    assert_eq!(*old_seen.lock().unwrap(), [10; 10]);
    assert!(!shard.is_truncated());
    old_end.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        assert!(shard.slice());
    }
    assert!(shard.is_truncated());
    assert_eq!(old_seen.lock().unwrap().last(), Some(&10));
    assert_eq!(new_seen.lock().unwrap().last(), Some(&5));
    new_end.store(true, Ordering::Relaxed);
    while shard.slice() {}
}

#[test]
fn a_stopping_shard_does_not_wait_for_truncations() {
    let mut shard = Shard::new(unbounded());
    append_one(&mut shard, 1, 1000, 1.0);
    shard.truncate_head(5000);
    let mut actions = Vec::new();
    shard.on(0, Event::Stop, &mut actions);
    assert!(!shard.slice());
}

#[test]
fn the_second_definition_of_a_removed_series_is_not_written() {
    let mut shard = Shard::new(unbounded());
    append_one(&mut shard, 1, 1000, 1.0);
    truncate(&mut shard, 2000);
    let mut actions = Vec::new();
    // The time for second definitions has come, and nothing is left to define.
    shard.on(u64::MAX / 2, Event::Tick, &mut actions);
    shard.on(u64::MAX, Event::Tick, &mut actions);
    assert!(
        !actions.iter().any(|a| matches!(a, Action::Log { .. })),
        "{actions:?}"
    );
    shard.on(u64::MAX, Event::Stop, &mut actions);
    assert!(matches!(actions.last(), Some(Action::Exit)));
}
