//! An alerting rule's alerts: pending, firing, resolved, and what is told of them.
//!
//! Promise: the life of an alert is Prometheus's. An element of the answer is an alert from the first evaluation that yields it; it fires when
//! it has been there for the rule's `for`; it goes on firing for `keep_firing_for` after it has left; resolved, it is remembered for 15 minutes, so
//! that a receiver that was away hears of it. Time is the evaluation's.
//! Not here: the query, templates, storage.

use crate::source::{RuleSample, Value};
use std::collections::BTreeMap;
use storage_engine::model::{Labels, LabelsBuilder, METRIC_NAME, TimestampMs};

/// The metric of alerts that are there.
pub const ALERTS: &str = "ALERTS";
/// The metric of when alerts began.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label with the alert's name.
pub const ALERT_NAME: &str = "alertname";
/// The label of [`ALERTS`] with the state.
pub const ALERT_STATE: &str = "alertstate";

/// How long a resolved alert is remembered and told again, nanoseconds.
pub const RESOLVED_RETENTION_NS: i64 = 15 * 60 * 1_000_000_000;

/// Two elements of one answer became one alert.
pub(crate) const DUPLICATE_ALERT: &str =
    "vector contains metrics with the same labelset after applying alert labels";

/// Where an alert is in its life, in the order of Prometheus: the greatest is the rule's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// The rule has not been evaluated.
    Unknown,
    /// Not there, or resolved.
    Inactive,
    /// There, not for long enough.
    Pending,
    /// There.
    Firing,
}

impl AlertState {
    /// As in labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Unknown => "unknown",
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// One alert. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// What identifies it.
    pub labels: Labels,
    /// What is said about it, in order of name.
    pub annotations: Vec<(String, String)>,
    /// Where it is in its life.
    pub state: AlertState,
    /// The value at the last evaluation that yielded it.
    pub value: f64,
    /// Since when it is there.
    pub active_at_ns: i64,
    /// Since when it fires.
    pub fired_at_ns: Option<i64>,
    /// Since when it is gone.
    pub resolved_at_ns: Option<i64>,
    /// When it was last told.
    pub last_sent_at_ns: Option<i64>,
    /// Until when what was told then holds.
    pub valid_until_ns: Option<i64>,
    /// Since when it only goes on firing because of `keep_firing_for`.
    pub keep_firing_since_ns: Option<i64>,
}

/// An element of the answer, ready to be an alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) labels: Labels,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Alert {
    fn new(candidate: Candidate, at_ns: i64) -> Self {
        Alert {
            labels: candidate.labels,
            annotations: candidate.annotations,
            state: AlertState::Pending,
            value: candidate.value,
            active_at_ns: at_ns,
            fired_at_ns: None,
            resolved_at_ns: None,
            last_sent_at_ns: None,
            valid_until_ns: None,
            keep_firing_since_ns: None,
        }
    }

    /// Is it to be told at `at_ns`? Firing and resolved ones are, when something has changed or the last time was more than the delay ago.
    fn needs_sending(&self, at_ns: i64, resend_delay_ns: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(sent) = self.last_sent_at_ns else {
            return true;
        };
        self.resolved_at_ns.is_some_and(|resolved| resolved > sent)
            || sent.saturating_add(resend_delay_ns) < at_ns
    }

    /// Is it there: pending or firing?
    pub fn is_active(&self) -> bool {
        self.resolved_at_ns.is_none()
    }
}

/// What of a rule decides about its alerts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlertRule<'a> {
    /// `alert`
    pub(crate) name: &'a str,
    /// The rule's labels as written.
    pub(crate) labels: &'a [(String, String)],
    /// `for`
    pub(crate) hold_ns: i64,
    /// `keep_firing_for`
    pub(crate) keep_firing_ns: i64,
    /// Most alerts; 0 for no limit.
    pub(crate) limit: usize,
}

/// All alerts of a rule, by their labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Alerts(pub(crate) BTreeMap<Labels, Alert>);

