//! Native histogram samples of the head, beside the float chunks: a list per series that has any.
//!
//! Promise: samples come back as they went in, in time order. Order between floats and histograms of one series is the
//! hot line's ([`super::hot`]). The counter reset hint is set against the sample before, with the rules by which
//! Prometheus begins a chunk (`tsdb/chunkenc`), so that queries need not compare again. Not here: compact encoding (blocks), validation (who sends them).

use crate::model::{
    BucketSpan, CounterResetHint, FloatHistogram, TimestampMs, indexed_buckets as buckets,
};
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

    /// Adds a sample that is newer than all of its series. `continues`: no float lies between it and the one before.
    pub(super) fn push(&mut self, index: u32, continues: bool, sample: Sample) {
        let (t, mut histogram) = sample;
        let list = self.series.entry(index).or_default();
        debug_assert!(list.last().is_none_or(|(last, _)| *last < t));
        let previous = list.last().filter(|_| continues);
        let hint = reset_hint(previous.map(|(_, previous)| &**previous), &histogram);
        if histogram.counter_reset_hint != hint {
            Arc::make_mut(&mut histogram).counter_reset_hint = hint;
        }
        let before = list.capacity();
        let bytes = sample_bytes(&histogram);
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

    /// Puts back a sample as it was. `false`, with nothing changed, if it is not newer than what the series has.
    pub(super) fn restore(&mut self, index: u32, sample: Sample) -> bool {
        let list = self.series.entry(index).or_default();
        if list.last().is_some_and(|(last, _)| *last >= sample.0) {
            return false;
        }
        let before = list.capacity();
        let bytes = sample_bytes(&sample.1);
        list.push(sample);
        let grown = (list.capacity() - before) * size_of::<Sample>();
        self.samples += 1;
        self.sample_bytes += (bytes + grown) as u64;
        true
    }

    /// Slots of the series that have any, ascending.
    pub(super) fn slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = self.series.keys().copied().collect();
        slots.sort_unstable();
        slots
    }

    /// All samples of a series, oldest first.
    pub(super) fn all(&self, index: u32) -> &[Sample] {
        self.series.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Forgets the samples of a series before `before`; returns how many. [`TimestampMs::MAX`] forgets all.
    pub(super) fn truncate(&mut self, index: u32, before: TimestampMs) -> u64 {
        let Some(list) = self.series.get_mut(&index) else {
            return 0;
        };
        let end = match before {
            TimestampMs::MAX => list.len(),
            before => list.partition_point(|(t, _)| *t < before),
        };
        let capacity = list.capacity();
        let gone: usize = list.drain(..end).map(|(_, h)| sample_bytes(&h)).sum();
        list.shrink_to(list.len() * 2);
        let shrunk = (capacity - list.capacity()) * size_of::<Sample>();
        if list.is_empty() {
            self.series.remove(&index);
        }
        self.samples -= end as u64;
        self.sample_bytes -= (gone + shrunk) as u64;
        end as u64
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

fn sample_bytes(histogram: &FloatHistogram) -> usize {
    size_of::<FloatHistogram>() + ARC_BYTES + histogram.heap_bytes()
}

/// What is known of a reset between `before` and `histogram`.
pub(crate) fn reset_hint(
    before: Option<&FloatHistogram>,
    histogram: &FloatHistogram,
) -> CounterResetHint {
    let explicit = histogram.counter_reset_hint;
    if matches!(
        explicit,
        CounterResetHint::Gauge | CounterResetHint::CounterReset
    ) {
        return explicit;
    }
    let Some(before) = before else {
        return CounterResetHint::Unknown;
    };
    let comparable = before.integer == histogram.integer
        && before.counter_reset_hint != CounterResetHint::Gauge
        && !before.is_stale()
        && !histogram.is_stale();
    if !comparable {
        return CounterResetHint::Unknown;
    }
    if histogram.count < before.count {
        return CounterResetHint::CounterReset;
    }
    if histogram.schema != before.schema || histogram.zero_threshold != before.zero_threshold {
        return CounterResetHint::Unknown;
    }
    let positive = shrinks(
        (&before.positive_spans, &before.positive_buckets),
        (&histogram.positive_spans, &histogram.positive_buckets),
    );
    let negative = shrinks(
        (&before.negative_spans, &before.negative_buckets),
        (&histogram.negative_spans, &histogram.negative_buckets),
    );
    if positive
        || negative
        || histogram.zero_count < before.zero_count
        || histogram.custom_values != before.custom_values
    {
        return CounterResetHint::CounterReset;
    }
    CounterResetHint::NotCounterReset
}

/// Has a bucket fewer observations in `after` than in `before`? One that is not there has none.
fn shrinks(before: (&[BucketSpan], &[f64]), after: (&[BucketSpan], &[f64])) -> bool {
    let mut after = buckets(after.0, after.1).peekable();
    buckets(before.0, before.1).any(|(index, count)| {
        while after.next_if(|(i, _)| *i < index).is_some() {}
        let now = after.next_if(|(i, _)| *i == index).map_or(0.0, |(_, c)| c);
        now < count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(all: &[(i32, u32)]) -> Vec<BucketSpan> {
        all.iter()
            .map(|&(offset, length)| BucketSpan { offset, length })
            .collect()
    }

    fn histogram(count: f64, layout: &[(i32, u32)], buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema: 1,
            count,
            positive_spans: spans(layout),
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn hints_follow_the_sample_before() {
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let first = histogram(6.0, &[(0, 2), (2, 1)], &[1.0, 2.0, 3.0]);
        let check = |before: &FloatHistogram, after: &FloatHistogram, hint| {
            assert_eq!(
                reset_hint(Some(before), after),
                hint,
                "{before:?} {after:?}"
            );
        };
        assert_eq!(reset_hint(None, &first), Unknown);
        check(&first, &first, NotCounterReset);
        // The same buckets in other spans, and new ones between and before them.
        let wider = histogram(9.0, &[(-1, 4), (1, 1)], &[1.0, 1.0, 2.0, 2.0, 3.0]);
        check(&first, &wider, NotCounterReset);
        check(&wider, &first, CounterReset);
        check(
            &first,
            &histogram(6.0, &[(0, 2), (2, 1)], &[1.0, 3.0, 2.0]),
            CounterReset,
        );
        check(
            &first,
            &histogram(6.0, &[(0, 2)], &[3.0, 3.0]),
            CounterReset,
        );
        // An empty bucket may go.
        let empty = histogram(6.0, &[(0, 2), (2, 2)], &[1.0, 2.0, 3.0, 0.0]);
        check(&empty, &first, NotCounterReset);
        let with = |change: &dyn Fn(&mut FloatHistogram)| {
            let mut changed = first.clone();
            changed.count += 1.0;
            change(&mut changed);
            changed
        };
        check(&first, &with(&|h| h.schema = 0), Unknown);
        check(&first, &with(&|h| h.zero_threshold = 1.0), Unknown);
        check(&first, &with(&|h| h.integer = true), Unknown);
        check(&first, &with(&|h| h.counter_reset_hint = Gauge), Gauge);
        check(
            &first,
            &with(&|h| h.counter_reset_hint = CounterReset),
            CounterReset,
        );
        let gauge = with(&|h| h.counter_reset_hint = Gauge);
        check(&gauge, &first, Unknown);
        check(&with(&|h| h.zero_count = 1.0), &with(&|_| ()), CounterReset);
        check(&first, &FloatHistogram::stale(false), Unknown);
        check(&FloatHistogram::stale(false), &first, Unknown);
    }
}
