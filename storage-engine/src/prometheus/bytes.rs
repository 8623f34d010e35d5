//! Numbers and texts in Prometheus's index, tombstones and log: big-endian and Go's varints.
//!
//! Promise: reading never looks outside the bytes; the end is an error, not a panic.

use super::bits::{unzigzag, zigzag};

/// The bytes end early, or a number or text is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or cut short at byte {offset}")]
pub struct Malformed {
    /// Where, counted from the start of what was read.
    pub offset: usize,
}

/// Adds an unsigned varint.
pub(super) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a signed varint.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Adds a text with its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Adds four bytes.
pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Reads from bytes, front to back.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes` from their start.
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Position from the start.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is wrong here.
    pub(super) fn malformed(&self) -> Malformed {
        Malformed { offset: self.at }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or_else(|| self.malformed())?;
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| self.malformed())?;
        self.at = end;
        Ok(bytes)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Four bytes.
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A float's eight bytes.
    pub(super) fn f64(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// An unsigned varint.
    pub(super) fn uvarint(&mut self) -> Result<u64, Malformed> {
        let start = self.malformed();
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(start)
    }

    /// A signed varint.
    pub(super) fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.uvarint()?))
    }

    /// A count of things that take at least `bytes_each` bytes each, so that damage never makes us allocate.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, Malformed> {
        let start = self.malformed();
        let count = usize::try_from(self.uvarint()?).map_err(|_| start)?;
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(start),
        }
    }

    /// A text with its length.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let start = self.malformed();
        let bytes = self.count(1)?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| start)
    }
}
