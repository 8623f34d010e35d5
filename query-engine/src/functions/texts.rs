//! Numbers, quoted text and annotation texts as Prometheus (Go's `fmt`) words them.
//!
//! Not here: positions, which `eval::annotations` renders.

/// Prefix of a warning.
const WARNING: &str = "PromQL warning: ";
/// Prefix of an info.
const INFO: &str = "PromQL info: ";

/// A quantile parameter outside `[0, 1]`.
pub fn invalid_quantile(q: f64) -> String {
    let q = shortest(q);
    format!("{WARNING}quantile value should be between 0 and 1, got {q}")
}

/// A classic bucket whose `le` is missing or no number.
pub fn bad_bucket_label(metric_name: &str, value: &str) -> String {
    let value = quoted(value);
    let text =
        format!("{WARNING}bucket label \"le\" is missing or has a malformed value of {value}");
    for_metric(text, metric_name)
}

/// `sort` and friends in a range query.
pub fn sort_in_range_query() -> String {
    format!(
        "{WARNING}sort is ineffective for range queries since results are always ordered by labels"
    )
}

/// Classic buckets that were not monotonic.
pub fn forced_monotonicity(metric_name: &str) -> String {
    let text = format!(
        "{INFO}input to histogram_quantile needed to be fixed for monotonicity (see \
         https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
    );
    for_metric(text, metric_name)
}

fn for_metric(text: String, metric_name: &str) -> String {
    if metric_name.is_empty() {
        text
    } else {
        format!("{text} for metric name {}", quoted(metric_name))
    }
}

/// Go's `%g` of a float: shortest digits, with an exponent below 1e-4 and from 1e6 (`strconv`'s rule for the shortest precision).
pub fn shortest(v: f64) -> String {
    if let Some(text) = non_finite(v) {
        return text.to_owned();
    }
    let scientific = format!("{v:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{v}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
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

/// Go's `%q` of valid UTF-8.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
