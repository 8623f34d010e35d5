//! Retention: blocks that are too old or too much go.
//!
//! The limits hold for the whole store: the newest data of all shards is what time is reckoned from, the blocks of all shards together
//! fill the budget. Each keeper comes to the same verdict from the same shelves and removes its own blocks.

use super::directory::directory_bytes;
use super::keeper::{Keeper, KeeperError};
use super::retention::{Kept, Sources, beyond_size, beyond_time};
use crate::block::BlockId;
use std::sync::atomic::Ordering;

impl Keeper {
    /// Removes this shard's blocks that are beyond the retention.
    pub(super) async fn expire(&mut self) -> Result<(), KeeperError> {
        self.look_at_store().await?;
        let old = self.beyond_time();
        if !old.is_empty() {
            tracing::info!(
                shard = self.shard,
                blocks = old.len(),
                "blocks are beyond the retention time"
            );
            self.counters
                .time_retentions
                .fetch_add(1, Ordering::Relaxed);
            self.drop_blocks(&old).await?;
        }
        let too_much = self.beyond_size();
        if !too_much.is_empty() {
            tracing::info!(
                shard = self.shard,
                blocks = too_much.len(),
                "blocks are beyond the retention size"
            );
            self.counters
                .size_retentions
                .fetch_add(1, Ordering::Relaxed);
            self.drop_blocks(&too_much).await?;
        }
        Ok(())
    }

    /// Puts on the shelf what retention needs to know of this shard.
    async fn look_at_store(&mut self) -> Result<(), KeeperError> {
        let head = self
            .link
            .look(|shard| Some(shard.head_time_range().map(|(_, newest)| newest)))
            .await?;
        let log_bytes = ["wal", "checkpoint", "chunks"]
            .iter()
            .map(|room| directory_bytes(&*self.disk, &self.shard_dir.join(room)))
            .sum();
        self.shelf().with(|shelf| {
            let blocks = shelf.blocks.iter().map(|b| b.block.meta().max_time).max();
            shelf.newest = head.max(blocks);
            shelf.log_bytes = log_bytes;
        });
        Ok(())
    }

    fn beyond_time(&mut self) -> Vec<BlockId> {
        let newest = self
            .shelves
            .iter()
            .filter_map(|s| s.with(|s| s.newest))
            .max();
        let Some(newest_ms) = newest else {
            return Vec::new();
        };
        let sources = Sources {
            wall_ms: self.world.wall_ms(),
            newest_ms,
            monotonic_nanos: self.world.monotonic_nanos(),
        };
        let was_held = self.counters.retention_held.load(Ordering::Relaxed);
        let reckoned = self.clock.look(sources, self.settings.block_range());
        self.counters
            .retention_held
            .store(reckoned.held, Ordering::Relaxed);
        if reckoned.held && !was_held {
            tracing::warn!(
                wall_ms = sources.wall_ms,
                newest_ms,
                "the clock has jumped: retention stands still until clock and data have agreed for a while"
            );
        }
        match self.settings.retention().time_ms {
            Some(kept) => beyond_time(&self.kept(), reckoned.now_ms.saturating_sub(kept)),
            None => Vec::new(),
        }
    }

    /// This shard's blocks that do not fit into the budget of the store.
    fn beyond_size(&self) -> Vec<BlockId> {
        let total = || {
            self.disk
                .space(&self.data_dir)
                .ok()
                .map(|space| space.total)
        };
        let Some(bytes_max) = self.settings.retention().bytes_max(total) else {
            return Vec::new();
        };
        let log_bytes = self.shelves.iter().map(|s| s.with(|s| s.log_bytes)).sum();
        let all: Vec<Kept> = self.shelves.iter().flat_map(kept).collect();
        let own: Vec<BlockId> = self.kept().iter().map(|block| block.id).collect();
        let beyond = beyond_size(&all, log_bytes, bytes_max);
        beyond.into_iter().filter(|id| own.contains(id)).collect()
    }

    fn kept(&self) -> Vec<Kept> {
        kept(self.shelf())
    }
}

fn kept(shelf: &super::shelf::Shelf) -> Vec<Kept> {
    let metas = shelf.metas();
    let of = |meta: crate::block::BlockMeta| Kept {
        id: meta.id,
        max_time: meta.max_time,
        bytes: meta.bytes,
    };
    metas.into_iter().map(of).collect()
}
