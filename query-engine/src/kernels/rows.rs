//! Windows of a series at many steps, and how they lie over its samples.
//!
//! Promise: bounds and counts are those of looking at every window for itself. Where samples and windows keep step, the windows are a pair of
//! running indices. Not here: what is computed of them (`rate_rows`, `sum_rows`).

use std::ops::Range;
use storage_engine::model::TimestampMs;

/// Windows of equal length over one series, each `step` further on than the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows<'a> {
    /// Ascending.
    pub(crate) timestamps: &'a [TimestampMs],
    pub(crate) values: &'a [f64],
    /// Right edge of the first window, inclusive.
    pub(crate) end: TimestampMs,
    /// 0: all windows are the same.
    pub(crate) step: i64,
    pub(crate) range: i64,
    /// How many.
    pub(crate) count: usize,
}

/// What the windows hold together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Results.
    pub(crate) points: usize,
    /// Samples, those in several windows counted for each.
    pub(crate) visited: usize,
    /// Samples that no window before had.
    pub(crate) read: usize,
}

/// The samples of a window: `low..high`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: usize,
    pub(crate) high: usize,
}

impl Windows<'_> {
    /// Right edge of window `k`.
    pub(super) fn end_of(&self, k: usize) -> TimestampMs {
        self.end.saturating_add(self.step.saturating_mul(k as i64))
    }

    /// The samples of all windows, with none before them; `bounds` are those of an earlier window. There must be a window.
    pub(super) fn span(&self, bounds: Bounds) -> Range<usize> {
        let start = self.end.saturating_sub(self.range);
        let from = bounds.low + passed(&self.timestamps[bounds.low..], start);
        let stop = bounds.high.max(from);
        let last = self.end_of(self.count - 1);
        from..stop + passed(&self.timestamps[stop..], last)
    }

    /// Moves on to window `k`, wherever it lies.
    pub(super) fn enter(&self, k: usize, bounds: &mut Bounds, filled: &mut Filled) -> Bounds {
        let end = self.end_of(k);
        let start = end.saturating_sub(self.range);
        let high = bounds.high + passed(&self.timestamps[bounds.high..], end);
        let low = bounds.low + passed(&self.timestamps[bounds.low..], start);
        filled.visited += high - low;
        filled.read += high - bounds.high.clamp(low, high);
        *bounds = Bounds { low, high };
        *bounds
    }
}

/// How many of the first timestamps are not after `t`: near ones first, then by halves.
fn passed(timestamps: &[TimestampMs], t: TimestampMs) -> usize {
    match timestamps.get(4) {
        Some(&near) if near <= t => timestamps.partition_point(|&x| x <= t),
        _ => timestamps.iter().take_while(|&&x| x <= t).count(),
    }
}

/// Windows that lie alike over evenly spaced samples, none cut short by an end of the series.
pub(super) struct EvenWindows {
    /// Which windows.
    pub(super) steps: Range<usize>,
    /// Samples from one window to the next.
    pub(super) stride: usize,
    /// Of the first of them.
    pub(super) bounds: Bounds,
}

impl EvenWindows {
    /// Those of `windows`, if the samples `from..stop` are evenly spaced and the windows keep step with them.
    pub(super) fn find(windows: &Windows<'_>, from: usize, stop: usize) -> Option<EvenWindows> {
        let times = windows.timestamps.get(from..stop)?;
        let (&t0, &t1) = (times.first()?, times.get(1)?);
        let interval = t1.checked_sub(t0).filter(|interval| *interval > 0)?;
        let uneven = |(a, b): (&i64, &i64)| b.wrapping_sub(*a) ^ interval;
        let differences = times.iter().zip(&times[1..]).map(uneven);
        if windows.step <= 0
            || windows.step % interval != 0
            || differences.fold(0, |a, b| a | b) != 0
        {
            return None;
        }
        let stride = windows.step / interval;
        // Indices of the first window as if the samples went on for ever; of window k they are k strides further.
        let index = |t: TimestampMs| Some(t.checked_sub(t0)?.div_euclid(interval) + 1);
        let low = index(windows.end.checked_sub(windows.range)?)?;
        let high = index(windows.end)?;
        let first = if low < 0 {
            (-low).div_euclid(stride) + i64::from(-low % stride != 0)
        } else {
            0
        };
        let room = times.len() as i64 - high;
        let end = if room < 0 { 0 } else { room / stride + 1 };
        let (first, end) = (first as usize, (end as usize).min(windows.count));
        let at = |index: i64| from + (index + first as i64 * stride) as usize;
        (first < end && high > low).then(|| EvenWindows {
            steps: first..end,
            stride: stride as usize,
            bounds: Bounds {
                low: at(low),
                high: at(high),
            },
        })
    }

    /// Moves on to the last of them.
    pub(super) fn enter(&self, bounds: &mut Bounds, filled: &mut Filled) {
        let Bounds { low, high } = self.bounds;
        let (length, others) = (high - low, self.steps.len() - 1);
        filled.visited += length * (others + 1);
        // All but the first have the same number of new samples.
        filled.read += high - bounds.high.clamp(low, high) + self.stride.min(length) * others;
        *bounds = Bounds {
            low: low + self.stride * others,
            high: high + self.stride * others,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_windows_are_found() {
        let timestamps: Vec<i64> = (0..300).map(|n| 7 + n * 15).collect();
        let values = vec![0.0; 300];
        let windows = Windows {
            timestamps: &timestamps,
            values: &values,
            end: 60,
            step: 60,
            range: 300,
            count: 100,
        };
        let even = EvenWindows::find(&windows, 0, 300).unwrap();
        // The first whole window ends at 300, the last before a sample is missing at 4500.
        assert_eq!((even.steps.clone(), even.stride), (4..75, 4));
        assert_eq!(even.bounds, Bounds { low: 0, high: 20 });
    }
}
