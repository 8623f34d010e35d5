//! A shard taken to pieces for a checkpoint, and put together from one at start.
//!
//! Promise: whatever moments the pieces are of, putting them together and then replaying the log behind the record that
//! [`Shard::begin_checkpoint`] names gives the shard as it was when the log ended. Not here: slices and files (`checkpoint`).

use super::replay::ReplayedSamples;
use super::{Shard, ShardReader};
use crate::checkpoint::{GroupSeries, SeriesGroup, SeriesPiece, ShardState};
use crate::head::sealed::{PageBytes, PageFacts, PageView};
use crate::index::{GroupInsert, GroupLabels};
use crate::io::FileBytes;
use crate::model::{SeriesRef, SeriesSamples};
use crate::shard_api::TimeRange;
use crate::wal::format::encode_out_of_order_samples_record;
use crate::wal::histograms::{LoggedHistogram, encode_out_of_order_histograms_record};
use crate::wal::tombstones::{LoggedTombstone, encode_tombstones_record};
use std::ops::Range;
use std::sync::Arc;

const ALL_TIME: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

impl ShardReader<'_> {
    /// Appends the series of some slots to a piece.
    pub(crate) fn put_series_images(&self, slots: Range<u32>, piece: &mut SeriesPiece) {
        for slot in slots {
            let Some(image) = self.data.head.series_image(slot, &mut piece.streams) else {
                continue;
            };
            let identity = &self.data.index.identity;
            identity.for_each_pair(slot, |name, value| {
                piece.add_label(name, value, |symbol| identity.symbols().get(symbol));
            });
            piece.add(slot, image);
        }
    }

    /// Slots of the series that have native histograms in order, ascending.
    pub(crate) fn histogram_slots(&self) -> Vec<u32> {
        self.data.head.histogram_slots()
    }

    /// Appends the native histograms of a series, as they are stored.
    pub(crate) fn put_histogram_images(&self, slot: u32, out: &mut Vec<LoggedHistogram>) {
        let series = self.data.head.reference(slot);
        let samples = self.data.head.histogram_images(slot).iter();
        out.extend(samples.map(|(t, histogram)| LoggedHistogram {
            series,
            timestamp: *t,
            histogram: Arc::clone(histogram),
        }));
    }

    /// Appends the out-of-order samples of a series as encoded records of the log.
    pub(crate) fn put_out_of_order_records(&self, slot: u32, out: &mut Vec<u8>) {
        let series = self.data.head.reference(slot);
        let mut samples = SeriesSamples::default();
        self.data
            .head
            .read_out_of_order(slot, ALL_TIME, &mut samples);
        let floats = &samples.floats;
        let refs = vec![series; floats.len()];
        encode_out_of_order_samples_record(out, 0, &refs, &floats.timestamps, &floats.values);
        let histograms: Vec<LoggedHistogram> = samples
            .histograms
            .into_iter()
            .map(|(timestamp, histogram)| LoggedHistogram {
                series,
                timestamp,
                histogram,
            })
            .collect();
        encode_out_of_order_histograms_record(out, 0, &histograms);
    }

    /// Deleted ranges, as encoded records of the log. They come back before the out-of-order samples: a deletion takes those that came
    /// before it, and those that are here came later.
    pub(crate) fn tombstone_records(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (slot, ranges) in self.data.head.tombstones().iter() {
            let series = self.data.head.reference(slot);
            all.extend(ranges.iter().map(|range| LoggedTombstone {
                series,
                range: *range,
            }));
        }
        let mut records = Vec::new();
        encode_tombstones_record(&mut records, 0, &all);
        records
    }

    /// Slots of the head that the index finds.
    #[cfg(test)]
    pub(crate) fn indexed(&self, matchers: &[crate::model::Matcher]) -> Vec<u32> {
        self.data.index.select(matchers).into_iter().collect()
    }

    /// Floats of the head with notes of what could not be read.
    #[cfg(test)]
    pub(crate) fn read_for_tests(
        &self,
        slot: u32,
        range: TimeRange,
        out: &mut crate::model::SampleColumns,
        notes: &mut crate::shard_api::ReadNotes,
    ) {
        self.data.head.read(slot, range, out, notes);
    }

    /// Pages of sealed chunks, oldest first.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PageView<'_>> {
        self.data.head.pages()
    }

    /// Live pages of sealed chunks, ascending, each with the number of the first page of its file if it is in one.
    pub(crate) fn page_homes(&self) -> Vec<(u64, Option<u64>)> {
        self.data.head.page_homes()
    }
}

/// Bytes that a shard's log had been given at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogBytes(u64);

/// What became of the series of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RestoredGroup {
    /// In the shard now.
    pub(crate) series: u64,
    /// Series that no shard can have.
    pub(crate) invalid: u64,
}

impl Shard {
    /// What a checkpoint that begins now covers and begins with, how many slots it has to look at, and the number of the first exemplar
    /// that it leaves out: series of later slots are in the log behind it, and so are exemplars that wait for the log now. Loaded before
    /// what had arrived before them, those would be refused as out of order when that comes, or pushed out by it.
    pub(crate) fn begin_checkpoint(&mut self) -> (ShardState, u32, u64, LogBytes) {
        let state = ShardState {
            lsn: self.logged_lsn(),
            next_slot: self.slots.next(),
            generation: self.generation,
            // What blocks hold is as good as gone, even while queries still keep it in memory.
            truncated_before: self.data.head.truncated_before().max(self.data.head_from),
        };
        (
            state,
            self.data.head.slot_count(),
            self.commits.arrivals_logged(),
            LogBytes(self.log_bytes()),
        )
    }

