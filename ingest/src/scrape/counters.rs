//! Self metrics of scraping, as atomics that every worker adds to and `/metrics` reads.
//!
//! Promise: one relaxed addition per scrape event at most, never one per sample.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Sum and count of a Prometheus summary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SummaryTotals {
    /// Seconds in all.
    pub sum_seconds: f64,
    /// Observations.
    pub count: u64,
}

impl SummaryTotals {
    pub(crate) fn observe(&mut self, duration: Duration) {
        self.sum_seconds += duration.as_secs_f64();
        self.count += 1;
    }
}

/// Counters over all targets; the doc line of each names its Prometheus metric.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ScrapeCounters {
    /// `prometheus_target_scrapes_sample_out_of_order_total`
    pub out_of_order: AtomicU64,
    /// `prometheus_target_scrapes_sample_duplicate_timestamp_total`
    pub duplicate_timestamp: AtomicU64,
    /// `prometheus_target_scrapes_sample_out_of_bounds_total`
    pub out_of_bounds: AtomicU64,
    /// `prometheus_target_scrapes_exceeded_sample_limit_total`
    pub exceeded_sample_limit: AtomicU64,
    /// `prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total`
    pub exceeded_bucket_limit: AtomicU64,
    /// `prometheus_target_scrapes_exceeded_body_size_limit_total`
    pub exceeded_body_size_limit: AtomicU64,
    /// `prometheus_target_scrape_pool_exceeded_label_limits_total`
    pub exceeded_label_limits: AtomicU64,
    /// `prometheus_target_scrape_pool_exceeded_target_limit_total`
    pub exceeded_target_limit: AtomicU64,
    /// `prometheus_target_scrapes_cache_flush_forced_total`
    pub cache_flush_forced: AtomicU64,
    /// `prometheus_target_scrape_pools_total`
    pub pools: AtomicU64,
    /// `prometheus_target_scrape_pool_reloads_total`
    pub pool_reloads: AtomicU64,
    /// Samples that the shards refused because a limit on series was reached.
    pub series_limit: AtomicU64,
    /// Batches that a shard refused as a whole (overload, log errors).
    pub failed_batches: AtomicU64,
    /// `prometheus_target_scrapes_exemplar_out_of_order_total`
    pub exemplars_out_of_order: AtomicU64,
    /// Exemplars seen on pages.
    pub exemplars: AtomicU64,
    intervals: Mutex<BTreeMap<String, SummaryTotals>>,
}

impl ScrapeCounters {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn observe_interval(&self, interval: &str, actual: Duration) {
        let mut intervals = self
            .intervals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match intervals.get_mut(interval) {
            Some(totals) => totals.observe(actual),
            None => {
                let mut totals = SummaryTotals::default();
                totals.observe(actual);
                intervals.insert(interval.to_owned(), totals);
            }
        }
    }

    /// `prometheus_target_interval_length_seconds` by its label `interval`.
    pub fn interval_lengths(&self) -> BTreeMap<String, SummaryTotals> {
        self.intervals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
