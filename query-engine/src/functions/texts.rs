//! Annotation texts as Prometheus words them, and the numbers in them.
//!
//! Not here: positions, which `eval::annotations` renders.

use crate::eval::text::{go_g, go_quote};
use storage_engine::model::TimestampMs;

/// Prefix of a warning.
const WARNING: &str = "PromQL warning: ";
/// Prefix of an info.
const INFO: &str = "PromQL info: ";

/// A quantile parameter outside `[0, 1]`.
pub fn invalid_quantile(q: f64) -> String {
    let q = go_g(q);
    format!("{WARNING}quantile value should be between 0 and 1, got {q}")
}

/// A classic bucket whose `le` is missing or no number.
pub fn bad_bucket_label(metric_name: &str, value: &str) -> String {
    let value = go_quote(value.as_bytes());
    let text =
        format!("{WARNING}bucket label \"le\" is missing or has a malformed value of {value}");
    for_metric(text, metric_name)
}

/// A range or group with both kinds of samples.
pub fn mixed_floats_histograms(metric_name: &str) -> String {
    format!(
        "{WARNING}encountered a mix of histograms and floats for metric name {}",
        go_quote(metric_name.as_bytes())
    )
}

/// A group with both kinds of samples.
pub fn mixed_floats_histograms_in_aggregation() -> String {
    format!("{WARNING}encountered a mix of histograms and floats for aggregation")
}

/// Histograms that cannot be added to each other.
pub fn mixed_exponential_custom(metric_name: &str) -> String {
    format!(
        "{WARNING}vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
        go_quote(metric_name.as_bytes())
    )
}

/// Classic buckets and a native histogram of the same name and labels.
pub fn mixed_classic_native(metric_name: &str) -> String {
    for_metric(
        format!("{WARNING}vector contains a mix of classic and native histograms"),
        metric_name,
    )
}

/// `rate` and the like over gauge histograms.
pub fn not_a_counter(metric_name: &str) -> String {
    let name = go_quote(metric_name.as_bytes());
    format!("{WARNING}this native histogram metric is not a counter: {name}")
}

/// `delta` and the like over counter histograms.
pub fn not_a_gauge(metric_name: &str) -> String {
    let name = go_quote(metric_name.as_bytes());
    format!("{WARNING}this native histogram metric is not a gauge: {name}")
}

/// Start timestamps that contradict each other.
pub fn overlapping_starts(metric_name: &str) -> String {
    let name = go_quote(metric_name.as_bytes());
    format!(
        "{WARNING}sample has start time that overlaps with previous sample timestamp for metric {name}"
    )
}

/// Floats and histograms in one range, of which the function takes floats only.
pub fn histogram_ignored_in_mixed_range(metric_name: &str) -> String {
    let name = go_quote(metric_name.as_bytes());
    format!(
        "{INFO}ignored histograms in a range containing both floats and histograms for metric name {name}"
    )
}

/// An aggregation that takes floats only.
pub fn histogram_ignored_in_aggregation(aggregation: &str) -> String {
    format!("{INFO}ignored histogram in {aggregation} aggregation")
}

/// Hints that contradict each other; `operation` is addition, subtraction or aggregation.
pub fn reset_collision(operation: &str) -> String {
    format!("{WARNING}conflicting counter resets during histogram {operation}")
}

/// Custom bounds that differed; `operation` as above.
pub fn bounds_reconciled(operation: &str) -> String {
    format!("{INFO}mismatched custom buckets were reconciled during {operation}")
}

/// A binary operator between samples of kinds that it has no meaning for.
pub fn incompatible_types(left: &str, operator: &str, right: &str) -> String {
    format!(
        "{INFO}incompatible sample types encountered for binary operator \"{operator}\": {left} {operator} {right}"
    )
}

/// A binary operator between exponential and custom buckets.
pub fn incompatible_buckets(operator: &str) -> String {
    format!("{WARNING}incompatible bucket layout encountered for binary operator {operator}")
}

/// A quantile among observations of NaN.
pub fn quantile_is_nan(metric_name: &str) -> String {
    for_metric(
        format!("{INFO}input to histogram_quantile has NaN observations, result is NaN"),
        metric_name,
    )
}

/// A quantile that observations of NaN push up.
pub fn quantile_is_skewed(metric_name: &str) -> String {
    for_metric(
        format!("{INFO}input to histogram_quantile has NaN observations, result is skewed higher"),
        metric_name,
    )
}

/// A fraction of a histogram with observations of NaN.
pub fn fraction_excludes_nan(metric_name: &str) -> String {
    for_metric(
        format!(
            "{INFO}input to histogram_fraction has NaN observations, which are excluded from all fractions"
        ),
        metric_name,
    )
}

/// `sort` and friends in a range query.
pub fn sort_in_range_query() -> String {
    format!(
        "{WARNING}sort is ineffective for range queries since results are always ordered by labels"
    )
}

/// How classic buckets of one metric had to be raised over the steps of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MonotonicityRepair {
    /// Lowest raised bound.
    pub bound_min: f64,
    /// Highest raised bound.
    pub bound_max: f64,
    /// Largest raise.
    pub difference_max: f64,
    /// How many histograms at how many steps.
    pub count: u64,
    /// First step.
    pub time_min: TimestampMs,
    /// Last step.
    pub time_max: TimestampMs,
}

/// Classic buckets that were not monotonic.
pub fn forced_monotonicity(metric_name: &str, repair: &MonotonicityRepair) -> String {
    let text = format!(
        "{INFO}input to histogram_quantile needed to be fixed for monotonicity (see \
         https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
    );
    format!(
        "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
        for_metric(text, metric_name),
        go_g(repair.bound_min),
        go_g(repair.bound_max),
        two_digits(repair.difference_max),
        repair.count,
        rfc3339(repair.time_min),
        rfc3339(repair.time_max),
    )
}

fn rfc3339(time: TimestampMs) -> String {
    match jiff::Timestamp::from_millisecond(time) {
        Ok(t) => t.to_string(),
        Err(_) => time.to_string(),
    }
}

/// Go's `%.2g`: two significant digits, no trailing zeros.
fn two_digits(v: f64) -> String {
    if let Some(text) = non_finite(v) {
        return text.to_owned();
    }
    let scientific = format!("{v:.1e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        return format!("{digits}e{exponent}")
            .parse::<f64>()
            .map_or_else(|_| scientific.clone(), |v| format!("{v}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A float as OpenMetrics writes it: like `go_g`, with `.0` behind a whole number.
pub fn open_metrics_float(v: f64) -> String {
    let mut text = go_g(v);
    if non_finite(v).is_none() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

/// Go's `strconv.ParseFloat` of decimal text: signs, infinities and NaN in any case, no blanks.
pub fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn for_metric(text: String, metric_name: &str) -> String {
    if metric_name.is_empty() {
        text
    } else {
        format!(
            "{text} for metric name {}",
            go_quote(metric_name.as_bytes())
        )
    }
}

/// Go's `%f`: six decimals.
pub fn fixed(v: f64) -> String {
    match non_finite(v) {
        Some(text) => text.to_owned(),
        None => format!("{v:.6}"),
    }
}

fn non_finite(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v == f64::INFINITY {
        Some("+Inf")
    } else if v == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}
