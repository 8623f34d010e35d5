//! What start timestamps tell of a counter: when a sample carries the time at which its counting began, a reset shows even where the value
//! has grown, and the first sample of a window tells how much was counted before it.
//!
//! Promise: without start timestamps (an empty column, or 0) nothing changes. Not here: where they come from.

use super::{KernelNotes, WindowArgs};
use crate::eval::annotations::Severity;
use crate::functions::texts;
use storage_engine::model::TimestampMs;

/// A sample's start timestamp and time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) start: TimestampMs,
    pub(super) time: TimestampMs,
}

impl Started {
    /// Did counting begin anew between `before` and this one?
    pub(super) fn is_reset(self, before: Started) -> bool {
        if self.start == 0 || self.start >= self.time {
            return false;
        }
        // A start at the very time of the sample before is a delta's, unless that one said nothing sound: then it only marks where a counter
        // of unknown age was first seen.
        self.start > before.time
            || (self.start == before.time && before.start != 0 && before.start < before.time)
    }

    /// Does its counting overlap the sample before, although it is no part of the same counting?
    pub(super) fn overlaps(self, before: Started) -> bool {
        self.start != 0 && self.start < before.time && self.start != before.start
    }
}

impl WindowArgs<'_> {
    /// Start and time of sample `i` among `times`; nothing without start timestamps.
    pub(super) fn started(&self, times: &[TimestampMs], i: usize) -> Option<Started> {
        Some(Started {
            start: *self.starts.get(i)?,
            time: *times.get(i)?,
        })
    }

    /// Did counting begin anew between samples `i - 1` and `i`?
    pub(super) fn start_resets(&self, times: &[TimestampMs], i: usize) -> bool {
        if self.starts.is_empty() {
            return false;
        }
        let before = i.checked_sub(1).and_then(|i| self.started(times, i));
        match (before, self.started(times, i)) {
            (Some(before), Some(now)) => now.is_reset(before),
            _ => false,
        }
    }

    /// When the counting of the first sample began, if that was inside the window and before the sample: then it was at zero.
    pub(super) fn zero_at(&self, times: &[TimestampMs]) -> Option<TimestampMs> {
        let first = self.started(times, 0)?;
        let inside = first.start != 0 && first.start > self.range_start && first.start < first.time;
        inside.then_some(first.start)
    }

    /// Warns of samples whose start timestamps contradict each other.
    pub(super) fn note_overlaps(
        &self,
        times: &[TimestampMs],
        metric: &str,
        notes: &mut KernelNotes,
    ) {
        let overlaps = |i: usize| match (self.started(times, i - 1), self.started(times, i)) {
            (Some(before), Some(now)) => now.overlaps(before),
            _ => false,
        };
        if !self.starts.is_empty() && (1..times.len()).any(overlaps) {
            notes.remark(Severity::Warning, texts::overlapping_starts(metric));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_behind_the_sample_before_is_a_reset() {
        let started = |start, time| Started { start, time };
        let cases = [
            // Nothing is said, or nothing sound.
            ((0, 10), (0, 20), false),
            ((0, 10), (20, 20), false),
            ((0, 10), (25, 20), false),
            // The same counting goes on.
            ((5, 10), (5, 20), false),
            // It began behind the one before.
            ((0, 10), (11, 20), true),
            ((5, 10), (15, 20), true),
            // At it: a delta, but only behind a sound one.
            ((5, 10), (10, 20), true),
            ((0, 10), (10, 20), false),
            ((10, 10), (10, 20), false),
            ((12, 10), (10, 20), false),
        ];
        for ((s, t), (u, v), expected) in cases {
            let (before, now) = (started(s, t), started(u, v));
            assert_eq!(now.is_reset(before), expected, "{before:?} {now:?}");
        }
        assert!(started(8, 20).overlaps(started(5, 10)));
        assert!(!started(5, 20).overlaps(started(5, 10)));
        assert!(!started(0, 20).overlaps(started(5, 10)));
        assert!(!started(10, 20).overlaps(started(5, 10)));
    }
}
