//! Trends of a window: least squares (`deriv`, `predict_linear`) and `double_exponential_smoothing`.
//!
//! Promise: sums are compensated, times are seconds from the intercept time, a constant series has slope 0 exactly.

use super::sums::CompensatedSum;
use super::{KernelNotes, WindowArgs};
use storage_engine::model::TimestampMs;

pub(super) fn deriv(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    if window.values.len() < 2 {
        return None;
    }
    // Any time near the samples keeps the products small.
    let near = *window.timestamps.first()?;
    Some(regression(window, near)?.slope)
}

pub(super) fn predict_linear(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    if window.values.len() < 2 {
        return None;
    }
    let line = regression(window, window.eval_time)?;
    Some(line.slope * window.scalar(0) + line.intercept)
}

struct Line {
    slope: f64,
    intercept: f64,
}

fn regression(window: &WindowArgs<'_>, intercept_time: TimestampMs) -> Option<Line> {
    let first = *window.values.first()?;
    if window.values.iter().all(|v| *v == first) || window.values.len() == 1 {
        let line = if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
        return Some(Line {
            slope: line.0,
            intercept: line.1,
        });
    }
    let mut sums = [CompensatedSum::default(); 4];
    let [x_sum, y_sum, xy_sum, xx_sum] = &mut sums;
    for (&t, &y) in window.timestamps.iter().zip(window.values) {
        let x = t.wrapping_sub(intercept_time) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let n = window.values.len() as f64;
    let [x, y, xy, xx] = sums.map(|s| s.sum + s.compensation);
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    let intercept = y / n - slope * x / n;
    Some(Line { slope, intercept })
}

pub(super) fn double_exponential_smoothing(
    window: &WindowArgs<'_>,
    notes: &mut KernelNotes,
) -> Option<f64> {
    let (smoothing, trend) = (window.scalar(0), window.scalar(1));
    for (name, factor) in [("smoothing", smoothing), ("trend", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            let short = if name == "smoothing" { "sf" } else { "tf" };
            let text = format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {}",
                crate::functions::texts::fixed(factor)
            );
            notes.error.get_or_insert(text);
            return None;
        }
    }
    let &[first, second, ..] = window.values else {
        return None;
    };
    let (mut previous, mut smoothed) = (0.0, first);
    let mut slope = second - first;
    for (i, &v) in window.values.iter().enumerate().skip(1) {
        let scaled = smoothing * v;
        if i > 1 {
            slope = trend * (smoothed - previous) + (1.0 - trend) * slope;
        }
        let carried = (1.0 - smoothing) * (smoothed + slope);
        (previous, smoothed) = (smoothed, scaled + carried);
    }
    Some(smoothed)
}
