//! The power fails while heads are sealed, blocks compacted, deletions written and cleaned: at any operation of the disk. The next start
//! finds every acknowledged sample once, nothing that was deleted and answered, and goes on. A full disk is helped by its reserve.
#![allow(clippy::unwrap_used, reason = "a test")]

use ferula_storage_engine::io::{CrashImage, Fault, Operation, SimulatedDisk, Verdict};
use ferula_storage_engine::maintenance::{MaintenanceOptions, OrderError, RetentionSettings};
use ferula_storage_engine::model::{Labels, Matcher, SampleColumns, ShardId};
use ferula_storage_engine::runtime::simulator::{SimulatedShard, SimulationOptions};
use ferula_storage_engine::shard::{ShardConfig, ShardReader};
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendMode, ReadNotes, SampleSeries, ShardTask, TaskState, TimeRange,
};
use ferula_storage_engine::wal::{AckMode, WalOptions, WalPlace};
use std::collections::BTreeSet;
use std::sync::mpsc;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
const RANGE: i64 = 10_000;
const SERIES: u32 = 4;
/// Steps of the script, one second of data each.
const STEPS: i64 = 75;
const DELETE_AT: i64 = 45;
const CLEAN_AT: i64 = 50;
/// What is deleted: one series, from the start to this time.
const DELETED_SERIES: u32 = 1;
const DELETED_UNTIL: i64 = 38_500;
/// Every so many operations one is a crash; each run has another offset, so that all are hit in time.
const STRIDE: usize = 7;

/// A series' number and a timestamp; the value follows from both.
type Sample = (u32, i64);

fn options(seed: u64) -> SimulationOptions {
    SimulationOptions {
        seed,
        shard: ShardConfig {
            shard: ShardId(0),
            hash_seed: 1,
            out_of_bounds_window_ms: Some(RANGE / 2),
            ..ShardConfig::default()
        },
        wal: WalOptions {
            place: WalPlace {
                dir: "/data/shard-000/wal".into(),
                store_id: [1; 16],
                shard: 0,
            },
            segment_bytes: 8_192,
            ack: AckMode::Durable,
        },
        sync_interval_nanos: 200_000_000,
        mailbox_messages: 8,
        maintenance: Some(MaintenanceOptions {
            block_range_ms: RANGE,
            block_range_max_ms: Some(3 * RANGE),
            retention: RetentionSettings {
                time_ms: None,
                ..RetentionSettings::default()
            },
            page_samples_max: 7,
            ..MaintenanceOptions::default()
        }),
        wall_start_ms: 1_000_000,
    }
}

fn value((series, t): Sample) -> f64 {
    f64::from(series) * 1e6 + t as f64
}

struct Dump(mpsc::Sender<BTreeSet<Sample>>);

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut all = BTreeSet::new();
        let selection = shard.select(&[], ALL);
        let mut notes = ReadNotes::default();
        for series in 0..selection.len() {
            let id = shard.label_value(&selection, series, "id").parse().unwrap();
            let mut columns = SampleColumns::default();
            shard.read(&selection, series, ALL, &mut columns, &mut notes);
            for (&t, &found) in columns.timestamps.iter().zip(&columns.values) {
                assert_eq!(found, value((id, t)), "a value was invented");
                assert!(all.insert((id, t)), "a sample came twice");
            }
        }
        assert_eq!(notes.damage, Vec::<String>::new());
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

/// What is known of the stored samples.
#[derive(Default)]
struct Known {
    stored: BTreeSet<Sample>,
    /// Sent and not answered.
    perhaps_stored: BTreeSet<Sample>,
    /// Asked to be deleted and not answered.
    perhaps_deleted: BTreeSet<Sample>,
}

struct Life {
    disk: SimulatedDisk,
    shard: SimulatedShard,
}

