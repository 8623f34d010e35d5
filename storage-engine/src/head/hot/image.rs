//! A hot line as plain numbers and one byte string, for checkpoints: taken from memory, and put back into an empty slot.
//!
//! Promise: a line that is put back reads and appends as the one that was taken; numbers that no line can have are refused.
//! Not here: the bytes on disk (`checkpoint`), labels (the index), sealed chunks (their pages).

use super::{CHUNK_BYTES_MAX, CHUNK_SAMPLES, CHUNK_SEGMENTS_CUT, ChunkRef, Hot, NO_WINDOW, Newest};
use super::{SEGMENT_DATA_WORDS, Slab};
use crate::model::TimestampMs;

/// Kind of a series' newest sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewestKind {
    /// It has none.
    None,
    /// A float.
    Float,
    /// A native histogram.
    Histogram,
}

/// The open chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenImage {
    /// First timestamp.
    pub(crate) first_ts: TimestampMs,
    /// Difference of its last two timestamps.
    pub(crate) delta: u32,
    /// Samples.
    pub(crate) count: u16,
    /// Its bits, if it is a stream: their number, and the XOR window of the last value.
    pub(crate) stream: Option<StreamImage>,
}

/// The stream of an open chunk; the bits themselves lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamImage {
    /// Number of bits.
    pub(crate) bits: u16,
    /// Leading zeros of the XOR window.
    pub(crate) lead: u8,
    /// Trailing zeros of the XOR window.
    pub(crate) trail: u8,
}

impl StreamImage {
    /// Bytes of the stream.
    pub(crate) fn bytes(self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }
}

/// A series' state between appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesImage {
    /// Not 0.
    pub(crate) generation: u32,
    /// Oldest timestamp.
    pub(crate) oldest: TimestampMs,
    /// Newest timestamp.
    pub(crate) last_ts: TimestampMs,
    /// Bits of the newest value.
    pub(crate) last_bits: u64,
    /// Kind of the newest sample.
    pub(crate) newest: NewestKind,
    /// Newest sealed chunk.
    pub(crate) sealed: ChunkRef,
    /// The open chunk, if it has samples.
    pub(crate) open: Option<OpenImage>,
}

const _: () = assert!(CHUNK_BYTES_MAX * 8 <= u16::MAX as usize);

impl Hot {
    /// This line in numbers; the stream of its open chunk is appended to `stream`.
    pub(in crate::head) fn image(
        &self,
        oldest: TimestampMs,
        slab: &Slab,
        stream: &mut Vec<u8>,
    ) -> SeriesImage {
        let open = (self.count > 0).then(|| OpenImage {
            first_ts: self.first_ts,
            delta: self.delta,
            count: self.count,
            stream: self.has_stream().then(|| {
                let mut bytes = [0; CHUNK_BYTES_MAX];
                let used = self.copy_stream(slab, &mut bytes);
                stream.extend_from_slice(&bytes[..used]);
                let before = usize::from(self.segments - 1) * usize::from(SEGMENT_DATA_WORDS);
                let words = before + usize::from(self.words);
                StreamImage {
                    bits: (words * 64) as u16 + u16::from(self.word_bits),
                    lead: self.lead,
                    trail: self.trail,
                }
            }),
        });
        SeriesImage {
            generation: self.generation,
            oldest,
            last_ts: self.last_ts,
            last_bits: self.last_bits,
            newest: match self.newest {
                Newest::None => NewestKind::None,
                Newest::Float => NewestKind::Float,
                Newest::Histogram => NewestKind::Histogram,
            },
            sealed: self.sealed,
            open,
        }
    }

    /// The line of an image; `None` if no line has one like it.
    pub(in crate::head) fn from_image(
        image: &SeriesImage,
        stream: &[u8],
        slab: &mut Slab,
    ) -> Option<Hot> {
        if image.generation == 0 || !is_possible(image, stream) {
            return None;
        }
        let mut hot = Hot {
            last_ts: image.last_ts,
            last_bits: image.last_bits,
            generation: image.generation,
            sealed: image.sealed,
            newest: match image.newest {
                NewestKind::None => Newest::None,
                NewestKind::Float => Newest::Float,
                NewestKind::Histogram => Newest::Histogram,
            },
            ..Hot::VACANT
        };
        if let Some(open) = &image.open {
            hot.first_ts = open.first_ts;
            hot.delta = open.delta;
            hot.count = open.count;
            if let Some(of_stream) = open.stream {
                hot.put_stream(of_stream, stream, slab);
            }
        }
        Some(hot)
    }

    fn put_stream(&mut self, image: StreamImage, stream: &[u8], slab: &mut Slab) {
        self.segment = slab.begin();
        self.segments = 1;
        self.lead = image.lead;
        self.trail = image.trail;
        let (words, tail) = stream.split_at(usize::from(image.bits / 64) * 8);
        for word in words.chunks_exact(8) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            self.put_word(u64::from_be_bytes(bytes), slab);
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        self.word = u64::from_be_bytes(last);
        self.word_bits = (image.bits % 64) as u8;
    }

    fn put_word(&mut self, word: u64, slab: &mut Slab) {
        if self.words == SEGMENT_DATA_WORDS {
            self.segment = slab.extend(self.segment);
            self.segments += 1;
            self.words = 0;
        }
        slab.set_word(self.segment, self.words, word);
        self.words += 1;
    }
}

/// Could a line look like this?
fn is_possible(image: &SeriesImage, stream: &[u8]) -> bool {
    let Some(open) = &image.open else {
        return stream.is_empty();
    };
    let span = image.last_ts.checked_sub(open.first_ts);
    let in_order = span.is_some_and(|span| u32::try_from(span).is_ok());
    let counted = (1..CHUNK_SAMPLES).contains(&open.count);
    let of_stream = match open.stream {
        None => stream.is_empty(),
        Some(of_stream) => {
            let words = usize::from(of_stream.bits / 64);
            let segments = words.div_ceil(usize::from(SEGMENT_DATA_WORDS));
            stream.len() == of_stream.bytes()
                && segments <= usize::from(CHUNK_SEGMENTS_CUT) + 1
                && open.count > 1
                && of_stream.lead <= NO_WINDOW
                && u32::from(of_stream.lead % 64) + u32::from(of_stream.trail) < 64
        }
    };
    image.newest == NewestKind::Float && in_order && counted && of_stream
}
