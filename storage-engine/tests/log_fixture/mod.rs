//! A log on a simulated disk for tests: numbered samples in, the set of numbers out. Every third is a histogram.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test")]

use ferula_storage_engine::io::{Access, BlockingDisk, Disk, SimulatedDisk};
use ferula_storage_engine::model::{BucketSpan, FloatHistogram, SeriesRef};
use ferula_storage_engine::wal::format::{
    PayloadError, encode_out_of_order_samples_record, encode_samples_record, encode_series_record,
};
use ferula_storage_engine::wal::histograms::{
    LoggedHistogram, encode_histograms_record, encode_out_of_order_histograms_record,
};
use ferula_storage_engine::wal::{
    AckMode, LogPosition, ReplayError, ReplayProgress, ReplayTarget, Replayed, WalError,
    WalOptions, WalPlace, WalWriter, replay_behind,
};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) const DIR: &str = "/data/shard-000/wal";
const STORE_ID: [u8; 16] = [7; 16];
/// Series that the samples are spread over.
const SERIES: u64 = 5;

pub(crate) fn appended(numbers: Range<u64>) -> BTreeSet<u64> {
    numbers.collect()
}

pub(crate) struct Log {
    pub(crate) disk: SimulatedDisk,
    pub(crate) writer: Option<WalWriter<BlockingDisk>>,
    defined: BTreeMap<u64, u8>,
}

pub(crate) fn options(ack: AckMode, segment_bytes: u64, store_id: [u8; 16]) -> WalOptions {
    WalOptions {
        place: place(store_id),
        segment_bytes,
        ack,
    }
}

fn place(store_id: [u8; 16]) -> WalPlace {
    WalPlace {
        dir: DIR.into(),
        store_id,
        shard: 0,
    }
}

fn labels(series: u64) -> Vec<u8> {
    format!("labels of series {series}").into_bytes()
}

fn reference(series: u64) -> SeriesRef {
    SeriesRef {
        index: series as u32,
        generation: 1,
    }
}

fn is_histogram(number: u64) -> bool {
    number % 3 == 1
}

/// Every fifth sample is logged as one that came out of order.
fn is_late(number: u64) -> bool {
    number % 5 == 4
}

fn histogram(number: u64) -> FloatHistogram {
    FloatHistogram {
        count: number as f64,
        sum: number as f64 / 8.0,
        positive_spans: vec![BucketSpan {
            offset: -3,
            length: 2,
        }],
        positive_buckets: vec![number as f64, 0.0],
        integer: true,
        ..FloatHistogram::default()
    }
}

impl Log {
    pub(crate) fn new(ack: AckMode, segment_bytes: u64) -> Log {
        Log::with_identity(ack, segment_bytes, STORE_ID)
    }

    pub(crate) fn with_identity(ack: AckMode, segment_bytes: u64, store_id: [u8; 16]) -> Log {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(DIR.as_ref()).unwrap();
        disk.sync_dir("/data/shard-000".as_ref()).unwrap();
        disk.sync_dir("/data".as_ref()).unwrap();
        let position = LogPosition {
            next_sequence: 1,
            next_lsn: 1,
            spares: Vec::new(),
            closed: Vec::new(),
        };
        Log::on(disk, options(ack, segment_bytes, store_id), position)
    }

    pub(crate) fn on(disk: SimulatedDisk, options: WalOptions, position: LogPosition) -> Log {
        let blocking = BlockingDisk::new(Arc::new(disk.clone()), Access::Buffered);
        let writer = WalWriter::new(blocking, options, position);
        Log {
            disk,
            writer: Some(writer),
            defined: BTreeMap::new(),
        }
    }

    pub(crate) fn writer(&mut self) -> &mut WalWriter<BlockingDisk> {
        self.writer.as_mut().unwrap()
    }

    /// One commit with one record for each number, and the definitions that are due: each series is defined twice.
    pub(crate) fn commit(&mut self, numbers: &[u64]) -> Result<(), WalError> {
        let mut records = Vec::new();
        for series in 0..SERIES {
            let times = self.defined.entry(series).or_default();
            if *times < 2 {
                *times += 1;
                let bytes = labels(series);
                let mut one = std::iter::once((reference(series), bytes.as_slice()));
                encode_series_record(&mut records, 0, &mut one);
            }
        }
        for &number in numbers {
            if is_histogram(number) {
                let sample = LoggedHistogram {
                    series: reference(number % SERIES),
                    timestamp: number as i64,
                    histogram: Arc::new(histogram(number)),
                };
                match is_late(number) {
                    true => encode_out_of_order_histograms_record(&mut records, 0, &[sample]),
                    false => encode_histograms_record(&mut records, 0, &[sample]),
                }
                continue;
            }
            let encode = match is_late(number) {
                true => encode_out_of_order_samples_record,
                false => encode_samples_record,
            };
            let refs = [reference(number % SERIES)];
            encode(&mut records, 0, &refs, &[number as i64], &[number as f64]);
        }
        self.writer().commit(&records).now_or_never().unwrap()
    }

