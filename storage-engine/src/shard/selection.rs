//! What a query has chosen: series, and the sources that were there at that moment.
//!
//! A task keeps a [`Selection`] between its slices. The shard goes on meanwhile: samples are appended, and what the head
//! holds may have become a block by the next slice. The selection still reads what it chose from, so that no sample is
//! missed and none comes twice.
//!
//! A series may lie in several blocks and in the head. Its parts are found by its labels; where only one source has
//! series for the query, no labels are looked at at all. [`Selecting`] does that piece by piece.
//!
//! Not here: reading samples (`super::reader`).

use super::Data;
use super::block_set::StoredBlock;
use crate::block::BlockError;
use crate::index::Index;
use crate::model::{Matcher, TimestampMs};
use crate::shard_api::TimeRange;
use hashbrown::HashTable;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Series that a query has chosen, each by its number in `0..len()`.
#[derive(Debug)]
pub struct Selection {
    pub(super) sources: Sources,
    /// The parts of all series, those of one series together, in the order of their sources.
    parts: Vec<Part>,
    /// Where the parts of each series begin, and the end; empty when each series has one.
    starts: Vec<u32>,
    damage: Vec<String>,
}

/// What there was to read from.
#[derive(Debug)]
pub(super) struct Sources {
    /// In-order blocks by time, then those of samples that came late: at equal times the first one's sample counts.
    pub(super) blocks: Vec<StoredBlock>,
    /// How many of the blocks are in order; the head comes behind them.
    in_order: u32,
    /// In-order samples of the head count from this time on.
    pub(super) head_from: TimestampMs,
}

/// A series in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// Number of the source.
    source: u32,
    /// Slot in the head, ordinal in a block.
    pub(super) id: u32,
}

/// Where a part lies.
pub(super) enum Place<'a> {
    Head,
    Block(&'a StoredBlock),
}

impl Sources {
    fn head(&self) -> u32 {
        self.in_order
    }

    /// The number that block `index` has as a source.
    fn number(&self, index: usize) -> u32 {
        let index = index as u32;
        index + u32::from(index >= self.in_order)
    }

    /// Where the part's samples are.
    pub(super) fn place(&self, part: Part) -> Place<'_> {
        let index = match part.source {
            head if head == self.in_order => return Place::Head,
            before if before < self.in_order => before,
            behind => behind - 1,
        };
        match self.blocks.get(index as usize) {
            Some(block) => Place::Block(block),
            None => unreachable!("BUG: a part of a source that was not selected"),
        }
    }
}

impl Selection {
    /// Number of series.
    pub fn len(&self) -> usize {
        match self.starts.len() {
            0 => self.parts.len(),
            ends => ends - 1,
        }
    }

    /// Were no series found?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was damaged and could not be looked at, in words for the answer's warnings.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Where a series lies; empty for a number beyond the last.
    #[inline]
    pub(super) fn parts(&self, series: usize) -> &[Part] {
        let range = if self.starts.is_empty() {
            series..series + 1
        } else {
            match (self.starts.get(series), self.starts.get(series + 1)) {
                (Some(&from), Some(&to)) => from as usize..to as usize,
                _ => return &[],
            }
        };
        self.parts.get(range).unwrap_or_default()
    }
}

/// A selection that is being made.
pub struct Selecting {
    range: TimeRange,
    sources: Sources,
    /// Ordinals of each block that match, and the block that is looked at.
    matching: Vec<roaring::bitmap::IntoIter>,
    block: usize,
    /// Slots of the head that match and are not merged yet.
    slots: RoaringBitmap,
    /// Is there more than one source with series?
    merged: bool,
    found: Found,
    parts: Vec<(u32, Part)>,
    /// Series that have been looked for in the head.
    next_in_head: u32,
    bytes: Vec<u8>,
    damage: Vec<String>,
}

/// The label sets that were seen, each with a number.
#[derive(Default)]
struct Found {
    table: HashTable<u32>,
    /// Canonical bytes of all, back to back, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    seed: u64,
}

impl Found {
    fn get(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[from..self.ends[at]]
    }

    fn hash(&self, canonical: &[u8]) -> u64 {
        xxh3_64_with_seed(canonical, self.seed)
    }

    /// The number of a label set, a new one if it was not here.
    fn number(&mut self, canonical: &[u8]) -> u32 {
        let hash = self.hash(canonical);
        let known = self.table.find(hash, |n| self.get(*n) == canonical);
        if let Some(&number) = known {
            return number;
        }
        let number = self.ends.len() as u32;
        self.bytes.extend_from_slice(canonical);
        self.ends.push(self.bytes.len());
        let Found {
            table,
            bytes,
            ends,
            seed,
        } = self;
        table.insert_unique(hash, number, |&n| {
            let at = n as usize;
            let from = at.checked_sub(1).map_or(0, |before| ends[before]);
            xxh3_64_with_seed(&bytes[from..ends[at]], *seed)
        });
        number
    }

    fn len(&self) -> u32 {
        self.ends.len() as u32
    }
}

