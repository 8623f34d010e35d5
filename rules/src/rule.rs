//! One rule at work: its definition, what the last evaluation came to, and for an alerting rule its alerts.
//!
//! Promise: a rule may be looked at from any thread while it is evaluated; nobody waits for a query.

use crate::alert::{ALERT_NAME, AlertRule, AlertState, Alerts, Candidate, DUPLICATE_ALERT};
use crate::alert::{Alert, samples};
use crate::file::RuleSpec;
use crate::recording::record;
use crate::schedule::NS_PER_MS;
use crate::source::{Element, Query, QueryFault, RuleSample, World};
use crate::template::{Moment, Subject, Template};
use query_engine::parse::ast::Expr;
use query_engine::parse::{ParserOptions, parse};
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage_engine::model::{Labels, LabelsBuilder, METRIC_NAME};

/// Which kind of rule, and what only that kind has.
#[derive(Debug)]
pub enum Kind {
    /// Writes a metric.
    Recording,
    /// Raises alerts.
    Alerting {
        /// `for`, nanoseconds.
        hold_ns: i64,
        /// `keep_firing_for`, nanoseconds.
        keep_firing_ns: i64,
        /// Annotations, in order of name.
        annotations: Vec<(String, Template)>,
        /// The labels' templates, in order of name.
        label_templates: Vec<(String, Template)>,
    },
}

/// Did the last evaluation go well?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// There was none.
    #[default]
    Unknown,
    /// It did.
    Ok,
    /// It did not.
    Err,
}

impl Health {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Ok => "ok",
            Health::Err => "err",
        }
    }
}

/// What the last evaluation came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Did it go well?
    pub health: Health,
    /// Why not.
    pub last_error: Option<String>,
    /// How long it took, nanoseconds.
    pub took_ns: i64,
    /// When it began, nanoseconds since the epoch; none before the first.
    pub evaluated_at_ns: Option<i64>,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    name: String,
    /// The group's labels under the rule's, as written, in order of name.
    labels: Vec<(String, String)>,
    expr: Expr,
    expr_text: String,
    kind: Kind,
    status: Mutex<Status>,
    alerts: Mutex<Alerts>,
    /// Are alerts as long there as they were before a restart? Their series are written only then.
    restored: AtomicBool,
    /// The series of the last evaluation.
    pub(crate) previous: Mutex<HashSet<Labels>>,
}

/// Why an evaluation failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// Stopped from outside: not worth a line in the log.
    pub(crate) is_canceled: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure {
            text,
            is_canceled: false,
        }
    }
}

