//! When two answers to one query are the same.
//!
//! Promise: status and kind of error, kind of result, the set of series, every time and every value are looked at; numbers may differ by one
//! part in 10^12 and no more. Series order counts only where the query asks for one. Texts of errors are told apart from real differences.

use serde_json::Value;
use std::collections::BTreeMap;

/// The largest relative difference between equal numbers.
pub(super) const TOLERANCE: f64 = 1e-12;

/// What two answers have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Same,
    /// Both refuse for the same kind of reason, in other words.
    Wording(String),
    Different(String),
}

/// Holds `test`'s answer against `reference`'s; `ordered`: the order of the series counts.
pub(super) fn compare(reference: &Value, test: &Value, ordered: bool, tolerance: f64) -> Verdict {
    let (status, other) = (&reference["status"], &test["status"]);
    if status != other || status == "error" && reference["errorType"] != test["errorType"] {
        let say = |answer: &Value| match answer["status"].as_str() {
            Some("error") => format!("{} {}", answer["errorType"], answer["error"]),
            _ => format!("{} rows", rows(answer).len()),
        };
        return Verdict::Different(format!("{} against {}", say(reference), say(test)));
    }
    if status == "error" {
        return match reference["error"] == test["error"] {
            true => Verdict::Same,
            false => Verdict::Wording(format!("{} against {}", reference["error"], test["error"])),
        };
    }
    let (a, b) = (&reference["data"], &test["data"]);
    if a["resultType"] != b["resultType"] {
        return Verdict::Different(format!(
            "a {} against a {}",
            a["resultType"], b["resultType"]
        ));
    }
    let difference = match a["resultType"].as_str() {
        Some("vector" | "matrix") => series(rows(reference), rows(test), ordered, tolerance),
        _ => values(&a["result"], &b["result"], tolerance),
    };
    difference.map_or(Verdict::Same, Verdict::Different)
}

fn rows(answer: &Value) -> &[Value] {
    answer["data"]["result"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// The first difference between two lists of series.
fn series(a: &[Value], b: &[Value], ordered: bool, tolerance: f64) -> Option<String> {
    let by_labels = |rows: &[Value]| -> BTreeMap<String, Value> {
        let key = |row: &Value| row["metric"].to_string();
        rows.iter().map(|row| (key(row), row.clone())).collect()
    };
    let (left, right) = (by_labels(a), by_labels(b));
    for (labels, row) in &left {
        let Some(other) = right.get(labels) else {
            return Some(format!(
                "{labels} is missing ({} series against {})",
                a.len(),
                b.len()
            ));
        };
        for field in ["value", "histogram", "values", "histograms"] {
            if let Some(text) = points(&row[field], &other[field], field, tolerance) {
                return Some(format!("{labels}: {text}"));
            }
        }
    }
    if let Some(labels) = right.keys().find(|labels| !left.contains_key(*labels)) {
        return Some(format!(
            "{labels} is too many ({} series against {})",
            a.len(),
            b.len()
        ));
    }
    if a.len() != b.len() {
        return Some(format!("{} series against {}", a.len(), b.len()));
    }
    let order = a.iter().zip(b).find(|(x, y)| x["metric"] != y["metric"]);
    match order {
        Some((x, y)) if ordered && x["value"] != y["value"] => Some(format!(
            "order: {} in the place of {}",
            y["metric"], x["metric"]
        )),
        _ => None,
    }
}

fn points(a: &Value, b: &Value, field: &str, tolerance: f64) -> Option<String> {
    let (Some(left), Some(right)) = (a.as_array(), b.as_array()) else {
        return (a != b).then(|| format!("{field}: {a:.120} against {b:.120}"));
    };
    if left.len() != right.len() {
        let extra = |x: &[Value], y: &[Value]| {
            let odd = x.iter().find(|p| !y.iter().any(|q| q[0] == p[0]));
            odd.map_or_else(String::new, ToString::to_string)
        };
        return Some(format!(
            "{} {field} against {}: only here {:.120}, only there {:.120}",
            left.len(),
            right.len(),
            extra(left, right),
            extra(right, left)
        ));
    }
    left.iter()
        .zip(right)
        .find_map(|(x, y)| values(x, y, tolerance))
}

/// The first difference between two pieces of JSON in which numbers stand as text.
fn values(a: &Value, b: &Value, tolerance: f64) -> Option<String> {
    let different = || Some(format!("{a:.400} against {b:.400}"));
    match (a, b) {
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let odd = x
                .iter()
                .zip(y)
                .any(|(x, y)| values(x, y, tolerance).is_some());
            if odd { different() } else { None }
        }
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            let mut both = x.values().zip(y.values());
            let odd = both.find_map(|(x, y)| values(x, y, tolerance));
            odd.map(|text| format!("{text} in {a:.300} against {b:.300}"))
        }
        (Value::String(x), Value::String(y)) => match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(n), Ok(m)) if is_close(n, m, tolerance) => None,
            _ if x == y => None,
            _ => different(),
        },
        _ if a == b => None,
        _ => different(),
    }
}

