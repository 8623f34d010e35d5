//! The whole shard in the simulator: clients, commits, power cuts, restarts, against an oracle of what was acknowledged.
#![allow(clippy::unwrap_used, reason = "a test")]

use ferula_storage_engine::io::{CrashImage, Fault, SimulatedDisk};
use ferula_storage_engine::model::{
    BucketSpan, FloatHistogram, Labels, SampleColumns, SeriesRef, ShardId,
};
use ferula_storage_engine::runtime::ReplyReceiver;
use ferula_storage_engine::runtime::simulator::{SimulatedShard, SimulationOptions};
use ferula_storage_engine::shard::{ShardConfig, ShardReader};
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, HistogramSample, ReadNotes, SampleSeries, ShardTask,
    TaskState, TimeRange,
};
use ferula_storage_engine::wal::{AckMode, WalOptions, WalPlace};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
/// A series' number and a timestamp: the value follows from both.
type Sample = (u32, i64);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % bound
    }
}

fn options(seed: u64, ack: AckMode) -> SimulationOptions {
    SimulationOptions {
        seed,
        shard: ShardConfig {
            shard: ShardId(0),
            hash_seed: 1,
            out_of_bounds_window_ms: None,
            ..ShardConfig::default()
        },
        wal: WalOptions {
            place: WalPlace {
                dir: "/data/shard-000/wal".into(),
                store_id: [1; 16],
                shard: 0,
            },
            segment_bytes: 4_096,
            ack,
        },
        sync_interval_nanos: 200_000_000,
        mailbox_messages: 8,
        maintenance: None,
        wall_start_ms: 0,
    }
}

fn labels(series: u32) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("id", series.to_string())]).unwrap()
}

fn value((series, t): Sample) -> f64 {
    f64::from(series) * 1e6 + t as f64
}

/// Some series are of native histograms, one has both kinds.
fn is_histogram((series, t): Sample) -> bool {
    series % 4 == 3 || (series == 2 && t % 2 == 0)
}

fn histogram(sample: Sample) -> FloatHistogram {
    let count = value(sample);
    FloatHistogram {
        count,
        sum: count / 3.0,
        positive_spans: vec![BucketSpan {
            offset: sample.0 as i32 - 7,
            length: 1,
        }],
        positive_buckets: vec![count],
        integer: true,
        ..FloatHistogram::default()
    }
}

struct Dump(mpsc::Sender<BTreeSet<Sample>>);

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut all = BTreeSet::new();
        let selection = shard.select(&[], ALL);
        let mut notes = ReadNotes::default();
        for series in 0..selection.len() {
            let id = shard.label_value(&selection, series, "id");
            let id = id.parse().unwrap();
            let mut columns = SampleColumns::default();
            shard.read(&selection, series, ALL, &mut columns, &mut notes);
            for (&t, &found) in columns.timestamps.iter().zip(&columns.values) {
                assert_eq!(found, value((id, t)), "a value was invented");
                assert!(!is_histogram((id, t)), "a kind was invented");
                all.insert((id, t));
            }
            let mut histograms = Vec::new();
            shard.read_histograms(&selection, series, ALL, &mut histograms, &mut notes);
            let has = shard.has_histograms(&selection, series);
            assert_eq!(has, !histograms.is_empty());
            for (t, found) in histograms {
                assert!(found.same_bits(&histogram((id, t))), "{found:?}");
                assert!(is_histogram((id, t)), "a kind was invented");
                all.insert((id, t));
            }
        }
        self.0.send(all).unwrap();
        TaskState::Done
    }
}

fn dump(shard: &mut SimulatedShard) -> BTreeSet<Sample> {
    let (sender, receiver) = mpsc::channel();
    assert!(shard.submit(Box::new(Dump(sender))));
    loop {
        if let Ok(all) = receiver.try_recv() {
            return all;
        }
        assert!(shard.step(), "the dump was never run");
    }
}

/// A batch on its way.
struct Sent {
    samples: Vec<Sample>,
    new: Vec<u32>,
    answer: ReplyReceiver,
}

