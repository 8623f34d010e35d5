//! What a query has chosen: series, and the sources that were there at that moment.
//!
//! A task keeps a [`Selection`] between its slices. The shard goes on meanwhile: samples are appended, and what the head
//! holds may have become a block by the next slice. The selection still reads what it chose from, so that no sample is
//! missed and none comes twice.
//!
//! Not here: finding the series and reading them ([`super::ShardReader`]).

use crate::model::TimestampMs;

/// Series that a query has chosen, each by its number in `0..len()`.
#[derive(Debug)]
pub struct Selection {
    /// In-order samples of the head count from this time on.
    pub(super) head_from: TimestampMs,
    /// Slots of the head, ascending.
    pub(super) slots: Vec<u32>,
    /// What could not be looked at, in words for the answer's warnings.
    pub(super) damage: Vec<String>,
}

impl Selection {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Were no series found?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What was damaged and could not be looked at, in words for the answer's warnings.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The head's slot of a series.
    pub(super) fn slot(&self, series: usize) -> Option<u32> {
        self.slots.get(series).copied()
    }
}