/// Equal, both NaN, or not further apart than the tolerance.
pub(super) fn is_close(a: f64, b: f64, tolerance: f64) -> bool {
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    if !a.is_finite() || !b.is_finite() {
        return false;
    }
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(rows: &str) -> Value {
        let text = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{rows}]}}}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    fn is_same(a: &Value, b: &Value, ordered: bool) -> bool {
        compare(a, b, ordered, TOLERANCE) == Verdict::Same
    }

    #[test]
    fn values_times_labels_and_counts_matter() {
        let one = r#"{"metric":{"a":"1"},"value":[1,"2"]}"#;
        let two = r#"{"metric":{"a":"2"},"value":[1,"3"]}"#;
        let both = vector(&format!("{one},{two}"));
        let turned = vector(&format!("{two},{one}"));
        assert!(is_same(&both, &turned, false));
        assert!(!is_same(&both, &turned, true));
        assert!(!is_same(&both, &vector(one), false));
        assert!(!is_same(&vector(one), &both, false));
        for other in [
            r#"{"metric":{"a":"1"},"value":[1,"2.0000000001"]}"#,
            r#"{"metric":{"a":"1"},"value":[2,"2"]}"#,
            r#"{"metric":{"a":"1"},"value":[1,"NaN"]}"#,
            r#"{"metric":{"a":"1"},"histogram":[1,{"count":"2"}]}"#,
        ] {
            assert!(!is_same(&vector(one), &vector(other), false), "{other}");
        }
        let close = r#"{"metric":{"a":"1"},"value":[1,"2.0000000000001"]}"#;
        assert!(is_same(&vector(one), &vector(close), false));
    }

    #[test]
    fn the_words_of_an_error_are_no_difference_its_kind_is() {
        let error = |kind: &str, text: &str| serde_json::json!({"status": "error", "errorType": kind, "error": text});
        let verdict = |a: &Value, b: &Value| compare(a, b, false, TOLERANCE);
        let (a, b) = (error("bad_data", "x"), error("bad_data", "y"));
        assert!(matches!(verdict(&a, &b), Verdict::Wording(_)));
        assert_eq!(verdict(&a, &a), Verdict::Same);
        let c = error("execution", "x");
        assert!(matches!(verdict(&a, &c), Verdict::Different(_)));
        assert!(matches!(verdict(&a, &vector("")), Verdict::Different(_)));
    }

    #[test]
    fn infinities_are_close_to_nothing_else() {
        assert!(is_close(f64::NAN, f64::NAN, TOLERANCE));
        assert!(!is_close(f64::INFINITY, f64::MAX, TOLERANCE));
        assert!(!is_close(0.0, 1e-300, TOLERANCE));
    }
}
