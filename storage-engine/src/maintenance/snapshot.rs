//! Snapshots: the blocks under second names, and the head as blocks of its own, in a directory that opens as a data directory.
//!
//! Promise: everything that was acknowledged before the snapshot was asked for is in it; what comes while it is taken may be. The
//! manifest is written last, by the store: a directory without one is a snapshot that was not finished, and does not open.

use super::directory::block_path;
use super::head_pieces::Part;
use super::keeper::{BLOCKS, Keeper, KeeperError, shard_dir};
use super::seal::Sealing;
use crate::block::{BlockId, tombstone_path};
use crate::model::TimestampMs;
use crate::shard_api::TimeRange;
use std::io;
use std::path::Path;

impl Keeper {
    /// Puts this shard's part of a snapshot into `snapshot_dir`.
    pub(super) async fn snapshot(
        &mut self,
        snapshot_dir: &Path,
        with_head: bool,
    ) -> Result<(), KeeperError> {
        let dir = shard_dir(snapshot_dir, self.shard).join(BLOCKS);
        let outcome = self.fill_snapshot(&dir, with_head).await;
        if outcome.is_err() {
            // Second names keep the room of blocks that are gone.
            for name in self.disk.list(&dir).unwrap_or_default() {
                let _ = self.disk.remove(&dir.join(name));
            }
        }
        outcome
    }

    async fn fill_snapshot(&mut self, dir: &Path, with_head: bool) -> Result<(), KeeperError> {
        self.disk
            .create_dir_all(dir)
            .map_err(Self::io_error("create", dir))?;
        for block in self.blocks() {
            self.link_block(dir, block.block.meta().id)?;
        }
        if with_head {
            self.snapshot_head(dir).await?;
        }
        for dir in dir.ancestors().take(3) {
            self.disk
                .sync_dir(dir)
                .map_err(Self::io_error("sync", dir))?;
        }
        Ok(())
    }

    fn link_block(&self, dir: &Path, id: BlockId) -> Result<(), KeeperError> {
        let source = block_path(&self.dir, id);
        self.disk
            .hard_link(&source, &block_path(dir, id))
            .map_err(Self::io_error("link", &source))?;
        let source = tombstone_path(&self.dir, id);
        match self.disk.hard_link(&source, &tombstone_path(dir, id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Self::io_error("link", &source)(error))
            }
            _ => Ok(()),
        }
    }

    async fn snapshot_head(&mut self, dir: &Path) -> Result<(), KeeperError> {
        if let Some(span) = self.head_span().await? {
            let in_order = Sealing {
                part: Part::InOrder,
                range: TimeRange {
                    min: span.head_from,
                    max: span.newest,
                },
                sealed_until: Some(span.newest.saturating_add(1)),
            };
            self.write_by_ranges(dir, in_order).await?;
        }
        let out_of_order = Sealing {
            part: Part::OutOfOrder,
            range: TimeRange {
                min: TimestampMs::MIN,
                max: TimestampMs::MAX,
            },
            sealed_until: None,
        };
        self.write_by_ranges(dir, out_of_order).await.map(drop)
    }
}
