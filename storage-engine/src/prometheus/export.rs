//! From a data directory to blocks that Prometheus opens.
//!
//! Promise: all samples that the wish takes in are in exactly one block, each block within one aligned range of time; what cannot be read is
//! told. Memory: the labels of the series of one range, and one series' samples. Not here: the blocks' bytes (`block_writer`).

use super::block_writer::{PrometheusBlockWriter, PrometheusWriteError};
use super::meta::PrometheusMeta;
use super::order::order;
use crate::block::BlockId;
use crate::io::Disk;
use crate::model::{Labels, Matcher, SeriesSamples, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};
use crate::store::offline::OfflineStore;
use std::collections::BTreeSet;
use std::path::Path;

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportWish {
    /// Series that pass one of these sets.
    pub matchers: Vec<Vec<Matcher>>,
    /// Samples in this range.
    pub range: TimeRange,
    /// Width of a block in milliseconds; blocks lie between its multiples.
    pub block_range_ms: i64,
}

/// How far an export is, and what it came upon.
#[derive(Debug)]
pub enum ExportProgress {
    /// A block was written.
    Block(PrometheusMeta),
    /// Something could not be read and is missing from the blocks.
    Damage(String),
}

/// Why an export ended early; the blocks that were announced are whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A block cannot be written.
    #[error(transparent)]
    Write(#[from] PrometheusWriteError),
    /// A width that is not above zero.
    #[error("the range of a block must be longer than zero")]
    BlockRange,
}

/// Writes the blocks into the directory `out`, oldest first. `new_id` names them.
pub fn export(
    store: &OfflineStore,
    disk: &dyn Disk,
    out: &Path,
    wish: &ExportWish,
    new_id: &mut dyn FnMut() -> BlockId,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<(), ExportError> {
    if wish.block_range_ms <= 0 {
        return Err(ExportError::BlockRange);
    }
    for range in windows(&store.covered(), wish.range, wish.block_range_ms) {
        export_range(store, disk, out, wish, range, new_id, progress)?;
    }
    Ok(())
}

/// The parts of `wanted` that lie between neighbouring multiples of `width` and may have samples, ascending.
fn windows(covered: &[TimeRange], wanted: TimeRange, width: i64) -> Vec<TimeRange> {
    let mut starts: BTreeSet<TimestampMs> = BTreeSet::new();
    for range in covered {
        let (min, max) = (range.min.max(wanted.min), range.max.min(wanted.max));
        let mut number = min.div_euclid(width);
        while min <= max && number <= max.div_euclid(width) {
            starts.insert(number);
            number += 1;
        }
    }
    let window = |number: i64| TimeRange {
        min: number.saturating_mul(width).max(wanted.min),
        max: (number.saturating_mul(width))
            .saturating_add(width - 1)
            .min(wanted.max),
    };
    starts.into_iter().map(window).collect()
}

fn symbols<'l>(all: impl Iterator<Item = &'l Labels>) -> Vec<String> {
    let mut symbols: BTreeSet<&str> = BTreeSet::new();
    for (name, value) in all.flat_map(Labels::iter) {
        symbols.extend([name, value]);
    }
    symbols.into_iter().map(str::to_owned).collect()
}

fn export_range(
    store: &OfflineStore,
    disk: &dyn Disk,
    out: &Path,
    wish: &ExportWish,
    range: TimeRange,
    new_id: &mut dyn FnMut() -> BlockId,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<(), ExportError> {
    let mut notes = ReadNotes::default();
    let found = store.select(&wish.matchers, range, &mut notes);
    if !found.is_empty() {
        let id = new_id().to_string();
        let symbols = symbols(found.labels());
        let mut writer = PrometheusBlockWriter::create(disk, out, &id, symbols)?;
        let mut samples = SeriesSamples::default();
        for (number, labels) in found.labels().enumerate() {
            found.read(number, range, &mut samples, &mut notes);
            order(&mut samples);
            writer.add(labels, &samples)?;
        }
        if let Some(meta) = writer.finish()? {
            progress(ExportProgress::Block(meta));
        }
    }
    for text in notes.damage {
        progress(ExportProgress::Damage(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_and_cover_what_is_wanted_once() {
        let range = |min, max| TimeRange { min, max };
        let all = range(i64::MIN, i64::MAX);
        let covered = [range(-5, 12), range(10, 11), range(95, 99)];
        let windows_of = |wanted| -> Vec<(i64, i64)> {
            let windows = windows(&covered, wanted, 10);
            windows.into_iter().map(|w| (w.min, w.max)).collect()
        };
        assert_eq!(windows_of(all), [(-10, -1), (0, 9), (10, 19), (90, 99)]);
        assert_eq!(windows_of(range(3, 95)), [(3, 9), (10, 19), (90, 95)]);
        assert_eq!(windows_of(range(20, 89)), []);
        assert_eq!(
            windows(&[all], range(i64::MAX - 3, i64::MAX), 10).len(),
            1,
            "the end of time"
        );
    }
}
