//! Blocks: immutable files that hold the samples of a range of time, column by column, with their own index.
//!
//! A [`BlockWriter`] takes series in [`block_order`] and streams their pages to a file; a [`Block`] maps one and answers from it: which series
//! match, what they hold in a range, what is known of a page without decoding it. The layout is that of codec.md, section 10: timestamps shared
//! by content, page kinds chosen by what is smallest, statistics apart, sorted symbols, postings, a footer that names the sections.
//! Format page: `docs/format/block.md`; why one file: `docs/decisions/0008-one-file-per-block.md`.
//!
//! Promise: what is read is bit for bit what was written, or it is left out and said so; damage never panics.
//! Not here: which blocks there are, when they are written or removed, merging (maintenance and the shard's readers).

mod bitpack;
mod bytes;
mod decimals;
mod directory;
mod extents;
mod file_end;
mod footer;
mod format;
mod histograms;
mod id;
mod index_writer;
mod integers;
mod label_sets;
mod labels;
mod numbers;
mod packed;
mod page_stats;
mod page_writer;
mod postings;
mod read;
mod reader;
mod scratch;
mod select;
mod series;
mod starts;
mod statistics;
mod stream;
mod symbols;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod times;
mod tombstone_file;
mod verify;
mod writer;

pub use format::BLOCK_FORMAT_VERSION;
pub use id::{BlockId, BlockIdError};
pub use labels::LabelCount;
pub use numbers::Profile;
pub use reader::{Block, BlockError};
pub use statistics::PageStats;
pub use tombstone_file::{
    TOMBSTONE_FORMAT_VERSION, TombstoneFileError, read_tombstones, tombstone_path, write_tombstones,
};
pub use writer::{BlockOptions, BlockWriteError, BlockWriter};

use crate::model::{LabelIter, METRIC_NAME, TimestampMs};
use std::cmp::Ordering;

/// What is known of a block without its index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockMeta {
    /// Its name.
    pub id: BlockId,
    /// The shard whose samples it holds.
    pub shard: u32,
    /// Time of the oldest sample.
    pub min_time: TimestampMs,
    /// Time of the newest sample, inclusive.
    pub max_time: TimestampMs,
    /// Number of series.
    pub series: u32,
    /// Number of float samples.
    pub float_samples: u64,
    /// Number of native histogram samples.
    pub histogram_samples: u64,
    /// 1: sealed from the head; compaction adds one to the highest of its sources.
    pub level: u8,
    /// Blocks that this one stands for; where one of them is still there, it is left from a crash.
    pub parents: Vec<BlockId>,
    /// In-order samples before this time are in blocks, not in the log.
    pub sealed_until: Option<TimestampMs>,
    /// Holds samples that came out of order, beside those of other blocks of its range.
    pub out_of_order: bool,
    /// Length of the file.
    pub bytes: u64,
}

/// The order of series in a block, over canonical label bytes: by metric name (none comes first), then as Prometheus compares labels.
pub fn block_order(a: &[u8], b: &[u8]) -> Ordering {
    let labels = |bytes| LabelIter::over_canonical(bytes);
    let name = |bytes| {
        labels(bytes)
            .find(|(name, _)| *name == METRIC_NAME)
            .map_or("", |(_, value)| value)
    };
    name(a).cmp(name(b)).then_with(|| labels(a).cmp(labels(b)))
}
