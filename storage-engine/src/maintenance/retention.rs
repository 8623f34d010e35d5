//! How long blocks are kept: by time, by size, and the guard against clocks that lie.
//!
//! Promise: a block goes by time only when all its samples are older than the retention, reckoned from a moment that the wall clock and
//! the newest data agree on; it goes by size only when newer blocks (and the log) fill the budget.
//! Not here: removing files (`expire`), reading clocks (`clock`).

use crate::block::BlockId;
use crate::model::TimestampMs;

/// Retention without any setting: 15 days.
pub const RETENTION_DEFAULT_MS: i64 = 15 * 24 * 3_600_000;
/// Block ranges for which wall clock and data must agree before a jump of both is believed.
const AGREEMENT_RANGES: i64 = 3;

/// The limits on what is kept. All that are set hold at once; the percentage wins over the size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetentionSettings {
    /// Milliseconds; `None`: no limit.
    pub time_ms: Option<i64>,
    /// Bytes of blocks, log and checkpoint together, over all shards; `None`: no limit.
    pub size_bytes: Option<u64>,
    /// Share of the file system in percent; `None`: no limit.
    pub size_percent: Option<f64>,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        RetentionSettings {
            time_ms: Some(RETENTION_DEFAULT_MS),
            size_bytes: None,
            size_percent: None,
        }
    }
}

impl RetentionSettings {
    /// The budget in bytes on a file system of `disk_total` bytes.
    pub(crate) fn bytes_max(&self, disk_total: impl FnOnce() -> Option<u64>) -> Option<u64> {
        match self.size_percent {
            Some(percent) => disk_total().map(|total| (total as f64 * percent / 100.0) as u64),
            None => self.size_bytes,
        }
    }
}

/// What retention knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Which.
    pub(crate) id: BlockId,
    /// Newest sample.
    pub(crate) max_time: TimestampMs,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

/// Blocks all of whose samples lie before `cutoff`.
pub(crate) fn beyond_time(blocks: &[Kept], cutoff: TimestampMs) -> Vec<BlockId> {
    let old = blocks.iter().filter(|block| block.max_time < cutoff);
    old.map(|block| block.id).collect()
}

/// The oldest blocks, from the one on with which the newer ones and `other_bytes` no longer fit into `bytes_max`.
pub(crate) fn beyond_size(blocks: &[Kept], other_bytes: u64, bytes_max: u64) -> Vec<BlockId> {
    let mut newest_first: Vec<&Kept> = blocks.iter().collect();
    newest_first.sort_by_key(|block| std::cmp::Reverse((block.max_time, block.id)));
    let mut sum = other_bytes;
    let keep = newest_first.iter().take_while(|block| {
        sum = sum.saturating_add(block.bytes);
        sum <= bytes_max
    });
    let kept = keep.count();
    newest_first[kept..].iter().map(|block| block.id).collect()
}

/// The moment that retention reckons from, guarded against jumps.
///
/// The candidate is the earlier of wall clock and newest data, so that one of them alone cannot delete anything. When it lies more than
/// a block range ahead of what monotonic time explains since the last moment that was believed, it is held back until wall clock and
/// data have stayed together for [`AGREEMENT_RANGES`] block ranges: a machine that boots in the year 2100 and scrapes there deletes
/// nothing at once, and one that was off for a month goes on after a few hours.
#[derive(Debug, Default)]
pub(crate) struct RetentionClock {
    /// The last moment that was believed, and the monotonic time then.
    believed: Option<Moment>,
    /// Since when wall clock and data have agreed on a jump.
    agreed_since: Option<Moment>,
    /// What the last look that was not held came to.
    reckoned_ms: TimestampMs,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    time_ms: TimestampMs,
    monotonic_nanos: u64,
}

/// What the sources say at one look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources {
    /// The wall clock.
    pub(crate) wall_ms: TimestampMs,
    /// The newest sample of the store.
    pub(crate) newest_ms: TimestampMs,
    /// The monotonic clock.
    pub(crate) monotonic_nanos: u64,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reckoned {
    /// Reckon retention from here.
    pub(crate) now_ms: TimestampMs,
    /// A jump is being held back.
    pub(crate) held: bool,
}

