//! Checkpoints: when one is due, and the way that it takes through the keeper.
//!
//! One is taken after each sealing, so that the log need not keep what blocks hold, and whenever the log has grown enough
//! ([`ShardStats::is_checkpoint_due`](crate::shard::ShardStats::is_checkpoint_due)), so that a restart has no more than that to read;
//! sooner ([`ShardStats::is_checkpoint_worth_while`](crate::shard::ShardStats::is_checkpoint_worth_while)) as long as checkpoints take no
//! more than their share of the time. A failed one is counted and tried again with the next round.
//! Not here: what a checkpoint is (`checkpoint`).

use super::keeper::{Keeper, KeeperError};
use super::link::{LinkError, ShardLink};
use super::pace::Pace;
use crate::checkpoint::{CheckpointError, CheckpointReport, ShardDoor, take_checkpoint};
use crate::io::{give_up_reserve, make_reserve};
use crate::limits::CHECKPOINT_PERCENT;
use crate::shard::{Shard, ShardReader};
use crate::shard_api::{AppendError, ShardChange};
use std::cell::Cell;
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

/// What the last checkpoint took, and when it ended; in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct CheckpointCost {
    worked: Cell<u64>,
    ended: Cell<u64>,
}

impl CheckpointCost {
    fn set(&self, worked: u64, ended: u64) {
        self.worked.set(worked);
        self.ended.set(ended);
    }

    /// Would another one now leave checkpoints within their share of the time?
    fn is_small(&self, now: u64) -> bool {
        let since = now.saturating_sub(self.ended.get());
        self.worked.get() <= since / 100 * CHECKPOINT_PERCENT
    }
}

impl Keeper {
    /// Takes a checkpoint if the log has grown enough since the last.
    pub(super) async fn checkpoint_due(&self) -> Result<(), KeeperError> {
        let is_cheap = self.checkpoint_cost.is_small(self.world.monotonic_nanos());
        let due = move |shard: &mut Shard| {
            let stats = shard.stats();
            stats.is_checkpoint_due() || (is_cheap && stats.is_checkpoint_worth_while())
        };
        match self.link.change(due).await? {
            true => self.checkpoint().await,
            false => Ok(()),
        }
    }

    async fn take(&self) -> Result<CheckpointReport, CheckpointError<LinkError>> {
        let door = Door {
            link: &self.link,
            pace: &self.pace,
        };
        take_checkpoint(&door, &*self.disk, &self.checkpoints).await
    }

    /// Takes a checkpoint now.
    pub(super) async fn checkpoint(&self) -> Result<(), KeeperError> {
        let before = self.pace.worked_nanos();
        let taken = self.take().await;
        self.checkpoint_cost.set(
            self.pace.worked_nanos().saturating_sub(before),
            self.world.monotonic_nanos(),
        );
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
                Err(match error {
                    CheckpointError::Io {
                        operation,
                        path,
                        source,
                    } => KeeperError::Io {
                        operation,
                        path,
                        source,
                    },
                    error => KeeperError::Checkpoint(error.to_string()),
                })
            }
        }
    }

    /// After a failure: if the disk is full, gives the reserve up, and says whether there was one, so that what failed can be tried again.
    pub(super) fn make_room(&self, error: &KeeperError) -> bool {
        if !error.is_full() {
            return false;
        }
        match give_up_reserve(&*self.disk, &self.data_dir) {
            Ok(given) => {
                if given {
                    tracing::warn!(
                        shard = self.shard,
                        "the disk is full: the reserve is given up to seal and to cut logs"
                    );
                }
                given
            }
            Err(error) => {
                tracing::error!(%error, "the reserve cannot be given up");
                false
            }
        }
    }

    /// Makes the reserve when there is plenty of room; the keeper of the first shard does it for all.
    pub(super) fn look_after_reserve(&self) {
        if self.shard != 0 {
            return;
        }
        let bytes = self.settings.options().reserve_bytes;
        if let Err(error) = make_reserve(&*self.disk, &self.data_dir, bytes) {
            tracing::warn!(%error, "the reserve cannot be made");
        }
    }
}
