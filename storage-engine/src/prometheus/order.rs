//! Samples of one series that come from several chunks, put in order.

use crate::model::{FloatHistogram, SampleColumns, SeriesSamples, TimestampMs};
use crate::shard_api::TimeRange;
use std::sync::Arc;

/// Makes samples ascending, one for each time: the one that came first, and a histogram rather than a float.
pub(super) fn order(samples: &mut SeriesSamples) {
    order_floats(&mut samples.floats);
    order_histograms(&mut samples.histograms);
    keep_one_kind(samples);
}

fn order_floats(samples: &mut SampleColumns) {
    if samples.timestamps.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&i| samples.timestamps[i]);
    order.dedup_by_key(|i| samples.timestamps[*i]);
    let pick = |i: &usize| (samples.timestamps[*i], samples.values[*i]);
    let (timestamps, values) = order.iter().map(pick).unzip();
    *samples = SampleColumns { timestamps, values };
}

fn order_histograms(samples: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>) {
    if !samples.is_sorted_by(|a, b| a.0 < b.0) {
        samples.sort_by_key(|(t, _)| *t);
        samples.dedup_by_key(|(t, _)| *t);
    }
}

/// A float at the time of a histogram goes, as it does where Prometheus merges.
fn keep_one_kind(samples: &mut SeriesSamples) {
    if samples.histograms.is_empty() || samples.floats.is_empty() {
        return;
    }
    let histograms = &samples.histograms;
    let taken = |t: TimestampMs| histograms.binary_search_by_key(&t, |(t, _)| *t).is_ok();
    if samples.floats.timestamps.iter().any(|&t| taken(t)) {
        retain_floats(&mut samples.floats, |t| !taken(t));
    }
}

fn retain_floats(samples: &mut SampleColumns, keep: impl Fn(TimestampMs) -> bool) {
    let columns = samples.timestamps.iter().zip(&samples.values);
    let kept = columns.filter(|(t, _)| keep(**t));
    let (timestamps, values) = kept.map(|(&t, &value)| (t, value)).unzip();
    *samples = SampleColumns { timestamps, values };
}

/// Takes out what lies in any of the ranges.
pub(super) fn remove(ranges: &[TimeRange], samples: &mut SeriesSamples) {
    if ranges.is_empty() {
        return;
    }
    let kept = |t: TimestampMs| !ranges.iter().any(|range| range.contains(t));
    retain_floats(&mut samples.floats, kept);
    samples.histograms.retain(|(t, _)| kept(*t));
}

/// Takes out what lies outside `range`.
pub(super) fn clip(range: TimeRange, samples: &mut SeriesSamples) {
    let mut outside = Vec::new();
    if range.min > TimestampMs::MIN {
        outside.push(TimeRange {
            min: TimestampMs::MIN,
            max: range.min - 1,
        });
    }
    if range.max < TimestampMs::MAX {
        outside.push(TimeRange {
            min: range.max + 1,
            max: TimestampMs::MAX,
        });
    }
    remove(&outside, samples);
}
