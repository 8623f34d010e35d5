//! The write-ahead log: what a shard was told, in order, on disk before anybody is told "stored".
//!
//! Entry points: [`format`] turns samples into records and back. Format page: `docs/format/wal.md`.
//! Not here: when to commit (the shard) and who runs the disk (`runtime`).

pub mod format;
