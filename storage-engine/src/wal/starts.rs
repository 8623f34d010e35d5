//! Payload of the log's records of start timestamps, which a checkpoint's section of starts has as well.
//!
//! Promise: any bytes decode to runs or an error; entries are counted from the one before. Format page: `docs/format/wal.md`.
//! Not here: record headers and checksums ([`super::format`]), what runs mean ([`crate::starts`]).

use super::format::{
    PayloadError, RECORD_HEADER_BYTES, RecordKind, begin_record, finish_record, put_varint,
    take_step, take_varint, unzigzag, zigzag,
};
use crate::limits::WAL_RECORD_BYTES_MAX;
use crate::model::{SeriesRef, TimestampMs};

/// A run of the log: from the sample at `from` on, samples of the series carry `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedStart {
    /// Whose samples.
    pub series: SeriesRef,
    /// Time of the first one.
    pub from: TimestampMs,
    /// Since when they count; 0 for unknown.
    pub start: TimestampMs,
}

/// Four varints.
const ENTRY_BYTES_MAX: usize = 4 * 10;

const FIRST: LoggedStart = LoggedStart {
    series: SeriesRef {
        index: u32::MAX,
        generation: 0,
    },
    from: 0,
    start: 0,
};

/// Appends runs as one record (more, should they exceed the payload limit; none for an empty slice).
///
/// `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it stamps the record.
pub fn encode_starts_record(out: &mut Vec<u8>, lsn: u64, starts: &[LoggedStart]) {
    for part in starts.chunks(WAL_RECORD_BYTES_MAX / ENTRY_BYTES_MAX) {
        let at = begin_record(out);
        encode_starts(out, part.iter().copied());
        debug_assert!(out.len() - at - RECORD_HEADER_BYTES <= WAL_RECORD_BYTES_MAX);
        finish_record(out, at, RecordKind::Starts, lsn);
    }
}

/// Appends runs as bare payload, without a record around it.
pub fn encode_starts(out: &mut Vec<u8>, starts: impl Iterator<Item = LoggedStart>) {
    let mut previous = FIRST;
    for run in starts {
        let (series, before) = (run.series, previous.series);
        let index_step = series.index.wrapping_sub(before.index) as i32;
        let generation_step = series.generation.wrapping_sub(before.generation) as i32;
        put_varint(out, zigzag(i64::from(index_step)));
        put_varint(out, zigzag(i64::from(generation_step)));
        put_varint(out, zigzag(run.from.wrapping_sub(previous.from)));
        put_varint(out, zigzag(run.start.wrapping_sub(previous.start)));
        previous = run;
    }
}

/// Decodes a [`RecordKind::Starts`] payload into `out`, whose old content is dropped.
pub fn decode_starts(payload: &[u8], out: &mut Vec<LoggedStart>) -> Result<(), PayloadError> {
    out.clear();
    let mut at = 0;
    let mut run = FIRST;
    while at < payload.len() {
        let series = &mut run.series;
        series.index = series.index.wrapping_add(take_step(payload, &mut at)?);
        series.generation = series.generation.wrapping_add(take_step(payload, &mut at)?);
        let from_step = unzigzag(take_varint(payload, &mut at)?);
        run.from = run.from.wrapping_add(from_step);
        let start_step = unzigzag(take_varint(payload, &mut at)?);
        run.start = run.start.wrapping_add(start_step);
        out.push(run);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<LoggedStart> {
        let run = |index, generation, from, start| LoggedStart {
            series: SeriesRef { index, generation },
            from,
            start,
        };
        vec![
            run(0, 1, 1_700_000_000_000, 1_699_999_999_000),
            run(1, 1, 1_700_000_000_000, 1_699_999_999_000),
            run(1, 1, 1_700_000_015_000, 0),
            run(u32::MAX - 1, u32::MAX, i64::MAX, i64::MIN),
            run(7, 2, -1, 5),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut payload, mut record, mut read) = (Vec::new(), Vec::new(), Vec::new());
        encode_starts(&mut payload, all().into_iter());
        decode_starts(&payload, &mut read).unwrap();
        assert_eq!(read, all());
        encode_starts_record(&mut record, 1, &all());
        let body = record.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload.len());
        assert_eq!(body, Some(&*payload));
        record.clear();
        encode_starts_record(&mut record, 1, &[]);
        assert!(record.is_empty());
    }

    #[test]
    fn a_cut_payload_is_an_error_or_fewer_runs() {
        let (mut payload, mut read) = (Vec::new(), Vec::new());
        encode_starts(&mut payload, all().into_iter());
        let whole = (0..=payload.len())
            .filter(|&end| decode_starts(&payload[..end], &mut read).is_ok())
            .count();
        assert_eq!(whole, all().len() + 1);
    }
}
