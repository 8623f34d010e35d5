//! What a thread keeps between two reads: decoders' memory, the time columns and the frames that it needed last.
//!
//! Neighbouring series share time columns and frames, so most reads find theirs here. Keyed by a number that each opened block gets, never by
//! address. Promise: bounded by a few columns and frames for each thread. Not here: anything shared between threads.

use super::bytes::Decoded;
use super::numbers::Unpacker;
use std::cell::RefCell;

/// Short time columns that are kept: neighbouring series are of different targets, so as many targets as this share.
const SHORT_COLUMNS_KEPT: usize = 256;
/// Timestamps of a short column, at most: 2 MiB for a thread.
pub(super) const SHORT_COLUMN: u32 = 1024;
/// Longer time columns that are kept.
const LONG_COLUMNS_KEPT: usize = 16;
/// Frames that are kept.
const FRAMES_KEPT: usize = 4;

/// Groups of series that are kept.
const GROUPS_KEPT: usize = 8;

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) unpacker: Unpacker,
    pub(super) short_columns: Kept<i64>,
    pub(super) long_columns: Kept<i64>,
    pub(super) frames: Kept<u8>,
    pub(super) series: Kept<u32>,
    pub(super) values: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        short_columns: Kept::new(SHORT_COLUMNS_KEPT),
        long_columns: Kept::new(LONG_COLUMNS_KEPT),
        frames: Kept::new(FRAMES_KEPT),
        series: Kept::new(GROUPS_KEPT),
        ..Scratch::default()
    });
}

/// Runs `f` with this thread's memory.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(f)
}

/// A few arrays, by block and number: each pair has one place, and the last one there stays.
#[derive(Default)]
pub(super) struct Kept<T> {
    places: Vec<Place<T>>,
}

#[derive(Default, Clone)]
struct Place<T> {
    key: Option<(u64, u32)>,
    items: Vec<T>,
}

impl<T: Clone + Default> Kept<T> {
    fn new(capacity: usize) -> Self {
        Kept {
            places: vec![Place::default(); capacity],
        }
    }

    /// The array of `key`, filled by `fill` if it is not here.
    pub(super) fn get(
        &mut self,
        key: (u64, u32),
        fill: impl FnOnce(&mut Vec<T>) -> Decoded<()>,
    ) -> Decoded<&[T]> {
        let mixed = key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let index = mixed.wrapping_add(u64::from(key.1)) as usize % self.places.len().max(1);
        let place = self
            .places
            .get_mut(index)
            .unwrap_or_else(|| unreachable!("BUG: memory of a thread that was never made"));
        if place.key != Some(key) {
            place.key = None;
            place.items.clear();
            fill(&mut place.items)?;
            place.key = Some(key);
        }
        Ok(&place.items)
    }
}
