//! What a thread keeps between two reads: decoders' memory, the time columns and the frames that it needed last.
//!
//! Neighbouring series share time columns and frames, so most reads find theirs here. Keyed by a number that each opened block gets, never by
//! address. Promise: bounded by a few columns and frames for each thread. Not here: anything shared between threads.

use super::bytes::Decoded;
use super::numbers::Unpacker;
use std::cell::RefCell;

/// Time columns that are kept.
const COLUMNS_KEPT: usize = 16;
/// Frames that are kept.
const FRAMES_KEPT: usize = 4;

/// Groups of series that are kept.
const GROUPS_KEPT: usize = 8;

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) unpacker: Unpacker,
    pub(super) columns: Kept<i64>,
    pub(super) frames: Kept<u8>,
    pub(super) series: Kept<u32>,
    pub(super) values: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        columns: Kept::new(COLUMNS_KEPT),
        frames: Kept::new(FRAMES_KEPT),
        series: Kept::new(GROUPS_KEPT),
        ..Scratch::default()
    });
}

/// Runs `f` with this thread's memory.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(f)
}

/// A few arrays, by block and number; the one that was not used for longest goes first.
#[derive(Default)]
pub(super) struct Kept<T> {
    entries: Vec<Entry<T>>,
    capacity: usize,
    clock: u64,
}

struct Entry<T> {
    key: (u64, u32),
    used: u64,
    items: Vec<T>,
}

impl<T> Kept<T> {
    fn new(capacity: usize) -> Self {
        Kept {
            entries: Vec::new(),
            capacity,
            clock: 0,
        }
    }

    /// The array of `key`, filled by `fill` if it is not here. The flag says whether it was.
    pub(super) fn get(
        &mut self,
        key: (u64, u32),
        fill: impl FnOnce(&mut Vec<T>) -> Decoded<()>,
    ) -> Decoded<(&[T], bool)> {
        self.clock += 1;
        if let Some(i) = self.entries.iter().position(|e| e.key == key) {
            let entry = &mut self.entries[i];
            entry.used = self.clock;
            return Ok((&self.entries[i].items, true));
        }
        let mut items = Vec::new();
        if self.entries.len() >= self.capacity {
            let oldest = (0..self.entries.len()).min_by_key(|i| self.entries[*i].used);
            if let Some(oldest) = oldest {
                items = self.entries.swap_remove(oldest).items;
                items.clear();
            }
        }
        fill(&mut items)?;
        self.entries.push(Entry {
            key,
            used: self.clock,
            items,
        });
        let last = self.entries.len() - 1;
        Ok((&self.entries[last].items, false))
    }
}
