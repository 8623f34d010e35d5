//! JSON of label sets and samples, written without an intermediate tree.

use crate::http::respond::push_json_string;
use storage_engine::model::Labels;

/// `{"a":"b"}`.
pub(super) fn push_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        push_json_string(out, value);
    }
    out.push('}');
}

/// Milliseconds as seconds with at most three decimals, as Prometheus writes timestamps.
pub(super) fn push_timestamp(out: &mut String, ms: i64) {
    if ms < 0 {
        out.push('-');
    }
    let abs = ms.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    out.push_str(digits.format(abs / 1000));
    let fraction = abs % 1000;
    if fraction != 0 {
        out.push('.');
        if fraction < 100 {
            out.push('0');
        }
        if fraction < 10 {
            out.push('0');
        }
        out.push_str(digits.format(fraction));
    }
}

/// `[ts,"value"]`.
pub(super) fn push_sample(out: &mut String, ms: i64, value: f64) {
    out.push('[');
    push_timestamp(out, ms);
    out.push_str(",\"");
    query_engine::number_text::format_value(value, out);
    out.push_str("\"]");
}

/// `["a","b"]`.
pub(super) fn string_list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(&mut out, item.as_ref());
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_as_prometheus_writes_them() {
        let text = |ms| {
            let mut out = String::new();
            push_timestamp(&mut out, ms);
            out
        };
        assert_eq!(text(1_435_781_451_781), "1435781451.781");
        assert_eq!(text(1000), "1");
        assert_eq!(text(5), "0.005");
        assert_eq!(text(-1050), "-1.050");
    }
}
