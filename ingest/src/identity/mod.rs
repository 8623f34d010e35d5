//! Which series a sender means, from the bytes of its labels alone.
//!
//! Promise: labels are parsed once; afterwards a seeded 128-bit hash of their bytes answers (shard, reference). The
//! series that followed last time is tried first, so a sender with a stable order walks the table in memory order; the
//! rest of a batch is looked up in two passes of independent loads, so that cache misses overlap.
//! A hash stands for labels only after bytes with that hash were parsed and validated, and equal bytes parse equally.
//! Not here: hashing rules per protocol, parsing, validation, what to do with a reference a shard no longer knows.

mod hasher;

pub(crate) use hasher::LabelHasher;

use storage_engine::model::SeriesRef;

/// Series looked up together: enough misses in flight to hide memory latency, few enough to stay in the first cache.
pub(crate) const LOOKUP_BATCH: usize = 32;

/// No entry.
const NONE: u32 = u32::MAX;
const SLOTS_MIN: usize = 1024;

/// What the table knows of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Its labels must be read.
    Unknown,
    /// The request at hand brings its labels already: entry `index` of the shard's new series.
    Pending { shard: u16, index: u32 },
    /// The shard gave this reference.
    Known { shard: u16, series: SeriesRef },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryState {
    Unknown,
    Pending,
    Known,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: [u64; 2],
    /// `Known`: slot in the shard. `Pending`: index among the new series.
    index: u32,
    /// `Known`: generation of the slot. `Pending`: the request that waits.
    generation: u32,
    /// The entry that came after this one last time.
    successor: u32,
    /// Digest of the metadata last seen with the series (remote write 2.0); 0 before.
    metadata: u32,
    shard: u16,
    state: EntryState,
}

const _: () = assert!(size_of::<Entry>() == 40);

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    tag: u32,
    /// Index of the entry plus one; 0 is empty.
    entry: u32,
}

/// Label hashes of one gateway worker, and what they stand for.
#[derive(Debug)]
pub(crate) struct IdentityTable {
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    /// The last series of the last batch; a sender that goes through its series in several requests goes on from it.
    previous: u32,
    /// Number of the request at hand.
    request: u32,
    entries_max: usize,
}

fn split(hash: u128) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

impl IdentityTable {
    pub(crate) fn new(entries_max: usize) -> Self {
        IdentityTable {
            slots: vec![Slot::default(); SLOTS_MIN],
            entries: Vec::new(),
            previous: NONE,
            request: 0,
            entries_max,
        }
    }

    /// Begins a request: what was pending before is unknown again, and a table that has grown too large is emptied.
    pub(crate) fn begin_request(&mut self) {
        self.request = self.request.wrapping_add(1);
        if self.entries.len() >= self.entries_max || self.request == 0 {
            self.slots = vec![Slot::default(); SLOTS_MIN];
            self.entries = Vec::new();
            self.request = 1;
            self.previous = NONE;
        }
    }

    /// Entry indices for up to [`LOOKUP_BATCH`] hashes, in order; hashes not seen before get an entry.
    pub(crate) fn resolve(&mut self, hashes: &[u128], out: &mut [u32; LOOKUP_BATCH]) {
        let predicted = self.follow(hashes, out);
        let rest = hashes.get(predicted..).unwrap_or_default();
        let mut first_slots = [Slot::default(); LOOKUP_BATCH];
        for (slot, hash) in first_slots.iter_mut().zip(rest) {
            *slot = self.slot(self.home(*hash));
        }
        let mut hits = [false; LOOKUP_BATCH];
        for ((hit, slot), hash) in hits.iter_mut().zip(&first_slots).zip(rest) {
            *hit = slot.tag == tag(*hash)
                && self
                    .entry(slot.entry.wrapping_sub(1))
                    .is_some_and(|e| e.hash == split(*hash));
        }
        let tail = out.iter_mut().skip(predicted);
        for (((place, hit), slot), hash) in tail.zip(hits).zip(first_slots).zip(rest) {
            let found = if hit {
                slot.entry - 1
            } else {
                self.find_or_insert(*hash)
            };
            *place = found;
            let previous = self.previous;
            if let Some(entry) = self.entries.get_mut(previous as usize) {
                entry.successor = found;
            }
            self.previous = found;
        }
    }

    /// The part of the batch that comes in the order of last time.
    fn follow(&mut self, hashes: &[u128], out: &mut [u32; LOOKUP_BATCH]) -> usize {
        let mut count = 0;
        for (place, hash) in out.iter_mut().zip(hashes) {
            let next = self.entry(self.previous).map_or(NONE, |e| e.successor);
            if self.entry(next).is_none_or(|e| e.hash != split(*hash)) {
                break;
            }
            *place = next;
            self.previous = next;
            count += 1;
        }
        count
    }

    /// What entry `index` stands for in the request at hand.
    #[inline]
    pub(crate) fn identity(&self, index: u32) -> Identity {
        match self.entry(index) {
            Some(e) if e.state == EntryState::Known => Identity::Known {
                shard: e.shard,
                series: SeriesRef {
                    index: e.index,
                    generation: e.generation,
                },
            },
            Some(e) if e.state == EntryState::Pending && e.generation == self.request => {
                Identity::Pending {
                    shard: e.shard,
                    index: e.index,
                }
            }
            _ => Identity::Unknown,
        }
    }

    /// The request at hand brings the labels of entry `entry` as new series `index` of `shard`.
    pub(crate) fn set_pending(&mut self, entry: u32, shard: u16, index: u32) {
        let request = self.request;
        if let Some(e) = self.entries.get_mut(entry as usize) {
            e.state = EntryState::Pending;
            e.shard = shard;
            e.index = index;
            e.generation = request;
        }
    }

