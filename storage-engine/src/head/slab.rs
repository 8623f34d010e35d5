//! Segments of one cache line for open chunks, chained from the newest back, reused through a free list.
//!
//! A stream grows segment by segment and is never copied, so series that grow in step strand nothing: a chunk wastes at
//! most part of one line. Word 0 of a segment names the one before it (or the next free one), words 1 to 7 hold data.
//! Promise: a segment belongs to one series until released; no memory is given back to the system, the next chunk
//! takes it.

use super::lines::Lines;

/// Data words of a segment.
pub(crate) const SEGMENT_DATA_WORDS: u8 = 7;
/// Segments at most: 256 GiB.
const SEGMENTS_MAX: usize = NONE as usize;
/// No segment.
const NONE: u32 = u32::MAX;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Segment([u64; 8]);

const _: () = assert!(size_of::<Segment>() == 64 && SEGMENT_DATA_WORDS == 7);

/// Hints that the line at `address` will be used; any address is fine, nothing is read.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and reads nothing that the program can see, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// All segments of a shard.
pub(crate) struct Slab {
    segments: Lines<Segment>,
    free: u32,
}

impl Default for Slab {
    fn default() -> Self {
        Slab {
            segments: Lines::new(Segment([0; 8])),
            free: NONE,
        }
    }
}

impl Slab {
    #[inline(always)]
    fn at(&mut self, segment: u32) -> &mut Segment {
        let line = self.segments.get_mut(segment as usize);
        line.expect("BUG: a segment that was never cut")
    }

    /// A segment for the start of a stream; its data words are unspecified.
    pub(super) fn begin(&mut self) -> u32 {
        self.extend(NONE)
    }

    /// A segment that follows `previous`.
    #[inline]
    pub(super) fn extend(&mut self, previous: u32) -> u32 {
        let segment = if self.free != NONE {
            self.free
        } else {
            self.cut()
        };
        let line = self.at(segment);
        let next_free = line.0[0] as u32;
        line.0[0] = u64::from(previous);
        if self.free != NONE {
            self.free = next_free;
        }
        segment
    }

    /// A segment that was never used.
    fn cut(&mut self) -> u32 {
        let segment = self.segments.len();
        assert!(
            segment < SEGMENTS_MAX,
            "BUG: open chunks take more than 256 GiB"
        );
        self.segments.grow(segment + 1);
        segment as u32
    }

    /// Gives back a stream of `count` segments that ends with `last`.
    pub(super) fn release(&mut self, last: u32, count: u8) {
        let mut first = last;
        for _ in 1..count {
            first = self.at(first).0[0] as u32;
        }
        let free = self.free;
        self.at(first).0[0] = u64::from(free);
        self.free = last;
    }

    /// Sets data word `word` (from 0) of a segment.
    #[inline(always)]
    pub(super) fn set_word(&mut self, segment: u32, word: u8, value: u64) {
        self.at(segment).0[usize::from(word) + 1] = value;
    }

    /// The data words of a segment, and the segment before it.
    #[inline]
    pub(super) fn segment(&self, segment: u32) -> (&[u64], u32) {
        let line = self.segments.get(segment as usize);
        let line = line.expect("BUG: a segment that was never cut");
        (&line.0[1..], line.0[0] as u32)
    }

    /// Address of a segment, for prefetching only.
    #[inline(always)]
    pub(super) fn address(&self, segment: u32) -> *const u8 {
        self.segments.address(segment as usize).cast()
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.bytes() as u64
    }
}
