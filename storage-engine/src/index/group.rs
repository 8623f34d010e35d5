//! Series entered many at a time, as a checkpoint gives them: each text and each label pair is looked up once for all of them.
//!
//! Promise: the index is the same as if each series had been entered by itself. Not here: where the group comes from (`checkpoint`).

use super::Index;
use super::identity::{NewEntry, put_entry_symbols, put_uvarint};

/// The texts and pairs of some series, known to the index; collects who has which pair.
pub(crate) struct GroupLabels<'a> {
    texts: &'a [&'a str],
    /// Name and value, as positions in `texts`.
    pairs: &'a [(u32, u32)],
    /// The symbol of each text.
    symbols: Vec<u32>,
    /// Canonical bytes of each pair, back to back, and where they begin and end.
    pair_bytes: Vec<u8>,
    pair_ends: Vec<usize>,
    /// Pairs and the slots that have them, not in the postings yet.
    members: Vec<(u32, u32)>,
    /// Slots of series that came in, not in the postings yet.
    slots: Vec<u32>,
    /// Label names of the series before, and their schema.
    names: Vec<u32>,
    schema: Option<u32>,
    canonical: Vec<u8>,
    values: Vec<u32>,
}

/// What became of a series of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupInsert {
    /// It is in.
    Added,
    /// This slot has the same labels.
    Same(u32),
    /// Its labels are none.
    Invalid,
}

impl<'a> GroupLabels<'a> {
    /// Makes the texts known. `None` when the symbols are full.
    pub(crate) fn new(
        index: &mut Index,
        texts: &'a [&'a str],
        pairs: &'a [(u32, u32)],
    ) -> Option<GroupLabels<'a>> {
        let interned = texts.iter().map(|text| index.identity.intern(text));
        let symbols = interned.collect::<Option<Vec<u32>>>()?;
        let (mut pair_bytes, mut pair_ends) = (Vec::new(), vec![0]);
        for (name, value) in pairs {
            for text in [texts[*name as usize], texts[*value as usize]] {
                put_uvarint(&mut pair_bytes, text.len() as u32);
                pair_bytes.extend_from_slice(text.as_bytes());
            }
            pair_ends.push(pair_bytes.len());
        }
        Some(GroupLabels {
            texts,
            pairs,
            symbols,
            pair_bytes,
            pair_ends,
            members: Vec::new(),
            slots: Vec::new(),
            names: Vec::new(),
            schema: None,
            canonical: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Enters series in ascending order of their slots, which are vacant, given by their pairs; one without pairs is none. Says of each
    /// what became of it.
    pub(crate) fn insert<'s>(
        &mut self,
        index: &mut Index,
        series: impl Iterator<Item = (u32, &'s [u32])> + Clone,
    ) -> Vec<GroupInsert> {
        let (mut entries, mut new) = (Vec::new(), Vec::new());
        let mut inserted = Vec::new();
        for (slot, labels) in series.clone() {
            let schema = match self.resolve(index, labels) {
                true => self.schema,
                false => None,
            };
            let Some(schema) = schema else {
                inserted.push(GroupInsert::Invalid);
                continue;
            };
            inserted.push(GroupInsert::Added);
            put_entry_symbols(&mut entries, schema, &self.values);
            new.push(NewEntry {
                slot,
                hash: index.identity.hash(&self.canonical),
                end: entries.len(),
            });
        }
        let mut same = Vec::with_capacity(new.len());
        index.identity.insert_many(&entries, &new, &mut same);
        let mut same = same.into_iter();
        for (inserted, (slot, labels)) in inserted.iter_mut().zip(series) {
            if *inserted == GroupInsert::Invalid {
                continue;
            }
            if let Some(Some(same)) = same.next() {
                *inserted = GroupInsert::Same(same);
                continue;
            }
            self.slots.push(slot);
            self.members.extend(labels.iter().map(|pair| (*pair, slot)));
        }
        inserted
    }

    /// Finds schema, values and canonical bytes; `false` if the pairs are no label set.
    fn resolve(&mut self, index: &mut Index, labels: &[u32]) -> bool {
        self.canonical.clear();
        self.values.clear();
        let mut same_names = labels.len() == self.names.len();
        for (position, pair) in labels.iter().enumerate() {
            let pair = *pair as usize;
            let Some(&(name, value)) = self.pairs.get(pair) else {
                return false;
            };
            let bytes = self.pair_ends[pair]..self.pair_ends[pair + 1];
            self.canonical.extend_from_slice(&self.pair_bytes[bytes]);
            self.values.push(self.symbols[value as usize]);
            same_names = same_names && self.names[position] == name;
        }
        if !same_names || self.schema.is_none() {
            let name = |pair: &u32| self.pairs[*pair as usize].0;
            self.names.clear();
            self.names.extend(labels.iter().map(name));
            let ascending = self
                .names
                .windows(2)
                .all(|two| self.texts[two[0] as usize] < self.texts[two[1] as usize]);
            self.schema = None;
            if !ascending || self.names.is_empty() {
                return false;
            }
            let symbols: Vec<u32> = self
                .names
                .iter()
                .map(|n| self.symbols[*n as usize])
                .collect();
            self.schema = Some(index.identity.schema_of(&symbols));
        }
        true
    }

    /// Enters into the postings what was collected.
    pub(crate) fn flush(&mut self, index: &mut Index) {
        // By pair, in the order of slots: where the slots of each pair end, then each to its place.
        let mut ends = vec![0_u32; self.pairs.len() + 1];
        for (pair, _) in &self.members {
            ends[*pair as usize + 1] += 1;
        }
        for pair in 0..self.pairs.len() {
            ends[pair + 1] += ends[pair];
        }
        let mut by_pair = vec![0_u32; self.members.len()];
        for (pair, slot) in self.members.drain(..) {
            let at = &mut ends[pair as usize];
            by_pair[*at as usize] = slot;
            *at += 1;
        }
        // Now each end is where the next pair's slots begin.
        let mut start = 0;
        for (&(name, value), &end) in self.pairs.iter().zip(&ends) {
            let (name, value) = (self.symbols[name as usize], self.symbols[value as usize]);
            let slots = &by_pair[start..end as usize];
            index.postings.add_many(name, value, slots);
            start = end as usize;
        }
        index.postings.add_many_to_all(&self.slots);
        self.slots.clear();
    }
}
