//! The index of a block while it grows: labels as numbers in order of appearance, lists as runs.
//!
//! Symbols are numbered in the order of their texts when all are known. Promise: the same series give the same bytes.

use super::bytes::{Cursor, put_varint};
use super::postings::{self, GrowingList};
use super::series::SeriesWriter;
use super::symbols;
use crate::index::pairs;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Labels as numbers in order of appearance; symbols are numbered when all are known.
#[derive(Default)]
pub(super) struct IndexWriter {
    numbers: HashMap<Box<str>, u32>,
    /// For each series the number of its labels and the numbers of their names and values, as varints.
    series: Vec<u8>,
    series_count: u32,
    lists: HashMap<(u32, u32), GrowingList>,
}

impl IndexWriter {
    fn number(&mut self, text: &str) -> u32 {
        match self.numbers.get(text) {
            Some(&number) => number,
            None => {
                let number = self.numbers.len() as u32;
                self.numbers.insert(text.into(), number);
                number
            }
        }
    }

    /// Adds the labels of the next series.
    pub(super) fn add(&mut self, ordinal: u32, canonical: &[u8]) {
        self.series_count += 1;
        put_varint(&mut self.series, pairs(canonical).count() as u64);
        for (name, value) in pairs(canonical) {
            let (name, value) = (self.number(name), self.number(value));
            put_varint(&mut self.series, u64::from(name));
            put_varint(&mut self.series, u64::from(value));
            self.lists.entry((name, value)).or_default().add(ordinal);
        }
    }

    /// Writes the sections symbols, series and postings.
    pub(super) fn put_sections(self, out: &mut [Vec<u8>; 3]) {
        let mut texts: Vec<(&str, u32)> = self.numbers.iter().map(|(t, n)| (&**t, *n)).collect();
        texts.sort_unstable();
        let mut symbol_of = vec![0; texts.len()];
        for (symbol, (_, number)) in texts.iter().enumerate() {
            symbol_of[*number as usize] = symbol as u32;
        }
        let texts: Vec<&str> = texts.into_iter().map(|(text, _)| text).collect();
        symbols::put_section(&texts, &mut out[0]);
        let mut series = SeriesWriter::default();
        let mut cursor = Cursor::new(&self.series);
        let mut next = || match cursor.small() {
            Ok(number) => number,
            Err(bad) => unreachable!("BUG: the writer's own list of series: {bad}"),
        };
        for _ in 0..self.series_count {
            let labels = next();
            series
                .add((0..labels).map(|_| (symbol_of[next() as usize], symbol_of[next() as usize])));
        }
        series.put_section(&mut out[1]);
        let lists: BTreeMap<(u32, u32), GrowingList> = self
            .lists
            .into_iter()
            .map(|((n, v), list)| ((symbol_of[n as usize], symbol_of[v as usize]), list))
            .collect();
        postings::put_section(lists, &mut out[2]);
    }
}
