//! The list of a shard's blocks for those who are not on its thread: its keeper, the status page, retention over all shards.
//!
//! Promise: changes as a whole, after the shard itself has changed, so that nobody here counts a block and its parents at once.

use crate::block::{BlockId, BlockMeta};
use crate::model::TimestampMs;
use crate::shard::{Quarantined, StoredBlock};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The blocks of one shard and what else it keeps on disk.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Content>);

/// What a shelf holds.
#[derive(Default)]
pub(crate) struct Content {
    /// The shard has opened its directory.
    pub(crate) opened: bool,
    /// Sound blocks, ascending by `min_time`.
    pub(crate) blocks: Vec<StoredBlock>,
    /// Blocks that cannot be read.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Blocks that must not be compacted again: a page is damaged, or writing failed.
    pub(crate) failed: Vec<BlockId>,
    /// Bytes of log, checkpoint and chunk pages.
    pub(crate) log_bytes: u64,
    /// Newest sample of head and blocks.
    pub(crate) newest: Option<TimestampMs>,
}

impl Shelf {
    /// Looks at or changes the content; short, and never while waiting.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Content) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the blocks say of themselves.
    pub(crate) fn metas(&self) -> Vec<BlockMeta> {
        let content = self.lock();
        let metas = content.blocks.iter().map(|b| b.block.meta().clone());
        metas.collect()
    }
}

impl Content {
    /// Adds and removes blocks in one step.
    pub(crate) fn change(&mut self, add: &[StoredBlock], remove: &[BlockId]) {
        self.blocks
            .retain(|stored| !remove.contains(&stored.block.meta().id));
        self.failed.retain(|id| !remove.contains(id));
        self.blocks.extend(add.iter().cloned());
        self.blocks
            .sort_by_key(|stored| (stored.block.meta().min_time, stored.block.meta().id));
    }
}
