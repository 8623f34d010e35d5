//! What a query sees of a shard.
//!
//! A reader lives for one slice of a task; the shard does not change under it. Series are named by their slot, which
//! keeps its meaning between slices of one task.

use super::Data;
use super::stats::{Cardinality, cardinality};
use crate::model::{
    FloatHistogram, Labels, Matcher, SampleColumns, SeriesRef, ShardId, TimestampMs,
};
use crate::shard_api::{ReadNotes, TimeRange};
use hashbrown::HashSet;
use roaring::RoaringBitmap;
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

    /// Series (as slots, ascending) that pass all matchers and have samples that may lie in `range`.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
        self.data
            .index
            .select(matchers)
            .into_iter()
            .filter(|slot| self.data.head.overlaps(*slot, range))
            .collect()
    }

    /// The labels of a series.
    pub fn labels(&self, series: u32) -> Labels {
        self.data.index.labels(series)
    }

    /// The value of one label of a series, `""` when it has none; cheaper than all its labels.
    pub fn label_value(&self, series: u32, name: &str) -> &'a str {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        symbols
            .find(name)
            .and_then(|name| identity.value_symbol(series, name))
            .map_or("", |value| symbols.get(value))
    }

    /// The full reference of a series.
    pub fn reference(&self, series: u32) -> SeriesRef {
        self.data.head.reference(series)
    }

    /// Appends the float samples of `series` inside `range` to `out`, in time order.
    pub fn read(&self, series: u32, range: TimeRange, out: &mut SampleColumns) {
        self.data
            .head
            .read(series, range, out, &mut ReadNotes::default());
    }

    /// Has `series` any native histogram, at any time? One look-up in a small table.
    pub fn has_histograms(&self, series: u32) -> bool {
        self.data.head.has_histograms(series)
    }

    /// Appends the native histograms of `series` inside `range` to `out`, in time order. No timestamp is also that of
    /// a float sample; a staleness marker after a histogram is a histogram ([`FloatHistogram::is_stale`]).
    pub fn read_histograms(
        &self,
        series: u32,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
    ) {
        self.data.head.read_histograms(series, range, out);
    }

    /// Distinct label names among series that pass `matchers` (all series when empty), ascending.
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Vec<String> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let mut names: HashSet<u32> = HashSet::new();
        if matchers.is_empty() {
            if self.covers(range) {
                names.extend(self.data.index.postings.names().map(|(name, _)| name));
            }
        } else {
            let mut schemas: HashSet<u32> = HashSet::new();
            for slot in self.select(matchers, range) {
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
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Vec<String> {
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
        let selected = self.select(matchers, range);
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

fn sorted<'s>(texts: impl Iterator<Item = &'s str>) -> Vec<String> {
    let mut all: Vec<String> = texts.map(str::to_owned).collect();
    all.sort_unstable();
    all
}
