//! Checkpoints of a shard on a simulated disk: what comes back, with crashes at every operation, in recovery too, and with damage.

use super::{CheckpointPlace, CheckpointReport, ShardDoor, take_checkpoint};
use crate::io::{Access, BlockingDisk, CrashImage, Disk, Fault, SimulatedDisk};
use crate::model::{BucketSpan, Exemplar, FloatHistogram, Labels, Matcher, SampleColumns};
use crate::runtime::replay_shard;
use crate::shard::{Action, Event, Shard, ShardConfig, ShardReader, StartSettings};
use crate::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ExemplarSample, HistogramSample,
    SampleSeries, ShardChange, TimeRange,
};
use crate::wal::{AckMode, Replayed, WalOptions, WalPlace, WalWriter};
use futures_util::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
const SERIES: u64 = 7;

fn wal_options() -> WalOptions {
    WalOptions {
        place: WalPlace {
            dir: "/data/shard-000/wal".into(),
            store_id: [7; 16],
            shard: 0,
        },
        segment_bytes: 4096,
        ack: AckMode::Durable,
    }
}

fn place() -> CheckpointPlace {
    CheckpointPlace::beside(&wal_options().place)
}

/// Samples by series and time; the value is bits, or those of a histogram's count with the highest bit set.
type Samples = BTreeSet<(u64, i64, u64)>;

/// One shard with its log on a simulated disk; everything happens at once.
struct World {
    disk: SimulatedDisk,
    shard: RefCell<Shard>,
    writer: RefCell<WalWriter<BlockingDisk>>,
    replayed: Replayed,
    acknowledged: RefCell<Samples>,
    tried: RefCell<Samples>,
    /// The next round of appends.
    round: Cell<u64>,
    /// Rounds appended in each pause of a checkpoint.
    rounds_in_pauses: Cell<u64>,
    truncated: Cell<i64>,
}

fn labels(series: u64) -> Labels {
    let label = |n: &str, v: String| (n.to_owned(), v);
    let mut pairs = vec![
        label("__name__", format!("metric_{}", series % 3)),
        label("series", series.to_string()),
    ];
    if series.is_multiple_of(2) {
        pairs.push(label("zone", "a".to_owned()));
    }
    Labels::from_pairs(pairs).unwrap()
}

fn is_histogram(series: u64, round: u64) -> bool {
    series % SERIES == 5 && !round.is_multiple_of(5)
}

fn value(series: u64, round: u64) -> f64 {
    match series % SERIES {
        0 => 5.0,
        1 => round as f64,
        2 if round % 4 == 1 => -0.0,
        3 if round % 9 == 1 => f64::from_bits(0x7ff4_0000_0000_0001),
        _ => f64::from_bits((round * series).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2),
    }
}

fn histogram(round: u64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        count: round as f64,
        sum: 2.5,
        positive_spans: vec![BucketSpan {
            offset: 1,
            length: 1,
        }],
        positive_buckets: vec![round as f64],
        integer: true,
        ..FloatHistogram::default()
    })
}

/// Since when a sample counts: for some series always unknown, for others now and then, others start anew now and then.
fn start(series: u64, t: i64) -> i64 {
    let round = t / 1000;
    match series % 3 {
        0 => 0,
        _ if series >= 1000 => 0,
        1 => 1 + round / 10 * 10_000,
        _ if round % 30 < 10 => 0,
        _ => 2 + round / 30 * 30_000,
    }
}

fn exemplar(round: u64) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", round.to_string())]).unwrap(),
        value: round as f64 / 3.0,
        timestamp: round as i64 * 1000 + 1,
        timed: round.is_multiple_of(2),
    }
}

