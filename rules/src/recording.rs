//! A recording rule: the answer to its expression under a new name.

use crate::source::{Element, RuleSample};
use std::collections::HashSet;
use storage_engine::model::{LabelsBuilder, METRIC_NAME, TimestampMs};

/// Two series of one answer became one.
pub(crate) const DUPLICATE_SERIES: &str =
    "vector contains metrics with the same labelset after applying rule labels";

/// The samples that an answer becomes; `limit` 0 means none.
pub(crate) fn record(
    name: &str,
    rule_labels: &[(String, String)],
    answer: Vec<Element>,
    at_ms: TimestampMs,
    limit: usize,
) -> Result<Vec<RuleSample>, String> {
    let mut seen = HashSet::with_capacity(answer.len());
    let mut out = Vec::with_capacity(answer.len());
    for element in answer {
        let mut labels = LabelsBuilder::new(&element.labels);
        labels.set(METRIC_NAME, name);
        for (name, value) in rule_labels {
            labels.set(name, value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(DUPLICATE_SERIES.to_owned());
        }
        out.push(RuleSample {
            labels,
            at_ms,
            value: element.value,
        });
    }
    if limit > 0 && out.len() > limit {
        return Err(format!(
            "exceeded limit of {limit} with {} series",
            out.len()
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Value;
    use storage_engine::model::Labels;

    fn element(labels: &[(&str, &str)], value: f64) -> Element {
        Element {
            labels: Labels::from_pairs(labels.iter().copied()).unwrap(),
            value: Value::Float(value),
        }
    }

    fn pairs(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn labels_of_the_rule_win_and_empty_ones_remove() {
        let answer = vec![element(&[("__name__", "x"), ("a", "1"), ("b", "2")], 3.0)];
        let out = record("y", &pairs(&[("a", "9"), ("b", "")]), answer, 5, 0).unwrap();
        assert_eq!(out[0].labels.to_string(), "{__name__=\"y\", a=\"9\"}");
        assert_eq!((out[0].at_ms, &out[0].value), (5, &Value::Float(3.0)));
    }

    #[test]
    fn duplicates_and_too_many_are_refused() {
        let two = || vec![element(&[("a", "1")], 1.0), element(&[("a", "2")], 1.0)];
        assert_eq!(
            record("y", &pairs(&[("a", "")]), two(), 0, 0).unwrap_err(),
            DUPLICATE_SERIES
        );
        assert_eq!(
            record("y", &[], two(), 0, 1).unwrap_err(),
            "exceeded limit of 1 with 2 series"
        );
        assert_eq!(record("y", &[], two(), 0, 2).unwrap().len(), 2);
    }
}