    /// A checkpoint of so many bytes is there that covers what had been logged when it began.
    pub(crate) fn note_checkpoint(&mut self, begun: LogBytes, bytes: u64) {
        self.log_bytes_covered = begun.0;
        self.checkpoint_bytes = bytes;
    }

    /// What was loaded and read at start: bytes of the checkpoint, and of the log behind it.
    pub(crate) fn note_start(&mut self, checkpoint_bytes: u64, log_bytes: u64) {
        self.checkpoint_bytes = checkpoint_bytes;
        self.log_bytes_replayed = log_bytes;
    }

    fn log_bytes(&self) -> u64 {
        self.log_bytes_replayed + self.commits.done().1
    }

    pub(super) fn log_bytes_behind_checkpoint(&self) -> u64 {
        self.log_bytes() - self.log_bytes_covered
    }

    /// Answers `request` when the log has all that is in memory now, or has failed.
    pub(crate) fn answer_when_logged(&mut self, request: u64, actions: &mut Vec<super::Action>) {
        self.commits.answer_when_logged(request, actions);
    }

    /// Puts a part of a mapped file, whose first page is `first`, in place of a full page of sealed chunks in memory.
    pub(crate) fn map_page(
        &mut self,
        sequence: u64,
        first: u64,
        file: &Arc<FileBytes>,
        range: Range<usize>,
    ) -> bool {
        self.data.head.map_page(sequence, first, file, range)
    }

    /// Puts back a page of sealed chunks, in ascending order, which may be in the file whose first page is `first`.
    pub(crate) fn restore_page(
        &mut self,
        sequence: u64,
        first: Option<u64>,
        bytes: PageBytes,
        facts: PageFacts,
    ) -> bool {
        self.data.head.restore_page(sequence, first, bytes, facts)
    }

    /// Makes room for series that will be put back.
    pub(crate) fn restore_begin(&mut self, series: usize) {
        self.data.index.reserve(series);
    }

    /// Puts back the series of a group.
    pub(crate) fn restore_group(&mut self, group: &SeriesGroup<'_>) -> RestoredGroup {
        let mut restored = RestoredGroup::default();
        let labels = GroupLabels::new(&mut self.data.index, &group.texts, &group.pairs);
        let Some(mut labels) = labels else {
            restored.invalid = group.series.len() as u64;
            return restored;
        };
        // A series whose slot is taken, or no slot at all, is none.
        let vacant: Vec<bool> = group.series.iter().map(|s| self.claim(s)).collect();
        let own = |at: usize| match (vacant[at], at.checked_sub(1)) {
            (false, _) => &[],
            (true, None) => &group.labels[..group.series[at].labels_end],
            (true, Some(before)) => {
                &group.labels[group.series[before].labels_end..group.series[at].labels_end]
            }
        };
        let all = (0..group.series.len()).map(|at| (group.series[at].slot, own(at)));
        let inserted = labels.insert(&mut self.data.index, all);
        for (at, (series, mut inserted)) in group.series.iter().zip(inserted).enumerate() {
            // A series that was removed after it was copied, and came back in another slot: the later one counts.
            while let GroupInsert::Same(other) = inserted
                && self.data.head.reference(other).generation < series.image.generation
            {
                // The older one may be of this group.
                labels.flush(&mut self.data.index);
                self.supersede(other);
                let again = std::iter::once((series.slot, own(at)));
                inserted = labels.insert(&mut self.data.index, again)[0];
            }
            match inserted {
                GroupInsert::Added => {
                    let head = &mut self.data.head;
                    if head.restore_series(series.slot, &series.image, series.stream) {
                        restored.series += 1;
                    } else {
                        // Out of the index again: a series without state must not be found.
                        labels.flush(&mut self.data.index);
                        self.data.index.remove(series.slot);
                        restored.invalid += 1;
                    }
                }
                GroupInsert::Same(_) => {}
                GroupInsert::Invalid => restored.invalid += 1,
            }
        }
        labels.flush(&mut self.data.index);
        restored
    }

    /// Is the slot of a series free for it?
    fn claim(&mut self, series: &GroupSeries<'_>) -> bool {
        self.data.head.reference(series.slot).generation == 0 && self.name_slot(reference(series))
    }

    /// Puts back native histograms as they were stored; those of series that are not here are in the log, or not wanted.
    pub(crate) fn restore_histograms(&mut self, samples: &[LoggedHistogram]) -> ReplayedSamples {
        let mut counts = ReplayedSamples::default();
        for sample in samples {
            let head = &mut self.data.head;
            if head.reference(sample.series.index) == sample.series {
                head.restore_histogram(sample.series.index, sample.timestamp, &sample.histogram);
                counts.stored += 1;
            } else {
                counts.stale += 1;
            }
        }
        counts
    }

    /// Puts back what holds for the whole shard; last.
    pub(crate) fn restore_state(&mut self, state: &ShardState) {
        if let Some(last) = state.next_slot.checked_sub(1) {
            self.slots.name(last);
        }
        self.generation = self.generation.max(state.generation);
        self.data.head.begin_truncation(state.truncated_before);
        self.begin_seal(state.truncated_before);
    }
}

fn reference(series: &GroupSeries<'_>) -> SeriesRef {
    SeriesRef {
        index: series.slot,
        generation: series.image.generation,
    }
}
