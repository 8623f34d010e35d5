//! Bits of Prometheus's chunks, most significant first, and the variable-width numbers made of them.
//!
//! Promise: a reader never looks outside its bytes; past the end is [`OutOfBits`]. What is written here is what Prometheus's
//! `tsdb/chunkenc` writes, bit for bit. Not here: which numbers a chunk holds (`xor`, `histogram_chunk`).

/// The bytes end before the chunk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data ends early")]
pub struct OutOfBits;

/// Widths of the classes of variable-width numbers; class `n` has a prefix of `n + 1` ones and, but for the last, a zero.
const CLASS_BITS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Does a signed number fit a class? The range of Prometheus is shifted by one against two's complement.
fn fits(value: i64, bits: u32) -> bool {
    bits >= 64 || (-((1_i64 << (bits - 1)) - 1)..=1_i64 << (bits - 1)).contains(&value)
}

/// Undoes [`fits`]'s shifted range.
fn widen(raw: u64, bits: u32) -> i64 {
    if bits < 64 && raw > 1 << (bits - 1) {
        raw.wrapping_sub(1 << bits) as i64
    } else {
        raw as i64
    }
}

/// Writes bits behind bytes that are already there.
#[derive(Debug, Clone, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Unused low bits of the last byte.
    free: u32,
}

impl BitWriter {
    /// Starts with whole bytes.
    pub(super) fn after(bytes: Vec<u8>) -> BitWriter {
        BitWriter { bytes, free: 0 }
    }

    /// What was written so far; the last byte is filled with zeros.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the low `count` bits of `value`, 0 to 64.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 64);
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let part = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (self.free - taken);
            }
            self.free -= taken;
            left -= taken;
        }
    }

    /// Writes a byte.
    pub(super) fn put_byte(&mut self, value: u8) {
        self.put(u64::from(value), 8);
    }

    /// Writes an integer as Go's `binary.PutUvarint`.
    pub(super) fn put_uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_byte(value as u8);
    }

    /// Writes an integer as Go's `binary.PutVarint`.
    pub(super) fn put_varint(&mut self, value: i64) {
        self.put_uvarint(zigzag(value));
    }

    fn put_class(&mut self, class: usize, value: u64) {
        let bits = CLASS_BITS[class];
        if class + 1 == CLASS_BITS.len() {
            self.put(0xff, 8);
        } else {
            let ones = class as u32 + 1;
            self.put(((1 << ones) - 1) << 1, ones + 1);
        }
        self.put(value, bits);
    }

    /// Writes a signed variable-width number (`varbit_int`).
    pub(super) fn put_varbit_int(&mut self, value: i64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let class = CLASS_BITS.iter().position(|&bits| fits(value, bits));
        self.put_class(class.unwrap_or(CLASS_BITS.len() - 1), value as u64);
    }

    /// Writes an unsigned variable-width number (`varbit_uint`).
    pub(super) fn put_varbit_uint(&mut self, value: u64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let needed = 64 - value.leading_zeros();
        let class = CLASS_BITS.iter().position(|&bits| needed <= bits);
        self.put_class(class.unwrap_or(CLASS_BITS.len() - 1), value);
    }
}

/// Go's signed varints: the sign goes to the lowest bit.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads bits.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Reads `bytes` from their start.
    pub(super) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// Bits that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// Reads `count` bits, 0 to 64.
    pub(super) fn take(&mut self, count: u32) -> Result<u64, OutOfBits> {
        debug_assert!(count <= 64);
        if self.left() < count as usize {
            return Err(OutOfBits);
        }
        let (byte, bit) = (self.at / 8, (self.at % 8) as u32);
        self.at += count as usize;
        if bit + count <= 64
            && let Some(word) = self.bytes.get(byte..byte + 8)
            && let Ok(word) = <[u8; 8]>::try_from(word)
        {
            let word = u64::from_be_bytes(word) << bit;
            return Ok(if count == 0 { 0 } else { word >> (64 - count) });
        }
        // Near the end of the bytes, or 64 bits across nine bytes.
        let mut value = 0_u64;
        let mut left = count;
        let (mut byte, mut have) = (byte, 8 - bit);
        while left > 0 {
            let taken = left.min(have);
            let part = u64::from(*self.bytes.get(byte).ok_or(OutOfBits)?);
            let part = (part >> (have - taken)) & ((1 << taken) - 1);
            value = (value << taken) | part;
            left -= taken;
            byte += 1;
            have = 8;
        }
        Ok(value)
    }

    /// Reads one bit.
    pub(super) fn take_bit(&mut self) -> Result<bool, OutOfBits> {
        Ok(self.take(1)? == 1)
    }

    /// Reads a float's 64 bits.
    pub(super) fn take_float(&mut self) -> Result<f64, OutOfBits> {
        Ok(f64::from_bits(self.take(64)?))
    }

    /// Counts ones up to a zero or to `most`, and takes both.
    pub(super) fn take_ones(&mut self, most: u32) -> Result<u32, OutOfBits> {
        let mut ones = 0;
        while ones < most && self.take_bit()? {
            ones += 1;
        }
        Ok(ones)
    }

    /// Reads what [`BitWriter::put_uvarint`] wrote.
    pub(super) fn take_uvarint(&mut self) -> Result<u64, OutOfBits> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8)?;
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OutOfBits)
    }

    /// Reads what [`BitWriter::put_varint`] wrote.
    pub(super) fn take_varint(&mut self) -> Result<i64, OutOfBits> {
        Ok(unzigzag(self.take_uvarint()?))
    }

    fn take_class(&mut self) -> Result<Option<(u64, u32)>, OutOfBits> {
        let ones = self.take_ones(CLASS_BITS.len() as u32)?;
        let Some(class) = ones.checked_sub(1) else {
            return Ok(None);
        };
        let bits = CLASS_BITS[class as usize];
        Ok(Some((self.take(bits)?, bits)))
    }

    /// Reads a signed variable-width number.
    pub(super) fn take_varbit_int(&mut self) -> Result<i64, OutOfBits> {
        Ok(self.take_class()?.map_or(0, |(raw, bits)| widen(raw, bits)))
    }

    /// Reads an unsigned variable-width number.
    pub(super) fn take_varbit_uint(&mut self) -> Result<u64, OutOfBits> {
        Ok(self.take_class()?.map_or(0, |(raw, _)| raw))
    }
}

