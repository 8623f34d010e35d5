//! The head: the newest samples of every series, appended in place and readable at once.
//!
//! A series is one cache line ([`hot::Hot`]) that holds all that an append needs: newest sample, last delta, the bits
//! that have not filled a word yet, and where the open chunk lives. Full words of the open chunk go to a segment of the
//! [`slab`]; every [`CHUNK_SAMPLES`] samples the chunk is sealed into the [`sealed`] arena and linked to the one
//! before. While timestamps are regular and the value does not change there is no segment at all: count, first time,
//! delta and value say everything.
//!
//! Promise: what was appended is read back bit for bit (NaN payloads, signed zero), in time order; no allocation per
//! sample; no I/O, clock or thread. Not here: labels and identity ([`crate::index`]), the log, acknowledgement.

pub(crate) mod bits;
mod histograms;
pub(crate) mod hot;
mod image;
mod lines;
pub(crate) mod out_of_order;
mod page;
mod read;
pub(crate) mod sealed;
pub(crate) mod slab;
mod truncate;

use crate::model::{FloatHistogram, STALE_NAN_BITS, SeriesRef, TimestampMs};
use crate::shard_api::RejectReason;
use crate::tombstones::Tombstones;
use histograms::Histograms;
pub(crate) use histograms::reset_hint;
use hot::{Appended, Hot};
use lines::Lines;
use out_of_order::OutOfOrder;
use sealed::Sealed;
use slab::Slab;
use std::collections::BTreeMap;
use std::sync::Arc;
pub(crate) use truncate::SlotAfter;

/// Samples in a sealed chunk, as in Prometheus.
pub(crate) const CHUNK_SAMPLES: u16 = 120;

/// What an append did with one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Stored.
    Stored,
    /// A float, stored behind a histogram of the same series.
    StoredAfterHistogram,
    /// A float staleness marker, stored as a histogram's because the series' newest sample is a histogram.
    StoredStaleHistogram,
    /// Stored among the late samples.
    StoredLate,
    /// Already there, bit for bit; or late, and there is a late sample of that time.
    Duplicate,
    /// Refused.
    Rejected(RejectReason),
}

/// Counts and sizes of the head, for status pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeadSizes {
    /// Bytes of the hot lines and first timestamps.
    pub(crate) series_bytes: u64,
    /// Bytes of slab pages.
    pub(crate) open_bytes: u64,
    /// Bytes of sealed chunks in memory.
    pub(crate) sealed_bytes: u64,
    /// Bytes of sealed chunks in mapped files.
    pub(crate) mapped_bytes: u64,
    /// Sealed chunks.
    pub(crate) sealed_chunks: u64,
    /// Bytes of native histogram samples.
    pub(crate) histogram_bytes: u64,
    /// Bytes of late samples.
    pub(crate) out_of_order_bytes: u64,
    /// Late samples, which `samples` does not count.
    pub(crate) out_of_order_samples: u64,
    /// Bytes of deleted ranges.
    pub(crate) tombstone_bytes: u64,
    /// Native histogram samples, which `samples` counts too.
    pub(crate) histogram_samples: u64,
    /// Samples that are in the head.
    pub(crate) samples: u64,
}

/// All series of one shard, by slot.
pub(crate) struct Head {
    hot: Lines<Hot>,
    /// Oldest timestamp of each series; read by queries only, so not in the hot line.
    oldest: Vec<TimestampMs>,
    slab: Slab,
    sealed: Sealed,
    histograms: Histograms,
    out_of_order: OutOfOrder,
    /// Deleted ranges by slot; reads leave out what lies in them.
    deleted: Tombstones,
    /// In-order samples before this have been truncated and are not read, even where their chunk is still here.
    truncated_before: TimestampMs,
    /// Pages of sealed chunks that are in files, with the number of the file's first page.
    page_files: BTreeMap<u64, u64>,
    samples: u64,
    open_chunks: u64,
    time_min: Option<TimestampMs>,
    time_max: Option<TimestampMs>,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            hot: Lines::new(Hot::VACANT),
            oldest: Vec::new(),
            slab: Slab::default(),
            sealed: Sealed::default(),
            histograms: Histograms::default(),
            out_of_order: OutOfOrder::default(),
            deleted: Tombstones::default(),
            truncated_before: TimestampMs::MIN,
            page_files: BTreeMap::new(),
            samples: 0,
            open_chunks: 0,
            time_min: None,
            time_max: None,
        }
    }
}

