//! Self metrics of notifications, by Prometheus's names.

use super::Notifier;
use super::queue::Shared;
use crate::self_metrics::Exposition;
use std::sync::Arc;

/// Adds the families of notifications.
pub fn write_metrics(page: &mut Exposition, notifier: &Notifier) {
    let queues: Vec<(String, Arc<Shared>)> = {
        let state = notifier.inner.state();
        let queues = state.sets.values().flat_map(|set| set.queues());
        queues
            .map(|q| (q.url().to_owned(), Arc::clone(q.shared())))
            .collect()
    };
    page.one_gauge(
        "prometheus_notifications_alertmanagers_discovered",
        "The number of alertmanagers discovered and active.",
        queues.len() as f64,
    );
    type Count = fn(&Shared) -> u64;
    let counters: [(&'static str, &str, Count); 3] = [
        (
            "prometheus_notifications_dropped_total",
            "Total number of alerts dropped due to errors when sending to Alertmanager.",
            |q| q.dropped.get(),
        ),
        (
            "prometheus_notifications_errors_total",
            "Total number of sent alerts affected by errors.",
            |q| q.errors.get(),
        ),
        (
            "prometheus_notifications_sent_total",
            "Total number of alerts sent.",
            |q| q.sent.get(),
        ),
    ];
    for (name, help, count) in counters {
        page.counter(name, help);
        for (url, queue) in &queues {
            page.sample(&[("alertmanager", url)], count(queue) as f64);
        }
    }
    page.gauge(
        "prometheus_notifications_queue_length",
        "The number of alert notifications in the queue.",
    );
    for (url, queue) in &queues {
        page.sample(&[("alertmanager", url)], queue.len() as f64);
    }
    page.one_gauge(
        "prometheus_notifications_queue_capacity",
        "The capacity of the alert notifications queue.",
        notifier.inner.flags.queue_capacity as f64,
    );
    page.summaries(
        "prometheus_notifications_latency_seconds",
        "Latency quantiles for sending alert notifications.",
        queues
            .iter()
            .map(|(url, q)| (vec![("alertmanager", url.as_str())], &q.latency)),
    );
}
