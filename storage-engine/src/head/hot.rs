//! The hot line of a series: everything an append touches, in one cache line.
//!
//! The open chunk is in one of two states. Without a segment, the samples are `first_ts + i * delta`, all with the value
//! `last_bits`. The first sample that breaks this gives the series a slab segment and writes what came before as a stream
//! (format in [`super::bits`]); from then on whole words go to the newest segment and the rest waits in `word`.
//! Not here: which samples are let in beyond the order of time (the shard), reading (the head).

mod image;

pub(crate) use image::{NewestKind, OpenImage, SeriesImage, StreamImage};

use super::bits::{CHUNK_BYTES_MAX, CHUNK_SEGMENTS_CUT, DOD_BITS};
use super::sealed::ChunkRef;
use super::slab::{SEGMENT_DATA_WORDS, Slab};
use super::{CHUNK_SAMPLES, Verdict};
use crate::model::{STALE_NAN_BITS, TimestampMs};
use crate::shard_api::RejectReason;

/// A window that no XOR fits, so the first changed value writes its own.
const NO_WINDOW: u8 = 64;

/// State of one series between appends.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// Newest timestamp.
    pub(super) last_ts: TimestampMs,
    /// Bits of the newest value.
    pub(super) last_bits: u64,
    /// Bits of the stream that do not fill a word yet, from the top.
    word: u64,
    /// First timestamp of the open chunk.
    pub(super) first_ts: TimestampMs,
    /// Difference of the last two timestamps of the open chunk; 0 with fewer than two.
    pub(super) delta: u32,
    /// Newest slab segment of the open chunk, if it has any.
    pub(super) segment: u32,
    /// 0 for a vacant slot; else it must equal the one in the reference.
    pub(super) generation: u32,
    /// Newest sealed chunk.
    pub(super) sealed: ChunkRef,
    /// Samples in the open chunk.
    pub(super) count: u16,
    /// Segments of the open chunk.
    pub(super) segments: u8,
    /// Full words in the newest segment.
    words: u8,
    /// Bits used in `word`, 0..=63.
    word_bits: u8,
    /// Leading zeros of the XOR window.
    lead: u8,
    /// Trailing zeros of the XOR window.
    trail: u8,
    /// Kind of the newest sample, which may be in a sealed chunk or beside the chunks.
    newest: Newest,
}

const _: () = assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);

/// Kind of the newest sample of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Newest {
    /// There is none.
    None,
    /// A float: `last_bits` is its value.
    Float,
    /// A native histogram: there is no open chunk, and `last_bits` is the staleness marker or 0.
    Histogram,
}

/// What [`Hot::push`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// The chunk stays open.
    Open,
    /// The chunk has reached its sample count: seal it.
    Full,
}

impl Hot {
    /// A slot that no series owns.
    pub(super) const VACANT: Hot = Hot {
        last_ts: 0,
        last_bits: 0,
        word: 0,
        first_ts: 0,
        delta: 0,
        segment: 0,
        generation: 0,
        sealed: ChunkRef::NONE,
        count: 0,
        segments: 0,
        words: 0,
        word_bits: 0,
        lead: NO_WINDOW,
        trail: 0,
        newest: Newest::None,
    };

    #[inline(always)]
    pub(super) fn has_stream(&self) -> bool {
        self.segments != 0
    }

    #[inline(always)]
    pub(super) fn has_samples(&self) -> bool {
        self.newest != Newest::None
    }

    /// Is the newest sample a native histogram?
    #[inline(always)]
    pub(super) fn newest_is_histogram(&self) -> bool {
        self.newest == Newest::Histogram
    }

    /// Notes a native histogram as the newest sample; the open chunk must have been sealed.
    pub(super) fn note_histogram(&mut self, t: TimestampMs, stale: bool) {
        assert!(
            self.count == 0,
            "BUG: a histogram beside an open float chunk"
        );
        self.last_ts = t;
        self.last_bits = if stale { STALE_NAN_BITS } else { 0 };
        self.newest = Newest::Histogram;
    }

