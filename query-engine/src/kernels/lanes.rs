//! Compensated sums over whole rows, several steps at a time, with the widest vectors that the machine has.
//!
//! ```text
//! for each step: t = s + x; c += |s| >= |x| ? (s - t) + x : (x - t) + s, or 0 when t is infinite; s = t
//! ```
//! Promise: bit for bit what [`CompensatedSum::add`] does step by step, which is the oracle of the tests: the same operations in the same
//! order, none fused. Not here: which steps have a number; these rows have one everywhere.

use super::CompensatedSum;

/// Adds a row to running sums; all three are equally long.
pub(crate) fn add_row(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as was just asked.
            return unsafe { add_row_avx512(sums, compensations, row) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { add_row_avx2(sums, compensations, row) };
        }
    }
    add_row_plain(sums, compensations, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_row_avx512(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    add_row_plain(sums, compensations, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_row_avx2(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    add_row_plain(sums, compensations, row);
}

#[inline(always)]
fn add_row_plain(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    for ((sum, compensation), &x) in sums.iter_mut().zip(compensations).zip(row) {
        let next = add(
            CompensatedSum {
                sum: *sum,
                compensation: *compensation,
            },
            x,
        );
        *sum = next.sum;
        *compensation = next.compensation;
    }
}

/// [`CompensatedSum::add`] without branches.
#[inline(always)]
fn add(state: CompensatedSum, x: f64) -> CompensatedSum {
    let sum = state.sum;
    let total = sum + x;
    let of_sum = (sum - total) + x;
    let of_x = (x - total) + sum;
    let lost = if sum.abs() >= x.abs() { of_sum } else { of_x };
    let compensation = state.compensation + lost;
    CompensatedSum {
        sum: total,
        compensation: if total.is_infinite() {
            0.0
        } else {
            compensation
        },
    }
}

/// How many windows are summed up side by side.
const LANES: usize = 8;
/// Samples of each that are taken up together.
const BLOCK: usize = 16;

/// Adds the samples of a window to each of `out`: `length` samples, of the first the first of `values`, of each other `stride` further on.
pub(crate) fn sum_windows(
    values: &[f64],
    stride: usize,
    length: usize,
    out: &mut [CompensatedSum],
) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as was just asked.
            return unsafe { sum_windows_avx512(values, stride, length, out) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { sum_windows_avx2(values, stride, length, out) };
        }
    }
    sum_windows_plain(values, stride, length, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_windows_avx512(values: &[f64], stride: usize, length: usize, out: &mut [CompensatedSum]) {
    sum_windows_plain(values, stride, length, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_windows_avx2(values: &[f64], stride: usize, length: usize, out: &mut [CompensatedSum]) {
    sum_windows_plain(values, stride, length, out);
}

#[inline(always)]
fn sum_windows_plain(values: &[f64], stride: usize, length: usize, out: &mut [CompensatedSum]) {
    for (number, out) in out.chunks_mut(LANES).enumerate() {
        let values = &values[number * LANES * stride..];
        if out.len() < LANES {
            for (lane, out) in out.iter_mut().enumerate() {
                let window = &values[lane * stride..lane * stride + length];
                *out = window.iter().fold(*out, |sum, x| add(sum, *x));
            }
            continue;
        }
        let (mut sums, mut compensations) = ([0.0; LANES], [0.0; LANES]);
        for (lane, out) in out.iter().enumerate() {
            (sums[lane], compensations[lane]) = (out.sum, out.compensation);
        }
        // A block of samples of all windows at a time, turned round so that a row has one of each.
        for begin in (0..length).step_by(BLOCK) {
            let block = BLOCK.min(length - begin);
            let mut rows = [[0.0; LANES]; BLOCK];
            for lane in 0..LANES {
                let of_lane = &values[lane * stride + begin..][..block];
                for (row, x) in rows.iter_mut().zip(of_lane) {
                    row[lane] = *x;
                }
            }
            for row in &rows[..block] {
                add_row_plain(&mut sums, &mut compensations, row);
            }
        }
        for ((out, sum), compensation) in out.iter_mut().zip(sums).zip(compensations) {
            *out = CompensatedSum { sum, compensation };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, count: usize) -> Vec<f64> {
        let mut x = seed;
        let mut next = || {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            x >> 33
        };
        let mut number = || match next() % 40 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::MAX,
            4 => -0.0,
            5 => f64::MIN_POSITIVE / 8.0,
            n => (next() as f64 - 1e9) * 10f64.powi(n as i32 - 20),
        };
        // Some without anything odd, so that sums stay finite.
        (0..count)
            .map(|_| {
                loop {
                    let v = number();
                    if seed.is_multiple_of(2) || v.abs() < 1e200 {
                        break v;
                    }
                }
            })
            .collect()
    }

    #[track_caller]
    fn assert_same(a: f64, b: f64) {
        assert!(
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            "{a} {b}"
        );
    }

    type AddRow = fn(&mut [f64], &mut [f64], &[f64]);

    #[test]
    fn rows_are_added_as_the_oracle_adds_step_by_step() {
        for variant in [add_row as AddRow, add_row_plain as AddRow] {
            for seed in 0..60 {
                let count = 1 + seed as usize % 37;
                let (mut sums, mut compensations) = (vec![0.0; count], vec![0.0; count]);
                let mut expected = vec![CompensatedSum::default(); count];
                for round in 0..20 {
                    let row = numbers(seed + 1000 * round, count);
                    variant(&mut sums, &mut compensations, &row);
                    expected.iter_mut().zip(&row).for_each(|(e, x)| e.add(*x));
                }
                for (k, expected) in expected.iter().enumerate() {
                    assert_same(sums[k], expected.sum);
                    assert_same(compensations[k], expected.compensation);
                }
            }
        }
    }

    type SumWindows = fn(&[f64], usize, usize, &mut [CompensatedSum]);

    #[test]
    fn windows_are_summed_as_the_oracle_sums_each() {
        for variant in [sum_windows as SumWindows, sum_windows_plain as SumWindows] {
            for seed in 0..60 {
                let (stride, length) = (1 + seed as usize % 5, 1 + seed as usize % 70);
                let windows = 1 + seed as usize % 29;
                let values = numbers(seed, (windows - 1) * stride + length);
                let begin = CompensatedSum {
                    sum: seed as f64 / 3.0,
                    compensation: 0.0,
                };
                let mut out = vec![begin; windows];
                variant(&values, stride, length, &mut out);
                for (k, got) in out.iter().enumerate() {
                    let mut expected = begin;
                    let window = &values[k * stride..k * stride + length];
                    window.iter().for_each(|x| expected.add(*x));
                    assert_same(got.sum, expected.sum);
                    assert_same(got.compensation, expected.compensation);
                }
            }
        }
    }
}
