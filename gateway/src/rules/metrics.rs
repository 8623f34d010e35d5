//! Self metrics of rules, by Prometheus's names.

use super::RuleManager;
use crate::self_metrics::Exposition;
use ::rules::group::Group;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Adds the families of rules.
pub fn write_metrics(page: &mut Exposition, manager: &RuleManager) {
    let groups: Vec<(String, Arc<Group>)> = manager
        .groups()
        .into_iter()
        .map(|group| (group.key(), group))
        .collect();
    page.summaries(
        "prometheus_rule_evaluation_duration_seconds",
        "The duration for a rule to execute.",
        [(Vec::new(), &manager.inner.rule_time)],
    );
    page.summaries(
        "prometheus_rule_group_duration_seconds",
        "The duration of rule group evaluations.",
        [(Vec::new(), &manager.inner.group_time)],
    );
    type Count = fn(&Group) -> u64;
    let counters: [(&'static str, &str, Count); 4] = [
        (
            "prometheus_rule_evaluation_failures_total",
            "The total number of rule evaluation failures.",
            |g| g.counters().failures.load(Ordering::Relaxed),
        ),
        (
            "prometheus_rule_evaluations_total",
            "The total number of rule evaluations.",
            |g| g.counters().evaluations.load(Ordering::Relaxed),
        ),
        (
            "prometheus_rule_group_iterations_missed_total",
            "The total number of rule group evaluations missed due to slow rule group evaluation.",
            |g| g.counters().missed.load(Ordering::Relaxed),
        ),
        (
            "prometheus_rule_group_iterations_total",
            "The total number of scheduled rule group evaluations, whether executed or missed.",
            |g| g.counters().iterations.load(Ordering::Relaxed),
        ),
    ];
    for (name, help, count) in counters {
        page.counter(name, help);
        for (key, group) in &groups {
            page.sample(&[("rule_group", key)], count(group) as f64);
        }
    }
    type Measure = fn(&Group) -> f64;
    let gauges: [(&'static str, &str, Measure); 6] = [
        (
            "prometheus_rule_group_interval_seconds",
            "The interval of a rule group.",
            |g| seconds(g.interval_ns()),
        ),
        (
            "prometheus_rule_group_last_duration_seconds",
            "The duration of the last rule group evaluation.",
            |g| seconds(g.status().took_ns),
        ),
        (
            "prometheus_rule_group_last_evaluation_samples",
            "The number of samples returned during the last rule group evaluation.",
            |g| g.status().samples as f64,
        ),
        (
            "prometheus_rule_group_last_evaluation_timestamp_seconds",
            "The timestamp of the last rule group evaluation in seconds.",
            |g| seconds(g.status().evaluated_at_ns.unwrap_or(0)),
        ),
        (
            "prometheus_rule_group_last_restore_duration_seconds",
            "The duration of the last alert rules alerts restoration using the `ALERTS_FOR_STATE` series.",
            |g| seconds(g.status().restored_ns),
        ),
        ("prometheus_rule_group_rules", "The number of rules.", |g| {
            g.rules().len() as f64
        }),
    ];
    for (name, help, measure) in gauges {
        page.gauge(name, help);
        for (key, group) in &groups {
            page.sample(&[("rule_group", key)], measure(group));
        }
    }
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
