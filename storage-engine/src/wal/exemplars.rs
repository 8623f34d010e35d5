//! Payload of the log's exemplar records, which a checkpoint's section of exemplars has as well.
//!
//! Promise: any bytes decode to exemplars or an error; an entry holds its exemplar whole, only reference and time are
//! counted from the entry before. Format page: `docs/format/wal.md`.
//! Not here: record headers and checksums ([`super::format`]), which exemplars are kept ([`crate::exemplars`]).

use super::format::{
    PayloadError, RECORD_HEADER_BYTES, RecordKind, begin_record, finish_record, put_varint,
    take_step, take_varint, unzigzag, zigzag,
};
use crate::limits::WAL_RECORD_BYTES_MAX;
use crate::model::{Exemplar, Labels, SeriesRef};

/// An exemplar of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedExemplar {
    /// Whose exemplar it is.
    pub series: SeriesRef,
    /// What.
    pub exemplar: Exemplar,
}

/// Flag: the timestamp came with the exemplar.
const TIMED: u8 = 0x01;
/// Bytes of an entry beside its labels, at most: flags, four varints, the value.
const ENTRY_BYTES_MAX: usize = 1 + 4 * 10 + 8;

/// What entries are counted from.
struct Previous {
    series: SeriesRef,
    timestamp: i64,
}

impl Previous {
    const NONE: Previous = Previous {
        series: SeriesRef {
            index: u32::MAX,
            generation: 0,
        },
        timestamp: 0,
    };
}

/// Appends exemplars as one record (more, should they exceed the payload limit; none for an empty slice).
///
/// `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it stamps the record.
pub fn encode_exemplars_record(out: &mut Vec<u8>, lsn: u64, exemplars: &[LoggedExemplar]) {
    let mut begun = None;
    let mut previous = Previous::NONE;
    for logged in exemplars {
        let entry_bytes_max = ENTRY_BYTES_MAX + logged.exemplar.labels.as_bytes().len();
        if let Some(at) = begun
            && out.len() - at - RECORD_HEADER_BYTES + entry_bytes_max > WAL_RECORD_BYTES_MAX
        {
            finish_record(out, at, RecordKind::Exemplars, lsn);
            begun = None;
        }
        if begun.is_none() {
            begun = Some(begin_record(out));
            previous = Previous::NONE;
        }
        put_exemplar(out, logged, &mut previous);
    }
    if let Some(at) = begun {
        finish_record(out, at, RecordKind::Exemplars, lsn);
    }
}

/// Appends exemplars as bare payload, without a record around it.
pub fn encode_exemplars<'a>(
    out: &mut Vec<u8>,
    exemplars: impl Iterator<Item = (SeriesRef, &'a Exemplar)>,
) {
    let mut previous = Previous::NONE;
    for (series, exemplar) in exemplars {
        let exemplar = exemplar.clone();
        put_exemplar(out, &LoggedExemplar { series, exemplar }, &mut previous);
    }
}

fn put_exemplar(out: &mut Vec<u8>, logged: &LoggedExemplar, previous: &mut Previous) {
    let LoggedExemplar { series, exemplar } = logged;
    let index_step = series.index.wrapping_sub(previous.series.index) as i32;
    let generation_step = series.generation.wrapping_sub(previous.series.generation) as i32;
    out.push(if exemplar.timed { TIMED } else { 0 });
    put_varint(out, zigzag(i64::from(index_step)));
    put_varint(out, zigzag(i64::from(generation_step)));
    let time_step = exemplar.timestamp.wrapping_sub(previous.timestamp);
    put_varint(out, zigzag(time_step));
    out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    let labels = exemplar.labels.as_bytes();
    put_varint(out, labels.len() as u64);
    out.extend_from_slice(labels);
    previous.series = *series;
    previous.timestamp = exemplar.timestamp;
}