    /// The rule of order: newer is stored, the newest again is a duplicate, all else is refused.
    #[inline(always)]
    pub(super) fn verdict(&self, t: TimestampMs, bits: u64) -> Verdict {
        if t > self.last_ts || !self.has_samples() {
            Verdict::Stored
        } else if t < self.last_ts {
            Verdict::Rejected(RejectReason::OutOfOrder)
        } else if bits == self.last_bits && (self.newest == Newest::Float || bits == STALE_NAN_BITS)
        {
            Verdict::Duplicate
        } else {
            Verdict::Rejected(RejectReason::DuplicateTimestamp)
        }
    }

    /// Must the open chunk be sealed before a sample at `t` (later than all others) can go in? A chunk spans at most
    /// `u32::MAX` milliseconds, and its stream is bounded.
    #[inline(always)]
    pub(super) fn must_cut(&self, t: TimestampMs) -> bool {
        self.count > 0
            && (self.segments >= CHUNK_SEGMENTS_CUT
                || t.abs_diff(self.first_ts) > u64::from(u32::MAX))
    }

    /// Adds a sample that [`Self::verdict`] lets in and [`Self::must_cut`] does not stop.
    #[inline(always)]
    pub(super) fn push(&mut self, t: TimestampMs, bits: u64, slab: &mut Slab) -> Appended {
        if self.count == 0 {
            self.first_ts = t;
            self.last_ts = t;
            self.last_bits = bits;
            self.delta = 0;
            self.count = 1;
            self.newest = Newest::Float;
            return Appended::Open;
        }
        // Fits: `must_cut` bounds the span of a chunk to u32, and t > last_ts >= first_ts.
        let delta = t.wrapping_sub(self.last_ts) as u32;
        if self.has_stream() {
            self.write(delta, bits, slab);
        } else if bits != self.last_bits || (self.count > 1 && delta != self.delta) {
            self.leave_regular(slab);
            self.write(delta, bits, slab);
        }
        self.delta = delta;
        self.last_ts = t;
        self.last_bits = bits;
        self.count += 1;
        if self.count >= CHUNK_SAMPLES {
            Appended::Full
        } else {
            Appended::Open
        }
    }

    /// Gives the series a segment and writes its regular beginning as a stream.
    #[inline(never)]
    fn leave_regular(&mut self, slab: &mut Slab) {
        self.segment = slab.begin();
        self.segments = 1;
        self.words = 0;
        self.word = 0;
        self.word_bits = 0;
        self.lead = NO_WINDOW;
        self.put(self.last_bits, 64, slab);
        if self.count > 1 {
            let delta = std::mem::take(&mut self.delta);
            self.write(delta, self.last_bits, slab);
            self.delta = delta;
            let mut same = u32::from(self.count) - 2;
            while same > 0 {
                let bits = same.min(64);
                self.put(0, bits, slab);
                same -= bits;
            }
        }
    }

    /// Writes one sample against `delta` and `last_bits` of the line.
    #[inline(always)]
    fn write(&mut self, delta: u32, bits: u64, slab: &mut Slab) {
        let xor = bits ^ self.last_bits;
        if delta == self.delta {
            if xor == 0 {
                self.put(0, 1, slab);
            } else {
                self.write_value(0b10, 2, xor, slab);
            }
            return;
        }
        let dod = i64::from(delta) - i64::from(self.delta);
        let (prefix, prefix_bits, width) = if (-32..32).contains(&dod) {
            (0b110, 3, DOD_BITS[0])
        } else if (-65_536..65_536).contains(&dod) {
            (0b1110, 4, DOD_BITS[1])
        } else {
            (0b1111, 4, DOD_BITS[2])
        };
        let low = dod as u64 & ((1 << width) - 1);
        self.put((prefix << width) | low, prefix_bits + width, slab);
        if xor == 0 {
            self.put(0, 1, slab);
        } else {
            self.write_value(1, 1, xor, slab);
        }
    }

