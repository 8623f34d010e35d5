//! `rate`, `increase` and `delta` of a series over many windows at once.
//!
//! Promise: bit for bit what the kernels of `rate` compute window by window, which the tests hold it against. A counter's resets are looked for
//! once; each window adds up those inside it in their order. Of windows that lie alike everything but first and last value is the same.
//! Not here: start timestamps, ranges with edges, native histograms: those go window by window.

use super::rate::{Kind, Window, stretched};
use super::rows::{Bounds, EvenWindows, Filled, Windows};
use crate::eval::value::Row;
use std::ops::Range;

impl Windows<'_> {
    /// Computes all windows into `row` from its step `first` on. `bounds` are those of the window before the first and become those of the last.
    pub(crate) fn extrapolate(
        &self,
        (counter, per_second): (bool, bool),
        row: &mut Row,
        first: usize,
        bounds: &mut Bounds,
    ) -> Filled {
        let kind = match (counter, per_second) {
            (false, _) => Kind::Delta,
            (true, true) => Kind::Rate,
            (true, false) => Kind::Increase,
        };
        let mut filled = Filled::default();
        if self.count == 0 {
            return filled;
        }
        let Range {
            start: from,
            end: stop,
        } = self.span(*bounds);
        let mut resets = Vec::new();
        if counter {
            find_resets(&self.values[from..stop], from, &mut resets);
        }
        let mut run = Run {
            windows: self,
            kind,
            resets: &resets,
            next_reset: 0,
            bounds,
            filled: &mut filled,
        };
        let even = EvenWindows::find(self, from, stop);
        let steps = even.as_ref().map_or(0..0, |e| e.steps.clone());
        for k in 0..steps.start {
            run.one(k, row, first + k);
        }
        if let Some(even) = even {
            run.many(&even, row, first);
        }
        for k in steps.end..self.count {
            run.one(k, row, first + k);
        }
        filled
    }
}

/// Indices of the samples that are below the one before; `offset` is the index of the first of `values`.
fn find_resets(values: &[f64], offset: usize, out: &mut Vec<usize>) {
    const RUN: usize = 16;
    let (before, after) = (values, values.get(1..).unwrap_or_default());
    let runs = before.chunks(RUN).zip(after.chunks(RUN));
    for (number, (before, after)) in runs.enumerate() {
        // No branch inside, so that it runs over several samples at a time.
        let fell = |(b, a): (&f64, &f64)| u32::from(a < b);
        if before.iter().zip(after).map(fell).sum::<u32>() == 0 {
            continue;
        }
        for (i, (b, a)) in before.iter().zip(after).enumerate() {
            if a < b {
                out.push(offset + number * RUN + i + 1);
            }
        }
    }
}

/// A pass over the windows.
struct Run<'a, 'b> {
    windows: &'a Windows<'a>,
    kind: Kind,
    resets: &'a [usize],
    /// The first reset that may lie in the next window.
    next_reset: usize,
    bounds: &'b mut Bounds,
    filled: &'b mut Filled,
}

impl Run<'_, '_> {
    /// One window, wherever it lies.
    fn one(&mut self, k: usize, row: &mut Row, at: usize) {
        let windows = self.windows;
        let (times, values) = (windows.timestamps, windows.values);
        let end = windows.end_of(k);
        let start = end.saturating_sub(windows.range);
        let Bounds { low, high } = windows.enter(k, self.bounds, self.filled);
        if high < low + 2 {
            return;
        }
        let last = high - 1;
        let mut moved = values[last] - values[low];
        while self.resets.get(self.next_reset).is_some_and(|r| *r <= low) {
            self.next_reset += 1;
        }
        let inside = self.resets[self.next_reset..].iter();
        for &reset in inside.take_while(|r| **r <= last) {
            moved += values[reset - 1];
        }
        let window = Window {
            start,
            end,
            first_time: times[low],
            last_time: times[last],
            samples: high - low,
        };
        row.put(at, stretched(self.kind, &window, values[low], moved));
        self.filled.points += 1;
    }

