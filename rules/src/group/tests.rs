//! Groups in a world of our own: answers from a script, samples into a list, time by hand.

use super::*;
use crate::alert::Alert;
use crate::file::{Located, RuleFile, RuleSpec, check};
use crate::source::{Clock, Element, External, Notify, Query, QueryFault, Refusal, Source, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

const S: i64 = 1_000_000_000;
const M: i64 = 60 * S;

type Answers = BTreeMap<String, Vec<(Labels, f64)>>;

#[derive(Default)]
struct Script(Mutex<Answers>, Mutex<Vec<(String, i64)>>);

impl Source for Script {
    fn query(&self, query: Query<'_>) -> Result<Vec<Element>, QueryFault> {
        lock(&self.1).push((query.text.to_owned(), query.at_ms));
        let answers = lock(&self.0);
        let Some(answer) = answers.get(query.text) else {
            return Err(QueryFault::Failed(format!("no answer to {}", query.text)));
        };
        let element = |(labels, value): &(Labels, f64)| Element {
            labels: labels.clone(),
            value: Value::Float(*value),
        };
        Ok(answer.iter().map(element).collect())
    }
}

#[derive(Default)]
struct Taken(Mutex<Vec<RuleSample>>, Mutex<Option<RefusalKind>>);

impl Store for Taken {
    fn append(&self, samples: &[RuleSample]) -> Result<Vec<Refusal>, String> {
        lock(&self.0).extend_from_slice(samples);
        let refusal = lock(&self.1).map(|kind| Refusal {
            index: 0,
            kind,
            text: "refused".to_owned(),
        });
        Ok(refusal.into_iter().collect())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Alert>>);

impl Notify for Heard {
    fn notify(&self, _: &str, alerts: &[Alert]) {
        lock(&self.0).extend_from_slice(alerts);
    }
}

#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn wall_ns(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn monotonic_ns(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Stage {
    script: Arc<Script>,
    taken: Taken,
    heard: Heard,
    clock: Hand,
}

impl Stage {
    fn answer(&self, query: &str, answer: &[(&[(&str, &str)], f64)]) {
        let of = |(labels, value): &(&[(&str, &str)], f64)| {
            (Labels::from_pairs(labels.iter().copied()).unwrap(), *value)
        };
        let answer = answer.iter().map(of).collect();
        lock(&self.script.0).insert(query.to_owned(), answer);
    }

    fn world(&self) -> World<'_> {
        World {
            source: Arc::clone(&self.script) as Arc<dyn Source>,
            store: &self.taken,
            notify: &self.heard,
            clock: &self.clock,
            external: Arc::new(External::default()),
            resend_delay_ns: M,
            query_offset_ms: 0,
        }
    }

    /// What was stored since the last look, one line each.
    fn stored(&self) -> Vec<String> {
        let mut lines: Vec<String> = std::mem::take(&mut *lock(&self.taken.0))
            .into_iter()
            .map(|s| {
                let value = s.value.float();
                let value = match value.to_bits() == STALE_NAN_BITS {
                    true => "stale".to_owned(),
                    false => value.to_string(),
                };
                format!("{} {value} @{}", s.labels, s.at_ms)
            })
            .collect();
        lines.sort();
        lines
    }
}

fn located(text: &str) -> Located {
    Located {
        text: text.to_owned(),
        ..Located::default()
    }
}

fn record(name: &str, expr: &str) -> RuleSpec {
    RuleSpec {
        record: located(name),
        expr: located(expr),
        ..RuleSpec::default()
    }
}

fn alert(name: &str, expr: &str, for_s: i64) -> RuleSpec {
    RuleSpec {
        alert: located(name),
        expr: located(expr),
        for_ms: for_s * 1000,
        ..RuleSpec::default()
    }
}

fn group(rules: Vec<RuleSpec>) -> Group {
    restorable(rules, true)
}

fn restorable(rules: Vec<RuleSpec>, restored: bool) -> Group {
    let spec = GroupSpec {
        name: "g".to_owned(),
        rules,
        ..GroupSpec::default()
    };
    Group::new(&spec, "f.yml", 60_000, &ParserOptions::default(), restored).unwrap()
}

