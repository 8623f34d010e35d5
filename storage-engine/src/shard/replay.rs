//! The log fed back at start: the same series, the same slots, the same samples.
//!
//! Promise: replay is idempotent, and a record that was lost costs only what was in it: references are never given
//! to another series, because new slots start above every slot that the log has named and carry a new generation.

use super::Shard;
use super::slots::Mentions;
use crate::head::Verdict;
use crate::index;
use crate::model::{SeriesRef, TimestampMs};
use crate::shard_api::RejectReason;
use crate::wal::histograms::LoggedHistogram;

/// What became of one series definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayedSeries {
    /// It was new.
    Added,
    /// It was here already, with the same labels.
    Known,
    /// Added, in place of a series of the same labels in another slot: that one had been removed, and came back later.
    Superseded,
    /// The slot belongs to another series, or the labels to a later series: the definition is ignored.
    Conflict,
    /// The label bytes are not canonical.
    InvalidLabels,
    /// The slot lies beyond the limit of series, or an arena is full.
    Limit,
}

/// What became of the samples of one record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayedSamples {
    /// Put into the head.
    pub stored: u64,
    /// There already, bit for bit.
    pub duplicates: u64,
    /// Not newer than what is there (a record seen twice after newer ones), or in a block ([`Shard::begin_seal`]).
    pub stale: u64,
    /// Their series' definition was not found.
    pub unknown: u64,
}

/// Samples between asking for a hot line and using it.
const LINE_AHEAD: usize = 24;
/// Samples between asking for a chunk tail and using it.
const TAIL_AHEAD: usize = 8;

impl Shard {
    /// Brings back one series under the reference it had.
    pub fn replay_series(&mut self, series: SeriesRef, canonical: &[u8]) -> ReplayedSeries {
        if !self.name_slot(series) {
            return ReplayedSeries::Limit;
        }
        let before = self.data.index.find(canonical);
        if before.is_some_and(|slot| self.data.head.reference(slot) == series) {
            self.commits.replayed_definition(series.index, false);
            return ReplayedSeries::Known;
        }
        if !index::is_series(canonical) {
            return ReplayedSeries::InvalidLabels;
        }
        if self.data.head.reference(series.index).generation != 0 || series.generation == 0 {
            return ReplayedSeries::Conflict;
        }
        match before {
            Some(slot) if self.data.head.reference(slot).generation < series.generation => {
                self.supersede(slot);
            }
            Some(_) => return ReplayedSeries::Conflict,
            None => {}
        }
        if !self.data.index.insert(series.index, canonical) {
            return ReplayedSeries::Limit;
        }
        self.data.head.occupy(series);
        self.commits.replayed_definition(series.index, true);
        match before {
            Some(_) => ReplayedSeries::Superseded,
            None => ReplayedSeries::Added,
        }
    }

    /// Takes a series out whose labels came back in another slot. It was removed because it had no sample left that is
    /// not in a block, so nothing in the log is lost with it.
    pub(super) fn supersede(&mut self, slot: u32) {
        self.data.index.remove(slot);
        self.data.head.vacate(slot);
        self.data.starts.remove(slot);
    }

    /// Brings back the samples of one record. The columns have one length; what is beyond the shortest is ignored.
    pub fn replay_samples(
        &mut self,
        refs: &[SeriesRef],
        timestamps: &[TimestampMs],
        values: &[f64],
    ) -> ReplayedSamples {
        let from = self.in_order_from();
        let mut counts = ReplayedSamples::default();
        for (i, ((&series, &t), &value)) in refs.iter().zip(timestamps).zip(values).enumerate() {
            if let Some(ahead) = refs.get(i + LINE_AHEAD) {
                self.data.head.prefetch_line(ahead.index);
            }
            if let Some(ahead) = refs.get(i + TAIL_AHEAD) {
                self.data.head.prefetch_tail(ahead.index);
            }
            if t < from {
                counts.stale += 1;
                continue;
            }
            let verdict = self.data.head.append(series, t, value.to_bits());
            self.count_replayed(series, verdict, &mut counts);
        }
        counts
    }

    /// Brings back the native histograms of one record.
    pub fn replay_histograms(&mut self, samples: &[LoggedHistogram]) -> ReplayedSamples {
        let from = self.in_order_from();
        let mut counts = ReplayedSamples::default();
        for sample in samples {
            if sample.timestamp < from {
                counts.stale += 1;
                continue;
            }
            let head = &mut self.data.head;
            let verdict = head.append_histogram(sample.series, sample.timestamp, &sample.histogram);
            self.count_replayed(sample.series, verdict, &mut counts);
        }
        counts
    }

    #[inline]
    pub(super) fn count_replayed(
        &mut self,
        series: SeriesRef,
        verdict: Verdict,
        counts: &mut ReplayedSamples,
    ) {
        match verdict {
            Verdict::Stored
            | Verdict::StoredAfterHistogram
            | Verdict::StoredStaleHistogram
            | Verdict::StoredLate => counts.stored += 1,
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Rejected(RejectReason::UnknownSeries) => {
                self.name_slot(series);
                counts.unknown += 1;
            }
            Verdict::Rejected(_) => counts.stale += 1,
        }
    }

    /// Ends the replay: `last_lsn` is the number of the log's last record, or of the last one that a checkpoint covers (0 for an empty log).
    pub fn replay_finish(&mut self, last_lsn: u64) {
        let arrivals = self.data.exemplars.arrivals_end();
        self.commits.start_after(last_lsn, arrivals);
        // The log may name slots without a series, until a checkpoint covers it.
        for slot in 0..self.slots.next() {
            if self.data.head.reference(slot).generation == 0 {
                self.slots.free(slot, 0, Mentions::Record(last_lsn));
            }
        }
    }

    /// Notes that the log knows this slot; `false` if it lies beyond the limit of series and is not believed.
    pub(super) fn name_slot(&mut self, series: SeriesRef) -> bool {
        if series.index
            >= self
                .config
                .series_max
                .max(crate::limits::SERIES_PER_SHARD_MAX)
        {
            return false;
        }
        self.slots.name(series.index);
        self.generation = self.generation.max(series.generation.saturating_add(1));
        true
    }
}
