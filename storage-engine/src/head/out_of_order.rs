//! Samples that came late: a sorted buffer per series beside the chunks, until they are sealed into blocks of their own.
//!
//! Promise: the first sample at a time wins, floats and histograms together; what is read is ascending and bit for bit
//! what came. Each sample carries the number of its arrival, so that a sealing forgets exactly what it has seen.
//! Not here: which samples may come late (the shard), the order against the chunks (whoever reads both).

use super::{Head, Verdict};
use crate::model::{CounterResetHint, FloatHistogram, SeriesRef, SeriesSamples, TimestampMs};
use crate::shard_api::{RejectReason, TimeRange};
use hashbrown::HashMap;
use std::sync::Arc;

/// Bytes that an `Arc` puts before its value: two counters.
const ARC_BYTES: usize = 16;

/// One sample and the number of its arrival.
#[derive(Debug, Clone)]
struct Late<V> {
    t: TimestampMs,
    arrival: u64,
    value: V,
}

/// The late samples of one series.
#[derive(Debug, Default)]
struct Buffer {
    floats: Vec<Late<u64>>,
    histograms: Vec<Late<Arc<FloatHistogram>>>,
}

impl Buffer {
    fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    fn bytes(&self) -> usize {
        self.floats.capacity() * size_of::<Late<u64>>()
            + self.histograms.capacity() * size_of::<Late<Arc<FloatHistogram>>>()
            + self.histograms.iter().map(histogram_bytes).sum::<usize>()
    }

    fn time_range(&self) -> Option<TimeRange> {
        let firsts = [
            self.floats.first().map(|s| s.t),
            self.histograms.first().map(|s| s.t),
        ];
        let lasts = [
            self.floats.last().map(|s| s.t),
            self.histograms.last().map(|s| s.t),
        ];
        Some(TimeRange {
            min: firsts.into_iter().flatten().min()?,
            max: lasts.into_iter().flatten().max()?,
        })
    }
}

fn histogram_bytes(late: &Late<Arc<FloatHistogram>>) -> usize {
    size_of::<FloatHistogram>() + ARC_BYTES + late.value.heap_bytes()
}

/// Where a sample at `t` stands in an ascending list, or would.
fn place<V>(list: &[Late<V>], t: TimestampMs) -> Result<usize, usize> {
    match list.last() {
        // Late samples mostly come in their own order too.
        Some(last) if last.t < t => Err(list.len()),
        None => Err(0),
        Some(_) => list.binary_search_by_key(&t, |s| s.t),
    }
}

fn inside<V>(list: &[Late<V>], range: TimeRange) -> &[Late<V>] {
    let start = list.partition_point(|s| s.t < range.min);
    let end = list.partition_point(|s| s.t <= range.max);
    list.get(start..end).unwrap_or_default()
}

/// The late samples of a shard, by slot.
#[derive(Default)]
pub(crate) struct OutOfOrder {
    series: HashMap<u32, Buffer>,
    arrivals: u64,
    samples: u64,
    bytes: u64,
}

impl OutOfOrder {
    /// Has the series any?
    #[inline]
    pub(crate) fn has(&self, index: u32) -> bool {
        !self.series.is_empty() && self.series.contains_key(&index)
    }

    /// Has the series native histograms?
    pub(crate) fn has_histograms(&self, index: u32) -> bool {
        !self.series.is_empty()
            && self
                .series
                .get(&index)
                .is_some_and(|b| !b.histograms.is_empty())
    }

    /// Oldest and newest late sample of a series.
    pub(crate) fn series_range(&self, index: u32) -> Option<TimeRange> {
        self.series.get(&index)?.time_range()
    }

    /// Adds a float; `false` if the series has a late sample at this time already.
    pub(crate) fn insert(&mut self, index: u32, t: TimestampMs, bits: u64) -> bool {
        self.add(index, t, |buffer, late| {
            let (Err(at), Err(_)) = (place(&buffer.floats, t), place(&buffer.histograms, t)) else {
                return false;
            };
            buffer.floats.insert(at, late.with(bits));
            true
        })
    }