impl Head {
    /// Makes slot `index` a series of this generation; slots before it that do not exist yet become vacant.
    pub(crate) fn occupy(&mut self, series: SeriesRef) {
        let slots = series.index as usize + 1;
        if self.hot.len() < slots {
            self.hot.grow(slots);
            self.oldest.resize(slots, TimestampMs::MAX);
        }
        if let Some(hot) = self.hot.get_mut(series.index as usize) {
            hot.generation = series.generation;
        }
    }

    /// Time of a series' newest in-order sample.
    pub(crate) fn newest_time(&self, index: u32) -> Option<TimestampMs> {
        let hot = self.hot.get(index as usize)?;
        hot.has_samples().then_some(hot.last_ts)
    }

    /// The full reference of an occupied slot.
    pub(crate) fn reference(&self, index: u32) -> SeriesRef {
        let generation = self.hot.get(index as usize).map_or(0, |h| h.generation);
        SeriesRef { index, generation }
    }

    /// Asks the memory for the hot line of `index`; the first of two stages, well before the append.
    #[inline]
    pub(crate) fn prefetch_line(&self, index: u32) {
        slab::prefetch(self.hot.address(index as usize));
    }

    /// Asks the memory for the segment that the next flush of `index` will write; the hot line should have arrived.
    #[inline]
    pub(crate) fn prefetch_tail(&self, index: u32) {
        if let Some(h) = self.hot.get(index as usize)
            && h.has_stream()
        {
            slab::prefetch(self.slab.address(h.segment));
        }
    }

    /// Does the reference mean a series that is here?
    #[inline]
    pub(crate) fn is_known(&self, series: SeriesRef) -> bool {
        series.generation != 0
            && self
                .hot
                .get(series.index as usize)
                .is_some_and(|hot| hot.generation == series.generation)
    }

    /// Would [`Self::append`] take this sample? Changes nothing.
    #[inline]
    pub(crate) fn check(&self, series: SeriesRef, t: TimestampMs, bits: u64) -> Verdict {
        match self.hot.get(series.index as usize) {
            Some(h) if h.generation == series.generation && h.generation != 0 => h.verdict(t, bits),
            _ => Verdict::Rejected(RejectReason::UnknownSeries),
        }
    }

    /// Appends one sample; bounds other than the series' own order are the caller's.
    #[inline]
    pub(crate) fn append(&mut self, series: SeriesRef, t: TimestampMs, bits: u64) -> Verdict {
        let index = series.index as usize;
        let Some(hot) = self.hot.get_mut(index) else {
            return Verdict::Rejected(RejectReason::UnknownSeries);
        };
        if hot.generation != series.generation || hot.generation == 0 {
            return Verdict::Rejected(RejectReason::UnknownSeries);
        }
        let verdict = hot.verdict(t, bits);
        if verdict != Verdict::Stored {
            return verdict;
        }
        if hot.newest_is_histogram() {
            return self.append_after_histogram(series, t, bits);
        }
        if !hot.has_samples() {
            self.oldest[index] = t;
            if self.time_min.is_none_or(|min| t < min) {
                self.time_min = Some(t);
            }
        } else if hot.must_cut(t) {
            self.sealed.seal(hot, &mut self.slab);
            self.open_chunks -= 1;
        }
        self.open_chunks += u64::from(hot.count == 0);
        if hot.push(t, bits, &mut self.slab) == Appended::Full {
            self.sealed.seal(hot, &mut self.slab);
            self.open_chunks -= 1;
        }
        self.samples += 1;
        if self.time_max.is_none_or(|max| t > max) {
            self.time_max = Some(t);
        }
        Verdict::Stored
    }

