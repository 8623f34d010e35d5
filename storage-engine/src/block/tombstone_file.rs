//! The file of deletions beside a block: which series are deleted in which ranges of time.
//!
//! Promise: replaced as a whole or not at all; bound to its block by the block's identity; a flipped bit is seen. A version that is newer
//! than this program is refused. Format: `docs/format/tombstones.md`.
//! Not here: what a deletion means for a read (`tombstones`).

use super::BlockId;
use crate::io::{Disk, write_atomically};
use crate::shard_api::TimeRange;
use crate::tombstones::Tombstones;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"FERTOMB\0";
/// Version of the format.
pub const TOMBSTONE_FORMAT_VERSION: u32 = 1;
/// Magic, version, count of series, identity of the block.
const HEADER_BYTES: usize = 32;
/// Number of a series and its count of ranges.
const SERIES_BYTES: usize = 8;
/// First and last millisecond.
const RANGE_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;

/// Why a file of deletions cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TombstoneFileError {
    /// It cannot be read.
    #[error("read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It was written by a later program.
    #[error(
        "{path} has format version {version}, newer than this program's {TOMBSTONE_FORMAT_VERSION}"
    )]
    NewerVersion {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
}

/// Where the deletions of a block are.
pub fn tombstone_path(dir: &Path, block: BlockId) -> PathBuf {
    dir.join(format!("{block}.tombstones"))
}

fn encode(block: BlockId, tombstones: &Tombstones) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&TOMBSTONE_FORMAT_VERSION.to_le_bytes());
    let mut all: Vec<(u32, &[TimeRange])> = tombstones.iter().collect();
    all.sort_unstable_by_key(|(series, _)| *series);
    bytes.extend_from_slice(&(all.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&block.0.to_le_bytes());
    for (series, ranges) in all {
        bytes.extend_from_slice(&series.to_le_bytes());
        bytes.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
        for range in ranges {
            bytes.extend_from_slice(&range.min.to_le_bytes());
            bytes.extend_from_slice(&range.max.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// A cursor over bytes whose checksum is good already, so that running out is damage all the same.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .ok_or("it ends before its counts say")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.take().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, &'static str> {
        self.take().map(i64::from_le_bytes)
    }
}

enum Refusal {
    Damaged(&'static str),
    NewerVersion(u32),
}

impl From<&'static str> for Refusal {
    fn from(what: &'static str) -> Refusal {
        Refusal::Damaged(what)
    }
}

fn decode(block: BlockId, bytes: &[u8]) -> Result<Tombstones, Refusal> {
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || bytes[..8] != MAGIC {
        return Err("it does not begin as a file of deletions does".into());
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if xxh3_64(content).to_le_bytes() != checksum {
        return Err("its checksum does not fit".into());
    }
    let mut fields = Fields(&content[8..]);
    let version = fields.u32()?;
    if version > TOMBSTONE_FORMAT_VERSION {
        return Err(Refusal::NewerVersion(version));
    }
    let series_count = fields.u32()?;
    if u128::from_le_bytes(fields.take()?) != block.0 {
        return Err("it belongs to another block".into());
    }
    let mut tombstones = Tombstones::default();
    for _ in 0..series_count {
        let series = fields.u32()?;
        for _ in 0..fields.u32()? {
            let (min, max) = (fields.i64()?, fields.i64()?);
            if min > max {
                return Err("a range ends before it begins".into());
            }
            tombstones.add(series, TimeRange { min, max });
        }
    }
    match fields.0 {
        [] => Ok(tombstones),
        _ => Err("it goes on behind its last series".into()),
    }
}

/// Puts the deletions of a block in place of those that are there, durably. Returns the bytes on disk.
pub fn write_tombstones(
    disk: &dyn Disk,
    dir: &Path,
    block: BlockId,
    tombstones: &Tombstones,
) -> io::Result<u64> {
    let bytes = encode(block, tombstones);
    write_atomically(disk, &tombstone_path(dir, block), &bytes)?;
    Ok(bytes.len() as u64)
}

/// Reads the deletions of a block; `None` when there is no file.
pub fn read_tombstones(
    disk: &dyn Disk,
    dir: &Path,
    block: BlockId,
) -> Result<Option<Tombstones>, TombstoneFileError> {
    let path = tombstone_path(dir, block);
    let bytes = match disk.map(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(TombstoneFileError::Io {
                path: path.display().to_string(),
                source,
            });
        }
    };
    decode(block, &bytes).map(Some).map_err(|refusal| {
        let path = path.display().to_string();
        match refusal {
            Refusal::Damaged(what) => TombstoneFileError::Damaged { path, what },
            Refusal::NewerVersion(version) => TombstoneFileError::NewerVersion { path, version },
        }
    })
}

const _: () = assert!(HEADER_BYTES == 8 + 4 + 4 + 16 && SERIES_BYTES == 4 + 4 && RANGE_BYTES == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimulatedDisk;

    const BLOCK: BlockId = BlockId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    fn range(min: i64, max: i64) -> TimeRange {
        TimeRange { min, max }
    }

    fn some() -> Tombstones {
        let mut tombstones = Tombstones::default();
        tombstones.add(7, range(-5, 5));
        tombstones.add(7, range(100, 200));
        tombstones.add(0, range(i64::MIN, i64::MAX));
        tombstones
    }

    fn listed(tombstones: &Tombstones) -> Vec<(u32, Vec<TimeRange>)> {
        let mut all: Vec<_> = tombstones.iter().map(|(s, r)| (s, r.to_vec())).collect();
        all.sort_by_key(|(series, _)| *series);
        all
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let disk = SimulatedDisk::new();
        let dir = Path::new("/blocks");
        disk.create_dir_all(dir).unwrap();
        assert!(read_tombstones(&disk, dir, BLOCK).unwrap().is_none());
        let bytes = write_tombstones(&disk, dir, BLOCK, &some()).unwrap();
        let sizes = HEADER_BYTES + 2 * SERIES_BYTES + 3 * RANGE_BYTES + CHECKSUM_BYTES;
        assert_eq!(bytes as usize, sizes);
        let read = read_tombstones(&disk, dir, BLOCK).unwrap().unwrap();
        assert_eq!(listed(&read), listed(&some()));
        assert!(
            disk.crash(crate::io::CrashImage::SyncedOnly)
                .content(&tombstone_path(dir, BLOCK))
                .is_some()
        );
    }

    #[test]
    fn the_layout_is_the_one_of_the_page() {
        let mut tombstones = Tombstones::default();
        tombstones.add(3, range(1, 2));
        let bytes = encode(BLOCK, &tombstones);
        let mut wanted = b"FERTOMB\0\x01\0\0\0\x01\0\0\0".to_vec();
        wanted.extend([0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00]);
        wanted.extend([0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
        wanted.extend([3, 0, 0, 0, 1, 0, 0, 0]);
        wanted.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let checksum = xxh3_64(&wanted);
        wanted.extend(checksum.to_le_bytes());
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = encode(BLOCK, &some());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(BLOCK, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(BLOCK, &bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_block_and_a_newer_version_are_refused() {
        let bytes = encode(BLOCK, &some());
        assert!(matches!(
            decode(BlockId(1), &bytes),
            Err(Refusal::Damaged(_))
        ));
        let mut newer = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        newer[8] = 2;
        let checksum = xxh3_64(&newer);
        newer.extend(checksum.to_le_bytes());
        assert!(matches!(
            decode(BLOCK, &newer),
            Err(Refusal::NewerVersion(2))
        ));
    }
}
