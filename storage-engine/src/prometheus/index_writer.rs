//! Writes the index of a Prometheus block, version 2.
//!
//! Layout: magic and version; symbols; series; label indexes; postings; tables of the offsets of both; table of contents. Each section has its
//! length before and its CRC-32C behind it. The label indexes are read by no Prometheus any more, but 3.5 writes them and so do we.
//! Promise: byte for byte what Prometheus 3.5 writes for the same series. Memory: the symbols, and four bytes for each label of each series.
//! Not here: chunks.

use super::bytes::{put_text, put_u32, put_uvarint, put_varint};
use super::checksum::{Crc32c, crc32c};
use super::output::Output;
use crate::io::Disk;
use crate::model::{Labels, TimestampMs};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// First bytes of an index.
pub(super) const INDEX_MAGIC: u32 = 0xbaaa_d700;
/// The version that is written.
pub(super) const INDEX_VERSION: u8 = 2;
/// Series begin at multiples of this, and their references count these steps.
pub(super) const SERIES_ALIGNMENT: u64 = 16;
/// Other sections begin at multiples of this.
const SECTION_ALIGNMENT: u64 = 4;

/// Where a chunk is and what time it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Time of its first sample.
    pub min_time: TimestampMs,
    /// Time of its last sample.
    pub max_time: TimestampMs,
    /// Where it is in the chunk files.
    pub reference: u64,
}

/// Starts of the sections, in the order of the table of contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) symbols: u64,
    pub(super) series: u64,
    pub(super) label_indexes: u64,
    pub(super) label_offsets: u64,
    pub(super) postings: u64,
    pub(super) posting_offsets: u64,
}

impl Contents {
    /// In the order of the file.
    pub(super) fn fields(self) -> [u64; 6] {
        [
            self.symbols,
            self.series,
            self.label_indexes,
            self.label_offsets,
            self.postings,
            self.posting_offsets,
        ]
    }
}

/// An index that grows.
pub(super) struct IndexWriter {
    out: Output,
    contents: Contents,
    symbols: Vec<String>,
    /// Series by name and value, as positions in `symbols`, which are ascending as the texts are.
    postings: BTreeMap<(u32, u32), Vec<u32>>,
    all: Vec<u32>,
    scratch: Vec<u8>,
}

fn too_large(what: &str) -> io::Error {
    io::Error::other(format!(
        "{what} of the index do not fit Prometheus's format"
    ))
}

fn to_u32(value: u64, what: &str) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| too_large(what))
}

impl IndexWriter {
    /// Begins with all names and values that will come, ascending and each once. The empty text comes first by itself, as in Prometheus.
    pub(super) fn create(
        disk: &dyn Disk,
        path: &Path,
        mut symbols: Vec<String>,
    ) -> io::Result<IndexWriter> {
        if symbols.first().is_none_or(|first| !first.is_empty()) {
            symbols.insert(0, String::new());
        }
        assert!(
            symbols.windows(2).all(|pair| pair[0] < pair[1]),
            "BUG: symbols are not ascending"
        );
        let mut out = Output::create(disk, path)?;
        let mut scratch = Vec::new();
        put_u32(&mut scratch, INDEX_MAGIC);
        scratch.push(INDEX_VERSION);
        out.write(&scratch)?;
        let mut writer = IndexWriter {
            out,
            contents: Contents::default(),
            symbols: Vec::new(),
            postings: BTreeMap::new(),
            all: Vec::new(),
            scratch: Vec::new(),
        };
        writer.contents.symbols = writer.out.position();
        let mut section = Vec::new();
        put_u32(&mut section, to_u32(symbols.len() as u64, "symbols")?);
        for symbol in &symbols {
            put_text(&mut section, symbol);
        }
        writer.section(&section)?;
        writer.symbols = symbols;
        writer.contents.series = writer.out.position();
        Ok(writer)
    }

    /// Writes length, content and checksum.
    fn section(&mut self, content: &[u8]) -> io::Result<()> {
        let bytes = to_u32(content.len() as u64, "sections")?;
        self.out.write(&bytes.to_be_bytes())?;
        self.out.write(content)?;
        self.out.write(&crc32c(content).to_be_bytes())
    }

    fn symbol(&self, text: &str) -> u32 {
        match self
            .symbols
            .binary_search_by(|symbol| symbol.as_str().cmp(text))
        {
            Ok(position) => position as u32,
            Err(_) => panic!("BUG: {text:?} was not announced as a symbol"),
        }
    }

