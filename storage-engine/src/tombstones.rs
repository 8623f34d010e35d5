//! Deleted ranges of time, by series number: a slot of the head, or an ordinal of a block.
//!
//! Promise: the ranges of one series are ascending, inclusive, and neither overlap nor touch. Not here: which series a
//! deletion means (the index), how deletions are kept on disk (the log, the files beside blocks).

use crate::model::{FloatHistogram, SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deleted ranges of many series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones {
    series: BTreeMap<u32, Vec<TimeRange>>,
    /// Ranges of all series.
    ranges: usize,
}

impl Tombstones {
    /// Deletes `range` of a series; one that is empty (`min > max`) deletes nothing.
    pub fn add(&mut self, series: u32, range: TimeRange) {
        if range.min > range.max {
            return;
        }
        let ranges = self.series.entry(series).or_default();
        // Ranges that end right before the new one join it too: there is no time between two milliseconds.
        let first = ranges.partition_point(|r| r.max < range.min.saturating_sub(1));
        let end = ranges.partition_point(|r| r.min <= range.max.saturating_add(1));
        let mut joined = range;
        for old in ranges.get(first..end).unwrap_or_default() {
            joined.min = joined.min.min(old.min);
            joined.max = joined.max.max(old.max);
        }
        self.ranges = self.ranges + 1 - (end - first);
        ranges.splice(first..end, [joined]);
    }

    /// The deleted ranges of a series, ascending.
    #[inline]
    pub fn of(&self, series: u32) -> &[TimeRange] {
        if self.series.is_empty() {
            return &[];
        }
        self.series.get(&series).map_or(&[], Vec::as_slice)
    }

    /// True if nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Series that have deleted ranges.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// All series with their ranges, in ascending order of series.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[TimeRange])> {
        self.series
            .iter()
            .map(|(series, ranges)| (*series, ranges.as_slice()))
    }

    /// Forgets what is deleted of a series.
    pub fn remove(&mut self, series: u32) {
        if let Some(ranges) = self.series.remove(&series) {
            self.ranges -= ranges.len();
        }
    }

    /// Forgets deletions of what is older than `t`; a range that goes on beyond it stays from `t` on.
    pub fn remove_before(&mut self, t: TimestampMs) {
        self.series.retain(|_, ranges| {
            ranges.retain_mut(|range| {
                range.min = range.min.max(t);
                range.min <= range.max
            });
            !ranges.is_empty()
        });
        self.ranges = self.series.values().map(Vec::len).sum();
    }

    /// Bytes held on the heap, roughly; cheap.
    pub fn bytes(&self) -> u64 {
        let entry = size_of::<(u32, Vec<TimeRange>)>() + 8;
        (self.series.len() * entry + self.ranges * size_of::<TimeRange>()) as u64
    }
}

/// Takes what lies in `ranges` out of the columns, from position `from` on. The ranges and the samples from there on
/// are ascending.
pub fn remove_deleted(ranges: &[TimeRange], from: usize, columns: &mut SampleColumns) {
    if ranges.is_empty() {
        return;
    }
    let mut kept = from;
    let mut ranges = ranges.iter().peekable();
    for at in from..columns.len() {
        let t = columns.timestamps[at];
        while ranges.next_if(|range| range.max < t).is_some() {}
        if ranges.peek().is_none_or(|range| t < range.min) {
            columns.timestamps[kept] = t;
            columns.values[kept] = columns.values[at];
            kept += 1;
        }
    }
    columns.timestamps.truncate(kept.max(from));
    columns.values.truncate(kept.max(from));
}

/// As [`remove_deleted`], for native histograms.
pub fn remove_deleted_histograms(
    ranges: &[TimeRange],
    from: usize,
    samples: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
) {
    if ranges.is_empty() {
        return;
    }
    let mut kept = from;
    let mut ranges = ranges.iter().peekable();
    for at in from..samples.len() {
        let t = samples[at].0;
        while ranges.next_if(|range| range.max < t).is_some() {}
        if ranges.peek().is_none_or(|range| t < range.min) {
            samples.swap(kept, at);
            kept += 1;
        }
    }
    samples.truncate(kept.max(from));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn range(min: i64, max: i64) -> TimeRange {
        TimeRange { min, max }
    }

    #[test]
    fn ranges_agree_with_a_set_of_milliseconds() {
        let mut state = 7_u64;
        let mut below = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            (state >> 33) % n
        };
        for round in 0..500 {
            let mut tombstones = Tombstones::default();
            let mut plain = BTreeSet::new();
            for _ in 0..below(8) {
                let min = below(60) as i64 - 30;
                let max = min + below(12) as i64 - 2;
                tombstones.add(5, range(min, max));
                plain.extend(min..=max);
            }
            if round % 3 == 0 {
                tombstones.remove_before(3);
                plain.retain(|t| *t >= 3);
            }
            let covered: Vec<i64> = tombstones
                .of(5)
                .iter()
                .flat_map(|r| r.min..=r.max)
                .collect();
            assert!(covered.iter().eq(plain.iter()), "{tombstones:?}");
            assert!(tombstones.of(5).windows(2).all(|w| w[0].max + 1 < w[1].min));
            assert_eq!(tombstones.is_empty(), plain.is_empty());

            let mut columns = SampleColumns::default();
            let mut histograms = Vec::new();
            // What stands before `from` is not looked at, even if it lies in a range.
            for t in [0, 1, 2] {
                columns.push(t, t as f64);
                histograms.push((t, Arc::new(FloatHistogram::default())));
            }
            for t in (-40..50).step_by(1 + (round % 3) as usize) {
                columns.push(t, t as f64);
                histograms.push((t, Arc::new(FloatHistogram::default())));
            }
            let expected: Vec<i64> = columns.timestamps[..3]
                .iter()
                .copied()
                .chain(
                    columns.timestamps[3..]
                        .iter()
                        .copied()
                        .filter(|t| !plain.contains(t)),
                )
                .collect();
            remove_deleted(tombstones.of(5), 3, &mut columns);
            remove_deleted_histograms(tombstones.of(5), 3, &mut histograms);
            assert_eq!(columns.timestamps, expected);
            assert!(
                columns
                    .timestamps
                    .iter()
                    .zip(&columns.values)
                    .all(|(t, v)| *t as f64 == *v)
            );
            assert!(histograms.iter().map(|(t, _)| *t).eq(expected));
        }
    }

    #[test]
    fn the_ends_of_time_are_deleted_too() {
        let mut tombstones = Tombstones::default();
        tombstones.add(1, range(i64::MIN, -5));
        tombstones.add(1, range(-4, 7));
        tombstones.add(1, range(i64::MAX, i64::MAX));
        tombstones.add(1, range(3, 2));
        assert_eq!(
            tombstones.of(1),
            [range(i64::MIN, 7), range(i64::MAX, i64::MAX)]
        );
        assert_eq!(tombstones.of(2), []);
        tombstones.remove(1);
        assert!(tombstones.is_empty());
    }
}
