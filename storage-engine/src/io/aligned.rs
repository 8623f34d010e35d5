//! A growing byte buffer whose first byte lies on a page boundary, as direct writes want it.
//!
//! Promise: alignment holds for every length and after every growth.

use super::DIRECT_ALIGNMENT;
use std::ops::{Deref, DerefMut};

/// Bytes that start at a multiple of [`DIRECT_ALIGNMENT`] in memory.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    /// Longer than the content by up to one alignment, so that an aligned start exists in it.
    raw: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.reserve(end);
        self.raw[self.start + self.len..self.start + end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Appends zeros up to `len` bytes in all.
    pub fn pad_to(&mut self, len: usize) {
        assert!(len >= self.len, "BUG: padding never shortens");
        self.reserve(len);
        self.raw[self.start + self.len..self.start + len].fill(0);
        self.len = len;
    }

    fn reserve(&mut self, len: usize) {
        if self.start + len <= self.raw.len() && !self.raw.is_empty() {
            return;
        }
        let mut raw = vec![0; len.next_power_of_two() + DIRECT_ALIGNMENT];
        let start = raw.as_ptr().align_offset(DIRECT_ALIGNMENT);
        raw[start..start + self.len].copy_from_slice(self);
        self.raw = raw;
        self.start = start;
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_while_it_grows() {
        let mut bytes = AlignedBytes::default();
        for round in 0..20usize {
            bytes.extend_from_slice(&vec![round as u8; round * 700]);
            let len = bytes.len().next_multiple_of(512);
            bytes.pad_to(len);
            assert_eq!(bytes.as_ptr() as usize % DIRECT_ALIGNMENT, 0);
        }
        assert_eq!(bytes[1024..1024 + 1400], [2; 1400]);
        bytes.clear();
        bytes.pad_to(8192);
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
}
