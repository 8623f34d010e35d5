//! The symbol table: every label name and value once, named by a small integer.
//!
//! Promise: a symbol never changes and never goes away while the shard lives; equal strings have equal symbols.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Strings in one arena, found by hash.
pub(crate) struct Symbols {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    table: HashTable<Entry>,
    seed: u64,
}

/// A symbol and half of its hash, so that growing the table does not touch the strings.
#[derive(Clone, Copy)]
struct Entry {
    symbol: u32,
    hash: u32,
}

/// Stretches 32 stored bits of a hash over 64, as the tables want them.
#[inline(always)]
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Symbols {
    pub(crate) fn new(seed: u64) -> Self {
        Symbols {
            bytes: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            seed,
        }
    }

    /// The string of a symbol; empty for a symbol of another table.
    #[inline]
    pub(crate) fn get(&self, symbol: u32) -> &str {
        let Some(&end) = self.ends.get(symbol as usize) else {
            return "";
        };
        let start = match symbol.checked_sub(1) {
            Some(before) => self.ends[before as usize],
            None => 0,
        };
        let bytes = &self.bytes[start as usize..end as usize];
        // SAFETY: `intern` is the only writer of `bytes` and `ends`; it appends a whole `&str` and then its end, and
        // nothing is ever removed, so each range is one valid UTF-8 string.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    fn hash(&self, text: &str) -> u32 {
        xxh3_64_with_seed(text.as_bytes(), self.seed) as u32
    }

    /// The symbol of a string that is here already.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.find_hashed(text, self.hash(text))
    }

    fn find_hashed(&self, text: &str, hash: u32) -> Option<u32> {
        self.table
            .find(spread(hash), |e| {
                e.hash == hash && self.get(e.symbol) == text
            })
            .map(|e| e.symbol)
    }

    /// The symbol of a string, new if need be; `None` when the arena (4 GiB) is full.
    pub(crate) fn intern(&mut self, text: &str) -> Option<u32> {
        let hash = self.hash(text);
        if let Some(symbol) = self.find_hashed(text, hash) {
            return Some(symbol);
        }
        let end = u32::try_from(self.bytes.len() + text.len()).ok()?;
        let symbol = u32::try_from(self.ends.len()).ok()?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(end);
        self.table
            .insert_unique(spread(hash), Entry { symbol, hash }, |e| spread(e.hash));
        Some(symbol)
    }

    /// Number of symbols.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        (self.bytes.capacity() + self.ends.capacity() * 4 + self.table.allocation_size()) as u64
    }
}
