//! Scraping: targets, their schedule, the request, the series cache, staleness and report series.
//!
//! Promise: what a page says ends up in the store as Prometheus would have stored it, and no page can hurt the server.
//! Not here: parsing of pages (`text`, `openmetrics`), finding targets (`discovery`), the YAML schema (gateway).

mod active;
mod batches;
mod cache;
pub mod config;
mod counters;
mod created;
mod manager;
mod native;
mod page;
mod sample_labels;
pub mod target;
mod target_loop;
mod worker;

pub use active::Health;
pub use counters::{ScrapeCounters, SummaryTotals};
pub use manager::{
    ActiveTargetSnapshot, DroppedTargetSnapshot, PoolStats, ScrapeManager, TargetMetadataSnapshot,
    TargetsSnapshot,
};
pub use worker::ScrapeWorker;

#[cfg(test)]
mod tests;