    /// Would [`Self::append_histogram`] take this sample? Changes nothing.
    pub(crate) fn check_histogram(
        &self,
        series: SeriesRef,
        t: TimestampMs,
        histogram: &FloatHistogram,
    ) -> Verdict {
        // The order of time does not look at bits; what has the newest time is compared below.
        let verdict = self.check(series, t, STALE_NAN_BITS);
        if !matches!(verdict, Verdict::Duplicate)
            && verdict != Verdict::Rejected(RejectReason::DuplicateTimestamp)
        {
            return verdict;
        }
        match self.histograms.newest(series.index) {
            Some((last, newest)) if *last == t && newest.same_bits(histogram) => Verdict::Duplicate,
            _ => Verdict::Rejected(RejectReason::DuplicateTimestamp),
        }
    }

    /// Appends one native histogram. It closes the open float chunk: chunks hold one kind of sample, as in Prometheus.
    pub(crate) fn append_histogram(
        &mut self,
        series: SeriesRef,
        t: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) -> Verdict {
        let verdict = self.check_histogram(series, t, histogram);
        let index = series.index as usize;
        let Some(hot) = self.hot.get_mut(index) else {
            return verdict;
        };
        if verdict != Verdict::Stored {
            return verdict;
        }
        if !hot.has_samples() {
            self.oldest[index] = t;
            if self.time_min.is_none_or(|min| t < min) {
                self.time_min = Some(t);
            }
        } else if hot.count > 0 {
            self.sealed.seal(hot, &mut self.slab);
            self.open_chunks -= 1;
        }
        let continues = hot.newest_is_histogram();
        hot.note_histogram(t, histogram.is_stale());
        self.histograms
            .push(series.index, continues, (t, Arc::clone(histogram)));
        self.samples += 1;
        if self.time_max.is_none_or(|max| t > max) {
            self.time_max = Some(t);
        }
        Verdict::Stored
    }

    /// Stores a float that is newer than its series' newest sample, a histogram. A staleness marker becomes a
    /// histogram's, of the kind that the series has, as in Prometheus.
    #[cold]
    fn append_after_histogram(&mut self, series: SeriesRef, t: TimestampMs, bits: u64) -> Verdict {
        if bits != STALE_NAN_BITS {
            let Some(hot) = self.hot.get_mut(series.index as usize) else {
                return Verdict::Rejected(RejectReason::UnknownSeries);
            };
            // The histogram has closed the chunk before it, so this sample begins one and cannot fill it.
            hot.push(t, bits, &mut self.slab);
            self.open_chunks += 1;
            self.samples += 1;
            if self.time_max.is_none_or(|max| t > max) {
                self.time_max = Some(t);
            }
            return Verdict::StoredAfterHistogram;
        }
        let newest = self.histograms.newest(series.index);
        let integer = newest.is_some_and(|(_, newest)| newest.integer);
        let stale = Arc::new(FloatHistogram::stale(integer));
        match self.append_histogram(series, t, &stale) {
            Verdict::Stored => Verdict::StoredStaleHistogram,
            other => other,
        }
    }

    /// Newest native histogram of a series.
    pub(crate) fn newest_histogram(&self, index: u32) -> Option<&Arc<FloatHistogram>> {
        self.histograms.newest(index).map(|(_, newest)| newest)
    }

    /// Counts and sizes.
    pub(crate) fn sizes(&self) -> HeadSizes {
        HeadSizes {
            series_bytes: (self.hot.bytes() + self.oldest.capacity() * 8) as u64,
            open_bytes: self.slab.bytes(),
            sealed_bytes: self.sealed.bytes(),
            mapped_bytes: self.sealed.mapped_bytes(),
            histogram_bytes: self.histograms.bytes(),
            out_of_order_bytes: self.out_of_order.bytes(),
            out_of_order_samples: self.out_of_order.samples(),
            tombstone_bytes: self.deleted.bytes(),
            histogram_samples: self.histograms.samples(),
            sealed_chunks: self.sealed.chunk_count(),
            samples: self.samples,
        }
    }

    /// Chunks of all series, open ones included.
    pub(crate) fn chunk_count(&self) -> u64 {
        self.open_chunks + self.sealed.chunk_count()
    }

    /// May another chunk be sealed without passing the bound of the arena?
    pub(crate) fn has_room(&self) -> bool {
        self.sealed.has_room()
    }
}

#[cfg(test)]
mod tests;
