//! Timestamps shared by content: a list that was there before, whole or as a part of a longer one, is not written again.
//!
//! Most series of a target are scraped at the same moments, so a few columns serve thousands of series (codec.md, section 4: the largest single
//! win over other stores). A page names a *slice*: column, first position, count. Slices are numbered too, and the table of slices
//! knows the first and last time of each, so a time range is held against a page without its column.
//! Promise: a slice stands for exactly the timestamps that were given. Columns beyond [`BLOCK_TIMES_CACHED_MAX`] timestamps are forgotten, the
//! oldest first; parts of those are written again. Not here: where column bytes go.

use super::bytes::{Cursor, Decoded};
use super::numbers::Unpacker;
use super::{integers, packed};
use crate::limits::BLOCK_TIMES_CACHED_MAX;
use crate::model::TimestampMs;
use hashbrown::HashMap;
use pco_columns::encode_integers as encode_pco;
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Columns that are tried for one timestamp.
const CANDIDATES_MAX: usize = 8;
/// One in this many timestamps leads to its column.
const MARKED_ONE_IN: u64 = 4;
/// Share of the bit-packed size, in percent, below which `pco` is taken.
const PCO_PERCENT: usize = 80;

/// A part of a time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slice {
    pub(super) column: u32,
    pub(super) start: u32,
    pub(super) count: u32,
}

struct Column {
    number: u32,
    timestamps: Vec<TimestampMs>,
}

/// Bit-packed.
const PACKED: u64 = 0;
/// Through `pco`.
const PCO: u64 = 1;

/// Finds and numbers columns and slices while a block is written.
pub(super) struct TimeWriter {
    seed: u64,
    /// By hash of the bytes. The hash is keyed with the block's random name and is believed: 128 bits.
    known: HashMap<u128, u32>,
    /// Columns that are still searched for parts.
    recent: VecDeque<Column>,
    recent_timestamps: usize,
    marks: HashMap<TimestampMs, Vec<(u32, u32)>>,
    slice_of: HashMap<Slice, u32>,
    slices: Vec<(Slice, TimestampMs, TimestampMs)>,
    /// Form, offset and bytes of each column.
    columns: Vec<(u64, u64, u64)>,
    column_counts: Vec<u64>,
    scratch: integers::Scratch,
    packed: Vec<u8>,
    other: Vec<u8>,
}

