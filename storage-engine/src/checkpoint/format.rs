//! Sections of a checkpoint: the bytes of one, how they are made and checked.
//!
//! Promise: a section is believed only in the file and at the place it was written for, and only whole; damage to one section hides no
//! other, because a reader that lost its place tries every aligned offset behind it. Pure: no I/O. Format page: `docs/format/checkpoint.md`.
//! Not here: finding them in a file (`sections`), what the payloads mean (`series`, `load`).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Highest version of the format; a file with a higher one is refused.
pub(super) const CHECKPOINT_FORMAT_VERSION: u8 = 1;
/// First bytes of every section.
const MAGIC: [u8; 4] = *b"fCKP";
/// Bytes before the payload.
pub(super) const SECTION_HEADER_BYTES: usize = 40;
/// Sections start at multiples of this.
pub(super) const SECTION_ALIGNMENT: usize = 8;

pub(super) const AT_VERSION: usize = 4;
const AT_KIND: usize = 5;
const AT_PAYLOAD_BYTES: usize = 8;
const AT_ENTRIES: usize = 12;
const AT_NUMBER: usize = 16;
const AT_PAYLOAD_CHECKSUM: usize = 24;
pub(super) const AT_HEADER_CHECKSUM: usize = 32;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Facts of the whole shard; written first and again before the end.
    State,
    /// Series: labels, open chunks, where their sealed chunks are.
    Series,
    /// Native histograms: the payload of the log's records of that kind.
    Histograms,
    /// A part of a page of sealed chunks that was not full.
    OpenPage,
    /// A record of the log that the shard would have to read again: its kind, then its payload.
    Record,
    /// The last one: how many sections and entries there are.
    End,
}

const KINDS: [(SectionKind, u8); 6] = [
    (SectionKind::State, 1),
    (SectionKind::Series, 2),
    (SectionKind::Histograms, 3),
    (SectionKind::OpenPage, 4),
    (SectionKind::Record, 5),
    (SectionKind::End, 6),
];

/// Binds sections to one checkpoint of one shard of one store: bytes of another file never pass for a section of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CheckpointSeal(u64);

impl CheckpointSeal {
    /// The seal of the checkpoint that covers the log up to record `lsn`.
    pub(super) fn new(store_id: &[u8; 16], shard: u32, lsn: u64) -> CheckpointSeal {
        let mut bytes = [0_u8; 28];
        bytes[..16].copy_from_slice(store_id);
        bytes[16..20].copy_from_slice(&shard.to_le_bytes());
        bytes[20..].copy_from_slice(&lsn.to_le_bytes());
        CheckpointSeal(xxh3_64(&bytes))
    }

    pub(super) fn header_checksum(self, offset: u64, header: &[u8]) -> u64 {
        xxh3_64_with_seed(&header[..AT_HEADER_CHECKSUM], self.0.wrapping_add(offset))
    }
}

/// Writes sections one behind the other.
pub(super) struct SectionWriter {
    seal: CheckpointSeal,
    offset: u64,
    sections: u64,
}

impl SectionWriter {
    pub(super) fn new(seal: CheckpointSeal) -> SectionWriter {
        SectionWriter {
            seal,
            offset: 0,
            sections: 0,
        }
    }

    /// Where the next section goes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Sections so far.
    pub(super) fn sections(&self) -> u64 {
        self.sections
    }

    /// Makes a whole section of what lies in `bytes` behind room for its header. `entries` is what is lost with it.
    pub(super) fn finish(&mut self, kind: SectionKind, entries: u32, bytes: &mut Vec<u8>) {
        let payload = &bytes[SECTION_HEADER_BYTES..];
        let payload_bytes = u32::try_from(payload.len()).expect("BUG: a section is bounded");
        let checksum = xxh3_64(payload);
        let code = KINDS.iter().find(|(k, _)| *k == kind).map(|(_, c)| *c);
        let header = &mut bytes[..SECTION_HEADER_BYTES];
        header.fill(0);
        header[..4].copy_from_slice(&MAGIC);
        header[AT_VERSION] = CHECKPOINT_FORMAT_VERSION;
        header[AT_KIND] = code.expect("BUG: every kind is in the table");
        header[AT_PAYLOAD_BYTES..AT_ENTRIES].copy_from_slice(&payload_bytes.to_le_bytes());
        header[AT_ENTRIES..AT_NUMBER].copy_from_slice(&entries.to_le_bytes());
        header[AT_NUMBER..AT_PAYLOAD_CHECKSUM].copy_from_slice(&self.sections.to_le_bytes());
        header[AT_PAYLOAD_CHECKSUM..AT_HEADER_CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        let checksum = self.seal.header_checksum(self.offset, header);
        header[AT_HEADER_CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(SECTION_ALIGNMENT), 0);
        self.offset += bytes.len() as u64;
        self.sections += 1;
    }
}

/// Room for a header: what a section begins with before its payload is added.
pub(super) fn begin_section() -> Vec<u8> {
    vec![0; SECTION_HEADER_BYTES]
}

/// What a section's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct SectionHeader {
    pub(super) kind: SectionKind,
    pub(super) payload_bytes: usize,
    /// What is lost with the section.
    pub(super) entries: u32,
    /// Its place among the sections, from 0.
    pub(super) number: u64,
    pub(super) payload_checksum: u64,
}

/// Why there is no header that this program can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Anything but a header.
    NotASection,
    /// A sound header of a later format.
    Newer { version: u8 },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Reads the header at `offset` of the file.
pub(super) fn read_header(
    header: &[u8],
    seal: CheckpointSeal,
    offset: u64,
) -> Result<SectionHeader, NoHeader> {
    let believed = header[..4] == MAGIC
        && u64_at(header, AT_HEADER_CHECKSUM) == seal.header_checksum(offset, header);
    if !believed {
        return Err(NoHeader::NotASection);
    }
    let version = header[AT_VERSION];
    let kind = KINDS.iter().find(|(_, code)| *code == header[AT_KIND]);
    let (Some((kind, _)), false) = (kind, version > CHECKPOINT_FORMAT_VERSION) else {
        return Err(NoHeader::Newer { version });
    };
    Ok(SectionHeader {
        kind: *kind,
        payload_bytes: u32_at(header, AT_PAYLOAD_BYTES) as usize,
        entries: u32_at(header, AT_ENTRIES),
        number: u64_at(header, AT_NUMBER),
        payload_checksum: u64_at(header, AT_PAYLOAD_CHECKSUM),
    })
}

/// Numbers and texts of payloads, written.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A payload whose checksum is right says something impossible: a fault of the program that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid entry {left} bytes before the end of a section")]
pub(super) struct Malformed {
    left: usize,
}

/// Reads a payload from front to back.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadReader<'a>(pub(super) &'a [u8]);

impl<'a> PayloadReader<'a> {
    pub(super) fn malformed(&self) -> Malformed {
        Malformed { left: self.0.len() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        match self.0.split_at_checked(bytes) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(self.malformed()),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.0.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(*taken)
            }
            None => Err(self.malformed()),
        }
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        // Most are of one byte.
        if let Some((&byte, rest)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(byte));
        }
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    /// A varint that fits 32 bits.
    #[inline(always)]
    pub(super) fn small(&mut self) -> Result<u32, Malformed> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.malformed())
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}
