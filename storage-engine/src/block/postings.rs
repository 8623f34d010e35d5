//! Postings: for each label name and value the series that carry it, as runs or bit-packed, whichever is shorter.
//!
//! Layout: five tables (for each name: its symbol, number of values, number of series, and, one longer, number of its first value group;
//! for each value group: its first value's symbol), a table of where each value group starts, then the groups of 64 values: for each value the
//! distance of its symbol from the one before (from the group's first for the first), the number of its series, and the list. A list of one
//! is the ordinal; a longer one is `bytes << 1 | form` and that many bytes: runs (gap, length less one) or a column of [`super::integers`].
//! Promise: a list that comes out ascends and names only series that there are. Not here: matchers ([`super::select`]).

use super::bytes::{Bad, Cursor, Decoded, put_varint};
use super::integers;
use super::packed::{self, Table};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

/// Values of a group.
const GROUP: usize = 64;
const RUNS: u64 = 0;
const PACKED: u64 = 1;

/// A list that grows by ascending ordinals, kept as runs.
#[derive(Debug, Clone, Default)]
pub(super) struct GrowingList {
    /// Closed runs: gap to the end of the run before, length less one.
    runs: Vec<u8>,
    /// Behind the last closed run.
    behind: u32,
    /// The open run.
    open: Range<u32>,
    count: u32,
}

impl GrowingList {
    /// Adds an ordinal above all others.
    pub(super) fn add(&mut self, ordinal: u32) {
        if self.count > 0 && ordinal == self.open.end {
            self.open.end += 1;
        } else {
            self.close();
            self.open = ordinal..ordinal + 1;
        }
        self.count += 1;
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            put_varint(&mut self.runs, u64::from(self.open.start - self.behind));
            put_varint(&mut self.runs, self.open.len() as u64 - 1);
            self.behind = self.open.end;
            self.open = 0..0;
        }
    }

    fn put(mut self, scratch: &mut integers::Scratch, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.count));
        if self.count == 1 {
            put_varint(out, u64::from(self.open.start));
            return;
        }
        self.close();
        let mut ordinals = Vec::with_capacity(self.count as usize);
        // Few and long runs cannot be beaten.
        if self.runs.len() > 8 {
            let _ = each_run(&mut Cursor::new(&self.runs), |run| {
                ordinals.extend(run.map(i64::from));
                ControlFlow::Continue(())
            });
            let mut packed = Vec::new();
            integers::encode(&ordinals, scratch, &mut packed);
            if packed.len() < self.runs.len() {
                put_varint(out, (packed.len() as u64) << 1 | PACKED);
                out.extend_from_slice(&packed);
                return;
            }
        }
        put_varint(out, (self.runs.len() as u64) << 1 | RUNS);
        out.extend_from_slice(&self.runs);
    }
}

fn each_run(
    cursor: &mut Cursor<'_>,
    mut f: impl FnMut(Range<u32>) -> ControlFlow<()>,
) -> Decoded<()> {
    let mut behind = 0_u32;
    while !cursor.is_at_end() {
        let start = behind
            .checked_add(cursor.small()?)
            .ok_or(Bad("run of series"))?;
        let length = cursor.small()?.checked_add(1).ok_or(Bad("run of series"))?;
        behind = start.checked_add(length).ok_or(Bad("run of series"))?;
        if f(start..behind).is_break() {
            break;
        }
    }
    Ok(())
}

