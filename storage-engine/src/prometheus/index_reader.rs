//! Reads the index of a Prometheus block, version 2. (Version 1 ended with Prometheus 2.1, in 2018.)
//!
//! Promise: table of contents, symbols and the list of all series are checked at opening, each series when it is read; nothing is read
//! outside the file. Not here: postings by label; whoever reads a block reads all of it.

use super::bytes::{Cursor, Malformed};
use super::checksum::crc32c;
use super::index_writer::{ChunkMeta, Contents, INDEX_MAGIC, INDEX_VERSION, SERIES_ALIGNMENT};
use crate::io::FileBytes;
use crate::model::{Labels, LabelsError};
use std::ops::Range;

/// Bytes of magic and version.
const HEADER_BYTES: usize = 5;
/// Bytes of the table of contents with its checksum.
const CONTENTS_BYTES: usize = 6 * 8 + 4;

/// Why an index, or a part of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Too short, or another kind of file.
    #[error("not an index")]
    NotAnIndex,
    /// A version that this program does not know.
    #[error("index file version {0} is not supported, only {INDEX_VERSION}")]
    Version(u8),
    /// The bytes of a section are not what was written.
    #[error("{section}: checksum mismatch")]
    Checksum {
        /// Which.
        section: &'static str,
    },
    /// A section lies outside the file or cannot be taken apart.
    #[error("{section}: {cause}")]
    Section {
        /// Which.
        section: &'static str,
        /// What is wrong.
        cause: Malformed,
    },
    /// The index has no list of all series.
    #[error("there is no list of all series")]
    NoSeries,
    /// A series names a symbol that is not there.
    #[error("symbol {0} does not exist")]
    Symbol(u64),
    /// A series has labels that no series may have.
    #[error("labels: {0}")]
    Labels(#[from] LabelsError),
}

/// One series of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusSeries {
    /// How tombstones name it.
    pub reference: u64,
    /// Its labels.
    pub labels: Labels,
    /// Its chunks, oldest first.
    pub chunks: Vec<ChunkMeta>,
}

/// An open index.
pub(super) struct Index {
    bytes: FileBytes,
    /// Where the texts are, in the order by which series name them.
    symbols: Vec<Range<usize>>,
    /// References of all series, ascending.
    all: Vec<u32>,
}

/// Finds the content of the section with four bytes of length at `offset`, and checks it.
fn section<'a>(
    bytes: &'a [u8],
    offset: u64,
    section: &'static str,
) -> Result<(usize, &'a [u8]), IndexError> {
    let malformed = |cause| IndexError::Section { section, cause };
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(start..).ok_or_else(|| {
        malformed(Malformed {
            offset: bytes.len(),
        })
    })?;
    let mut cursor = Cursor::new(rest);
    let length = cursor.u32().map_err(malformed)?;
    let content = cursor.take(length as usize).map_err(malformed)?;
    if cursor.u32().map_err(malformed)? != crc32c(content) {
        return Err(IndexError::Checksum { section });
    }
    Ok((start + 4, content))
}

fn read_contents(bytes: &[u8]) -> Result<Contents, IndexError> {
    let section = "table of contents";
    let start = bytes.len().checked_sub(CONTENTS_BYTES);
    let start = start.ok_or(IndexError::NotAnIndex)?;
    let content = &bytes[start..];
    let (fields, checksum) = content.split_at(CONTENTS_BYTES - 4);
    if crc32c(fields).to_be_bytes() != checksum {
        return Err(IndexError::Checksum { section });
    }
    let mut cursor = Cursor::new(fields);
    let mut field = || {
        let field = cursor.u64();
        field.map_err(|cause| IndexError::Section { section, cause })
    };
    Ok(Contents {
        symbols: field()?,
        series: field()?,
        label_indexes: field()?,
        label_offsets: field()?,
        postings: field()?,
        posting_offsets: field()?,
    })
}

