//! Sealed chunks: immutable, back to back in big pages, each linked to the one before of its series.
//!
//! Layout, little endian, aligned to 4 bytes: `u32` previous chunk, `u32` span (last minus first timestamp, ms), `i64`
//! first timestamp, `u16` bytes of body, `u16` samples; then the body: the packed columns of [`super::page`] (the top
//! bit of the length is set), the stream of [`super::bits`] where packing would cost more than a quarter more bytes, or 8
//! bytes of value when the length is 0 (regular timestamps and one value).
//!
//! Pages are numbered without end and kept as a ring: the oldest are freed when blocks hold their chunks. A reference
//! has the page's number modulo [`SEQUENCES`]; at most half as many pages live at once, so that a reference into a freed
//! page never means a live one. A full page may be replaced by its twin in a mapped file.
//! Promise: a chunk never moves and never changes. Not here: when pages may go (the shard), the files (checkpoints).

use super::bits::{self, Bits, CHUNK_BYTES_MAX};
use super::hot::Hot;
use super::page;
use super::slab::Slab;
use crate::io::FileBytes;
use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

const PAGE_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = 20;
/// References count in units of 4 bytes: these bits say where in a page.
const UNIT_BITS: u32 = 18;
/// Different page numbers in references.
const SEQUENCES: u64 = 1 << (32 - UNIT_BITS);
/// Most pages at once.
const PAGES_MAX: usize = (SEQUENCES / 2) as usize;
/// Pages kept free for the batch that is let in last.
const PAGES_SPARE: usize = 1024;

const _: () = assert!(PAGE_BYTES == 4 << UNIT_BITS);

/// Where a sealed chunk begins: page number and place in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef(pub(crate) u32);

impl ChunkRef {
    /// No chunk. No chunk is as small as the last unit of a page, so no chunk is there.
    pub(crate) const NONE: ChunkRef = ChunkRef(u32::MAX);
}

/// One sealed chunk in place.
pub(crate) struct Chunk<'a> {
    /// The chunk before it.
    pub(crate) previous: ChunkRef,
    /// First timestamp.
    pub(crate) first_ts: TimestampMs,
    span: u32,
    count: u16,
    body: Body<'a>,
}

/// In the length of a body: it is packed.
const PACKED: u16 = 0x8000;

enum Body<'a> {
    Stream(&'a [u8]),
    Packed(&'a [u8]),
    Regular(f64),
    /// It is not what was written; only the header is.
    Damaged,
}

impl Chunk<'_> {
    /// Last timestamp.
    pub(crate) fn last_ts(&self) -> TimestampMs {
        self.first_ts.wrapping_add(i64::from(self.span))
    }

    /// Bytes of the encoded samples.
    pub(crate) fn body_bytes(&self) -> usize {
        match self.body {
            Body::Stream(bytes) | Body::Packed(bytes) => bytes.len(),
            Body::Regular(_) => size_of::<f64>(),
            Body::Damaged => 0,
        }
    }

    /// Are its samples lost?
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.body, Body::Damaged)
    }

    /// Appends the samples in `range` to `out`.
    pub(crate) fn read(&self, range: TimeRange, out: &mut SampleColumns) {
        match self.body {
            Body::Stream(stream) => {
                bits::decode_stream(Bits::new(stream), self.first_ts, self.count, range, out);
            }
            Body::Packed(body) => {
                page::unpack(body, self.first_ts, self.span, self.count, range, out);
            }
            Body::Regular(value) => {
                let gaps = u64::from(self.count.max(2) - 1);
                let delta = u64::from(self.span) / gaps;
                bits::decode_regular(self.first_ts, delta, value, self.count, range, out);
            }
            Body::Damaged => {}
        }
    }
}

/// What is known of a page without looking at its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageFacts {
    /// Newest sample of all chunks.
    pub(crate) newest: TimestampMs,
    /// Chunks.
    pub(crate) chunks: u32,
    /// Samples of all chunks.
    pub(crate) samples: u32,
}

impl PageFacts {
    const NONE: PageFacts = PageFacts {
        newest: TimestampMs::MIN,
        chunks: 0,
        samples: 0,
    };
}

