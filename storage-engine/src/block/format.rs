//! The frame of a block file: header, section numbers, tail, and the checksums. Format page: `docs/format/block.md`.
//!
//! Promise: header and tail keep their layout in all versions, so that a newer file is told from a damaged one.
//! Not here: what the sections hold, the footer's table ([`super::footer`]).

use super::BlockId;
use super::bytes::word_at;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the format that this program writes, and the newest that it reads.
pub const BLOCK_FORMAT_VERSION: u32 = 1;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 64;
/// Bytes of the tail.
pub(super) const TAIL_BYTES: usize = 64;
/// Bytes that one checksum of pages covers.
pub(super) const EXTENT_BYTES: usize = 16 << 10;
/// Zeros behind the pages, so that decoders can load whole words at their end.
pub(super) const PAGE_ROOM_BYTES: usize = 512;
/// Sections begin at multiples of this.
pub(super) const SECTION_ALIGNMENT: usize = 64;

const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"FERULBLK");
const TAIL_MAGIC: u64 = u64::from_le_bytes(*b"FERULEND");
/// Where the checksum of header and tail lies in them.
const CHECKSUM_AT: usize = 56;

/// The parts of a file. The numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Section {
    /// Bodies of pages and time columns.
    Pages = 1,
    /// Checksums of the extents of [`Section::Pages`].
    Extents = 2,
    /// Frames that the pages are packed in.
    Frames = 3,
    /// Time columns and slices of them.
    Times = 4,
    /// Constant values.
    Constants = 5,
    /// Which pages a series has, and where.
    Directory = 6,
    /// Statistics of pages.
    Statistics = 7,
    /// All label names and values.
    Symbols = 8,
    /// Labels of each series.
    Series = 9,
    /// Series of each label.
    Postings = 10,
    /// Start timestamps.
    Starts = 11,
    /// Which series have native histograms.
    Histograms = 12,
}

impl Section {
    /// All, in the order of the file.
    pub(super) const ALL: [Section; 12] = [
        Section::Pages,
        Section::Extents,
        Section::Frames,
        Section::Times,
        Section::Constants,
        Section::Directory,
        Section::Statistics,
        Section::Symbols,
        Section::Series,
        Section::Postings,
        Section::Starts,
        Section::Histograms,
    ];

    /// Its name, for errors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Pages => "pages",
            Section::Extents => "extents",
            Section::Frames => "frames",
            Section::Times => "times",
            Section::Constants => "constants",
            Section::Directory => "directory",
            Section::Statistics => "statistics",
            Section::Symbols => "symbols",
            Section::Series => "series",
            Section::Postings => "postings",
            Section::Starts => "starts",
            Section::Histograms => "histograms",
        }
    }
}

/// Where a section lies, and what it must hash to. The pages have a checksum for each extent instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SectionPlace {
    pub(super) kind: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) checksum: u64,
}

/// Seed of all checksums of a block: bytes of another block, or of another place, do not pass for these.
pub(super) fn checksum_seed(id: BlockId) -> u64 {
    xxh3_64_with_seed(&id.0.to_le_bytes(), 0)
}

/// Checksum of a section, extent or footer; `place` tells one from the other.
pub(super) fn checksum(seed: u64, place: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// `place` of a section in [`checksum`]; extents have their number.
pub(super) fn section_place(kind: u32) -> u64 {
    u64::from(kind) << 48
}

/// `place` of the footer in [`checksum`].
pub(super) const FOOTER_PLACE: u64 = 0xffff << 48;

/// Why the first or last bytes of a file are not a block's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// Wrong magic, checksum or length.
    Damaged(&'static str),
    /// Sound, but of a version that this program does not know.
    Newer(u32),
}

fn seal(mut bytes: [u8; 64]) -> [u8; 64] {
    let checksum = xxh3_64_with_seed(&bytes[..CHECKSUM_AT], 0);
    bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn is_sealed(bytes: &[u8; 64]) -> bool {
    xxh3_64_with_seed(&bytes[..CHECKSUM_AT], 0) == word_at(bytes, CHECKSUM_AT)
}

fn id_at(bytes: &[u8; 64], at: usize) -> BlockId {
    BlockId(u128::from(word_at(bytes, at)) | u128::from(word_at(bytes, at + 8)) << 64)
}

/// The first bytes of a block.
pub(super) fn header(id: BlockId, version: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&HEADER_MAGIC.to_le_bytes());
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[16..32].copy_from_slice(&id.0.to_le_bytes());
    seal(bytes)
}

/// Checks the first bytes; whose block it is.
pub(super) fn read_header(file: &[u8]) -> Result<BlockId, FrameError> {
    let bytes = file
        .first_chunk::<HEADER_BYTES>()
        .ok_or(FrameError::Damaged("shorter than a header"))?;
    if word_at(bytes, 0) != HEADER_MAGIC {
        return Err(FrameError::Damaged("not a block"));
    }
    if !is_sealed(bytes) {
        return Err(FrameError::Damaged("checksum of the header"));
    }
    let version = word_at(bytes, 8) as u32;
    if version > BLOCK_FORMAT_VERSION {
        return Err(FrameError::Newer(version));
    }
    if version == 0 {
        return Err(FrameError::Damaged("version 0"));
    }
    Ok(id_at(bytes, 16))
}

/// What the last bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) footer_offset: u64,
    pub(super) footer_bytes: u64,
    pub(super) footer_checksum: u64,
    pub(super) file_bytes: u64,
    pub(super) id: BlockId,
}

impl Tail {
    /// The last bytes of a block.
    pub(super) fn to_bytes(self) -> [u8; TAIL_BYTES] {
        let mut bytes = [0; TAIL_BYTES];
        let words = [
            self.footer_offset,
            self.footer_bytes,
            self.footer_checksum,
            self.file_bytes,
        ];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[32..48].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&TAIL_MAGIC.to_le_bytes());
        seal(bytes)
    }

    /// Checks the last bytes of a file.
    pub(super) fn read(file: &[u8]) -> Result<Tail, FrameError> {
        let bytes = file
            .last_chunk::<TAIL_BYTES>()
            .ok_or(FrameError::Damaged("shorter than a tail"))?;
        if word_at(bytes, 48) != TAIL_MAGIC {
            return Err(FrameError::Damaged("the end is missing"));
        }
        if !is_sealed(bytes) {
            return Err(FrameError::Damaged("checksum of the tail"));
        }
        let tail = Tail {
            footer_offset: word_at(bytes, 0),
            footer_bytes: word_at(bytes, 8),
            footer_checksum: word_at(bytes, 16),
            file_bytes: word_at(bytes, 24),
            id: id_at(bytes, 32),
        };
        if tail.file_bytes != file.len() as u64 {
            return Err(FrameError::Damaged("length of the file"));
        }
        Ok(tail)
    }
}
