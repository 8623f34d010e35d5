//! `prometheus.WriteRequest`, the message of remote write 1.0.
//!
//! Promise: one walk over the body. A series whose labels come first and whose one sample comes last, as every known
//! sender writes it, is cut in two without reading its labels; any other layout is walked field by field. A malformed
//! message refuses the whole request, a bad label set only its series.
//! Not here: what is appended when (`session`).

use super::WriteError;
use super::batch::{FamilyMetadata, LabelsFault, Prepared, SeriesFault, Sorter};
use super::exemplar::exemplar_v1;
use super::histogram::histogram;
use super::staging::{Placed, Staged, Staging};
use crate::identity::{IdentityTable, LabelHasher};
use crate::text::MetricType;
use crate::validate::canonical_labels;
use crate::wire::{BYTES, Reader, VARINT, WireError, lossy, sample};

/// Bytes of a sample field with a value and a six-byte timestamp (years 2004 to 2109).
const SAMPLE_FIELD_BYTES: usize = 18;

/// Reads a body into batches.
pub(crate) fn decode<F: Fn(u64) -> usize>(
    body: &[u8],
    hasher: &LabelHasher,
    table: &mut IdentityTable,
    staging: &mut Staging,
    mut sorter: Sorter<F>,
) -> Result<Prepared, WriteError> {
    let mut prepared = Prepared::default();
    let mut pairs = Vec::new();
    let mut labels = |origin: u32, out: &mut Vec<u8>| labels_at(body, origin, &mut pairs, out);
    let mut whole = |staged: &mut Staged, reread: &mut Staging| -> Result<_, WriteError> {
        reread_cut(body, hasher, staged, reread)
    };
    let mut gathered = Vec::new();
    staging.clear();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag("WriteRequest")? {
        match tag.field {
            1 => {
                tag.expect(BYTES, "Timeseries")?;
                let origin = reader.at as u32;
                let message = reader.bytes()?;
                let mut staged = Staged {
                    origin,
                    ..Staged::default()
                };
                let hash = match cut_series(message) {
                    Some((region, timestamp, value)) => {
                        staged.cut = true;
                        staging.push_sample(timestamp, value);
                        hasher.hash(region)
                    }
                    None => {
                        let region = walk_series(message, &mut gathered, &mut staged, staging)?;
                        hasher.hash(region)
                    }
                };
                if staging.push(hash, staged) {
                    staging.flush(table, &mut sorter, &mut labels, &mut whole, |_, p| {
                        count(&mut prepared, &p);
                    })?;
                }
            }
            3 => {
                tag.expect(BYTES, "Metadata")?;
                let record = metadata(reader.bytes()?)?;
                prepared.counts.metadata += 1;
                prepared.push_metadata(record);
            }
            _ => reader.skip(tag)?,
        }
    }
    staging.flush(table, &mut sorter, &mut labels, &mut whole, |_, p| {
        count(&mut prepared, &p);
    })?;
    sorter.finish(&mut prepared);
    Ok(prepared)
}

/// As Prometheus's 1.0 receiver: a series with invalid labels is left out and counted once.
fn count(prepared: &mut Prepared, placed: &Placed) {
    let counts = &mut prepared.counts;
    counts.samples += u64::from(placed.samples);
    if placed.fault.is_some() {
        counts.invalid_labels += 1;
        return;
    }
    counts.histograms += u64::from(placed.staged.histograms);
    counts.exemplars += u64::from(placed.staged.exemplars);
}

/// Reads a series that was cut field by field. The hash of its labels, when the cut was not right behind them.
fn reread_cut(
    body: &[u8],
    hasher: &LabelHasher,
    staged: &mut Staged,
    reread: &mut Staging,
) -> Result<Option<u128>, WriteError> {
    let message = Reader::starting_at(body, staged.origin as usize).bytes()?;
    let mut whole = Staged {
        origin: staged.origin,
        ..Staged::default()
    };
    let mut gathered = Vec::new();
    let region = walk_series(message, &mut gathered, &mut whole, reread)?;
    if region.len() + SAMPLE_FIELD_BYTES == message.len() && message.starts_with(region) {
        return Ok(None);
    }
    *staged = whole;
    Ok(Some(hasher.hash(region)))
}

/// Splits a series message whose last field is its one sample: everything before it, timestamp, value. Whether
/// everything before it is labels is not looked at: it either has the hash of bytes that were, or is read again.
#[inline]
fn cut_series(message: &[u8]) -> Option<(&[u8], i64, f64)> {
    let (region, tail) = message.split_last_chunk::<SAMPLE_FIELD_BYTES>()?;
    let [
        0x12,
        0x10,
        0x09,
        v0,
        v1,
        v2,
        v3,
        v4,
        v5,
        v6,
        v7,
        0x10,
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
    ] = *tail
    else {
        return None;
    };
    // Two samples in a row: not one sample behind the labels.
    if let Some([0x12, 0x10, 0x09, ..]) = region.last_chunk::<SAMPLE_FIELD_BYTES>() {
        return None;
    }
    if t5 >= 0x80 || t0 & t1 & t2 & t3 & t4 < 0x80 {
        return None;
    }
    let value = f64::from_bits(u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]));
    let timestamp = [t0, t1, t2, t3, t4, t5]
        .iter()
        .rev()
        .fold(0i64, |sum, &byte| (sum << 7) | i64::from(byte & 0x7f));
    Some((region, timestamp, value))
}