    /// Adds a series behind all that are less than it.
    pub(super) fn add(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> io::Result<()> {
        self.out.pad(SERIES_ALIGNMENT)?;
        let reference = to_u32(self.out.position() / SERIES_ALIGNMENT, "series")?;
        let mut entry = std::mem::take(&mut self.scratch);
        entry.clear();
        put_uvarint(&mut entry, labels.len() as u64);
        for (name, value) in labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            put_uvarint(&mut entry, u64::from(name));
            put_uvarint(&mut entry, u64::from(value));
            let list = self.postings.entry((name, value)).or_default();
            list.push(reference);
        }
        put_uvarint(&mut entry, chunks.len() as u64);
        let mut before: Option<&ChunkMeta> = None;
        for chunk in chunks {
            match before {
                None => put_varint(&mut entry, chunk.min_time),
                Some(before) => {
                    put_uvarint(&mut entry, (chunk.min_time - before.max_time) as u64);
                }
            }
            put_uvarint(&mut entry, (chunk.max_time - chunk.min_time) as u64);
            match before {
                None => put_uvarint(&mut entry, chunk.reference),
                Some(before) => put_varint(
                    &mut entry,
                    chunk.reference.wrapping_sub(before.reference) as i64,
                ),
            }
            before = Some(chunk);
        }
        let mut length = Vec::new();
        put_uvarint(&mut length, entry.len() as u64);
        self.out.write(&length)?;
        self.out.write(&entry)?;
        self.out.write(&crc32c(&entry).to_be_bytes())?;
        self.all.push(reference);
        self.scratch = entry;
        Ok(())
    }

    /// The values of each name, as positions of symbols.
    fn values_by_name(&self) -> Vec<(u32, Vec<u32>)> {
        let mut names: Vec<(u32, Vec<u32>)> = Vec::new();
        for &(name, value) in self.postings.keys() {
            match names.last_mut() {
                Some((last, values)) if *last == name => values.push(value),
                _ => names.push((name, vec![value])),
            }
        }
        names
    }

    fn write_label_indexes(&mut self) -> io::Result<Vec<u8>> {
        self.contents.label_indexes = self.out.position();
        let names = self.values_by_name();
        let mut offsets = Vec::new();
        put_u32(&mut offsets, names.len() as u32);
        for (name, values) in names {
            self.out.pad(SECTION_ALIGNMENT)?;
            offsets.push(1);
            put_text(&mut offsets, &self.symbols[name as usize]);
            put_uvarint(&mut offsets, self.out.position());
            let mut content = Vec::new();
            put_u32(&mut content, 1);
            put_u32(&mut content, values.len() as u32);
            for value in values {
                put_u32(&mut content, value);
            }
            self.section(&content)?;
        }
        Ok(offsets)
    }

    fn write_postings(&mut self) -> io::Result<Vec<u8>> {
        // The start as Prometheus notes it is that of the first list, behind the padding.
        self.out.pad(SECTION_ALIGNMENT)?;
        self.contents.postings = self.out.position();
        let postings = std::mem::take(&mut self.postings);
        let mut offsets = Vec::new();
        put_u32(&mut offsets, to_u32(postings.len() as u64 + 1, "postings")?);
        let all = std::mem::take(&mut self.all);
        let lists = std::iter::once((None, all));
        let lists = lists.chain(postings.into_iter().map(|(key, list)| (Some(key), list)));
        for (key, list) in lists {
            self.out.pad(SECTION_ALIGNMENT)?;
            offsets.push(2);
            for symbol in [key.map(|key| key.0), key.map(|key| key.1)] {
                // The list of all series has an empty name and an empty value.
                let text = symbol.map_or("", |symbol| &self.symbols[symbol as usize]);
                put_text(&mut offsets, text);
            }
            put_uvarint(&mut offsets, self.out.position());
            self.write_list(&list)?;
        }
        Ok(offsets)
    }

    fn write_list(&mut self, list: &[u32]) -> io::Result<()> {
        let bytes = to_u32(list.len() as u64 * 4 + 4, "postings")?;
        self.out.write(&bytes.to_be_bytes())?;
        let mut crc = Crc32c::default();
        let count = (list.len() as u32).to_be_bytes();
        crc.update(&count);
        self.out.write(&count)?;
        for part in list.chunks(4096) {
            self.scratch.clear();
            part.iter()
                .for_each(|reference| self.scratch.extend(reference.to_be_bytes()));
            crc.update(&self.scratch);
            self.out.write(&self.scratch)?;
        }
        self.out.write(&crc.finish().to_be_bytes())
    }

    /// Writes the rest and makes it durable.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let label_offsets = self.write_label_indexes()?;
        let posting_offsets = self.write_postings()?;
        self.contents.label_offsets = self.out.position();
        self.section(&label_offsets)?;
        self.contents.posting_offsets = self.out.position();
        self.section(&posting_offsets)?;
        let mut contents = Vec::new();
        for field in self.contents.fields() {
            contents.extend(field.to_be_bytes());
        }
        let checksum = crc32c(&contents);
        put_u32(&mut contents, checksum);
        self.out.write(&contents)?;
        self.out.finish()
    }
}
