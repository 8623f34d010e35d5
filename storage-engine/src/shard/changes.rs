//! What has changed in a shard since some moment: the oldest time at which an answer may be another one now.
//!
//! Promise: never later than the truth. Every change has a number; changes near each other in time are remembered together, and the oldest are
//! thrown together when there are many, so what is said may be earlier than need be. Nothing of it is durable: numbers begin anew with the
//! process.
//! Not here: who remembers answers.

use crate::model::TimestampMs;
use std::collections::VecDeque;

/// Changes within this time (monotonic nanoseconds) are one mark.
const MARK_NS: u64 = 500_000_000;
/// Marks remembered.
const MARKS_MAX: usize = 256;

/// Some changes in a row.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Number of the last of them.
    last: u64,
    /// The oldest time that any of them touched.
    oldest: TimestampMs,
    /// When the first of them came.
    since_ns: u64,
}

/// The changes of one shard.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Number of the newest change.
    number: u64,
    marks: VecDeque<Mark>,
    now_ns: u64,
}

impl Changes {
    /// Answers at `oldest` and later may be others from now on.
    pub(super) fn note(&mut self, oldest: TimestampMs) {
        self.number += 1;
        match self.marks.back_mut() {
            Some(mark) if self.now_ns.saturating_sub(mark.since_ns) < MARK_NS => {
                mark.last = self.number;
                mark.oldest = mark.oldest.min(oldest);
                return;
            }
            _ => {}
        }
        if self.marks.len() == MARKS_MAX
            && let Some(first) = self.marks.pop_front()
            && let Some(second) = self.marks.front_mut()
        {
            second.oldest = second.oldest.min(first.oldest);
            second.since_ns = first.since_ns;
        }
        self.marks.push_back(Mark {
            last: self.number,
            oldest,
            since_ns: self.now_ns,
        });
    }

    /// The clock of the changes that come now.
    pub(super) fn set_now(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Notes the oldest of some times, if there is any.
    pub(super) fn note_all(&mut self, times: &[TimestampMs]) {
        if let Some(oldest) = times.iter().copied().min() {
            self.note(oldest);
        }
    }

    /// Number of the newest change.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The oldest time that a change after number `since` touched; `None` if there was none.
    pub(super) fn oldest_since(&self, since: u64) -> Option<TimestampMs> {
        let newer = self.marks.iter().rev().take_while(|mark| mark.last > since);
        newer.map(|mark| mark.oldest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_never_later_than_the_truth() {
        let mut changes = Changes::default();
        assert_eq!((changes.number(), changes.oldest_since(0)), (0, None));
        let mut all = Vec::new();
        let mut random = 1_u64;
        for round in 0..2_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            changes.set_now(round * MARK_NS / 3);
            let t = (round * 1000 + (random >> 33) % 5_000) as i64 - (random >> 62) as i64 * 60_000;
            changes.note(t);
            all.push(t);
            assert_eq!(changes.number(), round + 1);
            let since = (random >> 20) % (round + 2);
            let truth = all.iter().skip(since as usize).copied().min();
            let said = changes.oldest_since(since);
            assert_eq!(said.is_some(), truth.is_some());
            assert!(said <= truth, "{said:?} {truth:?}");
            // Of recent changes it is nearly the truth: the mark that `since` lies in counts whole.
            let near = all
                .iter()
                .skip((since as usize).saturating_sub(3))
                .copied()
                .min();
            if since + 300 > round {
                assert!(said.is_none() || said >= near, "{said:?} {near:?}");
            }
        }
        assert!(changes.marks.len() <= MARKS_MAX);
    }
}
