//! The labels of each series: a schema (its label names) and one symbol for each value, as the difference to the series before.
//!
//! Layout: the number of schemas, each as the number of its names and their symbols; a table of where each group of 64 series starts; then the
//! groups. A series that has the schema of the one before is `mask << 1 | 1`, where the mask has a bit for each value that differs,
//! and for each of these the signed distance of its symbol; another is `schema << 1` and the symbols of all its values. The first of a
//! group is never told from the one before. Names are in ascending order, as in canonical label bytes.
//! Not here: texts, lookup by label.

use super::bytes::{Bad, Cursor, Decoded, put_signed, put_varint};
use super::packed::{self, Table};
use hashbrown::HashMap;

/// Series of a group.
pub(super) const GROUP: u32 = 64;
/// Values that a mask has room for.
const MASK_BITS: usize = 63;

/// Collects series as name and value symbols while the section is written.
#[derive(Debug, Default)]
pub(super) struct SeriesWriter {
    schemas: Vec<u8>,
    schema_of: HashMap<Vec<u32>, u32>,
    starts: Vec<u64>,
    data: Vec<u8>,
    count: u32,
    before: Option<(u32, Vec<u32>)>,
    names: Vec<u32>,
    values: Vec<u32>,
}

impl SeriesWriter {
    /// Adds the next series; names ascend.
    pub(super) fn add(&mut self, labels: impl Iterator<Item = (u32, u32)>) {
        self.names.clear();
        self.values.clear();
        for (name, value) in labels {
            self.names.push(name);
            self.values.push(value);
        }
        let schema = match self.schema_of.get(&self.names) {
            Some(&schema) => schema,
            None => {
                let schema = self.schema_of.len() as u32;
                put_varint(&mut self.schemas, self.names.len() as u64);
                for name in &self.names {
                    put_varint(&mut self.schemas, u64::from(*name));
                }
                self.schema_of.insert(self.names.clone(), schema);
                schema
            }
        };
        if self.count.is_multiple_of(GROUP) {
            self.starts.push(self.data.len() as u64);
            self.before = None;
        }
        self.count += 1;
        let same = self.before.as_ref().filter(|(s, _)| *s == schema);
        match same.filter(|_| self.values.len() <= MASK_BITS) {
            Some((_, before)) => {
                let mut mask = 0_u64;
                for (i, (a, b)) in self.values.iter().zip(before).enumerate() {
                    mask |= u64::from(a != b) << i;
                }
                put_varint(&mut self.data, mask << 1 | 1);
                for (a, b) in self.values.iter().zip(before) {
                    if a != b {
                        put_signed(&mut self.data, i64::from(*a) - i64::from(*b));
                    }
                }
            }
            None => {
                put_varint(&mut self.data, u64::from(schema) << 1);
                for value in &self.values {
                    put_varint(&mut self.data, u64::from(*value));
                }
            }
        }
        let (_, values) = self.before.take().unwrap_or_default();
        let values = std::mem::replace(&mut self.values, values);
        self.before = Some((schema, values));
    }

    /// Appends the section.
    pub(super) fn put_section(&self, out: &mut Vec<u8>) {
        put_varint(out, self.schema_of.len() as u64);
        out.extend_from_slice(&self.schemas);
        packed::put(&self.starts, out);
        out.extend_from_slice(&self.data);
    }
}

/// The section, opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    count: u32,
    schemas: Vec<Box<[u32]>>,
    starts: Table,
    data: usize,
    end: usize,
}

/// Labels of one series as symbols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SeriesLabels {
    /// Number of the schema.
    pub(super) schema: u32,
    /// Symbol of the value of each name of the schema.
    pub(super) values: Vec<u32>,
}

impl Series {
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>, count: u32) -> Decoded<Series> {
        let schema_count = cursor.count(1)?;
        let mut schemas = Vec::with_capacity(schema_count);
        for _ in 0..schema_count {
            let names = cursor.count(1)?;
            let names: Decoded<Box<[u32]>> = (0..names).map(|_| cursor.small()).collect();
            schemas.push(names?);
        }
        let starts = Table::open(base, cursor)?;
        if starts.len() != count.div_ceil(GROUP) {
            return Err(Bad("groups of series"));
        }
        let data = base + cursor.position();
        cursor.rest();
        Ok(Series {
            count,
            schemas,
            starts,
            data,
            end: base + cursor.position(),
        })
    }

    /// Names of a schema.
    pub(super) fn names(&self, schema: u32) -> Decoded<&[u32]> {
        self.schemas
            .get(schema as usize)
            .map(|names| &**names)
            .ok_or(Bad("no such schema"))
    }

    /// Calls `each` for the series of a group from its first up to `ordinal`; the last call is for `ordinal`.
    pub(super) fn labels(
        &self,
        file: &[u8],
        ordinal: u32,
        labels: &mut SeriesLabels,
    ) -> Decoded<()> {
        self.walk(file, ordinal, labels, |_, _| {})
    }

    /// Reads the series from the start of the group of `last` up to `last`, each handed to `each`; `labels` is left with `last`.
    pub(super) fn walk(
        &self,
        file: &[u8],
        last: u32,
        labels: &mut SeriesLabels,
        mut each: impl FnMut(u32, &SeriesLabels),
    ) -> Decoded<()> {
        if last >= self.count {
            return Err(Bad("no such series"));
        }
        let start = usize::try_from(self.starts.get(file, last / GROUP)?).unwrap_or(usize::MAX);
        let bytes = file
            .get(self.data..self.end)
            .and_then(|data| data.get(start..))
            .ok_or(Bad("series out of reach"))?;
        let mut cursor = Cursor::new(bytes);
        let first = last / GROUP * GROUP;
        for ordinal in first..=last {
            self.take_one(&mut cursor, ordinal == first, labels)?;
            each(ordinal, labels);
        }
        Ok(())
    }

    fn take_one(
        &self,
        cursor: &mut Cursor<'_>,
        is_first: bool,
        labels: &mut SeriesLabels,
    ) -> Decoded<()> {
        let tag = cursor.varint()?;
        if tag & 1 == 0 {
            labels.schema = u32::try_from(tag >> 1).map_err(|_| Bad("no such schema"))?;
            let names = self.names(labels.schema)?;
            labels.values.clear();
            for _ in names {
                labels.values.push(cursor.small()?);
            }
            return Ok(());
        }
        let mask = tag >> 1;
        let values = labels.values.len();
        if is_first || (values < 64 && mask >> values != 0) {
            return Err(Bad("changes of a series without that label"));
        }
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let changed = i64::from(labels.values[i])
                .checked_add(cursor.signed()?)
                .and_then(|v| u32::try_from(v).ok());
            labels.values[i] = changed.ok_or(Bad("symbol out of range"))?;
        }
        Ok(())
    }
}
