//! From a data directory to blocks that Prometheus opens.
//!
//! Promise: all samples that the wish takes in are in exactly one block, each block within one aligned range of time; what cannot be read is
//! told. Memory: the labels of the series of one range, and one series' samples. Not here: the blocks' bytes (`block_writer`).

use super::block_writer::{PrometheusBlockWriter, PrometheusWriteError};
use super::meta::PrometheusMeta;
use super::order::order;
use crate::block::BlockId;
use crate::io::Disk;
use crate::model::{Labels, Matcher, SeriesSamples};
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
    let may_have = |range| store.may_have(range);
    for range in windows(&may_have, wish.range, wish.block_range_ms) {
        export_range(store, disk, out, wish, range, new_id, progress)?;
    }
    Ok(())
}

/// The parts of `wanted` that lie between neighbouring multiples of `width` and may have samples, ascending. Found by halving, so that years
/// without a sample cost nothing.
fn windows(may_have: &dyn Fn(TimeRange) -> bool, wanted: TimeRange, width: i64) -> Vec<TimeRange> {
    let mut found = Vec::new();
    if wanted.min > wanted.max {
        return found;
    }
    // First and last number of windows to look at; the later half lies deeper.
    let mut halves = vec![(wanted.min.div_euclid(width), wanted.max.div_euclid(width))];
    while let Some((first, last)) = halves.pop() {
        let range = TimeRange {
            min: first.saturating_mul(width).max(wanted.min),
            max: last
                .saturating_mul(width)
                .saturating_add(width - 1)
                .min(wanted.max),
        };
        if !may_have(range) {
            continue;
        }
        if first == last {
            found.push(range);
            continue;
        }
        let middle = first.midpoint(last).min(last - 1);
        halves.push((middle + 1, last));
        halves.push((first, middle));
    }
    found
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
        let may_have = |asked: TimeRange| {
            let mut covered = covered.iter();
            covered.any(|c| c.min <= asked.max && c.max >= asked.min)
        };
        let windows_of = |wanted| -> Vec<(i64, i64)> {
            let windows = windows(&may_have, wanted, 10);
            windows.into_iter().map(|w| (w.min, w.max)).collect()
        };
        assert_eq!(windows_of(all), [(-10, -1), (0, 9), (10, 19), (90, 99)]);
        assert_eq!(windows_of(range(3, 95)), [(3, 9), (10, 19), (90, 95)]);
        assert_eq!(windows_of(range(20, 89)), []);
        assert_eq!(windows_of(range(99, 3)), []);
        let ends_of_time = |asked: TimeRange| asked.contains(i64::MIN) || asked.contains(i64::MAX);
        let ends = windows(&ends_of_time, all, 10);
        assert_eq!(ends.len(), 2);
        assert_eq!((ends[0].min, ends[1].max), (i64::MIN, i64::MAX));
    }
}
