//! Checkpoints: a shard as it was, in files, so that a restart reads them and only the end of its log.
//!
//! Entry points: [`take_checkpoint`] while the shard works, [`load_checkpoint`] at start. Format page: `docs/format/checkpoint.md`, the
//! reasons: `docs/decisions/0009-checkpoint.md`. Not here: the log (`wal`), when a checkpoint is due (`maintenance`).

mod door;
mod format;
mod load;
mod pages;
mod place;
mod sections;
mod series;
mod state;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use door::ShardDoor;
pub(crate) use load::{RestoreTarget, load_checkpoint};
pub(crate) use place::CheckpointPlace;
pub(crate) use series::{GroupSeries, SeriesGroup, SeriesPiece};
pub(crate) use state::ShardState;
pub(crate) use take::take_checkpoint;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CheckpointReport {
    /// It covers the log up to this record.
    pub(crate) lsn: u64,
    /// Series.
    pub(crate) series: u64,
    /// Native histogram samples.
    pub(crate) histograms: u64,
    /// Bytes of the checkpoint itself.
    pub(crate) bytes: u64,
    /// Full pages of sealed chunks that went to a file.
    pub(crate) pages_written: u64,
}

/// Why a checkpoint was not taken. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CheckpointError<E> {
    /// The disk refuses.
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: String,
        source: std::io::Error,
    },
    /// The shard does not answer.
    #[error("{0}")]
    Shard(E),
    /// The log cannot be made durable as far as the checkpoint goes.
    #[error("the write-ahead log cannot be made durable")]
    Log,
}
