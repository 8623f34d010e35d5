//! Checksums of the pages, looked at when an extent is first touched.
//!
//! Promise: bytes that come out were checked since the block was opened; a damaged extent stays an error.
//! Not here: sections other than the pages, which are checked at opening.

use super::bytes::{Bad, Decoded, word_at};
use super::format::{EXTENT_BYTES, checksum};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where pages and checksums lie, and which extents have been found sound.
#[derive(Debug, Default)]
pub(super) struct Extents {
    seed: u64,
    /// The pages in the file.
    pages: Range<usize>,
    /// The checksums in the file.
    sums: Range<usize>,
    sound: Vec<AtomicU64>,
}

impl Extents {
    /// `sums` holds eight bytes for each extent of `pages`; both lie in the file.
    pub(super) fn open(seed: u64, pages: Range<usize>, sums: Range<usize>) -> Decoded<Extents> {
        let count = pages.len().div_ceil(EXTENT_BYTES);
        if sums.len() != count * 8 {
            return Err(Bad("number of extent checksums"));
        }
        Ok(Extents {
            seed,
            pages,
            sums,
            sound: (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Number of extents.
    pub(super) fn count(&self) -> usize {
        self.sums.len() / 8
    }

    /// Checks extent `number`, whatever is known of it.
    pub(super) fn check(&self, file: &[u8], number: usize) -> Decoded<()> {
        let start = self.pages.start + number * EXTENT_BYTES;
        let end = self.pages.end.min(start + EXTENT_BYTES);
        let bytes = file.get(start..end).ok_or(Bad("no such extent"))?;
        if checksum(self.seed, number as u64, bytes) != word_at(file, self.sums.start + number * 8)
        {
            return Err(Bad("checksum of its extent"));
        }
        if let Some(word) = self.sound.get(number / 64) {
            // Nothing else is published by this bit: the bytes were there before.
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    /// `bytes` bytes of the pages from `offset` on, with whatever follows them in the file.
    #[inline]
    pub(super) fn bytes<'a>(&self, file: &'a [u8], offset: u64, bytes: u64) -> Decoded<&'a [u8]> {
        const OUTSIDE: Bad = Bad("page outside the pages");
        let start = usize::try_from(offset).map_err(|_| OUTSIDE)?;
        let bytes = usize::try_from(bytes).map_err(|_| OUTSIDE)?;
        let end = start.checked_add(bytes).ok_or(OUTSIDE)?;
        if end > self.pages.len() {
            return Err(OUTSIDE);
        }
        for number in start / EXTENT_BYTES..end.div_ceil(EXTENT_BYTES) {
            let word = self
                .sound
                .get(number / 64)
                .map_or(0, |w| w.load(Ordering::Relaxed));
            if word >> (number % 64) & 1 == 0 {
                self.check(file, number)?;
            }
        }
        file.get(self.pages.start + start..).ok_or(OUTSIDE)
    }
}
