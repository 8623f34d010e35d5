//! Every flipped bit and every truncation of a small log: each costs one record at most, besides what a truncation took away itself.
//!
//! The log is one that three segments hold, closed cleanly, with floats, late samples and native histograms.

use crate::read::ALL;
use futures_util::FutureExt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage_engine::io::{Access, BlockingDisk, CrashImage, Disk, SimulatedDisk};
use storage_engine::model::{BucketSpan, FloatHistogram, SeriesRef, TimestampMs};
use storage_engine::wal::format::{
    PayloadError, RECORD_ALIGNMENT, RecordKind, encode_out_of_order_samples_record,
    encode_samples_record, encode_series_record, encoded_record_bytes,
};
use storage_engine::wal::histograms::{LoggedHistogram, encode_histograms_record};
use storage_engine::wal::{
    AckMode, LogPosition, ReplayProgress, ReplayTarget, Replayed, WalOptions, WalPlace, WalWriter,
    replay,
};

const DIR: &str = "/data/shard-000/wal";
const SERIES: u32 = 5;
/// Samples of a record.
const PER_RECORD: u64 = 3;

/// The log before the damage.
pub struct Sample {
    disk: SimulatedDisk,
    segments: Vec<(PathBuf, Vec<u8>)>,
    records: BTreeSet<u64>,
}

/// What a sweep has tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Records with samples in it.
    pub records: u64,
    /// Flipped bits.
    pub bits: u64,
    /// Flips that cost a record.
    pub bits_that_cost: u64,
    /// Truncations.
    pub truncations: u64,
    /// Sectors zeroed, copied over others, exchanged with others.
    pub sectors: u64,
}

fn place() -> WalPlace {
    WalPlace {
        dir: DIR.into(),
        store_id: [7; 16],
        shard: 0,
    }
}

fn reference(series: u32) -> SeriesRef {
    SeriesRef {
        index: series,
        generation: 1,
    }
}

fn labels(series: u32) -> Vec<u8> {
    format!("labels of series {series}").into_bytes()
}

fn histogram(number: u64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        count: number as f64,
        sum: number as f64 / 8.0,
        positive_spans: vec![BucketSpan {
            offset: -3,
            length: 2,
        }],
        positive_buckets: vec![number as f64, 0.0],
        integer: true,
        ..FloatHistogram::default()
    })
}

/// Record `number` holds the samples `number * 3 ..`, each its own time and value.
fn encode(number: u64, out: &mut Vec<u8>) {
    let numbers = number * PER_RECORD..(number + 1) * PER_RECORD;
    let refs: Vec<_> = numbers
        .clone()
        .map(|n| reference((n % u64::from(SERIES)) as u32))
        .collect();
    let times: Vec<_> = numbers.clone().map(|n| n as TimestampMs).collect();
    let values: Vec<_> = numbers.map(|n| n as f64).collect();
    match number % 4 {
        0 => {
            let samples: Vec<_> = refs
                .iter()
                .zip(&times)
                .map(|(series, t)| LoggedHistogram {
                    series: *series,
                    timestamp: *t,
                    histogram: histogram(*t as u64),
                })
                .collect();
            encode_histograms_record(out, 0, &samples);
        }
        1 => encode_out_of_order_samples_record(out, 0, &refs, &times, &values),
        _ => encode_samples_record(out, 0, &refs, &times, &values),
    }
}

/// Numbers of the records whose samples came back; a record comes back whole or not at all.
#[derive(Default)]
struct Collect {
    series: BTreeSet<u32>,
    samples: BTreeSet<u64>,
    /// Samples whose series has lost its definitions.
    undefined: BTreeSet<u64>,
}

impl Collect {
    fn take(&mut self, series: SeriesRef, t: TimestampMs, is_right: bool, kind: [u64; 2]) {
        let number = t as u64;
        let of_kind = kind.contains(&(number / PER_RECORD % 4));
        let is_right =
            is_right && of_kind && series == reference((number % u64::from(SERIES)) as u32);
        assert!(is_right && ALL.contains(t), "invented: {series:?} at {t}");
        match self.series.contains(&series.index) {
            true => self.samples.insert(number),
            false => self.undefined.insert(number),
        };
    }

