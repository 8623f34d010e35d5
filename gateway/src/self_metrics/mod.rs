//! Ferula's own metrics, under the names that Prometheus's mixin and dashboards read.
//!
//! Counters are plain atomics, gathered only when somebody asks. Not here: what is counted (each room counts its own).

mod exposition;
mod instruments;
mod process;

pub use exposition::Exposition;
pub use instruments::{Counter, Histogram, Summary};
pub use process::write_process_metrics;