fn is_mark(t: TimestampMs) -> bool {
    ((t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(MARKED_ONE_IN)
}

impl TimeWriter {
    pub(super) fn new(seed: u64) -> Self {
        TimeWriter {
            seed,
            known: HashMap::new(),
            recent: VecDeque::new(),
            recent_timestamps: 0,
            marks: HashMap::new(),
            slice_of: HashMap::new(),
            slices: Vec::new(),
            columns: Vec::new(),
            column_counts: Vec::new(),
            scratch: integers::Scratch::default(),
            packed: Vec::new(),
            other: Vec::new(),
        }
    }

    /// The slice of these ascending timestamps, of which there is one at least; a new column's bytes are handed to `put`, which gives
    /// the offset that they got.
    pub(super) fn slice<E>(
        &mut self,
        timestamps: &[TimestampMs],
        put: impl FnOnce(&[u8]) -> Result<u64, E>,
    ) -> Result<u32, E> {
        self.packed.clear();
        for t in timestamps {
            self.packed.extend_from_slice(&t.to_le_bytes());
        }
        let hash = xxh3_128_with_seed(&self.packed, self.seed);
        if let Some(&slice) = self.known.get(&hash) {
            return Ok(slice);
        }
        let slice = match self.find_part(timestamps) {
            Some(slice) => slice,
            None => self.add_column(timestamps, put)?,
        };
        let number = *self.slice_of.entry(slice).or_insert_with(|| {
            let (first, last) = (timestamps[0], timestamps[timestamps.len() - 1]);
            self.slices.push((slice, first, last));
            self.slices.len() as u32 - 1
        });
        self.known.insert(hash, number);
        Ok(number)
    }

    /// A place in a recent column where all of `timestamps` stand in a row.
    fn find_part(&self, timestamps: &[TimestampMs]) -> Option<Slice> {
        let at = timestamps.iter().position(|t| is_mark(*t))?;
        let oldest = self.recent.front()?.number;
        for &(column, position) in self.marks.get(&timestamps[at])? {
            let Some(start) = (position as usize).checked_sub(at) else {
                continue;
            };
            // Marks of forgotten columns are left where they are.
            let Some(known) = column
                .checked_sub(oldest)
                .and_then(|i| self.recent.get(i as usize))
            else {
                continue;
            };
            if known.timestamps.get(start..start + timestamps.len()) == Some(timestamps) {
                return Some(Slice {
                    column,
                    start: start as u32,
                    count: timestamps.len() as u32,
                });
            }
        }
        None
    }

    fn add_column<E>(
        &mut self,
        timestamps: &[TimestampMs],
        put: impl FnOnce(&[u8]) -> Result<u64, E>,
    ) -> Result<Slice, E> {
        self.packed.clear();
        integers::encode(timestamps, &mut self.scratch, &mut self.packed);
        self.other.clear();
        let packs = encode_pco(timestamps, &mut self.other);
        let (form, bytes) = if packs && self.other.len() * 100 < self.packed.len() * PCO_PERCENT {
            (PCO, &self.other)
        } else {
            (PACKED, &self.packed)
        };
        let offset = put(bytes)?;
        let number = self.columns.len() as u32;
        self.columns.push((form, offset, bytes.len() as u64));
        self.column_counts.push(timestamps.len() as u64);
        self.remember(number, timestamps);
        Ok(Slice {
            column: number,
            start: 0,
            count: timestamps.len() as u32,
        })
    }

    fn remember(&mut self, number: u32, timestamps: &[TimestampMs]) {
        for (i, &t) in timestamps.iter().enumerate().filter(|(_, t)| is_mark(**t)) {
            let places = self.marks.entry(t).or_default();
            if places.len() == CANDIDATES_MAX {
                places.remove(0);
            }
            places.push((number, i as u32));
        }
        self.recent.push_back(Column {
            number,
            timestamps: timestamps.to_vec(),
        });
        self.recent_timestamps += timestamps.len();
        while self.recent_timestamps > BLOCK_TIMES_CACHED_MAX {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_timestamps -= oldest.timestamps.len();
            for t in oldest.timestamps.iter().filter(|t| is_mark(**t)) {
                if let Some(places) = self.marks.get_mut(t) {
                    places.retain(|(column, _)| *column != oldest.number);
                    if places.is_empty() {
                        self.marks.remove(t);
                    }
                }
            }
        }
    }

    /// Appends the section: columns, then slices. Times are counted from `min_time`.
    pub(super) fn put_section(&self, min_time: TimestampMs, out: &mut Vec<u8>) {
        let of_columns = |f: &dyn Fn(&(u64, u64, u64)) -> u64| -> Vec<u64> {
            self.columns.iter().map(f).collect()
        };
        packed::put(&of_columns(&|c| c.0), out);
        packed::put(&of_columns(&|c| c.1), out);
        packed::put(&of_columns(&|c| c.2), out);
        packed::put(&self.column_counts, out);
        type SliceEntry = (Slice, TimestampMs, TimestampMs);
        let of_slices =
            |f: &dyn Fn(&SliceEntry) -> u64| -> Vec<u64> { self.slices.iter().map(f).collect() };
        packed::put(&of_slices(&|(s, ..)| u64::from(s.column)), out);
        packed::put(&of_slices(&|(s, ..)| u64::from(s.start)), out);
        packed::put(&of_slices(&|(s, ..)| u64::from(s.count)), out);
        packed::put(
            &of_slices(&|(_, first, _)| first.wrapping_sub(min_time) as u64),
            out,
        );
        packed::put(
            &of_slices(&|(_, first, last)| last.wrapping_sub(*first) as u64),
            out,
        );
    }
}

/// A column in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnPlace {
    form: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) count: u32,
}

impl ColumnPlace {
    /// Decodes the whole column; `out` has room for `count` timestamps.
    pub(super) fn decode(
        &self,
        unpacker: &mut Unpacker,
        bytes: &mut Cursor<'_>,
        out: &mut [TimestampMs],
    ) -> Decoded<()> {
        match self.form {
            PACKED => integers::decode(bytes, out)?,
            PCO => unpacker.decode_pco(bytes, out)?,
            _ => return Err(super::bytes::Bad("unknown form of a time column")),
        }
        bytes.finish()
    }
}

/// The section of a block, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    min_time: TimestampMs,
    columns: [packed::Table; 4],
    slices: [packed::Table; 5],
}

/// A slice in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SliceTimes {
    pub(super) slice: Slice,
    pub(super) first: TimestampMs,
    pub(super) last: TimestampMs,
}

impl Times {
    pub(super) fn open(
        base: usize,
        cursor: &mut Cursor<'_>,
        min_time: TimestampMs,
    ) -> Decoded<Times> {
        let mut times = Times {
            min_time,
            ..Times::default()
        };
        for table in times.columns.iter_mut().chain(&mut times.slices) {
            *table = packed::Table::open(base, cursor)?;
        }
        cursor.finish()?;
        Ok(times)
    }

    /// Where column `number` lies.
    pub(super) fn column(&self, file: &[u8], number: u32) -> Decoded<ColumnPlace> {
        let [form, offset, bytes, count] = &self.columns;
        Ok(ColumnPlace {
            form: form.get(file, number)?,
            offset: offset.get(file, number)?,
            bytes: bytes.get(file, number)?,
            count: count.small(file, number)?,
        })
    }

    /// What slice `number` is.
    #[inline]
    pub(super) fn slice(&self, file: &[u8], number: u32) -> Decoded<SliceTimes> {
        let [column, start, count, first, span] = &self.slices;
        let slice = Slice {
            column: column.small(file, number)?,
            start: start.small(file, number)?,
            count: count.small(file, number)?,
        };
        let first = self.min_time.wrapping_add(first.get(file, number)? as i64);
        Ok(SliceTimes {
            slice,
            first,
            last: first.wrapping_add(span.get(file, number)? as i64),
        })
    }
}
