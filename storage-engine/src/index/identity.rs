//! Who a series is: label sets as symbols, found by the hash of their canonical bytes.
//!
//! Layout of one entry: `uvarint schema`, then one `uvarint` value symbol for each name of the schema. The label names
//! of series repeat, so a schema (the list of name symbols) is kept once. The entries of [`BLOCK_SLOTS`] slots lie in one
//! block; one that is half garbage is written anew, which is short work for a block.
//! Promise: a hash is only a hint, the labels themselves decide. Not here: references and generations (the shard).

use super::pairs;
use super::symbols::{Symbols, spread};
use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// No labels: a vacant slot.
const VACANT: u32 = u32::MAX;
/// Slots whose entries lie together.
const BLOCK_SLOTS: usize = 1024;
/// Room that a full block gets, in bytes.
const BLOCK_GROWTH: usize = 2048;

/// Label sets of a shard, by slot and by content.
pub(crate) struct Identity {
    symbols: Symbols,
    schemas: Vec<Box<[u32]>>,
    schema_of: HashMap<Box<[u32]>, u32>,
    blocks: Vec<Block>,
    /// Where the entry of each slot begins in its block.
    starts: Vec<u32>,
    /// Capacity of all blocks.
    block_bytes: usize,
    table: HashTable<Entry>,
    seed: u64,
    scratch: Vec<u32>,
    entry: Vec<u8>,
    /// Bytes of the schemas and their table, roughly.
    schema_bytes: u64,
}

/// The entries of some neighbouring slots.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Bytes of entries that no slot has any more.
    garbage: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    slot: u32,
    hash: u32,
}

/// A series that is to come in with others.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry {
    /// A vacant slot.
    pub(super) slot: u32,
    /// [`Identity::hash`] of its canonical label bytes.
    pub(super) hash: u32,
    /// Where its entry ends.
    pub(super) end: usize,
}

impl Identity {
    pub(crate) fn new(seed: u64) -> Self {
        Identity {
            symbols: Symbols::new(seed),
            schemas: Vec::new(),
            schema_of: HashMap::new(),
            blocks: Vec::new(),
            starts: Vec::new(),
            block_bytes: 0,
            table: HashTable::new(),
            seed,
            scratch: Vec::new(),
            entry: Vec::new(),
            schema_bytes: 0,
        }
    }

