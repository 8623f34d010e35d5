//! Where one Prometheus chunk ends and the next begins.
//!
//! Promise: the cuts are those of Prometheus's head for samples that arrive in this order: about 120 float samples, about 1024 bytes of
//! histograms, a new chunk at every two hours, at a change of kind, and where a histogram does not fit the chunk (a counter reset, another
//! layout). Not here: the bits of a chunk (`xor`, `histogram_chunk`).

use super::histogram_chunk::{self, HistogramAppender, Pushed};
use super::xor::{self, XorAppender};
use crate::model::{FloatHistogram, SeriesSamples, TimestampMs};
use std::sync::Arc;

/// Chunks never reach over a multiple of this.
const CHUNK_RANGE_MS: i64 = 2 * 3_600_000;
/// Float samples that a chunk should have.
const SAMPLES_TARGET: u16 = 120;
/// A chunk of floats with more bytes than this takes no further sample: one more might take 19.
const XOR_BYTES_CUT: usize = 1024 - 19;
/// Bytes that a chunk of histograms should have.
const HISTOGRAM_BYTES_TARGET: usize = 1024;
/// Fewer histograms than this are not cut for their bytes.
const HISTOGRAMS_MIN: usize = 10;

/// How a chunk's data is to be read: the byte before it in a chunk file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Floats.
    Xor,
    /// Integer histograms.
    Histogram,
    /// Float histograms.
    FloatHistogram,
}

impl Encoding {
    /// The byte in a file.
    pub fn code(self) -> u8 {
        match self {
            Encoding::Xor => 1,
            Encoding::Histogram => 2,
            Encoding::FloatHistogram => 3,
        }
    }

    /// Undoes [`Self::code`].
    pub(super) fn from_code(code: u8) -> Option<Encoding> {
        match code {
            1 => Some(Encoding::Xor),
            2 => Some(Encoding::Histogram),
            3 => Some(Encoding::FloatHistogram),
            _ => None,
        }
    }
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// How to read it.
    pub encoding: Encoding,
    /// Time of its first sample.
    pub min_time: TimestampMs,
    /// Time of its last sample.
    pub max_time: TimestampMs,
    /// Samples in it.
    pub count: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// Appends the samples of a chunk to `out`; the error says what is wrong, and what lies before the damage is there.
pub(super) fn decode_chunk(
    encoding: Encoding,
    data: &[u8],
    out: &mut SeriesSamples,
) -> Result<(), String> {
    let histograms = &mut out.histograms;
    match encoding {
        Encoding::Xor => xor::read(data, &mut out.floats).map_err(|e| e.to_string()),
        Encoding::Histogram => {
            histogram_chunk::read(data, true, histograms).map_err(|e| e.to_string())
        }
        Encoding::FloatHistogram => {
            histogram_chunk::read(data, false, histograms).map_err(|e| e.to_string())
        }
    }
}

/// The samples of one series as chunks, oldest first. Floats and histograms are ascending and share no timestamp.
pub fn encode_series(samples: &SeriesSamples) -> Vec<EncodedChunk> {
    let mut cutter = Cutter::default();
    let mut histograms = samples.histograms.iter().peekable();
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    for (&t, &value) in floats {
        while let Some((at, histogram)) = histograms.next_if(|(at, _)| *at < t) {
            cutter.push_histogram(*at, histogram);
        }
        cutter.push_float(t, value);
    }
    for (at, histogram) in histograms {
        cutter.push_histogram(*at, histogram);
    }
    cutter.finish()
}

/// The chunk that is being filled.
enum Open {
    Floats(XorAppender),
    Histograms(Box<HistogramAppender>),
}

/// Takes the samples of one series in ascending order, gives chunks.
#[derive(Default)]
pub(super) struct Cutter {
    chunks: Vec<EncodedChunk>,
    open: Option<Open>,
    min_time: TimestampMs,
    max_time: TimestampMs,
    /// The open chunk takes no sample from here on.
    next_at: TimestampMs,
    /// `next_at` was computed from how the bytes grow. Like Prometheus's, it outlives a chunk that ends because a histogram does not fit.
    end_is_computed: bool,
}

/// The next multiple of the chunk range behind `t`.
fn range_end(t: TimestampMs) -> TimestampMs {
    // As Go divides: towards zero.
    ((t / CHUNK_RANGE_MS).saturating_mul(CHUNK_RANGE_MS)).saturating_add(CHUNK_RANGE_MS)
}

/// When a chunk should end so that the rest of the range up to `limit` has chunks of equal size, if the chunk is one `ratio`th full now.
fn chunk_end(start: TimestampMs, now: TimestampMs, limit: TimestampMs, ratio: f64) -> TimestampMs {
    let span = limit.wrapping_sub(start) as f64;
    let count = span / (now.wrapping_sub(start).wrapping_add(1) as f64 * ratio);
    if count <= 1.0 {
        return limit;
    }
    (start as f64 + span / count.floor()) as i64
}

impl Cutter {
    /// Time of the newest sample.
    pub(super) fn newest(&self) -> Option<TimestampMs> {
        self.open.as_ref().map(|_| self.max_time)
    }

