//! Self metrics of discovery, shared by all providers of the process and read by `/metrics`.
//!
//! Promise: a counter costs one short lock per event of discovery, never one per target.

use crate::scrape::SummaryTotals;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Labels of a self metric.
pub type CounterLabels = Vec<(&'static str, String)>;

/// A self metric: its name and labels.
pub type CounterKey = (&'static str, CounterLabels);

/// What one mechanism did for one job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RefreshTotals {
    /// `prometheus_sd_refresh_failures_total`
    pub failures: u64,
    /// `prometheus_sd_refresh_duration_seconds`
    pub duration: SummaryTotals,
}

/// Counters of all discovery mechanisms.
#[derive(Debug, Default)]
pub struct DiscoveryCounters {
    events: Mutex<BTreeMap<CounterKey, f64>>,
    durations: Mutex<BTreeMap<CounterKey, SummaryTotals>>,
    refreshes: Mutex<BTreeMap<(&'static str, String), RefreshTotals>>,
}

/// Counters that are shown as 0 before anything happened, as Prometheus shows them.
const FROM_THE_START: [&str; 7] = [
    "prometheus_sd_azure_failures_total",
    "prometheus_sd_consul_rpc_failures_total",
    "prometheus_sd_dns_lookup_failures_total",
    "prometheus_sd_dns_lookups_total",
    "prometheus_sd_file_read_errors_total",
    "prometheus_sd_file_watcher_errors_total",
    "prometheus_sd_http_failures_total",
];

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DiscoveryCounters {
    /// One more of the counter without labels.
    pub fn count(&self, name: &'static str) {
        self.count_with(name, &[]);
    }

    /// One more of the counter with these labels.
    pub fn count_with(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        let key = (name, owned(labels));
        *locked(&self.events).entry(key).or_insert(0.0) += 1.0;
    }

    /// Makes the counter appear.
    pub fn show(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        locked(&self.events)
            .entry((name, owned(labels)))
            .or_insert(0.0);
    }

    /// One observation of a summary.
    pub fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], took: Duration) {
        let mut durations = locked(&self.durations);
        durations
            .entry((name, owned(labels)))
            .or_default()
            .observe(took);
    }

    pub(super) fn observe_refresh(
        &self,
        mechanism: &'static str,
        job: &str,
        took: Duration,
        failed: bool,
    ) {
        let mut refreshes = locked(&self.refreshes);
        let totals = refreshes.entry((mechanism, job.to_owned())).or_default();
        totals.duration.observe(took);
        totals.failures += u64::from(failed);
    }

    /// The counter without labels.
    pub fn value(&self, name: &'static str) -> f64 {
        let events = locked(&self.events);
        events.get(&(name, Vec::new())).copied().unwrap_or(0.0)
    }

    /// All counters, those of one name together.
    pub fn samples(&self) -> Vec<(CounterKey, f64)> {
        let mut events = locked(&self.events).clone();
        for name in FROM_THE_START {
            events.entry((name, Vec::new())).or_insert(0.0);
        }
        events.into_iter().collect()
    }

    /// All summaries, those of one name together.
    pub fn summaries(&self) -> Vec<(CounterKey, SummaryTotals)> {
        let durations = locked(&self.durations);
        durations.iter().map(|(k, v)| (k.clone(), *v)).collect()
    }

    /// `(mechanism, config)` and what it did.
    pub fn refreshes(&self) -> Vec<((&'static str, String), RefreshTotals)> {
        let refreshes = locked(&self.refreshes);
        refreshes.iter().map(|(k, v)| (k.clone(), *v)).collect()
    }
}

fn owned(labels: &[(&'static str, &str)]) -> CounterLabels {
    labels.iter().map(|(n, v)| (*n, (*v).to_owned())).collect()
}
