//! Start timestamps of a shard's samples: since when the counter behind a sample has been counting.
//!
//! A series keeps runs: from the sample at a time on, samples carry a start, until the next run. A counter that goes on
//! costs nothing per sample, one that starts anew costs one run; a series without starts costs nothing at all.
//!
//! Promise: runs of a series ascend by time and neighbours differ. A run at or before the newest one's time changes
//! nothing, so that a replay can repeat what is here already. Not here: samples themselves (the head), the log's bytes
//! (`wal::starts`), what starts mean (queries).

use crate::model::TimestampMs;
use crate::shard_api::TimeRange;
use hashbrown::HashMap;

/// From this sample time on, samples carry this start (0: none).
pub(crate) type StartRun = (TimestampMs, TimestampMs);

/// What a series costs beside its runs: its place in the table, roughly.
const SERIES_BYTES: u64 = 48;

/// All runs of one shard, by slot.
#[derive(Default)]
pub(crate) struct Starts {
    series: HashMap<u32, Vec<StartRun>>,
    /// A bit for each slot: has it runs? All samples of the shard ask this, once any series has a start.
    has: Vec<u64>,
    runs: u64,
    /// Series whose samples carry a start now.
    running: u64,
}

impl Starts {
    /// Does any series' newest run say since when it counts? While none does, samples without a start change nothing here.
    pub(crate) fn any_running(&self) -> bool {
        self.running > 0
    }

    /// Has a slot runs?
    pub(crate) fn has(&self, slot: u32) -> bool {
        let word = self.has.get(slot as usize / 64).copied().unwrap_or(0);
        word >> (slot % 64) & 1 == 1
    }

    /// Notes that the sample of slot `slot` at `t` carries `start`. True when that begins a run, which the log must hear of.
    pub(crate) fn note(&mut self, slot: u32, t: TimestampMs, start: TimestampMs) -> bool {
        let Some(runs) = self.series.get_mut(&slot) else {
            if start == 0 {
                return false;
            }
            self.series.insert(slot, vec![(t, start)]);
            let word = slot as usize / 64;
            if word >= self.has.len() {
                self.has.resize(word + 1, 0);
            }
            if let Some(word) = self.has.get_mut(word) {
                *word |= 1 << (slot % 64);
            }
            self.runs += 1;
            self.running += 1;
            return true;
        };
        let Some(&(from, last)) = runs.last() else {
            return false;
        };
        if last == start || t <= from {
            return false;
        }
        runs.push((t, start));
        self.runs += 1;
        self.running = self.running + u64::from(start != 0) - u64::from(last != 0);
        true
    }

    /// Appends the runs of slot `slot` that hold in `range`, the first one cut to its beginning. A range that begins before the
    /// first run gets nothing for what lies before it: no start is known there.
    pub(crate) fn read(&self, slot: u32, range: TimeRange, out: &mut Vec<StartRun>) {
        let Some(runs) = self.series.get(&slot) else {
            return;
        };
        let first = runs.partition_point(|(from, _)| *from <= range.min);
        let last = runs.partition_point(|(from, _)| *from <= range.max);
        if let Some(&(_, start)) = first.checked_sub(1).and_then(|before| runs.get(before))
            && start != 0
        {
            out.push((range.min, start));
        }
        out.extend(runs.get(first..last).unwrap_or_default());
    }

    /// All runs of a slot, for a checkpoint.
    pub(crate) fn of(&self, slot: u32) -> &[StartRun] {
        self.series.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Slots that have runs, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.series.keys().copied()
    }

