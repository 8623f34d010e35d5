//! What a seed chooses before its first life: sizes, mixes and rates. Most rates are zero in most seeds, so that each mix of the others
//! comes up alone (swarm testing).

use crate::random::Random;
use storage_engine::maintenance::{MaintenanceOptions, RetentionSettings};
use storage_engine::shard::ShardConfig;
use storage_engine::wal::AckMode;

/// Rates of failing operations, in a hundred thousand operations of the kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultRates {
    /// A write fails in part.
    pub write: u64,
    /// A sync of a file fails and loses its pages.
    pub sync: u64,
    /// A directory's sync fails.
    pub sync_dir: u64,
    /// Making, opening, renaming, removing fail.
    pub names: u64,
    /// A read fails.
    pub read: u64,
    /// What has failed once fails for ever, as long as the process lives.
    pub for_ever: bool,
}

/// How the samples look. Rates are in a thousand samples or batches.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Different series.
    pub series: u32,
    /// Most samples of a batch.
    pub batch_samples_max: u64,
    /// Most batches sent at once.
    pub burst_max: u64,
    /// Most milliseconds between two times of a series.
    pub step_ms: u64,
    /// Samples that repeat one that is there.
    pub duplicates: u32,
    /// Samples with the time of one that is there and another value.
    pub conflicts: u32,
    /// Samples older than the newest of their series.
    pub late: u32,
    /// Staleness markers.
    pub stale: u32,
    /// Series in a hundred that are native histograms, or both.
    pub histogram_series: u32,
    /// Batches that only ask.
    pub checks: u32,
    /// Batches that send labels although the reference is known.
    pub by_labels: u32,
    /// Steps at which something is deleted.
    pub deletes: u32,
    /// Samples that come with an exemplar.
    pub exemplars: u32,
    /// Batches before which the senders' clock leaps ahead, by block ranges or years.
    pub leaps: u32,
    /// Steps at which the wall clock jumps, ahead or back.
    pub wall_jumps: u32,
    /// Steps at which the whole shard is read and compared.
    pub reads: u32,
}

/// Blocks: what is sealed when, and how long it is kept.
#[derive(Debug, Clone, Copy)]
pub struct BlockProfile {
    /// Range of a sealed block.
    pub range_ms: i64,
    /// Largest range of a compacted block.
    pub range_max_ms: i64,
    /// Samples of a page.
    pub page_samples_max: u32,
    /// What is older than this may go.
    pub retention_ms: Option<i64>,
    /// Steps in a thousand at which a round of maintenance is asked for.
    pub rounds: u32,
    /// Steps in a thousand at which the cleaning of deletions is asked for.
    pub cleanings: u32,
}

impl BlockProfile {
    fn draw(random: &mut Random, step_ms: u64) -> BlockProfile {
        // A few batches to a block, or many.
        let range_ms = (step_ms * random.pick(&[5, 20, 60])).max(10) as i64;
        BlockProfile {
            range_ms,
            range_max_ms: range_ms * random.pick(&[1, 3, 27]),
            page_samples_max: random.pick(&[1, 7, 100, 8_192]),
            retention_ms: match random.chance(250) {
                true => Some(range_ms * random.between(2, 30) as i64),
                false => None,
            },
            rounds: random.pick(&[0, 20, 200]),
            cleanings: rate(random, 50) as u32,
        }
    }

    /// The keeper's settings.
    pub fn options(&self) -> MaintenanceOptions {
        MaintenanceOptions {
            block_range_ms: self.range_ms,
            block_range_max_ms: Some(self.range_max_ms),
            page_samples_max: self.page_samples_max,
            retention: RetentionSettings {
                time_ms: self.retention_ms,
                size_bytes: None,
                size_percent: None,
            },
            ..MaintenanceOptions::default()
        }
    }
}

