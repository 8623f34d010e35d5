//! Reading and writing the small parts of a block: varints, fixed words, and a cursor that never leaves its bytes.
//!
//! Promise: a cursor gives an error, never a panic, whatever the bytes are. Not here: what the parts mean.

/// Why bytes are not what they should be, in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Bad(pub(super) &'static str);

/// A result of decoding.
pub(super) type Decoded<T> = Result<T, Bad>;

/// Appends `value` in groups of seven bits, the low ones first.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number; small ones of both signs are short.
#[inline]
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Appends a text: its length and its bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// 0, -1, 1, -2 … become 0, 1, 2, 3 ….
#[inline(always)]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The other way round.
#[inline(always)]
pub(super) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// A place in bytes. What lies from `at` to `end` belongs to the thing that is read; there may be more bytes behind it, which decoders may
/// load along with the last ones and must not let count.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Reads all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// Reads the first `length` of `bytes`.
    pub(super) fn with_room(bytes: &'a [u8], length: usize) -> Decoded<Self> {
        if length > bytes.len() {
            return Err(Bad("cut short"));
        }
        Ok(Cursor {
            bytes,
            at: 0,
            end: length,
        })
    }

    /// Bytes that are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Has everything been read?
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    /// An error unless everything has been read.
    pub(super) fn finish(&self) -> Decoded<()> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(Bad("bytes left over"))
        }
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Decoded<u8> {
        if self.at >= self.end {
            return Err(Bad("cut short"));
        }
        let byte = self.bytes[self.at];
        self.at += 1;
        Ok(byte)
    }

    /// See [`put_varint`].
    #[inline]
    pub(super) fn varint(&mut self) -> Decoded<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Bad("number too long"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Bad("number too long"))
    }

    /// A varint that must fit `u32`.
    #[inline]
    pub(super) fn small(&mut self) -> Decoded<u32> {
        u32::try_from(self.varint()?).map_err(|_| Bad("number too large"))
    }

    /// A count of things of which each takes `bytes_min` bytes at least: more than can follow are not believed.
    pub(super) fn count(&mut self, bytes_min: usize) -> Decoded<usize> {
        let count = usize::try_from(self.varint()?).map_err(|_| Bad("number too large"))?;
        if count > self.left() / bytes_min.max(1) {
            return Err(Bad("more entries than bytes"));
        }
        Ok(count)
    }

    /// See [`put_signed`].
    #[inline]
    pub(super) fn signed(&mut self) -> Decoded<i64> {
        Ok(unzigzag(self.varint()?))
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Decoded<&'a [u8]> {
        if length > self.left() {
            return Err(Bad("cut short"));
        }
        let bytes = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(bytes)
    }

    /// The next `length` bytes, with whatever lies behind them.
    #[inline]
    pub(super) fn take_with_room(&mut self, length: usize) -> Decoded<&'a [u8]> {
        let start = self.at;
        self.take(length)?;
        Ok(&self.bytes[start..])
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let bytes = &self.bytes[self.at..self.end];
        self.at = self.end;
        bytes
    }

    /// Eight bytes, little endian.
    #[inline]
    pub(super) fn word(&mut self) -> Decoded<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }
}

/// The eight bytes at `at`, little endian; bytes behind the end read as zero.
#[inline]
pub(super) fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            let rest = bytes.get(at..).unwrap_or_default();
            word[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut numbers = vec![0, 1, 127, 128, u64::MAX, u64::MAX >> 1, 1 << 63];
        numbers.extend((0..64).map(|shift| 1_u64 << shift));
        let mut out = Vec::new();
        for &n in &numbers {
            put_varint(&mut out, n);
            put_signed(&mut out, n as i64);
        }
        let mut cursor = Cursor::new(&out);
        for &n in &numbers {
            assert_eq!(cursor.varint(), Ok(n));
            assert_eq!(cursor.signed(), Ok(n as i64));
        }
        assert_eq!(cursor.finish(), Ok(()));
        assert_eq!(cursor.byte(), Err(Bad("cut short")));
        assert!(Cursor::new(&[0xff; 9]).varint().is_err());
        assert!(Cursor::new(&[0xff; 10]).varint().is_err());
        assert!(Cursor::new(&[0x80, 0x80]).varint().is_err());
    }
}
