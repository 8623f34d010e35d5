//! The blocks of a shard as its queries see them.
//!
//! Promise: blocks come and go in one step together with the time from which the head counts, so that a query that
//! begins between two events sees each sample in exactly one place. Not here: files (maintenance), reading.

use super::Shard;
use crate::block::{Block, BlockId};
use crate::model::TimestampMs;
use crate::shard_api::TimeRange;
use crate::tombstones::Tombstones;
use std::sync::Arc;

/// A block and what was deleted from it since it was written.
#[derive(Clone)]
pub struct StoredBlock {
    /// The block.
    pub block: Arc<Block>,
    /// Deleted ranges by ordinal.
    pub tombstones: Arc<Tombstones>,
}

impl std::fmt::Debug for StoredBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredBlock")
            .field("id", &self.block.meta().id)
            .field("deleted_series", &self.tombstones.len())
            .finish()
    }
}

impl StoredBlock {
    /// May there be samples in `range`?
    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        let meta = self.block.meta();
        meta.min_time <= range.max && meta.max_time >= range.min
    }
}

/// A block that is damaged and was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name.
    pub id: BlockId,
    /// What is wrong with it, for the warnings of answers that may lack its samples.
    pub text: String,
    /// Times of its samples, both ends inclusive; `None` when that is not known, so that it could be any.
    pub range: Option<TimeRange>,
}

impl Quarantined {
    /// May samples in `range` be missing because of it?
    pub(super) fn concerns(&self, range: TimeRange) -> bool {
        self.range
            .is_none_or(|of| of.min <= range.max && of.max >= range.min)
    }
}

impl Shard {
    /// Adds and removes blocks in one step; one that is added takes the place of one with its name. From `head_from` on
    /// in-order samples of the head count, older ones belong to blocks; it only moves up.
    pub fn change_blocks(
        &mut self,
        add: Vec<StoredBlock>,
        remove: &[BlockId],
        head_from: Option<TimestampMs>,
    ) {
        // Which of two values of one time counts may change, and what was deleted or is too old goes.
        self.data.changes.note(TimestampMs::MIN);
        let added: Vec<BlockId> = add.iter().map(|b| b.block.meta().id).collect();
        let blocks = &mut self.data.blocks;
        blocks.retain(|b| {
            let id = b.block.meta().id;
            !remove.contains(&id) && !added.contains(&id)
        });
        blocks.extend(add);
        blocks.sort_by_key(|b| (b.block.meta().min_time, b.block.meta().id));
        if let Some(head_from) = head_from {
            self.data.head_from = self.data.head_from.max(head_from);
            // What is older would be stored and never read.
            self.begin_seal(head_from);
        }
    }

    /// Takes a damaged block out of what is read, and remembers to say so.
    pub fn quarantine(&mut self, quarantined: Quarantined) {
        self.data.changes.note(TimestampMs::MIN);
        let id = quarantined.id;
        self.data.blocks.retain(|b| b.block.meta().id != id);
        self.data.quarantined.retain(|q| q.id != id);
        self.data.quarantined.push(quarantined);
    }

    /// Forgets quarantined blocks that no longer matter: those for which `keep` says no.
    pub fn retain_quarantined(&mut self, keep: impl FnMut(&Quarantined) -> bool) {
        self.data.quarantined.retain(keep);
    }

    /// The blocks, by ascending time of the oldest sample.
    pub fn blocks(&self) -> &[StoredBlock] {
        &self.data.blocks
    }

    /// Blocks that were set aside.
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.data.quarantined
    }

    /// From this time on in-order samples of the head count; older ones belong to blocks.
    pub fn head_from(&self) -> TimestampMs {
        self.data.head_from
    }
}
