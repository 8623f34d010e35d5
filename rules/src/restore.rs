//! After a restart: how long alerts had been there before, from the samples of `ALERTS_FOR_STATE`.
//!
//! Promise: Prometheus's. Time during which the server was down does not count; an alert that had been there long enough fires with the next
//! evaluation; one that was about to fire does so after `--rules.alert.for-grace-period` at the earliest; an outage longer than
//! `--rules.alert.for-outage-tolerance` begins everything anew.

use crate::alert::{ALERT_NAME, ALERTS_FOR_STATE, Alert};
use crate::schedule::NS_PER_MS;
use crate::source::{Query, QueryFault, Source};
use query_engine::eval::text::go_quote;
use std::collections::HashMap;
use storage_engine::model::Labels;

/// `--rules.alert.for-outage-tolerance` and `--rules.alert.for-grace-period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Longest outage, nanoseconds.
    pub outage_tolerance_ns: i64,
    /// Shortest time from now until an alert fires, nanoseconds; rules with a shorter `for` are not restored.
    pub grace_period_ns: i64,
}

/// What was stored of an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stored {
    /// When the last sample was written, milliseconds.
    pub(crate) at_ms: i64,
    /// Its value: since when the alert was there, seconds.
    pub(crate) active_at_s: i64,
}

/// What is stored of a rule's alerts, by their labels.
///
/// An instant selector that looks back as far as an outage may last finds the last sample unless the series has ended.
pub(crate) fn stored(
    source: &dyn Source,
    alert_name: &str,
    rule_labels: &[(String, String)],
    now_ns: i64,
    outage_tolerance_ns: i64,
) -> Result<HashMap<Labels, Stored>, QueryFault> {
    let mut selector = format!(
        "{ALERTS_FOR_STATE}{{{ALERT_NAME}={}",
        go_quote(alert_name.as_bytes())
    );
    for (name, value) in rule_labels {
        // A label with a template has another text in the series.
        if name != ALERT_NAME && !value.contains("{{") {
            let (name, value) = (go_quote(name.as_bytes()), go_quote(value.as_bytes()));
            selector.push_str(&format!(",{name}={value}"));
        }
    }
    selector.push('}');
    let ask = |text: &str| {
        source.query(Query {
            text,
            expr: None,
            at_ms: now_ns / NS_PER_MS,
            lookback_ms: Some((outage_tolerance_ns / NS_PER_MS).max(1)),
        })
    };
    let mut times = HashMap::new();
    for element in ask(&format!("timestamp({selector})"))? {
        times.insert(element.labels.without_name(), element.value.float());
    }
    let mut out = HashMap::new();
    for element in ask(&selector)? {
        let labels = element.labels.without_name();
        if let Some(seconds) = times.get(&labels) {
            let stored = Stored {
                at_ms: (seconds * 1000.0).round() as i64,
                active_at_s: element.value.float() as i64,
            };
            out.insert(labels, stored);
        }
    }
    Ok(out)
}

/// Since when the alert counts as being there, seen from `now_ns`.
pub(crate) fn restore(
    alert: &mut Alert,
    stored: Stored,
    hold_ns: i64,
    now_ns: i64,
    options: RestoreOptions,
) {
    let down_at = stored.at_ms.saturating_mul(NS_PER_MS);
    let active_at = stored.active_at_s.saturating_mul(1_000_000_000);
    let spent = down_at.saturating_sub(active_at);
    let remaining = hold_ns.saturating_sub(spent);
    alert.active_at_ns = if remaining <= 0 {
        // It fired before: so it does at the next evaluation.
        active_at
    } else if remaining < options.grace_period_ns {
        now_ns
            .saturating_add(options.grace_period_ns)
            .saturating_sub(hold_ns)
    } else {
        // The time without us does not count.
        active_at.saturating_add(now_ns.saturating_sub(down_at))
    };
}
