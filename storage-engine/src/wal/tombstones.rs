//! Payload of the log's tombstone records: deleted ranges of series that are in the head.
//!
//! Promise: any bytes decode to ranges or an error. Format page: `docs/format/wal.md`.
//! Not here: record headers and checksums ([`super::format`]), deletions in blocks.

use super::format::{
    PayloadError, RECORD_HEADER_BYTES, RecordKind, begin_record, finish_record, put_varint,
    take_step, take_varint, unzigzag, zigzag,
};
use crate::limits::WAL_RECORD_BYTES_MAX;
use crate::model::SeriesRef;
use crate::shard_api::TimeRange;

/// One deleted range of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedTombstone {
    /// Whose samples are deleted.
    pub series: SeriesRef,
    /// When; `min <= max`.
    pub range: TimeRange,
}

/// Four varints of 64 bits.
const ENTRY_BYTES_MAX: usize = 4 * 10;

/// Appends deleted ranges as one record (more, should they exceed the payload limit; none for an empty slice).
///
/// `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it stamps the record.
pub fn encode_tombstones_record(out: &mut Vec<u8>, lsn: u64, tombstones: &[LoggedTombstone]) {
    for part in tombstones.chunks(WAL_RECORD_BYTES_MAX / ENTRY_BYTES_MAX) {
        let at = begin_record(out);
        let mut previous = (u32::MAX, 0_u32, 0_i64);
        for LoggedTombstone { series, range } in part {
            let index_step = series.index.wrapping_sub(previous.0) as i32;
            let generation_step = series.generation.wrapping_sub(previous.1) as i32;
            put_varint(out, zigzag(i64::from(index_step)));
            put_varint(out, zigzag(i64::from(generation_step)));
            put_varint(out, zigzag(range.min.wrapping_sub(previous.2)));
            put_varint(out, range.max.wrapping_sub(range.min) as u64);
            previous = (series.index, series.generation, range.min);
        }
        debug_assert!(out.len() - at - RECORD_HEADER_BYTES <= WAL_RECORD_BYTES_MAX);
        finish_record(out, at, RecordKind::Tombstones, lsn);
    }
}

/// Decodes a [`RecordKind::Tombstones`] payload into `out`, whose old content is dropped.
pub fn decode_tombstones(
    payload: &[u8],
    out: &mut Vec<LoggedTombstone>,
) -> Result<(), PayloadError> {
    out.clear();
    let mut at = 0;
    let mut series = SeriesRef {
        index: u32::MAX,
        generation: 0,
    };
    let mut min = 0_i64;
    while at < payload.len() {
        let start = at;
        series.index = series.index.wrapping_add(take_step(payload, &mut at)?);
        series.generation = series.generation.wrapping_add(take_step(payload, &mut at)?);
        min = min.wrapping_add(unzigzag(take_varint(payload, &mut at)?));
        let max = min.wrapping_add(take_varint(payload, &mut at)? as i64);
        if max < min {
            return Err(PayloadError::Invalid { at: start });
        }
        let range = TimeRange { min, max };
        out.push(LoggedTombstone { series, range });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone(index: u32, generation: u32, min: i64, max: i64) -> LoggedTombstone {
        LoggedTombstone {
            series: SeriesRef { index, generation },
            range: TimeRange { min, max },
        }
    }

    #[test]
    fn ranges_come_back() {
        let all = [
            tombstone(0, 1, 5, 5),
            tombstone(1, 1, i64::MIN, i64::MAX),
            tombstone(u32::MAX, u32::MAX, i64::MAX, i64::MAX),
            tombstone(7, 3, -20, 1_700_000_000_000),
        ];
        let mut bytes = Vec::new();
        encode_tombstones_record(&mut bytes, 1, &all);
        let mut decoded = vec![tombstone(9, 9, 9, 9)];
        let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        let payload = &bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length];
        decode_tombstones(payload, &mut decoded).unwrap();
        assert_eq!(decoded, all);
        let mut none = Vec::new();
        encode_tombstones_record(&mut none, 1, &[]);
        assert!(none.is_empty());
    }

    #[test]
    fn any_bytes_decode_to_ranges_or_an_error() {
        let mut state = 3_u64;
        let mut decoded = Vec::new();
        let mut errors = 0;
        for _ in 0..3000 {
            let mut bytes = Vec::new();
            for _ in 0..state % 40 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(9);
                bytes.push((state >> 56) as u8);
            }
            state = state.wrapping_add(1);
            match decode_tombstones(&bytes, &mut decoded) {
                Ok(()) => assert!(decoded.iter().all(|t| t.range.min <= t.range.max)),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 100);
    }
}
