//! Labels of a block's series: whole sets, single values, and what there is of names and values.
//!
//! A thread keeps the last groups of series that it decoded, since neighbours are mostly asked for together.
//! Promise: no sample is touched, and counting decodes no list. Not here: matchers ([`super::select`]).

use super::bytes::{Decoded, put_text};
use super::scratch::with_scratch;
use super::series;
use super::{Block, BlockError};
use crate::model::Matcher;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// How many values and series a label name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCount {
    /// The label name.
    pub name: String,
    /// Number of distinct values.
    pub values: u32,
    /// Number of series that have the label.
    pub series: u32,
}

impl Block {
    /// Ordinals of the series whose labels pass all matchers; ascending ordinals are in [`super::block_order`].
    pub fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, BlockError> {
        self.selected(matchers).map_err(|bad| self.damaged(bad))
    }

    /// Appends the canonical label bytes of a series.
    pub fn put_canonical(&self, ordinal: u32, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let start = out.len();
        self.labels_into(ordinal, out).map_err(|bad| {
            out.truncate(start);
            self.damaged(bad)
        })
    }

    fn labels_into(&self, ordinal: u32, out: &mut Vec<u8>) -> Decoded<()> {
        self.with_series(ordinal, |names, values| {
            let mut symbols = self.symbols.reader(&self.file);
            for ((_, name), &value) in names.iter().zip(values) {
                put_text(out, name);
                put_text(out, symbols.get(value)?);
            }
            Ok(())
        })
    }

    /// Hands the label names and the value symbols of a series to `f`.
    pub(super) fn with_series<T>(
        &self,
        ordinal: u32,
        f: impl FnOnce(&[(u32, Arc<str>)], &[u32]) -> Decoded<T>,
    ) -> Decoded<T> {
        let group = ordinal / series::GROUP;
        with_scratch(|scratch| {
            let content = scratch.series.get((self.key, group), |content| {
                self.series.flatten(&self.file, group, content)
            })?;
            let (schema, values) = series::of_flat(content, ordinal % series::GROUP)?;
            f(self.series.names(schema)?, values)
        })
    }

    /// Symbol of the value that a series has for a name.
    pub(super) fn value_symbol(&self, ordinal: u32, name: u32) -> Decoded<Option<u32>> {
        self.with_series(ordinal, |names, values| {
            let position = names.iter().position(|(symbol, _)| *symbol == name);
            Ok(position.and_then(|i| values.get(i).copied()))
        })
    }

    /// Number of labels of a series.
    pub(super) fn label_count(&self, ordinal: u32) -> Decoded<usize> {
        self.with_series(ordinal, |names, _| Ok(names.len()))
    }

    /// The value of one label of a series, if it has it.
    pub fn label_value(&self, ordinal: u32, name: &str) -> Result<Option<String>, BlockError> {
        let value = self.with_series(ordinal, |names, values| {
            let position = names.iter().position(|(_, text)| **text == *name);
            match position.and_then(|i| values.get(i)) {
                Some(&value) => Ok(Some(self.symbols.reader(&self.file).get(value)?.to_owned())),
                None => Ok(None),
            }
        });
        value.map_err(|bad| self.damaged(bad))
    }

    /// Names of all labels, ascending.
    pub fn label_names(&self) -> Result<Vec<String>, BlockError> {
        Ok(self.label_counts()?.into_iter().map(|c| c.name).collect())
    }

    /// All values of a label, ascending.
    pub fn label_values(&self, name: &str) -> Result<Vec<String>, BlockError> {
        Ok(self
            .value_counts(name)?
            .into_iter()
            .map(|(value, _)| value)
            .collect())
    }

    /// Of each label name how many values and series it has, ascending by name. No list is decoded.
    pub fn label_counts(&self) -> Result<Vec<LabelCount>, BlockError> {
        let counts = || -> Decoded<Vec<LabelCount>> {
            let mut symbols = self.symbols.reader(&self.file);
            (0..self.postings.name_count())
                .map(|index| {
                    let name = self.postings.name(&self.file, index)?;
                    Ok(LabelCount {
                        name: symbols.get(name.symbol)?.to_owned(),
                        values: name.values,
                        series: name.series,
                    })
                })
                .collect()
        };
        counts().map_err(|bad| self.damaged(bad))
    }

    /// Of each value of a label how many series have it, ascending by value. No list is decoded.
    pub fn value_counts(&self, name: &str) -> Result<Vec<(String, u32)>, BlockError> {
        let counts = || -> Decoded<Vec<(String, u32)>> {
            let mut counts = Vec::new();
            let Some(name) = self.name(name)? else {
                return Ok(counts);
            };
            let mut symbols = self.symbols.reader(&self.file);
            self.postings
                .each_value(&self.file, &name, 0..u32::MAX, |value, list| {
                    counts.push((symbols.get(value)?.to_owned(), list.count));
                    Ok(())
                })?;
            Ok(counts)
        };
        counts().map_err(|bad| self.damaged(bad))
    }
}
