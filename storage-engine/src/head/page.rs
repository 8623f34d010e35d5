//! The packed form of a sealed chunk: columns of fixed width, four to six times faster to read than the bit stream.
//!
//! Layout: `u8` bits of a timestamp entry, `u8` decimal exponent `e`, `u8` bits of a value entry (top bit: entries are
//! steps), `i64` first mantissa, `i64` base; `u32` least delta if timestamp entries have bits; then the timestamp
//! entries (`delta - least`, one less than samples) and, on the next byte, the value entries, both packed from the low
//! bit up. A value is `mantissa / 10^e`. Entries that are steps are `mantissa - previous - base`, one less than samples;
//! else each is `mantissa - base`. Timestamps without bits are evenly spaced over the chunk's span.
//!
//! Promise: a chunk is packed only if every value comes back bit for bit (`mantissa / 10^e`, both exact in an f64, is
//! the correctly rounded decimal); others stay streams. Decoding never reads outside its bytes.

use super::CHUNK_SAMPLES;
use super::bits::CHUNK_BYTES_MAX;
use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;

const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
const MANTISSA_MAX: f64 = (1_u64 << 53) as f64;
const SAMPLES: usize = CHUNK_SAMPLES as usize;
const HEADER_BYTES: usize = 19;
/// An entry is read with one 8-byte load at any bit of a byte.
const ENTRY_BITS_MAX: u32 = 56;
const STEPS: u8 = 0x80;

/// Appends the packed form of a chunk to `out` if it has one of at most `bytes_max` bytes.
pub(super) fn pack(columns: &SampleColumns, bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let (timestamps, values) = (columns.timestamps.as_slice(), columns.values.as_slice());
    let count = values.len();
    if !(2..=SAMPLES).contains(&count) {
        return false;
    }
    let mut mantissas = [0_i64; SAMPLES];
    let mantissas = &mut mantissas[..count];
    let Some(exponent) = decimals(values, mantissas) else {
        return false;
    };
    let mut deltas = [0_i64; SAMPLES];
    let deltas = &mut deltas[..count - 1];
    for (delta, pair) in deltas.iter_mut().zip(timestamps.windows(2)) {
        *delta = pair[1].wrapping_sub(pair[0]);
    }
    let (least_delta, delta_bits) = spread(deltas);
    let mut steps = [0_i64; SAMPLES];
    let steps = &mut steps[..count - 1];
    for (step, pair) in steps.iter_mut().zip(mantissas.windows(2)) {
        *step = pair[1] - pair[0];
    }
    let (least_step, step_bits) = spread(steps);
    let (least, plain_bits) = spread(mantissas);
    let stepped = (count - 1) as u32 * step_bits < count as u32 * plain_bits;
    let (base, value_bits) = if stepped {
        (least_step, step_bits)
    } else {
        (least, plain_bits)
    };
    let delta_bytes = (delta_bits as usize * (count - 1)).div_ceil(8);
    let entries = if stepped { count - 1 } else { count };
    let value_bytes = (value_bits as usize * entries).div_ceil(8);
    let delta_header = if delta_bits > 0 { 4 } else { 0 };
    let bytes = HEADER_BYTES + delta_header + delta_bytes + value_bytes;
    if bytes > bytes_max.min(CHUNK_BYTES_MAX) || value_bits > ENTRY_BITS_MAX || delta_bits > 32 {
        return false;
    }
    out.push(delta_bits as u8);
    out.push(exponent);
    out.push(value_bits as u8 | if stepped { STEPS } else { 0 });
    out.extend_from_slice(&mantissas[0].to_le_bytes());
    out.extend_from_slice(&base.to_le_bytes());
    if delta_bits > 0 {
        // The span of a chunk fits u32, so each delta does.
        out.extend_from_slice(&(least_delta as u32).to_le_bytes());
        put_entries(deltas, least_delta, delta_bits, out);
    }
    put_entries(
        if stepped { steps } else { mantissas },
        base,
        value_bits,
        out,
    );
    true
}

/// The least exponent in which all values are whole, and their mantissas.
fn decimals(values: &[f64], mantissas: &mut [i64]) -> Option<u8> {
    let mut exponent = 0;
    let mut at = 0;
    while let Some(value) = values.get(at) {
        if mantissa(*value, POWERS[exponent]).is_some() {
            at += 1;
        } else {
            exponent += 1;
            if exponent == POWERS.len() {
                return None;
            }
        }
    }
    // What was whole in fewer decimals is whole in more, unless it grows too large: so all are looked at again.
    for (slot, value) in mantissas.iter_mut().zip(values) {
        *slot = mantissa(*value, POWERS[exponent])?;
    }
    Some(exponent as u8)
}

