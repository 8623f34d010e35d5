//! Finding targets: providers that yield target groups, and the word for a group.
//!
//! Promise: a provider that fails keeps its last answer. Not here: turning groups into targets (`scrape::target`).

pub mod config;
mod file;
mod glob;
mod group;

pub use file::{FileDiscovery, FileDiscoveryCounters, GroupFileError, Listener};
pub use group::{TargetGroup, static_groups};
