//! The records of Prometheus's write-ahead log that hold series, samples and deletions.
//!
//! Promise: a record that cannot be taken apart gives nothing of what lies behind the fault, and is told. Kinds without samples (exemplars,
//! metadata, marks) are skipped. Not here: finding records (`log_reader`), putting samples in order (`head`).

use super::bytes::{Cursor, Malformed};
use super::histogram_chunk::check_stored;
use crate::model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Labels, TimestampMs,
};
use crate::shard_api::TimeRange;
use std::sync::Arc;

/// One thing that a record says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Logged {
    /// A series gets its number.
    Series(u64, Labels),
    /// A float sample.
    Float(u64, TimestampMs, f64),
    /// A native histogram sample.
    Histogram(u64, TimestampMs, Arc<FloatHistogram>),
    /// Samples of a series are deleted.
    Deleted(u64, TimeRange),
}

/// Why a record is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a log record of kind {kind}: {cause}")]
    Malformed { kind: u8, cause: Malformed },
    #[error("a log record of kind {kind}: a series without valid labels")]
    Labels { kind: u8 },
    /// A kind that may hold samples, of a newer Prometheus.
    #[error("log records of kind {kind} are not supported")]
    Unknown { kind: u8 },
}

/// Calls `visit` with all that a record says.
pub(super) fn read_record(record: &[u8], visit: &mut dyn FnMut(Logged)) -> Result<(), RecordError> {
    let Some((&kind, rest)) = record.split_first() else {
        return Ok(());
    };
    let mut cursor = Cursor::new(rest);
    let read = match kind {
        1 => return read_series(&mut cursor, kind, visit),
        2 => read_floats(&mut cursor, visit),
        3 => read_deleted(&mut cursor, visit),
        7 | 9 => read_histograms(&mut cursor, true, visit),
        8 | 10 => read_histograms(&mut cursor, false, visit),
        // Exemplars, marks of the out-of-order log, metadata.
        4..=6 => Ok(()),
        _ => return Err(RecordError::Unknown { kind }),
    };
    read.map_err(|cause| RecordError::Malformed { kind, cause })
}

fn read_series(
    cursor: &mut Cursor<'_>,
    kind: u8,
    visit: &mut dyn FnMut(Logged),
) -> Result<(), RecordError> {
    let malformed = |cause| RecordError::Malformed { kind, cause };
    while cursor.left() > 0 {
        let reference = cursor.u64().map_err(malformed)?;
        let mut pairs = Vec::new();
        for _ in 0..cursor.count(2).map_err(malformed)? {
            let name = cursor.text().map_err(malformed)?;
            pairs.push((name, cursor.text().map_err(malformed)?));
        }
        let labels = Labels::from_pairs(pairs).map_err(|_| RecordError::Labels { kind })?;
        visit(Logged::Series(reference, labels));
    }
    Ok(())
}

/// References and times count from those at the start of the record.
struct Base {
    reference: u64,
    time: i64,
}

impl Base {
    fn read(cursor: &mut Cursor<'_>) -> Result<Base, Malformed> {
        Ok(Base {
            reference: cursor.u64()?,
            time: cursor.u64()? as i64,
        })
    }

    fn next(&self, cursor: &mut Cursor<'_>) -> Result<(u64, TimestampMs), Malformed> {
        let reference = self.reference.wrapping_add_signed(cursor.varint()?);
        Ok((reference, self.time.wrapping_add(cursor.varint()?)))
    }
}

fn read_floats(cursor: &mut Cursor<'_>, visit: &mut dyn FnMut(Logged)) -> Result<(), Malformed> {
    if cursor.left() == 0 {
        return Ok(());
    }
    let base = Base::read(cursor)?;
    while cursor.left() > 0 {
        let (reference, t) = base.next(cursor)?;
        visit(Logged::Float(reference, t, cursor.f64()?));
    }
    Ok(())
}

fn read_deleted(cursor: &mut Cursor<'_>, visit: &mut dyn FnMut(Logged)) -> Result<(), Malformed> {
    while cursor.left() > 0 {
        let reference = cursor.u64()?;
        let min = cursor.varint()?;
        let max = cursor.varint()?;
        visit(Logged::Deleted(reference, TimeRange { min, max }));
    }
    Ok(())
}

fn read_histograms(
    cursor: &mut Cursor<'_>,
    integer: bool,
    visit: &mut dyn FnMut(Logged),
) -> Result<(), Malformed> {
    if cursor.left() == 0 {
        return Ok(());
    }
    let base = Base::read(cursor)?;
    while cursor.left() > 0 {
        let (reference, t) = base.next(cursor)?;
        let histogram = read_histogram(cursor, integer)?;
        visit(Logged::Histogram(reference, t, Arc::new(histogram)));
    }
    Ok(())
}

fn read_histogram(cursor: &mut Cursor<'_>, integer: bool) -> Result<FloatHistogram, Malformed> {
    let start = cursor.malformed();
    let counter_reset_hint = match cursor.u8()? {
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    let schema = i32::try_from(cursor.varint()?).map_err(|_| start)?;
    let zero_threshold = cursor.f64()?;
    let (zero_count, count) = match integer {
        true => (cursor.uvarint()? as f64, cursor.uvarint()? as f64),
        false => (cursor.f64()?, cursor.f64()?),
    };
    let sum = cursor.f64()?;
    let positive_spans = read_spans(cursor)?;
    let negative_spans = read_spans(cursor)?;
    let positive_buckets = read_buckets(cursor, integer)?;
    let negative_buckets = read_buckets(cursor, integer)?;
    let mut custom_values = Vec::new();
    if schema == CUSTOM_BUCKETS_SCHEMA {
        for _ in 0..cursor.count(8)? {
            custom_values.push(cursor.f64()?);
        }
    }
    let mut histogram = FloatHistogram {
        counter_reset_hint,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values,
        integer,
    };
    if histogram.is_stale() {
        return Ok(FloatHistogram::stale(integer));
    }
    histogram.limit_resolution().map_err(|_| start)?;
    check_stored(&histogram).map_err(|_| start)?;
    Ok(histogram)
}

fn read_spans(cursor: &mut Cursor<'_>) -> Result<Vec<BucketSpan>, Malformed> {
    let mut spans = Vec::new();
    for _ in 0..cursor.count(2)? {
        let start = cursor.malformed();
        let offset = i32::try_from(cursor.varint()?).map_err(|_| start)?;
        let length = u32::try_from(cursor.uvarint()?).map_err(|_| start)?;
        spans.push(BucketSpan { offset, length });
    }
    Ok(spans)
}

fn read_buckets(cursor: &mut Cursor<'_>, integer: bool) -> Result<Vec<f64>, Malformed> {
    let mut buckets = Vec::new();
    let mut count = 0_i64;
    for _ in 0..cursor.count(if integer { 1 } else { 8 })? {
        if integer {
            count = count.wrapping_add(cursor.varint()?);
            buckets.push(count as f64);
        } else {
            buckets.push(cursor.f64()?);
        }
    }
    Ok(buckets)
}
