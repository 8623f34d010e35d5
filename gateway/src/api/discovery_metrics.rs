//! The families that Prometheus has about service discovery (`prometheus_sd_*`).
//!
//! One page, whoever consumes targets: each manager has its label `name`, the mechanisms count for all.

use crate::self_metrics::Exposition;
use ingest::discovery::DiscoveryManager;

/// Help texts of the counters and summaries of mechanisms.
const HELP: &[(&str, &str)] = &[
    (
        "prometheus_sd_azure_failures_total",
        "Number of Azure service discovery refresh failures.",
    ),
    (
        "prometheus_sd_consul_rpc_failures_total",
        "The number of Consul RPC call failures.",
    ),
    (
        "prometheus_sd_consul_rpc_duration_seconds",
        "The duration of a Consul RPC call in seconds.",
    ),
    (
        "prometheus_sd_dns_lookup_failures_total",
        "The number of DNS-SD lookup failures.",
    ),
    (
        "prometheus_sd_dns_lookups_total",
        "The number of DNS-SD lookups.",
    ),
    (
        "prometheus_sd_file_read_errors_total",
        "The number of File-SD read errors.",
    ),
    (
        "prometheus_sd_file_scan_duration_seconds",
        "The duration of the File-SD scan in seconds.",
    ),
    (
        "prometheus_sd_file_watcher_errors_total",
        "The number of File-SD errors caused by filesystem watch failures.",
    ),
    (
        "prometheus_sd_http_failures_total",
        "Number of HTTP service discovery refresh failures.",
    ),
    (
        "prometheus_sd_kubernetes_events_total",
        "The number of Kubernetes events handled.",
    ),
    (
        "prometheus_sd_kubernetes_failures_total",
        "The number of failed WATCH/LIST requests.",
    ),
    (
        "prometheus_sd_nomad_failures_total",
        "Number of nomad service discovery refresh failures.",
    ),
];

fn help(name: &str) -> &'static str {
    HELP.iter()
        .find(|(known, _)| *known == name)
        .map_or("Events of service discovery.", |(_, help)| help)
}

fn borrowed<'a>(labels: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().map(|(n, v)| (*n, v.as_str())).collect()
}

/// Writes the families of these managers, each with its consumer's name. They share their counters.
pub(super) fn write_metrics(page: &mut Exposition, managers: &[(&str, &DiscoveryManager)]) {
    let stats: Vec<_> = managers.iter().map(|(n, m)| (*n, m.stats())).collect();
    page.gauge(
        "prometheus_sd_discovered_targets",
        "Current number of discovered targets.",
    );
    for (name, stats) in &stats {
        for (job, count) in &stats.discovered_targets {
            page.sample(&[("config", job), ("name", name)], *count as f64);
        }
    }
    page.gauge(
        "prometheus_sd_failed_configs",
        "Current number of service discovery configurations that failed to load.",
    );
    for (name, stats) in &stats {
        page.sample(&[("name", name)], stats.failed_configs as f64);
    }
    page.counter(
        "prometheus_sd_received_updates_total",
        "Total number of update events received from the SD providers.",
    );
    for (name, stats) in &stats {
        page.sample(&[("name", name)], stats.received_updates as f64);
    }
    page.counter(
        "prometheus_sd_updates_total",
        "Total number of update events sent to the SD consumers.",
    );
    for (name, stats) in &stats {
        page.sample(&[("name", name)], stats.sent_updates as f64);
    }
    page.counter(
        "prometheus_sd_updates_delayed_total",
        "Total number of update events that couldn't be sent immediately.",
    );
    for (name, _) in &stats {
        // Consumers take an update in place: none waits in a queue.
        page.sample(&[("name", name)], 0.0);
    }
    let Some((_, first)) = managers.first() else {
        return;
    };
    let counters = first.counters();
    let mut family = "";
    for ((name, labels), value) in &counters.samples() {
        if *name != family {
            family = name;
            page.counter(name, help(name));
        }
        page.sample(&borrowed(labels), *value);
    }
    let summaries = counters.summaries();
    for same in summaries.chunk_by(|a, b| a.0.0 == b.0.0) {
        let name = same.first().map_or("", |((name, _), _)| name);
        let all = same
            .iter()
            .map(|((_, labels), t)| (borrowed(labels), t.sum_seconds, t.count));
        page.totals(name, help(name), all);
    }
    let refreshes = counters.refreshes();
    page.totals(
        "prometheus_sd_refresh_duration_seconds",
        "The duration of a SD refresh cycle in seconds.",
        refreshes.iter().map(|((mechanism, config), t)| {
            let labels = vec![("config", config.as_str()), ("mechanism", *mechanism)];
            (labels, t.duration.sum_seconds, t.duration.count)
        }),
    );
    page.counter(
        "prometheus_sd_refresh_failures_total",
        "Number of refresh failures for the given SD mechanism.",
    );
    for ((mechanism, config), totals) in &refreshes {
        let labels = [("config", config.as_str()), ("mechanism", *mechanism)];
        page.sample(&labels, totals.failures as f64);
    }
}