    /// One commit with a single record for floats of series that are defined.
    pub(crate) fn commit_together(&mut self, numbers: Range<u64>) -> BTreeSet<u64> {
        let numbers: Vec<u64> = numbers
            .filter(|n| !is_histogram(*n) && !is_late(*n))
            .collect();
        let refs: Vec<_> = numbers.iter().map(|n| reference(n % SERIES)).collect();
        let times: Vec<_> = numbers.iter().map(|n| *n as i64).collect();
        let values: Vec<_> = numbers.iter().map(|n| *n as f64).collect();
        let mut records = Vec::new();
        encode_samples_record(&mut records, 0, &refs, &times, &values);
        let committed = self.writer().commit(&records);
        committed.now_or_never().unwrap().unwrap();
        numbers.into_iter().collect()
    }

    pub(crate) fn mark(&mut self) {
        self.writer().mark().now_or_never().unwrap();
    }

    pub(crate) fn close(&mut self) {
        self.writer.take().unwrap().close().now_or_never().unwrap();
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        segments(&self.disk)
    }
}

pub(crate) fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let mut names = disk.list(DIR.as_ref()).unwrap();
    names.sort();
    names
        .into_iter()
        .map(|name| PathBuf::from(DIR).join(name))
        .collect()
}

pub(crate) fn segments(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let wal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wal");
    files(disk).into_iter().filter(wal).collect()
}

pub(crate) struct Found {
    pub(crate) samples: BTreeSet<u64>,
    /// Samples whose series was not defined before them.
    pub(crate) unknown_series: u64,
    pub(crate) replayed: Replayed,
}

#[derive(Default)]
struct Collect {
    series: BTreeSet<u32>,
    samples: BTreeSet<u64>,
    unknown_series: u64,
}

impl ReplayTarget for Collect {
    fn series(&mut self, series: SeriesRef, labels: &[u8]) {
        assert_eq!(
            labels,
            self::labels(u64::from(series.index)),
            "labels invented"
        );
        self.series.insert(series.index);
    }

    fn samples(&mut self, refs: &[SeriesRef], timestamps: &[i64], values: &[f64]) {
        for ((series, &timestamp), &value) in refs.iter().zip(timestamps).zip(values) {
            let number = timestamp as u64;
            assert!(!is_histogram(number), "a float was invented");
            assert_eq!(
                (*series, value),
                (reference(number % SERIES), number as f64),
                "invented"
            );
            self.unknown_series += u64::from(!self.series.contains(&series.index));
            self.samples.insert(number);
        }
    }

    fn out_of_order_samples(
        &mut self,
        refs: &[SeriesRef],
        timestamps: &[i64],
        values: &[f64],
    ) -> Result<(), PayloadError> {
        assert!(timestamps.iter().all(|&t| is_late(t as u64)), "wrong kind");
        self.samples(refs, timestamps, values);
        Ok(())
    }

    fn out_of_order_histograms(&mut self, samples: &[LoggedHistogram]) -> Result<(), PayloadError> {
        assert!(
            samples.iter().all(|s| is_late(s.timestamp as u64)),
            "wrong kind"
        );
        self.histograms(samples);
        Ok(())
    }

    fn histograms(&mut self, samples: &[LoggedHistogram]) {
        for sample in samples {
            let number = sample.timestamp as u64;
            assert!(is_histogram(number), "a histogram was invented");
            assert_eq!(
                (sample.series, &*sample.histogram),
                (reference(number % SERIES), &histogram(number)),
                "invented"
            );
            self.unknown_series += u64::from(!self.series.contains(&sample.series.index));
            self.samples.insert(number);
        }
    }
}

pub(crate) fn try_read_as(disk: &SimulatedDisk, store_id: [u8; 16]) -> Result<Found, ReplayError> {
    try_read_behind(disk, store_id, 0)
}

/// Reads what is behind record `covered`.
pub(crate) fn read_behind(disk: &SimulatedDisk, covered: u64) -> Found {
    try_read_behind(disk, STORE_ID, covered).unwrap()
}

fn try_read_behind(
    disk: &SimulatedDisk,
    store_id: [u8; 16],
    covered: u64,
) -> Result<Found, ReplayError> {
    let mut target = Collect::default();
    let replayed = replay_behind(
        disk,
        &place(store_id),
        covered,
        &mut target,
        &ReplayProgress::default(),
    )?;
    let Collect {
        samples,
        unknown_series,
        ..
    } = target;
    Ok(Found {
        samples,
        unknown_series,
        replayed,
    })
}

pub(crate) fn read_as(disk: &SimulatedDisk, store_id: [u8; 16]) -> Found {
    try_read_as(disk, store_id).unwrap()
}

pub(crate) fn try_read(disk: &SimulatedDisk) -> Result<Found, ReplayError> {
    try_read_as(disk, STORE_ID)
}

pub(crate) fn read(disk: &SimulatedDisk) -> Found {
    read_as(disk, STORE_ID)
}
