//! Range-vector functions: one window of one series in, one number out.
//!
//! Promise: the formulas and the order of floating-point operations are Prometheus's, so results have the same last bits;
//! nothing is allocated per window by the simple functions and nothing is fused by the compiler (Rust never contracts).
//! Not here: cutting the windows, stale markers (already removed), names and labels, rendering of annotations.

mod change;
mod extended;
mod extent;
mod lanes;
mod mixed;
mod newest_rows;
mod order;
mod rate;
mod rate_rows;
mod rows;
mod spread;
mod starts;
mod sum_rows;
mod sums;
mod trend;

pub use extended::Edges;
pub(crate) use extended::{interpolate, interpolate_histograms, with_edges};
pub(crate) use lanes::add_row;
pub use mixed::{MixedFunction, MixedWindow};
pub(crate) use rows::{Bounds, Filled, Windows};
pub use sums::{CompensatedSum, RunningMean};

pub use order::quantile;

use crate::eval::annotations::Severity;
use storage_engine::model::TimestampMs;

/// One window of one series at one step. Never empty: a window without samples has no result and no call.
#[derive(Debug, Clone, Copy)]
pub struct WindowArgs<'a> {
    /// Sample times, ascending, all in `(range_start, range_end]`, but for kernels of [`Edges`].
    pub timestamps: &'a [TimestampMs],
    /// The samples; stale markers are removed.
    pub values: &'a [f64],
    /// When the counting began that each sample is the result of (0: not known); empty where that does not matter.
    pub starts: &'a [TimestampMs],
    /// The step's evaluation time (offset not applied).
    pub eval_time: TimestampMs,
    /// Name of the metric, for texts.
    pub metric: &'a str,
    /// Left edge of the window, exclusive, offset applied.
    pub range_start: TimestampMs,
    /// Right edge of the window, inclusive, offset applied.
    pub range_end: TimestampMs,
    /// The call's scalar arguments at this step, in the order written.
    pub scalars: &'a [f64],
}

impl WindowArgs<'_> {
    /// Length of the window, seconds.
    #[inline]
    pub fn range_seconds(&self) -> f64 {
        seconds(self.range_end - self.range_start)
    }

    fn scalar(&self, index: usize) -> f64 {
        self.scalars.get(index).copied().unwrap_or(f64::NAN)
    }
}

/// Milliseconds to seconds the way Go's `Duration.Seconds` does it: whole seconds and the fraction apart.
#[inline]
fn seconds(milliseconds: i64) -> f64 {
    let nanoseconds = milliseconds % 1000 * 1_000_000;
    (milliseconds / 1000) as f64 + nanoseconds as f64 / 1e9
}

/// What a kernel has to say beside its number. Cheap while there is nothing to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KernelNotes {
    /// Quantile parameters outside `[0, 1]` (or NaN), each kept once: a warning at the parameter's position.
    pub invalid_quantiles: Vec<f64>,
    /// Warnings and infos about native histograms, each kept once: at the position of the call's first argument.
    pub remarks: Vec<(Severity, String)>,
    /// The evaluation must fail with this text.
    pub error: Option<String>,
}

impl KernelNotes {
    /// True when the evaluator has nothing to render.
    pub fn is_empty(&self) -> bool {
        self.invalid_quantiles.is_empty() && self.remarks.is_empty() && self.error.is_none()
    }

    /// The texts of the warnings, without position, in the order they came. They point at the first argument of the call.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.invalid_quantiles
            .iter()
            .map(|q| crate::functions::texts::invalid_quantile(*q))
    }

    /// Takes over what another kernel run noted.
    pub fn merge(&mut self, other: KernelNotes) {
        for q in other.invalid_quantiles {
            self.invalid_quantile(q);
        }
        for (severity, text) in other.remarks {
            self.remark(severity, text);
        }
        if self.error.is_none() {
            self.error = other.error;
        }
    }

    /// Keeps a remark, once.
    #[cold]
    pub(crate) fn remark(&mut self, severity: Severity, text: String) {
        if !self
            .remarks
            .iter()
            .any(|(s, t)| *s == severity && *t == text)
        {
            self.remarks.push((severity, text));
        }
    }

    #[cold]
    fn invalid_quantile(&mut self, q: f64) {
        if !self
            .invalid_quantiles
            .iter()
            .any(|k| k.to_bits() == q.to_bits())
        {
            self.invalid_quantiles.push(q);
        }
    }
}

/// One range function. `None` means no sample at this step.
pub type RangeKernel = fn(&WindowArgs<'_>, &mut KernelNotes) -> Option<f64>;

/// The kernel of a function that takes a range vector, by its PromQL name; `None` for every other function.
///
/// `absent_over_time` answers 1 for a window with samples, like `present_over_time`: turning "no series has a sample at this step" into
/// a 1 needs all series and is the evaluator's.
pub fn range_kernel(name: &str) -> Option<RangeKernel> {
    Some(match name {
        "rate" => rate::rate,
        "increase" => rate::increase,
        "delta" => rate::delta,
        "irate" => rate::irate,
        "idelta" => rate::idelta,
        "deriv" => trend::deriv,
        "predict_linear" => trend::predict_linear,
        "double_exponential_smoothing" | "holt_winters" => trend::double_exponential_smoothing,
        "changes" => change::changes,
        "resets" => change::resets,
        "sum_over_time" => sums::sum_over_time,
        "avg_over_time" => sums::avg_over_time,
        "count_over_time" => extent::count_over_time,
        "present_over_time" | "absent_over_time" => extent::present_over_time,
        "first_over_time" => extent::first_over_time,
        "last_over_time" => extent::last_over_time,
        "min_over_time" => extent::min_over_time,
        "max_over_time" => extent::max_over_time,
        "ts_of_first_over_time" => extent::ts_of_first_over_time,
        "ts_of_last_over_time" => extent::ts_of_last_over_time,
        "ts_of_min_over_time" => extent::ts_of_min_over_time,
        "ts_of_max_over_time" => extent::ts_of_max_over_time,
        "stddev_over_time" => spread::stddev_over_time,
        "stdvar_over_time" => spread::stdvar_over_time,
        "quantile_over_time" => order::quantile_over_time,
        "mad_over_time" => order::mad_over_time,
        _ => return None,
    })
}

/// Range functions whose result keeps the metric name (a plain choice of one of the samples).
pub fn keeps_name(name: &str) -> bool {
    matches!(name, "first_over_time" | "last_over_time")
}

#[cfg(test)]
mod tests;