    /// A shard has answered with a reference. `hash` guards against a table that was emptied meanwhile.
    pub(crate) fn learn(&mut self, entry: u32, hash: u128, shard: u16, series: SeriesRef) {
        if let Some(e) = self.entries.get_mut(entry as usize)
            && e.hash == split(hash)
        {
            e.state = EntryState::Known;
            e.shard = shard;
            e.index = series.index;
            e.generation = series.generation;
        }
    }

    /// The shard does not know this reference any more.
    pub(crate) fn forget(&mut self, hash: u128) -> u32 {
        let found = self.find_or_insert(hash);
        if let Some(e) = self.entries.get_mut(found as usize) {
            e.state = EntryState::Unknown;
        }
        found
    }

    /// Notes the digest of a series' metadata; true when it is another one than before.
    pub(crate) fn metadata_changed(&mut self, entry: u32, digest: u32) -> bool {
        match self.entries.get_mut(entry as usize) {
            Some(e) if e.metadata != digest => {
                e.metadata = digest;
                true
            }
            _ => false,
        }
    }

    /// Number of series remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn home(&self, hash: u128) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn slot(&self, at: usize) -> Slot {
        self.slots.get(at).copied().unwrap_or_default()
    }

    fn find_or_insert(&mut self, hash: u128) -> u32 {
        // At most half full, so that probes are short and end.
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let mut at = self.home(hash);
        loop {
            let slot = self.slot(at);
            if slot.entry == 0 {
                break;
            }
            let found = slot.entry - 1;
            if slot.tag == tag(hash) && self.entry(found).is_some_and(|e| e.hash == split(hash)) {
                return found;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let index = self.entries.len() as u32;
        self.entries.push(Entry {
            hash: split(hash),
            index: 0,
            generation: 0,
            successor: NONE,
            metadata: 0,
            shard: 0,
            state: EntryState::Unknown,
        });
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot {
                tag: tag(hash),
                entry: index + 1,
            };
        }
        index
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        let mut slots = vec![Slot::default(); size];
        for (index, entry) in self.entries.iter().enumerate() {
            let [low, high] = entry.hash;
            let hash = (u128::from(high) << 64) | u128::from(low);
            let mut at = low as usize & (size - 1);
            while slots.get(at).is_some_and(|s| s.entry != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot {
                    tag: tag(hash),
                    entry: index as u32 + 1,
                };
            }
        }
        self.slots = slots;
    }
}

/// Bits of the hash that do not choose the slot.
fn tag(hash: u128) -> u32 {
    (hash >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn mix(value: u64) -> u128 {
        let spread = |x: u64| {
            let x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        (u128::from(spread(value)) << 64) | u128::from(spread(value ^ 0x5555))
    }

    #[test]
    fn agrees_with_a_map_in_any_order() {
        let mut table = IdentityTable::new(100_000);
        let mut model: HashMap<u128, u32> = HashMap::new();
        let mut state = 7u64;
        for round in 0..60u64 {
            table.begin_request();
            let ids: Vec<u64> = (0..500)
                .map(|i| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    // Stable order in most rounds, random in others, repeats inside one batch now and then.
                    if round % 3 == 0 {
                        (state >> 40) % 2_000
                    } else {
                        i / (1 + round % 2)
                    }
                })
                .collect();
            for batch in ids.chunks(LOOKUP_BATCH) {
                let hashes: Vec<u128> = batch.iter().map(|i| mix(*i)).collect();
                let mut out = [NONE; LOOKUP_BATCH];
                table.resolve(&hashes, &mut out);
                for (hash, entry) in hashes.iter().zip(out) {
                    let next = model.len() as u32;
                    assert_eq!(*model.entry(*hash).or_insert(next), entry);
                }
            }
        }
        assert_eq!(table.len(), model.len());
    }

    #[test]
    fn an_entry_is_learnt_forgotten_and_learnt_again() {
        let mut table = IdentityTable::new(10);
        table.begin_request();
        let mut out = [NONE; LOOKUP_BATCH];
        table.resolve(&[mix(1), mix(2)], &mut out);
        let entry = out[1];
        assert_eq!(table.identity(entry), Identity::Unknown);
        table.set_pending(entry, 3, 9);
        assert_eq!(
            table.identity(entry),
            Identity::Pending { shard: 3, index: 9 }
        );
        table.begin_request();
        assert_eq!(table.identity(entry), Identity::Unknown);
        let series = SeriesRef {
            index: 5,
            generation: 6,
        };
        table.learn(entry, mix(1), 3, series);
        assert_eq!(
            table.identity(entry),
            Identity::Unknown,
            "another hash's answer is not taken"
        );
        table.learn(entry, mix(2), 3, series);
        assert_eq!(table.identity(entry), Identity::Known { shard: 3, series });
        assert_eq!(table.forget(mix(2)), entry);
        assert_eq!(table.identity(entry), Identity::Unknown);
        assert!(table.metadata_changed(entry, 77));
        assert!(!table.metadata_changed(entry, 77));
    }

    #[test]
    fn a_table_at_its_bound_starts_anew() {
        let mut table = IdentityTable::new(100);
        let mut out = [NONE; LOOKUP_BATCH];
        for round in 0..10u64 {
            table.begin_request();
            for i in 0..40 {
                table.resolve(&[mix(round * 40 + i)], &mut out);
            }
            assert!(table.len() <= 140);
        }
    }
}
