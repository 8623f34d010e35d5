//! Checkpoints: when one is due, and the way that it takes through the keeper.
//!
//! One is taken after each sealing, so that the log need not keep what blocks hold, and whenever the log has grown enough
//! ([`ShardStats::is_checkpoint_due`](crate::shard::ShardStats::is_checkpoint_due)), so that a restart has no more than that to read. A
//! failed one is counted and tried again with the next round.
//! Not here: what a checkpoint is (`checkpoint`).

use super::keeper::{Keeper, KeeperError};
use super::link::{LinkError, ShardLink};
use super::pace::Pace;
use crate::checkpoint::{CheckpointError, ShardDoor, take_checkpoint};
use crate::shard::{Shard, ShardReader};
use crate::shard_api::{AppendError, ShardChange};
use std::sync::atomic::Ordering;

/// The keeper's link as a checkpoint uses it.
struct Door<'a> {
    link: &'a ShardLink,
    pace: &'a Pace,
}

impl ShardDoor for Door<'_> {
    type Error = LinkError;

    async fn look<T, F>(&self, look: F) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: FnMut(&ShardReader<'_>) -> Option<T> + Send + 'static,
    {
        self.link.look(look).await
    }

    async fn change<T, F>(&self, change: F) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        self.link.change(change).await
    }

    async fn submit(&self, change: Box<dyn ShardChange>) -> Result<bool, LinkError> {
        match self.link.submit(change).await {
            Ok(_) => Ok(true),
            Err(LinkError::Refused(AppendError::Log(_))) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn breathe(&self) -> Result<(), LinkError> {
        Ok(self.pace.breathe(self.link.is_busy()).await?)
    }
}

impl Keeper {
    /// Takes a checkpoint if the log has grown enough since the last.
    pub(super) async fn checkpoint_due(&self) -> Result<(), KeeperError> {
        let due = |shard: &mut Shard| shard.stats().is_checkpoint_due();
        match self.link.change(due).await? {
            true => self.checkpoint().await,
            false => Ok(()),
        }
    }

    /// Takes a checkpoint now.
    pub(super) async fn checkpoint(&self) -> Result<(), KeeperError> {
        let door = Door {
            link: &self.link,
            pace: &self.pace,
        };
        let taken = take_checkpoint(&door, &*self.disk, &self.checkpoints).await;
        match taken {
            Ok(report) => {
                self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    shard = self.shard,
                    record = report.lsn,
                    series = report.series,
                    bytes = report.bytes,
                    "checkpoint taken"
                );
                Ok(())
            }
            Err(CheckpointError::Shard(LinkError::Stopped)) => Err(KeeperError::Stopped),
            Err(error) => {
                self.counters
                    .checkpoints_failed
                    .fetch_add(1, Ordering::Relaxed);
                Err(KeeperError::Checkpoint(error.to_string()))
            }
        }
    }
}
