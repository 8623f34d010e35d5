//! Segment reader: finds the records in a segment's bytes, whatever has happened to some of them.
//!
//! Promise: yields no record whose checksum fails; a bad payload costs that record, a bad header costs that record, because the reader
//! tries every aligned offset behind it. What is not a record (padding, damage, an earlier life of the file) is passed over.
//! Not here: which of the records count (`wal::replay`).

use super::format::{
    HeaderError, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, SegmentSeal, read_header,
};
use crate::io::{UNREADABLE_BYTES, WINDOW_BYTES, Window};
use std::io;

/// Length from which on it is worth while to read the header behind a record alone.
const PASSED_OVER_BYTES: usize = 32 << 10;

/// A record whose checksums are right.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundRecord {
    pub(super) offset: u64,
    pub(super) header: RecordHeader,
}

impl FoundRecord {
    /// Where the next record may begin.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.header.record_bytes() as u64
    }

    /// The payload, if it (still) has its checksum.
    pub(super) fn payload<'w>(&self, window: &'w mut Window<'_>) -> io::Result<Option<&'w [u8]>> {
        let start = self.offset + RECORD_HEADER_BYTES as u64;
        let payload = window.get(start, self.header.payload_bytes as usize)?;
        Ok(payload.filter(|payload| self.header.payload_matches(payload)))
    }
}

/// Why a segment cannot be read.
#[derive(Debug)]
pub(super) enum ScanError {
    Read(io::Error),
    NewerVersion(u8),
    UnknownKind { offset: u64, got: u8 },
}

/// Calls `visit` for each sound record of a segment, in order. Of records up to number `covered` nobody wants the payload, so only their
/// headers are looked at.
pub(super) fn scan(
    window: &mut Window<'_>,
    seal: SegmentSeal,
    covered: u64,
    visit: &mut dyn FnMut(FoundRecord),
) -> Result<(), ScanError> {
    let mut offset = 0;
    let mut ahead = WINDOW_BYTES;
    while let Some(bytes) = window
        .get_with(offset, RECORD_HEADER_BYTES, ahead)
        .map_err(ScanError::Read)?
    {
        let bytes = bytes
            .first_chunk()
            .expect("BUG: the window gives what is asked for");
        match read_header(bytes, seal, offset) {
            Ok(header) => {
                let record = FoundRecord { offset, header };
                let known = header.lsn <= covered;
                if known || record.payload(window).map_err(ScanError::Read)?.is_some() {
                    visit(record);
                }
                // The header behind a long record that was passed over is most likely followed by another such record.
                ahead = match known && header.record_bytes() >= PASSED_OVER_BYTES {
                    true => UNREADABLE_BYTES,
                    false => WINDOW_BYTES,
                };
                offset = record.end();
            }
            Err(HeaderError::NotARecord) => offset += RECORD_ALIGNMENT as u64,
            Err(HeaderError::NewerVersion { got }) => return Err(ScanError::NewerVersion(got)),
            Err(HeaderError::UnknownKind { got }) => {
                return Err(ScanError::UnknownKind { offset, got });
            }
        }
    }
    Ok(())
}