/// Decodes a [`RecordKind::Exemplars`] payload into `out`, whose old content is dropped.
pub fn decode_exemplars(payload: &[u8], out: &mut Vec<LoggedExemplar>) -> Result<(), PayloadError> {
    out.clear();
    let mut at = 0;
    let mut previous = Previous::NONE;
    while let Some(&flags) = payload.get(at) {
        if flags & !TIMED != 0 {
            return Err(PayloadError::Invalid { at });
        }
        at += 1;
        let series = &mut previous.series;
        series.index = series.index.wrapping_add(take_step(payload, &mut at)?);
        series.generation = series.generation.wrapping_add(take_step(payload, &mut at)?);
        let time_step = unzigzag(take_varint(payload, &mut at)?);
        previous.timestamp = previous.timestamp.wrapping_add(time_step);
        let value = take_bytes(payload, &mut at, 8)?;
        let bits = value
            .iter()
            .rev()
            .fold(0, |bits, b| bits << 8 | u64::from(*b));
        let length_at = at;
        let length = usize::try_from(take_varint(payload, &mut at)?);
        let length = length.map_err(|_| PayloadError::Invalid { at: length_at })?;
        let labels_at = at;
        let labels = Labels::from_canonical(take_bytes(payload, &mut at, length)?);
        let labels = labels.map_err(|_| PayloadError::Invalid { at: labels_at })?;
        out.push(LoggedExemplar {
            series: previous.series,
            exemplar: Exemplar {
                labels,
                value: f64::from_bits(bits),
                timestamp: previous.timestamp,
                timed: flags & TIMED != 0,
            },
        });
    }
    Ok(())
}

fn take_bytes<'a>(
    payload: &'a [u8],
    at: &mut usize,
    length: usize,
) -> Result<&'a [u8], PayloadError> {
    let truncated = PayloadError::Truncated { at: *at };
    let end = at.checked_add(length).ok_or(truncated)?;
    let bytes = payload.get(*at..end).ok_or(truncated)?;
    *at = end;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<LoggedExemplar> {
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
        let one = |index, generation, timestamp, value, timed, labels: Labels| LoggedExemplar {
            series: SeriesRef { index, generation },
            exemplar: Exemplar {
                labels,
                value,
                timestamp,
                timed,
            },
        };
        vec![
            one(
                7,
                1,
                1_700_000_000_000,
                0.25,
                true,
                labels(&[("trace_id", "a€c")]),
            ),
            one(7, 1, 1_700_000_000_000, -0.0, false, Labels::empty()),
            one(
                0,
                9,
                -5,
                f64::from_bits(0x7ff0_0000_0000_0002),
                true,
                labels(&[("a", "b"), ("c", "d")]),
            ),
            one(
                u32::MAX - 1,
                u32::MAX,
                i64::MAX,
                f64::INFINITY,
                true,
                labels(&[("x", "y")]),
            ),
        ]
    }

    fn payload() -> Vec<u8> {
        let mut out = Vec::new();
        let all = all();
        encode_exemplars(&mut out, all.iter().map(|l| (l.series, &l.exemplar)));
        out
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let mut read = Vec::new();
        decode_exemplars(&payload(), &mut read).unwrap();
        assert_eq!(read, all());
        let mut record = Vec::new();
        encode_exemplars_record(&mut record, 1, &all());
        let body = record.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload().len());
        assert_eq!(body, Some(&*payload()));
        let mut none = Vec::new();
        encode_exemplars_record(&mut none, 1, &[]);
        assert!(none.is_empty());
    }

    #[test]
    fn any_damage_is_an_error_or_other_exemplars() {
        let good = payload();
        let mut read = Vec::new();
        let whole: Vec<usize> = (0..=good.len())
            .filter(|&end| decode_exemplars(&good[..end], &mut read).is_ok())
            .collect();
        assert_eq!(
            whole.len(),
            all().len() + 1,
            "only whole entries: {whole:?}"
        );
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if decode_exemplars(&bad, &mut read).is_ok() {
                assert_ne!(read, all(), "bit {bit} means nothing");
            }
        }
    }
}
