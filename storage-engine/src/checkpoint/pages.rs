//! Files of full pages of sealed chunks: written once, checked when they are opened, then mapped.
//!
//! Promise: a page is believed only in the file and at the place it was written for; damage is told to the extent, and what a page holds
//! outside of it stays readable. Not here: what chunks are (`head::sealed`), when a page is written (`take`). Format page:
//! `docs/format/checkpoint.md`.

use super::place::{CheckpointPlace, unfinished};
use crate::head::sealed::{PageFacts, PageView};
use crate::io::{Access, Disk, DiskFile};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Highest version of the format.
const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"fPAG";
/// Bytes before a page: what it is, then the checksums of its extents.
const HEADER_BYTES: usize = 64;
/// What one checksum covers.
const EXTENT_BYTES: usize = 16 << 10;
/// Pages begin, with their headers, at multiples of this.
const PAGE_ALIGNMENT: usize = 4096;
/// A page is not longer than this.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A page copied out of the head.
pub(super) struct PageCopy {
    pub(super) sequence: u64,
    pub(super) facts: PageFacts,
    pub(super) bytes: Vec<u8>,
}

impl PageCopy {
    pub(super) fn of(page: &PageView<'_>) -> PageCopy {
        PageCopy {
            sequence: page.sequence,
            facts: page.facts,
            bytes: page.bytes.to_vec(),
        }
    }
}

/// Where a page's bytes lie in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PagePlace {
    pub(super) sequence: u64,
    pub(super) range: Range<usize>,
}

fn seal(place: &CheckpointPlace, first: u64) -> u64 {
    let mut bytes = [0_u8; 28];
    bytes[..16].copy_from_slice(&place.store_id);
    bytes[16..20].copy_from_slice(&place.shard.to_le_bytes());
    bytes[20..].copy_from_slice(&first.to_le_bytes());
    xxh3_64(&bytes)
}

fn header_checksum(seal: u64, offset: u64, header: &[u8]) -> u64 {
    xxh3_64_with_seed(&header[..HEADER_BYTES - 8], seal.wrapping_add(offset))
}

/// A file of pages while it is written.
pub(super) struct PageFileWriter<'a> {
    disk: &'a dyn Disk,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    seal: u64,
    offset: u64,
    places: Vec<PagePlace>,
}

impl<'a> PageFileWriter<'a> {
    /// Begins the file whose first page will be `first`.
    pub(super) fn create(
        disk: &'a dyn Disk,
        place: &CheckpointPlace,
        first: u64,
    ) -> io::Result<PageFileWriter<'a>> {
        let path = place.chunks_path(first);
        let file = disk.create(&unfinished(&path), Access::Buffered)?;
        Ok(PageFileWriter {
            disk,
            file,
            path,
            seal: seal(place, first),
            offset: 0,
            places: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, page: &PageCopy) -> io::Result<()> {
        let sums: Vec<u8> = page
            .bytes
            .chunks(EXTENT_BYTES)
            .flat_map(|extent| xxh3_64(extent).to_le_bytes())
            .collect();
        let mut block = vec![0; HEADER_BYTES];
        block[..4].copy_from_slice(&MAGIC);
        block[4] = VERSION;
        block[8..12].copy_from_slice(&(page.bytes.len() as u32).to_le_bytes());
        block[12..16].copy_from_slice(&page.facts.chunks.to_le_bytes());
        block[16..24].copy_from_slice(&page.sequence.to_le_bytes());
        block[24..32].copy_from_slice(&page.facts.newest.to_le_bytes());
        block[32..36].copy_from_slice(&page.facts.samples.to_le_bytes());
        block[40..48].copy_from_slice(&xxh3_64(&sums).to_le_bytes());
        let checksum = header_checksum(self.seal, self.offset, &block);
        block[HEADER_BYTES - 8..].copy_from_slice(&checksum.to_le_bytes());
        block.extend_from_slice(&sums);
        let start = self.offset as usize + block.len();
        block.extend_from_slice(&page.bytes);
        block.resize(block.len().next_multiple_of(PAGE_ALIGNMENT), 0);
        self.file.write_at(self.offset, &block)?;
        self.offset += block.len() as u64;
        self.places.push(PagePlace {
            sequence: page.sequence,
            range: start..start + page.bytes.len(),
        });
        Ok(())
    }

    /// Makes the file durable under its name.
    pub(super) fn finish(self) -> io::Result<Vec<PagePlace>> {
        self.file.sync()?;
        self.disk.rename(&unfinished(&self.path), &self.path)?;
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(self.places)
    }
}

/// A page as it was found in a file.
pub(super) struct FoundPage {
    pub(super) place: PagePlace,
    pub(super) facts: PageFacts,
    /// Parts of the page, in its own offsets, that are not what was written.
    pub(super) damage: Vec<Range<usize>>,
    /// The bytes of a damaged page; empty for a sound one, which can be mapped.
    pub(super) readable: Vec<u8>,
}

/// Why a file of pages cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("format version {0} is newer than this program's {VERSION}")]
    Newer(u8),
}

