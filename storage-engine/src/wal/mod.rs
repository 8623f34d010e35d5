//! The write-ahead log: what a shard was told, in order, on disk before anybody is told "stored".
//!
//! Entry points: [`mod@format`] turns samples into records and back, [`WalWriter`] puts them on disk, [`replay()`] brings them back.
//! Format page: `docs/format/wal.md`. Not here: when to commit (the shard) and who runs the disk (`runtime`).

pub mod exemplars;
pub mod format;
pub mod histograms;
mod reader;
mod replay;
mod segment;
pub mod starts;
pub mod tombstones;
mod writer;

pub(crate) use replay::RecordDecoder;
pub use replay::{
    Damage, ReplayError, ReplayProgress, ReplayTarget, Replayed, replay, replay_behind,
};
pub use segment::WalPlace;
pub use writer::{AckMode, LogPosition, WalError, WalOptions, WalWriter};
