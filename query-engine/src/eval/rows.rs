//! Rows as wholes: metric names that go, rows that become one, what they cost.
//!
//! Promise: two rows with the same labels may become one only where they never have a number at the same step; otherwise the
//! evaluation fails as Prometheus's does.

use super::error::EvalError;
use super::memory::Work;
use super::value::{Bits, Row, Value};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::sync::Arc;
use storage_engine::model::{Labels, METRIC_NAME};

/// Labels that describe the metric and not the series: they go when an operation changes the meaning of the numbers.
pub fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// `labels` without name, type and unit.
pub fn drop_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(n, _)| is_metadata_label(n)) {
        labels.filtered(|n| !is_metadata_label(n))
    } else {
        labels.clone()
    }
}

/// Marks the name of `row` as dropped, at once or at the end of the evaluation.
pub fn drop_name(row: &mut Row, delayed: bool) {
    if !delayed {
        row.labels = drop_metadata(&row.labels);
    }
    row.drop_name = true;
}

/// Do two rows carry the same labels, whatever their steps?
pub fn has_same_labels(rows: &[Row], work: &mut Work) -> Result<bool, EvalError> {
    if rows.len() < 2 {
        return Ok(false);
    }
    work.take(ENTRY_BYTES * rows.len())?;
    let mut seen = hashbrown::HashSet::with_capacity(rows.len());
    for row in rows {
        work.tick(HASHING)?;
        if !seen.insert(&row.labels) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bytes of a table's entry that points at labels.
const ENTRY_BYTES: usize = 32;
/// Work of finding labels in a table, in cells.
const HASHING: usize = 8;

/// Joins rows of equal labels; fails where two have a number at the same step. The order of first appearance stays.
///
/// A joined row drops its name if the row with the earliest number does.
pub fn join_same_labels(rows: Vec<Row>, work: &mut Work) -> Result<Vec<Row>, EvalError> {
    if !has_same_labels(&rows, work)? {
        return Ok(rows);
    }
    work.take((ENTRY_BYTES + size_of::<Row>()) * rows.len())?;
    let mut at: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        work.tick(HASHING)?;
        match at.entry(row.labels.clone()) {
            Entry::Vacant(e) => {
                e.insert(out.len());
                out.push(row);
            }
            Entry::Occupied(e) => {
                work.tick(row.values.len())?;
                join(&mut out[*e.get()], &row)?;
            }
        }
    }
    Ok(out)
}

fn join(base: &mut Row, other: &Row) -> Result<(), EvalError> {
    if overlaps(&base.present, &other.present) {
        return Err(EvalError::same_labelset());
    }
    if first_set(&other.present) < first_set(&base.present) {
        base.drop_name = other.drop_name;
    }
    for k in steps(&other.present) {
        match other.histogram(k) {
            Some(histogram) => base.put_histogram(k, Arc::clone(histogram)),
            None => base.put(k, other.values[k]),
        }
    }
    Ok(())
}

/// Is any step set in both?
pub fn overlaps(a: &Bits, b: &Bits) -> bool {
    a.words().iter().zip(b.words()).any(|(a, b)| a & b != 0)
}

/// Index of the first set bit; the length where there is none.
pub fn first_set(bits: &Bits) -> usize {
    steps(bits).next().unwrap_or(bits.len())
}

/// Indices of the set bits, ascending.
pub fn steps(bits: &Bits) -> impl Iterator<Item = usize> + '_ {
    bits.words().iter().enumerate().flat_map(|(i, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(i * 64 + bit)
        })
    })
}

/// Takes native histograms out of rows; true if there were any.
pub fn drop_histograms(rows: &mut Vec<Row>) -> bool {
    let mut any = false;
    for row in rows.iter_mut() {
        any |= row.drop_histograms();
    }
    if any {
        retain_present(rows);
    }
    any
}

/// Removes rows without a sample.
pub fn retain_present(rows: &mut Vec<Row>) {
    rows.retain(|r| r.present.any());
}

/// Samples that a value holds, as the sample limit counts them.
pub fn samples_of(value: &Value) -> usize {
    match value {
        Value::Scalar(values) => values.len(),
        Value::Vector(rows) => rows.iter().map(Row::samples).sum(),
        Value::String(_) => 0,
    }
}

/// Row cells that a value holds.
pub fn cells_of(value: &Value) -> usize {
    match value {
        Value::Scalar(values) => values.len(),
        Value::Vector(rows) => rows.iter().map(|r| r.values.len()).sum(),
        Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, points: &[Option<f64>]) -> Row {
        let mut row = Row::absent(Labels::from_pairs([("a", name)]).unwrap(), points.len());
        for (k, v) in points.iter().enumerate() {
            if let Some(v) = v {
                row.put(k, *v);
            }
        }
        row
    }

    #[test]
    fn rows_with_disjoint_steps_become_one() {
        let rows = vec![row("x", &[None, Some(2.0)]), row("x", &[Some(1.0), None])];
        let joined = join_same_labels(rows, &mut Work::default()).unwrap();
        assert_eq!(joined, vec![row("x", &[Some(1.0), Some(2.0)])]);
    }

    #[test]
    fn rows_that_meet_are_an_error() {
        let rows = vec![row("x", &[Some(1.0)]), row("x", &[Some(1.0)])];
        let met = join_same_labels(rows, &mut Work::default());
        assert_eq!(met, Err(EvalError::same_labelset()));
    }

    #[test]
    fn set_steps_are_found_across_words() {
        let mut bits = Bits::zeros(130);
        for k in [0, 63, 64, 129] {
            bits.set(k);
        }
        assert_eq!(steps(&bits).collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(first_set(&Bits::zeros(5)), 5);
    }
}
