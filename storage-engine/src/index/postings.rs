//! Postings: for each label name and value, the slots of the series that carry it.
//!
//! A list starts as one slot, becomes a sorted vector, and past [`LIST_SLOTS_MAX`] a roaring bitmap; most values of
//! most labels have few series, a few have nearly all. It shrinks the same way, and a label that no series has any more
//! is gone. Counts and bytes are kept as lists change, so asking is cheap.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use roaring::RoaringBitmap;

/// Slots that a sorted vector holds before it becomes a bitmap.
const LIST_SLOTS_MAX: usize = 64;
/// Slots added to a bitmap between two looks at its real size; two bytes each are assumed meanwhile.
const MEASURE_EVERY: u32 = 4096;

/// Ascending slots.
#[derive(Debug, Clone)]
pub(crate) enum List {
    /// One series.
    One(u32),
    /// A few, ascending.
    Few(Vec<u32>),
    /// Many.
    Many(Box<Many>),
}

/// Many ascending slots.
#[derive(Debug, Clone)]
pub(crate) struct Many {
    slots: RoaringBitmap,
    len: u32,
    bytes: usize,
}

impl Many {
    fn measure(&mut self) {
        self.bytes = size_of::<Many>() + self.slots.serialized_size();
    }
}

impl List {
    fn add(&mut self, slot: u32) {
        match self {
            List::One(first) => {
                if *first != slot {
                    let (a, b) = (slot.min(*first), slot.max(*first));
                    *self = List::Few(vec![a, b]);
                }
            }
            List::Few(slots) => {
                if slots.last().is_some_and(|last| *last < slot) {
                    slots.push(slot);
                } else if let Err(at) = slots.binary_search(&slot) {
                    slots.insert(at, slot);
                }
                if slots.len() > LIST_SLOTS_MAX {
                    let mut many = Many {
                        len: slots.len() as u32,
                        slots: slots.iter().copied().collect(),
                        bytes: 0,
                    };
                    many.measure();
                    *self = List::Many(Box::new(many));
                }
            }
            List::Many(many) => {
                if many.slots.insert(slot) {
                    many.len += 1;
                    many.bytes += 2;
                    if many.len.is_multiple_of(MEASURE_EVERY) {
                        many.measure();
                    }
                }
            }
        }
    }

    /// Adds ascending slots.
    fn add_many(&mut self, more: &[u32]) {
        if let List::Many(many) = self {
            extend_ascending(&mut many.slots, more);
            many.len = many.slots.len() as u32;
            many.measure();
            return;
        }
        if let List::Few(slots) = self
            && slots.last() < more.first()
            && slots.len() + more.len() <= LIST_SLOTS_MAX
        {
            slots.extend_from_slice(more);
            return;
        }
        if self.len() as usize + more.len() > LIST_SLOTS_MAX {
            let mut slots = RoaringBitmap::new();
            match self {
                List::One(slot) => extend_ascending(&mut slots, &[*slot]),
                List::Few(few) => extend_ascending(&mut slots, few),
                List::Many(many) => slots |= &many.slots,
            }
            extend_ascending(&mut slots, more);
            let len = slots.len() as u32;
            // Some may have been there already.
            if len as usize > LIST_SLOTS_MAX {
                let mut many = Many {
                    len,
                    slots,
                    bytes: 0,
                };
                many.measure();
                *self = List::Many(Box::new(many));
                return;
            }
        }
        for slot in more {
            self.add(*slot);
        }
    }

    /// Removes a slot; `true` if none is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            List::One(first) => *first == slot,
            List::Few(slots) => {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
                match slots.as_slice() {
                    [] => return true,
                    [last] => *self = List::One(*last),
                    _ => {}
                }
                false
            }
            List::Many(many) => {
                if many.slots.remove(slot) {
                    many.len -= 1;
                    many.bytes = many.bytes.saturating_sub(2).max(size_of::<Many>());
                    if many.len.is_multiple_of(MEASURE_EVERY) {
                        many.measure();
                    }
                }
                // Well below the size at which it became one, so that it does not go back and forth.
                if many.len as usize <= LIST_SLOTS_MAX / 2 {
                    *self = List::Few(many.slots.iter().collect());
                }
                false
            }
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> u64 {
        match self {
            List::One(_) => 1,
            List::Few(slots) => slots.len() as u64,
            List::Many(many) => u64::from(many.len),
        }
    }

    /// The bitmap of a long list.
    pub(crate) fn bitmap(&self) -> Option<&RoaringBitmap> {
        match self {
            List::Many(many) => Some(&many.slots),
            _ => None,
        }
    }

    /// Adds all slots to `to`.
    pub(crate) fn union_into(&self, to: &mut RoaringBitmap) {
        match self {
            List::One(slot) => {
                to.insert(*slot);
            }
            List::Few(slots) => to.extend(slots.iter().copied()),
            List::Many(many) => *to |= &many.slots,
        }
    }

    /// Removes all slots from `from`.
    pub(crate) fn subtract_from(&self, from: &mut RoaringBitmap) {
        match self {
            List::One(slot) => {
                from.remove(*slot);
            }
            List::Few(slots) => {
                for slot in slots {
                    from.remove(*slot);
                }
            }
            List::Many(many) => *from -= &many.slots,
        }
    }

    /// Keeps in `set` only what is in the list too.
    pub(crate) fn intersect_into(&self, set: &mut RoaringBitmap) {
        match self {
            List::One(slot) => {
                let keep = set.contains(*slot);
                set.clear();
                if keep {
                    set.insert(*slot);
                }
            }
            List::Few(slots) => {
                *set = slots.iter().copied().filter(|s| set.contains(*s)).collect();
            }
            List::Many(many) => *set &= &many.slots,
        }
    }

