//! How many queries run at once, and what they cost: `--query.max-concurrency`, `--query.max-memory` and the engine's own metrics.

use crate::query_registry::{Arrived, QueryRegistry, Registered};
use crate::self_metrics::{Counter, Exposition, Summary};
use query_engine::eval::memory::MemoryPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots shared by all workers; a query beyond them waits its turn.
pub struct QuerySlots {
    slots: Arc<Semaphore>,
    memory: Arc<MemoryPool>,
    concurrency_max: usize,
    running: AtomicUsize,
    registry: QueryRegistry,
    /// Queries that were begun.
    pub total: Counter,
    /// Samples that selectors handed to the evaluation.
    pub samples: Counter,
    /// Of them those that no step before had been handed.
    pub samples_read: Counter,
    /// Seconds spent waiting for a slot.
    pub queue_time: Summary,
    /// Seconds spent evaluating.
    pub inner_eval_time: Summary,
    /// Seconds spent parsing and planning.
    pub prepare_time: Summary,
    /// Seconds spent ordering and writing results.
    pub result_sort_time: Summary,
}

/// Counts a query as running, and shows it, while it lives.
pub struct Running<'a> {
    running: &'a AtomicUsize,
    registered: Registered<'a>,
}

impl Running<'_> {
    /// Where to put the most bytes that the query held.
    pub fn bytes(&self) -> Arc<AtomicU64> {
        self.registered.bytes()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QuerySlots {
    /// With this many slots, at least one, and the bytes that all queries may hold.
    pub fn new(concurrency_max: usize, memory: Arc<MemoryPool>) -> Self {
        let concurrency_max = concurrency_max.clamp(1, Semaphore::MAX_PERMITS);
        QuerySlots {
            slots: Arc::new(Semaphore::new(concurrency_max)),
            memory,
            concurrency_max,
            running: AtomicUsize::new(0),
            registry: QueryRegistry::default(),
            total: Counter::default(),
            samples: Counter::default(),
            samples_read: Counter::default(),
            queue_time: Summary::default(),
            inner_eval_time: Summary::default(),
            prepare_time: Summary::default(),
            result_sort_time: Summary::default(),
        }
    }

    /// Counts a query from its arrival on.
    pub fn begin(&self, query: Arrived) -> Running<'_> {
        self.total.inc();
        self.running.fetch_add(1, Ordering::Relaxed);
        Running {
            running: &self.running,
            registered: self.registry.enter(query),
        }
    }

    /// The queries that run, and those that ran lately.
    pub fn registry(&self) -> &QueryRegistry {
        &self.registry
    }

    /// Waits for a slot; `None` only when the process stops.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// The bytes that all queries may hold.
    pub fn memory(&self) -> &Arc<MemoryPool> {
        &self.memory
    }

    /// Adds the engine's families.
    pub fn write(&self, page: &mut Exposition) {
        page.one_gauge(
            "prometheus_engine_queries",
            "The current number of queries being executed or waiting.",
            self.running.load(Ordering::Relaxed) as f64,
        );
        page.one_gauge(
            "prometheus_engine_queries_concurrent_max",
            "The max number of concurrent queries.",
            self.concurrency_max as f64,
        );
        page.one_gauge(
            "ferula_query_memory_bytes",
            "Bytes that running queries hold.",
            self.memory.held() as f64,
        );
        page.one_gauge(
            "ferula_query_memory_max_bytes",
            "Bytes that all queries together may hold.",
            self.memory.bytes_max() as f64,
        );
        page.one_counter(
            "prometheus_engine_query_samples_total",
            "The total number of samples loaded by all queries.",
            self.samples.get() as f64,
        );
        page.one_counter(
            "prometheus_engine_query_samples_read_total",
            "The total number of samples read from storage by all queries.",
            self.samples_read.get() as f64,
        );
        page.summaries(
            "prometheus_engine_query_duration_seconds",
            "Query timings",
            [
                ("inner_eval", &self.inner_eval_time),
                ("prepare_time", &self.prepare_time),
                ("queue_time", &self.queue_time),
                ("result_sort", &self.result_sort_time),
            ]
            .map(|(slice, summary)| (vec![("slice", slice)], summary)),
        );
    }
}