fn elapsed_ms(since: u64, now: u64) -> i64 {
    i64::try_from(now.saturating_sub(since) / 1_000_000).unwrap_or(i64::MAX)
}

impl RetentionClock {
    /// Looks at the sources; `block_range` in milliseconds is the tolerance.
    pub(crate) fn look(&mut self, sources: Sources, block_range: i64) -> Reckoned {
        let now = Moment {
            time_ms: sources.wall_ms.min(sources.newest_ms),
            monotonic_nanos: sources.monotonic_nanos,
        };
        let Some(believed) = self.believed else {
            self.believed = Some(now);
            return self.accept(now);
        };
        let passed = elapsed_ms(believed.monotonic_nanos, now.monotonic_nanos);
        let explained = believed.time_ms.saturating_add(passed);
        if now.time_ms <= explained.saturating_add(block_range) {
            // The baseline stays where it is, so that small excesses do not add up to a large one.
            return self.accept(now);
        }
        let together = sources.wall_ms.abs_diff(sources.newest_ms) <= block_range.unsigned_abs();
        let continues = |since: Moment| {
            let passed = elapsed_ms(since.monotonic_nanos, now.monotonic_nanos);
            let expected = since.time_ms.saturating_add(passed);
            expected.abs_diff(now.time_ms) <= block_range.unsigned_abs()
        };
        match self.agreed_since {
            Some(since) if together && continues(since) => {
                let passed = elapsed_ms(since.monotonic_nanos, now.monotonic_nanos);
                if passed >= block_range.saturating_mul(AGREEMENT_RANGES) {
                    self.believed = Some(now);
                    return self.accept(now);
                }
            }
            _ => self.agreed_since = together.then_some(now),
        }
        Reckoned {
            now_ms: self.reckoned_ms,
            held: true,
        }
    }

