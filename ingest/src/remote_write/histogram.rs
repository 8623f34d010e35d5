//! The histogram message, which both versions of remote write share.
//!
//! Promise: integer and float histograms come out in one form, with a schema that the shards take, or with
//! Prometheus's words for what is wrong; packed and single numbers are read alike.
//! Not here: the exemplars of a histogram, its start timestamp (read over).

use super::WriteError;
use super::wire::{BYTES, FIXED64, Reader, Tag, VARINT, WireError};
use crate::limits::HISTOGRAM_PARTS_PER_REQUEST_MAX;
use std::sync::Arc;
use storage_engine::model::{
    BucketSpan, CounterResetHint, FloatHistogram, HistogramError, TimestampMs,
};

/// A histogram sample on its way, or why it is none.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    pub(crate) timestamp: TimestampMs,
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
        let mut count = 0_i64;
        let deltas = self.deltas.iter();
        deltas
            .map(|delta| {
                count = count.wrapping_add(*delta);
                count as f64
            })
            .collect()
    }
}

/// Whole or fractional: the last one on the wire decides, as in any `oneof`.
#[derive(Clone, Copy)]
enum Number {
    Integer(u64),
    Float(f64),
}

/// Reads a message of either version.
pub(crate) fn histogram(bytes: &[u8]) -> Result<Histogram, WireError> {
    let mut out = FloatHistogram::default();
    let mut timestamp = 0;
    let (mut count, mut zero_count) = (Number::Integer(0), Number::Integer(0));
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("Histogram")? {
        match tag.field {
            1 => count = Number::Integer(unsigned(&mut reader, tag, "CountInt")?),
            2 => count = Number::Float(double(&mut reader, tag, "CountFloat")?),
            3 => out.sum = double(&mut reader, tag, "Sum")?,
            4 => out.schema = signed(unsigned(&mut reader, tag, "Schema")?) as i32,
            5 => out.zero_threshold = double(&mut reader, tag, "ZeroThreshold")?,
            6 => zero_count = Number::Integer(unsigned(&mut reader, tag, "ZeroCountInt")?),
            7 => zero_count = Number::Float(double(&mut reader, tag, "ZeroCountFloat")?),
            8 => span(&mut reader, tag, "NegativeSpans", &mut negative.spans)?,
            9 => deltas(&mut reader, tag, "NegativeDeltas", &mut negative.deltas)?,
            10 => doubles(&mut reader, tag, "NegativeCounts", &mut negative.counts)?,
            11 => span(&mut reader, tag, "PositiveSpans", &mut positive.spans)?,
            12 => deltas(&mut reader, tag, "PositiveDeltas", &mut positive.deltas)?,
            13 => doubles(&mut reader, tag, "PositiveCounts", &mut positive.counts)?,
            14 => {
                out.counter_reset_hint = match unsigned(&mut reader, tag, "ResetHint")? {
                    1 => CounterResetHint::CounterReset,
                    2 => CounterResetHint::NotCounterReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                };
            }
            15 => timestamp = unsigned(&mut reader, tag, "Timestamp")? as i64,
            16 => doubles(&mut reader, tag, "CustomValues", &mut out.custom_values)?,
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
        value: value.map(|()| Arc::new(out)),
    })
}

fn unsigned(reader: &mut Reader<'_>, tag: Tag, field: &'static str) -> Result<u64, WireError> {
    tag.expect(VARINT, field)?;
    reader.varint()
}

fn double(reader: &mut Reader<'_>, tag: Tag, field: &'static str) -> Result<f64, WireError> {
    tag.expect(FIXED64, field)?;
    Ok(f64::from_bits(reader.fixed64()?))
}

/// Zigzag.
fn signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn span(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    spans: &mut Vec<BucketSpan>,
) -> Result<(), WireError> {
    tag.expect(BYTES, field)?;
    let mut message = Reader::new(reader.bytes()?);
    let mut span = BucketSpan::default();
    while let Some(tag) = message.tag("BucketSpan")? {
        match tag.field {
            1 => span.offset = signed(unsigned(&mut message, tag, "Offset")?) as i32,
            2 => span.length = unsigned(&mut message, tag, "Length")? as u32,
            _ => message.skip(tag)?,
        }
    }
    spans.push(span);
    Ok(())
}

fn deltas(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    out: &mut Vec<i64>,
) -> Result<(), WireError> {
    if tag.wire_type == BYTES {
        let mut packed = Reader::new(reader.bytes()?);
        while !packed.at_end() {
            out.push(signed(packed.varint()?));
        }
        return Ok(());
    }
    out.push(signed(unsigned(reader, tag, field)?));
    Ok(())
}

fn doubles(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    out: &mut Vec<f64>,
) -> Result<(), WireError> {
    if tag.wire_type == BYTES {
        let mut packed = Reader::new(reader.bytes()?);
        while !packed.at_end() {
            out.push(f64::from_bits(packed.fixed64()?));
        }
        return Ok(());
    }
    out.push(double(reader, tag, field)?);
    Ok(())
}
