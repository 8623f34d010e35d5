//! Histogram records: round trips, frozen bytes, arbitrary bytes.

use super::*;
use crate::model::STALE_NAN_BITS;
use crate::wal::format::{SegmentSeal, Stamp, encoded_record_bytes, read_header, stamp_record};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn number(&mut self) -> f64 {
        match self.below(6) {
            0 => f64::from_bits(self.next()),
            1 => -0.0,
            2 => f64::from_bits(STALE_NAN_BITS),
            3 => self.below(1 << 40) as f64 / 1000.0,
            4 => 0.0,
            _ => self.below(5000) as f64,
        }
    }

    fn numbers(&mut self) -> Vec<f64> {
        (0..self.below(6)).map(|_| self.number()).collect()
    }

    fn spans(&mut self) -> Vec<BucketSpan> {
        (0..self.below(4))
            .map(|_| BucketSpan {
                offset: self.next() as i32 >> self.below(32),
                length: self.next() as u32 >> self.below(32),
            })
            .collect()
    }

    fn histogram(&mut self) -> FloatHistogram {
        let hints = [
            CounterResetHint::Unknown,
            CounterResetHint::CounterReset,
            CounterResetHint::NotCounterReset,
            CounterResetHint::Gauge,
        ];
        FloatHistogram {
            counter_reset_hint: hints[self.below(4) as usize],
            schema: self.next() as i32 >> self.below(32),
            zero_threshold: self.number(),
            zero_count: self.number(),
            count: self.number(),
            sum: self.number(),
            positive_spans: self.spans(),
            negative_spans: self.spans(),
            positive_buckets: self.numbers(),
            negative_buckets: self.numbers(),
            custom_values: self.numbers(),
            integer: self.below(2) == 0,
        }
    }
}

/// Text that tells bits apart: NaN payloads and the sign of zero.
fn exact(sample: &LoggedHistogram) -> String {
    let h = &*sample.histogram;
    let bits = |numbers: &[f64]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
    format!(
        "{:?} {} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {}",
        sample.series,
        sample.timestamp,
        h.counter_reset_hint,
        h.schema,
        bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]),
        h.positive_spans,
        h.negative_spans,
        bits(&h.positive_buckets),
        bits(&h.negative_buckets),
        bits(&h.custom_values),
        h.integer,
    )
}

fn payload(record: &[u8]) -> &[u8] {
    let bytes = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
    &record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + bytes]
}

#[test]
fn every_histogram_survives() {
    let mut random = Random(7);
    for round in 0..200 {
        let samples: Vec<_> = (0..round % 9)
            .map(|_| LoggedHistogram {
                series: SeriesRef {
                    index: random.next() as u32 >> random.below(32),
                    generation: random.below(3) as u32,
                },
                timestamp: random.next() as i64 >> random.below(64),
                histogram: Arc::new(random.histogram()),
            })
            .collect();
        let mut out = Vec::new();
        encode_histograms_record(&mut out, 3, &samples);
        if samples.is_empty() {
            assert!(out.is_empty());
            continue;
        }
        assert_eq!(encoded_record_bytes(&out), Some(out.len()));
        let mut decoded = Vec::new();
        decode_histograms(payload(&out), &mut decoded).unwrap();
        let exact_all = |all: &[LoggedHistogram]| all.iter().map(exact).collect::<Vec<_>>();
        assert_eq!(exact_all(&decoded), exact_all(&samples));
        // Every prefix is an error or a list of whole entries.
        for end in 0..payload(&out).len() {
            if decode_histograms(&payload(&out)[..end], &mut decoded).is_ok() {
                assert!(decoded.len() < samples.len());
            }
        }
    }
}

#[test]
fn large_histograms_are_split_over_records() {
    let big = Arc::new(FloatHistogram {
        positive_buckets: vec![f64::from_bits(0x7ff0_0000_0000_0003); HISTOGRAM_PARTS_MAX],
        ..FloatHistogram::default()
    });
    let samples: Vec<_> = (0..8)
        .map(|index| LoggedHistogram {
            series: SeriesRef {
                index,
                generation: 1,
            },
            timestamp: 5,
            histogram: Arc::clone(&big),
        })
        .collect();
    let mut out = Vec::new();
    encode_histograms_record(&mut out, 1, &samples);
    let (mut at, mut found, mut records) = (0, Vec::new(), 0);
    while at < out.len() {
        let bytes = encoded_record_bytes(&out[at..]).unwrap();
        let payload = payload(&out[at..]);
        assert!(payload.len() <= WAL_RECORD_BYTES_MAX);
        let mut decoded = Vec::new();
        decode_histograms(payload, &mut decoded).unwrap();
        found.extend(decoded.iter().map(|d| d.series.index));
        at += bytes;
        records += 1;
    }
    assert_eq!(found, (0..8).collect::<Vec<_>>());
    assert!(records > 1);
}

#[test]
fn any_bytes_decode_to_histograms_or_an_error() {
    let mut random = Random(99);
    let mut decoded = Vec::new();
    for length in 0..4000_usize {
        let payload: Vec<u8> = (0..length % 83)
            .map(|_| random.next() as u8 >> random.below(8))
            .collect();
        let _ = decode_histograms(&payload, &mut decoded);
        assert!(decoded.len() <= payload.len());
    }
}

/// Bytes of version 2, for ever: a log that was written must stay readable. A change here is a new version.
#[test]
fn version_2_is_these_bytes() {
    let histogram = FloatHistogram {
        counter_reset_hint: CounterResetHint::NotCounterReset,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 9.0,
        sum: 18.4,
        positive_spans: vec![
            BucketSpan {
                offset: -1,
                length: 2,
            },
            BucketSpan {
                offset: 4,
                length: 1,
            },
        ],
        positive_buckets: vec![1.0, 2.0, 4.0],
        integer: true,
        ..FloatHistogram::default()
    };
    let custom = FloatHistogram {
        schema: -53,
        count: 1.5,
        sum: f64::from_bits(STALE_NAN_BITS),
        custom_values: vec![0.25, 10.0],
        ..FloatHistogram::default()
    };
    let sample = |index, histogram: FloatHistogram| LoggedHistogram {
        series: SeriesRef {
            index,
            generation: 1,
        },
        timestamp: 1_700_000_000_000,
        histogram: Arc::new(histogram),
    };
    let mut out = Vec::new();
    encode_histograms_record(&mut out, 0, &[sample(7, histogram), sample(9, custom)]);
    let seal = SegmentSeal::new(&[3; 16], 1, 9);
    let stamp = Stamp {
        seal,
        offset: 0,
        lsn: 5,
        synced_lsn: 4,
    };
    stamp_record(&mut out, stamp);
    let header = read_header(out[..40].try_into().unwrap(), seal, 0).unwrap();
    assert_eq!(header.kind, RecordKind::Histograms);
    let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = concat!(
    "6657414c020400003f00000001000000050000000000000086efdebd093519181633c7b365ba6f66",
    "100280a0abfef962060621021104111222c08f02010208010003110211041108",
    "00000400000069000002f83f08020000000000f07f000000000202d03f111400",
);
