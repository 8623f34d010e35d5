//! `sum_over_time` and `avg_over_time` of a series over many windows at once.
//!
//! Promise: bit for bit what the kernels of `sums` compute window by window, which the tests hold it against: windows that lie alike are added up
//! side by side, each in its own order. Not here: native histograms.

use super::CompensatedSum;
use super::lanes::sum_windows;
use super::rows::{Bounds, EvenWindows, Filled, Windows};
use super::sums::{mean, sum};
use crate::eval::value::Row;

impl Windows<'_> {
    /// Computes the sum or the mean of all windows into `row` from its step `first` on. `bounds` are those of the window before the first and
    /// become those of the last.
    pub(crate) fn total(
        &self,
        is_mean: bool,
        row: &mut Row,
        first: usize,
        bounds: &mut Bounds,
    ) -> Filled {
        let mut filled = Filled::default();
        if self.count == 0 {
            return filled;
        }
        let of = |window: &[f64]| if is_mean { mean(window) } else { sum(window) };
        let span = self.span(*bounds);
        let even = EvenWindows::find(self, span.start, span.end);
        let steps = even.as_ref().map_or(0..0, |e| e.steps.clone());
        for k in 0..self.count {
            if let Some(even) = even.as_ref().filter(|_| k == steps.start) {
                even.enter(bounds, &mut filled);
                self.side_by_side(even, is_mean, &mut row.values[first + k..]);
                row.present.set_run(first + k, steps.len());
                filled.points += steps.len();
            }
            if steps.contains(&k) {
                continue;
            }
            let Bounds { low, high } = self.enter(k, bounds, &mut filled);
            if low < high {
                row.put(first + k, of(&self.values[low..high]));
                filled.points += 1;
            }
        }
        filled
    }

    fn side_by_side(&self, even: &EvenWindows, is_mean: bool, out: &mut [f64]) {
        let Bounds { low, high } = even.bounds;
        let (stride, length) = (even.stride, high - low);
        let windows = || (low..).step_by(stride).take(even.steps.len());
        // A mean begins with the first sample, a sum with nothing.
        let skipped = usize::from(is_mean);
        let begin = |low: usize| CompensatedSum {
            sum: if is_mean { self.values[low] } else { 0.0 },
            compensation: 0.0,
        };
        let mut sums: Vec<CompensatedSum> = windows().map(begin).collect();
        sum_windows(
            &self.values[low + skipped..],
            stride,
            length - skipped,
            &mut sums,
        );
        for ((out, total), low) in out.iter_mut().zip(sums).zip(windows()) {
            *out = match is_mean {
                false => total.value(),
                true if total.sum.is_finite() => {
                    total.sum / length as f64 + total.compensation / length as f64
                }
                // It has overflowed, or there is an infinity or a NaN.
                true => mean(&self.values[low..low + length]),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::rate_rows::tests::{is_same, series, slow};
    use storage_engine::model::Labels;

    #[test]
    fn many_windows_at_once_equal_one_by_one_bit_for_bit() {
        for seed in 0..2000_i64 {
            let (timestamps, values) = series(seed as u64);
            let unit = [1, 7, 15_000, 30_000][(seed % 4) as usize];
            let windows = Windows {
                timestamps: &timestamps,
                values: &values,
                end: 1_000_000 + seed % 91 * unit / 2,
                step: unit * (seed % 5),
                range: unit * (1 + seed % 30) + seed % 2,
                count: 1 + (seed % 70) as usize,
            };
            for (name, is_mean) in [("sum_over_time", false), ("avg_over_time", true)] {
                let (expected, filled) = slow(name, &windows);
                let mut row = Row::absent(Labels::empty(), windows.count);
                let got = windows.total(is_mean, &mut row, 0, &mut Bounds::default());
                assert_eq!(got, filled, "{name}, seed {seed}");
                let got: Vec<Option<u64>> = (0..windows.count)
                    .map(|k| row.get(k).map(f64::to_bits))
                    .collect();
                assert!(is_same(&got, &expected), "{name}, seed {seed}");
            }
        }
    }
}
