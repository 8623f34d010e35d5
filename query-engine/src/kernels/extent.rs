//! Functions that pick or count samples of a window: first, last, smallest, largest, their times, how many.
//!
//! Promise: any number wins over NaN in min and max; the first of equal extremes is the value, the last of them is the time.

use super::{KernelNotes, WindowArgs};
use storage_engine::model::TimestampMs;

pub(super) fn count_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(window.values.len() as f64)
}

pub(super) fn present_over_time(_: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(1.0)
}

pub(super) fn first_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    window.values.first().copied()
}

pub(super) fn last_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    window.values.last().copied()
}

pub(super) fn ts_of_first_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    window.timestamps.first().map(|t| *t as f64 / 1000.0)
}

pub(super) fn ts_of_last_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    window.timestamps.last().map(|t| *t as f64 / 1000.0)
}

pub(super) fn min_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    extreme(window, |v, best| v < best).map(|e| e.0)
}

pub(super) fn max_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    extreme(window, |v, best| v > best).map(|e| e.0)
}

pub(super) fn ts_of_min_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    extreme(window, |v, best| v <= best).map(|e| e.1 as f64 / 1000.0)
}

pub(super) fn ts_of_max_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    extreme(window, |v, best| v >= best).map(|e| e.1 as f64 / 1000.0)
}

#[inline]
fn extreme(
    window: &WindowArgs<'_>,
    better: impl Fn(f64, f64) -> bool,
) -> Option<(f64, TimestampMs)> {
    let mut best = (*window.values.first()?, *window.timestamps.first()?);
    for (&v, &t) in window.values.iter().zip(window.timestamps) {
        if better(v, best.0) || best.0.is_nan() {
            best = (v, t);
        }
    }
    Some(best)
}
