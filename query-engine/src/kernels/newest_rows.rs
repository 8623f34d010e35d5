//! The newest sample at many steps at once: what an instant selector sees.
//!
//! Promise: the newest sample of each window, unless it is a stale marker: nothing older takes its place.

use super::rows::{Bounds, EvenWindows, Filled, Windows};
use crate::eval::value::Row;
use storage_engine::model::is_stale_nan;

impl Windows<'_> {
    /// Puts the newest sample of all windows into `row` from its step `first` on; how many there are. `bounds` are those of the window before
    /// the first and become those of the last.
    pub(crate) fn newest(&self, row: &mut Row, first: usize, bounds: &mut Bounds) -> usize {
        let mut points = 0;
        if self.count == 0 {
            return points;
        }
        // What lies in the windows does not matter, only their newest sample.
        let mut filled = Filled::default();
        let span = self.span(*bounds);
        let is_stale = |v: &f64| is_stale_nan(*v);
        let has_stale = self.values[span.clone()].iter().any(is_stale);
        let even = match has_stale {
            true => None,
            false => EvenWindows::find(self, span.start, span.end),
        };
        let steps = even.as_ref().map_or(0..0, |e| e.steps.clone());
        for k in (0..steps.start).chain(steps.end..self.count) {
            if k == steps.end
                && let Some(even) = &even
            {
                points += self.even_newest(even, row, first, bounds);
            }
            let Bounds { low, high } = self.enter(k, bounds, &mut filled);
            if low < high && !is_stale_nan(self.values[high - 1]) {
                row.put(first + k, self.values[high - 1]);
                points += 1;
            }
        }
        if let Some(even) = even.filter(|_| steps.end == self.count) {
            points += self.even_newest(&even, row, first, bounds);
        }
        points
    }

    fn even_newest(
        &self,
        even: &EvenWindows,
        row: &mut Row,
        first: usize,
        bounds: &mut Bounds,
    ) -> usize {
        let (from, count) = (first + even.steps.start, even.steps.len());
        let newest = self.values[even.bounds.high - 1..].iter();
        let out = &mut row.values[from..from + count];
        match even.stride {
            1 => out.iter_mut().zip(newest).for_each(|(o, v)| *o = *v),
            stride => {
                let newest = newest.step_by(stride);
                out.iter_mut().zip(newest).for_each(|(o, v)| *o = *v);
            }
        }
        row.present.set_run(from, count);
        even.enter(bounds, &mut Filled::default());
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::rate_rows::tests::{is_same, series};
    use storage_engine::model::{Labels, STALE_NAN_BITS};

    #[test]
    fn many_steps_at_once_equal_one_by_one() {
        for seed in 0..2000_i64 {
            let (timestamps, mut values) = series(seed as u64);
            if seed % 3 == 0 {
                values
                    .iter_mut()
                    .skip(seed as usize % 20)
                    .step_by(9)
                    .for_each(|v| *v = f64::from_bits(STALE_NAN_BITS));
            }
            let unit = [1, 7, 15_000, 30_000][(seed % 4) as usize];
            let windows = Windows {
                timestamps: &timestamps,
                values: &values,
                end: 1_000_000 + seed % 91 * unit / 2,
                step: unit * (seed % 5),
                range: unit * (1 + seed % 30) + seed % 2,
                count: 1 + (seed % 70) as usize,
            };
            let expected: Vec<Option<u64>> = (0..windows.count)
                .map(|k| {
                    let at = windows.end + windows.step * k as i64;
                    let newest = timestamps.partition_point(|t| *t <= at).checked_sub(1)?;
                    let is_seen = timestamps[newest] > at - windows.range;
                    (is_seen && !is_stale_nan(values[newest])).then(|| values[newest].to_bits())
                })
                .collect();
            for piece in [windows.count, 1, 13] {
                let mut row = Row::absent(Labels::empty(), windows.count);
                let (mut bounds, mut points) = (Bounds::default(), 0);
                for first in (0..windows.count).step_by(piece) {
                    let part = Windows {
                        end: windows.end + windows.step * first as i64,
                        count: piece.min(windows.count - first),
                        ..windows
                    };
                    points += part.newest(&mut row, first, &mut bounds);
                }
                let got: Vec<Option<u64>> = (0..windows.count)
                    .map(|k| row.get(k).map(f64::to_bits))
                    .collect();
                assert!(is_same(&got, &expected), "seed {seed}, {piece}");
                assert_eq!(points, expected.iter().flatten().count(), "seed {seed}");
            }
        }
    }
}