    /// The chunks, the last one closed too.
    pub(super) fn finish(mut self) -> Vec<EncodedChunk> {
        self.close();
        self.chunks
    }

    fn close(&mut self) -> Option<Open> {
        let open = self.open.take()?;
        let (encoding, count, data) = match &open {
            Open::Floats(chunk) => (Encoding::Xor, u32::from(chunk.count()), chunk.data()),
            Open::Histograms(chunk) => {
                let encoding = match chunk.is_integer() {
                    true => Encoding::Histogram,
                    false => Encoding::FloatHistogram,
                };
                (encoding, chunk.count() as u32, chunk.data())
            }
        };
        self.chunks.push(EncodedChunk {
            encoding,
            min_time: self.min_time,
            max_time: self.max_time,
            count,
            data,
        });
        Some(open)
    }

    fn begin(&mut self, t: TimestampMs) {
        self.min_time = t;
        self.max_time = t;
        self.next_at = range_end(t);
    }

    /// Adds a float.
    pub(super) fn push_float(&mut self, t: TimestampMs, value: f64) {
        if let Some(Open::Floats(chunk)) = &mut self.open
            && chunk.byte_count() <= XOR_BYTES_CUT
        {
            if chunk.count() == SAMPLES_TARGET / 4 {
                self.next_at = chunk_end(self.min_time, self.max_time, self.next_at, 4.0);
            }
            if t < self.next_at && chunk.count() < SAMPLES_TARGET * 2 {
                chunk.push(t, value);
                self.max_time = t;
                return;
            }
        }
        self.close();
        self.begin(t);
        let mut chunk = XorAppender::new();
        chunk.push(t, value);
        self.open = Some(Open::Floats(chunk));
    }

    /// Adds a native histogram.
    pub(super) fn push_histogram(&mut self, t: TimestampMs, histogram: &Arc<FloatHistogram>) {
        let integer = histogram.integer;
        let fits = match &self.open {
            Some(Open::Histograms(chunk)) if chunk.is_integer() == integer => {
                let (count, bytes) = (chunk.count(), chunk.byte_count());
                !self.histograms_are_full(t, count, bytes)
            }
            _ => false,
        };
        if fits && let Some(Open::Histograms(chunk)) = &mut self.open {
            match chunk.push(t, histogram) {
                Pushed::Added => self.max_time = t,
                Pushed::NewChunk(next) => {
                    self.close();
                    self.begin(t);
                    self.open = Some(Open::Histograms(next));
                }
            }
            return;
        }
        let before = self.close();
        self.begin(t);
        self.end_is_computed = false;
        let mut chunk = Box::new(HistogramAppender::new(integer));
        let before = match &before {
            Some(Open::Histograms(before)) if before.is_integer() == integer => Some(&**before),
            _ => None,
        };
        chunk.push_first(before, t, histogram);
        self.open = Some(Open::Histograms(chunk));
    }

    fn histograms_are_full(&mut self, t: TimestampMs, count: usize, bytes: usize) -> bool {
        let range_end = match self.end_is_computed {
            true => range_end(self.min_time),
            false => self.next_at,
        };
        if !self.end_is_computed && bytes >= HISTOGRAM_BYTES_TARGET / 4 {
            let ratio = HISTOGRAM_BYTES_TARGET as f64 / bytes as f64;
            self.next_at = chunk_end(self.min_time, self.max_time, self.next_at, ratio);
            self.end_is_computed = true;
        }
        (t >= self.next_at || bytes >= HISTOGRAM_BYTES_TARGET * 2)
            && (count >= HISTOGRAMS_MIN || t >= range_end)
    }
}
