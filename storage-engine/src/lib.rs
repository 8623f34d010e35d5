//! The ground floor of Ferula: series, head, write-ahead log, index, and the threads that own them.
//!
//! Entry points: [`Store`](store) for a running store, [`shard`] for the state machine alone, [`model`] for the words.
//! Not here: protocols, PromQL, HTTP.

pub mod block;
mod checkpoint;
mod exemplars;
mod head;
mod index;
pub mod io;
pub mod limits;
pub mod maintenance;
pub mod model;
pub mod process;
pub mod prometheus;
pub mod runtime;
pub mod shard;
pub mod shard_api;
mod starts;
pub mod store;
pub mod tombstones;
pub mod wal;