impl Alerts {
    /// Takes in an evaluation at `at_ns`; what comes back are those that are there now, for the series.
    pub(crate) fn evaluate(
        &mut self,
        rule: AlertRule<'_>,
        answer: BTreeMap<Labels, Candidate>,
        at_ns: i64,
    ) -> Result<Vec<Alert>, String> {
        let present: Vec<Labels> = answer.keys().cloned().collect();
        for (labels, candidate) in answer {
            match self.0.get_mut(&labels) {
                Some(known) if known.state != AlertState::Inactive => {
                    known.value = candidate.value;
                    known.annotations = candidate.annotations;
                }
                _ => {
                    self.0.insert(labels, Alert::new(candidate, at_ns));
                }
            }
        }
        let mut there = Vec::new();
        self.0.retain(|labels, alert| {
            let kept = match present.binary_search(labels).is_ok() {
                true => {
                    alert.keep_firing_since_ns = None;
                    true
                }
                false => keeps_firing(alert, rule.keep_firing_ns, at_ns),
            };
            if !kept {
                return resolve(alert, at_ns);
            }
            let held = at_ns - alert.active_at_ns >= rule.hold_ns;
            if alert.state == AlertState::Pending && held {
                alert.state = AlertState::Firing;
                alert.fired_at_ns = Some(at_ns);
            } else if alert.state == AlertState::Firing && !held {
                // The rule's `for` has grown.
                alert.state = AlertState::Pending;
                alert.fired_at_ns = None;
                alert.last_sent_at_ns = None;
                alert.keep_firing_since_ns = None;
            }
            there.push(alert.clone());
            true
        });
        if rule.limit > 0 && there.len() > rule.limit {
            self.0.clear();
            return Err(format!(
                "exceeded limit of {} with {} alerts",
                rule.limit,
                there.len()
            ));
        }
        Ok(there)
    }

    /// Those that are to be told at `at_ns`; from then on they count as told.
    pub(crate) fn take_due(
        &mut self,
        at_ns: i64,
        resend_delay_ns: i64,
        interval_ns: i64,
    ) -> Vec<Alert> {
        let mut out = Vec::new();
        for alert in self.0.values_mut() {
            if alert.needs_sending(at_ns, resend_delay_ns) {
                alert.last_sent_at_ns = Some(at_ns);
                // Two evaluations or two sendings may fail.
                let valid_ns = interval_ns.max(resend_delay_ns).saturating_mul(4);
                alert.valid_until_ns = Some(at_ns.saturating_add(valid_ns));
                out.push(alert.clone());
            }
        }
        out
    }

    /// The greatest state of all.
    pub(crate) fn state(&self) -> AlertState {
        let states = self.0.values().map(|alert| alert.state);
        states.max().unwrap_or(AlertState::Inactive)
    }
}

/// Does an alert that has left the answer go on firing?
fn keeps_firing(alert: &mut Alert, keep_firing_ns: i64, at_ns: i64) -> bool {
    if alert.state != AlertState::Firing || keep_firing_ns <= 0 {
        return false;
    }
    let since = *alert.keep_firing_since_ns.get_or_insert(at_ns);
    at_ns - since < keep_firing_ns
}

/// Ends an alert; false when it is to be forgotten.
fn resolve(alert: &mut Alert, at_ns: i64) -> bool {
    let long_gone = |resolved: i64| at_ns - resolved > RESOLVED_RETENTION_NS;
    if alert.state == AlertState::Pending || alert.resolved_at_ns.is_some_and(long_gone) {
        return false;
    }
    if alert.state != AlertState::Inactive {
        alert.state = AlertState::Inactive;
        alert.resolved_at_ns = Some(at_ns);
    }
    true
}

/// The two series of an alert that is there.
pub(crate) fn samples(rule: AlertRule<'_>, alert: &Alert, at_ms: TimestampMs) -> [RuleSample; 2] {
    let mut labels = LabelsBuilder::default();
    for (name, value) in rule.labels {
        labels.set(name, value);
    }
    for (name, value) in alert.labels.iter() {
        labels.set(name, value);
    }
    labels.set(ALERT_NAME, rule.name);
    labels.set(METRIC_NAME, ALERTS_FOR_STATE);
    let since = labels.build();
    labels.set(METRIC_NAME, ALERTS);
    labels.set(ALERT_STATE, alert.state.as_str());
    let sample = |labels, value| RuleSample {
        labels,
        at_ms,
        value: Value::Float(value),
    };
    let seconds = alert.active_at_ns.div_euclid(1_000_000_000);
    [sample(labels.build(), 1.0), sample(since, seconds as f64)]
}

#[cfg(test)]
mod tests;
