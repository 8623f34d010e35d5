//! `stdvar_over_time` and `stddev_over_time`: Welford's population variance with compensated mean and squares.

use super::sums::CompensatedSum;
use super::{KernelNotes, WindowArgs};

pub(super) fn stdvar_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(variance(window.values))
}

pub(super) fn stddev_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(variance(window.values).sqrt())
}

fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = CompensatedSum::default();
    let mut squares = CompensatedSum::default();
    for &v in values {
        count += 1.0;
        let delta = v - (mean.sum + mean.compensation);
        mean.add(delta / count);
        squares.add(delta * (v - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / count
}
