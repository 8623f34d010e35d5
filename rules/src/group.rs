//! A group of rules: evaluated together, one after the other or those that may side by side, with staleness markers for what vanished.
//!
//! Promise: a series that a rule yielded and no longer yields gets a staleness marker at once; those of rules that a reload removed, with the
//! next evaluation. A reload keeps alerts and series of every rule whose name and labels stay.
//! Not here: when to evaluate (`schedule`, the gateway), threads.

use crate::dependency::{Reads, batches};
use crate::file::GroupSpec;
pub use crate::restore::RestoreOptions;
use crate::restore::{restore, stored};
use crate::rule::{Failure, Health, Kind, Rule, lock};
use crate::schedule::{NS_PER_MS, group_hash};
use crate::source::{RefusalKind, RuleSample, Value, World};
use query_engine::parse::ParserOptions;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use storage_engine::model::{Labels, STALE_NAN_BITS};

/// What is counted about a group. It outlives reloads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Evaluations of rules.
    pub evaluations: AtomicU64,
    /// Those that failed.
    pub failures: AtomicU64,
    /// Slots that were due, used or not.
    pub iterations: AtomicU64,
    /// Slots that went by unused.
    pub missed: AtomicU64,
}

impl Counters {
    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// What the last evaluation came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupStatus {
    /// How long it took, nanoseconds.
    pub took_ns: i64,
    /// When it began, nanoseconds since the epoch; none before the first.
    pub evaluated_at_ns: Option<i64>,
    /// Samples that its rules yielded.
    pub samples: u64,
    /// How long restoring took, nanoseconds.
    pub restored_ns: i64,
}

/// A word for the log about one evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Which rule.
    pub rule: String,
    /// Its place in the group, from 0.
    pub index: usize,
    /// What happened.
    pub message: &'static str,
    /// In detail.
    pub detail: String,
}

/// How the evaluation of one rule went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// How long it took, nanoseconds.
    pub took_ns: i64,
    /// Samples that it yielded.
    pub samples: u64,
    /// For the log.
    pub remarks: Vec<Remark>,
}

/// A group at work.
#[derive(Debug)]
pub struct Group {
    name: String,
    file: String,
    interval_ns: i64,
    query_offset_ms: Option<i64>,
    limit: usize,
    rules: Vec<Rule>,
    counters: std::sync::Arc<Counters>,
    status: Mutex<GroupStatus>,
    /// Series of rules that are no more.
    stale: Mutex<Vec<Labels>>,
}

