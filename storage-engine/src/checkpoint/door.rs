//! How a checkpoint reaches its shard: looks and changes, each on the shard's own thread.
//!
//! Promise: a look sees the shard between two batches, a slice at a time; a change is made in one piece. Not here: who carries them.

use crate::shard::{Action, Shard, ShardReader};
use crate::shard_api::{AppendOutcome, ShardChange};

/// The way to a shard.
pub(crate) trait ShardDoor {
    /// Why a request came to nothing.
    type Error: std::error::Error;

    /// Calls `look` once a slice until it gives a value.
    fn look<T, F>(&self, look: F) -> impl Future<Output = Result<T, Self::Error>>
    where
        T: Send + 'static,
        F: FnMut(&ShardReader<'_>) -> Option<T> + Send + 'static;

    /// Makes a change, gives what it gives.
    fn change<T, F>(&self, change: F) -> impl Future<Output = Result<T, Self::Error>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Shard) -> T + Send + 'static;

    /// Hands in a change and waits for its answer; false if the log could not do what it asked.
    fn submit(
        &self,
        change: Box<dyn ShardChange>,
    ) -> impl Future<Output = Result<bool, Self::Error>>;

    /// Called between two pieces of work: others may want the disk and the shard.
    fn breathe(&self) -> impl Future<Output = Result<(), Self::Error>>;
}

/// Answered when the log has taken all that is in memory now.
pub(super) struct WaitForLog;

impl ShardChange for WaitForLog {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        shard.answer_when_logged(request, actions);
    }
}

/// Answered when all that the log has taken is durable.
pub(super) struct SyncLog;

impl ShardChange for SyncLog {
    fn apply(
        self: Box<Self>,
        _shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::SyncLog { request });
    }
}

/// No restart will need records up to `covered` again.
pub(super) struct Release {
    pub(super) covered: u64,
}

impl ShardChange for Release {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        shard.release_slots(self.covered);
        actions.push(Action::ReleaseLog {
            before: self.covered + 1,
        });
        actions.push(Action::Reply {
            request,
            result: Ok(AppendOutcome::default()),
        });
    }
}