/// The outside world of one shard over several lives.
struct World {
    random: Random,
    clock: i64,
    refs: BTreeMap<u32, SeriesRef>,
    sent: Vec<Sent>,
    tried: BTreeSet<Sample>,
    acknowledged: Vec<Vec<Sample>>,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            clock: 1_000,
            refs: BTreeMap::new(),
            sent: Vec::new(),
            tried: BTreeSet::new(),
            acknowledged: Vec::new(),
        }
    }

    fn send(&mut self, shard: &SimulatedShard) {
        self.clock += 1 + self.random.below(1_000) as i64;
        let (mut batch, mut samples, mut new) = (AppendBatch::default(), Vec::new(), Vec::new());
        for series in 0..20 {
            if self.random.below(3) > 0 {
                continue;
            }
            let who = match self.refs.get(&series) {
                Some(reference) => SampleSeries::Known(*reference),
                None => {
                    new.push(series);
                    SampleSeries::New(batch.new_series.push(labels(series).as_bytes()))
                }
            };
            let sample = (series, self.clock);
            samples.push(sample);
            if is_histogram(sample) {
                batch.histograms.push(HistogramSample {
                    series: who,
                    timestamp: self.clock,
                    histogram: Arc::new(histogram(sample)),
                });
                continue;
            }
            batch.series.push(who);
            batch.timestamps.push(self.clock);
            batch.values.push(value(sample));
        }
        if let Ok(answer) = shard.append(batch, AppendMode::Partial) {
            self.tried.extend(&samples);
            self.sent.push(Sent {
                samples,
                new,
                answer,
            });
        }
    }

    /// Takes the answers that have come; returns the number of failures.
    fn collect(&mut self) -> Vec<AppendError> {
        let mut errors = Vec::new();
        let mut waiting = Vec::new();
        for mut sent in std::mem::take(&mut self.sent) {
            match sent.answer.try_recv() {
                Ok(Ok(outcome)) => {
                    assert_eq!(outcome.accepted as usize, sent.samples.len());
                    for (series, created) in sent.new.iter().zip(outcome.created) {
                        self.refs.insert(*series, created.unwrap());
                    }
                    self.acknowledged.push(sent.samples);
                }
                Ok(Err(error)) => errors.push(error),
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => waiting.push(sent),
                Err(_) => errors.push(AppendError::Stopped),
            }
        }
        self.sent = waiting;
        errors
    }

    fn acknowledged(&self) -> BTreeSet<Sample> {
        self.acknowledged.iter().flatten().copied().collect()
    }
}

/// Several lives with a power cut at the end of each; returns the trace of all.
fn durable_lives(seed: u64) -> u64 {
    let mut world = World::new(seed);
    let mut disk = SimulatedDisk::new();
    let mut trace = 0;
    for life in 0..4 {
        let cut_at = disk.operations() + 1 + world.random.below(60);
        disk.fail_at(cut_at, Fault::Crash);
        let image = match world.random.below(4) {
            0 => CrashImage::SyncedOnly,
            1 => CrashImage::Everything,
            _ => CrashImage::Random(seed * 10 + life),
        };
        // The power may fail during recovery too; then this life was a short one.
        if let Ok(mut shard) = SimulatedShard::open(&disk, &options(seed ^ life, AckMode::Durable))
        {
            assert_eq!(
                shard.replayed().records_lost,
                0,
                "seed {seed} life {life}: damage"
            );
            let found = dump(&mut shard);
            let acknowledged = world.acknowledged();
            assert!(
                found.is_superset(&acknowledged),
                "seed {seed} life {life}: lost"
            );
            assert!(
                found.is_subset(&world.tried),
                "seed {seed} life {life}: invented"
            );
            for _ in 0..400 {
                for _ in 0..world.random.below(4) {
                    world.send(&shard);
                }
                let pause = world.random.below(3_000_000);
                shard.run_until(shard.now() + pause);
                if !world.collect().is_empty() {
                    break;
                }
            }
            world.sent.clear();
            trace = u64::rotate_left(trace, 7) ^ shard.trace_hash();
        }
        disk = disk.crash(image);
    }
    let mut shard = SimulatedShard::open(&disk, &options(seed, AckMode::Durable)).unwrap();
    let found = dump(&mut shard);
    assert!(
        found.is_superset(&world.acknowledged()),
        "seed {seed}: lost at the end"
    );
    assert!(
        found.is_subset(&world.tried),
        "seed {seed}: invented at the end"
    );
    assert!(
        !world.acknowledged.is_empty(),
        "seed {seed} acknowledged nothing"
    );
    shard.stop();
    while shard.step() {}
    assert!(shard.has_ended(), "seed {seed}: the shard does not end");
    trace ^ shard.trace_hash()
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged_as_durable() {
    for seed in 1..=150 {
        let trace = durable_lives(seed);
        if seed % 50 == 0 {
            assert_eq!(
                trace,
                durable_lives(seed),
                "seed {seed} does not repeat itself"
            );
        }
    }
}

#[test]
fn fast_mode_loses_the_end_only() {
    for seed in 1..=100 {
        let mut world = World::new(seed);
        let disk = SimulatedDisk::new();
        let mut shard = SimulatedShard::open(&disk, &options(seed, AckMode::Fast)).unwrap();
        let mut acknowledged_at = Vec::new();
        for _ in 0..200 {
            world.send(&shard);
            shard.run_until(shard.now() + world.random.below(10_000_000));
            assert!(world.collect().is_empty());
            acknowledged_at.resize(world.acknowledged.len(), shard.now());
        }
        let now = shard.now();
        let survivor = disk.crash(CrashImage::Random(seed));
        let mut again = SimulatedShard::open(&survivor, &options(seed, AckMode::Fast)).unwrap();
        let found = dump(&mut again);
        assert!(found.is_subset(&world.tried), "seed {seed}: invented");
        let kept = |batch: &Vec<Sample>| batch.iter().all(|sample| found.contains(sample));
        let count = world
            .acknowledged
            .iter()
            .take_while(|batch| kept(batch))
            .count();
        let behind = &world.acknowledged[count..];
        let any = behind.iter().flatten().any(|sample| found.contains(sample));
        assert!(!any, "seed {seed}: a hole");
        // The interval, and a few operations of at most 2 ms each until the sync is through.
        let bound = 200_000_000 + 20_000_000;
        let late = acknowledged_at
            .iter()
            .skip(count)
            .all(|at| at + bound >= now);
        assert!(late, "seed {seed}: lost what was acknowledged long ago");
    }
}

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    for seed in 1..=40 {
        let mut world = World::new(seed);
        let disk = SimulatedDisk::new();
        let mut shard = SimulatedShard::open(&disk, &options(seed, AckMode::Durable)).unwrap();
        disk.set_capacity(Some(2_000 + seed * 511));
        let mut errors = Vec::new();
        for _ in 0..200 {
            world.send(&shard);
            shard.run_until(shard.now() + 5_000_000);
            errors.extend(world.collect());
        }
        assert!(!errors.is_empty(), "seed {seed}: the disk was never full");
        for error in &errors {
            assert!(matches!(error, AppendError::Log(text) if text.contains("no space left")));
        }
        dump(&mut shard);
        disk.set_capacity(None);
        shard.run_until(shard.now() + 2_000_000_000);
        world.collect();
        for _ in 0..20 {
            world.send(&shard);
            shard.run_until(shard.now() + 20_000_000);
            let errors = world.collect();
            assert!(
                errors.is_empty(),
                "seed {seed}: {errors:?} though there is room"
            );
        }
        let survivor = disk.crash(CrashImage::SyncedOnly);
        let mut again = SimulatedShard::open(&survivor, &options(seed, AckMode::Durable)).unwrap();
        let found = dump(&mut again);
        assert!(
            found.is_superset(&world.acknowledged()),
            "seed {seed}: lost"
        );
    }
}

