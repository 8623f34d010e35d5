//! The index of one shard: who a series is, and which series carry a label.
//!
//! Strings are kept once ([`symbols`]). A series is a schema (its label names) and one value symbol for each name, as
//! varints in one arena ([`identity`]); a hash table leads from canonical label bytes to the slot. [`postings`] lead
//! from (name, value) to slots, and [`select`] evaluates matchers over the distinct values of a label.
//!
//! Promise: two series never share a label set; a matcher sees a missing label as the empty string. Not here: samples.

mod group;
pub(crate) mod identity;
pub(crate) mod postings;
pub(crate) mod select;
pub(crate) mod symbols;

pub(crate) use group::{GroupInsert, GroupLabels};
pub(crate) use identity::Identity;
pub(crate) use postings::Postings;

use crate::model::{LabelIter, Labels};

/// Identity and postings together; they change together.
pub(crate) struct Index {
    /// Labels of each series, both ways.
    pub(crate) identity: Identity,
    /// Series of each label.
    pub(crate) postings: Postings,
}

impl Index {
    /// An empty index; `seed` makes its hashes unpredictable from outside.
    pub(crate) fn new(seed: u64) -> Self {
        Index {
            identity: Identity::new(seed),
            postings: Postings::default(),
        }
    }

    /// The slot of a label set.
    #[inline]
    pub(crate) fn find(&self, canonical: &[u8]) -> Option<u32> {
        self.identity.find(canonical)
    }

    /// Enters a label set, which must be canonical and new, under `slot`. `false` when an arena is full.
    pub(crate) fn insert(&mut self, slot: u32, canonical: &[u8]) -> bool {
        if !self.identity.insert(slot, canonical) {
            return false;
        }
        let postings = &mut self.postings;
        self.identity
            .for_each_pair(slot, |name, value| postings.add(name, value, slot));
        postings.add_to_all(slot);
        true
    }

    /// Makes room for this many more series.
    pub(crate) fn reserve(&mut self, series: usize) {
        self.identity.reserve(series);
    }

    /// Takes the series in `slot` out; its strings stay. Nothing happens for a vacant slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        let postings = &mut self.postings;
        self.identity
            .for_each_pair(slot, |name, value| postings.remove(name, value, slot));
        postings.remove_from_all(slot);
        self.identity.remove(slot);
    }

    /// The labels of `slot`.
    pub(crate) fn labels(&self, slot: u32) -> Labels {
        let mut bytes = Vec::with_capacity(128);
        self.identity.put_canonical(slot, &mut bytes);
        Labels::from_stored(&bytes)
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        self.identity.bytes() + self.postings.bytes()
    }
}

/// Is this a label set that may become a series: canonical and not empty?
pub(crate) fn is_series(canonical: &[u8]) -> bool {
    !canonical.is_empty() && Labels::check_canonical(canonical).is_ok()
}

#[cfg(test)]
mod tests;

/// Label pairs of canonical bytes.
pub(crate) fn pairs(canonical: &[u8]) -> LabelIter<'_> {
    LabelIter::over_canonical(canonical)
}