    fn accept(&mut self, now: Moment) -> Reckoned {
        self.agreed_since = None;
        self.reckoned_ms = now.time_ms;
        Reckoned {
            now_ms: now.time_ms,
            held: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;
    const DAY: i64 = 24 * H;
    const NOW: i64 = 1_800_000_000_000;

    struct World {
        clock: RetentionClock,
        monotonic_ms: i64,
    }

    impl World {
        fn new() -> World {
            World {
                clock: RetentionClock::default(),
                monotonic_ms: 1_000,
            }
        }

        fn look(&mut self, wall: i64, newest: i64) -> Reckoned {
            let sources = Sources {
                wall_ms: wall,
                newest_ms: newest,
                monotonic_nanos: self.monotonic_ms as u64 * 1_000_000,
            };
            self.clock.look(sources, 2 * H)
        }

        /// A look every minute for so long, the sources being `offset` ahead of monotonic time.
        fn run(&mut self, ms: i64, wall: i64, newest: i64) -> Reckoned {
            let mut last = self.look(wall + self.monotonic_ms, newest + self.monotonic_ms);
            for _ in 0..ms / 60_000 {
                self.monotonic_ms += 60_000;
                last = self.look(wall + self.monotonic_ms, newest + self.monotonic_ms);
            }
            last
        }
    }

    #[test]
    fn steady_clocks_are_followed() {
        let mut world = World::new();
        let last = world.run(3 * DAY, NOW, NOW - 30_000);
        assert_eq!(last.now_ms, NOW - 30_000 + world.monotonic_ms);
        assert!(!last.held);
    }

    #[test]
    fn one_source_alone_moves_nothing() {
        let mut world = World::new();
        world.run(H, NOW, NOW);
        let wall_ahead = world.run(30 * DAY, NOW + 365 * DAY, NOW);
        assert_eq!(wall_ahead.now_ms, NOW + world.monotonic_ms);
        let data_ahead = world.run(DAY, NOW, NOW + 365 * DAY);
        assert_eq!(data_ahead.now_ms, NOW + world.monotonic_ms);
    }

    #[test]
    fn a_jump_of_both_is_held_until_they_have_agreed_for_a_while() {
        let mut world = World::new();
        world.run(H, NOW, NOW);
        let before = world.look(NOW + world.monotonic_ms, NOW + world.monotonic_ms);
        let year = 365 * DAY;
        let held = world.run(5 * H, NOW + year, NOW + year);
        assert!(held.held && held.now_ms <= before.now_ms, "{held:?}");
        // Back again before the time is over: as if it had not been.
        let back = world.run(60_000, NOW, NOW + year);
        assert_eq!((back.now_ms, back.held), (NOW + world.monotonic_ms, false));
        // A new jump starts a new wait.
        assert!(world.run(5 * H, NOW + year, NOW + year).held);
        let believed = world.run(H + 60_000, NOW + year, NOW + year);
        assert_eq!(believed.now_ms, NOW + year + world.monotonic_ms);
        assert!(!believed.held);
    }

    #[test]
    fn sources_that_do_not_stay_together_are_never_believed() {
        let mut world = World::new();
        world.run(H, NOW, NOW);
        assert!(world.run(30 * DAY, NOW + 400 * DAY, NOW + 300 * DAY).held);
    }

    #[test]
    fn a_clock_that_runs_too_fast_in_small_steps_is_held_too() {
        let mut world = World::new();
        let mut last = world.run(60_000, NOW, NOW);
        for step in 0..48 {
            last = world.run(60_000, NOW + step * H, NOW + step * H);
        }
        assert!(last.held && last.now_ms <= NOW + 4 * H);
    }

    #[test]
    fn a_clock_that_goes_back_deletes_less_and_comes_back_at_once() {
        let mut world = World::new();
        world.run(DAY, NOW, NOW);
        let back = world.run(H, NOW - 365 * DAY, NOW);
        assert_eq!(back.now_ms, NOW - 365 * DAY + world.monotonic_ms);
        let again = world.run(60_000, NOW, NOW);
        assert_eq!(
            (again.now_ms, again.held),
            (NOW + world.monotonic_ms, false)
        );
    }

    #[test]
    fn data_that_stood_still_may_go_on() {
        let mut world = World::new();
        world.run(H, NOW, NOW);
        let stood = NOW + world.monotonic_ms;
        for _ in 0..3 * 24 {
            world.monotonic_ms += H;
            assert_eq!(world.look(NOW + world.monotonic_ms, stood).now_ms, stood);
        }
        let on = world.run(60_000, NOW, NOW);
        assert_eq!((on.now_ms, on.held), (NOW + world.monotonic_ms, false));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let mut world = World::new();
        for time in [i64::MIN, i64::MAX, 0, i64::MAX, i64::MIN] {
            world.look(time, time);
        }
    }

    fn kept(index: u128, max_time: i64, bytes: u64) -> Kept {
        Kept {
            id: BlockId(index),
            max_time,
            bytes,
        }
    }

    #[test]
    fn time_takes_whole_blocks_only() {
        let blocks = [kept(1, 99, 1), kept(2, 100, 1), kept(3, 101, 1)];
        assert_eq!(beyond_time(&blocks, 100), [BlockId(1)]);
        assert!(beyond_time(&blocks, i64::MIN).is_empty());
    }

    #[test]
    fn size_takes_the_oldest_and_counts_the_log() {
        let blocks = [kept(1, 10, 50), kept(2, 20, 30), kept(3, 30, 20)];
        assert!(beyond_size(&blocks, 10, 110).is_empty());
        assert_eq!(beyond_size(&blocks, 11, 110), [BlockId(1)]);
        assert_eq!(beyond_size(&blocks, 70, 110), [BlockId(2), BlockId(1)]);
        // Once one does not fit, older and smaller ones go too, as in Prometheus.
        let small_last = [kept(1, 10, 1), kept(2, 20, 100), kept(3, 30, 20)];
        assert_eq!(beyond_size(&small_last, 0, 50), [BlockId(2), BlockId(1)]);
        assert_eq!(beyond_size(&blocks, 0, 0).len(), 3);
    }

    #[test]
    fn the_percentage_wins_over_the_size() {
        let mut settings = RetentionSettings {
            size_bytes: Some(7),
            ..RetentionSettings::default()
        };
        assert_eq!(settings.bytes_max(|| Some(1_000)), Some(7));
        settings.size_percent = Some(12.5);
        assert_eq!(settings.bytes_max(|| Some(1_000)), Some(125));
        assert_eq!(settings.bytes_max(|| None), None, "unknown: no limit");
    }
}