    /// Windows that lie alike; `first` is the row's step of window 0.
    fn many(&mut self, even: &EvenWindows, row: &mut Row, first: usize) {
        let windows = self.windows;
        let (times, values) = (windows.timestamps, windows.values);
        let (stride, count) = (even.stride, even.steps.len());
        let Bounds { low, high } = even.bounds;
        let last = high - 1;
        let length = high - low;
        even.enter(self.bounds, self.filled);
        if length < 2 {
            return;
        }
        let from = first + even.steps.start;
        let out = &mut row.values[from..from + count];
        let (firsts, lasts) = (&values[low..], &values[last..]);
        match stride {
            1 => {
                for ((out, a), b) in out.iter_mut().zip(firsts).zip(lasts) {
                    *out = b - a;
                }
            }
            _ => {
                let firsts = firsts.iter().step_by(stride);
                let lasts = lasts.iter().step_by(stride);
                for ((out, a), b) in out.iter_mut().zip(firsts).zip(lasts) {
                    *out = b - a;
                }
            }
        }
        for &reset in self.resets {
            // Windows with low + k * stride < reset <= last + k * stride.
            let begin = reset.saturating_sub(last).div_ceil(stride);
            let end = reset.saturating_sub(low).div_ceil(stride).min(count);
            if begin < end {
                out[begin..end]
                    .iter_mut()
                    .for_each(|o| *o += values[reset - 1]);
            }
        }
        let end = windows.end_of(even.steps.start);
        let window = Window {
            start: end.saturating_sub(windows.range),
            end,
            first_time: times[low],
            last_time: times[last],
            samples: length,
        };
        self.stretch(&window, out, firsts, stride);
        row.present.set_run(from, count);
        self.filled.points += count;
    }

