//! The words that generated queries are made of: metrics and labels of the data, functions, operators, durations, numbers.
//!
//! Not here: how they are put together (`grammar`).

pub(super) const COUNTERS: &[&str] = &[
    "special_requests_total",
    "special_requests_total",
    "special_out_of_order",
];
pub(super) const GAUGES: &[&str] = &[
    "special_temperature",
    "special_temperature",
    "special_up",
    "special_sparse",
    "special_constant",
    "special_odd",
    "special_limit",
];
pub(super) const NATIVE: &[&str] = &[
    "special_latency",
    "special_latency_float",
    "special_latency_gauge",
    "special_latency_custom",
    "special_out_of_order_latency",
];
pub(super) const RANGES: &[&str] = &[
    "30s", "1m", "90s", "2m", "5m", "5m", "10m", "10m", "17m", "30m", "1h", "2h", "61s", "1ms",
    "1h30m",
];
pub(super) const RESOLUTIONS: &[&str] = &["", "15s", "30s", "47s", "1m", "5m", "7m"];
pub(super) const OFFSETS: &[&str] = &["30s", "1m", "5m", "17m", "1h", "-1m", "-10m", "3s"];
pub(super) const NUMBERS: &[&str] = &[
    "0", "1", "2", "0.5", "-1", "3.7", "10", "1e3", "1e-3", "-0.25", "100", "NaN", "Inf", "-Inf",
    "0x1F", "1_000",
];
pub(super) const QUANTILES: &[&str] = &[
    "0.5", "0.9", "0.99", "0", "1", "0.25", "0.1", "-0.5", "1.5", "NaN",
];
pub(super) const LABELS: &[&str] = &[
    "job",
    "instance",
    "job, instance",
    "le",
    "kind",
    "",
    "Zone",
    "missing",
    "instance, le",
];
pub(super) const MATCHERS: &[&str] = &[
    "job=\"a\"",
    "job!=\"b\"",
    "job=~\"a|b\"",
    "job!~\"a|c\"",
    "job=~\".+\"",
    "missing=\"\"",
];
/// Matchers of labels that not every metric has.
pub(super) const RARE_MATCHERS: &[&str] = &[
    "instance=~\"t.*\"",
    "instance=\"one:80\"",
    "missing=\"x\"",
    "le=~\"1|10\"",
    "kind=~\"[0-4]\"",
    "job=~\"\"",
    "ort=~\"k.*\"",
    "version!=\"1\"",
];
pub(super) const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2", "+", "-", "*", "/"];
pub(super) const COMPARISONS: &[&str] = &["==", "!=", ">", "<", ">=", "<="];
pub(super) const SETS: &[&str] = &["and", "or", "unless"];
pub(super) const ELEMENTWISE: &[&str] = &[
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "deg", "rad", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
];
pub(super) const TIMES: &[&str] = &[
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
];
/// Range functions with one argument.
pub(super) const OVER_TIME: &[&str] = &[
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "absent_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_last_over_time",
    "ts_of_first_over_time",
    "changes",
    "resets",
    "delta",
    "idelta",
    "deriv",
];
pub(super) const COUNTER_RANGES: &[&str] =
    &["rate", "increase", "irate", "rate", "increase", "resets"];
pub(super) const OF_HISTOGRAMS: &[&str] = &[
    "histogram_count",
    "histogram_sum",
    "histogram_avg",
    "histogram_stddev",
    "histogram_stdvar",
];
pub(super) const AGGREGATIONS: &[&str] = &[
    "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "sum", "avg",
];

/// Everything that is called like a function, for asking a server which of them it knows.
pub(super) fn functions() -> Vec<&'static str> {
    let more = [
        "rate",
        "increase",
        "irate",
        "quantile_over_time",
        "predict_linear",
        "double_exponential_smoothing",
        "info",
        "histogram_quantile",
        "histogram_fraction",
        "round",
        "clamp",
        "clamp_min",
        "clamp_max",
        "label_replace",
        "label_join",
        "sort",
        "sort_desc",
        "sort_by_label",
        "sort_by_label_desc",
        "timestamp",
        "scalar",
        "vector",
        "time",
        "pi",
        "absent",
    ];
    let lists = [ELEMENTWISE, TIMES, OVER_TIME, OF_HISTOGRAMS, &more];
    let mut all = lists.concat();
    all.sort_unstable();
    all
}

/// A call with arguments of the right types, to see whether a server knows the function.
pub(super) fn example(function: &str) -> String {
    let arguments = match function {
        "time" | "pi" => "",
        "vector" => "1",
        "quantile_over_time" => "0.5, x[5m]",
        "predict_linear" => "x[5m], 1",
        "double_exponential_smoothing" => "x[5m], 0.5, 0.5",
        "histogram_quantile" | "clamp_min" | "clamp_max" => match function {
            "histogram_quantile" => "0.5, x",
            _ => "x, 1",
        },
        "clamp" => "x, 0, 1",
        "histogram_fraction" => "0, 1, x",
        "label_replace" => "x, \"a\", \"b\", \"c\", \"d\"",
        "label_join" => "x, \"a\", \"b\", \"c\"",
        "sort_by_label" | "sort_by_label_desc" => "x, \"a\"",
        f if OVER_TIME.contains(&f) || COUNTER_RANGES.contains(&f) => "x[5m]",
        _ => "x",
    };
    format!("{function}({arguments})")
}
