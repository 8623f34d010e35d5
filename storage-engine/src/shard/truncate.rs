//! Truncation of the head: what blocks hold is forgotten, in slices, when nobody can need it any more.
//!
//! A query task reads what it has chosen, over many slices. So a truncation waits until every task that was in the
//! shard when it was ordered has gone; newer tasks know the blocks and do not ask the head for what is in them.
//! Then pages of sealed chunks are freed, and series that are left without a sample leave the index. Their slots are
//! kept back ([`super::slots`]).
//! Promise: a slice does a bounded piece of work, and truncations run in the order in which they came.

use super::Shard;
use crate::head::SlotAfter;
use crate::model::TimestampMs;
use std::collections::VecDeque;

/// Work of one slice, in units of about 100 ns.
const SLICE_UNITS: u32 = 1000;
/// Looking at one slot.
const UNITS_PER_SLOT: u32 = 1;
/// Taking a series out of the index.
const UNITS_PER_SERIES: u32 = 50;
/// Freeing a page.
const UNITS_PER_PAGE: u32 = 300;

/// One thing to forget.
enum Order {
    /// In-order samples before this.
    InOrder(TimestampMs),
    /// Late samples that came before this mark.
    OutOfOrder(u64),
}

/// How far the first order is.
enum Progress {
    Pages(u64),
    Slots(u32),
    Late(Vec<u32>),
}

/// What waits to be forgotten.
#[derive(Default)]
pub(super) struct Truncations {
    /// Each with the number of the first task that does not need what goes.
    orders: VecDeque<(Order, u64)>,
    progress: Option<Progress>,
    /// Truncations that are complete.
    pub(super) done: u64,
    /// Series that were left without a sample.
    pub(super) series_removed: u64,
}

impl Truncations {
    /// Is nothing to be forgotten?
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.orders.clear();
        self.progress = None;
    }
}

impl Shard {
    /// Frees in-order samples before `before` once all tasks that are here now have gone; in slices. Series without
    /// samples are removed, their slots kept back until [`Self::release_slots`]. Samples before `before` are out of
    /// bounds from now on.
    pub fn truncate_head(&mut self, before: TimestampMs) {
        self.begin_seal(before);
        let order = Order::InOrder(before);
        self.truncations.orders.push_back((order, self.next_task));
    }

    /// All out-of-order samples that are here now arrived before this mark.
    pub fn out_of_order_mark(&self) -> u64 {
        self.data.head.out_of_order_mark()
    }

    /// Forgets the out-of-order samples that arrived before `mark`, once all tasks that are here now have gone.
    pub fn truncate_out_of_order(&mut self, mark: u64) {
        let order = Order::OutOfOrder(mark);
        self.truncations.orders.push_back((order, self.next_task));
    }

    /// Has everything been forgotten that was to be?
    pub fn is_truncated(&self) -> bool {
        self.truncations.is_empty()
    }

    /// Can a truncation go on, now that some tasks may have gone?
    pub(super) fn can_truncate(&self) -> bool {
        match self.truncations.orders.front() {
            Some((_, first_free)) => self.tasks.iter().all(|(task, _)| task >= first_free),
            None => false,
        }
    }

    /// Forgets the starts that no sample of a slot needs any more; late samples that are here or may come need older ones.
    fn truncate_starts(&mut self, slot: u32) {
        let Some((Order::InOrder(before), _)) = self.truncations.orders.front() else {
            return;
        };
        if !self.data.starts.has(slot) || self.data.head.has_out_of_order(slot) {
            return;
        }
        let window = self.config.out_of_order_window_ms.max(0);
        let before = before.saturating_sub(window);
        self.data.starts.remove_before(slot, before);
    }

    /// One bounded piece of the first truncation.
    pub(super) fn truncate_slice(&mut self) {
        let progress = match self.truncations.progress.take() {
            Some(progress) => progress,
            None => match self.truncations.orders.front() {
                Some((Order::InOrder(before), _)) => {
                    self.data.head.begin_truncation(*before);
                    Progress::Pages(self.data.head.page_sequences().start)
                }
                Some((Order::OutOfOrder(_), _)) => {
                    Progress::Late(self.data.head.out_of_order_slots())
                }
                None => return,
            },
        };
        self.truncations.progress = match progress {
            Progress::Pages(next) => Some(self.truncate_pages(next)),
            Progress::Slots(next) => self.truncate_slots(next),
            Progress::Late(slots) => self.truncate_late(slots),
        };
        if self.truncations.progress.is_none() {
            self.data.head.truncate_deletions();
            self.truncations.orders.pop_front();
            self.truncations.done += 1;
        }
    }

    fn truncate_pages(&mut self, mut next: u64) -> Progress {
        let mut units = SLICE_UNITS;
        let end = self.data.head.page_sequences().end;
        while next < end {
            let Some(rest) = units.checked_sub(UNITS_PER_PAGE) else {
                return Progress::Pages(next);
            };
            units = rest;
            self.data.head.truncate_page(next);
            next += 1;
        }
        Progress::Slots(0)
    }

    fn truncate_slots(&mut self, mut next: u32) -> Option<Progress> {
        let mut units = SLICE_UNITS;
        while next < self.data.head.slot_count() {
            if units < UNITS_PER_SLOT + UNITS_PER_SERIES {
                return Some(Progress::Slots(next));
            }
            units -= UNITS_PER_SLOT;
            self.truncate_starts(next);
            if self.data.head.truncate_slot(next) == SlotAfter::Empty {
                units -= UNITS_PER_SERIES;
                self.remove_series(next);
            }
            next += 1;
        }
        None
    }

    fn truncate_late(&mut self, mut slots: Vec<u32>) -> Option<Progress> {
        let Some((Order::OutOfOrder(mark), _)) = self.truncations.orders.front() else {
            return None;
        };
        let mark = *mark;
        let mut units = SLICE_UNITS;
        while let Some(slot) = slots.pop() {
            if self.data.head.forget_out_of_order(slot, mark) {
                self.remove_series(slot);
            }
            match units.checked_sub(UNITS_PER_SERIES) {
                Some(rest) => units = rest,
                None => return Some(Progress::Late(slots)),
            }
        }
        None
    }

    /// Takes a series without samples out of index and head, and keeps its slot back.
    fn remove_series(&mut self, slot: u32) {
        self.data.index.remove(slot);
        let generation = self.data.head.vacate(slot);
        self.data.starts.remove(slot);
        let mentions = self.commits.newest_mention();
        self.slots.free(slot, generation, mentions);
        // If the same labels come back, their generation tells the replay which of the two is the later series.
        self.generation = self.generation.max(generation.saturating_add(1));
        self.truncations.series_removed += 1;
    }
}