    /// The hash of canonical label bytes.
    #[inline]
    pub(super) fn hash(&self, canonical: &[u8]) -> u32 {
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

    /// Enters labels that are canonical and not here yet, for a slot that is vacant; `false`, with nothing changed that a
    /// reader can see, when the symbols are full.
    pub(crate) fn insert(&mut self, slot: u32, canonical: &[u8]) -> bool {
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
        let schema = self.schema_of(&names);
        self.scratch = names;
        self.entry.clear();
        put_entry_symbols(&mut self.entry, schema, &values);
        self.enter(slot, self.hash(canonical));
        true
    }

    /// Enters many series at once: `entries` are their encoded entries ([`put_entry_symbols`]) back to back, in ascending order of slot, each
    /// of a vacant slot. `same` gets, for each, the slot that has the same labels already; that series stays out, with nothing changed.
    pub(super) fn insert_many(
        &mut self,
        entries: &[u8],
        series: &[NewEntry],
        same: &mut Vec<Option<u32>>,
    ) {
        // First all entries: a series may have the labels of one before it.
        let mut rest = series;
        let mut at = 0;
        while let Some(first) = rest.first() {
            let block = first.slot as usize / BLOCK_SLOTS;
            let here = rest.partition_point(|s| s.slot as usize / BLOCK_SLOTS == block);
            let (these, later) = rest.split_at(here);
            self.put_entries(block, entries, &mut at, these);
            rest = later;
        }
        // Then only the table, whose cold lines the processor then waits for side by side.
        for new in series {
            let found = self.table.find(spread(new.hash), |e| {
                e.hash == new.hash && self.entry_bytes(e.slot) == self.entry_bytes(new.slot)
            });
            let found = found.map(|e| e.slot);
            same.push(found);
            if found.is_none() {
                let entry = Entry {
                    slot: new.slot,
                    hash: new.hash,
                };
                self.table
                    .insert_unique(spread(new.hash), entry, |e| spread(e.hash));
            } else {
                self.forget_entry(new.slot);
            }
        }
    }

    /// Puts the entries of slots of one block behind what it has.
    fn put_entries(&mut self, block: usize, entries: &[u8], at: &mut usize, series: &[NewEntry]) {
        let Some(last) = series.last() else { return };
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, Block::default);
        }
        if self.starts.len() <= last.slot as usize {
            self.starts.resize(last.slot as usize + 1, VACANT);
        }
        let bytes = &mut self.blocks[block].bytes;
        self.block_bytes -= bytes.capacity();
        bytes.reserve_exact(last.end - *at);
        self.block_bytes += bytes.capacity();
        for new in series {
            let start = u32::try_from(bytes.len()).expect("BUG: a block of entries has 4 GiB");
            bytes.extend_from_slice(&entries[*at..new.end]);
            self.starts[new.slot as usize] = start;
            *at = new.end;
        }
    }

    /// Makes room for this many more series.
    pub(super) fn reserve(&mut self, series: usize) {
        self.table.reserve(series, |e| spread(e.hash));
        self.starts.reserve(series);
    }

    /// The symbol of a text, new if need be; `None` when the symbols are full.
    pub(super) fn intern(&mut self, text: &str) -> Option<u32> {
        self.symbols.intern(text)
    }

    /// The schema of label names, new if need be.
    pub(super) fn schema_of(&mut self, names: &[u32]) -> u32 {
        if let Some(&schema) = self.schema_of.get(names) {
            return schema;
        }
        let schema = self.schemas.len() as u32;
        // Two copies of the names, and an entry with two pointers in each of vector and table.
        self.schema_bytes += names.len() as u64 * 8 + 64;
        self.schemas.push(names.into());
        self.schema_of.insert(names.into(), schema);
        schema
    }

    /// Gives a vacant slot the encoded entry.
    fn enter(&mut self, slot: u32, hash: u32) {
        let entry = std::mem::take(&mut self.entry);
        let start = self.put_entry(slot, &entry);
        self.entry = entry;
        if self.starts.len() <= slot as usize {
            self.starts.resize(slot as usize + 1, VACANT);
        }
        self.starts[slot as usize] = start;
        self.table
            .insert_unique(spread(hash), Entry { slot, hash }, |e| spread(e.hash));
    }

    /// Puts an entry into the block of its slot, returns where.
    fn put_entry(&mut self, slot: u32, entry: &[u8]) -> u32 {
        let block = slot as usize / BLOCK_SLOTS;
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, Block::default);
        }
        let bytes = &mut self.blocks[block].bytes;
        let start = u32::try_from(bytes.len()).expect("BUG: a block of entries has 4 GiB");
        if bytes.capacity() - bytes.len() < entry.len() {
            self.block_bytes -= bytes.capacity();
            bytes.reserve_exact(entry.len().max(BLOCK_GROWTH));
            self.block_bytes += bytes.capacity();
        }
        bytes.extend_from_slice(entry);
        start
    }

    /// Takes the labels of a slot out; the strings stay. Nothing happens for a vacant slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        let mut canonical = Vec::with_capacity(256);
        self.put_canonical(slot, &mut canonical);
        if self.entry_bytes(slot).is_none() {
            return;
        }
        let hash = self.hash(&canonical);
        let found = self
            .table
            .find_entry(spread(hash), |e| e.hash == hash && e.slot == slot);
        match found {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("BUG: a series is not in the table of its shard"),
        }
        self.forget_entry(slot);
    }

    /// Makes the entry of a slot garbage.
    fn forget_entry(&mut self, slot: u32) {
        let Some(bytes) = self.entry_bytes(slot).map(<[u8]>::len) else {
            return;
        };
        self.starts[slot as usize] = VACANT;
        let block = slot as usize / BLOCK_SLOTS;
        self.blocks[block].garbage += bytes;
        if self.blocks[block].garbage * 2 > self.blocks[block].bytes.len() {
            self.rewrite(block);
        }
    }

    /// Writes a block without its garbage.
    fn rewrite(&mut self, block: usize) {
        let kept = self.blocks[block].bytes.len() - self.blocks[block].garbage;
        let mut bytes = Vec::with_capacity(kept);
        let first = block * BLOCK_SLOTS;
        for slot in first..(first + BLOCK_SLOTS).min(self.starts.len()) {
            let start = bytes.len() as u32;
            if let Some(entry) = self.entry_bytes(slot as u32) {
                bytes.extend_from_slice(entry);
                self.starts[slot] = start;
            }
        }
        self.block_bytes =
            self.block_bytes + bytes.capacity() - self.blocks[block].bytes.capacity();
        self.blocks[block] = Block { bytes, garbage: 0 };
    }

    /// The block of a slot from its entry on.
    #[inline]
    fn bytes_from_entry(&self, slot: u32) -> Option<&[u8]> {
        let start = *self.starts.get(slot as usize)?;
        if start == VACANT {
            return None;
        }
        let block = self.blocks.get(slot as usize / BLOCK_SLOTS)?;
        block.bytes.get(start as usize..)
    }

    /// The whole entry of a slot.
    fn entry_bytes(&self, slot: u32) -> Option<&[u8]> {
        let bytes = self.bytes_from_entry(slot)?;
        let (names, mut values) = self.entry(slot)?;
        for _ in names {
            values.next_value();
        }
        bytes.get(..bytes.len() - values.bytes.len())
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
        let mut values = Values {
            bytes: self.bytes_from_entry(slot)?,
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
        let mut values = Values {
            bytes: self.bytes_from_entry(slot)?,
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

    /// The seed of the hashes, for other tables of label sets.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of label sets.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the blocks of entries.
    #[cfg(test)]
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        let own = self.block_bytes
            + self.blocks.capacity() * size_of::<Block>()
            + self.starts.capacity() * 4
            + self.table.allocation_size();
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

/// Appends the entry of a series.
pub(super) fn put_entry_symbols(out: &mut Vec<u8>, schema: u32, values: &[u32]) {
    put_uvarint(out, schema);
    for value in values {
        put_uvarint(out, *value);
    }
}

pub(super) fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