impl From<QueryFault> for Failure {
    fn from(fault: QueryFault) -> Self {
        Failure {
            is_canceled: matches!(fault, QueryFault::Canceled(_)),
            text: fault.to_string(),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn templates(
    alert: &str,
    texts: &BTreeMap<String, String>,
) -> Result<Vec<(String, Template)>, String> {
    texts
        .iter()
        .map(|(name, text)| Ok((name.clone(), Template::new(alert, text)?)))
        .collect()
}

impl Rule {
    /// A rule of a file that was checked; `restored` when there is nothing to restore it from.
    pub fn new(
        spec: &RuleSpec,
        group_labels: &BTreeMap<String, String>,
        parser: &ParserOptions,
        restored: bool,
    ) -> Result<Self, String> {
        let expr = parse(&spec.expr.text, parser)
            .map_err(|error| format!("could not parse expression: {error}"))?;
        let mut labels = group_labels.clone();
        labels.extend(spec.labels.clone());
        let kind = match spec.alert.text.as_str() {
            "" => Kind::Recording,
            alert => Kind::Alerting {
                hold_ns: spec.for_ms.saturating_mul(NS_PER_MS),
                keep_firing_ns: spec.keep_firing_for_ms.saturating_mul(NS_PER_MS),
                annotations: templates(alert, &spec.annotations)?,
                label_templates: templates(alert, &labels)?,
            },
        };
        Ok(Rule {
            name: spec.name().to_owned(),
            labels: labels.into_iter().collect(),
            expr_text: expr.to_string(),
            expr,
            kind,
            status: Mutex::default(),
            alerts: Mutex::default(),
            restored: AtomicBool::new(restored),
            previous: Mutex::default(),
        })
    }

    /// The metric's or alert's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its labels as written, those of the group among them, in order of name.
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// The expression as Prometheus prints it.
    pub fn expr_text(&self) -> &str {
        &self.expr_text
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Which kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Does it raise alerts?
    pub fn is_alerting(&self) -> bool {
        matches!(self.kind, Kind::Alerting { .. })
    }

    /// What the last evaluation came to.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// The greatest state of its alerts.
    pub fn state(&self) -> AlertState {
        if lock(&self.status).evaluated_at_ns.is_none() {
            return AlertState::Unknown;
        }
        lock(&self.alerts).state()
    }

    /// Its pending and firing alerts, in order of labels.
    pub fn active_alerts(&self) -> Vec<Alert> {
        let alerts = lock(&self.alerts);
        alerts
            .0
            .values()
            .filter(|a| a.is_active())
            .cloned()
            .collect()
    }

    /// From now on the series of its alerts are written.
    pub fn set_restored(&self) {
        self.restored.store(true, Ordering::Relaxed);
    }

    pub(crate) fn for_each_alert(&self, f: impl FnMut(&mut Alert)) {
        lock(&self.alerts).0.values_mut().for_each(f);
    }

    /// The same rule as before a reload?
    pub(crate) fn is_same(&self, other: &Rule) -> bool {
        let texts = |templates: &[(String, Template)]| -> Vec<(String, String)> {
            let texts = templates
                .iter()
                .map(|(n, t)| (n.clone(), t.text().to_owned()));
            texts.collect()
        };
        let kinds = match (&self.kind, &other.kind) {
            (Kind::Recording, Kind::Recording) => true,
            (
                Kind::Alerting {
                    hold_ns,
                    keep_firing_ns,
                    annotations,
                    ..
                },
                Kind::Alerting {
                    hold_ns: other_hold_ns,
                    keep_firing_ns: other_keep_ns,
                    annotations: other_annotations,
                    ..
                },
            ) => {
                hold_ns == other_hold_ns
                    && keep_firing_ns == other_keep_ns
                    && texts(annotations) == texts(other_annotations)
            }
            _ => false,
        };
        kinds && self.answers_to(other) && self.expr_text == other.expr_text
    }

    /// Has it the name and labels of the other, so that it takes over its state?
    pub(crate) fn answers_to(&self, other: &Rule) -> bool {
        self.name == other.name && self.labels == other.labels
    }

    /// Takes over alerts and series from the rule that it was before a reload.
    pub(crate) fn take_over(&self, from: &Rule) {
        *lock(&self.previous) = lock(&from.previous).clone();
        if self.is_alerting() && from.is_alerting() {
            *lock(&self.alerts) = lock(&from.alerts).clone();
        }
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Status)) {
        change(&mut lock(&self.status));
    }

    fn alert_rule(&self, limit: usize) -> Option<AlertRule<'_>> {
        match self.kind {
            Kind::Recording => None,
            Kind::Alerting {
                hold_ns,
                keep_firing_ns,
                ..
            } => Some(AlertRule {
                name: &self.name,
                labels: &self.labels,
                hold_ns,
                keep_firing_ns,
                limit,
            }),
        }
    }

    /// Asks, and says what is to be stored. What went wrong in templates comes back beside it.
    pub(crate) fn evaluate(
        &self,
        at_ns: i64,
        offset_ns: i64,
        limit: usize,
        world: &World<'_>,
    ) -> Result<(Vec<RuleSample>, Vec<String>), Failure> {
        let asked_ms = (at_ns - offset_ns).div_euclid(NS_PER_MS);
        let answer = world.source.query(Query {
            text: &self.expr_text,
            expr: Some(&self.expr),
            at_ms: asked_ms,
            lookback_ms: None,
        })?;
        let Some(rule) = self.alert_rule(limit) else {
            let samples = record(&self.name, &self.labels, answer, asked_ms, limit)?;
            return Ok((samples, Vec::new()));
        };
        let (candidates, warnings) = self.candidates(answer, at_ns, world)?;
        let there = lock(&self.alerts).evaluate(rule, candidates, at_ns)?;
        let samples = match self.restored.load(Ordering::Relaxed) {
            true => there
                .iter()
                .flat_map(|a| samples(rule, a, asked_ms))
                .collect(),
            false => Vec::new(),
        };
        Ok((samples, warnings))
    }

    /// The elements of an answer with the rule's labels and annotations.
    fn candidates(
        &self,
        answer: Vec<Element>,
        at_ns: i64,
        world: &World<'_>,
    ) -> Result<(BTreeMap<Labels, Candidate>, Vec<String>), Failure> {
        let Kind::Alerting {
            annotations,
            label_templates,
            ..
        } = &self.kind
        else {
            return Ok(Default::default());
        };
        let moment = Moment {
            source: Arc::clone(&world.source),
            at_ms: at_ns.div_euclid(NS_PER_MS),
            external: Arc::clone(&world.external),
        };
        let mut warnings = Vec::new();
        let mut out = BTreeMap::new();
        for element in answer {
            let subject = Subject {
                labels: &element.labels,
                value: &element.value,
            };
            let mut expand = |template: &Template| {
                let (text, error) = template.expand(subject, &moment);
                warnings.extend(error);
                text
            };
            let mut labels = LabelsBuilder::new(&element.labels);
            labels.del(METRIC_NAME);
            for (name, template) in label_templates {
                labels.set(name, &expand(template));
            }
            labels.set(ALERT_NAME, &self.name);
            let annotations = annotations
                .iter()
                .map(|(name, template)| (name.clone(), expand(template)))
                .collect();
            let labels = labels.build();
            let candidate = Candidate {
                labels: labels.clone(),
                annotations,
                value: element.value.float(),
            };
            if out.insert(labels, candidate).is_some() {
                return Err(DUPLICATE_ALERT.to_owned().into());
            }
        }
        Ok((out, warnings))
    }

    /// The alerts to be told now.
    pub(crate) fn take_due(
        &self,
        at_ns: i64,
        resend_delay_ns: i64,
        interval_ns: i64,
    ) -> Vec<Alert> {
        lock(&self.alerts).take_due(at_ns, resend_delay_ns, interval_ns)
    }
}
