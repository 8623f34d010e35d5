//! Finding targets: mechanisms that yield target groups, and the manager that runs them for their consumers.
//!
//! Promise: a provider that fails keeps its last answer. Not here: turning groups into targets (`scrape::target`).

pub mod aws;
pub mod config;
mod consul;
mod counters;
mod dns;
mod docker;
mod file;
mod glob;
mod group;
mod http;
pub mod kubernetes;
mod labels;
mod manager;
mod provider;
#[cfg(test)]
mod tests;
mod updates;

pub use counters::{CounterKey, CounterLabels, DiscoveryCounters, RefreshTotals};
pub use file::{FileDiscovery, GroupFileError};
pub use group::{TargetGroup, static_groups};
pub use manager::{DiscoveryManager, ManagerStats, THROTTLE_DEFAULT};
pub use provider::ProviderConfig;
pub use updates::{Discoverer, ProviderContext, Refresher, Refreshing, Update, Updates};
