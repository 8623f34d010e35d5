//! `changes` and `resets`: how often neighbours in a window differ, and how often a value fell.

use super::{KernelNotes, WindowArgs};

pub(super) fn changes(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    // From NaN to NaN is no change, whatever their bits.
    Some(count(window, |before, after| {
        after != before && !(after.is_nan() && before.is_nan())
    }))
}

pub(super) fn resets(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    if window.starts.is_empty() {
        return Some(count(window, |before, after| after < before));
    }
    let pairs = window.values.windows(2).enumerate();
    let resets = pairs
        .filter(|(i, pair)| pair[1] < pair[0] || window.start_resets(window.timestamps, i + 1));
    Some(resets.count() as f64)
}

#[inline]
fn count(window: &WindowArgs<'_>, differs: impl Fn(f64, f64) -> bool) -> f64 {
    let after = window.values.iter().skip(1);
    let pairs = window.values.iter().zip(after);
    pairs.filter(|(b, a)| differs(**b, **a)).count() as f64
}
