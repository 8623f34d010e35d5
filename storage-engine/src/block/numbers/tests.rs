//! Float columns of every kind come back bit for bit; damaged ones never panic.

use super::super::testing::{Random, special};
use super::*;

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn round_trip(values: &[f64], profile: Profile) -> u8 {
    let mut bytes = Vec::new();
    let kind = encode(values, profile, &mut Scratch::default(), &mut bytes).kind;
    let mut out = vec![0.0; values.len()];
    let mut unpacker = Unpacker::default();
    unpacker
        .decode(kind, &mut Cursor::new(&bytes), &mut out)
        .unwrap();
    assert_eq!(bits(&out), bits(values), "kind {kind:#x}");
    let length = bytes.len();
    bytes.resize(length + 600, 0xff);
    out.fill(0.0);
    unpacker
        .decode(
            kind,
            &mut Cursor::with_room(&bytes, length).unwrap(),
            &mut out,
        )
        .unwrap();
    assert_eq!(bits(&out), bits(values), "kind {kind:#x}");
    kind & CODE_MASK
}

fn column(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    let shape = random.below(8);
    let rare = [2, 10, 100, 10_000][random.below(4) as usize];
    let mut sum = random.below(1000) as f64;
    (0..count)
        .map(|_| {
            if random.below(rare) == 0 {
                return special(&mut random);
            }
            match shape {
                0 => random.below(3) as f64,
                1 => {
                    sum += random.below(100) as f64;
                    sum
                }
                2 => {
                    sum += random.below(1 << 20) as f64 * 1e-7;
                    sum
                }
                3 => random.below(10_000) as f64 / 100.0,
                4 => f64::from_bits(random.next()),
                5 => random.below(1 << 52) as f64 / (1_u64 << 52) as f64,
                6 => 0.1 + 0.2,
                _ => -(random.below(50) as f64) * 4096.0,
            }
        })
        .collect()
}

#[test]
fn columns_come_back() {
    let mut seen = [0; 8];
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let count = [1, 2, 3, 7, 64, 65, 120, 480][random.below(8) as usize];
        for profile in [Profile::Sealed, Profile::Compacted] {
            seen[usize::from(round_trip(&column(seed, count), profile))] += 1;
        }
    }
    // Many small steps and few large ones, which bins of their own suit better than one width.
    let mut random = Random::new(1);
    let mut sum = 0;
    let skewed: Vec<f64> = (0..4000)
        .map(|_| {
            sum += [1, 1, 1, 1, 1000, 1_000_000][random.below(6) as usize] + random.below(2);
            sum as f64
        })
        .collect();
    seen[usize::from(round_trip(&skewed, Profile::Compacted))] += 1;
    assert_eq!(round_trip(&skewed, Profile::Sealed), DECIMAL);
    for kind in [DECIMAL, DECIMAL_PCO, FLOAT, FLOAT_PCO, RAW] {
        assert!(seen[usize::from(kind)] > 0, "no column became kind {kind}");
    }
}

#[test]
fn damaged_columns_do_not_panic() {
    let mut unpacker = Unpacker::default();
    for seed in 0..60 {
        let values = column(seed, 130);
        let mut bytes = Vec::new();
        let profile = [Profile::Sealed, Profile::Compacted][seed as usize % 2];
        let kind = encode(&values, profile, &mut Scratch::default(), &mut bytes).kind;
        let mut out = vec![0.0; values.len()];
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            let bit = random.below(bytes.len() as u64 * 8) as usize;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = unpacker.decode(kind, &mut Cursor::new(&damaged), &mut out);
            let _ = unpacker.decode(random.next() as u8, &mut Cursor::new(&bytes), &mut out);
        }
    }
}
