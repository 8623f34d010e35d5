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

use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;

/// A chunk whose stream has reached this many bytes is sealed early.
pub(crate) const CHUNK_BYTES_CUT: usize = 960;
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
            while self.have <= 56 {
                let byte = self.bytes.get(self.at).copied().unwrap_or(0);
                self.word |= u64::from(byte) << (56 - self.have);
                self.at += 1;
                self.have += 8;
            }
        }
    }

    /// The next `count` bits, 1 to 56.
    #[inline(always)]
    pub(crate) fn take(&mut self, count: u32) -> u64 {
        debug_assert!((1..=56).contains(&count));
        if self.have < count {
            self.refill();
        }
        let value = self.word >> (64 - count);
        self.word <<= count;
        self.have -= count;
        value
    }

    /// The next `count` bits, 1 to 64.
    #[inline(always)]
    pub(crate) fn take_wide(&mut self, count: u32) -> u64 {
        if count <= 56 {
            self.take(count)
        } else {
            let high = self.take(count - 32);
            (high << 32) | self.take(32)
        }
    }

    /// The next `count` bits as two's complement.
    #[inline(always)]
    fn take_signed(&mut self, count: u32) -> i64 {
        let shift = 64 - count;
        ((self.take(count) << shift) as i64) >> shift
    }
}

/// Decodes `count` samples and keeps those in `range`.
pub(crate) fn decode_stream(
    mut bits: Bits<'_>,
    first_ts: TimestampMs,
    count: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) {
    if count == 0 {
        return;
    }
    out.timestamps.reserve(usize::from(count));
    out.values.reserve(usize::from(count));
    let mut value = bits.take_wide(64);
    let mut ts = first_ts;
    let mut delta = 0_i64;
    let (mut trail, mut length) = (0_u32, 64_u32);
    if range.contains(ts) {
        out.push(ts, f64::from_bits(value));
    }
    for _ in 1..count {
        let mut changed = false;
        if bits.take(1) == 1 {
            changed = true;
            if bits.take(1) == 1 {
                let class = if bits.take(1) == 0 {
                    0
                } else {
                    1 + bits.take(1) as usize
                };
                delta = delta.wrapping_add(bits.take_signed(DOD_BITS[class]));
                changed = bits.take(1) == 1;
            }
        }
        ts = ts.wrapping_add(delta);
        if changed {
            if bits.take(1) == 1 {
                let window = bits.take(11) as u32;
                length = (window & 63) + 1;
                trail = 64_u32.saturating_sub((window >> 6) + length);
            }
            value ^= bits.take_wide(length) << trail;
        }
        if ts > range.max {
            break;
        }
        if ts >= range.min {
            out.push(ts, f64::from_bits(value));
        }
    }
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
    let mut ts = first_ts;
    for _ in 0..count {
        if range.contains(ts) {
            out.push(ts, value);
        }
        ts = ts.wrapping_add_unsigned(delta);
    }
}