impl Index {
    /// Checks what is needed to find all series.
    pub(super) fn open(bytes: FileBytes) -> Result<Index, IndexError> {
        let mut cursor = Cursor::new(&bytes);
        if cursor.u32() != Ok(INDEX_MAGIC) {
            return Err(IndexError::NotAnIndex);
        }
        let version = cursor.u8().map_err(|_| IndexError::NotAnIndex)?;
        if version != INDEX_VERSION {
            return Err(IndexError::Version(version));
        }
        if bytes.len() < HEADER_BYTES + CONTENTS_BYTES {
            return Err(IndexError::NotAnIndex);
        }
        let contents = read_contents(&bytes)?;
        let symbols = read_symbols(&bytes, contents.symbols)?;
        let all = read_all(&bytes, contents.posting_offsets)?;
        Ok(Index {
            symbols,
            all,
            bytes,
        })
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// References of all series, ascending.
    pub(super) fn all(&self) -> &[u32] {
        &self.all
    }

    fn symbol(&self, symbol: u64) -> Result<&str, IndexError> {
        let position = usize::try_from(symbol).ok();
        let range = position.and_then(|position| self.symbols.get(position));
        let text = range.and_then(|range| std::str::from_utf8(&self.bytes[range.clone()]).ok());
        text.ok_or(IndexError::Symbol(symbol))
    }

    /// Reads and checks one series.
    pub(super) fn series(&self, reference: u32) -> Result<PrometheusSeries, IndexError> {
        let section = "series";
        let malformed = |cause| IndexError::Section { section, cause };
        let start = u64::from(reference) * SERIES_ALIGNMENT;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).ok_or_else(|| {
            malformed(Malformed {
                offset: self.bytes.len(),
            })
        })?;
        let mut cursor = Cursor::new(rest);
        let length = cursor.count(1).map_err(malformed)?;
        let entry = cursor.take(length).map_err(malformed)?;
        if cursor.u32().map_err(malformed)? != crc32c(entry) {
            return Err(IndexError::Checksum { section });
        }
        let mut cursor = Cursor::new(entry);
        let mut pairs = Vec::new();
        for _ in 0..cursor.count(2).map_err(malformed)? {
            let name = self.symbol(cursor.uvarint().map_err(malformed)?)?;
            let value = self.symbol(cursor.uvarint().map_err(malformed)?)?;
            pairs.push((name, value));
        }
        Ok(PrometheusSeries {
            reference: u64::from(reference),
            labels: Labels::from_pairs(pairs)?,
            chunks: read_chunks(&mut cursor).map_err(malformed)?,
        })
    }
}

fn read_chunks(cursor: &mut Cursor<'_>) -> Result<Vec<ChunkMeta>, Malformed> {
    let count = cursor.count(3)?;
    let mut chunks: Vec<ChunkMeta> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = chunks.last().copied();
        let min_time = match before {
            None => cursor.varint()?,
            Some(before) => before.max_time.wrapping_add(cursor.uvarint()? as i64),
        };
        let max_time = min_time.wrapping_add(cursor.uvarint()? as i64);
        let reference = match before {
            None => cursor.uvarint()?,
            Some(before) => before.reference.wrapping_add(cursor.varint()? as u64),
        };
        chunks.push(ChunkMeta {
            min_time,
            max_time,
            reference,
        });
    }
    Ok(chunks)
}

fn read_symbols(bytes: &[u8], offset: u64) -> Result<Vec<Range<usize>>, IndexError> {
    let name = "symbols";
    let malformed = |cause| IndexError::Section {
        section: name,
        cause,
    };
    let (start, content) = section(bytes, offset, name)?;
    let mut cursor = Cursor::new(content);
    let count = cursor.u32().map_err(malformed)?;
    let mut symbols = Vec::new();
    for _ in 0..count {
        let text = cursor.text().map_err(malformed)?;
        let end = start + cursor.at();
        symbols.push(end - text.len()..end);
    }
    Ok(symbols)
}

/// The list of all series, found through the table of posting offsets.
fn read_all(bytes: &[u8], offset: u64) -> Result<Vec<u32>, IndexError> {
    let name = "postings";
    let malformed = |cause| IndexError::Section {
        section: name,
        cause,
    };
    let (_, content) = section(bytes, offset, "table of posting offsets")?;
    let mut cursor = Cursor::new(content);
    for _ in 0..cursor.u32().map_err(malformed)? {
        let mut is_all = true;
        for _ in 0..cursor.uvarint().map_err(malformed)? {
            is_all &= cursor.text().map_err(malformed)?.is_empty();
        }
        let list = cursor.uvarint().map_err(malformed)?;
        if is_all {
            let (_, list) = section(bytes, list, name)?;
            let mut cursor = Cursor::new(list);
            let count = cursor.u32().map_err(malformed)?;
            let mut all = Vec::new();
            for _ in 0..count {
                all.push(cursor.u32().map_err(malformed)?);
            }
            return Ok(all);
        }
    }
    Err(IndexError::NoSeries)
}