/// Where the bytes of a page are.
#[cfg_attr(not(test), allow(dead_code, reason = "for checkpoints"))]
pub(crate) enum PageBytes {
    /// In memory; the last page grows there.
    Heap(Vec<u8>),
    /// A part of a mapped file.
    Mapped(Arc<FileBytes>, Range<usize>),
    /// In memory, with parts that are not what was written.
    Damaged(Vec<u8>, Vec<Range<usize>>),
    /// Nowhere any more: all its chunks are older than what is kept.
    Freed,
}

impl PageBytes {
    #[inline(always)]
    fn get(&self) -> &[u8] {
        match self {
            PageBytes::Heap(bytes) | PageBytes::Damaged(bytes, _) => bytes,
            PageBytes::Mapped(file, range) => file.get(range.clone()).unwrap_or_default(),
            PageBytes::Freed => &[],
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            PageBytes::Heap(bytes) | PageBytes::Damaged(bytes, _) => bytes.capacity(),
            PageBytes::Mapped(..) | PageBytes::Freed => 0,
        }
    }

    /// Is its true copy in a file?
    fn is_in_file(&self) -> bool {
        matches!(self, PageBytes::Mapped(..) | PageBytes::Damaged(..))
    }

    fn mapped_bytes(&self) -> usize {
        match self {
            PageBytes::Mapped(_, range) => range.len(),
            PageBytes::Heap(_) | PageBytes::Damaged(..) | PageBytes::Freed => 0,
        }
    }
}

struct Page {
    bytes: PageBytes,
    facts: PageFacts,
}

impl Page {
    /// Is anything in a part of the page not what was written?
    #[inline(always)]
    fn is_damaged(&self, part: Range<usize>) -> bool {
        match &self.bytes {
            PageBytes::Damaged(_, damage) => damage
                .iter()
                .any(|d| d.start < part.end && part.start < d.end),
            _ => false,
        }
    }
}

/// A page as a checkpoint sees it.
#[cfg_attr(not(test), allow(dead_code, reason = "for checkpoints"))]
pub(crate) struct PageView<'a> {
    /// Its number; ascending, never used twice.
    pub(crate) sequence: u64,
    /// The chunks, back to back.
    pub(crate) bytes: &'a [u8],
    /// What is in them.
    pub(crate) facts: PageFacts,
    /// It is in a file already.
    pub(crate) mapped: bool,
    /// No chunk will be added to it.
    pub(crate) full: bool,
}

/// The arena.
#[derive(Default)]
pub(crate) struct Sealed {
    pages: VecDeque<Page>,
    /// Number of the first page.
    first: u64,
    chunks: u64,
    heap_bytes: u64,
    mapped_bytes: u64,
    /// What is being sealed, kept for its memory.
    columns: SampleColumns,
    packed: Vec<u8>,
}

