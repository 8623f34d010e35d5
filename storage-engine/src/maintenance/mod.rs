//! Maintenance: what turns heads into blocks, makes larger blocks of small ones, and lets old ones go.
//!
//! One keeper for each shard, on a few threads for the whole store. A keeper asks its shard through the mailbox like everybody else, so
//! that ingest never stops for it; its disk calls block its own thread only. The same code runs as a task of the simulator.
//!
//! Not here: the format of a block (`block`), the head (`head`), the log and its checkpoints (`wal`, `checkpoint`).

mod compact;
mod delete;
mod directory;
mod expire;
mod head_pieces;
mod keeper;
mod link;
mod log;
mod merge;
mod merge_offline;
mod pace;
mod plan;
mod retention;
mod seal;
mod settings;
mod shelf;
mod snapshot;
mod stats;
mod worker;
mod world;

pub use keeper::KeeperError;
pub use merge_offline::{MergeError, MergeProgress, merge_offline};
pub use retention::{RETENTION_DEFAULT_MS, RetentionSettings};
pub use settings::{BLOCK_RANGE_MAX_MS, MaintenanceOptions};
pub use stats::{DURATION_BOUNDS, Durations, MaintenanceStats};
pub use worker::OrderError;

pub(crate) use directory::open_blocks;
pub(crate) use keeper::{BLOCKS, Keeper, KeeperParts, shard_dir};
pub(crate) use pace::Wishes;
pub(crate) use settings::Settings;
pub(crate) use shelf::Shelf;
pub(crate) use stats::Counters;
pub(crate) use worker::{Desk, Order, Task, desk, keep};
pub(crate) use world::{Waiting, World};
