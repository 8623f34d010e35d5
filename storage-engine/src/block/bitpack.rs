//! Sixty-four numbers packed at one width, unpacked by code that is made for each width.
//!
//! Number `i` takes bits `i * width` to `(i + 1) * width` of the bytes, the low bit first, as little-endian words have it. With the width known
//! to the compiler every shift is a constant and whole registers are filled at once; measured 2026-11 (codec.md, section 3): 680 to 840 million
//! samples a second with the prediction on top, four times a bit reader. The reader that takes one bit after the other is the tests' oracle.

/// Numbers of a mini-block.
pub(super) const LANES: usize = 64;

/// Bytes of `count` numbers at `width` bits.
#[inline]
pub(super) fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the first `count` numbers at `width` bits; higher bits are left out.
pub(super) fn pack(numbers: &[u64; LANES], count: usize, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let end = out.len() + packed_bytes(count, width);
    let mut word = 0_u128;
    let mut have = 0;
    for &number in &numbers[..count] {
        word |= u128::from(number & mask) << have;
        have += width;
        if have >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            have -= 64;
        }
    }
    if have > 0 {
        out.extend_from_slice(&(word as u64).to_le_bytes());
    }
    out.truncate(end);
}

#[inline(always)]
fn unpack_width<const WIDTH: usize>(bytes: &[u8; 512], out: &mut [u64; LANES]) {
    if WIDTH == 0 {
        *out = [0; LANES];
        return;
    }
    let mask = if WIDTH == 64 {
        u64::MAX
    } else {
        (1_u64 << (WIDTH % 64)) - 1
    };
    let word = |i: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[i * 8..i * 8 + 8]);
        u64::from_le_bytes(word)
    };
    for (i, slot) in out.iter_mut().enumerate() {
        let bit = i * WIDTH;
        let (at, shift) = (bit / 64, bit % 64);
        let mut number = word(at) >> shift;
        if shift + WIDTH > 64 {
            number |= word(at + 1) << (64 - shift);
        }
        *slot = number & mask;
    }
}

macro_rules! by_width {
    ($width:expr, $bytes:expr, $out:expr; $($known:literal)*) => {
        match $width {
            $($known => unpack_width::<$known>($bytes, $out),)*
            _ => unreachable!("widths are at most 64"),
        }
    };
}

/// Unpacks 64 numbers of `width` bits, at most 64. `bytes` begins with the packed numbers; what lies behind them only gets into the numbers
/// behind them.
#[inline]
pub(super) fn unpack(bytes: &[u8], width: u32, out: &mut [u64; LANES]) {
    assert!(width <= 64, "BUG: width {width} reached the unpacker");
    match bytes.first_chunk::<512>() {
        Some(bytes) => unpack_known(bytes, width, out),
        None => {
            let mut room = [0; 512];
            room[..bytes.len()].copy_from_slice(bytes);
            unpack_known(&room, width, out);
        }
    }
}

#[inline(never)]
fn unpack_known(bytes: &[u8; 512], width: u32, out: &mut [u64; LANES]) {
    by_width!(width, bytes, out;
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit after the other.
    fn oracle(bytes: &[u8], width: u32, i: usize) -> u64 {
        (0..width as usize)
            .map(|b| {
                let bit = i * width as usize + b;
                u64::from(bytes[bit / 8] >> (bit % 8) & 1) << b
            })
            .sum()
    }

    #[test]
    fn every_width_and_count() {
        let mut seed = 7_u64;
        for width in 0..=64_u32 {
            for count in [1, 2, 7, 8, 31, 63, 64] {
                let mut numbers = [0; LANES];
                for n in &mut numbers {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *n = seed;
                }
                let mut bytes = Vec::new();
                pack(&numbers, count, width, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(count, width));
                let mut out = [0; LANES];
                // Once with nothing behind it, once with ones behind it.
                for room in [0, 600] {
                    let mut padded = bytes.clone();
                    padded.resize(bytes.len() + room, 0xff);
                    unpack(&padded, width, &mut out);
                    for i in 0..count {
                        let mask = if width == 0 {
                            0
                        } else {
                            u64::MAX >> (64 - width)
                        };
                        assert_eq!(out[i], numbers[i] & mask, "width {width} number {i}");
                        assert_eq!(out[i], oracle(&bytes, width, i));
                    }
                }
            }
        }
    }
}