    #[inline(always)]
    fn write_value(&mut self, prefix: u64, prefix_bits: u32, xor: u64, slab: &mut Slab) {
        let lead = xor.leading_zeros().min(31);
        let trail = xor.trailing_zeros();
        if lead >= u32::from(self.lead) && trail >= u32::from(self.trail) {
            let length = 64 - u32::from(self.lead) - u32::from(self.trail);
            self.put_pair(
                prefix << 1,
                prefix_bits + 1,
                xor >> self.trail,
                length,
                slab,
            );
        } else {
            self.lead = lead as u8;
            self.trail = trail as u8;
            let length = 64 - lead - trail;
            let window = (u64::from(lead) << 6) | u64::from(length - 1);
            self.put_pair(
                (((prefix << 1) | 1) << 11) | window,
                prefix_bits + 12,
                xor >> trail,
                length,
                slab,
            );
        }
    }

    /// Two fields, in one write where they fit.
    #[inline(always)]
    fn put_pair(&mut self, high: u64, high_bits: u32, low: u64, low_bits: u32, slab: &mut Slab) {
        if high_bits + low_bits <= 64 {
            self.put((high << low_bits) | low, high_bits + low_bits, slab);
        } else {
            self.put(high, high_bits, slab);
            self.put(low, low_bits, slab);
        }
    }

    /// Adds `count` bits (1 to 64) to the stream; a full word goes to the newest segment.
    #[inline(always)]
    fn put(&mut self, value: u64, count: u32, slab: &mut Slab) {
        let room = 64 - u32::from(self.word_bits);
        if count < room {
            self.word |= value << (room - count);
            self.word_bits += count as u8;
            return;
        }
        let rest = count - room;
        let full = self.word | (value >> rest);
        if self.words == SEGMENT_DATA_WORDS {
            self.segment = slab.extend(self.segment);
            self.segments += 1;
            self.words = 0;
        }
        slab.set_word(self.segment, self.words, full);
        self.words += 1;
        self.word = if rest == 0 { 0 } else { value << (64 - rest) };
        self.word_bits = rest as u8;
    }

    /// Copies the stream of the open chunk to `out`, returns its bytes.
    pub(super) fn copy_stream(&self, slab: &Slab, out: &mut [u8; CHUNK_BYTES_MAX]) -> usize {
        let mut chain = [0_u32; CHUNK_SEGMENTS_CUT as usize + 1];
        let mut segment = self.segment;
        for link in chain[..usize::from(self.segments)].iter_mut().rev() {
            *link = segment;
            segment = slab.segment(segment).1;
        }
        let mut used = 0;
        for (i, link) in chain[..usize::from(self.segments)].iter().enumerate() {
            let newest = i + 1 == usize::from(self.segments);
            let words = if newest {
                self.words
            } else {
                SEGMENT_DATA_WORDS
            };
            for word in &slab.segment(*link).0[..usize::from(words)] {
                out[used..used + 8].copy_from_slice(&word.to_be_bytes());
                used += 8;
            }
        }
        let tail = usize::from(self.word_bits).div_ceil(8);
        out[used..used + tail].copy_from_slice(&self.word.to_be_bytes()[..tail]);
        used + tail
    }

    /// Empties the open chunk after it was sealed; order and identity stay.
    pub(super) fn restart(&mut self, sealed: ChunkRef, slab: &mut Slab) {
        if self.has_stream() {
            slab.release(self.segment, self.segments);
        }
        self.sealed = sealed;
        self.segments = 0;
        self.count = 0;
        self.words = 0;
        self.word = 0;
        self.word_bits = 0;
        self.lead = NO_WINDOW;
        self.delta = 0;
    }
}