/// Appends the section; keys are name symbol and value symbol.
pub(super) fn put_section(lists: BTreeMap<(u32, u32), GrowingList>, out: &mut Vec<u8>) {
    let mut scratch = integers::Scratch::default();
    let mut names: [Vec<u64>; 4] = Default::default();
    let (mut firsts, mut starts) = (Vec::new(), Vec::new());
    let mut data = Vec::new();
    let mut before: Option<(u32, u32)> = None;
    let mut in_name = 0;
    for ((name, value), list) in lists {
        if before.is_none_or(|(n, _)| n != name) {
            names[0].push(u64::from(name));
            names[1].push(0);
            names[2].push(0);
            names[3].push(starts.len() as u64);
            in_name = 0;
        }
        if let [_, values, series, _] = &mut names
            && let (Some(values), Some(series)) = (values.last_mut(), series.last_mut())
        {
            *values += 1;
            *series += u64::from(list.count);
        }
        let mut distance = 0;
        if in_name % GROUP == 0 {
            firsts.push(u64::from(value));
            starts.push(data.len() as u64);
        } else if let Some((_, last)) = before {
            distance = value - last;
        }
        in_name += 1;
        before = Some((name, value));
        put_varint(&mut data, u64::from(distance));
        list.put(&mut scratch, &mut data);
    }
    names[3].push(starts.len() as u64);
    for table in names.iter().chain([&firsts, &starts]) {
        packed::put(table, out);
    }
    out.extend_from_slice(&data);
}

/// The section, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Postings {
    series: u32,
    names: Table,
    value_counts: Table,
    series_counts: Table,
    first_groups: Table,
    group_firsts: Table,
    group_starts: Table,
    data: usize,
    end: usize,
}

/// The values of one label name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// Symbol of the name.
    pub(super) symbol: u32,
    /// Number of values.
    pub(super) values: u32,
    /// Number of series that have the label.
    pub(super) series: u32,
    first_group: u32,
    last_group: u32,
}

/// A list that is not decoded yet.
#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    /// Number of series.
    pub(super) count: u32,
    body: Body<'a>,
    series: u32,
}

#[derive(Debug, Clone)]
enum Body<'a> {
    One(u32),
    Runs(Cursor<'a>),
    Packed(Cursor<'a>),
}

impl List<'_> {
    /// Adds the series of the list to `set`.
    pub(super) fn union_into(self, set: &mut RoaringBitmap) -> Decoded<()> {
        let series = self.series;
        let mut found = 0_u64;
        match self.body {
            Body::One(ordinal) => {
                if ordinal >= series {
                    return Err(Bad("list names a series that there is not"));
                }
                set.insert(ordinal);
                return Ok(());
            }
            Body::Runs(mut cursor) => {
                let mut beyond = false;
                each_run(&mut cursor, |run| {
                    beyond = run.end > series;
                    if beyond {
                        return ControlFlow::Break(());
                    }
                    found += run.len() as u64;
                    set.insert_range(run);
                    ControlFlow::Continue(())
                })?;
                if beyond {
                    return Err(Bad("list names a series that there is not"));
                }
            }
            Body::Packed(mut cursor) => {
                if self.count > series {
                    return Err(Bad("list longer than all series"));
                }
                let mut ordinals = vec![0; self.count as usize];
                integers::decode(&mut cursor, &mut ordinals)?;
                cursor.finish()?;
                let ascends = ordinals.windows(2).all(|w| w[0] < w[1]);
                let last = ordinals.last().copied().unwrap_or(0);
                if !ascends || ordinals.first().is_some_and(|f| *f < 0) || last >= i64::from(series)
                {
                    return Err(Bad("list names a series that there is not"));
                }
                found = ordinals.len() as u64;
                set.extend(ordinals.into_iter().map(|o| o as u32));
            }
        }
        if found != u64::from(self.count) {
            return Err(Bad("list of another length"));
        }
        Ok(())
    }

    /// The series of the list.
    pub(super) fn to_bitmap(&self) -> Decoded<RoaringBitmap> {
        let mut set = RoaringBitmap::new();
        self.clone().union_into(&mut set)?;
        Ok(set)
    }
}