impl World {
    /// Series with exemplars, as texts, and these.
    fn exemplars(&self) -> Vec<(String, Vec<Exemplar>)> {
        let mut found = Vec::new();
        let shard = self.shard.borrow();
        let all = [Vec::new()];
        let next = shard
            .reader()
            .read_exemplars(&all, ALL, (0, 1000), &mut found);
        assert_eq!(next, None);
        let mut found: Vec<(String, Vec<Exemplar>)> = found
            .into_iter()
            .map(|s| (s.labels.to_string(), s.exemplars))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn open(disk: SimulatedDisk) -> Result<World, std::io::Error> {
        let config = ShardConfig {
            out_of_bounds_window_ms: None,
            exemplars_max: 40,
            starts: StartSettings {
                keep: true,
                zero_sample: false,
            },
            ..ShardConfig::default()
        };
        let mut shard = Shard::new(config);
        let replayed = replay_shard(&disk, &wal_options(), &mut shard, &Default::default())?;
        let blocking = BlockingDisk::new(Arc::new(disk.clone()), Access::Buffered);
        let writer = WalWriter::new(blocking, wal_options(), replayed.position.clone());
        Ok(World {
            disk,
            shard: RefCell::new(shard),
            writer: RefCell::new(writer),
            replayed,
            acknowledged: RefCell::default(),
            tried: RefCell::default(),
            round: Cell::new(0),
            rounds_in_pauses: Cell::new(0),
            truncated: Cell::new(i64::MIN),
        })
    }

    fn new() -> World {
        World::open(SimulatedDisk::new()).unwrap()
    }

    /// Feeds an event and what follows from it; the answer, if one came.
    fn feed(&self, event: Event) -> Option<Result<AppendOutcome, AppendError>> {
        let mut answer = None;
        let mut actions = Vec::new();
        let mut shard = self.shard.borrow_mut();
        let mut writer = self.writer.borrow_mut();
        let mut now = 0;
        shard.on(now, event, &mut actions);
        while !actions.is_empty() {
            let action = actions.remove(0);
            let event = match action {
                Action::Log { lsn, bytes } => {
                    let written = writer.commit(&bytes).now_or_never().unwrap();
                    let result = match written {
                        Ok(()) => Ok(writer.written_lsn()),
                        Err(error) => Err(error.to_string()),
                    };
                    Event::LogDone { lsn, result }
                }
                Action::SyncLog { request } => {
                    let synced = writer.sync().now_or_never().unwrap();
                    let result = synced.map_err(|error| error.to_string());
                    Event::LogSynced { request, result }
                }
                Action::ReleaseLog { before } => {
                    let _ = writer.release_before(before).now_or_never().unwrap();
                    continue;
                }
                Action::WakeAt(at) => {
                    now = now.max(at);
                    Event::Tick
                }
                Action::Reply { result, .. } => {
                    answer = Some(result);
                    continue;
                }
                Action::Exit => continue,
            };
            shard.on(now, event, &mut actions);
        }
        answer
    }

    /// One sample for each series, a few series changing over time. False if it was not acknowledged.
    fn append_round(&self) -> bool {
        let round = self.round.get();
        self.round.set(round + 1);
        let t = round as i64 * 1000 + i64::from(round % 17 == 3) * 7;
        let mut batch = AppendBatch::default();
        let mut added = Samples::new();
        // A series that comes and goes, and comes again.
        let passing = 100 + round / 12 % 5;
        for series in (0..SERIES).chain([passing]) {
            let new = batch.new_series.push(labels(series).as_bytes());
            if is_histogram(series, round) {
                batch.histograms.push(HistogramSample {
                    series: SampleSeries::New(new),
                    timestamp: t,
                    histogram: histogram(round),
                });
                batch.histogram_start_of_last(start(series, t));
                added.insert((series, t, (round as f64).to_bits() | 1 << 63));
            } else {
                let value = value(series, round);
                batch.series.push(SampleSeries::New(new));
                batch.timestamps.push(t);
                batch.values.push(value);
                batch.start_of_last(start(series, t));
                added.insert((series, t, value.to_bits()));
            }
            if series % 3 == 1 {
                batch.exemplars.push(ExemplarSample {
                    series: SampleSeries::New(new),
                    exemplar: exemplar(round),
                });
            }
        }
        self.tried.borrow_mut().extend(added.iter().copied());
        let answer = self.feed(Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        });
        match answer {
            Some(Ok(outcome)) => {
                assert_eq!(outcome.rejections, []);
                assert_eq!(outcome.exemplar_refusals, []);
                self.acknowledged.borrow_mut().extend(added);
                true
            }
            _ => false,
        }
    }

    fn append_rounds(&self, rounds: u64) -> bool {
        (0..rounds).all(|_| self.append_round())
    }

