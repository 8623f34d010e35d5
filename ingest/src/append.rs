//! Where decoded samples go: the seam between protocol rooms and the running store.
//!
//! Promise: a protocol room knows shards only through this trait, so tests can record what would be stored.

use std::future::Future;
use storage_engine::shard_api::{AppendBatch, AppendError, AppendMode, AppendOutcome};

/// The store as a protocol room sees it. Batches for one shard are applied in the order in which `append` is first polled.
pub trait AppendTarget {
    /// Number of shards; constant for the life of the store.
    fn shard_count(&self) -> usize;

    /// The home of a series, from [`storage_engine::model::Labels::route_hash`].
    fn shard_of(&self, route_hash: u64) -> usize;

    /// Hands a batch to a shard and waits until the promise of the acknowledgement mode in force is met.
    fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> impl Future<Output = Result<AppendOutcome, AppendError>>;
}
