//! What a query sees of a shard.
//!
//! A reader lives for one slice of a task; the shard does not change under it. Series are named by their number in a
//! [`Selection`], which the task keeps and which keeps its meaning between slices.
//!
//! Promise: samples of a series ascend, each time once, whether they lie in blocks, in the head or were late; deleted
//! ones are left out; what is damaged is left out and said. Not here: label names and values (`super::label_reader`).

use super::Data;
use super::merge::{Histograms, compare_anew, merge_histograms, merge_tail, remove_at_floats};
use super::selection::{Part, Place, Selecting, Selection, from};
use super::stats::{Cardinality, cardinality};
use crate::model::{
    FloatHistogram, Labels, Matcher, SampleColumns, SeriesSamples, ShardId, TimestampMs,
};
use crate::shard_api::{ReadNotes, TimeRange, TimeWindows};
use crate::tombstones::{remove_deleted, remove_deleted_histograms};
use std::borrow::Cow;
use std::sync::Arc;

/// A read view of one shard, valid for one slice of a task.
pub struct ShardReader<'a> {
    pub(super) data: &'a Data,
}

impl<'a> ShardReader<'a> {
    pub(super) fn new(data: &'a Data) -> Self {
        ShardReader { data }
    }

    /// Which shard this is.
    pub fn shard(&self) -> ShardId {
        self.data.shard
    }

    /// Number of the newest change of samples, and the oldest time that a change after number `since` touched, if there was any: answers at
    /// earlier times are what they were. Numbers begin anew with the process.
    pub fn changes_since(&self, since: u64) -> (u64, Option<TimestampMs>) {
        let changes = &self.data.changes;
        (changes.number(), changes.oldest_since(since))
    }

    /// Number of series in the head.
    pub fn series_count(&self) -> u64 {
        self.data.index.identity.len() as u64
    }

    /// Series that pass all matchers and have samples that may lie in `range`, over all blocks and the head. In one
    /// piece: a task that must stay short uses [`Self::begin_select`].
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Selection {
        let mut selecting = self.begin_select(matchers, range);
        while !self.go_on_selecting(&mut selecting, usize::MAX) {}
        selecting.finish()
    }

    /// As [`Self::select`], piece by piece: looks up the matchers and notes what there is to read from.
    pub fn begin_select(&self, matchers: &[Matcher], range: TimeRange) -> Selecting {
        Selecting::begin(self.data, matchers, range)
    }

    /// Looks at about `series` more series, in this or a later slice; true when [`Selecting::finish`] may be called.
    pub fn go_on_selecting(&self, selecting: &mut Selecting, series: usize) -> bool {
        selecting.advance(self.data, series)
    }

    /// The labels of a series. No series has an empty set: that says that the index of its block is damaged.
    pub fn labels(&self, selection: &Selection, series: usize) -> Labels {
        // The head's are cheapest.
        let parts = selection.parts(series);
        for part in parts {
            if let Place::Head = selection.sources.place(*part) {
                return self.data.index.labels(part.id);
            }
        }
        let mut bytes = Vec::with_capacity(128);
        for part in parts {
            if let Place::Block(stored) = selection.sources.place(*part)
                && stored.block.put_canonical(part.id, &mut bytes).is_ok()
            {
                return Labels::from_stored(&bytes);
            }
        }
        Labels::empty()
    }

