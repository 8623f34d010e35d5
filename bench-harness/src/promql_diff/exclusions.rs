//! Where Prometheus 3.14, which ferula follows, answers otherwise than the 3.5 that can be run beside it.
//!
//! Promise: nothing is left out in silence: a difference is excused only when an entry's conditions hold, and every entry that excused
//! something is printed with its reason, how often, and an example.

use super::compare::{TOLERANCE, Verdict, compare, is_close};
use serde_json::Value;
use std::collections::BTreeMap;

/// A shape of queries that two versions answer differently.
pub(super) struct Exclusion {
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
    /// Does it explain this difference?
    explains: fn(&Difference<'_>) -> bool,
}

/// Two answers that differ.
pub(super) struct Difference<'a> {
    pub(super) query: &'a str,
    pub(super) reference: &'a Value,
    pub(super) test: &'a Value,
}

/// Parts of the names of metrics with native histograms.
const NATIVE: &[&str] = &["special_latency", "special_mixed", "order_latency"];

impl Difference<'_> {
    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.query.contains(word))
    }

    /// Does `test` refuse what the reference answers, with this text?
    fn is_refused(&self, text: &str) -> bool {
        self.reference["status"] == "success"
            && self.test["error"]
                .as_str()
                .is_some_and(|e| e.contains(text))
    }

    /// Are the values of each step the same, whichever series have them?
    fn has_the_same_values(&self) -> bool {
        let values = |answer: &Value| {
            let mut points = BTreeMap::<String, Vec<f64>>::new();
            let rows = answer["data"]["result"].as_array();
            for row in rows.into_iter().flatten() {
                let more = row["values"].as_array().into_iter().flatten();
                for point in more.chain([&row["value"]]) {
                    let list = points.entry(point[0].to_string()).or_default();
                    list.extend(point[1].as_str().and_then(|v| v.parse::<f64>().ok()));
                }
            }
            points
                .values_mut()
                .for_each(|list| list.sort_by(f64::total_cmp));
            points
        };
        let (a, b) = (values(self.reference), values(self.test));
        a.keys().eq(b.keys())
            && a.values().zip(b.values()).all(|(x, y)| {
                let mut both = x.iter().zip(y);
                x.len() == y.len() && both.all(|(x, y)| is_close(*x, *y, TOLERANCE))
            })
    }

    /// Is there more than selectors in what an aggregation ranks?
    fn ranks_what_was_computed(&self) -> bool {
        let count = |text: &str| self.query.matches(text).count();
        let of_aggregation = 1 + count(" by (") + count(" without (");
        count("(") > of_aggregation + count("start()") + count("end()")
    }

    /// Would they be the same if numbers might differ by that share?
    fn is_within(&self, tolerance: f64) -> bool {
        compare(self.reference, self.test, false, tolerance) == Verdict::Same
    }
}