    /// Adds a native histogram; `false` as for [`Self::insert`].
    pub(crate) fn insert_histogram(
        &mut self,
        index: u32,
        t: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) -> bool {
        self.add(index, t, |buffer, late| {
            let (Err(_), Err(at)) = (place(&buffer.floats, t), place(&buffer.histograms, t)) else {
                return false;
            };
            let mut histogram = Arc::clone(histogram);
            // Who stands before it is known only when all is read together.
            if !matches!(
                histogram.counter_reset_hint,
                CounterResetHint::Gauge | CounterResetHint::Unknown
            ) {
                Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
            }
            buffer.histograms.insert(at, late.with(histogram));
            true
        })
    }

    fn add(
        &mut self,
        index: u32,
        t: TimestampMs,
        insert: impl FnOnce(&mut Buffer, Late<()>) -> bool,
    ) -> bool {
        let buffer = self.series.entry(index).or_default();
        // Buffers are small or grow at their end, so that looking at their capacity is cheaper than keeping count.
        let before = buffer.floats.capacity() * size_of::<Late<u64>>()
            + buffer.histograms.capacity() * size_of::<Late<Arc<FloatHistogram>>>();
        let late = Late {
            t,
            arrival: self.arrivals,
            value: (),
        };
        if !insert(buffer, late) {
            return false;
        }
        let after = buffer.floats.capacity() * size_of::<Late<u64>>()
            + buffer.histograms.capacity() * size_of::<Late<Arc<FloatHistogram>>>();
        let value = match place(&buffer.histograms, t) {
            Ok(at) => buffer.histograms.get(at).map_or(0, histogram_bytes),
            Err(_) => 0,
        };
        self.bytes += (after - before + value) as u64;
        self.arrivals += 1;
        self.samples += 1;
        true
    }

    /// Appends the late samples of a series that lie in `range` to `out`, each kind ascending.
    pub(crate) fn read(&self, index: u32, range: TimeRange, out: &mut SeriesSamples) {
        let Some(buffer) = self.series.get(&index) else {
            return;
        };
        for late in inside(&buffer.floats, range) {
            out.floats.push(late.t, f64::from_bits(late.value));
        }
        for late in inside(&buffer.histograms, range) {
            out.histograms.push((late.t, Arc::clone(&late.value)));
        }
    }

    /// Series that have any, ascending.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = self.series.keys().copied().collect();
        slots.sort_unstable();
        slots
    }

    /// The number that the next arrival gets: all that is here has a smaller one.
    pub(crate) fn mark(&self) -> u64 {
        self.arrivals
    }

    /// Forgets the samples of a series that arrived before `mark`.
    pub(crate) fn forget(&mut self, index: u32, mark: u64) {
        self.retain(index, |_, arrival| arrival >= mark);
    }

    /// Takes out the samples of a series that lie in `range`.
    pub(crate) fn delete(&mut self, index: u32, range: TimeRange) {
        self.retain(index, |t, _| !range.contains(t));
    }

    fn retain(&mut self, index: u32, keep: impl Fn(TimestampMs, u64) -> bool) {
        let Some(buffer) = self.series.get_mut(&index) else {
            return;
        };
        let (len, bytes) = (buffer.len(), buffer.bytes());
        buffer.floats.retain(|late| keep(late.t, late.arrival));
        buffer.histograms.retain(|late| keep(late.t, late.arrival));
        buffer.floats.shrink_to_fit();
        buffer.histograms.shrink_to_fit();
        self.samples -= (len - buffer.len()) as u64;
        self.bytes -= (bytes - buffer.bytes()) as u64;
        if buffer.len() == 0 {
            self.series.remove(&index);
        }
        if self.series.is_empty() {
            self.series.shrink_to_fit();
        }
    }

    /// Late samples of all series.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.series.allocation_size() as u64
    }
}