#[test]
fn series_that_vanish_are_marked() {
    let stage = Stage::default();
    let group = group(vec![record("r", "x")]);
    stage.answer("x", &[(&[("a", "1")], 5.0), (&[("a", "2")], 6.0)]);
    group.evaluate(M, &stage.world());
    assert_eq!(
        stage.stored(),
        [
            "{__name__=\"r\", a=\"1\"} 5 @60000",
            "{__name__=\"r\", a=\"2\"} 6 @60000"
        ]
    );
    stage.answer("x", &[(&[("a", "2")], 7.0)]);
    group.evaluate(2 * M, &stage.world());
    assert_eq!(
        stage.stored(),
        [
            "{__name__=\"r\", a=\"1\"} stale @120000",
            "{__name__=\"r\", a=\"2\"} 7 @120000"
        ]
    );
    group.evaluate(3 * M, &stage.world());
    assert_eq!(stage.stored(), ["{__name__=\"r\", a=\"2\"} 7 @180000"]);
    // A query that fails ends nothing.
    lock(&stage.script.0).clear();
    let evaluation = group.evaluate(4 * M, &stage.world());
    assert_eq!(stage.stored(), Vec::<String>::new());
    assert_eq!(evaluation.remarks[0].message, "Evaluating rule failed");
    let status = group.rules()[0].status();
    assert_eq!(status.health, Health::Err);
    assert_eq!(status.last_error.unwrap(), "no answer to x");
    assert_eq!(group.counters().failures.load(Ordering::Relaxed), 1);
    assert_eq!(group.counters().evaluations.load(Ordering::Relaxed), 4);
}

#[test]
fn the_offset_shifts_question_and_sample() {
    let stage = Stage::default();
    let spec = GroupSpec {
        name: "g".to_owned(),
        query_offset_ms: Some(30_000),
        rules: vec![record("r", "x"), alert("A", "y", 0)],
        ..GroupSpec::default()
    };
    let group = Group::new(&spec, "f", 60_000, &ParserOptions::default(), true).unwrap();
    stage.answer("x", &[(&[], 5.0)]);
    stage.answer("y", &[(&[], 5.0)]);
    group.evaluate(M, &stage.world());
    assert_eq!(lock(&stage.script.1)[0], ("x".to_owned(), 30_000));
    assert_eq!(
        stage.stored(),
        [
            "{__name__=\"ALERTS\", alertname=\"A\", alertstate=\"firing\"} 1 @30000",
            "{__name__=\"ALERTS_FOR_STATE\", alertname=\"A\"} 60 @30000",
            "{__name__=\"r\"} 5 @30000"
        ]
    );
    assert_eq!(lock(&stage.heard.0)[0].fired_at_ns, Some(M));
}

#[test]
fn refused_samples_make_a_rule_ill() {
    let stage = Stage::default();
    let group = group(vec![record("r", "x")]);
    stage.answer("x", &[(&[("a", "1")], 5.0)]);
    *lock(&stage.taken.1) = Some(RefusalKind::OutOfOrder);
    let evaluation = group.evaluate(M, &stage.world());
    assert_eq!(group.rules()[0].status().health, Health::Err);
    assert_eq!(evaluation.remarks[0].detail, "num_dropped=1");
    // What was never stored is not marked when it goes.
    stage.stored();
    *lock(&stage.taken.1) = None;
    stage.answer("x", &[]);
    group.evaluate(2 * M, &stage.world());
    assert_eq!(stage.stored(), Vec::<String>::new());
}

#[test]
fn a_reload_keeps_alerts_and_ends_removed_series() {
    let stage = Stage::default();
    let old = group(vec![record("r", "x"), alert("A", "y", 600)]);
    stage.answer("x", &[(&[], 5.0)]);
    stage.answer("y", &[(&[("a", "1")], 5.0)]);
    stage.answer("y + 0", &[(&[("a", "1")], 5.0)]);
    old.evaluate(M, &stage.world());
    stage.stored();
    let mut new = group(vec![alert("A", "y + 0", 60)]);
    assert!(!new.is_same(&old));
    assert!(old.is_same(&group(vec![record("r", "x"), alert("A", "y", 600)])));
    new.take_over(&old);
    new.evaluate(2 * M, &stage.world());
    assert_eq!(
        stage.stored(),
        [
            "{__name__=\"ALERTS\", a=\"1\", alertname=\"A\", alertstate=\"firing\"} 1 @120000",
            "{__name__=\"ALERTS\", a=\"1\", alertname=\"A\", alertstate=\"pending\"} stale @120000",
            "{__name__=\"ALERTS_FOR_STATE\", a=\"1\", alertname=\"A\"} 60 @120000",
            "{__name__=\"r\"} stale @120000",
        ]
    );
    assert_eq!(new.rules()[0].active_alerts()[0].active_at_ns, M);
    new.end(3 * M, &stage.world());
    assert_eq!(stage.stored().len(), 2);
}