/// All of them. Where a query is made of several parts, the conditions are those of the smallest part that differs.
pub(super) const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        name: "rates of native histograms",
        reason: "3.14 does not stretch a histogram that counts to before its count was zero, 3.5 does",
        explains: |d| d.has(&["rate(", "increase("]) && d.has(NATIVE),
    },
    Exclusion {
        name: "custom buckets that change",
        reason: "3.14 brings custom buckets to the bounds that both have, 3.5 leaves such samples out",
        explains: |d| {
            d.has(&["special_latency_custom", "special_latency.*"]) && d.query.contains('(')
        },
    },
    Exclusion {
        name: "NaN or too large a number as the parameter of an aggregation",
        reason: "an error in 3.14; 3.5 takes it as a number",
        explains: |d| {
            [
                "Parameter value is NaN",
                "Ratio value is NaN",
                "overflows int64",
            ]
            .iter()
            .any(|text| d.is_refused(text))
        },
    },
    Exclusion {
        name: "matches that a filter hides",
        reason: "3.14 looks for several matches before it filters and before it knows whether two values have a result (prometheus#17668)",
        explains: |d| d.is_refused("multiple matches for labels: "),
    },
    Exclusion {
        name: "histogram_fraction from inside the first classic bucket",
        reason: "NaN in 3.5, interpolated in 3.14 (prometheus#17424)",
        explains: |d| d.has(&["histogram_fraction("]) && d.has(&["special_seconds_bucket"]),
    },
    Exclusion {
        name: "equal values in a ranking of what was computed",
        reason: "3.5 hands computed series on in the random order of a map: which of several equal ones is taken changes from query to query",
        explains: |d| {
            d.has(&["topk", "bottomk"]) && d.ranks_what_was_computed() && d.has_the_same_values()
        },
    },
    Exclusion {
        name: "the first of what was computed",
        reason: "3.5 hands computed series on in the random order of a map: limitk takes others with each query",
        explains: |d| d.has(&["limitk"]) && d.ranks_what_was_computed(),
    },
    Exclusion {
        name: "digits of computed numbers as labels",
        reason: "trigonometric functions and sums of histograms may differ in the last digit, which is allowed of a value but shows in a label",
        explains: |d| {
            d.has(&["count_values"])
                && (d.has(&["sin", "cos", "tan", "deg(", "rad(", "log", "ln(", "exp("])
                    || d.has(NATIVE))
        },
    },
    Exclusion {
        name: "differences of numbers whose last digit may differ",
        reason: "trigonometric functions are the platform's; what is left when nearly equal results are subtracted shows it",
        explains: |d| {
            d.has(&["sin", "cos", "tan"])
                && d.has(&["delta(", "deriv(", "predict_linear(", "std", " - "])
                && d.is_within(1e-6)
        },
    },
    Exclusion {
        name: "logarithms of subnormal numbers",
        reason: "the 3.5.3 that was run answers for every number below 2.2e-308 as if it were 2 to the -1023",
        explains: |d| d.has(&["log2(", "log10("]) && d.has(&["special_odd"]),
    },
    Exclusion {
        name: "mad_over_time with NaN",
        reason: "3.14 answers NaN, 3.5 leaves NaN out (prometheus#19040)",
        explains: |d| d.has(&["mad_over_time("]) && d.has(&["special_odd"]),
    },
    Exclusion {
        name: "info() that has nothing to add",
        reason: "3.5 leaves out a series that has all labels of its info series already, 3.14 keeps it",
        explains: |d| d.has(&["info("]) && d.has(&["special_build_info", "target_info"]),
    },
];

/// The first exclusion that explains the difference.
pub(super) fn explanation(difference: &Difference<'_>) -> Option<usize> {
    EXCLUSIONS
        .iter()
        .position(|exclusion| (exclusion.explains)(difference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(query: &str, reference: &Value, test: &Value) -> Option<&'static str> {
        let number = explanation(&Difference {
            query,
            reference,
            test,
        })?;
        Some(EXCLUSIONS[number].name)
    }

    #[test]
    fn only_what_the_conditions_name_is_excused() {
        let vector = |rows: &str| -> Value {
            let text = format!("{{\"status\":\"success\",\"data\":{{\"result\":[{rows}]}}}}");
            serde_json::from_str(&text).unwrap()
        };
        let a = vector(r#"{"metric":{"a":"1"},"value":[1,"2"]}"#);
        let b = vector(r#"{"metric":{"a":"2"},"value":[1,"2"]}"#);
        let c = vector(r#"{"metric":{"a":"2"},"value":[1,"3"]}"#);
        let name = "equal values in a ranking of what was computed";
        assert_eq!(explained("topk(1, abs(x))", &a, &b), Some(name));
        assert_eq!(explained("topk(1, abs(x))", &a, &c), None);
        assert_eq!(explained("abs(x)", &a, &b), None);
        assert_eq!(explained("rate(special_requests_total[5m])", &a, &c), None);
        let error = |text: &str| serde_json::json!({"status": "error", "error": text});
        let refused = error("multiple matches for labels: many-to-one");
        assert!(explained("x == y", &a, &refused).is_some());
        assert_eq!(explained("x == y", &refused, &a), None);
        assert_eq!(explained("x == y", &a, &error("something else")), None);
    }
}