impl Group {
    /// A group of a file that was checked. `default_interval_ms` is `global.evaluation_interval`; `restored` when there is nothing to restore
    /// alerts from.
    pub fn new(
        spec: &GroupSpec,
        file: &str,
        default_interval_ms: i64,
        parser: &ParserOptions,
        restored: bool,
    ) -> Result<Self, String> {
        let interval_ms = match spec.interval_ms {
            0 => default_interval_ms,
            given => given,
        };
        let rules = spec.rules.iter();
        Ok(Group {
            name: spec.name.clone(),
            file: file.to_owned(),
            interval_ns: interval_ms.max(1).saturating_mul(NS_PER_MS),
            query_offset_ms: spec.query_offset_ms,
            limit: usize::try_from(spec.limit).unwrap_or(0),
            rules: rules
                .map(|rule| Rule::new(rule, &spec.labels, parser, restored))
                .collect::<Result<_, _>>()?,
            counters: Default::default(),
            status: Mutex::default(),
            stale: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// `file;name`, as metrics name it.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// How often it is evaluated, nanoseconds.
    pub fn interval_ns(&self) -> i64 {
        self.interval_ns
    }

    /// Most series or alerts of one rule; 0 for no limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Its rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the last evaluation came to.
    pub fn status(&self) -> GroupStatus {
        *lock(&self.status)
    }

    /// Changes what the last evaluation came to.
    pub fn note(&self, change: impl FnOnce(&mut GroupStatus)) {
        change(&mut lock(&self.status));
    }

    /// The hash that its slots are shifted by.
    pub fn hash(&self) -> u64 {
        group_hash(&self.file, &self.name)
    }

    /// Has it a rule that raises alerts?
    pub fn is_alerting(&self) -> bool {
        self.rules.iter().any(Rule::is_alerting)
    }

    fn offset_ns(&self, world: &World<'_>) -> i64 {
        let offset_ms = self.query_offset_ms.unwrap_or(world.query_offset_ms);
        offset_ms.saturating_mul(NS_PER_MS)
    }

    /// Is it what it was before a reload?
    pub fn is_same(&self, other: &Group) -> bool {
        self.name == other.name
            && self.file == other.file
            && self.interval_ns == other.interval_ns
            && self.limit == other.limit
            && self.query_offset_ms == other.query_offset_ms
            && self.rules.len() == other.rules.len()
            && self
                .rules
                .iter()
                .zip(&other.rules)
                .all(|(a, b)| a.is_same(b))
    }

    /// Takes over what the group was before a reload: alerts, series, counters. Rules are matched by name and labels, equal ones in their order.
    pub fn take_over(&mut self, from: &Group) {
        self.counters = std::sync::Arc::clone(&from.counters);
        self.status = Mutex::new(from.status());
        let mut taken = HashSet::new();
        for rule in &self.rules {
            let found = from
                .rules
                .iter()
                .enumerate()
                .find(|(i, old)| !taken.contains(i) && rule.answers_to(old));
            if let Some((index, old)) = found {
                taken.insert(index);
                rule.take_over(old);
            }
        }
        let mut stale = lock(&from.stale).clone();
        for (index, old) in from.rules.iter().enumerate() {
            if !taken.contains(&index) {
                stale.extend(lock(&old.previous).iter().cloned());
            }
        }
        self.stale = Mutex::new(stale);
    }

    /// The rules in batches: those of one batch may be evaluated at the same time, the batches one after the other.
    pub fn batches(&self) -> Vec<Vec<usize>> {
        let reads: Vec<Reads<'_>> = self
            .rules
            .iter()
            .map(|rule| Reads {
                name: rule.name(),
                expr: rule.expr(),
            })
            .collect();
        batches(&reads)
    }

    /// Evaluates all rules in their order.
    pub fn evaluate(&self, at_ns: i64, world: &World<'_>) -> Evaluation {
        let mut all = Evaluation::default();
        for index in 0..self.rules.len() {
            let one = self.evaluate_rule(index, at_ns, world);
            all.took_ns += one.took_ns;
            all.samples += one.samples;
            all.remarks.extend(one.remarks);
        }
        self.finish(all.samples, at_ns, world, &mut all.remarks);
        all
    }

    /// Evaluates one rule: asks, tells of alerts, stores, marks what vanished.
    pub fn evaluate_rule(&self, index: usize, at_ns: i64, world: &World<'_>) -> Evaluation {
        let Some(rule) = self.rules.get(index) else {
            return Evaluation::default();
        };
        let wall_ns = world.clock.wall_ns();
        let began = world.clock.monotonic_ns();
        let mut out = Evaluation::default();
        let mut remark = |message: &'static str, detail: String| {
            out.remarks.push(Remark {
                rule: rule.name().to_owned(),
                index,
                message,
                detail,
            });
        };
        Counters::add(&self.counters.evaluations, 1);
        let offset_ns = self.offset_ns(world);
        match rule.evaluate(at_ns, offset_ns, self.limit, world) {
            Ok((samples, warnings)) => {
                for warning in warnings {
                    remark("Expanding alert template failed", warning);
                }
                rule.note(|status| {
                    status.health = Health::Ok;
                    status.last_error = None;
                });
                if rule.is_alerting() {
                    let alerts = rule.take_due(at_ns, world.resend_delay_ns, self.interval_ns);
                    world.notify.notify(rule.expr_text(), &alerts);
                }
                let count = samples.len() as u64;
                let stale_ms = (at_ns - offset_ns).div_euclid(NS_PER_MS);
                self.store(rule, samples, stale_ms, world, &mut remark);
                out.samples = count;
            }
            Err(Failure { text, is_canceled }) => {
                Counters::add(&self.counters.failures, 1);
                if !is_canceled {
                    remark("Evaluating rule failed", text.clone());
                }
                rule.note(|status| {
                    status.health = Health::Err;
                    status.last_error = Some(text);
                });
            }
        }
        out.took_ns = world.clock.monotonic_ns().saturating_sub(began);
        rule.note(|status| {
            status.took_ns = out.took_ns;
            status.evaluated_at_ns = Some(wall_ns);
        });
        out
    }

    /// Stores what a rule yielded, and markers for what it yielded before and does no more.
    fn store(
        &self,
        rule: &Rule,
        mut samples: Vec<RuleSample>,
        stale_ms: i64,
        world: &World<'_>,
        remark: &mut impl FnMut(&'static str, String),
    ) {
        let yielded = samples.len();
        let mut now: HashSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
        let gone: Vec<Labels> = lock(&rule.previous).difference(&now).cloned().collect();
        samples.extend(gone.into_iter().map(|labels| marker(labels, stale_ms)));
        if samples.is_empty() {
            lock(&rule.previous).clear();
            return;
        }
        let refusals = match world.store.append(&samples) {
            Ok(refusals) => refusals,
            Err(error) => {
                Counters::add(&self.counters.failures, 1);
                remark("Rule sample appending failed", error.clone());
                rule.note(|status| {
                    status.health = Health::Err;
                    status.last_error = Some(error);
                });
                return;
            }
        };
        let mut dropped = [0_u64; 3];
        for refusal in refusals {
            let Some(sample) = samples.get(refusal.index) else {
                continue;
            };
            let is_marker = refusal.index >= yielded;
            let ordinary = match refusal.kind {
                RefusalKind::OutOfOrder => Some(0),
                RefusalKind::TooOld => Some(1),
                RefusalKind::Duplicate => Some(2),
                RefusalKind::Other => None,
            };
            match (is_marker, ordinary.and_then(|kind| dropped.get_mut(kind))) {
                // The series lives on in another rule.
                (true, Some(_)) => continue,
                (true, None) => {
                    remark("Adding stale sample failed", refusal.text);
                    continue;
                }
                (false, Some(count)) => *count += 1,
                (false, None) => {
                    let detail = format!("{}: {}", sample.labels, refusal.text);
                    remark("Rule evaluation result discarded", detail);
                }
            }
            now.remove(&sample.labels);
            rule.note(|status| {
                status.health = Health::Err;
                status.last_error = Some(refusal.text);
            });
        }
        for (count, message) in dropped.into_iter().zip([
            "Error on ingesting out-of-order result from rule evaluation",
            "Error on ingesting too old result from rule evaluation",
            "Error on ingesting results from rule evaluation with different value but same timestamp",
        ]) {
            if count > 0 {
                remark(message, format!("num_dropped={count}"));
            }
        }
        *lock(&rule.previous) = now;
    }

    /// Ends an evaluation: markers for the series of rules that a reload removed.
    pub fn finish(&self, samples: u64, at_ns: i64, world: &World<'_>, remarks: &mut Vec<Remark>) {
        self.note(|status| status.samples = samples);
        self.mark_stale(at_ns, world, remarks);
    }

    fn mark_stale(&self, at_ns: i64, world: &World<'_>, remarks: &mut Vec<Remark>) {
        let stale = lock(&self.stale).clone();
        if stale.is_empty() {
            return;
        }
        let at_ms = (at_ns - self.offset_ns(world)).div_euclid(NS_PER_MS);
        let markers: Vec<RuleSample> = stale.into_iter().map(|l| marker(l, at_ms)).collect();
        match world.store.append(&markers) {
            Ok(_) => lock(&self.stale).clear(),
            Err(detail) => remarks.push(Remark {
                rule: String::new(),
                index: 0,
                message: "Stale sample appending for previous configuration failed",
                detail,
            }),
        }
    }

    /// Marks all series of the group as ended: it was removed.
    pub fn end(&self, at_ns: i64, world: &World<'_>) -> Vec<Remark> {
        for rule in &self.rules {
            let series = std::mem::take(&mut *lock(&rule.previous));
            lock(&self.stale).extend(series);
        }
        let mut remarks = Vec::new();
        self.mark_stale(at_ns, world, &mut remarks);
        remarks
    }

    /// Makes alerts as old as they were before a restart. To be called once, after the second evaluation.
    pub fn restore(&self, now_ns: i64, options: RestoreOptions, world: &World<'_>) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let Kind::Alerting { hold_ns, .. } = rule.kind() else {
                continue;
            };
            if *hold_ns >= options.grace_period_ns {
                let found = stored(
                    &*world.source,
                    rule.name(),
                    rule.labels(),
                    now_ns,
                    options.outage_tolerance_ns,
                );
                match found {
                    Ok(found) => rule.for_each_alert(|alert| {
                        if let Some(stored) = found.get(&alert.labels) {
                            restore(alert, *stored, *hold_ns, now_ns, options);
                        }
                    }),
                    Err(fault) => remarks.push(Remark {
                        rule: rule.name().to_owned(),
                        index,
                        message: "Failed to restore 'for' state",
                        detail: fault.to_string(),
                    }),
                }
            }
            rule.set_restored();
        }
        remarks
    }
}

fn marker(labels: Labels, at_ms: i64) -> RuleSample {
    RuleSample {
        labels,
        at_ms,
        value: Value::Float(f64::from_bits(STALE_NAN_BITS)),
    }
}

#[cfg(test)]
mod tests;
