//! The histogram message, which both versions of remote write share.
//!
//! Promise: integer and float histograms come out in one form, with a schema that the shards take, or with
//! Prometheus's words for what is wrong; packed and single numbers are read alike.
//! Not here: the exemplars of a histogram (they stand beside it in its series).

use super::WriteError;
use crate::limits::HISTOGRAM_PARTS_PER_REQUEST_MAX;
use crate::wire::{
    Reader, WireError, bucket_span, bytes, counts_of_deltas, double, double_list, signed,
    signed_list, unsigned,
};
use std::sync::Arc;
use storage_engine::model::{
    BucketSpan, CounterResetHint, FloatHistogram, HistogramError, TimestampMs,
};

/// A histogram sample on its way, or why it is none.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    pub(crate) timestamp: TimestampMs,
    /// Since when it counts; 0: not known.
    pub(crate) start: TimestampMs,
    pub(crate) value: Result<Arc<FloatHistogram>, HistogramError>,
}

/// What a histogram costs beside its parts, in parts.
const PARTS_OF_EMPTY: usize = 32;

impl Histogram {
    /// What it counts towards [`HISTOGRAM_PARTS_PER_REQUEST_MAX`].
    pub(crate) fn parts(&self) -> usize {
        PARTS_OF_EMPTY + self.value.as_ref().map_or(0, |h| h.part_count())
    }
}

/// Adds to a count of parts within the limit.
pub(crate) fn count_parts(total: &mut usize, more: usize) -> Result<(), WriteError> {
    *total += more;
    if *total > HISTOGRAM_PARTS_PER_REQUEST_MAX {
        return Err(WriteError::HistogramsTooLarge);
    }
    Ok(())
}

/// Buckets of one sign, as they come.
#[derive(Default)]
struct Side {
    spans: Vec<BucketSpan>,
    /// Of integer histograms: differences.
    deltas: Vec<i64>,
    /// Of float histograms.
    counts: Vec<f64>,
}

impl Side {
    fn buckets(&mut self, integer: bool) -> Vec<f64> {
        if !integer {
            return std::mem::take(&mut self.counts);
        }
        counts_of_deltas(&self.deltas)
    }
}

/// Whole or fractional: the last one on the wire decides, as in any `oneof`.
#[derive(Clone, Copy)]
enum Number {
    Integer(u64),
    Float(f64),
}

/// Reads a message of either version.
pub(crate) fn histogram(message: &[u8]) -> Result<Histogram, WireError> {
    let mut out = FloatHistogram::default();
    let (mut timestamp, mut start) = (0, 0);
    let (mut count, mut zero_count) = (Number::Integer(0), Number::Integer(0));
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Histogram")? {
        match tag.field {
            1 => count = Number::Integer(unsigned(&mut reader, tag, "CountInt")?),
            2 => count = Number::Float(double(&mut reader, tag, "CountFloat")?),
            3 => out.sum = double(&mut reader, tag, "Sum")?,
            4 => out.schema = signed(unsigned(&mut reader, tag, "Schema")?) as i32,
            5 => out.zero_threshold = double(&mut reader, tag, "ZeroThreshold")?,
            6 => zero_count = Number::Integer(unsigned(&mut reader, tag, "ZeroCountInt")?),
            7 => zero_count = Number::Float(double(&mut reader, tag, "ZeroCountFloat")?),
            8 => negative
                .spans
                .push(bucket_span(bytes(&mut reader, tag, "NegativeSpans")?)?),
            9 => signed_list(&mut reader, tag, "NegativeDeltas", &mut negative.deltas)?,
            10 => double_list(&mut reader, tag, "NegativeCounts", &mut negative.counts)?,
            11 => positive
                .spans
                .push(bucket_span(bytes(&mut reader, tag, "PositiveSpans")?)?),
            12 => signed_list(&mut reader, tag, "PositiveDeltas", &mut positive.deltas)?,
            13 => double_list(&mut reader, tag, "PositiveCounts", &mut positive.counts)?,
            14 => {
                out.counter_reset_hint = match unsigned(&mut reader, tag, "ResetHint")? {
                    1 => CounterResetHint::CounterReset,
                    2 => CounterResetHint::NotCounterReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                };
            }
            15 => timestamp = unsigned(&mut reader, tag, "Timestamp")? as i64,
            16 => double_list(&mut reader, tag, "CustomValues", &mut out.custom_values)?,
            17 => start = unsigned(&mut reader, tag, "StartTimestamp")? as i64,
            _ => reader.skip(tag)?,
        }
    }
    out.integer = matches!(count, Number::Integer(_));
    // A zero count of the other kind is not looked at, as in Prometheus.
    out.zero_count = match (zero_count, out.integer) {
        (Number::Integer(number), true) => number as f64,
        (Number::Float(number), false) => number,
        _ => 0.0,
    };
    out.count = match count {
        Number::Integer(number) => number as f64,
        Number::Float(number) => number,
    };
    out.positive_buckets = positive.buckets(out.integer);
    out.negative_buckets = negative.buckets(out.integer);
    out.positive_spans = positive.spans;
    out.negative_spans = negative.spans;
    let value = out.limit_resolution().and_then(|()| out.validate());
    Ok(Histogram {
        timestamp,
        start,
        value: value.map(|()| Arc::new(out)),
    })
}
