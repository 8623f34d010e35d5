//! Native histogram samples of the head, beside the float chunks: a list per series that has any.
//!
//! Promise: samples come back as they went in, in time order. Order between floats and histograms of one series is the
//! hot line's ([`super::hot`]). Not here: compact encoding (blocks), validation (who sends them).

use crate::model::{FloatHistogram, TimestampMs};
use crate::shard_api::TimeRange;
use hashbrown::HashMap;
use std::sync::Arc;

/// One sample.
type Sample = (TimestampMs, Arc<FloatHistogram>);

/// Bytes that an `Arc` puts before its value: two counters.
const ARC_BYTES: usize = 16;

/// The histograms of a shard, by slot.
#[derive(Default)]
pub(super) struct Histograms {
    series: HashMap<u32, Vec<Sample>>,
    samples: u64,
    sample_bytes: u64,
}

impl Histograms {
    /// Does the series have any?
    pub(super) fn has(&self, index: u32) -> bool {
        self.series.contains_key(&index)
    }

    /// The newest one of a series.
    pub(super) fn newest(&self, index: u32) -> Option<&Sample> {
        self.series.get(&index)?.last()
    }

    /// Adds a sample that is newer than all of its series.
    pub(super) fn push(&mut self, index: u32, t: TimestampMs, histogram: Arc<FloatHistogram>) {
        let list = self.series.entry(index).or_default();
        debug_assert!(list.last().is_none_or(|(last, _)| *last < t));
        let before = list.capacity();
        let bytes = size_of::<FloatHistogram>() + ARC_BYTES + histogram.heap_bytes();
        list.push((t, histogram));
        let grown = (list.capacity() - before) * size_of::<Sample>();
        self.samples += 1;
        self.sample_bytes += (bytes + grown) as u64;
    }

    /// Appends the samples of a series that lie in `range` to `out`, oldest first.
    pub(super) fn read(&self, index: u32, range: TimeRange, out: &mut Vec<Sample>) {
        let Some(list) = self.series.get(&index) else {
            return;
        };
        let start = list.partition_point(|(t, _)| *t < range.min);
        let rest = list[start..].iter().take_while(|(t, _)| *t <= range.max);
        out.extend(rest.cloned());
    }

    /// Samples of all series.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> u64 {
        let entry = size_of::<(u32, Vec<Sample>)>() + 1;
        self.sample_bytes + (self.series.capacity() * entry) as u64
    }
}
