//! `alerts`: those that are pending or firing. And how an alert is written.

use crate::http::respond::{ApiData, ApiError, push_json_string};
use crate::worker::Worker;
use jiff::Timestamp;
use rules::alert::Alert;
use std::rc::Rc;

/// `/api/v1/alerts`
pub fn alerts(worker: &Rc<Worker>) -> Result<ApiData, ApiError> {
    let mut json = String::from("{\"alerts\":[");
    let mut first = true;
    for group in worker.services.rules.groups() {
        for rule in group.rules() {
            for alert in rule.active_alerts() {
                if !std::mem::take(&mut first) {
                    json.push(',');
                }
                push_alert(&mut json, &alert);
            }
        }
    }
    json.push_str("]}");
    Ok(ApiData::json(json))
}

/// `{"a":"b"}`
pub(super) fn push_pairs(out: &mut String, pairs: &[(String, String)]) {
    out.push('{');
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        push_json_string(out, value);
    }
    out.push('}');
}

pub(super) fn push_alert(out: &mut String, alert: &Alert) {
    out.push_str("{\"labels\":");
    super::json::push_labels(out, &alert.labels);
    out.push_str(",\"annotations\":");
    push_pairs(out, &alert.annotations);
    out.push_str(",\"state\":\"");
    out.push_str(alert.state.as_str());
    out.push_str("\",\"activeAt\":");
    push_json_string(out, &time_text(Some(alert.active_at_ns)));
    if let Some(since) = alert.keep_firing_since_ns {
        out.push_str(",\"keepFiringSince\":");
        push_json_string(out, &time_text(Some(since)));
    }
    out.push_str(",\"value\":");
    push_json_string(out, &exponent_text(alert.value));
    out.push('}');
}

/// A time as Go's JSON has it: RFC 3339 with as many digits of the second as there are; the year 1 for none.
pub(super) fn time_text(ns: Option<i64>) -> String {
    let time = ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
    time.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |time| time.to_string(),
    )
}

/// Go's `strconv.FormatFloat(value, 'e', -1, 64)`: always an exponent of two digits.
pub(crate) fn exponent_text(value: f64) -> String {
    if !value.is_finite() {
        let mut out = String::new();
        query_engine::number_text::format_plain(value, &mut out);
        return out;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_values_as_go_writes_them() {
        assert_eq!(time_text(None), "0001-01-01T00:00:00Z");
        assert_eq!(time_text(Some(0)), "1970-01-01T00:00:00Z");
        assert_eq!(
            time_text(Some(1_435_781_451_781_500_000)),
            "2015-07-01T20:10:51.7815Z"
        );
        for (value, text) in [
            (1.0, "1e+00"),
            (0.0, "0e+00"),
            (-123.5, "-1.235e+02"),
            (1e-12, "1e-12"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(exponent_text(value), text);
        }
    }
}