    /// Has the list a slot of `set`?
    pub(crate) fn touches(&self, set: &RoaringBitmap) -> bool {
        match self {
            List::One(slot) => set.contains(*slot),
            List::Few(slots) => slots.iter().any(|s| set.contains(*s)),
            List::Many(many) => !many.slots.is_disjoint(set),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            List::One(_) => 0,
            List::Few(slots) => slots.capacity() * 4,
            List::Many(many) => many.bytes,
        }
    }
}

/// Adds ascending slots to a set. Those above all others, the common case, need no search.
fn extend_ascending(set: &mut RoaringBitmap, slots: &[u32]) {
    // A new list begins with the first of them.
    let slots = match slots.split_first() {
        Some((first, others)) if set.max() == Some(*first) => others,
        _ => slots,
    };
    if set.append(slots.iter().copied()).is_err() {
        set.extend(slots.iter().copied());
    }
}

/// The lists of one label name, by value symbol.
pub(crate) type ValueLists = HashMap<u32, List>;

/// All lists.
#[derive(Default)]
pub(crate) struct Postings {
    names: HashMap<u32, ValueLists>,
    all: RoaringBitmap,
    pairs: u64,
    /// Bytes of the lists, not of the tables they hang in.
    list_bytes: u64,
}

impl Postings {
    pub(super) fn add(&mut self, name: u32, value: u32, slot: u32) {
        let values = self.names.entry(name).or_default();
        match values.get_mut(&value) {
            Some(list) => {
                let before = list.heap_bytes() as u64;
                list.add(slot);
                self.list_bytes = self.list_bytes - before + list.heap_bytes() as u64;
            }
            None => {
                values.insert(value, List::One(slot));
                self.pairs += 1;
            }
        }
    }

    /// Adds ascending slots to one list.
    pub(super) fn add_many(&mut self, name: u32, value: u32, slots: &[u32]) {
        let Some(first) = slots.first() else {
            return;
        };
        let values = self.names.entry(name).or_default();
        let list = match values.entry(value) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.pairs += 1;
                entry.insert(List::One(*first))
            }
        };
        let before = list.heap_bytes() as u64;
        list.add_many(slots);
        self.list_bytes = self.list_bytes - before + list.heap_bytes() as u64;
    }

    pub(super) fn remove(&mut self, name: u32, value: u32, slot: u32) {
        let Some(values) = self.names.get_mut(&name) else {
            return;
        };
        let Some(list) = values.get_mut(&value) else {
            return;
        };
        let before = list.heap_bytes() as u64;
        let empty = list.remove(slot);
        let after = if empty { 0 } else { list.heap_bytes() as u64 };
        self.list_bytes = self.list_bytes - before + after;
        if empty {
            values.remove(&value);
            self.pairs -= 1;
            if values.is_empty() {
                self.names.remove(&name);
            } else if values.len() < values.capacity() / 4 {
                values.shrink_to(values.len() * 2);
            }
        }
    }

    pub(super) fn remove_from_all(&mut self, slot: u32) {
        self.all.remove(slot);
    }

    /// Adds ascending slots of new series.
    pub(super) fn add_many_to_all(&mut self, slots: &[u32]) {
        extend_ascending(&mut self.all, slots);
    }

    pub(super) fn add_to_all(&mut self, slot: u32) {
        self.all.insert(slot);
    }

    /// Every series.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// Distinct label pairs.
    pub(crate) fn pair_count(&self) -> u64 {
        self.pairs
    }

    /// Values of a label name, in no particular order.
    pub(crate) fn values(&self, name: u32) -> Option<&ValueLists> {
        self.names.get(&name)
    }

    /// Names and their values, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u32, &ValueLists)> {
        self.names.iter().map(|(name, values)| (*name, values))
    }

    /// Bytes held on the heap, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let tables: usize = self.names.values().map(ValueLists::allocation_size).sum();
        tables as u64 + self.list_bytes + self.all.serialized_size() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_length_agree_with_a_plain_set() {
        let mut state = 9_u64;
        for len in [1, 2, 3, 63, 64, 65, 66, 500, 9000] {
            let mut list = None::<List>;
            let mut plain = std::collections::BTreeSet::new();
            for i in 0..len {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let slot = if i % 3 == 0 {
                    i * 2
                } else {
                    (state >> 40) as u32 % 20_000
                };
                plain.insert(slot);
                match &mut list {
                    Some(list) => list.add(slot),
                    None => list = Some(List::One(slot)),
                }
            }
            let list = list.unwrap();
            assert_eq!(list.len(), plain.len() as u64);
            // The same in ascending pieces.
            let ascending: Vec<u32> = plain.iter().copied().collect();
            for piece in [1, 7, 64, 65, 1000] {
                let mut pieces = ascending.chunks(piece);
                let mut by_pieces = List::One(ascending[0]);
                pieces.by_ref().for_each(|slots| by_pieces.add_many(slots));
                let mut set = RoaringBitmap::new();
                by_pieces.union_into(&mut set);
                assert!(set.iter().eq(ascending.iter().copied()), "{len} {piece}");
                assert_eq!(by_pieces.len(), list.len());
            }
            let mut set = RoaringBitmap::new();
            list.union_into(&mut set);
            assert!(set.iter().eq(plain.iter().copied()));
            let evens: RoaringBitmap = (0..10_000).map(|i| i * 2).collect();
            let mut both = evens.clone();
            list.intersect_into(&mut both);
            assert!(both.iter().eq(plain.iter().copied().filter(|s| s % 2 == 0)));
            assert_eq!(list.touches(&evens), !both.is_empty());
            let mut without = evens.clone();
            list.subtract_from(&mut without);
            assert_eq!(without.len() + both.len(), evens.len());
        }
    }
}
