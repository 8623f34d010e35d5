//! The write-ahead log: whatever its bytes are, a reader gives back what was written or less, and the same again after its repair.

use crate::damage;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use storage_engine::io::{Access, Disk, SimulatedDisk};
use storage_engine::model::{BucketSpan, FloatHistogram, SeriesRef, TimestampMs};
use storage_engine::wal::format::{
    DecodedSamples, RECORD_HEADER_BYTES, SegmentSeal, Stamp, decode_samples, decode_series,
    encode_mark_record, encode_samples_record, encode_series_record, encoded_record_bytes,
    stamp_record,
};
use storage_engine::wal::histograms::{
    LoggedHistogram, decode_histograms, encode_histograms_record,
};
use storage_engine::wal::{ReplayProgress, ReplayTarget, WalPlace, replay};

const DIR: &str = "/data/wal";
const STORE: [u8; 16] = [3; 16];
const RECORDS: u64 = 24;

#[derive(Default, PartialEq, Debug)]
struct Collect(BTreeSet<(u32, TimestampMs, u64)>);

impl ReplayTarget for Collect {
    fn series(&mut self, _series: SeriesRef, _labels: &[u8]) {}

    fn samples(&mut self, refs: &[SeriesRef], timestamps: &[TimestampMs], values: &[f64]) {
        for ((series, t), value) in refs.iter().zip(timestamps).zip(values) {
            self.0.insert((series.index, *t, value.to_bits()));
        }
    }

    fn histograms(&mut self, samples: &[LoggedHistogram]) {
        for sample in samples {
            let count = sample.histogram.count.to_bits();
            self.0
                .insert((sample.series.index, sample.timestamp, count));
        }
    }
}

fn reference(index: u32) -> SeriesRef {
    SeriesRef {
        index,
        generation: 1,
    }
}

fn path() -> PathBuf {
    PathBuf::from(DIR).join("00000001.wal")
}

/// A sound segment of a few kilobytes, and what it holds.
fn sound() -> &'static (Vec<u8>, Collect) {
    static SOUND: OnceLock<(Vec<u8>, Collect)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let (mut records, mut held) = (Vec::new(), Collect::default());
        encode_mark_record(&mut records);
        let mut one = std::iter::once((reference(0), &b"\x08__name__\x01a"[..]));
        encode_series_record(&mut records, 0, &mut one);
        for number in 0..RECORDS {
            let (series, t, value) = (reference(number as u32 % 3), number as i64, number as f64);
            if number % 3 == 0 {
                let histogram = Arc::new(FloatHistogram {
                    count: value,
                    positive_spans: vec![BucketSpan {
                        offset: 1,
                        length: 1,
                    }],
                    positive_buckets: vec![value],
                    ..FloatHistogram::default()
                });
                let sample = LoggedHistogram {
                    series,
                    timestamp: t,
                    histogram,
                };
                encode_histograms_record(&mut records, 0, std::slice::from_ref(&sample));
                held.histograms(&[sample]);
            } else {
                encode_samples_record(&mut records, 0, &[series], &[t], &[value]);
                held.samples(&[series], &[t], &[value]);
            }
        }
        let seal = SegmentSeal::new(&STORE, 0, 1);
        let (mut at, mut lsn) = (0, 1);
        while at < records.len() {
            let bytes = encoded_record_bytes(&records[at..]).expect("BUG: whole records");
            let stamp = Stamp {
                seal,
                offset: at as u64,
                lsn,
                synced_lsn: lsn - 1,
            };
            stamp_record(&mut records[at..at + bytes], stamp);
            at += bytes;
            lsn += 1;
        }
        (records, held)
    })
}

fn read(disk: &SimulatedDisk) -> Option<Collect> {
    let mut target = Collect::default();
    let place = WalPlace {
        dir: DIR.into(),
        store_id: STORE,
        shard: 0,
    };
    let replayed = replay(disk, &place, &mut target, &ReplayProgress::default());
    replayed.ok().map(|_| target)
}

fn disk_with(content: &[u8]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.create_dir_all(DIR.as_ref())
        .and_then(|()| disk.create(&path(), Access::Buffered))
        .and_then(|file| file.write_at(0, content))
        .expect("BUG: an empty disk refuses");
    disk
}

/// A damaged segment, or (first byte odd) a segment of arbitrary bytes.
pub fn log(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let (content, held) = sound();
    let segment = match mode % 2 {
        0 => {
            let mut damaged = content.clone();
            damage::apply(&mut damaged, rest);
            damaged
        }
        _ => rest.to_vec(),
    };
    let disk = disk_with(&segment);
    let Some(found) = read(&disk) else {
        return;
    };
    assert!(found.0.is_subset(&held.0), "invented: {found:?}");
    assert_eq!(
        read(&disk),
        Some(found),
        "reads differently after its repair"
    );
}

fn payload_of(record: &[u8]) -> &[u8] {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[8..12]);
    &record[RECORD_HEADER_BYTES..][..u32::from_le_bytes(bytes) as usize]
}

/// The payload of a record with right checksums: what can be decoded says the same when it is encoded again.
pub fn payload(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let mut record = Vec::new();
    match mode % 3 {
        0 => {
            let (mut first, mut second) = (DecodedSamples::default(), DecodedSamples::default());
            if decode_samples(rest, &mut first).is_err() || first.refs.is_empty() {
                return;
            }
            let (refs, times) = (&first.refs, &first.timestamps);
            encode_samples_record(&mut record, 0, refs, times, &first.values);
            let decoded = decode_samples(payload_of(&record), &mut second);
            decoded.expect("what was encoded can be decoded");
            assert_eq!((&second.refs, &second.timestamps), (refs, times));
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&second.values), bits(&first.values));
        }
        1 => {
            let mut first = Vec::new();
            let decoded = decode_series(rest, &mut |series, labels: &[u8]| {
                first.push((series, labels.to_vec()));
            });
            if decoded.is_err() || first.is_empty() {
                return;
            }
            let mut all = first
                .iter()
                .map(|(series, labels)| (*series, labels.as_slice()));
            encode_series_record(&mut record, 0, &mut all);
            let mut second = Vec::new();
            decode_series(payload_of(&record), &mut |series, labels: &[u8]| {
                second.push((series, labels.to_vec()));
            })
            .expect("what was encoded can be decoded");
            assert_eq!(first, second);
        }
        _ => {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            if decode_histograms(rest, &mut first).is_err() || first.is_empty() {
                return;
            }
            encode_histograms_record(&mut record, 0, &first);
            let decoded = decode_histograms(payload_of(&record), &mut second);
            decoded.expect("what was encoded can be decoded");
            assert_eq!(first.len(), second.len());
            for (a, b) in first.iter().zip(&second) {
                assert_eq!((a.series, a.timestamp), (b.series, b.timestamp));
                assert!(a.histogram.same_bits(&b.histogram), "{a:?} {b:?}");
            }
        }
    }
}
