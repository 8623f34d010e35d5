//! Who a series is: label sets as symbols, found by the hash of their canonical bytes.
//!
//! Layout of one entry in the arena: `uvarint schema`, then one `uvarint` value symbol for each name of the schema.
//! The label names of series repeat, so a schema (the list of name symbols) is kept once.
//! Promise: a hash is only a hint, the labels themselves decide. Not here: references and generations (the shard).

use super::pairs;
use super::symbols::{Symbols, spread};
use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// No labels: a vacant slot.
const VACANT: u32 = u32::MAX;

/// Label sets of a shard, by slot and by content.
pub(crate) struct Identity {
    symbols: Symbols,
    schemas: Vec<Box<[u32]>>,
    schema_of: HashMap<Box<[u32]>, u32>,
    arena: Vec<u8>,
    starts: Vec<u32>,
    table: HashTable<Entry>,
    seed: u64,
    scratch: Vec<u32>,
    /// Bytes of the schemas and their table, roughly.
    schema_bytes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    slot: u32,
    hash: u32,
}

impl Identity {
    pub(crate) fn new(seed: u64) -> Self {
        Identity {
            symbols: Symbols::new(seed),
            schemas: Vec::new(),
            schema_of: HashMap::new(),
            arena: Vec::new(),
            starts: Vec::new(),
            table: HashTable::new(),
            seed,
            scratch: Vec::new(),
            schema_bytes: 0,
        }
    }

    #[inline]
    fn hash(&self, canonical: &[u8]) -> u32 {
        xxh3_128_with_seed(canonical, self.seed) as u32
    }

    /// The slot that has exactly these labels.
    #[inline]
    pub(crate) fn find(&self, canonical: &[u8]) -> Option<u32> {
        let hash = self.hash(canonical);
        self.table
            .find(spread(hash), |e| {
                e.hash == hash && self.equals(e.slot, canonical)
            })
            .map(|e| e.slot)
    }

    fn equals(&self, slot: u32, canonical: &[u8]) -> bool {
        let mut theirs = pairs(canonical);
        let mut equal = true;
        self.for_each_pair(slot, |name, value| {
            equal = equal
                && theirs.next().is_some_and(|(n, v)| {
                    n == self.symbols.get(name) && v == self.symbols.get(value)
                });
        });
        equal && theirs.next().is_none()
    }

    /// Enters labels that are canonical and not here yet; `false`, with nothing changed that a reader can see, when an
    /// arena is full.
    pub(crate) fn insert(&mut self, slot: u32, canonical: &[u8]) -> bool {
        let Ok(start) = u32::try_from(self.arena.len()) else {
            return false;
        };
        // A full arena must never yield the mark of a vacant slot.
        if start > VACANT - (1 << 20) {
            return false;
        }
        let mut names = std::mem::take(&mut self.scratch);
        names.clear();
        let mut values = Vec::with_capacity(16);
        for (name, value) in pairs(canonical) {
            let (Some(name), Some(value)) = (self.symbols.intern(name), self.symbols.intern(value))
            else {
                self.scratch = names;
                return false;
            };
            names.push(name);
            values.push(value);
        }
        let schema = match self.schema_of.get(names.as_slice()) {
            Some(&schema) => schema,
            None => {
                let schema = self.schemas.len() as u32;
                // Two copies of the names, and an entry with two pointers in each of vector and table.
                self.schema_bytes += names.len() as u64 * 8 + 64;
                self.schemas.push(names.as_slice().into());
                self.schema_of.insert(names.as_slice().into(), schema);
                schema
            }
        };
        self.scratch = names;
        put_uvarint(&mut self.arena, schema);
        for value in values {
            put_uvarint(&mut self.arena, value);
        }
        if self.starts.len() <= slot as usize {
            self.starts.resize(slot as usize + 1, VACANT);
        }
        self.starts[slot as usize] = start;
        let hash = self.hash(canonical);
        self.table
            .insert_unique(spread(hash), Entry { slot, hash }, |e| spread(e.hash));
        true
    }

    /// Calls `f(name symbol, value symbol)` for each label in ascending order of name.
    #[inline]
    pub(crate) fn for_each_pair(&self, slot: u32, mut f: impl FnMut(u32, u32)) {
        let Some((names, mut values)) = self.entry(slot) else {
            return;
        };
        for &name in names {
            f(name, values.next_value());
        }
    }

    fn entry(&self, slot: u32) -> Option<(&[u32], Values<'_>)> {
        let start = *self.starts.get(slot as usize)?;
        if start == VACANT {
            return None;
        }
        let mut values = Values {
            bytes: self.arena.get(start as usize..)?,
        };
        let names = self.schemas.get(values.next_value() as usize)?;
        Some((names, values))
    }

    /// The value symbol of label `name` in `slot`.
    #[inline]
    pub(crate) fn value_symbol(&self, slot: u32, name: u32) -> Option<u32> {
        let (names, mut values) = self.entry(slot)?;
        let position = names.iter().position(|n| *n == name)?;
        for _ in 0..position {
            values.next_value();
        }
        Some(values.next_value())
    }

    /// Names (as symbols) of the labels of `slot`.
    pub(crate) fn schema(&self, slot: u32) -> Option<(u32, &[u32])> {
        let start = *self.starts.get(slot as usize)?;
        if start == VACANT {
            return None;
        }
        let mut values = Values {
            bytes: self.arena.get(start as usize..)?,
        };
        let schema = values.next_value();
        Some((schema, self.schemas.get(schema as usize)?))
    }

    /// Appends the canonical label bytes of `slot`.
    pub(crate) fn put_canonical(&self, slot: u32, out: &mut Vec<u8>) {
        self.for_each_pair(slot, |name, value| {
            for text in [self.symbols.get(name), self.symbols.get(value)] {
                put_uvarint(out, text.len() as u32);
                out.extend_from_slice(text.as_bytes());
            }
        });
    }

    /// The strings.
    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Number of label sets.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        let own = self.arena.capacity() + self.starts.capacity() * 4 + self.table.allocation_size();
        own as u64 + self.schema_bytes + self.symbols.bytes()
    }
}

/// Varints of one entry, one by one.
struct Values<'a> {
    bytes: &'a [u8],
}

impl Values<'_> {
    #[inline(always)]
    fn next_value(&mut self) -> u32 {
        let mut value = 0_u32;
        let mut shift = 0;
        while let Some((&byte, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 || shift >= 28 {
                break;
            }
            shift += 7;
        }
        value
    }
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