    /// Forgets what a slot had: its series is gone.
    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(runs) = self.series.remove(&slot) {
            self.runs -= runs.len() as u64;
            if let Some(word) = self.has.get_mut(slot as usize / 64) {
                *word &= !(1 << (slot % 64));
            }
            let running = runs.last().is_some_and(|(_, start)| *start != 0);
            self.running -= u64::from(running);
        }
    }

    /// Forgets runs that end at or before `before`: no sample that they are of is left.
    pub(crate) fn remove_before(&mut self, slot: u32, before: TimestampMs) {
        let Some(runs) = self.series.get_mut(&slot) else {
            return;
        };
        let ended = runs.partition_point(|(from, _)| *from <= before);
        if ended > 1 {
            runs.drain(..ended - 1);
            runs.shrink_to_fit();
            self.runs -= ended as u64 - 1;
        }
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        self.series.len() as u64 * SERIES_BYTES
            + self.runs * size_of::<StartRun>() as u64
            + self.has.capacity() as u64 * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(starts: &Starts, min: TimestampMs, max: TimestampMs) -> Vec<StartRun> {
        let mut out = Vec::new();
        starts.read(3, TimeRange { min, max }, &mut out);
        out
    }

    #[test]
    fn only_changes_are_kept() {
        let mut starts = Starts::default();
        let steps = [
            (10, 0, false),
            (20, 5, true),
            (30, 5, false),
            (40, 35, true),
            // Seen again in a replay, and late: nothing.
            (20, 5, false),
            (40, 36, false),
            (50, 0, true),
            (60, 0, false),
            (70, 65, true),
        ];
        for (t, start, new) in steps {
            assert_eq!(starts.note(3, t, start), new, "{t} {start}");
            let current = starts.of(3).last().map_or(0, |(_, start)| *start);
            assert_eq!(starts.any_running(), current != 0, "{t} {start}");
        }
        assert!(starts.has(3) && !starts.has(4));
        assert_eq!(starts.of(3), [(20, 5), (40, 35), (50, 0), (70, 65)]);
        assert_eq!(starts.of(4), []);
        assert_eq!(
            starts.bytes(),
            48 + 4 * 16 + starts.has.capacity() as u64 * 8
        );
    }

    #[test]
    fn a_range_gets_the_run_that_it_begins_in() {
        let mut starts = Starts::default();
        for (t, start) in [(20, 5), (40, 35), (50, 0), (70, 65)] {
            starts.note(3, t, start);
        }
        let whole = [(20, 5), (40, 35), (50, 0), (70, 65)];
        assert_eq!(read(&starts, 0, 100), whole);
        assert_eq!(read(&starts, 25, 45), [(25, 5), (40, 35)]);
        assert_eq!(read(&starts, 40, 40), [(40, 35)]);
        assert_eq!(read(&starts, 41, 49), [(41, 35)]);
        assert_eq!(read(&starts, 55, 60), []);
        assert_eq!(read(&starts, 0, 19), []);
    }

    #[test]
    fn every_slot_has_a_bit_of_its_own() {
        let mut starts = Starts::default();
        let slots = [0, 1, 63, 64, 200];
        for slot in slots {
            starts.note(slot, 10, 5);
        }
        starts.remove(63);
        let has = (0..300).filter(|slot| starts.has(*slot));
        assert_eq!(has.collect::<Vec<_>>(), [0, 1, 64, 200]);
        assert!(!starts.has(u32::MAX));
    }

    #[test]
    fn what_no_sample_needs_is_forgotten() {
        let mut starts = Starts::default();
        for (t, start) in [(20, 5), (40, 35), (60, 55)] {
            starts.note(3, t, start);
        }
        starts.remove_before(3, 39);
        assert_eq!(starts.of(3), [(20, 5), (40, 35), (60, 55)]);
        starts.remove_before(3, 40);
        assert_eq!(starts.of(3), [(40, 35), (60, 55)]);
        starts.remove_before(3, 1000);
        assert_eq!(starts.of(3), [(60, 55)]);
        starts.remove_before(4, 1000);
        starts.remove(3);
        let bits = starts.has.capacity() as u64 * 8;
        assert_eq!((starts.of(3).len(), starts.bytes()), (0, bits));
        assert!(!starts.any_running() && !starts.has(3));
    }
}
