//! One gateway worker: what its thread owns, and the HTTP counters all workers share.

use crate::api::rows::RowState;
use crate::api::write::WriteState;
use crate::app::App;
use crate::http::router::ROUTES;
use crate::self_metrics::{Counter, Exposition, Histogram};
use crate::services::Services;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything a handler reaches. Lives on one thread, inside an `Rc`.
pub struct Worker {
    /// Which worker, from 0.
    pub index: usize,
    /// The process.
    pub app: Arc<App>,
    /// The rooms behind the handlers.
    pub services: Arc<Services>,
    /// Shared counters.
    pub http: Arc<HttpMetrics>,
    /// Remote write's memory of this worker's senders.
    pub write: WriteState,
    /// The same of senders of rows.
    pub rows: RowState,
}

/// Bounds of `prometheus_http_request_duration_seconds`, Prometheus's own.
const DURATION_BOUNDS: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];
/// Bounds of `prometheus_http_response_size_bytes`, Prometheus's own.
const SIZE_BOUNDS: &[f64] = &[
    100.0,
    1_000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
    10_000_000.0,
    100_000_000.0,
    1_000_000_000.0,
];

/// Requests by route and status, their durations and answer sizes.
pub struct HttpMetrics {
    requests: Mutex<BTreeMap<(usize, u16), u64>>,
    durations: Vec<Histogram>,
    sizes: Vec<Histogram>,
    /// What befell `/federate`.
    pub federation: FederationCounters,
}

/// Counters of `/federate`.
#[derive(Debug, Default)]
pub struct FederationCounters {
    /// Answers that failed.
    pub errors: Counter,
    /// Warnings of the storage.
    pub warnings: Counter,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        HttpMetrics {
            requests: Mutex::default(),
            durations: ROUTES
                .iter()
                .map(|_| Histogram::new(DURATION_BOUNDS))
                .collect(),
            sizes: ROUTES.iter().map(|_| Histogram::new(SIZE_BOUNDS)).collect(),
            federation: FederationCounters::default(),
        }
    }
}

impl HttpMetrics {
    /// Counts one answer of route `route`.
    pub fn observe(&self, route: usize, status: u16, took: Duration, body_bytes: usize) {
        let mut requests = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        *requests.entry((route, status)).or_default() += 1;
        drop(requests);
        self.durations[route].observe(took.as_secs_f64());
        self.sizes[route].observe(body_bytes as f64);
    }

    /// Adds the families of all routes, and of federation.
    pub fn write(&self, page: &mut Exposition) {
        page.one_counter(
            "prometheus_web_federation_errors_total",
            "Total number of errors that occurred while sending federation responses.",
            self.federation.errors.get() as f64,
        );
        page.one_counter(
            "prometheus_web_federation_warnings_total",
            "Total number of warnings that occurred while sending federation responses.",
            self.federation.warnings.get() as f64,
        );
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone();
        page.counter(
            "prometheus_http_requests_total",
            "Counter of HTTP requests.",
        );
        for ((route, status), count) in &requests {
            let labels = [
                ("code", &*status.to_string()),
                ("handler", ROUTES[*route].path),
            ];
            page.sample(&labels, *count as f64);
        }
        let used: Vec<usize> = {
            let mut used: Vec<usize> = requests.keys().map(|(route, _)| *route).collect();
            used.dedup();
            used
        };
        page.histograms(
            "prometheus_http_request_duration_seconds",
            "Histogram of latencies for HTTP requests.",
            used.iter()
                .map(|i| (vec![("handler", ROUTES[*i].path)], &self.durations[*i])),
        );
        page.histograms(
            "prometheus_http_response_size_bytes",
            "Histogram of response size for HTTP requests.",
            used.iter()
                .map(|i| (vec![("handler", ROUTES[*i].path)], &self.sizes[*i])),
        );
    }
}