impl Life {
    /// The answer, or nothing if the power fails before.
    fn wait<T>(&mut self, answer: &mut Receiver<T>) -> Option<T> {
        for _ in 0..1_000_000 {
            match answer.try_recv() {
                Ok(value) => return Some(value),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if self.disk.has_crashed() || !self.shard.step() {
                return None;
            }
        }
        panic!("no answer and no crash");
    }

    /// One sample of each series; false if it was not answered well.
    fn append(&mut self, known: &mut Known, step: i64) -> bool {
        let mut batch = AppendBatch::default();
        let samples: Vec<Sample> = (0..SERIES).map(|series| (series, step * 1000)).collect();
        for &(series, t) in &samples {
            let labels = [("__name__", "m".to_owned()), ("id", series.to_string())];
            let labels = Labels::from_pairs(labels).unwrap();
            let new = batch.new_series.push(labels.as_bytes());
            batch.series.push(SampleSeries::New(new));
            batch.timestamps.push(t);
            batch.values.push(value((series, t)));
        }
        known.perhaps_stored.extend(&samples);
        let mut answer = self.shard.append(batch, AppendMode::Partial).unwrap();
        let Some(Ok(outcome)) = self.wait(&mut answer) else {
            return false;
        };
        assert_eq!(outcome.accepted, SERIES, "{:?}", outcome.rejections);
        known.stored.extend(&samples);
        true
    }

    fn delete(&mut self, known: &mut Known) -> Option<Result<(), OrderError>> {
        let matcher = Matcher::equal("id", DELETED_SERIES.to_string());
        let range = TimeRange {
            min: i64::MIN,
            max: DELETED_UNTIL,
        };
        let hit = |s: &&Sample| s.0 == DELETED_SERIES && s.1 <= DELETED_UNTIL;
        let samples: BTreeSet<Sample> = known.stored.iter().filter(hit).copied().collect();
        known.perhaps_deleted = samples.clone();
        let mut outcome = self.shard.delete_series(vec![matcher], range);
        let outcome = self.wait(&mut outcome);
        if matches!(outcome, Some(Ok(()))) {
            known.stored.retain(|s| !samples.contains(s));
            known.perhaps_stored.retain(|s| !samples.contains(s));
            known.perhaps_deleted.clear();
        }
        outcome
    }

    /// The script from a step on; false if the power failed.
    fn run(&mut self, known: &mut Known, from: i64) -> bool {
        for step in from..STEPS {
            if !self.append(known, step) {
                return false;
            }
            let outcome = match step {
                DELETE_AT => self.delete(known),
                CLEAN_AT => {
                    let mut outcome = self.shard.clean_tombstones();
                    self.wait(&mut outcome)
                }
                _ if step % 6 == 5 => {
                    let mut outcome = self.shard.maintain();
                    self.wait(&mut outcome)
                }
                _ => continue,
            };
            match outcome {
                Some(Ok(())) => {}
                None => return false,
                Some(Err(error)) => {
                    assert!(self.disk.has_crashed(), "step {step}: {error}");
                    return false;
                }
            }
        }
        true
    }

    fn check(&mut self, known: &Known, when: &str) {
        let found = dump(&mut self.shard);
        let must: BTreeSet<Sample> = known
            .stored
            .difference(&known.perhaps_deleted)
            .copied()
            .collect();
        let lost: Vec<_> = must.difference(&found).collect();
        assert!(lost.is_empty(), "{when}: lost {lost:?}");
        let may: BTreeSet<Sample> = known.stored.union(&known.perhaps_stored).copied().collect();
        let invented: Vec<_> = found.difference(&may).collect();
        assert!(invented.is_empty(), "{when}: invented {invented:?}");
    }
}

fn live(disk: SimulatedDisk, seed: u64) -> Life {
    let shard = SimulatedShard::open(&disk, &options(seed)).unwrap();
    Life { disk, shard }
}

#[test]
fn a_crash_at_any_operation_loses_and_invents_nothing() {
    let disk = SimulatedDisk::new();
    let mut whole = live(disk.clone(), 1);
    let mut known = Known::default();
    assert!(whole.run(&mut known, 0));
    whole.check(&known, "without a crash");
    let stats = whole.shard.maintenance_stats();
    assert!(stats.head_truncations > 4, "{stats:?}");
    assert!(
        whole.shard.blocks().iter().any(|b| b.level > 1),
        "{:?}",
        whole.shard.blocks()
    );
    let operations = disk.operations() as usize;
    for (run, operation) in (1..=operations).step_by(STRIDE).enumerate() {
        let image = match run % 3 {
            0 => CrashImage::SyncedOnly,
            1 => CrashImage::Everything,
            _ => CrashImage::Random(run as u64 + 1),
        };
        let when = format!("crash at operation {operation} of {operations}, {image:?}");
        let disk = SimulatedDisk::new();
        disk.fail_at(operation as u64, Fault::Crash);
        let Ok(shard) = SimulatedShard::open(&disk, &options(1)) else {
            continue;
        };
        let mut known = Known::default();
        let mut first = Life {
            disk: disk.clone(),
            shard,
        };
        if first.run(&mut known, 0) {
            continue;
        }
        let mut second = live(disk.crash(image), run as u64 + 2);
        second.check(&known, &when);
        // It goes on from where it was, and a second start finds the same.
        let from = known.perhaps_stored.iter().map(|s| s.1 / 1000 + 1).max();
        let mut now = Known {
            stored: dump(&mut second.shard),
            ..Known::default()
        };
        now.perhaps_stored = now.stored.clone();
        assert!(second.run(&mut now, from.unwrap_or(0)), "{when}: goes on");
        let mut maintained = second.shard.maintain();
        assert!(
            matches!(second.wait(&mut maintained), Some(Ok(()))),
            "{when}"
        );
        second.check(&now, &when);
        let mut third = live(second.disk.crash(CrashImage::SyncedOnly), run as u64 + 3);
        third.check(&now, &format!("{when}, and a second start"));
    }
}

#[test]
fn a_full_disk_is_sealed_into_the_reserve() {
    let disk = SimulatedDisk::new();
    let mut options = options(1);
    let reserve = std::path::Path::new("/data/reserve");
    if let Some(maintenance) = &mut options.maintenance {
        maintenance.reserve_bytes = 1 << 20;
    }
    let shard = SimulatedShard::open(&disk, &options).unwrap();
    let mut life = Life {
        disk: disk.clone(),
        shard,
    };
    let maintain = |life: &mut Life| {
        let mut outcome = life.shard.maintain();
        assert!(matches!(life.wait(&mut outcome), Some(Ok(()))));
    };
    maintain(&mut life);
    assert!(disk.content(reserve).is_some());
    let mut known = Known::default();
    for step in 0..60 {
        assert!(life.append(&mut known, step));
    }
    let sealed = life.shard.maintenance_stats().head_truncations;
    disk.set_capacity(Some(disk.used()));
    maintain(&mut life);
    assert!(disk.content(reserve).is_none(), "given up");
    assert!(life.shard.maintenance_stats().head_truncations > sealed);
    life.check(&known, "on the full disk");
    disk.set_capacity(None);
    maintain(&mut life);
    assert!(disk.content(reserve).is_some(), "made again");
    let mut after = live(disk.crash(CrashImage::SyncedOnly), 2);
    after.check(&known, "after a power cut");
}

#[test]
fn a_block_whose_name_may_not_last_does_not_bring_deleted_samples_back() {
    let blocks = std::path::Path::new("/data/shard-000/blocks");
    // The first syncs of the directory of blocks fail, from one on, so many of them.
    for (first, count) in [(0, 1), (0, 2), (1, 1), (2, 3)] {
        let disk = SimulatedDisk::new();
        let mut life = live(disk.clone(), 1);
        let mut syncs = 0;
        disk.set_hook(Some(Box::new(move |operation| {
            if *operation != Operation::SyncDir(blocks) {
                return Verdict::Proceed;
            }
            syncs += 1;
            match (first + 1..=first + count).contains(&syncs) {
                true => Verdict::Fail(libc::EIO),
                false => Verdict::Proceed,
            }
        })));
        let mut known = Known::default();
        for step in 0..60 {
            assert!(life.append(&mut known, step));
            if step % 6 == 5 {
                let mut maintained = life.shard.maintain();
                assert!(matches!(life.wait(&mut maintained), Some(Ok(()))));
            }
        }
        assert!(life.shard.maintenance_stats().head_truncations > 2);
        assert!(matches!(life.delete(&mut known), Some(Ok(()))));
        let mut cleaned = life.shard.clean_tombstones();
        assert!(matches!(life.wait(&mut cleaned), Some(Ok(()))));
        let when = format!("{count} syncs fail from number {first} on");
        life.check(&known, &when);
        let mut second = live(disk.kill(1), 2);
        second.check(&known, &format!("{when}, after a restart"));
        let mut third = live(disk.crash(CrashImage::Everything), 3);
        third.check(&known, &format!("{when}, after a power cut"));
    }
}

#[test]
fn what_a_start_shows_of_a_deletion_stays_so_after_a_power_cut() {
    let blocks = std::path::Path::new("/data/shard-000/blocks");
    let disk = SimulatedDisk::new();
    let mut life = live(disk.clone(), 1);
    let mut known = Known::default();
    for step in 0..45 {
        assert!(life.append(&mut known, step));
    }
    let mut maintained = life.shard.maintain();
    assert!(matches!(life.wait(&mut maintained), Some(Ok(()))));
    assert!(!life.shard.blocks().is_empty());
    // The file of deletions has its name, which nobody has made durable when the process dies.
    disk.set_hook(Some(Box::new(move |operation| {
        match *operation == Operation::SyncDir(blocks) {
            true => Verdict::Fail(libc::EIO),
            false => Verdict::Proceed,
        }
    })));
    assert!(matches!(life.delete(&mut known), Some(Err(_))));
    let disk = disk.kill(1);
    let mut second = live(disk.clone(), 2);
    let shown = dump(&mut second.shard);
    let mut third = live(disk.crash(CrashImage::SyncedOnly), 3);
    assert_eq!(dump(&mut third.shard), shown);
}

#[test]
fn what_was_deleted_with_all_of_its_block_does_not_come_back_with_the_log() {
    let disk = SimulatedDisk::new();
    let mut life = live(disk.clone(), 1);
    // No checkpoint follows the sealing, as if the power had failed between the two.
    let checkpoints = std::path::Path::new("/data/shard-000/checkpoint");
    disk.set_hook(Some(Box::new(move |operation| match operation {
        Operation::Create(path) if path.starts_with(checkpoints) => Verdict::Fail(libc::EIO),
        _ => Verdict::Proceed,
    })));
    let mut known = Known::default();
    while life.shard.blocks().is_empty() {
        let step = i64::try_from(known.stored.len()).unwrap() / i64::from(SERIES);
        assert!(life.append(&mut known, step));
        let mut maintained = life.shard.maintain();
        assert!(matches!(life.wait(&mut maintained), Some(Ok(()))));
    }
    let max = life.shard.blocks()[0].max_time;
    let all = vec![Matcher::equal("none", "")];
    let range = TimeRange { min: 0, max };
    let mut deleted = life.shard.delete_series(all, range);
    assert!(matches!(life.wait(&mut deleted), Some(Ok(()))));
    known.stored.retain(|sample| sample.1 > max);
    known.perhaps_stored = known.stored.clone();
    let mut cleaned = life.shard.clean_tombstones();
    let refused = life.wait(&mut cleaned);
    assert!(matches!(refused, Some(Err(_))), "without a checkpoint");
    disk.set_hook(None);
    let mut cleaned = life.shard.clean_tombstones();
    assert!(matches!(life.wait(&mut cleaned), Some(Ok(()))));
    assert!(life.shard.blocks().is_empty());
    life.check(&known, "cleaned");
    let mut second = live(disk.crash(CrashImage::SyncedOnly), 2);
    second.check(&known, "after a restart");
}

#[test]
fn damage_to_the_only_checkpoint_costs_nothing_while_the_log_is_whole() {
    let disk = SimulatedDisk::new();
    let mut life = live(disk.clone(), 1);
    let mut known = Known::default();
    let checkpoints = |disk: &SimulatedDisk| {
        let mut files = disk.files();
        files.retain(|f| f.extension().is_some_and(|e| e == "checkpoint"));
        files
    };
    for step in 0.. {
        assert!(life.append(&mut known, step));
        let mut maintained = life.shard.maintain();
        assert!(matches!(life.wait(&mut maintained), Some(Ok(()))));
        if !checkpoints(&disk).is_empty() {
            break;
        }
    }
    let path = checkpoints(&disk).remove(0);
    let content = disk.content(&path).unwrap();
    let (mut flips, mut seen) = (0, 0);
    for at in (0..content.len()).step_by(13) {
        let damaged = disk.kill(1);
        let mut bytes = content.clone();
        bytes[at] ^= 4;
        damaged.damage(&path, bytes);
        let mut second = live(damaged.clone(), 2);
        second.check(&known, &format!("bit flipped at {at}"));
        flips += 1;
        seen += u32::from(checkpoints(&damaged).is_empty());
        let mut third = live(damaged.kill(1), 3);
        third.check(&known, &format!("bit flipped at {at}, second start"));
    }
    // A few bits are padding.
    assert!(flips > 20 && seen * 10 > flips * 8, "{seen} of {flips}");
}