#[test]
fn a_full_mailbox_refuses_at_once() {
    let disk = SimulatedDisk::new();
    let mut shard = SimulatedShard::open(&disk, &options(1, AckMode::Durable)).unwrap();
    let send = |shard: &SimulatedShard| shard.append(AppendBatch::default(), AppendMode::Check);
    let answers: Vec<_> = (0..8).map(|_| send(&shard).unwrap()).collect();
    assert_eq!(send(&shard).err(), Some(AppendError::Overloaded));
    shard.run_until(1_000_000);
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    assert!(send(&shard).is_ok());
    shard.stop();
    while shard.step() {}
    assert_eq!(send(&shard).err(), Some(AppendError::Stopped));
}

#[test]
fn a_start_makes_up_for_a_definition_that_was_logged_once() {
    let disk = SimulatedDisk::new();
    let options = options(1, AckMode::Durable);
    let mut shard = SimulatedShard::open(&disk, &options).unwrap();
    let mut batch = AppendBatch::default();
    let new = batch.new_series.push(labels(1).as_bytes());
    for t in [10, 11] {
        batch.series.push(SampleSeries::New(new));
        batch.timestamps.push(t);
        batch.values.push(value((1, t)));
    }
    let mut answer = shard.append(batch, AppendMode::Partial).unwrap();
    shard.run_until(100_000_000);
    assert!(answer.try_recv().unwrap().is_ok());
    drop(shard);
    let disk = disk.kill(1);
    let defined = |disk: &SimulatedDisk| {
        let mut places = Vec::new();
        for path in disk.files() {
            let content = disk.content(&path).unwrap();
            let names = content.windows(8).enumerate();
            let names = names.filter(|(_, bytes)| *bytes == b"__name__");
            places.extend(names.map(|(at, _)| (path.clone(), at)));
        }
        places
    };
    assert_eq!(defined(&disk).len(), 1, "the second one is a second away");

    // Nobody asks the next life for anything.
    let mut shard = SimulatedShard::open(&disk, &options).unwrap();
    shard.run_until(100_000_000);
    drop(shard);
    let disk = disk.kill(1);
    let places = defined(&disk);
    assert_eq!(places.len(), 2);
    let (path, at) = &places[0];
    let mut content = disk.content(path).unwrap();
    content[*at] ^= 1;
    disk.damage(path, content);
    let mut shard = SimulatedShard::open(&disk, &options).unwrap();
    assert_eq!(shard.replayed().records_lost, 1);
    assert_eq!(dump(&mut shard), BTreeSet::from([(1, 10), (1, 11)]));
}
