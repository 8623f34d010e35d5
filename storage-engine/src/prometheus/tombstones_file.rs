//! The `tombstones` file of a Prometheus block: what was deleted from it.
//!
//! Layout: magic `0130BA30`, version 1; entries of series reference (uvarint) and first and last deleted time (varints); CRC-32C of the entries.

use super::bytes::{Cursor, Malformed};
use super::checksum::crc32c;
use crate::shard_api::TimeRange;
use std::collections::BTreeMap;

/// Name of the file.
pub(super) const TOMBSTONES_FILE: &str = "tombstones";
const MAGIC_AND_VERSION: [u8; 5] = [0x01, 0x30, 0xba, 0x30, 1];

/// Deleted ranges by series reference, in the order of the file.
pub(super) type Deleted = BTreeMap<u64, Vec<TimeRange>>;

/// A file without entries.
pub(super) fn empty_file() -> Vec<u8> {
    let mut bytes = MAGIC_AND_VERSION.to_vec();
    bytes.extend(crc32c(&[]).to_be_bytes());
    bytes
}

/// Reads the file's bytes; the error says what is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Deleted, String> {
    let rest = bytes.strip_prefix(&MAGIC_AND_VERSION);
    let rest = rest.ok_or("not a tombstones file of version 1")?;
    let (entries, checksum) = rest.split_last_chunk::<4>().ok_or("it ends early")?;
    if crc32c(entries).to_be_bytes() != *checksum {
        return Err("checksum mismatch".to_owned());
    }
    read_entries(&mut Cursor::new(entries)).map_err(|error| error.to_string())
}

fn read_entries(cursor: &mut Cursor<'_>) -> Result<Deleted, Malformed> {
    let mut deleted = Deleted::new();
    while cursor.left() > 0 {
        let series = cursor.uvarint()?;
        let min = cursor.varint()?;
        let max = cursor.varint()?;
        let ranges = deleted.entry(series).or_default();
        ranges.push(TimeRange { min, max });
    }
    Ok(deleted)
}