    fn records(&self) -> BTreeSet<u64> {
        let all = self.samples.iter().chain(&self.undefined);
        let records: BTreeSet<u64> = all.map(|n| n / PER_RECORD).collect();
        let samples = self.samples.len() + self.undefined.len();
        let whole = records.len() as u64 * PER_RECORD;
        assert_eq!(samples as u64, whole, "a part of a record came back");
        records
    }
}

impl ReplayTarget for Collect {
    fn series(&mut self, series: SeriesRef, found: &[u8]) {
        assert_eq!(found, labels(series.index), "labels invented");
        self.series.insert(series.index);
    }

    fn samples(&mut self, refs: &[SeriesRef], timestamps: &[TimestampMs], values: &[f64]) {
        for ((series, t), value) in refs.iter().zip(timestamps).zip(values) {
            self.take(*series, *t, *value == *t as f64, [2, 3]);
        }
    }

    fn histograms(&mut self, samples: &[LoggedHistogram]) {
        for sample in samples {
            let t = sample.timestamp;
            let is_right = sample.histogram.same_bits(&histogram(t as u64));
            self.take(sample.series, t, is_right, [0, 0]);
        }
    }

    fn out_of_order_samples(
        &mut self,
        refs: &[SeriesRef],
        timestamps: &[TimestampMs],
        values: &[f64],
    ) -> Result<(), PayloadError> {
        for ((series, t), value) in refs.iter().zip(timestamps).zip(values) {
            self.take(*series, *t, *value == *t as f64, [1, 1]);
        }
        Ok(())
    }

    fn other(&mut self, kind: RecordKind, _payload: &[u8]) -> Result<(), PayloadError> {
        panic!("invented: a record of kind {kind:?}");
    }
}

/// What a replay gives: numbers of records, and how many samples have no definition.
struct Back {
    records: BTreeSet<u64>,
    undefined: usize,
    replayed: Replayed,
}

fn read(disk: &SimulatedDisk) -> Back {
    let mut target = Collect::default();
    let replayed = replay(disk, &place(), &mut target, &ReplayProgress::default());
    let replayed = replayed.unwrap_or_else(|error| panic!("damage keeps from reading: {error}"));
    Back {
        records: target.records(),
        undefined: target.undefined.len(),
        replayed,
    }
}

impl Sample {
    /// Writes a log of at least `bytes` in three segments.
    pub fn write(bytes: u64) -> Sample {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(DIR.as_ref())
            .expect("BUG: an empty disk refuses");
        let options = WalOptions {
            place: place(),
            segment_bytes: bytes / 3 / 512 * 512,
            ack: AckMode::Durable,
        };
        let position = LogPosition {
            next_sequence: 1,
            next_lsn: 1,
            spares: Vec::new(),
            closed: Vec::new(),
        };
        let blocking = BlockingDisk::new(Arc::new(disk.clone()), Access::Buffered);
        let mut writer = WalWriter::new(blocking, options, position);
        let mut number = 0;
        while disk.used() < bytes {
            let mut commit = Vec::new();
            if number < 6 {
                // Every definition comes twice, in two commits.
                for series in 0..SERIES {
                    let bytes = labels(series);
                    let mut one = std::iter::once((reference(series), bytes.as_slice()));
                    encode_series_record(&mut commit, 0, &mut one);
                }
            }
            for _ in 0..3 {
                encode(number, &mut commit);
                number += 1;
            }
            let committed = writer.commit(&commit).now_or_never();
            committed
                .expect("BUG: a blocking disk waits")
                .expect("BUG: a sound disk refuses");
        }
        writer.close().now_or_never();
        let paths = disk.files();
        let content = |path: PathBuf| {
            let bytes = disk.content(&path).unwrap_or_default();
            (path, bytes)
        };
        let segments: Vec<_> = paths.into_iter().map(content).collect();
        let intact = disk.crash(CrashImage::Everything);
        let back = read(&disk.duplicate());
        let records = back.records;
        assert_eq!(records.len() as u64, number, "the log is not whole");
        assert_eq!((back.replayed.records_lost, back.undefined), (0, 0));
        Sample {
            disk: intact,
            segments,
            records,
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|(_, c)| c.len() as u64).sum()
    }

    fn damaged(&self, changes: &[(&Path, Vec<u8>)]) -> Back {
        let disk = self.disk.duplicate();
        for (path, content) in changes {
            disk.damage(path, content.clone());
        }
        let back = read(&disk);
        assert!(back.records.is_subset(&self.records), "invented");
        back
    }