impl Head {
    /// Takes a float of a series that is here, whatever its time.
    pub(crate) fn append_late(&mut self, series: SeriesRef, t: TimestampMs, bits: u64) -> Verdict {
        if !self.is_known(series) {
            return Verdict::Rejected(RejectReason::UnknownSeries);
        }
        match self.out_of_order.insert(series.index, t, bits) {
            true => Verdict::StoredLate,
            false => Verdict::Duplicate,
        }
    }

    /// As [`Self::append_late`], for a native histogram.
    pub(crate) fn append_late_histogram(
        &mut self,
        series: SeriesRef,
        t: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) -> Verdict {
        if !self.is_known(series) {
            return Verdict::Rejected(RejectReason::UnknownSeries);
        }
        let late = &mut self.out_of_order;
        match late.insert_histogram(series.index, t, histogram) {
            true => Verdict::StoredLate,
            false => Verdict::Duplicate,
        }
    }

    /// The staleness marker of a series whose newest sample is a native histogram, of the kind that the series has.
    pub(crate) fn stale_histogram(&self, series: SeriesRef) -> Option<Arc<FloatHistogram>> {
        let hot = self.hot.get(series.index as usize)?;
        if !self.is_known(series) || !hot.newest_is_histogram() {
            return None;
        }
        let newest = self.histograms.newest(series.index);
        let integer = newest.is_some_and(|(_, newest)| newest.integer);
        Some(Arc::new(FloatHistogram::stale(integer)))
    }
}

impl Late<()> {
    fn with<V>(self, value: V) -> Late<V> {
        Late {
            t: self.t,
            arrival: self.arrival,
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: TimeRange = TimeRange {
        min: i64::MIN,
        max: i64::MAX,
    };

    fn times(late: &OutOfOrder, index: u32, range: TimeRange) -> (Vec<i64>, Vec<i64>) {
        let mut out = SeriesSamples::default();
        late.read(index, range, &mut out);
        let histograms = out.histograms.iter().map(|(t, _)| *t).collect();
        (out.floats.timestamps, histograms)
    }

    #[test]
    fn the_first_sample_at_a_time_wins_whatever_its_kind() {
        let mut late = OutOfOrder::default();
        let histogram = Arc::new(FloatHistogram {
            count: 3.0,
            counter_reset_hint: CounterResetHint::NotCounterReset,
            ..FloatHistogram::default()
        });
        assert!(late.insert(1, 50, 1));
        assert!(late.insert(1, 10, 2));
        assert!(late.insert_histogram(1, 30, &histogram));
        assert!(!late.insert(1, 10, 7));
        assert!(!late.insert(1, 30, 7));
        assert!(!late.insert_histogram(1, 50, &histogram));
        assert!(late.insert(2, 30, 9));
        assert_eq!(times(&late, 1, ALL), (vec![10, 50], vec![30]));
        assert_eq!(
            times(&late, 1, TimeRange { min: 11, max: 50 }),
            (vec![50], vec![30])
        );
        let mut out = SeriesSamples::default();
        late.read(1, ALL, &mut out);
        assert_eq!(out.floats.values[0].to_bits(), 2);
        assert_eq!(
            out.histograms[0].1.counter_reset_hint,
            CounterResetHint::Unknown
        );
        assert_eq!(late.samples(), 4);
        assert_eq!(late.series_range(1), Some(TimeRange { min: 10, max: 50 }));
        assert_eq!(late.slots(), [1, 2]);
    }

    #[test]
    fn what_came_after_the_mark_is_kept() {
        let mut late = OutOfOrder::default();
        for t in [5, 3, 1] {
            late.insert(4, t, t as u64);
            late.insert(5, t, t as u64);
        }
        let mark = late.mark();
        late.insert(4, 2, 2);
        for slot in late.slots() {
            late.forget(slot, mark);
        }
        assert_eq!(times(&late, 4, ALL), (vec![2], vec![]));
        assert!(!late.has(5));
        assert_eq!(late.samples(), 1);
        late.forget(4, late.mark());
        assert_eq!(late.samples(), 0);
        assert_eq!(late.bytes(), 0);
    }
}