/// Everything that a seed chooses at its start.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Starts of the process, the last one for the liveness phase not counted.
    pub lives: u64,
    /// Steps of a life, at most.
    pub steps: u64,
    /// Longest pause between two steps, in nanoseconds.
    pub pause_nanos: u64,
    /// The promise.
    pub ack: AckMode,
    /// Size of log segments.
    pub segment_bytes: u64,
    /// Time between a fast acknowledgement and its sync.
    pub sync_interval_nanos: u64,
    /// Messages in the mailbox.
    pub mailbox_messages: usize,
    /// Bytes that may wait for a commit.
    pub pending_bytes_max: usize,
    /// Most series; fewer than there are, in some seeds.
    pub series_max: u32,
    /// How much older than the newest a sample may be.
    pub window_ms: Option<i64>,
    /// How much older than the newest a late sample may be; 0: none is taken.
    pub late_window_ms: i64,
    /// Exemplars that the shard keeps.
    pub exemplars_max: usize,
    /// Blocks, if a keeper runs.
    pub blocks: Option<BlockProfile>,
    /// The samples.
    pub workload: Workload,
    /// Failing operations.
    pub faults: FaultRates,
    /// Lives in a thousand during which the disk is full for a while.
    pub full: u32,
    /// Starts in a thousand before which the medium is damaged.
    pub damage: u32,
    /// Starts in a thousand that meet a power cut or a failing disk.
    pub nested: u32,
    /// Lives in a thousand that end with a clean stop.
    pub clean_stops: u32,
    /// Lives in a thousand that end by the death of the process alone.
    pub kills: u32,
}

/// Zero in three of four seeds.
fn rate(random: &mut Random, max: u64) -> u64 {
    match random.below(4) {
        0 => random.between(1, max),
        _ => 0,
    }
}

impl Profile {
    /// The choices of a seed's generator.
    pub fn draw(random: &mut Random) -> Profile {
        let faulty = random.chance(400);
        let workload = Workload {
            series: random.pick(&[1, 3, 12, 40]),
            batch_samples_max: random.pick(&[1, 4, 20, 60]),
            burst_max: random.pick(&[1, 2, 4, 12]),
            step_ms: random.pick(&[1, 1_000, 15_000]),
            duplicates: rate(random, 200) as u32,
            conflicts: rate(random, 100) as u32,
            late: rate(random, 200) as u32,
            stale: rate(random, 100) as u32,
            histogram_series: random.pick(&[0, 0, 20, 50, 100]),
            checks: rate(random, 200) as u32,
            by_labels: rate(random, 500) as u32,
            deletes: rate(random, 100) as u32,
            exemplars: rate(random, 400) as u32,
            leaps: rate(random, 20) as u32,
            wall_jumps: rate(random, 50) as u32,
            reads: random.pick(&[0, 20, 100]),
        };
        let faults = match faulty {
            false => FaultRates::default(),
            true => FaultRates {
                write: rate(random, 5_000),
                sync: rate(random, 5_000),
                sync_dir: rate(random, 30_000),
                names: rate(random, 20_000),
                read: rate(random, 20_000),
                for_ever: random.chance(300),
            },
        };
        Profile {
            lives: random.between(2, 6),
            steps: random.pick(&[20, 80, 200]),
            pause_nanos: random.pick(&[300_000, 3_000_000, 30_000_000, 300_000_000]),
            ack: match random.chance(600) {
                true => AckMode::Durable,
                false => AckMode::Fast,
            },
            segment_bytes: random.pick(&[1_024, 4_096, 16_384, 1 << 20]),
            sync_interval_nanos: random.pick(&[20_000_000, 200_000_000, 1_000_000_000]),
            mailbox_messages: random.pick(&[1, 2, 8, 64]),
            pending_bytes_max: random.pick(&[2_000, 1 << 20]),
            series_max: match random.chance(100) {
                true => random.between(1, 10) as u32,
                false => 1 << 20,
            },
            window_ms: match random.chance(200) {
                true => Some(random.between(1, 60_000) as i64),
                false => None,
            },
            late_window_ms: random.pick(&[0, 0, 1_000, 60_000, 100_000_000]),
            exemplars_max: match workload.exemplars {
                0 => 0,
                _ => random.pick(&[1, 8, 100, 100_000]),
            },
            blocks: match random.chance(700) {
                true => Some(BlockProfile::draw(random, workload.step_ms)),
                false => None,
            },
            workload,
            faults,
            full: random.pick(&[0, 0, 300]),
            damage: random.pick(&[0, 0, 300]),
            nested: random.pick(&[0, 200, 600]),
            clean_stops: random.pick(&[0, 100, 400]),
            kills: random.pick(&[0, 300, 900]),
        }
    }

    /// The shard's settings.
    pub fn shard_config(&self) -> ShardConfig {
        ShardConfig {
            hash_seed: 1,
            out_of_bounds_window_ms: self.window_ms,
            out_of_order_window_ms: self.late_window_ms,
            series_max: self.series_max,
            exemplars_max: self.exemplars_max,
            pending_bytes_max: self.pending_bytes_max,
            ..ShardConfig::default()
        }
    }
}
