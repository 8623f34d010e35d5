//! Join signatures: which rows of two vectors belong together under `on(...)` or `ignoring(...)`.

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
    pub(crate) fn of(left: &[Row], right: &[Row], matching: &VectorMatching) -> Self {
        let mut numbers: HashMap<Labels, usize> =
            HashMap::with_capacity(left.len().max(right.len()));
        let mut number = |row: &Row| {
            let next = numbers.len();
            *numbers
                .entry(match_group(&row.labels, matching))
                .or_insert(next)
        };
        let left = left.iter().map(&mut number).collect();
        let right = right.iter().map(&mut number).collect();
        Signatures {
            left,
            right,
            count: numbers.len(),
        }
    }
}