fn restore_with(spent_s: i64, down_s: i64, hold_s: i64) -> i64 {
    // Down since 1000 s; there for `spent` until then; back after `down`.
    let stage = Stage::default();
    let group = restorable(vec![alert("A", "y", hold_s)], false);
    let now = (1000 + down_s) * S;
    stage.answer("y", &[(&[("a", "1")], 5.0)]);
    group.evaluate(now - M, &stage.world());
    assert!(stage.stored().is_empty(), "nothing is written before");
    let labels: &[(&str, &str)] = &[("a", "1"), ("alertname", "A")];
    let selector = "ALERTS_FOR_STATE{alertname=\"A\"}";
    stage.answer(selector, &[(labels, (1000 - spent_s) as f64)]);
    stage.answer(&format!("timestamp({selector})"), &[(labels, 1000.0)]);
    let options = RestoreOptions {
        outage_tolerance_ns: 60 * M,
        grace_period_ns: 10 * M,
    };
    assert!(group.restore(now, options, &stage.world()).is_empty());
    group.evaluate(now, &stage.world());
    assert_eq!(stage.stored().len(), 2);
    group.rules()[0].active_alerts()[0].active_at_ns / S
}

#[test]
fn alerts_are_restored_within_tolerance_and_grace() {
    // Half an hour of an hour had passed: the outage does not count.
    assert_eq!(restore_with(1800, 600, 3600), 1000 - 1800 + 600);
    // It was firing.
    assert_eq!(restore_with(3700, 600, 3600), 1000 - 3700);
    // A minute was left: the grace period it is.
    assert_eq!(restore_with(3540, 600, 3600), 1600 + 600 - 3600);
    // A rule with a short `for` just waits again.
    assert_eq!(restore_with(100, 600, 300), 1600 - 60);
}

#[test]
fn what_is_wrong_with_a_file_is_found() {
    let place = |line, column| crate::file::Place { line, column };
    let at = |text: &str, line| Located {
        text: text.to_owned(),
        place: place(line, 9),
    };
    let faults = |rule: RuleSpec| {
        let group = GroupSpec {
            place: place(2, 5),
            name: "g".to_owned(),
            rules: vec![rule],
            ..GroupSpec::default()
        };
        let file = RuleFile {
            groups: vec![group],
        };
        check(&file, &ParserOptions::default(), Default::default())
    };
    let rule = |record: &str, alert: &str, expr: &str| RuleSpec {
        record: at(record, 4),
        alert: at(alert, 5),
        expr: at(expr, 6),
        ..RuleSpec::default()
    };
    assert!(faults(rule("r", "", "up")).is_empty());
    assert_eq!(
        faults(rule("r", "A", "up")),
        ["4:9: 5:9: group \"g\", rule 1, \"A\": only one of 'record' and 'alert' must be set"]
    );
    assert_eq!(
        faults(rule("r{}", "", "sum(")),
        [
            "6:9: group \"g\", rule 1, \"r{}\": could not parse expression: 1:5: parse error: unclosed left parenthesis",
            "4:9: group \"g\", rule 1, \"r{}\": braces present in the recording rule name; should it be in expr?: r{}"
        ]
    );
    assert_eq!(
        faults(RuleSpec {
            for_ms: 1,
            ..rule("r", "", "")
        }),
        [
            "6:9: group \"g\", rule 1, \"r\": field 'expr' must be set in rule",
            "4:9: group \"g\", rule 1, \"r\": invalid field 'for' in recording rule"
        ]
    );
    let mut templated = rule("", "A", "up");
    templated
        .annotations
        .insert("s".to_owned(), "{{ nope }}".to_owned());
    assert_eq!(
        faults(templated),
        [
            "group \"g\", rule 1, \"A\": annotation \"s\": template: __alert_A:1: function \"nope\" not defined"
        ]
    );
}