/// Any layout: samples and histograms go to `staging`; returns the label fields, in place or gathered.
fn walk_series<'a>(
    message: &'a [u8],
    gathered: &'a mut Vec<u8>,
    staged: &mut Staged,
    staging: &mut Staging,
) -> Result<&'a [u8], WriteError> {
    gathered.clear();
    // End of the label fields as long as nothing else came between them.
    let mut region_end = 0;
    let mut contiguous = true;
    let mut reader = Reader::new(message);
    loop {
        let start = reader.at;
        let Some(tag) = reader.tag("TimeSeries")? else {
            break;
        };
        match tag.field {
            1 => {
                tag.expect(BYTES, "Labels")?;
                reader.bytes()?;
                if contiguous && start == region_end {
                    region_end = reader.at;
                    continue;
                }
                if contiguous {
                    contiguous = false;
                    gathered.extend_from_slice(message.get(..region_end).unwrap_or_default());
                }
                gathered.extend_from_slice(message.get(start..reader.at).unwrap_or_default());
            }
            2 => {
                tag.expect(BYTES, "Samples")?;
                let (timestamp, value) = sample(reader.bytes()?)?;
                staging.push_sample(timestamp, value);
            }
            3 => {
                tag.expect(BYTES, "Exemplars")?;
                staging.push_exemplar(exemplar_v1(reader.bytes()?)?);
                staged.exemplars += 1;
            }
            4 => {
                tag.expect(BYTES, "Histograms")?;
                staging.push_histogram(histogram(reader.bytes()?)?)?;
                staged.histograms += 1;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(if contiguous {
        message.get(..region_end).unwrap_or_default()
    } else {
        gathered
    })
}

/// The labels of the series message at `origin`, as pairs in the order of the wire.
pub(super) fn pairs_at<'a>(
    body: &'a [u8],
    origin: u32,
    pairs: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<(), WireError> {
    pairs.clear();
    let message = Reader::starting_at(body, origin as usize).bytes()?;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("TimeSeries")? {
        if tag.field != 1 {
            reader.skip(tag)?;
            continue;
        }
        tag.expect(BYTES, "Labels")?;
        pairs.push(label(reader.bytes()?)?);
    }
    Ok(())
}

/// Name and value of a label message.
pub(super) fn label(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut label = Reader::new(message);
    let (mut name, mut value) = (&b""[..], &b""[..]);
    while let Some(tag) = label.tag("Label")? {
        match tag.field {
            1 => {
                tag.expect(BYTES, "Name")?;
                name = label.bytes()?;
            }
            2 => {
                tag.expect(BYTES, "Value")?;
                value = label.bytes()?;
            }
            _ => label.skip(tag)?,
        }
    }
    Ok((name, value))
}

/// The canonical labels of the series message at `origin`.
pub(super) fn labels_at<'a>(
    body: &'a [u8],
    origin: u32,
    pairs: &mut Vec<(&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), LabelsFault> {
    pairs_at(body, origin, pairs)?;
    canonical_labels(pairs, out).map_err(|e| SeriesFault::Labels(e).into())
}

/// The hash under which the series message at `origin` is remembered.
pub(super) fn hash_at(body: &[u8], origin: u32, hasher: &LabelHasher) -> Result<u128, WriteError> {
    let message = Reader::starting_at(body, origin as usize).bytes()?;
    let mut gathered = Vec::new();
    let mut staging = Staging::default();
    let region = walk_series(message, &mut gathered, &mut Staged::default(), &mut staging)?;
    Ok(hasher.hash(region))
}

fn metadata(message: &[u8]) -> Result<FamilyMetadata, WireError> {
    let mut record = FamilyMetadata {
        name: String::new(),
        metric_type: MetricType::Unknown,
        help: String::new(),
        unit: String::new(),
    };
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("MetricMetadata")? {
        match tag.field {
            1 => {
                tag.expect(VARINT, "Type")?;
                record.metric_type = metric_type(reader.varint()?);
            }
            2 => {
                tag.expect(BYTES, "MetricFamilyName")?;
                record.name = lossy(reader.bytes()?);
            }
            4 => {
                tag.expect(BYTES, "Help")?;
                record.help = lossy(reader.bytes()?);
            }
            5 => {
                tag.expect(BYTES, "Unit")?;
                record.unit = lossy(reader.bytes()?);
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(record)
}

/// The enumeration that both versions share.
pub(super) fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