/// The state of a column of floats that are written as XOR with the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct XorFloat {
    bits: u64,
    leading: u32,
    trailing: u32,
}

/// No window yet.
const NO_WINDOW: u32 = 0xff;

impl XorFloat {
    /// A column whose first value is `value`.
    pub(super) fn starting(value: f64) -> XorFloat {
        XorFloat {
            bits: value.to_bits(),
            leading: NO_WINDOW,
            trailing: 0,
        }
    }

    /// The newest value.
    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Writes the next value.
    pub(super) fn put(&mut self, out: &mut BitWriter, value: f64) {
        let difference = self.bits ^ value.to_bits();
        self.bits = value.to_bits();
        if difference == 0 {
            return out.put(0, 1);
        }
        let leading = difference.leading_zeros().min(31);
        let trailing = difference.trailing_zeros();
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            out.put(0b10, 2);
            let count = 64 - self.leading - self.trailing;
            return out.put(difference >> self.trailing, count);
        }
        (self.leading, self.trailing) = (leading, trailing);
        let count = 64 - leading - trailing;
        out.put(0b11, 2);
        out.put(u64::from(leading), 5);
        // 64 significant bits do not fit six bits and are written as 0, which cannot occur.
        out.put(u64::from(count) & 63, 6);
        out.put(difference >> trailing, count);
    }

    /// Reads the next value.
    pub(super) fn take(&mut self, bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
        match bits.take_ones(2)? {
            0 => return Ok(self.value()),
            1 if self.leading == NO_WINDOW => return Err(OutOfBits),
            1 => {}
            _ => {
                let leading = bits.take(5)? as u32;
                let count = match bits.take(6)? as u32 {
                    0 => 64,
                    count => count,
                };
                self.leading = leading;
                self.trailing = (64 - leading).checked_sub(count).ok_or(OutOfBits)?;
            }
        }
        let count = 64 - self.leading - self.trailing;
        self.bits ^= bits.take(count)? << self.trailing;
        Ok(self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_their_widths() {
        let signed = [
            (0, 1),
            (1, 5),
            (4, 5),
            (-3, 5),
            (5, 9),
            (-4, 9),
            (32, 9),
            (33, 13),
            (256, 13),
            (257, 17),
            (2048, 17),
            (131_072, 24),
            (16_777_216, 32),
            (-36_028_797_018_963_967, 64),
            (i64::MIN, 72),
            (i64::MAX, 72),
        ];
        for (value, width) in signed {
            let mut out = BitWriter::default();
            out.put(1, 3);
            out.put_varbit_int(value);
            assert_eq!(
                out.bytes().len() * 8 - out.free as usize,
                width + 3,
                "{value}"
            );
            let mut bits = BitReader::new(out.bytes());
            assert_eq!(bits.take(3), Ok(1));
            assert_eq!(bits.take_varbit_int(), Ok(value));
            assert!(bits.left() < 8);
        }
        for (value, width) in [
            (0, 1),
            (7, 5),
            (8, 9),
            (63, 9),
            (511, 13),
            (u64::MAX >> 8, 64),
            (u64::MAX, 72),
        ] {
            let mut out = BitWriter::default();
            out.put_varbit_uint(value);
            assert_eq!(out.bytes().len() * 8 - out.free as usize, width, "{value}");
            assert_eq!(BitReader::new(out.bytes()).take_varbit_uint(), Ok(value));
        }
    }

    #[test]
    fn floats_come_back_bit_for_bit() {
        let values = [
            1.5,
            1.5,
            -0.0,
            f64::INFINITY,
            f64::from_bits(1),
            f64::from_bits(u64::MAX),
            f64::from_bits(crate::model::STALE_NAN_BITS),
            3.25,
            3.5,
        ];
        let mut column = XorFloat::starting(0.0);
        let mut out = BitWriter::default();
        for value in values {
            column.put(&mut out, value);
        }
        let (mut bits, mut column) = (BitReader::new(out.bytes()), XorFloat::starting(0.0));
        for value in values {
            assert_eq!(
                column.take(&mut bits).map(f64::to_bits),
                Ok(value.to_bits())
            );
        }
        assert!(bits.take(8).is_err());
    }

    #[test]
    fn the_end_is_an_error() {
        let mut bits = BitReader::new(&[0xff, 0xff]);
        assert_eq!(bits.take_varbit_int(), Err(OutOfBits));
        let mut bits = BitReader::new(&[0x80; 20]);
        assert_eq!(bits.take_uvarint(), Err(OutOfBits));
        // A window was never given.
        let mut column = XorFloat::starting(1.0);
        assert!(
            column
                .take(&mut BitReader::new(&[0b1000_0000; 20]))
                .is_err()
        );
    }
}
