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
use std::sync::Arc;

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

/// Label names, ascending, as symbols and texts.
type Schema = Box<[(u32, Arc<str>)]>;

/// The section, opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    count: u32,
    schemas: Vec<Schema>,
    starts: Table,
    data: usize,
    end: usize,
}

impl Series {
    /// `text` gives the text of a symbol.
    pub(super) fn open(
        base: usize,
        cursor: &mut Cursor<'_>,
        count: u32,
        mut text: impl FnMut(u32) -> Decoded<Arc<str>>,
    ) -> Decoded<Series> {
        let schema_count = cursor.count(1)?;
        let mut schemas = Vec::with_capacity(schema_count);
        let mut texts: HashMap<u32, Arc<str>> = HashMap::new();
        for _ in 0..schema_count {
            let length = cursor.count(1)?;
            let mut names = Vec::with_capacity(length);
            for _ in 0..length {
                let symbol = cursor.small()?;
                let name = match texts.get(&symbol) {
                    Some(name) => Arc::clone(name),
                    None => Arc::clone(texts.entry(symbol).or_insert(text(symbol)?)),
                };
                names.push((symbol, name));
            }
            schemas.push(names.into_boxed_slice());
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

    /// Names of a schema, as symbols and texts.
    pub(super) fn names(&self, schema: u32) -> Decoded<&[(u32, Arc<str>)]> {
        self.schemas
            .get(schema as usize)
            .map(|names| &**names)
            .ok_or(Bad("no such schema"))
    }

    /// Appends a group to the empty `out`: for each series where its numbers start, the end, then for each its schema and value symbols.
    pub(super) fn flatten(&self, file: &[u8], group: u32, out: &mut Vec<u32>) -> Decoded<()> {
        let first = u64::from(group) * u64::from(GROUP);
        let series = u64::from(self.count)
            .saturating_sub(first)
            .min(u64::from(GROUP)) as usize;
        if series == 0 {
            return Err(Bad("no such series"));
        }
        let start = usize::try_from(self.starts.get(file, group)?).unwrap_or(usize::MAX);
        let bytes = file
            .get(self.data..self.end)
            .and_then(|data| data.get(start..))
            .ok_or(Bad("series out of reach"))?;
        let mut cursor = Cursor::new(bytes);
        out.resize(series + 1, 0);
        let mut before = None;
        for i in 0..series {
            let start = out.len();
            out[i] = start as u32;
            self.take_one(&mut cursor, before, out)?;
            before = Some(start);
        }
        out[series] = out.len() as u32;
        Ok(())
    }

    /// Appends schema and values of the next series; the ones of the series before start at `before`.
    fn take_one(
        &self,
        cursor: &mut Cursor<'_>,
        before: Option<usize>,
        out: &mut Vec<u32>,
    ) -> Decoded<()> {
        let tag = cursor.varint()?;
        if tag & 1 == 0 {
            let schema = u32::try_from(tag >> 1).map_err(|_| Bad("no such schema"))?;
            let names = self.names(schema)?.len();
            out.push(schema);
            for _ in 0..names {
                out.push(cursor.small()?);
            }
            return Ok(());
        }
        let mut changed = tag >> 1;
        let before = before.ok_or(Bad("changes of no series"))?;
        let start = out.len();
        out.extend_from_within(before..start);
        let values = out
            .get_mut(start + 1..)
            .ok_or(Bad("series without schema"))?;
        while changed != 0 {
            let i = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let value = values
                .get_mut(i)
                .ok_or(Bad("changes of a label that is not there"))?;
            *value = i64::from(*value)
                .checked_add(cursor.signed()?)
                .and_then(|v| u32::try_from(v).ok())
                .ok_or(Bad("symbol out of range"))?;
        }
        Ok(())
    }
}

/// Schema and value symbols of a series of a flattened group.
pub(super) fn of_flat(flat: &[u32], series: u32) -> Decoded<(u32, &[u32])> {
    let bound = |i: usize| flat.get(i).map(|at| *at as usize);
    let series = series as usize;
    // The first bound says how many there are: the numbers start behind the bounds.
    if bound(0).is_none_or(|first| series + 1 >= first) {
        return Err(Bad("no such series"));
    }
    match (bound(series), bound(series + 1)) {
        (Some(start), Some(end)) => flat
            .get(start..end)
            .and_then(|numbers| numbers.split_first())
            .map(|(schema, values)| (*schema, values))
            .ok_or(Bad("no such series")),
        _ => Err(Bad("no such series")),
    }
}
