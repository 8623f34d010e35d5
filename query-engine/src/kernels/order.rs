//! Order statistics of a window: `quantile_over_time` and `mad_over_time`.
//!
//! Promise: NaN sorts below every number; between two ranks the result is their weighted mean.

use super::{KernelNotes, WindowArgs};
use std::cmp::Ordering;

pub(super) fn quantile_over_time(window: &WindowArgs<'_>, notes: &mut KernelNotes) -> Option<f64> {
    let q = window.scalar(0);
    if !(0.0..=1.0).contains(&q) {
        notes.invalid_quantile(q);
    }
    let mut values = window.values.to_vec();
    Some(quantile(q, &mut values))
}

pub(super) fn mad_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    if window.values.iter().any(|v| v.is_nan()) {
        // A NaN would sort below the deviations and silently drop out.
        return Some(f64::NAN);
    }
    let mut values = window.values.to_vec();
    let median = quantile(0.5, &mut values);
    for v in &mut values {
        *v = (*v - median).abs();
    }
    Some(quantile(0.5, &mut values))
}

/// The `q`-quantile of `values`, which are reordered. NaN for no values or a NaN `q`, an infinity for `q` outside `[0, 1]`.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let top = values.len() - 1;
    let rank = q * top as f64;
    let lower = (rank.floor().max(0.0) as usize).min(top);
    let upper = (lower + 1).min(top);
    let weight = rank - rank.floor();
    // Only the two neighbours of the rank matter: select instead of sort.
    let (_, low, above) = values.select_nth_unstable_by(lower, nan_first);
    let low = *low;
    let high = if upper == lower {
        low
    } else {
        let least = above.iter().copied().min_by(nan_first);
        least.unwrap_or(low)
    };
    low * (1.0 - weight) + high * weight
}

fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b)
        .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}