#[inline(always)]
fn mantissa(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round_ties_even();
    // NaN and infinities fail the first comparison, negative zero the second.
    if scaled.abs() <= MANTISSA_MAX {
        let mantissa = scaled as i64;
        if (mantissa as f64 / power).to_bits() == value.to_bits() {
            return Some(mantissa);
        }
    }
    None
}

/// The least of the numbers, and the bits that their distance from it needs.
fn spread(numbers: &[i64]) -> (i64, u32) {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for &number in numbers {
        least = least.min(number);
        most = most.max(number);
    }
    (least, 64 - most.abs_diff(least).leading_zeros())
}

fn put_entries(numbers: &[i64], base: i64, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mut word = 0_u128;
    let mut have = 0;
    for &number in numbers {
        word |= u128::from(number.abs_diff(base)) << have;
        have += width;
        while have >= 8 {
            out.push(word as u8);
            word >>= 8;
            have -= 8;
        }
    }
    if have > 0 {
        out.push(word as u8);
    }
}

/// Calls `f(i, entry)` for the first `count` entries of `width` bits, 1 to [`ENTRY_BITS_MAX`]. `bytes` has room for one
/// 8-byte load at every entry.
#[inline(always)]
fn each_entry(bytes: &[u8], width: u32, count: usize, mut f: impl FnMut(usize, u64)) {
    let mask = u64::MAX >> (64 - width);
    let mut bit = 0_usize;
    for i in 0..count {
        let at = bit >> 3;
        let Some(Ok(word)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) else {
            return;
        };
        f(i, (u64::from_le_bytes(word) >> (bit & 7)) & mask);
        bit += width as usize;
    }
}

/// Decodes a packed chunk and keeps the samples in `range`; bytes that are none decode to nothing or to wrong numbers.
pub(super) fn unpack(
    body: &[u8],
    first_ts: TimestampMs,
    span: u32,
    count: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) {
    let count = usize::from(count.min(CHUNK_SAMPLES));
    // A copy with room behind it, so that the last entries can be loaded whole.
    let mut padded = [0_u8; CHUNK_BYTES_MAX + 8];
    let (Some(room), true) = (padded.get_mut(..body.len()), count >= 2) else {
        return;
    };
    room.copy_from_slice(body);
    let Some((header, mut rest)) = padded.split_first_chunk::<HEADER_BYTES>() else {
        return;
    };
    let [delta_bits, exponent, form, numbers @ ..] = *header;
    let [a0, a1, a2, a3, a4, a5, a6, a7, base @ ..] = numbers;
    let first = i64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
    let base = i64::from_le_bytes(base);
    let (delta_bits, value_bits) = (u32::from(delta_bits), u32::from(form & !STEPS));
    let Some(&power) = POWERS.get(usize::from(exponent)) else {
        return;
    };
    if delta_bits > 32 || value_bits > ENTRY_BITS_MAX {
        return;
    }
    let mut timestamps = [first_ts; SAMPLES];
    let timestamps = &mut timestamps[..count];
    if delta_bits == 0 {
        let delta = i64::from(span) / (count as i64 - 1);
        for (i, t) in timestamps.iter_mut().enumerate() {
            *t = first_ts.wrapping_add(delta * i as i64);
        }
    } else {
        let Some((least, entries)) = rest.split_first_chunk::<4>() else {
            return;
        };
        let least = i64::from(u32::from_le_bytes(*least));
        let mut ts = first_ts;
        let later = &mut timestamps[1..];
        each_entry(entries, delta_bits, count - 1, |i, entry| {
            ts = ts.wrapping_add(least).wrapping_add(entry as i64);
            later[i] = ts;
        });
        let bytes = (delta_bits as usize * (count - 1)).div_ceil(8);
        let Some(after) = entries.get(bytes..) else {
            return;
        };
        rest = after;
    }
    let mut mantissas = [first; SAMPLES];
    let mantissas = &mut mantissas[..count];
    if form & STEPS != 0 {
        let mut mantissa = first;
        let later = &mut mantissas[1..];
        if value_bits == 0 {
            for slot in later {
                mantissa = mantissa.wrapping_add(base);
                *slot = mantissa;
            }
        } else {
            each_entry(rest, value_bits, count - 1, |i, entry| {
                mantissa = mantissa.wrapping_add(base).wrapping_add(entry as i64);
                later[i] = mantissa;
            });
        }
    } else if value_bits > 0 {
        each_entry(rest, value_bits, count, |i, entry| {
            mantissas[i] = base.wrapping_add(entry as i64);
        });
    }
    let (from, to) = super::bits::inside(timestamps, range);
    out.timestamps.extend_from_slice(&timestamps[from..to]);
    let kept = mantissas[from..to].iter();
    if exponent == 0 {
        out.values.extend(kept.map(|m| *m as f64));
    } else {
        out.values.extend(kept.map(|m| *m as f64 / power));
    }
}