    /// The value of one label of a series, `""` when it has none; cheaper than all its labels.
    pub fn label_value(&self, selection: &Selection, series: usize, name: &str) -> Cow<'a, str> {
        let identity = &self.data.index.identity;
        for part in selection.parts(series) {
            match selection.sources.place(*part) {
                Place::Head => {
                    let symbols = identity.symbols();
                    let name = symbols.find(name);
                    let value = name.and_then(|name| identity.value_symbol(part.id, name));
                    return Cow::Borrowed(value.map_or("", |value| symbols.get(value)));
                }
                Place::Block(stored) => {
                    if let Ok(value) = stored.block.label_value(part.id, name) {
                        return Cow::Owned(value.unwrap_or_default());
                    }
                }
            }
        }
        Cow::Borrowed("")
    }

    /// Appends the float samples of a series in the windows, and perhaps some between them, to `out`, in time order; what was touched is
    /// added to `notes`.
    pub fn read(
        &self,
        selection: &Selection,
        series: usize,
        windows: impl Into<TimeWindows>,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        let windows = windows.into();
        let range = windows.range;
        let start = out.len();
        for &part in selection.parts(series) {
            let middle = out.len();
            match selection.sources.place(part) {
                Place::Head if range.min >= selection.sources.head_from => {
                    self.data.head.read(part.id, windows, out, notes);
                }
                Place::Head => {
                    let range = from(selection.sources.head_from, range);
                    self.data.head.read(part.id, range, out, notes);
                }
                Place::Block(stored) => {
                    stored.block.read(part.id, windows, out, notes);
                    remove_deleted(stored.tombstones.of(part.id), middle, out);
                }
            }
            merge_tail(out, start, middle);
        }
        if let Some(late) = self.late(selection, series, range) {
            let middle = out.len();
            out.timestamps.extend(late.floats.timestamps);
            out.values.extend(late.floats.values);
            merge_tail(out, start, middle);
        }
    }

    /// Has a series any native histogram, at any time? Cheap.
    pub fn has_histograms(&self, selection: &Selection, series: usize) -> bool {
        let has = |part: &Part| match selection.sources.place(*part) {
            Place::Head => self.data.head.has_histograms(part.id),
            Place::Block(stored) => stored.block.has_histograms(part.id),
        };
        selection.parts(series).iter().any(has)
    }

    /// Appends the native histograms of a series inside `range` to `out`, in time order. No timestamp is also that of a
    /// float sample; a staleness marker after a histogram is a histogram ([`FloatHistogram::is_stale`]).
    pub fn read_histograms(
        &self,
        selection: &Selection,
        series: usize,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
        notes: &mut ReadNotes,
    ) {
        let start = out.len();
        let parts = selection.parts(series);
        for &part in parts {
            let middle = out.len();
            match selection.sources.place(part) {
                Place::Head => {
                    let range = from(selection.sources.head_from, range);
                    self.data.head.read_histograms(part.id, range, out);
                }
                Place::Block(stored) => {
                    stored.block.read_histograms(part.id, range, out, notes);
                    leave_out_deleted(stored.tombstones.of(part.id), middle, out);
                }
            }
            merge_histograms(out, start, middle);
        }
        let late = self.late(selection, series, range);
        let several = parts.len() > 1 || late.is_some();
        if let Some(late) = late {
            let middle = out.len();
            out.extend(late.histograms);
            merge_histograms(out, start, middle);
        }
        if several && let (Some((min, _)), Some((max, _))) = (out.get(start), out.last()) {
            // Two sources may hold samples of both kinds at one time.
            let (min, max) = (*min, *max);
            let mut floats = SampleColumns::default();
            let uncounted = &mut ReadNotes::default();
            self.read(
                selection,
                series,
                TimeRange { min, max },
                &mut floats,
                uncounted,
            );
            remove_at_floats(out, start, &floats.timestamps);
        }
    }

    /// Appends the start timestamps that hold in `range`, as runs: from a sample time on, samples carry a start
    /// timestamp (0: none), until the next run. Where blocks overlap, the one that begins first speaks.
    pub fn read_starts(
        &self,
        selection: &Selection,
        series: usize,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, TimestampMs)>,
    ) {
        let parts = selection.parts(series).iter();
        let mut parts: Vec<(TimeRange, Part)> = parts
            .map(|part| match selection.sources.place(*part) {
                Place::Head => (from(selection.sources.head_from, range), *part),
                Place::Block(stored) => {
                    let meta = stored.block.meta();
                    let of_block = TimeRange {
                        min: range.min.max(meta.min_time),
                        max: range.max.min(meta.max_time),
                    };
                    (of_block, *part)
                }
            })
            .collect();
        parts.sort_by_key(|(range, _)| range.min);
        let mut runs = Vec::new();
        let first = out.len();
        let mut next = range.min;
        for (mut own, part) in parts {
            own.min = own.min.max(next);
            if own.min > own.max {
                continue;
            }
            runs.clear();
            match selection.sources.place(part) {
                Place::Head => self.read_head_starts(part.id, own, &mut runs),
                Place::Block(stored) => stored.block.read_starts(part.id, own, &mut runs),
            }
            // What held in the part before does not reach into this one.
            if runs.first().is_none_or(|(from, _)| *from > own.min) {
                runs.insert(0, (own.min, 0));
            }
            for &(from, start) in &runs {
                if out[first..].last().map_or(0, |(_, last)| *last) != start {
                    out.push((from, start));
                }
            }
            next = own.max.saturating_add(1);
        }
    }

    /// Samples of the head that came late, if the series has any.
    fn late(
        &self,
        selection: &Selection,
        series: usize,
        range: TimeRange,
    ) -> Option<SeriesSamples> {
        let head = &self.data.head;
        let in_head = |part: &&Part| matches!(selection.sources.place(**part), Place::Head);
        let part = selection.parts(series).iter().find(in_head)?;
        if !head.has_out_of_order(part.id) {
            return None;
        }
        let mut late = SeriesSamples::default();
        head.read_out_of_order(part.id, range, &mut late);
        Some(late)
    }

    /// Oldest and newest sample time in the head.
    pub fn time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.data.head.time_range()
    }

    /// Counts of series by label, for `/api/v1/status/tsdb`. Looks at every distinct label pair.
    pub fn cardinality(&self) -> Cardinality {
        cardinality(self.data)
    }
}

/// Takes deleted histograms out, and what those behind them say of a reset against them.
fn leave_out_deleted(deleted: &[TimeRange], start: usize, samples: &mut Histograms) {
    if deleted.is_empty() {
        return;
    }
    remove_deleted_histograms(deleted, start, samples);
    for range in deleted {
        let behind = start + samples[start..].partition_point(|(t, _)| *t <= range.max);
        let before = behind.checked_sub(1).filter(|at| *at >= start);
        let before = before.map(|at| Arc::clone(&samples[at].1));
        if let Some((_, histogram)) = samples.get_mut(behind) {
            compare_anew(before.as_deref(), histogram);
        }
    }
}
