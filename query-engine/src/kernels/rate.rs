//! `rate`, `increase`, `delta`, `irate`, `idelta`: how much a series moved inside a window.
//!
//! Promise: extrapolation to the window's edges as Prometheus 3 does it: up to an edge when the gap is below 1.1 average intervals, else by
//! half an interval, and a counter never starts below zero. Two samples inside the window are needed; nothing before it is looked at.

use super::{KernelNotes, WindowArgs, seconds};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Rate,
    Increase,
    Delta,
}

/// Where a window lies and where in it its samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    /// How many; at least two.
    pub(super) samples: usize,
}

/// What a change is stretched by, seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Between first and last sample.
    sampled: f64,
    /// Before the first.
    pub(super) to_start: f64,
    /// Behind the last.
    to_end: f64,
}

pub(super) fn rate(window: &WindowArgs<'_>, notes: &mut KernelNotes) -> Option<f64> {
    extrapolated(window, Kind::Rate, notes)
}

pub(super) fn increase(window: &WindowArgs<'_>, notes: &mut KernelNotes) -> Option<f64> {
    extrapolated(window, Kind::Increase, notes)
}

pub(super) fn delta(window: &WindowArgs<'_>, notes: &mut KernelNotes) -> Option<f64> {
    extrapolated(window, Kind::Delta, notes)
}

#[inline]
fn extrapolated(window: &WindowArgs<'_>, kind: Kind, notes: &mut KernelNotes) -> Option<f64> {
    if !window.starts.is_empty() && kind != Kind::Delta {
        return counted(window, kind == Kind::Rate, notes);
    }
    let (values, times) = (window.values, window.timestamps);
    let (&first, &last) = (values.first()?, values.last()?);
    let (&first_time, &last_time) = (times.first()?, times.last()?);
    if values.len() < 2 {
        return None;
    }
    let mut moved = last - first;
    if kind != Kind::Delta {
        for (before, after) in values.iter().zip(values.iter().skip(1)) {
            if after < before {
                moved += before;
            }
        }
    }

    let window = Window {
        start: window.range_start,
        end: window.range_end,
        first_time,
        last_time,
        samples: values.len(),
    };
    Some(stretched(kind, &window, first, moved))
}

/// The result for a window whose first sample and change (resets undone) are known.
#[inline]
pub(super) fn stretched(kind: Kind, window: &Window, first: f64, moved: f64) -> f64 {
    let terms = window.terms();
    let mut to_start = terms.to_start;
    if kind != Kind::Delta && moved > 0.0 && first >= 0.0 {
        let to_zero = terms.sampled * (first / moved);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    moved * terms.factor(kind, window, to_start)
}

impl Window {
    #[inline]
    pub(super) fn terms(&self) -> Terms {
        let mut to_start = (self.first_time - self.start) as f64 / 1000.0;
        let mut to_end = (self.end - self.last_time) as f64 / 1000.0;
        let sampled = (self.last_time - self.first_time) as f64 / 1000.0;
        let interval = sampled / (self.samples - 1) as f64;
        let threshold = interval * 1.1;
        if to_start >= threshold {
            to_start = interval / 2.0;
        }
        if to_end >= threshold {
            to_end = interval / 2.0;
        }
        Terms {
            sampled,
            to_start,
            to_end,
        }
    }
}

impl Terms {
    /// What the change is multiplied by when it is stretched by `to_start` seconds at its start.
    #[inline]
    pub(super) fn factor(&self, kind: Kind, window: &Window, to_start: f64) -> f64 {
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        match kind {
            Kind::Rate => factor / seconds(window.end - window.start),
            _ => factor,
        }
    }

    /// Is a counter with this first sample surely further from its zero than it is stretched? Needs no division; false when it is close.
    /// The margin is far above what rounding can do to numbers that are not too small.
    #[inline]
    pub(super) fn is_far_from_zero(&self, moved: f64, first: f64) -> bool {
        const MARGIN: f64 = 1.0 + 1e-9;
        const LEAST: f64 = 1e-250;
        (self.sampled * first > self.to_start * moved * MARGIN) & (moved > LEAST) & (first > LEAST)
    }
}

/// `rate` and `increase` of samples with start timestamps.
#[cold]
fn counted(window: &WindowArgs<'_>, per_second: bool, notes: &mut KernelNotes) -> Option<f64> {
    let (values, times) = (window.values, window.timestamps);
    let (&first, &last) = (values.first()?, values.last()?);
    window.note_overlaps(times, window.metric, notes);
    let zero_at = window.zero_at(times);
    if values.len() < 2 && zero_at.is_none() {
        return None;
    }
    let mut moved = last - first;
    for (i, pair) in values.windows(2).enumerate() {
        if let &[before, after] = pair
            && (after < before || window.start_resets(times, i + 1))
        {
            moved += before;
        }
    }
    if zero_at.is_some() {
        moved += first;
    }
    let share = (moved > 0.0 && first >= 0.0).then_some(first / moved);
    let factor = extrapolation(window, times, share, zero_at, per_second)?;
    Some(moved * factor)
}

/// By how much a change between the first and the last of `times` grows when it is stretched to the window's edges. `first_share` is the
/// first sample of a counter as a share of the change: the counter is not stretched to below zero. Where it is known to have been at zero
/// inside the window (`zero_at`), the change reaches back to that time and no further.
pub(super) fn extrapolation(
    window: &WindowArgs<'_>,
    times: &[i64],
    first_share: Option<f64>,
    zero_at: Option<i64>,
    per_second: bool,
) -> Option<f64> {
    let (&first_time, &last_time) = (times.first()?, times.last()?);
    let mut to_start = (first_time - window.range_start) as f64 / 1000.0;
    let mut to_end = (window.range_end - last_time) as f64 / 1000.0;
    let mut sampled = (last_time - first_time) as f64 / 1000.0;
    let interval = match times.len() {
        1 => 0.0,
        samples => sampled / (samples - 1) as f64,
    };
    let threshold = interval * 1.1;
    if let Some(zero_at) = zero_at {
        to_start = 0.0;
        sampled = (last_time - zero_at) as f64 / 1000.0;
    } else if to_start >= threshold {
        to_start = interval / 2.0;
    }
    if let Some(share) = first_share.filter(|_| zero_at.is_none()) {
        let to_zero = sampled * share;
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = interval / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some(if per_second {
        factor / window.range_seconds()
    } else {
        factor
    })
}

pub(super) fn irate(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    let (moved, interval_ms) = last_step(window, true)?;
    Some(moved / (interval_ms as f64 / 1000.0))
}

pub(super) fn idelta(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(last_step(window, false)?.0)
}

/// Difference of the last two samples and their distance in milliseconds; after a counter reset the last value itself.
fn last_step(window: &WindowArgs<'_>, counter: bool) -> Option<(f64, i64)> {
    let &[.., before, after] = window.values else {
        return None;
    };
    let &[.., before_time, after_time] = window.timestamps else {
        return None;
    };
    let interval = after_time - before_time;
    if interval == 0 {
        return None;
    }
    let last = window.timestamps.len() - 1;
    let moved = if counter && (after < before || window.start_resets(window.timestamps, last)) {
        after
    } else {
        after - before
    };
    Some((moved, interval))
}
