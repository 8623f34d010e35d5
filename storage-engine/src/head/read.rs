//! Reading the head: chunks from the oldest wanted one to the open one, histograms, late samples.
//!
//! Promise: what was deleted or truncated is not read, whatever is still in memory; samples come in time order and bit
//! for bit. Not here: merging in-order with late samples, or with blocks (the shard's reader).

use super::Head;
use super::bits::{self, Bits, CHUNK_BYTES_MAX};
use super::hot::Hot;
use crate::model::{FloatHistogram, SampleColumns, SeriesSamples, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange, TimeWindows};
use crate::tombstones::{remove_deleted, remove_deleted_histograms};
use std::ops::Range;
use std::sync::Arc;

/// For the warnings of a query that damage has taken samples from.
const DAMAGED_CHUNKS: &str =
    "samples of the head are missing: chunks in a checkpoint's files are damaged";

impl Head {
    /// Has the series any native histograms, in order or late?
    pub(crate) fn has_histograms(&self, index: u32) -> bool {
        self.histograms.has(index) || self.out_of_order.has_histograms(index)
    }

    /// Number of slots, vacant ones included.
    pub(crate) fn slot_count(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Slots in `among`, ascending, that may have samples of any kind in `range`: in-order or late ones.
    pub(crate) fn slots(&self, among: Range<u32>, range: TimeRange) -> Vec<u32> {
        let end = among.end.min(self.slot_count());
        (among.start..end)
            .filter(|&slot| self.overlaps(slot, range) || self.overlaps_out_of_order(slot, range))
            .collect()
    }

    /// What of `range` is not truncated.
    #[inline]
    fn kept(&self, range: TimeRange) -> TimeRange {
        TimeRange {
            min: range.min.max(self.truncated_before),
            max: range.max,
        }
    }

    /// May series `index` have in-order samples in `range`? Looks at the first and the last timestamp only.
    #[inline]
    pub(crate) fn overlaps(&self, index: u32, range: TimeRange) -> bool {
        let range = self.kept(range);
        match (
            self.hot.get(index as usize),
            self.oldest.get(index as usize),
        ) {
            (Some(h), Some(&oldest)) => {
                h.has_samples() && oldest <= range.max && h.last_ts >= range.min
            }
            _ => false,
        }
    }

    /// May series `index` have late samples in `range`?
    #[inline]
    pub(crate) fn overlaps_out_of_order(&self, index: u32, range: TimeRange) -> bool {
        self.has_out_of_order(index)
            && self
                .out_of_order
                .series_range(index)
                .is_some_and(|of| of.min <= range.max && of.max >= range.min)
    }

    /// Has series `index` late samples?
    #[inline]
    pub(crate) fn has_out_of_order(&self, index: u32) -> bool {
        self.out_of_order.has(index)
    }

    /// Appends the in-order samples of series `index` that lie in `range` to `out`, oldest first. Counts the chunks
    /// that were decoded in `notes`.
    pub(crate) fn read(
        &self,
        index: u32,
        windows: impl Into<TimeWindows>,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        let mut windows = windows.into();
        let range = windows.range;
        let Some(hot) = self.hot.get(index as usize) else {
            return;
        };
        if !self.overlaps(index, range) {
            return;
        }
        let from = out.len();
        let range = self.kept(range);
        if range != windows.range {
            // The windows' places are counted from the beginning of their range.
            windows = range.into();
        }
        self.read_sealed(hot, windows, out, notes);
        self.read_open(hot, range, out, notes);
        remove_deleted(self.deleted.of(index), from, out);
    }

    fn read_sealed(
        &self,
        hot: &Hot,
        windows: TimeWindows,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        let range = windows.range;
        let mut wanted = Vec::new();
        let mut at = hot.sealed;
        let mut newer_than = TimestampMs::MAX;
        while let Some(chunk) = self.sealed.get(at) {
            // Chunks of a series only get older; a chain that does not is damaged and may be a circle.
            if chunk.last_ts() < range.min || chunk.first_ts > newer_than {
                break;
            }
            newer_than = chunk.first_ts.saturating_sub(1);
            if chunk.first_ts <= range.max && !windows.touch(chunk.first_ts, chunk.last_ts()) {
                notes.pages_skipped += 1;
            } else if chunk.first_ts <= range.max {
                wanted.push(at);
                if chunk.is_damaged() {
                    notes.note_damage(DAMAGED_CHUNKS.to_owned());
                }
            }
            at = chunk.previous;
        }
        if self.sealed.is_lost(at) {
            notes.note_damage(DAMAGED_CHUNKS.to_owned());
        }
        for &at in wanted.iter().rev() {
            if let Some(chunk) = self.sealed.get(at) {
                chunk.read(range, out);
                notes.pages_decoded += 1;
                notes.bytes_read += chunk.body_bytes() as u64;
            }
        }
    }

    fn read_open(
        &self,
        hot: &Hot,
        range: TimeRange,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        if hot.count == 0 || hot.first_ts > range.max || hot.last_ts < range.min {
            return;
        }
        notes.pages_decoded += 1;
        if hot.has_stream() {
            let mut bytes = [0_u8; CHUNK_BYTES_MAX];
            let used = hot.copy_stream(&self.slab, &mut bytes);
            notes.bytes_read += used as u64;
            let stream = Bits::new(&bytes[..used]);
            bits::decode_stream(stream, hot.first_ts, hot.count, range, out);
        } else {
            let value = f64::from_bits(hot.last_bits);
            let delta = u64::from(hot.delta);
            bits::decode_regular(hot.first_ts, delta, value, hot.count, range, out);
        }
    }

    /// Appends the in-order native histograms of series `index` that lie in `range` to `out`, oldest first.
    pub(crate) fn read_histograms(
        &self,
        index: u32,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
    ) {
        let from = out.len();
        self.histograms.read(index, self.kept(range), out);
        remove_deleted_histograms(self.deleted.of(index), from, out);
    }

    /// Appends the late samples of series `index` that lie in `range` to `out`, each kind ascending. Their counter
    /// reset hints say nothing, unless they are gauges.
    pub(crate) fn read_out_of_order(&self, index: u32, range: TimeRange, out: &mut SeriesSamples) {
        self.out_of_order.read(index, range, out);
    }

    /// The oldest and the newest sample that the series in `slot` may have, in order or late.
    pub(crate) fn series_range(&self, slot: u32) -> Option<TimeRange> {
        let late = match self.has_out_of_order(slot) {
            true => self.out_of_order.series_range(slot),
            false => None,
        };
        let hot = self.hot.get(slot as usize)?;
        let oldest = *self.oldest.get(slot as usize)?;
        let in_order = TimeRange {
            min: oldest.max(self.truncated_before),
            max: hot.last_ts,
        };
        if !hot.has_samples() || in_order.min > in_order.max {
            return late;
        }
        Some(late.map_or(in_order, |late| TimeRange {
            min: late.min.min(in_order.min),
            max: late.max.max(in_order.max),
        }))
    }

    /// Deletes what the series in `slot` has in `range` now: in-order samples are not read any more, late ones go. `range`
    /// reaches no further than the newest sample, so that in-order samples to come are not in it.
    pub(crate) fn delete(&mut self, slot: u32, range: TimeRange) {
        if self.has_out_of_order(slot) {
            self.out_of_order.delete(slot, range);
        }
        self.deleted.add(slot, self.kept(range));
    }

    /// Oldest and newest timestamp of all in-order samples.
    pub(crate) fn time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        let (min, max) = (self.time_min?, self.time_max?);
        Some((min.max(self.truncated_before).min(max), max))
    }

    /// Newest timestamp of all in-order samples.
    #[inline]
    pub(crate) fn time_max(&self) -> Option<TimestampMs> {
        self.time_max
    }

    /// Slots, ascending, that have late samples.
    pub(crate) fn out_of_order_slots(&self) -> Vec<u32> {
        self.out_of_order.slots()
    }
}
