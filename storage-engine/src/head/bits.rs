//! The bit stream of a chunk: timestamps as deltas of deltas, values as XOR with the one before.
//!
//! Layout, most significant bit first. The first value takes 64 bits; the first timestamp lies in the chunk's header,
//! and the delta before the first sample is 0. Each further sample is one of
//! - `0`: same delta, same value;
//! - `10` value: same delta, another value;
//! - `11` class delta-of-delta, then `0` (same value) or `1` value. Classes: `0` 6 bits, `10` 17 bits, `11` 34 bits,
//!   all two's complement.
//!
//! A value is `0` and the bits of the XOR inside the last window, or `1`, 5 bits of leading zeros (at most 31), 6 bits
//! of length minus one, and that many bits, which become the window. The idea of XOR windows is that of Facebook's
//! Gorilla paper (VLDB 2015); the joint prefix makes the commonest sample cost one bit.
//! Promise: decoding never reads outside its bytes, whatever they are. Not here: writing ([`super::hot`]).

use super::CHUNK_SAMPLES;
use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;

/// A chunk whose stream has begun this many segments is sealed early; one sample (115 bits at most) begins at most one.
pub(crate) const CHUNK_SEGMENTS_CUT: u8 = 18;
/// Bytes of the longest stream.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024;
const _: () = assert!((CHUNK_SEGMENTS_CUT as usize) * 7 * 8 + 8 <= CHUNK_BYTES_MAX);
/// Bits of each class of delta-of-delta.
pub(crate) const DOD_BITS: [u32; 3] = [6, 17, 34];

/// Reads bits from a byte string; past the end there are only zeros.
#[derive(Clone)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    word: u64,
    have: u32,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Bits {
            bytes,
            at: 0,
            word: 0,
            have: 0,
        }
    }

    /// Makes at least 56 bits available.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(next) = self.bytes.get(self.at..self.at + 8)
            && let Ok(next) = <[u8; 8]>::try_from(next)
        {
            self.word |= u64::from_be_bytes(next) >> self.have;
            let taken = (63 - self.have) >> 3;
            self.at += taken as usize;
            self.have += taken * 8;
        } else {
            self.refill_tail();
        }
    }

    /// As [`Self::refill`], byte by byte.
    #[inline(never)]
    fn refill_tail(&mut self) {
        while self.have < 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.word |= u64::from(byte) << (56 - self.have);
            self.at += 1;
            self.have += 8;
        }
    }

    /// The next `count` bits, 1 to 56, of which at least that many must be available.
    #[inline(always)]
    fn take_ready(&mut self, count: u32) -> u64 {
        debug_assert!((1..=56).contains(&count) && count <= self.have);
        let value = self.word >> (64 - count);
        self.skip(count);
        value
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.word <<= count;
        self.have -= count;
    }

    /// The next `count` bits, 1 to 64.
    #[inline(always)]
    fn take(&mut self, count: u32) -> u64 {
        if self.have < count {
            self.refill();
        }
        if count <= 56 {
            return self.take_ready(count);
        }
        let high = self.take_ready(count - 32);
        if self.have < 32 {
            self.refill();
        }
        (high << 32) | self.take_ready(32)
    }
}

/// Bits of the longest control part, from the first prefix bit to the XOR window: `1111`, 34 bits, `1`, `1`, 11 bits.
const CONTROL_BITS_MAX: u32 = 51;
const _: () = assert!(CONTROL_BITS_MAX <= 56);

/// Decodes `count` samples (at most [`CHUNK_SAMPLES`]) and keeps those in `range`.
pub(crate) fn decode_stream(
    mut bits: Bits<'_>,
    first_ts: TimestampMs,
    count: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) {
    let count = usize::from(count.min(CHUNK_SAMPLES));
    if count == 0 {
        return;
    }
    let mut timestamps = [0_i64; CHUNK_SAMPLES as usize];
    let mut values = [0_f64; CHUNK_SAMPLES as usize];
    let mut value = bits.take(64);
    let mut ts = first_ts;
    let mut delta = 0_i64;
    let (mut trail, mut length) = (0_u32, 64_u32);
    timestamps[0] = ts;
    values[0] = f64::from_bits(value);
    let mut at = 1;
    while at < count {
        if bits.have < CONTROL_BITS_MAX {
            bits.refill();
        }
        if bits.word >> 63 == 0 {
            // A run of samples that repeat delta and value.
            let run = bits.word.leading_zeros().min(bits.have);
            let run = run.min((count - at) as u32);
            for (t, v) in timestamps[at..]
                .iter_mut()
                .zip(&mut values[at..])
                .take(run as usize)
            {
                ts = ts.wrapping_add(delta);
                *t = ts;
                *v = f64::from_bits(value);
            }
            at += run as usize;
            bits.skip(run.min(63));
            continue;
        }
        let mut changed = true;
        if bits.word >> 62 == 0b10 {
            bits.skip(2);
        } else {
            bits.skip(2);
            let class = match bits.word >> 62 {
                0 | 1 => {
                    bits.skip(1);
                    0
                }
                2 => {
                    bits.skip(2);
                    1
                }
                _ => {
                    bits.skip(2);
                    2
                }
            };
            let shift = 64 - DOD_BITS[class];
            let dod = ((bits.take_ready(DOD_BITS[class]) << shift) as i64) >> shift;
            delta = delta.wrapping_add(dod);
            changed = bits.take_ready(1) == 1;
        }
        ts = ts.wrapping_add(delta);
        if changed {
            if bits.take_ready(1) == 1 {
                let window = bits.take_ready(11) as u32;
                length = (window & 63) + 1;
                trail = 64_u32.saturating_sub((window >> 6) + length);
            }
            value ^= bits.take(length) << trail;
        }
        timestamps[at] = ts;
        values[at] = f64::from_bits(value);
        at += 1;
    }
    let timestamps = &timestamps[..count];
    let (from, to) = inside(timestamps, range);
    out.timestamps.extend_from_slice(&timestamps[from..to]);
    out.values.extend_from_slice(&values[from..to]);
}

/// The part of ascending timestamps that lies in `range`, as start and end.
#[inline]
pub(super) fn inside(timestamps: &[TimestampMs], range: TimeRange) -> (usize, usize) {
    let from = match timestamps.first() {
        Some(first) if *first < range.min => timestamps.partition_point(|t| *t < range.min),
        _ => 0,
    };
    let to = match timestamps.last() {
        Some(last) if *last > range.max => timestamps.partition_point(|t| *t <= range.max),
        _ => timestamps.len(),
    };
    (from, to.max(from))
}

/// The samples of a chunk whose value does not change and whose timestamps are regular.
pub(crate) fn decode_regular(
    first_ts: TimestampMs,
    delta: u64,
    value: f64,
    count: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) {
    let at = |i: u16| first_ts.wrapping_add_unsigned(delta.wrapping_mul(u64::from(i)));
    let inside = (0..count).filter(|i| range.contains(at(*i)));
    out.timestamps.extend(inside.map(at));
    out.values.resize(out.timestamps.len(), value);
}
