//! The head taken to pieces for a checkpoint, and put together again.
//!
//! Promise: a head that is put back answers every read as the one that was taken did, and goes on from there.
//! Not here: in which slices, in which files (`checkpoint`).

use super::Head;
use super::hot::{Hot, SeriesImage};
use super::sealed::{PageBytes, PageFacts, PageView};
use crate::io::FileBytes;
use crate::model::{FloatHistogram, TimestampMs};
use crate::tombstones::Tombstones;
use std::ops::Range;
use std::sync::Arc;

impl Head {
    /// The state of the series in `slot`, `None` for a vacant one; the bits of its open chunk are appended to `stream`.
    pub(crate) fn series_image(&self, slot: u32, stream: &mut Vec<u8>) -> Option<SeriesImage> {
        let hot = self.hot.get(slot as usize)?;
        let oldest = *self.oldest.get(slot as usize)?;
        (hot.generation != 0).then(|| hot.image(oldest, &self.slab, stream))
    }

    /// Makes the vacant slot `slot` the series of an image. `false`, with nothing changed, for an image that no series can have or a slot
    /// that is taken.
    pub(crate) fn restore_series(&mut self, slot: u32, image: &SeriesImage, stream: &[u8]) -> bool {
        let index = slot as usize;
        if self.reference(slot).generation != 0 {
            return false;
        }
        let Some(hot) = Hot::from_image(image, stream, &mut self.slab) else {
            return false;
        };
        if self.hot.len() <= index {
            self.hot.grow(index + 1);
            self.oldest.resize(index + 1, TimestampMs::MAX);
        }
        if let Some(open) = &image.open {
            self.samples += u64::from(open.count);
            self.open_chunks += 1;
        }
        if hot.has_samples() {
            self.oldest[index] = image.oldest;
            self.time_min = Some(self.time_min.map_or(image.oldest, |t| t.min(image.oldest)));
            self.time_max = Some(
                self.time_max
                    .map_or(image.last_ts, |t| t.max(image.last_ts)),
            );
        }
        if let Some(line) = self.hot.get_mut(index) {
            *line = hot;
        }
        true
    }

    /// Puts back a native histogram that is newer than those put back before; its hints stay as they are. One that is newer than its
    /// series' newest sample was copied after the series was: the log has it.
    pub(crate) fn restore_histogram(
        &mut self,
        slot: u32,
        t: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) {
        let newest = self.hot.get(slot as usize).filter(|hot| hot.has_samples());
        if newest.is_some_and(|hot| t <= hot.last_ts)
            && self.histograms.restore(slot, (t, Arc::clone(histogram)))
        {
            self.samples += 1;
        }
    }

    /// Slots of the series that have native histograms, ascending.
    pub(crate) fn histogram_slots(&self) -> Vec<u32> {
        self.histograms.slots()
    }

    /// Native histograms of a series as they were stored.
    pub(crate) fn histogram_images(&self, slot: u32) -> &[(TimestampMs, Arc<FloatHistogram>)] {
        self.histograms.all(slot)
    }

    /// Deleted ranges, by slot.
    pub(crate) fn tombstones(&self) -> &Tombstones {
        &self.deleted
    }

    /// Live pages, ascending, each with the number of the first page of its file if it is in one.
    pub(crate) fn page_homes(&self) -> Vec<(u64, Option<u64>)> {
        let home = |page: PageView<'_>| {
            let file = self.page_files.get(&page.sequence).copied();
            (page.sequence, file)
        };
        self.sealed.pages().map(home).collect()
    }

    /// Pages of sealed chunks, oldest first.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PageView<'_>> {
        self.sealed.pages()
    }

    /// Puts a part of a mapped file, whose first page is `first`, in place of a full page in memory.
    pub(crate) fn map_page(
        &mut self,
        sequence: u64,
        first: u64,
        file: &Arc<FileBytes>,
        range: Range<usize>,
    ) -> bool {
        let replaced = self.sealed.replace(sequence, file, range);
        if replaced {
            self.page_files.insert(sequence, first);
            let live = self.sealed.sequences();
            self.page_files.retain(|page, _| live.contains(page));
        }
        replaced
    }

    /// Puts back a page, which may be in the file whose first page is `first`; pages come in ascending order.
    pub(crate) fn restore_page(
        &mut self,
        sequence: u64,
        first: Option<u64>,
        bytes: PageBytes,
        facts: PageFacts,
    ) -> bool {
        let restored = self.sealed.restore(sequence, bytes, facts);
        if restored {
            self.page_files.extend(first.map(|first| (sequence, first)));
            self.samples += u64::from(facts.samples);
        }
        restored
    }

    /// In-order samples before this are not read.
    pub(crate) fn truncated_before(&self) -> TimestampMs {
        self.truncated_before
    }
}
