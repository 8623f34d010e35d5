//! Which blocks become one: the levels, and the choice of the next group.
//!
//! The rules are those of Prometheus's leveled compactor: overlapping blocks first; then the blocks of one aligned range of the next level
//! when the range is full or behind the newest block; then a large block of whose series more than one in twenty carry tombstones. The
//! newest block stays as it is for one round, so that a backup can copy it.
//!
//! Promise: pure and total; a group that is planned gets smaller in number by being compacted, so planning ends.
//! Not here: reading or writing blocks (`compact`), time (`retention`).

use crate::model::TimestampMs;

/// Ranges grow by this factor from level to level.
const LEVEL_FACTOR: i64 = 3;
/// Most levels.
const LEVELS_MAX: usize = 10;
/// Tombstones per series above which a large block is written anew.
const TOMBSTONE_SHARE_MAX: f64 = 0.05;

/// What the planner knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Oldest sample.
    pub(crate) min_time: TimestampMs,
    /// Newest sample.
    pub(crate) max_time: TimestampMs,
    /// Series.
    pub(crate) series: u64,
    /// Deleted ranges.
    pub(crate) tombstones: u64,
    /// It cannot be compacted: a page of it is damaged, or writing failed.
    pub(crate) failed: bool,
}

/// The widths of the levels in milliseconds, ascending; the first is that of a sealed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels(Vec<i64>);

/// Start of the aligned range of `width` that `t` lies in.
pub(crate) fn range_start(t: TimestampMs, width: i64) -> TimestampMs {
    t.div_euclid(width).saturating_mul(width)
}

/// First moment behind the aligned range of `width` that `t` lies in.
pub(crate) fn range_end(t: TimestampMs, width: i64) -> TimestampMs {
    range_start(t, width).saturating_add(width)
}

impl Levels {
    /// Levels from `block_range` to at most `range_max`; there is always the first.
    pub(crate) fn new(block_range: i64, range_max: i64) -> Levels {
        let mut widths = vec![block_range.max(1)];
        while let Some(next) = widths.last().and_then(|w| w.checked_mul(LEVEL_FACTOR))
            && next <= range_max
            && widths.len() < LEVELS_MAX
        {
            widths.push(next);
        }
        Levels(widths)
    }

    fn base(&self) -> i64 {
        self.0[0]
    }

    /// Indexes into `blocks` (ascending by `min_time`) of the next group, ascending; empty when nothing is to be done.
    /// `overlapping` says whether blocks that overlap may be merged.
    pub(crate) fn plan(&self, blocks: &[Candidate], overlapping: bool) -> Vec<usize> {
        debug_assert!(blocks.is_sorted_by_key(|b| b.min_time));
        if overlapping && let Some(group) = overlapping_group(blocks) {
            return group;
        }
        // The newest block is left alone for a round.
        let older = &blocks[..blocks.len().saturating_sub(1)];
        self.full_range(older)
            .or_else(|| self.mostly_deleted(older))
            .unwrap_or_default()
    }

    /// The blocks of the first aligned range, smallest level first, that is full or behind the newest of `blocks`.
    fn full_range(&self, blocks: &[Candidate]) -> Option<Vec<usize>> {
        let newest_start = range_start(blocks.last()?.min_time, self.base());
        for &width in &self.0[1..] {
            for group in self.split(blocks, width) {
                let (Some(&first), true) = (group.first(), group.len() > 1) else {
                    continue;
                };
                if group.iter().any(|&i| blocks[i].failed) {
                    continue;
                }
                let start = range_start(blocks[first].min_time, self.base());
                let newest = group.iter().map(|&i| blocks[i].max_time).max();
                let end = range_end(newest.unwrap_or(start), self.base());
                if end - start == width || end <= newest_start {
                    return Some(group);
                }
            }
        }
        None
    }

