//! Payload of the log's histogram records: how native histograms are written and read.
//!
//! Promise: every entry holds its histogram whole (only reference and time are counted from the entry before), bit for
//! bit; any bytes decode to histograms or an error. Format page: `docs/format/wal.md`.
//! Not here: record headers and checksums ([`super::format`]), what makes a histogram valid ([`crate::model`]).

use super::format::{
    PayloadError, RECORD_HEADER_BYTES, RecordKind, begin_record, finish_record, number_bits,
    put_varint, shortest_form, take_step, take_varint, unzigzag, zigzag,
};
use crate::limits::{HISTOGRAM_PARTS_MAX, WAL_RECORD_BYTES_MAX};
use crate::model::{BucketSpan, CounterResetHint, FloatHistogram, SeriesRef, TimestampMs};
use std::sync::Arc;

/// One native histogram sample of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedHistogram {
    /// Whose sample it is.
    pub series: SeriesRef,
    /// When.
    pub timestamp: TimestampMs,
    /// What.
    pub histogram: Arc<FloatHistogram>,
}

/// Flag bits 0 and 1: the counter reset hint.
const HINT_MASK: u8 = 0x03;
/// Flag: it came as an integer histogram.
const INTEGER: u8 = 0x04;
/// Bytes of an entry without spans, buckets and bounds, at most: flags, nine varints, four numbers.
const ENTRY_BYTES_MAX: usize = 1 + 9 * 10 + 4 * NUMBER_BYTES_MAX;
/// Form and eight value bytes.
const NUMBER_BYTES_MAX: usize = 9;
/// A span is two varints of 32-bit numbers, more than a bucket or a bound.
const PART_BYTES_MAX: usize = 10;

const _: () =
    assert!(ENTRY_BYTES_MAX + HISTOGRAM_PARTS_MAX * PART_BYTES_MAX <= WAL_RECORD_BYTES_MAX);

/// Appends histogram samples as one record (more, should they exceed the payload limit; none for an empty slice).
///
/// `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it stamps the record.
pub fn encode_histograms_record(out: &mut Vec<u8>, lsn: u64, samples: &[LoggedHistogram]) {
    encode_histograms(out, lsn, RecordKind::Histograms, samples);
}

/// As [`encode_histograms_record`], for samples that came out of order.
pub fn encode_out_of_order_histograms_record(
    out: &mut Vec<u8>,
    lsn: u64,
    samples: &[LoggedHistogram],
) {
    encode_histograms(out, lsn, RecordKind::OutOfOrderHistograms, samples);
}

fn encode_histograms(out: &mut Vec<u8>, lsn: u64, kind: RecordKind, samples: &[LoggedHistogram]) {
    let mut begun = None;
    let mut previous = (u32::MAX, 0_u32, 0_i64);
    for sample in samples {
        let parts = sample.histogram.part_count();
        assert!(
            parts <= HISTOGRAM_PARTS_MAX,
            "BUG: a histogram of {parts} parts reached the log"
        );
        let entry_bytes_max = ENTRY_BYTES_MAX + parts * PART_BYTES_MAX;
        if let Some(at) = begun
            && out.len() - at - RECORD_HEADER_BYTES + entry_bytes_max > WAL_RECORD_BYTES_MAX
        {
            finish_record(out, at, kind, lsn);
            begun = None;
        }
        if begun.is_none() {
            begun = Some(begin_record(out));
            previous = (u32::MAX, 0, 0);
        }
        let SeriesRef { index, generation } = sample.series;
        let index_step = index.wrapping_sub(previous.0) as i32;
        let generation_step = generation.wrapping_sub(previous.1) as i32;
        put_varint(out, zigzag(i64::from(index_step)));
        put_varint(out, zigzag(i64::from(generation_step)));
        put_varint(out, zigzag(sample.timestamp.wrapping_sub(previous.2)));
        previous = (index, generation, sample.timestamp);
        put_histogram(out, &sample.histogram);
    }
    if let Some(at) = begun {
        finish_record(out, at, kind, lsn);
    }
}

fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    let hint = match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    };
    out.push(hint | if histogram.integer { INTEGER } else { 0 });
    put_varint(out, zigzag(i64::from(histogram.schema)));
    for number in [
        histogram.zero_threshold,
        histogram.zero_count,
        histogram.count,
        histogram.sum,
    ] {
        put_number(out, number);
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, zigzag(i64::from(span.offset)));
            put_varint(out, u64::from(span.length));
        }
    }
    for numbers in [
        &histogram.positive_buckets,
        &histogram.negative_buckets,
        &histogram.custom_values,
    ] {
        put_varint(out, numbers.len() as u64);
        for &number in numbers {
            put_number(out, number);
        }
    }
}

