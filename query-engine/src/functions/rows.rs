//! Metric names and equal label sets of result rows.
//!
//! Promise: with immediate removal a row loses `__name__`, `__type__` and `__unit__` and rows that become equal are merged, or the
//! evaluation fails when they meet at one step; with delayed removal rows are only marked.

use crate::eval::error::EvalError;
use crate::eval::value::Row;
use std::collections::HashMap;
use storage_engine::model::{Labels, METRIC_NAME};

/// Labels that describe the metric and go with its name.
pub fn is_metadata_label(name: &str) -> bool {
    name == METRIC_NAME || name == "__type__" || name == "__unit__"
}

/// The labels without name, type and unit.
pub fn without_metadata(labels: &Labels) -> Labels {
    labels.filtered(|n| !is_metadata_label(n))
}

/// What a function does to the names of its results.
pub fn drop_names(mut rows: Vec<Row>, delayed: bool) -> Result<Vec<Row>, EvalError> {
    if delayed {
        for row in &mut rows {
            row.drop_name = true;
        }
        return Ok(rows);
    }
    for row in &mut rows {
        row.labels = without_metadata(&row.labels);
    }
    merge_equal(rows)
}

/// Merges rows of equal labels, keeping the place of the first; fails where two have a sample at the same step.
pub fn merge_equal(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    let mut first: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        let Some(&at) = first.get(&row.labels) else {
            first.insert(row.labels.clone(), out.len());
            out.push(row);
            continue;
        };
        let Some(target) = out.get_mut(at) else {
            continue;
        };
        let words = target.present.words().iter().zip(row.present.words());
        if words.into_iter().any(|(a, b)| a & b != 0) {
            return Err(EvalError::same_labelset());
        }
        for (k, &value) in row.values.iter().enumerate() {
            if row.present.get(k) {
                target.put(k, value);
            }
        }
    }
    Ok(out)
}