    /// Many samples that do not pack, so that pages of sealed chunks fill.
    fn append_noise(&self, rounds: u64) {
        for round in 0..rounds {
            let t = (self.round.get() + round) as i64 * 1000;
            let mut batch = AppendBatch::default();
            for series in 1000..1300 {
                let new = batch.new_series.push(labels(series).as_bytes());
                let noise = (series + 1300 * (round + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let value = f64::from_bits(noise >> 2);
                batch.series.push(SampleSeries::New(new));
                batch.timestamps.push(t);
                batch.values.push(value);
                self.tried.borrow_mut().insert((series, t, value.to_bits()));
                let mut acknowledged = self.acknowledged.borrow_mut();
                acknowledged.insert((series, t, value.to_bits()));
            }
            let event = Event::Append {
                request: 1,
                batch: Box::new(batch),
                mode: AppendMode::Partial,
            };
            assert!(matches!(self.feed(event), Some(Ok(_))));
        }
        self.round.set(self.round.get() + rounds);
    }

    fn pause(&self) {
        self.append_rounds(self.rounds_in_pauses.get());
    }

    fn checkpoint(&self) -> Result<CheckpointReport, String> {
        let taken = take_checkpoint(self, &self.disk, &place()).now_or_never();
        taken.unwrap().map_err(|error| error.to_string())
    }

    /// As when a block holds everything before.
    fn truncate(&self, before: i64) {
        self.truncated.set(before);
        let mut shard = self.shard.borrow_mut();
        shard.truncate_head(before);
        while shard.slice() {}
    }

    fn contents(&self) -> Samples {
        contents(&self.shard.borrow())
    }

    /// What was acknowledged and is not truncated is there, and nothing that was never tried.
    fn check_against(&self, before: &World, what: &str) {
        let from = before.truncated.get();
        let found: Samples = self.contents();
        let wanted = before.acknowledged.borrow();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|s| s.1 >= from && !found.contains(s))
            .collect();
        assert!(missing.is_empty(), "{what}: lost {missing:?}");
        assert!(found.is_subset(&before.tried.borrow()), "{what}: invented");
        let starts = starts(&self.shard.borrow());
        for (series, t, _) in wanted.iter().filter(|s| s.1 >= from) {
            let found = starts.get(&(*series, *t)).copied();
            assert_eq!(found, Some(start(*series, *t)), "{what}: {series} at {t}");
        }
    }
}

fn contents(shard: &Shard) -> Samples {
    let reader = shard.reader();
    let mut found = Samples::new();
    for slot in reader.head_slots(ALL) {
        let mut canonical = Vec::new();
        reader.put_canonical(slot, &mut canonical);
        let labels = Labels::from_canonical(&canonical).unwrap();
        let series: u64 = labels.value("series").parse().unwrap();
        assert_eq!(labels, self::labels(series));
        let mut samples = crate::model::SeriesSamples::default();
        reader.read_head(slot, ALL, &mut samples);
        let SampleColumns {
            timestamps, values, ..
        } = &samples.floats;
        for (t, value) in timestamps.iter().zip(values) {
            assert!(found.insert((series, *t, value.to_bits())), "twice");
        }
        for (t, histogram) in &samples.histograms {
            let count = histogram.count.to_bits() | 1 << 63;
            assert!(found.insert((series, *t, count)), "twice");
        }
        let matcher = Matcher::equal("series", series.to_string());
        assert_eq!(reader.indexed(&[matcher]), [slot], "postings");
    }
    found
}

/// The start of every sample.
fn starts(shard: &Shard) -> BTreeMap<(u64, i64), i64> {
    let reader = shard.reader();
    let mut found = BTreeMap::new();
    for slot in reader.head_slots(ALL) {
        let mut canonical = Vec::new();
        reader.put_canonical(slot, &mut canonical);
        let labels = Labels::from_canonical(&canonical).unwrap();
        let series: u64 = labels.value("series").parse().unwrap();
        let mut samples = crate::model::SeriesSamples::default();
        reader.read_head(slot, ALL, &mut samples);
        assert!(samples.starts.is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1));
        let histograms = samples.histograms.iter().map(|(t, _)| *t);
        for t in samples.floats.timestamps.iter().copied().chain(histograms) {
            let begun = samples.starts.partition_point(|(from, _)| *from <= t);
            let start = begun.checked_sub(1).map_or(0, |run| samples.starts[run].1);
            found.insert((series, t), start);
        }
    }
    found
}