    /// Flips bits `from..to` (counted over all segments), every `step`th.
    pub fn flip_bits(&self, from: u64, to: u64, step: usize, swept: &mut Swept) {
        let mut before = 0;
        for (path, content) in &self.segments {
            let bits = content.len() as u64 * 8;
            let (first, last) = (from.max(before), to.min(before + bits));
            for bit in (first..last).step_by(step) {
                let at = (bit - before) as usize;
                let mut flipped = content.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                let back = self.damaged(&[(path, flipped)]);
                let replayed = &back.replayed;
                let lost = self.records.len() - back.records.len();
                let what = format!("{} bit {at}", path.display());
                assert!(lost <= 1, "{what}: cost {lost} records");
                assert!(replayed.records_lost <= 1, "{what}: {replayed:?}");
                assert_eq!(
                    back.undefined, 0,
                    "{what}: the second definition did not help"
                );
                assert!(lost as u64 <= replayed.records_lost, "{what}: not counted");
                swept.bits += 1;
                swept.bits_that_cost += lost as u64;
            }
            before += bits;
        }
    }

    /// Ends of the records of a segment.
    fn ends(content: &[u8]) -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < content.len() {
            match encoded_record_bytes(&content[at..]) {
                Some(bytes) => {
                    at += bytes;
                    ends.push(at);
                }
                None => at += RECORD_ALIGNMENT,
            }
        }
        ends
    }

    /// Cuts each segment at every `step`th length.
    pub fn truncate(&self, step: usize, swept: &mut Swept) {
        for (path, content) in &self.segments {
            let whole = Sample::ends(content).len();
            for bytes in (0..content.len()).step_by(step) {
                let left = &content[..bytes];
                let back = self.damaged(&[(path, left.to_vec())]);
                // What is behind the cut is gone by itself; of what is before it, nothing may be.
                let gone = whole - Sample::ends(left).len();
                let lost = self.records.len() - back.records.len();
                let what = format!("{} cut at {bytes}", path.display());
                assert!(
                    lost <= gone,
                    "{what}: {lost} records lost, {gone} cut away, {:?}",
                    back.replayed
                );
                swept.truncations += 1;
            }
        }
    }

    /// Zeroes, copies and exchanges sectors, every `step`th pair. Nothing is invented.
    pub fn mix_sectors(&self, step: usize, swept: &mut Swept) {
        let mut sectors = Vec::new();
        for (path, content) in &self.segments {
            sectors.extend((0..content.len() / 512).map(|at| (path, content, at * 512)));
        }
        let with = |content: &[u8], at: usize, sector: &[u8]| {
            let mut changed = content.to_vec();
            changed[at..at + 512].copy_from_slice(sector);
            changed
        };
        let pairs = sectors
            .iter()
            .flat_map(|a| sectors.iter().map(move |b| (a, b)));
        for ((a, from, at), (b, to, other)) in pairs.step_by(step) {
            self.damaged(&[(a, with(from, *at, &[0; 512]))]);
            let (source, target) = (&from[*at..*at + 512], &to[*other..*other + 512]);
            let copied = with(to, *other, source);
            self.damaged(&[(b, copied.clone())]);
            match a == b {
                true => self.damaged(&[(b, with(&copied, *at, target))]),
                false => self.damaged(&[(b, copied), (a, with(from, *at, target))]),
            };
            swept.sectors += 3;
        }
    }
}

/// Sweeps a log of `bytes` on `threads` threads. Every `step`th case of each kind; 1 for all. Panics with what is wrong.
pub fn sweep(bytes: u64, step: usize, threads: u64) -> Swept {
    let sample = Sample::write(bytes);
    let bits = sample.bytes() * 8;
    let mut total = Swept {
        log_bytes: sample.bytes(),
        records: sample.records.len() as u64,
        ..Swept::default()
    };
    let flips = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let sample = Sample::write(bytes);
                scope.spawn(move || {
                    let mut swept = Swept::default();
                    let (from, to) = (bits * part / threads, bits * (part + 1) / threads);
                    sample.flip_bits(from, to, step, &mut swept);
                    swept
                })
            })
            .collect();
        let joined = parts.into_iter().map(|part| part.join());
        joined.collect::<Vec<_>>()
    });
    for part in flips {
        let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        total.bits += part.bits;
        total.bits_that_cost += part.bits_that_cost;
    }
    sample.truncate(step, &mut total);
    sample.mix_sectors(step, &mut total);
    total
}
