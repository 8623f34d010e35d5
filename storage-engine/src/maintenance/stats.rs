//! What maintenance has done and what lies on disk, in numbers.

use crate::block::BlockMeta;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Upper bounds of [`Durations`] in seconds: powers of two, as Prometheus's compaction histogram has them.
pub const DURATION_BOUNDS: [f64; 14] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
];

/// Durations counted below fixed bounds.
#[derive(Debug, Default)]
pub(crate) struct DurationCounts {
    counts: [AtomicU64; DURATION_BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// Durations at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// For each of [`DURATION_BOUNDS`], how many took at most so long.
    pub below: Vec<u64>,
    /// All.
    pub count: u64,
    /// Seconds of all together.
    pub sum_seconds: f64,
}

impl DurationCounts {
    fn observe(&self, nanos: u64) {
        let seconds = nanos as f64 / 1e9;
        let bucket = DURATION_BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn view(&self) -> Durations {
        let mut count = 0;
        let mut below: Vec<u64> = Vec::with_capacity(self.counts.len());
        for counter in &self.counts {
            count += counter.load(Ordering::Relaxed);
            below.push(count);
        }
        below.pop();
        Durations {
            below,
            count,
            sum_seconds: self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

/// Counts as they go, over all keepers of a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) triggered: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compactions_failed: AtomicU64,
    pub(crate) vertical: AtomicU64,
    pub(crate) head_truncations: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) checkpoints_failed: AtomicU64,
    pub(crate) time_retentions: AtomicU64,
    pub(crate) size_retentions: AtomicU64,
    pub(crate) retention_held: AtomicBool,
    durations: DurationCounts,
    cleanups: DurationCounts,
}

impl Counters {
    pub(crate) fn observe_compaction(&self, nanos: u64) {
        self.durations.observe(nanos);
    }

    pub(crate) fn observe_cleanup(&self, nanos: u64) {
        self.cleanups.observe(nanos);
    }

    pub(crate) fn view(&self) -> MaintenanceStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MaintenanceStats {
            compactions_triggered: of(&self.triggered),
            compactions: of(&self.compactions),
            compactions_failed: of(&self.compactions_failed),
            vertical_compactions: of(&self.vertical),
            head_truncations: of(&self.head_truncations),
            checkpoints: of(&self.checkpoints),
            checkpoints_failed: of(&self.checkpoints_failed),
            time_retentions: of(&self.time_retentions),
            size_retentions: of(&self.size_retentions),
            retention_held: self.retention_held.load(Ordering::Relaxed),
            compaction_durations: self.durations.view(),
            tombstone_cleanups: self.cleanups.view(),
            ..MaintenanceStats::default()
        }
    }
}

/// What maintenance has done since start, and what lies on disk now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MaintenanceStats {
    /// Sealings and compactions begun.
    pub compactions_triggered: u64,
    /// Blocks written, sealed ones included.
    pub compactions: u64,
    /// Attempts that came to nothing.
    pub compactions_failed: u64,
    /// Compactions of blocks that overlapped.
    pub vertical_compactions: u64,
    /// Times that the head's memory was let go.
    pub head_truncations: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Checkpoints that came to nothing.
    pub checkpoints_failed: u64,
    /// Times that blocks went because of their age.
    pub time_retentions: u64,
    /// Times that blocks went because of the budget.
    pub size_retentions: u64,
    /// A jump of the clock is being held back.
    pub retention_held: bool,
    /// How long sealings and compactions took.
    pub compaction_durations: Durations,
    /// How long the cleaning of deletions took, block by block.
    pub tombstone_cleanups: Durations,
    /// Sound blocks.
    pub blocks: u64,
    /// Bytes of sound blocks.
    pub block_bytes: u64,
    /// Bytes of log, checkpoints and chunk pages, a look old at most.
    pub log_bytes: u64,
    /// Blocks, or deletions of blocks, that cannot be read.
    pub quarantined: u64,
    /// Oldest sample in a block.
    pub oldest: Option<i64>,
}

impl MaintenanceStats {
    /// Adds what lies on one shelf.
    pub(crate) fn add_shelf(&mut self, metas: &[BlockMeta], log_bytes: u64, quarantined: u64) {
        self.blocks += metas.len() as u64;
        self.block_bytes += metas.iter().map(|m| m.bytes).sum::<u64>();
        self.log_bytes += log_bytes;
        self.quarantined += quarantined;
        let oldest = metas.iter().map(|m| m.min_time).min();
        self.oldest = self.oldest.into_iter().chain(oldest).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_below_their_bounds() {
        let counters = Counters::default();
        for nanos in [500_000_000, 1_000_000_000, 3_000_000_000, u64::MAX / 4] {
            counters.observe_compaction(nanos);
        }
        let view = counters.view().compaction_durations;
        assert_eq!(view.below[..3], [2, 2, 3]);
        assert_eq!((view.below[13], view.count), (3, 4));
        assert_eq!(counters.view().tombstone_cleanups.count, 0);
    }
}
