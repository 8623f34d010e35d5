//! Forgetting the oldest part of the head, page by page and series by series.
//!
//! Promise: after [`Head::begin_truncation`] no in-order sample before the bound is read; what is still in memory goes
//! as the caller walks over pages and slots, each step short. Not here: when it is time, and in which slices (the
//! shard); the index entries of series that are left without samples.

use super::Head;
use super::hot::Hot;
use super::sealed::ChunkRef;
use crate::model::TimestampMs;
use std::ops::Range;

/// What a truncation has left of the series in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotAfter {
    /// No series owns the slot.
    Vacant,
    /// The series goes on.
    Kept,
    /// Nothing is left: the series can be removed.
    Empty,
}

impl Head {
    /// From now on in-order samples before `before` are not read.
    pub(crate) fn begin_truncation(&mut self, before: TimestampMs) {
        self.truncated_before = self.truncated_before.max(before);
    }

    /// Numbers of the pages of sealed chunks.
    pub(crate) fn page_sequences(&self) -> Range<u64> {
        self.sealed.sequences()
    }

    /// Frees a page of sealed chunks if all that is in it is truncated.
    pub(crate) fn truncate_page(&mut self, sequence: u64) {
        self.samples -= self.sealed.free_page(sequence, self.truncated_before);
    }

    /// Forgets what is truncated of the series in `slot`, as far as it does not share a page with others.
    pub(crate) fn truncate_slot(&mut self, slot: u32) -> SlotAfter {
        let before = self.truncated_before;
        let Some(hot) = self.hot.get_mut(slot as usize) else {
            return SlotAfter::Vacant;
        };
        if hot.generation == 0 {
            return SlotAfter::Vacant;
        }
        if hot.has_samples() && hot.last_ts >= before {
            // A reference into a freed page must be gone before page numbers repeat.
            if !self.sealed.is_live(hot.sealed) {
                hot.sealed = ChunkRef::NONE;
            }
            if let Some(oldest) = self.oldest.get_mut(slot as usize) {
                *oldest = (*oldest).max(before);
            }
            self.samples -= self.histograms.truncate(slot, before);
            return SlotAfter::Kept;
        }
        self.drop_samples(slot);
        if self.out_of_order.has(slot) {
            SlotAfter::Kept
        } else {
            SlotAfter::Empty
        }
    }

    /// Drops all in-order samples of a series. Its newest time stays: what is older still comes out of order.
    fn drop_samples(&mut self, slot: u32) {
        let Some(hot) = self.hot.get_mut(slot as usize) else {
            return;
        };
        if hot.count > 0 {
            self.samples -= u64::from(hot.count);
            self.open_chunks -= 1;
        }
        hot.restart(ChunkRef::NONE, &mut self.slab);
        self.samples -= self.histograms.truncate(slot, TimestampMs::MAX);
    }

    /// Makes the slot of a series vacant; returns the generation that it had.
    pub(crate) fn vacate(&mut self, slot: u32) -> u32 {
        self.drop_samples(slot);
        self.out_of_order.forget(slot, u64::MAX);
        self.deleted.remove(slot);
        if let Some(oldest) = self.oldest.get_mut(slot as usize) {
            *oldest = TimestampMs::MAX;
        }
        match self.hot.get_mut(slot as usize) {
            Some(hot) => std::mem::replace(hot, Hot::VACANT).generation,
            None => 0,
        }
    }

    /// Forgets deletions of what is truncated.
    pub(crate) fn truncate_deletions(&mut self) {
        self.deleted.remove_before(self.truncated_before);
    }

    /// The mark that [`Self::forget_out_of_order`] takes: all late samples that are here came before it.
    pub(crate) fn out_of_order_mark(&self) -> u64 {
        self.out_of_order.mark()
    }

    /// Forgets the late samples of a slot that came before `mark`. `true` if the series is left without any sample.
    pub(crate) fn forget_out_of_order(&mut self, slot: u32, mark: u64) -> bool {
        self.out_of_order.forget(slot, mark);
        !self.out_of_order.has(slot)
            && self.hot.get(slot as usize).is_some_and(|hot| {
                hot.generation != 0 && (!hot.has_samples() || hot.last_ts < self.truncated_before)
            })
    }
}
