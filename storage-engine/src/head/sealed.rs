//! Sealed chunks: immutable, back to back in big pages, each linked to the one before of its series.
//!
//! Layout, little endian, aligned to 4 bytes: `u32` previous chunk, `u32` span (last minus first timestamp, ms), `i64`
//! first timestamp, `u16` bytes of body, `u16` samples; then the body: the packed columns of [`super::page`] (the top
//! bit of the length is set), the stream of [`super::bits`] where packing would cost more than a quarter more bytes, or 8
//! bytes of value when the length is 0 (regular timestamps and one value).
//! Promise: a chunk never moves and never changes.

use super::bits::{self, Bits, CHUNK_BYTES_MAX};
use super::hot::Hot;
use super::page;
use super::slab::Slab;
use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;

const PAGE_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = 20;

/// Where a sealed chunk begins, in units of 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef(u32);

impl ChunkRef {
    /// No chunk.
    pub(crate) const NONE: ChunkRef = ChunkRef(u32::MAX);
    /// What a reference can address: 16 GiB.
    pub(crate) const BYTES_MAX: u64 = 4 << 32;
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
        }
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
        }
    }
}

/// The arena.
#[derive(Default)]
pub(crate) struct Sealed {
    pages: Vec<Vec<u8>>,
    chunks: u64,
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
        let (body, length) = if used == 0 {
            (&hot.last_bits.to_le_bytes()[..], 0)
        } else if self.packed.is_empty() {
            (stream, used as u16)
        } else {
            (self.packed.as_slice(), self.packed.len() as u16 | PACKED)
        };
        let bytes = (HEADER_BYTES + body.len()).next_multiple_of(4);
        if self
            .pages
            .last()
            .is_none_or(|page| page.len() + bytes > PAGE_BYTES)
        {
            self.pages.push(Vec::with_capacity(PAGE_BYTES));
        }
        let page_index = self.pages.len() - 1;
        let page = &mut self.pages[page_index];
        let at = (page_index * PAGE_BYTES + page.len()) as u64;
        assert!(
            at < ChunkRef::BYTES_MAX - 4,
            "BUG: sealed chunks beyond the arena's bound"
        );
        let span = hot.last_ts.abs_diff(hot.first_ts) as u32;
        page.extend_from_slice(&hot.sealed.0.to_le_bytes());
        page.extend_from_slice(&span.to_le_bytes());
        page.extend_from_slice(&hot.first_ts.to_le_bytes());
        page.extend_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&hot.count.to_le_bytes());
        page.extend_from_slice(body);
        page.resize(page.len().next_multiple_of(4), 0);
        self.chunks += 1;
        hot.restart(ChunkRef((at / 4) as u32), slab);
    }

    /// The chunk at `at`; `None` for [`ChunkRef::NONE`].
    #[inline]
    pub(crate) fn get(&self, at: ChunkRef) -> Option<Chunk<'_>> {
        if at == ChunkRef::NONE {
            return None;
        }
        let byte = at.0 as usize * 4;
        let rest = self
            .pages
            .get(byte / PAGE_BYTES)?
            .get(byte % PAGE_BYTES..)?;
        let (header, rest) = rest.split_first_chunk::<HEADER_BYTES>()?;
        let [p0, p1, p2, p3, s0, s1, s2, s3, t @ .., l0, l1, n0, n1] = *header;
        let length = u16::from_le_bytes([l0, l1]);
        let bytes = usize::from(length & !PACKED);
        let body = if length == 0 {
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

    /// Number of chunks.
    pub(super) fn chunk_count(&self) -> u64 {
        self.chunks
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE_BYTES) as u64
    }
}
