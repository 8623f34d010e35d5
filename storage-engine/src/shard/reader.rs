//! What a query sees of a shard.
//!
//! A reader lives for one slice of a task; the shard does not change under it. Series are named by their number in a
//! [`Selection`], which the task keeps and which keeps its meaning between slices.

use super::Data;
use super::selection::Selection;
use super::stats::{Cardinality, cardinality};
use crate::model::{FloatHistogram, Labels, Matcher, SampleColumns, ShardId, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};
use hashbrown::HashSet;
use roaring::RoaringBitmap;
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

    /// Number of series.
    pub fn series_count(&self) -> u64 {
        self.data.index.identity.len() as u64
    }

    /// Series that pass all matchers and have samples that may lie in `range`.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Selection {
        Selection {
            head_from: self.data.head_from,
            slots: self.slots(matchers, range),
            damage: Vec::new(),
        }
    }

    /// Slots of the head, ascending, whose series pass all matchers and may have samples in `range`.
    fn slots(&self, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
        let range = from(self.data.head_from, range);
        self.data
            .index
            .select(matchers)
            .into_iter()
            .filter(|slot| self.data.head.overlaps(*slot, range))
            .collect()
    }

    /// The labels of a series. No series has an empty set: that says that the index of its block is damaged.
    pub fn labels(&self, selection: &Selection, series: usize) -> Labels {
        match selection.slot(series) {
            Some(slot) => self.data.index.labels(slot),
            None => Labels::empty(),
        }
    }

    /// The value of one label of a series, `""` when it has none; cheaper than all its labels.
    pub fn label_value<'s>(
        &'s self,
        selection: &'s Selection,
        series: usize,
        name: &str,
    ) -> Cow<'s, str> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let value = selection
            .slot(series)
            .zip(symbols.find(name))
            .and_then(|(slot, name)| identity.value_symbol(slot, name));
        Cow::Borrowed(value.map_or("", |value| symbols.get(value)))
    }

    /// Appends the float samples of a series inside `range` to `out`, in time order; what was touched is added to
    /// `notes`.
    pub fn read(
        &self,
        selection: &Selection,
        series: usize,
        range: TimeRange,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        let range = from(selection.head_from, range);
        if let Some(slot) = selection.slot(series) {
            self.data.head.read(slot, range, out, notes);
        }
    }

    /// Has a series any native histogram, at any time? Cheap.
    pub fn has_histograms(&self, selection: &Selection, series: usize) -> bool {
        selection
            .slot(series)
            .is_some_and(|slot| self.data.head.has_histograms(slot))
    }

    /// Appends the native histograms of a series inside `range` to `out`, in time order. A staleness marker after a
    /// histogram is a histogram ([`FloatHistogram::is_stale`]).
    pub fn read_histograms(
        &self,
        selection: &Selection,
        series: usize,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
        _notes: &mut ReadNotes,
    ) {
        let range = from(selection.head_from, range);
        if let Some(slot) = selection.slot(series) {
            self.data.head.read_histograms(slot, range, out);
        }
    }

    /// Distinct label names among series that pass `matchers` (all series when empty), ascending.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        _notes: &mut ReadNotes,
    ) -> Vec<String> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let mut names: HashSet<u32> = HashSet::new();
        if matchers.is_empty() {
            if self.covers(range) {
                names.extend(self.data.index.postings.names().map(|(name, _)| name));
            }
        } else {
            let mut schemas: HashSet<u32> = HashSet::new();
            for slot in self.slots(matchers, range) {
                if let Some((schema, of_schema)) = identity.schema(slot)
                    && schemas.insert(schema)
                {
                    names.extend(of_schema);
                }
            }
        }
        sorted(names.into_iter().map(|name| symbols.get(name)))
    }

    /// Distinct values of label `name` among series that pass `matchers`, ascending.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        _notes: &mut ReadNotes,
    ) -> Vec<String> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let Some(name) = symbols.find(name) else {
            return Vec::new();
        };
        let Some(values) = self.data.index.postings.values(name) else {
            return Vec::new();
        };
        if matchers.is_empty() {
            if !self.covers(range) {
                return Vec::new();
            }
            return sorted(values.keys().map(|value| symbols.get(*value)));
        }
        let selected = self.slots(matchers, range);
        if selected.len() > values.len().saturating_mul(8) {
            let set: RoaringBitmap = selected.into_iter().collect();
            let found = values.iter().filter(|(_, list)| list.touches(&set));
            return sorted(found.map(|(value, _)| symbols.get(*value)));
        }
        let found: HashSet<u32> = selected
            .into_iter()
            .filter_map(|slot| identity.value_symbol(slot, name))
            .collect();
        sorted(found.into_iter().map(|value| symbols.get(value)))
    }

    /// Oldest and newest sample time in the shard.
    pub fn time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.data.head.time_range()
    }

    /// Counts of series by label, for `/api/v1/status/tsdb`. Looks at every distinct label pair.
    pub fn cardinality(&self) -> Cardinality {
        cardinality(self.data)
    }

    fn covers(&self, range: TimeRange) -> bool {
        self.time_range()
            .is_some_and(|(min, max)| min <= range.max && max >= range.min)
    }
}

/// The part of `range` from `min` on.
fn from(min: TimestampMs, range: TimeRange) -> TimeRange {
    TimeRange {
        min: range.min.max(min),
        ..range
    }
}

fn sorted<'s>(texts: impl Iterator<Item = &'s str>) -> Vec<String> {
    let mut all: Vec<String> = texts.map(str::to_owned).collect();
    all.sort_unstable();
    all
}
