//! Chunks give back what they got, bit for bit, across every encoding class and seal.

use super::bits::Bits;
use super::*;
use crate::model::SampleColumns;
use crate::shard_api::{ReadNotes, TimeRange};

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

fn check(samples: &[(i64, u64)]) {
    let mut head = Head::default();
    let series = SeriesRef {
        index: 3,
        generation: 7,
    };
    head.occupy(series);
    for (i, &(t, bits)) in samples.iter().enumerate() {
        assert_eq!(head.append(series, t, bits), Verdict::Stored, "sample {i}");
        assert_eq!(head.append(series, t, bits), Verdict::Duplicate);
        assert_eq!(
            head.check(series, t, !bits),
            Verdict::Rejected(RejectReason::DuplicateTimestamp)
        );
    }
    let mut out = SampleColumns::default();
    head.read(3, ALL, &mut out, &mut ReadNotes::default());
    let got: Vec<(i64, u64)> = out
        .timestamps
        .iter()
        .zip(&out.values)
        .map(|(t, v)| (*t, v.to_bits()))
        .collect();
    assert_eq!(got, samples);
    for part in [samples.len() / 3, samples.len() / 2] {
        if let (Some(a), Some(b)) = (samples.get(part), samples.get(part * 3 / 2)) {
            let range = TimeRange { min: a.0, max: b.0 };
            out.clear();
            head.read(3, range, &mut out, &mut ReadNotes::default());
            let expected = samples.iter().filter(|s| range.contains(s.0)).count();
            assert_eq!(out.len(), expected);
        }
    }
}

#[test]
fn special_values_and_timestamps_survive() {
    let specials = [
        0x7ff0_0000_0000_0002,
        0x7ff8_0000_0000_0001,
        0xfff8_dead_beef_0000,
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        (-0.0_f64).to_bits(),
        0,
        1,
        u64::MAX,
        f64::MAX.to_bits(),
        1.5_f64.to_bits(),
    ];
    let samples: Vec<(i64, u64)> = (0..1000)
        .map(|i| (i as i64 * 15_000, specials[i % specials.len()]))
        .collect();
    check(&samples);
    check(&[
        (i64::MIN, 1),
        (i64::MIN + 1, 2),
        (-5, 3),
        (0, 3),
        (i64::MAX - 1, 3),
        (i64::MAX, 4),
    ]);
}

#[test]
fn constants_need_no_slot() {
    let mut head = Head::default();
    let series = SeriesRef {
        index: 0,
        generation: 1,
    };
    head.occupy(series);
    for i in 0..1000 {
        head.append(series, i * 10, 42.0_f64.to_bits());
    }
    assert_eq!(head.sizes().open_bytes, 0);
    assert_eq!(head.sizes().sealed_chunks, 8);
    assert_eq!(head.chunk_count(), 9);
    let mut out = SampleColumns::default();
    head.read(0, ALL, &mut out, &mut ReadNotes::default());
    assert_eq!(out.len(), 1000);
    assert_eq!(out.timestamps.last(), Some(&9990));
}

#[test]
fn random_series_round_trip() {
    for seed in 1..400_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        println!("seed {seed}");
        let mut t = random.below(1 << 42) as i64 - (1 << 41);
        let mut bits = 0;
        let mut samples = Vec::new();
        let kind = random.below(4);
        for _ in 0..random.below(700) {
            t += match random.below(12) {
                0 => 1 + random.below(40) as i64,
                1 => 1 + random.below(100_000) as i64,
                2 if kind == 3 => 1 + random.below(1 << 34) as i64,
                _ => 15_000,
            };
            bits = match (kind, random.below(5)) {
                // Whole numbers and decimals, which are packed when sealed; some beyond 2^53, some negative zeros.
                (0, 0) if seed % 7 == 0 => (-0.0_f64).to_bits(),
                (0, 1) if seed % 5 == 0 => (random.next() as f64).to_bits(),
                (0, n) => {
                    let power = 10_f64.powi((seed % 9) as i32);
                    let step = random.below(1 << (n * 8)) as f64;
                    ((step - 100.0) / power).to_bits()
                }
                (1, 0..4) => bits,
                (2, _) => random.next(),
                _ => ((random.below(1000) as f64) / 10.0).to_bits(),
            };
            samples.push((t, bits));
        }
        check(&samples);
    }
}

#[test]
fn damaged_streams_do_not_panic() {
    let mut random = Random(77);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
        let mut out = SampleColumns::default();
        bits::decode_stream(Bits::new(&bytes), 0, 120, ALL, &mut out);
        assert!(out.len() <= 120);
    }
}

#[test]
fn decimals_are_packed_small_and_come_back() {
    for (name, value) in [
        (
            "counter",
            (|i| (1_000_000 + i * 37 + i * i % 5) as f64) as fn(i64) -> f64,
        ),
        ("gauge", |i| ((i * 7919) % 10_007) as f64 / 100.0),
        ("negative", |i| -((i * 7919) % 97) as f64 / 8.0),
    ] {
        let samples: Vec<(i64, u64)> = (0..1200)
            .map(|i| (i * 15_000 + (i * 31) % 7, value(i).to_bits()))
            .collect();
        check(&samples);
        let mut columns = SampleColumns::default();
        for &(t, bits) in &samples[..120] {
            columns.push(t, f64::from_bits(bits));
        }
        let mut packed = Vec::new();
        assert!(page::pack(&columns, 400, &mut packed), "{name}");
        let mut out = SampleColumns::default();
        let span = (samples[119].0 - samples[0].0) as u32;
        page::unpack(&packed, samples[0].0, span, 120, ALL, &mut out);
        assert_eq!(out, columns, "{name}");
    }
}

#[test]
fn damaged_pages_do_not_panic() {
    let mut random = Random(78);
    for _ in 0..5000 {
        let mut bytes: Vec<u8> = (0..random.below(90)).map(|_| random.next() as u8).collect();
        if let [a, b, c, ..] = bytes.as_mut_slice() {
            (*a, *b, *c) = (*a % 34, *b % 8, *c & 0xbf);
        }
        let mut out = SampleColumns::default();
        page::unpack(&bytes, 5, 1000, random.below(200) as u16, ALL, &mut out);
        assert!(out.len() <= 120);
    }
}