/// A number as the samples have it, without their repetition.
fn put_number(out: &mut Vec<u8>, number: f64) {
    let (form, word) = match number.to_bits() {
        0 => (0, 0),
        _ => shortest_form(number),
    };
    let length = usize::from(form & 0x0f);
    out.push(form);
    out.extend_from_slice(word.to_le_bytes().get(..length).unwrap_or_default());
}

/// Decodes a [`RecordKind::Histograms`] payload into `out`, whose old content is dropped.
pub fn decode_histograms(
    payload: &[u8],
    out: &mut Vec<LoggedHistogram>,
) -> Result<(), PayloadError> {
    out.clear();
    let mut at = 0;
    let mut series = SeriesRef {
        index: u32::MAX,
        generation: 0,
    };
    let mut timestamp: TimestampMs = 0;
    while at < payload.len() {
        series.index = series.index.wrapping_add(take_step(payload, &mut at)?);
        series.generation = series.generation.wrapping_add(take_step(payload, &mut at)?);
        timestamp = timestamp.wrapping_add(unzigzag(take_varint(payload, &mut at)?));
        let histogram = Arc::new(take_histogram(payload, &mut at)?);
        out.push(LoggedHistogram {
            series,
            timestamp,
            histogram,
        });
    }
    Ok(())
}

fn take_histogram(payload: &[u8], at: &mut usize) -> Result<FloatHistogram, PayloadError> {
    let start = *at;
    let &flags = payload
        .get(start)
        .ok_or(PayloadError::Truncated { at: start })?;
    *at += 1;
    let counter_reset_hint = match flags & HINT_MASK {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        _ => CounterResetHint::Gauge,
    };
    if flags & !(HINT_MASK | INTEGER) != 0 {
        return Err(PayloadError::Invalid { at: start });
    }
    Ok(FloatHistogram {
        counter_reset_hint,
        integer: flags & INTEGER != 0,
        schema: take_step(payload, at)? as i32,
        zero_threshold: take_number(payload, at)?,
        zero_count: take_number(payload, at)?,
        count: take_number(payload, at)?,
        sum: take_number(payload, at)?,
        positive_spans: take_spans(payload, at)?,
        negative_spans: take_spans(payload, at)?,
        positive_buckets: take_numbers(payload, at)?,
        negative_buckets: take_numbers(payload, at)?,
        custom_values: take_numbers(payload, at)?,
    })
}

/// A count of things that take `bytes_min` bytes each at least: more than the payload can hold are not believed.
fn take_count(payload: &[u8], at: &mut usize, bytes_min: usize) -> Result<usize, PayloadError> {
    let start = *at;
    let count = take_varint(payload, at)?;
    let possible = (payload.len() - *at) / bytes_min;
    match usize::try_from(count) {
        Ok(count) if count <= possible => Ok(count),
        _ => Err(PayloadError::Truncated { at: start }),
    }
}

fn take_spans(payload: &[u8], at: &mut usize) -> Result<Vec<BucketSpan>, PayloadError> {
    let count = take_count(payload, at, 2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = take_step(payload, at)? as i32;
        let start = *at;
        let length = u32::try_from(take_varint(payload, at)?)
            .map_err(|_| PayloadError::Invalid { at: start })?;
        spans.push(BucketSpan { offset, length });
    }
    Ok(spans)
}

fn take_numbers(payload: &[u8], at: &mut usize) -> Result<Vec<f64>, PayloadError> {
    let count = take_count(payload, at, 1)?;
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        numbers.push(take_number(payload, at)?);
    }
    Ok(numbers)
}

fn take_number(payload: &[u8], at: &mut usize) -> Result<f64, PayloadError> {
    let start = *at;
    let &form = payload
        .get(start)
        .ok_or(PayloadError::Truncated { at: start })?;
    let length = usize::from(form & 0x0f);
    let bytes = payload
        .get(start + 1..start + 1 + length)
        .ok_or(PayloadError::Truncated { at: start })?;
    let mut word = [0_u8; 8];
    let Some(place) = word.get_mut(..length) else {
        return Err(PayloadError::Invalid { at: start });
    };
    place.copy_from_slice(bytes);
    *at = start + 1 + length;
    let bits = number_bits(form, u64::from_le_bytes(word));
    bits.map(f64::from_bits)
        .ok_or(PayloadError::Invalid { at: start })
}

#[cfg(test)]
mod tests;
