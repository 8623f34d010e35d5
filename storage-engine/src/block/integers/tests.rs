//! Columns of many shapes come back, and damaged ones never panic.

use super::super::testing::Random;
use super::*;

fn round_trip(numbers: &[i64]) -> usize {
    let mut bytes = Vec::new();
    encode(numbers, &mut Scratch::default(), &mut bytes);
    let length = bytes.len();
    let mut out = vec![0; numbers.len()];
    let mut cursor = Cursor::new(&bytes);
    decode(&mut cursor, &mut out).unwrap();
    cursor.finish().unwrap();
    assert_eq!(out, numbers);
    // Whatever lies behind a column does not count.
    bytes.resize(length + 600, 0xff);
    let mut cursor = Cursor::with_room(&bytes, length).unwrap();
    out.fill(0);
    decode(&mut cursor, &mut out).unwrap();
    cursor.finish().unwrap();
    assert_eq!(out, numbers);
    // Cut anywhere it is an error.
    for cut in [length / 2, length - 1] {
        assert!(decode(&mut Cursor::new(&bytes[..cut]), &mut out).is_err());
    }
    length
}

#[test]
fn shapes_come_back() {
    for count in [1_i64, 2, 3, 4, 63, 64, 65, 66, 129, 480] {
        let shapes: [&dyn Fn(i64) -> i64; 10] = [
            &|_| 5,
            &|_| i64::MIN,
            &|i| i * 15_000 + 1_700_000_000_000,
            &|i| i * i,
            &|i| if i % 50 == 49 { 1 << 60 } else { i % 3 },
            &|i| if i % 2 == 0 { i64::MIN } else { i64::MAX },
            &|i| i.wrapping_mul(0x1234_5678_9abc_def1),
            &|i| (i % 7) * 4096 - (1 << 40),
            &|i| -i,
            &|i| (i & 1) * i64::MIN,
        ];
        for shape in shapes {
            let numbers: Vec<i64> = (0..count).map(shape).collect();
            round_trip(&numbers);
        }
    }
}

#[test]
fn random_columns_come_back() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let count = 1 + random.below(300) as usize;
        let width = random.below(64) as u32;
        let scale = 1 + random.below(5000) as i64;
        let rare = random.below(40);
        let mut sum = random.next() as i64 >> random.below(64);
        let numbers: Vec<i64> = (0..count)
            .map(|_| {
                let mut step = (random.next() >> width) as i64;
                if rare > 0 && random.below(rare) == 0 {
                    step = random.next() as i64;
                }
                sum = if seed % 2 == 0 {
                    sum.wrapping_add(step.wrapping_mul(scale))
                } else {
                    step.wrapping_mul(scale)
                };
                sum
            })
            .collect();
        round_trip(&numbers);
    }
}

#[test]
fn sizes_are_small() {
    let regular: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    assert!(round_trip(&regular) < 24);
    let pages: Vec<i64> = (0..480_i64).map(|i| (i * 7 % 16) * 4096).collect();
    assert!(round_trip(&pages) < 260);
}

#[test]
fn damage_is_an_error_or_other_numbers() {
    let mut random = Random::new(3);
    let numbers: Vec<i64> = (0..200).map(|i| i * 13 + random.below(9) as i64).collect();
    let mut bytes = Vec::new();
    encode(&numbers, &mut Scratch::default(), &mut bytes);
    let mut out = vec![0; numbers.len()];
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&mut Cursor::new(&damaged), &mut out);
    }
    for _ in 0..20_000 {
        let mut noise: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
        if let Some(first) = noise.first_mut() {
            *first &= 0x17;
        }
        let _ = decode(&mut Cursor::new(&noise), &mut out);
    }
}