    /// Groups of blocks that lie within one aligned range of `width`.
    fn split(&self, blocks: &[Candidate], width: i64) -> Vec<Vec<usize>> {
        let mut groups: Vec<(TimestampMs, Vec<usize>)> = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let start = range_start(block.min_time, width);
            if block.max_time >= start.saturating_add(width) {
                // Larger than this level, or not aligned to it.
                continue;
            }
            match groups.last_mut() {
                Some((of, group)) if *of == start => group.push(index),
                _ => groups.push((start, vec![index])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// A block that is wholly deleted, or a large one with many tombstones; newest first, as only new blocks are small.
    fn mostly_deleted(&self, blocks: &[Candidate]) -> Option<Vec<usize>> {
        let large = self.0[self.0.len() / 2];
        for (index, block) in blocks.iter().enumerate().rev() {
            if block.failed {
                continue;
            }
            let width =
                range_end(block.max_time, self.base()) - range_start(block.min_time, self.base());
            if width < large {
                if block.tombstones > 0 && block.tombstones >= block.series {
                    return Some(vec![index]);
                }
                return None;
            }
            if block.tombstones as f64 / (block.series + 1) as f64 > TOMBSTONE_SHARE_MAX {
                return Some(vec![index]);
            }
        }
        None
    }
}

/// The first run of blocks each of which overlaps one before it. Blocks that cannot be compacted do not count.
fn overlapping_group(blocks: &[Candidate]) -> Option<Vec<usize>> {
    let mut group: Vec<usize> = Vec::new();
    let mut last: Option<(usize, TimestampMs)> = None;
    for (index, block) in blocks.iter().enumerate().filter(|(_, b)| !b.failed) {
        if let Some((before, end)) = last {
            if block.min_time <= end {
                if group.is_empty() {
                    group.push(before);
                }
                group.push(index);
            } else if !group.is_empty() {
                break;
            }
        }
        // The block that reaches farthest is the one that later ones overlap.
        last = match last {
            Some((before, end)) if end >= block.max_time => Some((before, end)),
            _ => Some((index, block.max_time)),
        };
    }
    (!group.is_empty()).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;

    fn block(from_hours: i64, to_hours: i64) -> Candidate {
        Candidate {
            min_time: from_hours * H + 5,
            max_time: to_hours * H - 7,
            series: 100,
            tombstones: 0,
            failed: false,
        }
    }

    fn levels() -> Levels {
        Levels::new(2 * H, 54 * H)
    }

    #[test]
    fn levels_grow_by_three_up_to_the_largest_allowed() {
        assert_eq!(levels().0, [2 * H, 6 * H, 18 * H, 54 * H]);
        assert_eq!(Levels::new(2 * H, H).0, [2 * H], "there is always one");
        assert_eq!(Levels::new(1, i64::MAX).0.len(), LEVELS_MAX);
    }

    #[test]
    fn aligned_ranges_below_the_epoch_too() {
        assert_eq!((range_start(-1, 10), range_end(-1, 10)), (-10, 0));
        assert_eq!((range_start(0, 10), range_end(9, 10)), (0, 10));
    }

    #[test]
    fn a_full_range_is_compacted_once_a_newer_block_is_there() {
        let three = [block(0, 2), block(2, 4), block(4, 6)];
        assert!(
            levels().plan(&three, true).is_empty(),
            "the newest is fresh"
        );
        let four = [block(0, 2), block(2, 4), block(4, 6), block(6, 8)];
        assert_eq!(levels().plan(&four, true), [0, 1, 2]);
        let gap = [block(0, 2), block(4, 6), block(6, 8)];
        assert_eq!(levels().plan(&gap, true), [0, 1], "it spans the range");
        let half = [block(0, 2), block(2, 4), block(6, 8)];
        assert!(
            levels().plan(&half, true).is_empty(),
            "not behind the newest but one"
        );
        let behind = [block(0, 2), block(2, 4), block(6, 8), block(8, 10)];
        assert_eq!(levels().plan(&behind, true), [0, 1]);
    }

    #[test]
    fn smaller_levels_go_first_and_larger_follow() {
        let blocks = [
            block(0, 6),
            block(6, 12),
            block(12, 14),
            block(14, 16),
            block(16, 18),
            block(18, 20),
        ];
        assert_eq!(levels().plan(&blocks, true), [2, 3, 4]);
        let then = [block(0, 6), block(6, 12), block(12, 18), block(18, 20)];
        assert_eq!(levels().plan(&then, true), [0, 1, 2]);
        let one = [block(0, 18), block(18, 20)];
        assert!(levels().plan(&one, true).is_empty());
    }

    #[test]
    fn overlapping_blocks_go_before_everything() {
        let blocks = [
            block(0, 2),
            block(2, 4),
            block(3, 4),
            block(4, 6),
            block(6, 8),
        ];
        assert_eq!(levels().plan(&blocks, true), [1, 2]);
        // Not merged where that is switched off: then the full range is what is left to do.
        assert_eq!(levels().plan(&blocks, false), [0, 1, 2, 3]);
        let inside = [block(0, 18), block(2, 4), block(8, 10), block(18, 20)];
        assert_eq!(
            levels().plan(&inside, true),
            [0, 1, 2],
            "a long one overlaps several"
        );
        let newest = [block(0, 2), block(2, 4), block(3, 4)];
        assert_eq!(
            levels().plan(&newest, true),
            [1, 2],
            "the newest is no exception"
        );
    }

    #[test]
    fn what_failed_is_left_alone() {
        let mut blocks = [block(0, 2), block(2, 4), block(4, 6), block(6, 8)];
        blocks[1].failed = true;
        assert!(levels().plan(&blocks, true).is_empty());
        let mut overlapping = [block(0, 2), block(1, 2), block(2, 4)];
        overlapping[0].failed = true;
        assert!(levels().plan(&overlapping, true).is_empty());
    }

    #[test]
    fn tombstones_bring_a_block_to_be_written_anew() {
        let mut blocks = [block(0, 18), block(18, 20), block(20, 22)];
        blocks[0].tombstones = 5;
        // The block before the newest is small and has no tombstones: nothing older is looked at, as in Prometheus.
        assert!(levels().plan(&blocks, true).is_empty());
        let mut large = [block(0, 18), block(18, 36), block(36, 38)];
        large[0].tombstones = 6;
        assert_eq!(levels().plan(&large, true), [0]);
        large[0].tombstones = 5;
        assert!(
            levels().plan(&large, true).is_empty(),
            "5 of 101 is not above 5 %"
        );
        let mut gone = [block(0, 2), block(6, 8)];
        gone[0].tombstones = 100;
        assert_eq!(
            levels().plan(&gone, true),
            [0],
            "wholly deleted, however small"
        );
    }

    #[test]
    fn planning_comes_to_an_end() {
        let mut blocks: Vec<Candidate> = (0..200).map(|i| block(2 * i, 2 * i + 2)).collect();
        blocks.extend((0..20).map(|i| Candidate {
            min_time: (14 * i + 1) * H,
            max_time: (14 * i + 1) * H + 1,
            ..block(0, 2)
        }));
        blocks.sort_by_key(|b| b.min_time);
        let mut rounds = 0;
        loop {
            let group = levels().plan(&blocks, true);
            if group.is_empty() {
                break;
            }
            rounds += 1;
            assert!(rounds < 500 && group.len() > 1);
            let merged = Candidate {
                max_time: group.iter().map(|&i| blocks[i].max_time).max().unwrap(),
                ..blocks[group[0]]
            };
            let mut index = 0;
            blocks.retain(|_| {
                index += 1;
                !group.contains(&(index - 1))
            });
            blocks.push(merged);
            blocks.sort_by_key(|b| b.min_time);
        }
        assert!(blocks.len() < 20, "{}", blocks.len());
        assert!(overlapping_group(&blocks).is_none());
    }
}