impl Sealed {
    /// Writes the open chunk of `hot` here and empties it.
    #[inline(never)]
    pub(super) fn seal(&mut self, hot: &mut Hot, slab: &mut Slab) {
        let mut stream = [0_u8; CHUNK_BYTES_MAX];
        let used = if hot.has_stream() {
            hot.copy_stream(slab, &mut stream)
        } else {
            0
        };
        let stream = &stream[..used];
        self.packed.clear();
        if used > 0 {
            self.columns.clear();
            let all = TimeRange {
                min: TimestampMs::MIN,
                max: TimestampMs::MAX,
            };
            let reader = Bits::new(stream);
            bits::decode_stream(reader, hot.first_ts, hot.count, all, &mut self.columns);
            page::pack(&self.columns, used + used / 4, &mut self.packed);
        }
        // A reference into a page that was freed must not outlive the numbers that tell them apart.
        let previous = if self.is_live(hot.sealed) {
            hot.sealed
        } else {
            ChunkRef::NONE
        };
        let packed = std::mem::take(&mut self.packed);
        let (body, length) = if used == 0 {
            (&hot.last_bits.to_le_bytes()[..], 0)
        } else if packed.is_empty() {
            (stream, used as u16)
        } else {
            (packed.as_slice(), packed.len() as u16 | PACKED)
        };
        let bytes = (HEADER_BYTES + body.len()).next_multiple_of(4);
        let (sequence, page, facts) = self.page_with_room(bytes);
        let at = page.len() / 4;
        let span = hot.last_ts.abs_diff(hot.first_ts) as u32;
        page.extend_from_slice(&previous.0.to_le_bytes());
        page.extend_from_slice(&span.to_le_bytes());
        page.extend_from_slice(&hot.first_ts.to_le_bytes());
        page.extend_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&hot.count.to_le_bytes());
        page.extend_from_slice(body);
        page.resize(page.len().next_multiple_of(4), 0);
        facts.newest = facts.newest.max(hot.last_ts);
        facts.chunks += 1;
        facts.samples += u32::from(hot.count);
        self.packed = packed;
        self.chunks += 1;
        let number = (sequence % SEQUENCES) as u32;
        hot.restart(ChunkRef(number << UNIT_BITS | at as u32), slab);
    }

    /// The last page if it takes `bytes` more, else a new one.
    #[inline]
    fn page_with_room(&mut self, bytes: usize) -> (u64, &mut Vec<u8>, &mut PageFacts) {
        let has_room = match self.pages.back() {
            Some(Page {
                bytes: PageBytes::Heap(page),
                ..
            }) => page.len() + bytes <= PAGE_BYTES,
            _ => false,
        };
        if !has_room {
            assert!(
                self.pages.len() < PAGES_MAX,
                "BUG: sealed chunks beyond the arena's bound"
            );
            self.push(
                PageBytes::Heap(Vec::with_capacity(PAGE_BYTES)),
                PageFacts::NONE,
            );
        }
        let sequence = self.next_sequence() - 1;
        match self.pages.back_mut() {
            Some(Page {
                bytes: PageBytes::Heap(page),
                facts,
            }) => (sequence, page, facts),
            _ => unreachable!("BUG: the last page is on the heap"),
        }
    }

    fn push(&mut self, bytes: PageBytes, facts: PageFacts) {
        self.heap_bytes += bytes.heap_bytes() as u64;
        self.mapped_bytes += bytes.mapped_bytes() as u64;
        self.chunks += u64::from(facts.chunks);
        self.pages.push_back(Page { bytes, facts });
    }

    /// The number that the next new page gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.first + self.pages.len() as u64
    }

    #[inline(always)]
    fn page_of(&self, at: ChunkRef) -> Option<&Page> {
        let number = u64::from(at.0 >> UNIT_BITS);
        let index = number.wrapping_sub(self.first) % SEQUENCES;
        self.pages.get(index as usize)
    }

    /// Does the reference mean a chunk that should be here and cannot be read?
    pub(super) fn is_lost(&self, at: ChunkRef) -> bool {
        self.is_live(at) && self.get(at).is_none()
    }

    /// Does the reference mean a chunk that is still here?
    pub(super) fn is_live(&self, at: ChunkRef) -> bool {
        at != ChunkRef::NONE
            && self
                .page_of(at)
                .is_some_and(|page| !matches!(page.bytes, PageBytes::Freed))
    }

    /// The chunk at `at`; `None` for [`ChunkRef::NONE`], for a chunk that was freed, and for one whose header is damaged.
    #[inline]
    pub(crate) fn get(&self, at: ChunkRef) -> Option<Chunk<'_>> {
        if at == ChunkRef::NONE {
            return None;
        }
        let unit = at.0 & ((1 << UNIT_BITS) - 1);
        let page = self.page_of(at)?;
        let rest = page.bytes.get().get(unit as usize * 4..)?;
        let (header, rest) = rest.split_first_chunk::<HEADER_BYTES>()?;
        let start = unit as usize * 4;
        if page.is_damaged(start..start + HEADER_BYTES) {
            return None;
        }
        let [p0, p1, p2, p3, s0, s1, s2, s3, t @ .., l0, l1, n0, n1] = *header;
        let length = u16::from_le_bytes([l0, l1]);
        let bytes = usize::from(length & !PACKED);
        let body_bytes = if length == 0 { 8 } else { bytes };
        let body = if page.is_damaged(start..start + HEADER_BYTES + body_bytes) {
            Body::Damaged
        } else if length == 0 {
            Body::Regular(f64::from_le_bytes(*rest.first_chunk::<8>()?))
        } else if length & PACKED != 0 {
            Body::Packed(rest.get(..bytes)?)
        } else {
            Body::Stream(rest.get(..bytes)?)
        };
        Some(Chunk {
            previous: ChunkRef(u32::from_le_bytes([p0, p1, p2, p3])),
            span: u32::from_le_bytes([s0, s1, s2, s3]),
            first_ts: i64::from_le_bytes(t),
            count: u16::from_le_bytes([n0, n1]),
            body,
        })
    }

    /// Pages that are still here, oldest first.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PageView<'_>> {
        let last = self.next_sequence().wrapping_sub(1);
        self.pages
            .iter()
            .zip(self.first..)
            .filter(|(page, _)| !matches!(page.bytes, PageBytes::Freed))
            .map(move |(page, sequence)| PageView {
                sequence,
                bytes: page.bytes.get(),
                facts: page.facts,
                mapped: page.bytes.is_in_file(),
                full: sequence != last || page.bytes.is_in_file(),
            })
    }

    /// Puts a part of a mapped file in the place of a full page on the heap, whose bytes it repeats. `false`, with
    /// nothing changed, if there is no such page (any more).
    pub(crate) fn replace(
        &mut self,
        sequence: u64,
        file: &Arc<FileBytes>,
        range: Range<usize>,
    ) -> bool {
        let full = sequence.wrapping_add(1) < self.next_sequence();
        let index = sequence.wrapping_sub(self.first);
        let Some(page) = self.pages.get_mut(index as usize) else {
            return false;
        };
        let same_length = |bytes: &[u8]| {
            file.get(range.clone())
                .is_some_and(|f| f.len() == bytes.len())
        };
        match &page.bytes {
            PageBytes::Heap(bytes) if full && same_length(bytes) => {}
            _ => return false,
        }
        self.heap_bytes -= page.bytes.heap_bytes() as u64;
        page.bytes = PageBytes::Mapped(Arc::clone(file), range);
        self.mapped_bytes += page.bytes.mapped_bytes() as u64;
        true
    }

    /// Brings back a page at start, in ascending order of number; pages left out count as freed. `false` if the number
    /// is not above all others or too far from the first.
    pub(crate) fn restore(&mut self, sequence: u64, bytes: PageBytes, facts: PageFacts) -> bool {
        if self.pages.is_empty() {
            self.first = self.first.max(sequence);
        }
        if sequence < self.next_sequence() || sequence - self.first >= PAGES_MAX as u64 {
            return false;
        }
        while self.next_sequence() < sequence {
            self.push(PageBytes::Freed, PageFacts::NONE);
        }
        let bytes = match bytes {
            PageBytes::Heap(mut bytes) if bytes.len() <= PAGE_BYTES => {
                bytes.reserve_exact(PAGE_BYTES - bytes.len());
                PageBytes::Heap(bytes)
            }
            other => other,
        };
        self.push(bytes, facts);
        true
    }

    /// Frees the page of this number if all its chunks are older than `before`. Returns the samples that went with it.
    pub(super) fn free_page(&mut self, sequence: u64, before: TimestampMs) -> u64 {
        let index = sequence.wrapping_sub(self.first) as usize;
        let mut samples = 0;
        if let Some(page) = self.pages.get_mut(index)
            && page.facts.newest < before
        {
            self.heap_bytes -= page.bytes.heap_bytes() as u64;
            self.mapped_bytes -= page.bytes.mapped_bytes() as u64;
            self.chunks -= u64::from(page.facts.chunks);
            samples = u64::from(page.facts.samples);
            page.bytes = PageBytes::Freed;
            page.facts = PageFacts::NONE;
        }
        while matches!(
            self.pages.front(),
            Some(Page {
                bytes: PageBytes::Freed,
                ..
            })
        ) {
            self.pages.pop_front();
            self.first += 1;
        }
        samples
    }

    /// Numbers of all pages, freed ones among them.
    pub(super) fn sequences(&self) -> Range<u64> {
        self.first..self.next_sequence()
    }

    /// Number of chunks.
    pub(super) fn chunk_count(&self) -> u64 {
        self.chunks
    }

    /// Bytes of the pages in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.heap_bytes
    }

    /// Bytes of the pages in mapped files.
    pub(super) fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// May another batch be let in without passing the bound of the arena?
    pub(super) fn has_room(&self) -> bool {
        self.pages.len() < PAGES_MAX - PAGES_SPARE
    }
}

#[cfg(test)]
mod tests;
