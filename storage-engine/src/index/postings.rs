//! Postings: for each label name and value, the slots of the series that carry it.
//!
//! A list starts as one slot, becomes a sorted vector, and past [`LIST_SLOTS_MAX`] a roaring bitmap; most values of
//! most labels have few series, a few have nearly all.

use hashbrown::HashMap;
use roaring::RoaringBitmap;

/// Slots that a sorted vector holds before it becomes a bitmap.
const LIST_SLOTS_MAX: usize = 64;

/// Ascending slots.
#[derive(Debug, Clone)]
pub(crate) enum List {
    /// One series.
    One(u32),
    /// A few, ascending.
    Few(Vec<u32>),
    /// Many.
    Many(Box<RoaringBitmap>),
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
                    *self = List::Many(Box::new(slots.iter().copied().collect()));
                }
            }
            List::Many(bitmap) => {
                bitmap.insert(slot);
            }
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> u64 {
        match self {
            List::One(_) => 1,
            List::Few(slots) => slots.len() as u64,
            List::Many(bitmap) => bitmap.len(),
        }
    }

    /// Adds all slots to `to`.
    pub(crate) fn union_into(&self, to: &mut RoaringBitmap) {
        match self {
            List::One(slot) => {
                to.insert(*slot);
            }
            List::Few(slots) => to.extend(slots.iter().copied()),
            List::Many(bitmap) => *to |= bitmap.as_ref(),
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
            List::Many(bitmap) => *from -= bitmap.as_ref(),
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
            List::Many(bitmap) => *set &= bitmap.as_ref(),
        }
    }

    /// Has the list a slot of `set`?
    pub(crate) fn touches(&self, set: &RoaringBitmap) -> bool {
        match self {
            List::One(slot) => set.contains(*slot),
            List::Few(slots) => slots.iter().any(|s| set.contains(*s)),
            List::Many(bitmap) => !bitmap.is_disjoint(set),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            List::One(_) => 0,
            List::Few(slots) => slots.capacity() * 4,
            List::Many(bitmap) => size_of::<RoaringBitmap>() + bitmap.serialized_size(),
        }
    }
}

/// The lists of one label name, by value symbol.
pub(crate) type ValueLists = HashMap<u32, List>;

/// All lists.
#[derive(Default)]
pub(crate) struct Postings {
    names: HashMap<u32, ValueLists>,
    all: RoaringBitmap,
}

impl Postings {
    pub(super) fn add(&mut self, name: u32, value: u32, slot: u32) {
        self.names
            .entry(name)
            .or_default()
            .entry(value)
            .and_modify(|list| list.add(slot))
            .or_insert(List::One(slot));
    }

    pub(super) fn add_to_all(&mut self, slot: u32) {
        self.all.insert(slot);
    }

    /// Every series.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        &self.all
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
        let lists: usize = self
            .names
            .values()
            .map(|values| {
                let own = values.allocation_size();
                own + values.values().map(List::heap_bytes).sum::<usize>()
            })
            .sum();
        (lists + self.all.serialized_size()) as u64
    }
}