/// Finds and checks the pages of a file; every byte is read once.
pub(super) fn read_pages(
    disk: &dyn Disk,
    place: &CheckpointPlace,
    first: u64,
) -> Result<Vec<FoundPage>, PageFileError> {
    let file = disk.open(&place.chunks_path(first), Access::Buffered)?;
    let seal = seal(place, first);
    let file_bytes = file.size()?;
    let mut pages = Vec::new();
    let mut offset = 0;
    let mut buffer = vec![0; PAGE_BYTES_MAX];
    while offset + HEADER_BYTES as u64 <= file_bytes {
        let mut header = [0; HEADER_BYTES];
        let read = file.read_at(offset, &mut header).unwrap_or(0);
        let checksum = u64::from_le_bytes(header[HEADER_BYTES - 8..].try_into().unwrap_or([0; 8]));
        let believed = read == HEADER_BYTES
            && header[..4] == MAGIC
            && checksum == header_checksum(seal, offset, &header);
        if !believed {
            offset += PAGE_ALIGNMENT as u64;
            continue;
        }
        if header[4] > VERSION {
            return Err(PageFileError::Newer(header[4]));
        }
        let (found, end) = check_page(&*file, offset, &header, &mut buffer);
        pages.push(found);
        offset = (end as u64).next_multiple_of(PAGE_ALIGNMENT as u64);
    }
    Ok(pages)
}

fn number<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

fn check_page(
    file: &dyn DiskFile,
    offset: u64,
    header: &[u8; HEADER_BYTES],
    buffer: &mut Vec<u8>,
) -> (FoundPage, usize) {
    let bytes = (u32::from_le_bytes(number(header, 8)) as usize).min(PAGE_BYTES_MAX);
    let extents = bytes.div_ceil(EXTENT_BYTES);
    let mut sums = vec![0; extents * 8];
    let sums_at = offset + HEADER_BYTES as u64;
    let sums_sound = file
        .read_at(sums_at, &mut sums)
        .is_ok_and(|read| read == sums.len())
        && xxh3_64(&sums) == u64::from_le_bytes(number(header, 40));
    let start = offset as usize + HEADER_BYTES + sums.len();
    buffer.resize(bytes, 0);
    let whole = file
        .read_at(start as u64, buffer)
        .is_ok_and(|read| read == bytes);
    let mut damage: Vec<Range<usize>> = Vec::new();
    for (index, (extent, sum)) in buffer
        .chunks_mut(EXTENT_BYTES)
        .zip(sums.chunks(8))
        .enumerate()
    {
        let at = index * EXTENT_BYTES;
        let read = whole
            || file
                .read_at((start + at) as u64, extent)
                .is_ok_and(|read| read == extent.len());
        if sums_sound && read && xxh3_64(extent).to_le_bytes() == *sum {
            continue;
        }
        let end = at + extent.len();
        match damage.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => damage.push(at..end),
        }
    }
    let found = FoundPage {
        place: PagePlace {
            sequence: u64::from_le_bytes(number(header, 16)),
            range: start..start + bytes,
        },
        facts: PageFacts {
            newest: i64::from_le_bytes(number(header, 24)),
            chunks: u32::from_le_bytes(number(header, 12)),
            samples: u32::from_le_bytes(number(header, 32)),
        },
        readable: match damage.is_empty() {
            true => Vec::new(),
            false => buffer.clone(),
        },
        damage,
    };
    (found, start + bytes)
}