impl Postings {
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>, series: u32) -> Decoded<Postings> {
        let mut open = || Table::open(base, cursor);
        let mut postings = Postings {
            series,
            names: open()?,
            value_counts: open()?,
            series_counts: open()?,
            first_groups: open()?,
            group_firsts: open()?,
            group_starts: open()?,
            data: 0,
            end: 0,
        };
        postings.data = base + cursor.position();
        cursor.rest();
        postings.end = base + cursor.position();
        let names = postings.names.len();
        if postings.value_counts.len() != names
            || postings.series_counts.len() != names
            || postings.first_groups.len() != names.wrapping_add(1)
            || postings.group_firsts.len() != postings.group_starts.len()
        {
            return Err(Bad("tables of the postings do not fit together"));
        }
        Ok(postings)
    }

    /// Number of label names.
    pub(super) fn name_count(&self) -> u32 {
        self.names.len()
    }

    /// Name `index` of [`Self::name_count`], in ascending order.
    pub(super) fn name(&self, file: &[u8], index: u32) -> Decoded<Name> {
        let name = Name {
            symbol: self.names.small(file, index)?,
            values: self.value_counts.small(file, index)?,
            series: self.series_counts.small(file, index)?,
            first_group: self.first_groups.small(file, index)?,
            last_group: self.first_groups.small(file, index + 1)?,
        };
        if name.first_group > name.last_group
            || name.last_group > self.group_starts.len()
            || name.last_group - name.first_group != name.values.div_ceil(GROUP as u32)
        {
            return Err(Bad("values of a label"));
        }
        Ok(name)
    }

    /// The name with this symbol.
    pub(super) fn find_name(&self, file: &[u8], symbol: u32) -> Decoded<Option<Name>> {
        let index = self.names.lower_bound(file, u64::from(symbol))?;
        if index == self.names.len() || self.names.small(file, index)? != symbol {
            return Ok(None);
        }
        self.name(file, index).map(Some)
    }

    /// The list of one value.
    pub(super) fn list<'a>(
        &self,
        file: &'a [u8],
        name: &Name,
        value: u32,
    ) -> Decoded<Option<List<'a>>> {
        let mut found = None;
        self.each_value(
            file,
            name,
            value..value.saturating_add(1),
            |symbol, list| {
                if symbol == value {
                    found = Some(list);
                }
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// Calls `f` for the values of a name whose symbols lie in `wanted`, ascending.
    pub(super) fn each_value<'a>(
        &self,
        file: &'a [u8],
        name: &Name,
        wanted: Range<u32>,
        mut f: impl FnMut(u32, List<'a>) -> Decoded<()>,
    ) -> Decoded<()> {
        // The last group that starts at or below the first wanted symbol.
        let (mut low, mut high) = (name.first_group, name.last_group);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.group_firsts.small(file, middle)? <= wanted.start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for group in low.saturating_sub(1).max(name.first_group)..name.last_group {
            let mut symbol = self.group_firsts.small(file, group)?;
            if symbol >= wanted.end {
                break;
            }
            let mut cursor = self.group(file, group)?;
            let before = (group - name.first_group) * GROUP as u32;
            for _ in 0..name.values.saturating_sub(before).min(GROUP as u32) {
                let step = cursor.small()?;
                symbol = symbol.checked_add(step).ok_or(Bad("symbol out of range"))?;
                let list = self.take_list(&mut cursor)?;
                if symbol >= wanted.end {
                    return Ok(());
                }
                if symbol >= wanted.start {
                    f(symbol, list)?;
                }
            }
        }
        Ok(())
    }

    fn group<'a>(&self, file: &'a [u8], group: u32) -> Decoded<Cursor<'a>> {
        let start = usize::try_from(self.group_starts.get(file, group)?).unwrap_or(usize::MAX);
        file.get(self.data..self.end)
            .and_then(|data| data.get(start..))
            .map(Cursor::new)
            .ok_or(Bad("postings out of reach"))
    }

    fn take_list<'a>(&self, cursor: &mut Cursor<'a>) -> Decoded<List<'a>> {
        let count = cursor.small()?;
        let body = if count == 1 {
            Body::One(cursor.small()?)
        } else {
            let tag = cursor.varint()?;
            let length = usize::try_from(tag >> 1).map_err(|_| Bad("list too long"))?;
            let bytes = cursor.take_with_room(length)?;
            let list = Cursor::with_room(bytes, length)?;
            match tag & 1 {
                RUNS => Body::Runs(list),
                _ => Body::Packed(list),
            }
        };
        Ok(List {
            count,
            body,
            series: self.series,
        })
    }
}