impl ShardDoor for World {
    type Error = AppendError;

    async fn look<T, F>(&self, mut look: F) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnMut(&ShardReader<'_>) -> Option<T> + Send + 'static,
    {
        loop {
            let value = look(&self.shard.borrow().reader());
            self.pause();
            if let Some(value) = value {
                return Ok(value);
            }
        }
    }

    async fn change<T, F>(&self, change: F) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        Ok(change(&mut self.shard.borrow_mut()))
    }

    async fn submit(&self, change: Box<dyn ShardChange>) -> Result<bool, AppendError> {
        let request = 2;
        let answer = self.feed(Event::Change { request, change });
        match answer {
            Some(Ok(_)) => Ok(true),
            Some(Err(AppendError::Log(_))) => Ok(false),
            Some(Err(error)) => Err(error),
            None => panic!("no answer"),
        }
    }

    async fn breathe(&self) -> Result<(), AppendError> {
        self.pause();
        Ok(())
    }
}

#[test]
fn a_shard_comes_back_from_a_checkpoint_alone() {
    let world = World::new();
    assert!(world.append_rounds(700));
    let report = world.checkpoint().unwrap();
    assert_eq!(report.lsn, world.writer.borrow().written_lsn());
    let disk = world.disk.crash(CrashImage::SyncedOnly);
    let wal = &wal_options().place.dir;
    for name in disk.list(wal).unwrap() {
        disk.remove(&wal.join(name)).unwrap();
    }
    let again = World::open(disk).unwrap();
    again.check_against(&world, "alone");
    assert_eq!(again.contents(), world.contents());
    let (before, after) = (world.shard.borrow().stats(), again.shard.borrow().stats());
    assert_eq!(before.samples, after.samples);
    assert_eq!(before.chunks, after.chunks);
    assert_eq!(before.series, after.series);
    assert_eq!(
        (before.time_min, before.time_max),
        (after.time_min, after.time_max)
    );
    assert_eq!(before.histogram_samples, after.histogram_samples);
    assert_eq!(before.label_pairs, after.label_pairs);
}

