//! Series entered many at a time, as a checkpoint gives them: each text and each label pair is looked up once for all of them.
//!
//! Promise: the index is the same as if each series had been entered by itself. Not here: where the group comes from (`checkpoint`).

use super::Index;

/// The texts and pairs of some series, known to the index; collects who has which pair.
pub(crate) struct GroupLabels<'a> {
    texts: &'a [&'a str],
    /// Name and value, as positions in `texts`.
    pairs: &'a [(u32, u32)],
    /// The symbol of each text.
    symbols: Vec<u32>,
    /// Slots with each pair, not in the postings yet.
    members: Vec<Vec<u32>>,
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
        Some(GroupLabels {
            texts,
            pairs,
            symbols: interned.collect::<Option<Vec<u32>>>()?,
            members: vec![Vec::new(); pairs.len()],
            names: Vec::new(),
            schema: None,
            canonical: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Enters the series of a vacant slot, given by its pairs.
    pub(crate) fn insert(&mut self, index: &mut Index, slot: u32, labels: &[u32]) -> GroupInsert {
        if !self.resolve(index, labels) {
            return GroupInsert::Invalid;
        }
        let Some(schema) = self.schema else {
            return GroupInsert::Invalid;
        };
        let identity = &mut index.identity;
        if let Err(same) = identity.insert_symbols(slot, schema, &self.values, &self.canonical) {
            return GroupInsert::Same(same);
        }
        for pair in labels {
            self.members[*pair as usize].push(slot);
        }
        index.postings.add_to_all(slot);
        GroupInsert::Added
    }

    /// Finds schema, values and canonical bytes; `false` if the pairs are no label set.
    fn resolve(&mut self, index: &mut Index, labels: &[u32]) -> bool {
        self.canonical.clear();
        self.values.clear();
        let mut same_names = labels.len() == self.names.len();
        for (position, pair) in labels.iter().enumerate() {
            let Some(&(name, value)) = self.pairs.get(*pair as usize) else {
                return false;
            };
            for text in [name, value] {
                let text = self.texts[text as usize];
                super::identity::put_uvarint(&mut self.canonical, text.len() as u32);
                self.canonical.extend_from_slice(text.as_bytes());
            }
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
        for (slots, (name, value)) in self.members.iter_mut().zip(self.pairs) {
            let (name, value) = (self.symbols[*name as usize], self.symbols[*value as usize]);
            index.postings.add_many(name, value, slots);
            slots.clear();
        }
    }
}
