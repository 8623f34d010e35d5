//! Slots of series: which is given to the next new series, and which must wait.
//!
//! The log names series by slot. A slot whose series is gone is given out again only when a checkpoint covers every
//! record that may name the old series: then no replay sees two series of one slot. The generation grows with each
//! use, so that references from before are refused.

use std::collections::VecDeque;

/// A slot and the generation of its last series.
type Used = (u32, u32);

/// Until when records may name a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mentions {
    /// The log's number of the last record that may.
    Record(u64),
    /// The log has not yet taken the commit of this number.
    Commit(u64),
}

/// The slots of a shard.
#[derive(Default)]
pub(super) struct Slots {
    /// Above every slot that the log has ever named.
    next: u32,
    reusable: Vec<Used>,
    freed: VecDeque<(Mentions, Vec<Used>)>,
}

impl Slots {
    /// Notes that the log names this slot.
    pub(super) fn name(&mut self, slot: u32) {
        self.next = self.next.max(slot.saturating_add(1));
    }

    /// Above every slot that the log has ever named.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// A slot for a new series and the least generation that it may have; `None` when all numbers are used up. It
    /// stays free until [`Self::take`].
    pub(super) fn peek(&self) -> Option<(u32, u32)> {
        match self.reusable.last() {
            Some((slot, generation)) => Some((*slot, generation.saturating_add(1))),
            None => (self.next < u32::MAX).then_some((self.next, 1)),
        }
    }

    /// Takes the slot that [`Self::peek`] gave.
    pub(super) fn take(&mut self) {
        if self.reusable.pop().is_none() {
            self.next += 1;
        }
    }

    /// Keeps a slot back whose series is gone.
    pub(super) fn free(&mut self, slot: u32, generation: u32, mentions: Mentions) {
        match self.freed.back_mut() {
            Some((same, slots)) if *same == mentions => slots.push((slot, generation)),
            _ => self.freed.push_back((mentions, vec![(slot, generation)])),
        }
    }

    /// The log has taken commit `commit`; its last record so far has number `record`.
    pub(super) fn logged(&mut self, commit: u64, record: u64) {
        for (mentions, _) in &mut self.freed {
            if let Mentions::Commit(waiting) = mentions
                && *waiting <= commit
            {
                *mentions = Mentions::Record(record);
            }
        }
    }

    /// A checkpoint covers the log up to record `covered`, the last one when it was begun.
    pub(super) fn release(&mut self, covered: u64) {
        self.freed.retain_mut(|(mentions, slots)| {
            // Only a slot that was free before the checkpoint began is surely not in it: then the log has gone on since.
            let release = matches!(mentions, Mentions::Record(record) if *record < covered);
            if release {
                self.reusable.append(slots);
            }
            !release
        });
    }

    /// Slots that are kept back, and those that wait to be used again.
    pub(super) fn kept_back(&self) -> (u64, u64) {
        let freed: usize = self.freed.iter().map(|(_, slots)| slots.len()).sum();
        (freed as u64, self.reusable.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_when_a_later_checkpoint_covers_it() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            slots.take();
        }
        slots.free(1, 7, Mentions::Commit(4));
        slots.free(2, 7, Mentions::Commit(4));
        slots.free(0, 5, Mentions::Commit(5));
        slots.release(u64::MAX);
        assert_eq!(slots.peek(), Some((3, 1)), "still in a commit");
        slots.logged(4, 20);
        slots.release(20);
        assert_eq!(slots.kept_back(), (3, 0), "it may be in that checkpoint");
        slots.release(21);
        assert_eq!(slots.kept_back(), (1, 2));
        assert_eq!(slots.peek(), Some((2, 8)));
        slots.take();
        assert_eq!(slots.peek(), Some((1, 8)));
        slots.take();
        assert_eq!(slots.peek(), Some((3, 1)));
        slots.logged(9, 30);
        slots.release(31);
        assert_eq!(slots.peek(), Some((0, 6)));
        slots.name(9);
        slots.take();
        assert_eq!(slots.peek(), Some((10, 1)));
    }
}