#[test]
fn what_is_appended_meanwhile_and_later_is_in_the_log_behind_it() {
    let world = World::new();
    world.append_rounds(400);
    world.rounds_in_pauses.set(3);
    for _ in 0..4 {
        world.checkpoint().unwrap();
        world.append_rounds(130);
    }
    let again = World::open(world.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(again.contents(), world.contents());
    assert_eq!(again.replayed.records_lost, 0);
    // And goes on from there.
    again.round.set(world.round.get());
    again.append_rounds(300);
    again.checkpoint().unwrap();
    again.append_rounds(5);
    let third = World::open(again.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(third.contents(), again.contents());
}

#[test]
fn exemplars_come_back_from_a_checkpoint_and_the_log_behind_it() {
    let world = World::new();
    world.append_rounds(30);
    world.rounds_in_pauses.set(1);
    world.checkpoint().unwrap();
    world.rounds_in_pauses.set(0);
    let held = world.exemplars();
    assert_eq!(held.iter().map(|(_, e)| e.len()).sum::<usize>(), 40);
    let again = World::open(world.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(again.exemplars(), held);
    // With nothing left of the log but what is behind two checkpoints.
    again.round.set(world.round.get());
    for _ in 0..3 {
        again.append_rounds(20);
        again.checkpoint().unwrap();
    }
    again.append_rounds(2);
    let third = World::open(again.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(third.exemplars(), again.exemplars());
    assert_eq!(third.exemplars().len(), again.exemplars().len());
}

const IMAGES: [CrashImage; 4] = [
    CrashImage::SyncedOnly,
    CrashImage::Everything,
    CrashImage::Random(1),
    CrashImage::Random(2),
];

/// Appends, checkpoints, truncations; false when the disk has failed.
fn script(world: &World) -> bool {
    world.append_rounds(25);
    world.rounds_in_pauses.set(1);
    let mut alive = world.checkpoint().is_ok();
    for part in 1..4 {
        world.rounds_in_pauses.set(0);
        alive &= world.append_rounds(15);
        if part == 2 {
            world.truncate(20_000);
        }
        world.rounds_in_pauses.set(part % 2);
        alive &= world.checkpoint().is_ok();
    }
    alive & world.append_rounds(2)
}

/// Opens what a crash left of `before`, checks it, lives on and checks again.
fn check_survivor(before: &World, disk: SimulatedDisk, what: &str) {
    let again = World::open(disk).unwrap();
    again.check_against(before, what);
    assert_eq!(again.replayed.records_lost, 0, "{what}: called damage");
    // Beyond what may have been truncated although the log had failed.
    again.round.set(before.round.get().max(60));
    again.truncated.set(before.truncated.get());
    let known = again.contents();
    again.acknowledged.borrow_mut().extend(known.iter());
    again.tried.borrow_mut().extend(known.iter());
    assert!(again.append_rounds(2), "{what}");
    again.checkpoint().unwrap();
    assert!(again.append_rounds(1), "{what}");
    let third = World::open(again.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(
        third.contents(),
        again.contents(),
        "{what}: the second life"
    );
}

fn script_operations() -> u64 {
    let world = World::new();
    let before = world.disk.operations();
    assert!(script(&world));
    let names = world.disk.list(&place().checkpoints).unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    world.disk.operations() - before
}

fn crashed_at(operation: u64) -> World {
    let world = World::new();
    world
        .disk
        .fail_at(world.disk.operations() + operation, Fault::Crash);
    script(&world);
    world
}

#[test]
fn a_power_cut_at_every_operation_loses_nothing_acknowledged() {
    let operations = script_operations();
    for operation in 1..=operations {
        let world = crashed_at(operation);
        for image in IMAGES {
            let what = format!("operation {operation} of {operations}, {image:?}");
            check_survivor(&world, world.disk.crash(image), &what);
        }
    }
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    for operation in (1..=script_operations()).step_by(13) {
        let world = crashed_at(operation);
        for image in IMAGES {
            let first = world.disk.crash(image);
            for again in 1.. {
                let disk = first.duplicate();
                disk.fail_at(again, Fault::Crash);
                if World::open(disk.clone()).is_ok() {
                    break;
                }
                let what = format!("operation {operation} {image:?}, then {again}");
                let second = disk.crash(IMAGES[again as usize % IMAGES.len()]);
                check_survivor(&world, second, &what);
            }
        }
    }
}

#[test]
fn an_error_of_the_disk_at_any_operation_leaves_what_was_there() {
    for code in [libc::EIO, libc::ENOSPC] {
        for operation in 1..=script_operations() {
            let world = World::new();
            let at = world.disk.operations() + operation;
            world.disk.fail_at(at, Fault::Error(code));
            script(&world);
            let what = format!("error {code} at operation {operation}");
            check_survivor(&world, world.disk.crash(CrashImage::SyncedOnly), &what);
            check_survivor(&world, world.disk.crash(CrashImage::Everything), &what);
        }
    }
}

/// Two checkpoints, and a tail of log.
fn world_with_two() -> World {
    let world = World::new();
    world.append_rounds(300);
    world.checkpoint().unwrap();
    world.append_rounds(50);
    world.checkpoint().unwrap();
    world.append_rounds(10);
    world
}

#[test]
fn damage_to_the_newest_checkpoint_costs_nothing() {
    let world = world_with_two();
    let newest = *place()
        .list_checkpoints(&world.disk)
        .unwrap()
        .last()
        .unwrap();
    let path = place().checkpoint_path(newest);
    let content = world.disk.content(&path).unwrap();
    for byte in (0..content.len()).step_by(97).chain([content.len() - 1]) {
        let disk = world.disk.duplicate();
        let mut damaged = content.clone();
        damaged[byte] ^= 0x10;
        disk.damage(&path, damaged);
        let again = World::open(disk.clone()).unwrap();
        assert_eq!(again.contents(), world.contents(), "byte {byte}");
        assert_eq!(again.replayed.records_lost, 0);
        // Padding may be damaged unnoticed.
        let names = disk.list(&place().checkpoints).unwrap();
        let aside = names.iter().any(|name| name.ends_with(".damaged"));
        assert!(aside || again.contents() == world.contents());
    }
    let disk = world.disk.duplicate();
    disk.damage(&path, content[..content.len() / 2].to_vec());
    let again = World::open(disk.clone()).unwrap();
    assert_eq!(again.contents(), world.contents(), "cut short");
    assert_eq!(place().list_checkpoints(&disk).unwrap().len(), 1);
    again.round.set(world.round.get());
    again.append_rounds(3);
    again.checkpoint().unwrap();
    let third = World::open(disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(third.contents(), again.contents());
}

#[test]
fn damage_to_both_costs_what_was_damaged_and_is_counted() {
    let world = world_with_two();
    let disk = world.disk.duplicate();
    for lsn in place().list_checkpoints(&disk).unwrap() {
        let path = place().checkpoint_path(lsn);
        let mut content = disk.content(&path).unwrap();
        // In the first section, which holds all series.
        content[2000] ^= 1;
        disk.damage(&path, content);
    }
    let again = World::open(disk).unwrap();
    assert!(again.contents().is_subset(&world.contents()), "invented");
    assert!(again.contents().is_empty(), "one section has all series");
}

#[test]
fn full_pages_move_to_files_and_are_read_from_there() {
    let world = World::new();
    world.append_noise(600);
    let in_memory = world.shard.borrow().stats().sealed_chunk_bytes;
    assert_eq!(world.checkpoint().unwrap().pages_written, 1);
    assert!(world.shard.borrow().stats().sealed_chunk_bytes < in_memory);
    world.check_against(&world, "mapped");
    world.append_noise(500);
    assert_eq!(world.checkpoint().unwrap().pages_written, 1);
    assert_eq!(place().list_chunks(&world.disk).unwrap(), [0, 1]);
    world.append_noise(30);
    let again = World::open(world.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(again.contents(), world.contents());
    assert_eq!(
        again.checkpoint().unwrap().pages_written,
        0,
        "once is enough"
    );
    let third = World::open(again.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(third.contents(), world.contents());
    // When blocks hold what is in a page, its file goes with the last checkpoint that names it.
    third.round.set(world.round.get());
    third.truncate(900_000);
    assert_eq!(place().list_chunks(&third.disk).unwrap(), [0, 1]);
    for _ in 0..2 {
        third.append_rounds(1);
        third.checkpoint().unwrap();
    }
    assert_eq!(place().list_chunks(&third.disk).unwrap(), [1]);
    let fourth = World::open(third.disk.crash(CrashImage::SyncedOnly)).unwrap();
    assert_eq!(fourth.contents(), third.contents());
}

#[test]
fn damage_to_a_page_costs_chunks_and_is_told() {
    let world = World::new();
    world.append_noise(600);
    for _ in 0..2 {
        world.checkpoint().unwrap();
        world.append_rounds(1);
    }
    let path = place().chunks_path(0);
    let content = world.disk.content(&path).unwrap();
    for at in (5000..content.len()).step_by(100_003) {
        let disk = world.disk.duplicate();
        let mut damaged = content.clone();
        damaged[at] ^= 4;
        disk.damage(&path, damaged);
        let again = World::open(disk).unwrap();
        let (found, all) = (again.contents(), world.contents());
        assert!(found.is_subset(&all), "invented");
        let lost = all.len() - found.len();
        // An extent has at most 20 chunks here, and those before them of the same series at most four more each.
        assert!(lost > 0 && lost <= 20 * 5 * 120, "lost {lost}");
        let mut notes = crate::shard_api::ReadNotes::default();
        let shard = again.shard.borrow();
        for slot in shard.reader().head_slots(ALL) {
            let mut columns = SampleColumns::default();
            shard
                .reader()
                .read_for_tests(slot, ALL, &mut columns, &mut notes);
        }
        assert_eq!(notes.damage.len(), 1, "{notes:?}");
        drop(shard);
        // It stays as it is: no later checkpoint takes it for sound.
        again.round.set(world.round.get() + 1);
        again.append_rounds(2);
        again.checkpoint().unwrap();
        let third = World::open(again.disk.crash(CrashImage::SyncedOnly)).unwrap();
        assert_eq!(third.contents(), again.contents());
    }
}
