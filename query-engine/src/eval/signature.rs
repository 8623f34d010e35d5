//! Join signatures: which rows of two vectors belong together under `on(...)` or `ignoring(...)`.

use super::error::EvalError;
use super::memory::{Work, labels_cost};
use super::value::Row;
use crate::parse::ast::VectorMatching;
use hashbrown::HashMap;
use storage_engine::model::{Labels, METRIC_NAME};

/// The labels that two series must share to match.
pub(crate) fn match_group(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |n: &str| matching.labels.iter().any(|l| l == n);
    if matching.on {
        labels.filtered(listed)
    } else {
        labels.filtered(|n| n != METRIC_NAME && !listed(n))
    }
}

/// Numbers the match groups of two vectors in order of appearance.
pub(crate) struct Signatures {
    /// Match group of each left row.
    pub(crate) left: Vec<usize>,
    /// Match group of each right row.
    pub(crate) right: Vec<usize>,
    /// Number of match groups.
    pub(crate) count: usize,
}

impl Signatures {
    pub(crate) fn of(
        left: &[Row],
        right: &[Row],
        matching: &VectorMatching,
        work: &mut Work,
    ) -> Result<Self, EvalError> {
        // The tables, then the label sets as they come.
        work.take(64 * (left.len() + right.len()))?;
        let mut numbers: HashMap<Labels, usize> =
            HashMap::with_capacity(left.len().max(right.len()));
        let mut number = |row: &Row| {
            work.tick(16)?;
            let next = numbers.len();
            let group = match_group(&row.labels, matching);
            if let Some(&number) = numbers.get(&group) {
                return Ok(number);
            }
            work.take(labels_cost(&group))?;
            numbers.insert(group, next);
            Ok(next)
        };
        let left: Result<_, EvalError> = left.iter().map(&mut number).collect();
        let right: Result<_, EvalError> = right.iter().map(&mut number).collect();
        Ok(Signatures {
            left: left?,
            right: right?,
            count: numbers.len(),
        })
    }
}