    /// Stretches changes to the edges of windows that lie alike.
    fn stretch(&self, window: &Window, out: &mut [f64], firsts: &[f64], stride: usize) {
        const RUN: usize = 8;
        let terms = window.terms();
        let factor = terms.factor(self.kind, window, terms.to_start);
        for (number, out) in out.chunks_mut(RUN).enumerate() {
            let firsts = &firsts[number * RUN * stride..];
            let firsts = firsts.iter().step_by(stride);
            // Only a counter near its beginning is not stretched all the way. What is far from it is told without a division.
            let mut near_zero = false;
            if self.kind != Kind::Delta {
                for (moved, first) in out.iter().zip(firsts.clone()) {
                    let is_counted = (*moved > 0.0) & (*first >= 0.0);
                    near_zero |= is_counted & !terms.is_far_from_zero(*moved, *first);
                }
            }
            if near_zero {
                for (moved, first) in out.iter_mut().zip(firsts) {
                    *moved = stretched(self.kind, window, *first, *moved);
                }
            } else {
                out.iter_mut().for_each(|moved| *moved *= factor);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::{KernelNotes, WindowArgs, range_kernel};
    use storage_engine::model::Labels;

    fn mix(mut x: u64) -> u64 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The slow way: every window looked at for itself.
    pub(in crate::kernels) fn slow(
        name: &str,
        windows: &Windows<'_>,
    ) -> (Vec<Option<u64>>, Filled) {
        let kernel = range_kernel(name).unwrap();
        let mut filled = Filled::default();
        let (mut out, mut seen) = (Vec::new(), 0);
        for k in 0..windows.count {
            let end = windows.end_of(k);
            let start = end - windows.range;
            let low = windows.timestamps.partition_point(|t| *t <= start);
            let high = windows.timestamps.partition_point(|t| *t <= end);
            filled.visited += high - low;
            filled.read += high - seen.clamp(low, high);
            seen = high;
            let args = WindowArgs {
                timestamps: &windows.timestamps[low..high],
                values: &windows.values[low..high],
                starts: &[],
                eval_time: end,
                metric: "",
                range_start: start,
                range_end: end,
                scalars: &[],
            };
            let value = match low < high {
                true => kernel(&args, &mut KernelNotes::default()),
                false => None,
            };
            filled.points += usize::from(value.is_some());
            out.push(value.map(f64::to_bits));
        }
        (out, filled)
    }

    pub(in crate::kernels) fn is_same(a: &[Option<u64>], b: &[Option<u64>]) -> bool {
        let nan = |bits: u64| f64::from_bits(bits).is_nan();
        a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| match (a, b) {
                (Some(a), Some(b)) => a == b || nan(*a) && nan(*b),
                _ => a == b,
            })
    }

    /// Counters with resets, gauges, NaN and infinities; even and uneven spacing, gaps.
    pub(in crate::kernels) fn series(seed: u64) -> (Vec<i64>, Vec<f64>) {
        let random = |n: u64| mix(seed << 32 | n);
        let length = random(0) % 90;
        let interval = [1, 7, 15_000, 30_000][(random(1) % 4) as usize];
        let (mut t, mut v) = (1_000_000 + (random(2) % 40_000) as i64, 0.0);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for n in 0..length {
            t += interval;
            match random(3) % 4 {
                0 => t += (random(1000 + n) % 3) as i64 * interval / 5,
                1 if random(1000 + n) % 20 == 0 => t += 10 * interval,
                _ => {}
            }
            match (random(4) % 6, random(2000 + n) % 25) {
                (0, 0) | (1, 0..=8) => v = (random(3000 + n) % 3) as f64,
                (2, _) => v = (random(3000 + n) % 1000) as f64 / 7.0 - 60.0,
                (3, 0) => v = f64::NAN,
                (3, 1) => v = f64::INFINITY,
                (3, 2) => v = f64::MIN_POSITIVE / 4.0,
                (3, 3) => v = 1e308,
                _ => v += (random(3000 + n) % 50) as f64 / 8.0,
            }
            times.push(t);
            values.push(v);
        }
        (times, values)
    }

    #[test]
    fn many_windows_at_once_equal_one_by_one_bit_for_bit() {
        for seed in 0..3000 {
            let (timestamps, values) = series(seed);
            let random = |n: u64| mix(seed << 32 | 1 << 20 | n);
            let unit = [1, 7, 15_000, 30_000][(random(0) % 4) as usize];
            let windows = Windows {
                timestamps: &timestamps,
                values: &values,
                end: 1_000_000 + (random(1) % 100) as i64 * unit / 2,
                step: unit * (random(2) % 5) as i64,
                range: unit * (1 + random(3) % 30) as i64 + i64::from(random(4) % 2 == 0),
                count: 1 + (random(5) % 70) as usize,
            };
            for (name, kind) in [
                ("rate", (true, true)),
                ("increase", (true, false)),
                ("delta", (false, false)),
            ] {
                let (expected, filled) = slow(name, &windows);
                // In one go, and in pieces.
                for piece in [windows.count, 1, 13] {
                    let mut row = Row::absent(Labels::empty(), windows.count);
                    let mut bounds = Bounds::default();
                    let mut all = Filled::default();
                    for first in (0..windows.count).step_by(piece) {
                        let part = Windows {
                            end: windows.end_of(first),
                            count: piece.min(windows.count - first),
                            ..windows
                        };
                        let filled = part.extrapolate(kind, &mut row, first, &mut bounds);
                        all.points += filled.points;
                        all.visited += filled.visited;
                        all.read += filled.read;
                    }
                    let got: Vec<Option<u64>> = (0..windows.count)
                        .map(|k| row.get(k).map(f64::to_bits))
                        .collect();
                    assert!(is_same(&got, &expected), "{name}, seed {seed}, {piece}");
                    assert_eq!(all, filled, "{name}, seed {seed}, {piece}");
                }
            }
        }
    }
}