impl Selecting {
    /// Looks up the matchers in all sources that may have samples in `range`.
    pub(super) fn begin(data: &Data, matchers: &[Matcher], range: TimeRange) -> Selecting {
        let mut damage: Vec<String> = data
            .quarantined
            .iter()
            .filter(|q| q.concerns(range))
            .map(|q| q.text.clone())
            .collect();
        let mut chosen = Vec::new();
        for stored in data.blocks.iter().filter(|b| b.overlaps(range)) {
            match stored.block.select(matchers) {
                Ok(series) if series.is_empty() => {}
                Ok(series) => chosen.push((stored.clone(), series)),
                Err(error) => damage.push(damage_of(stored, &error)),
            }
        }
        // Stable: blocks stay in the order of their times.
        chosen.sort_by_key(|(b, _)| b.block.meta().out_of_order);
        let is_late = |b: &(StoredBlock, _)| b.0.block.meta().out_of_order;
        let in_order = chosen.iter().take_while(|b| !is_late(b)).count() as u32;
        let slots = head_slots(data, data.head_from, matchers, range);
        let merged = chosen.len() + usize::from(!slots.is_empty()) > 1;
        let (blocks, matching) = chosen.into_iter().map(|(b, s)| (b, s.into_iter())).unzip();
        Selecting {
            range,
            sources: Sources {
                blocks,
                in_order,
                head_from: data.head_from,
            },
            matching,
            block: 0,
            slots,
            merged,
            found: Found {
                seed: data.index.identity.seed(),
                ..Found::default()
            },
            parts: Vec::new(),
            next_in_head: 0,
            bytes: Vec::new(),
            damage,
        }
    }

    /// Goes on for about `work` series; true when all is found.
    pub(super) fn advance(&mut self, data: &Data, work: usize) -> bool {
        let mut left = work;
        while self.block < self.matching.len() {
            if left == 0 {
                return false;
            }
            left -= 1;
            let Some(ordinal) = self.matching[self.block].next() else {
                self.block += 1;
                continue;
            };
            self.add_of_block(ordinal);
        }
        // Series of blocks that the head has too.
        while self.next_in_head < self.found.len() && !self.slots.is_empty() {
            if left == 0 {
                return false;
            }
            left -= 1;
            self.add_of_head(&data.index);
        }
        true
    }

    fn add_of_block(&mut self, ordinal: u32) {
        let stored = &self.sources.blocks[self.block];
        let meta = stored.block.meta();
        let covered = self.range.min <= meta.min_time && self.range.max >= meta.max_time;
        let look = || -> Result<bool, BlockError> {
            Ok(covered || stored.block.overlaps(ordinal, self.range)?)
        };
        let number = match look() {
            Ok(false) => return,
            Ok(true) if !self.merged => Ok(self.parts.len() as u32),
            Ok(true) => {
                self.bytes.clear();
                let put = stored.block.put_canonical(ordinal, &mut self.bytes);
                put.map(|()| self.found.number(&self.bytes))
            }
            Err(error) => Err(error),
        };
        match number {
            Ok(number) => {
                let source = self.sources.number(self.block);
                self.parts.push((
                    number,
                    Part {
                        source,
                        id: ordinal,
                    },
                ));
            }
            Err(error) => {
                let text = damage_of(stored, &error);
                if !self.damage.contains(&text) {
                    self.damage.push(text);
                }
            }
        }
    }

    fn add_of_head(&mut self, index: &Index) {
        let number = self.next_in_head;
        self.next_in_head += 1;
        if let Some(slot) = index.find(self.found.get(number))
            && self.slots.remove(slot)
        {
            let source = self.sources.head();
            self.parts.push((number, Part { source, id: slot }));
        }
    }

    /// The selection, once all has been looked at ([`super::ShardReader::go_on_selecting`]); before, it lacks series.
    pub fn finish(self) -> Selection {
        let source = self.sources.head();
        let only_in_head = self.slots.into_iter().map(|id| Part { source, id });
        let (parts, starts) = if self.merged {
            together(self.parts, self.found.len(), only_in_head)
        } else {
            let parts = self.parts.into_iter().map(|(_, part)| part);
            (parts.chain(only_in_head).collect(), Vec::new())
        };
        Selection {
            sources: self.sources,
            parts,
            starts,
            damage: self.damage,
        }
    }
}

/// Parts of `series` numbered series put together, then those that stand alone; and where each series begins.
fn together(
    parts: Vec<(u32, Part)>,
    series: u32,
    alone: impl Iterator<Item = Part>,
) -> (Vec<Part>, Vec<u32>) {
    let mut starts = vec![0_u32; series as usize + 1];
    for (number, _) in &parts {
        starts[*number as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut out = vec![Part { source: 0, id: 0 }; parts.len()];
    for (number, part) in parts {
        let at = &mut next[number as usize];
        out[*at as usize] = part;
        *at += 1;
    }
    for ends in starts.windows(2) {
        if let [from, to] = ends
            && to - from > 1
        {
            out[*from as usize..*to as usize].sort_unstable();
        }
    }
    for part in alone {
        out.push(part);
        starts.push(out.len() as u32);
    }
    (out, starts)
}

/// Slots of the head whose series pass all matchers and may have samples in `range`.
pub(super) fn head_slots(
    data: &Data,
    head_from: TimestampMs,
    matchers: &[Matcher],
    range: TimeRange,
) -> RoaringBitmap {
    let in_order = from(head_from, range);
    let head = &data.head;
    let found = data.index.select(matchers).into_iter();
    let overlapping =
        found.filter(|&s| head.overlaps(s, in_order) || head.overlaps_out_of_order(s, range));
    // Ascending, so the bitmap is built by appending.
    match RoaringBitmap::from_sorted_iter(overlapping) {
        Ok(slots) => slots,
        Err(_) => unreachable!("BUG: a bitmap's numbers ascend"),
    }
}

/// The part of `range` from `min` on.
pub(super) fn from(min: TimestampMs, range: TimeRange) -> TimeRange {
    TimeRange {
        min: range.min.max(min),
        ..range
    }
}

/// What to say of a block whose index cannot be read.
pub(super) fn damage_of(stored: &StoredBlock, error: &BlockError) -> String {
    format!("block {}: {error}", stored.block.meta().id)
}
