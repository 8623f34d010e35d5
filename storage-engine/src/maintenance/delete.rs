//! Deletions: what matches is marked as deleted, in the head's log and in files beside the blocks; compaction takes it out later.
//!
//! Promise: answered when it is durable everywhere. A crash before that may leave a part of it done.

use super::keeper::{Keeper, KeeperError};
use crate::block::{BlockId, write_tombstones};
use crate::model::Matcher;
use crate::shard::{Shard, StoredBlock};
use crate::shard_api::{ShardChange, TimeRange};
use crate::tombstones::Tombstones;
use std::sync::Arc;

/// A deletion in the head; its answer waits for the log.
struct DeleteFromHead {
    matchers: Vec<Matcher>,
    range: TimeRange,
}

impl ShardChange for DeleteFromHead {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<crate::shard::Action>,
    ) {
        shard.delete_from_head(&self.matchers, self.range, request, actions);
    }
}

impl Keeper {
    /// Deletes the samples in `range` of all series that pass `matchers`.
    pub(super) async fn delete(
        &mut self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(), KeeperError> {
        self.remove_leftovers()?;
        let change = DeleteFromHead {
            matchers: matchers.to_vec(),
            range,
        };
        self.link.submit(Box::new(change)).await?;
        for block in self.blocks() {
            self.delete_from_block(&block, matchers, range).await?;
        }
        Ok(())
    }

    async fn delete_from_block(
        &mut self,
        stored: &StoredBlock,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(), KeeperError> {
        let meta = stored.block.meta();
        // No further than the block reaches: its file of deletions then says what there was to delete.
        let range = TimeRange {
            min: range.min.max(meta.min_time),
            max: range.max.min(meta.max_time),
        };
        if range.min > range.max {
            return Ok(());
        }
        let id = meta.id;
        let read_error = |source| KeeperError::Read { id, source };
        let mut tombstones: Tombstones = (*stored.tombstones).clone();
        let mut found = false;
        for ordinal in stored.block.select(matchers).map_err(read_error)? {
            if stored.block.overlaps(ordinal, range).map_err(read_error)? {
                tombstones.add(ordinal, range);
                found = true;
            }
        }
        if found {
            self.replace_tombstones(id, stored, tombstones).await?;
        }
        Ok(())
    }

    async fn replace_tombstones(
        &mut self,
        id: BlockId,
        stored: &StoredBlock,
        tombstones: Tombstones,
    ) -> Result<(), KeeperError> {
        let path = crate::block::tombstone_path(&self.dir, id);
        write_tombstones(&*self.disk, &self.dir, id, &tombstones)
            .map_err(Self::io_error("write", &path))?;
        let changed = StoredBlock {
            block: Arc::clone(&stored.block),
            tombstones: Arc::new(tombstones),
        };
        self.publish(vec![changed], vec![id], None).await
    }
}
