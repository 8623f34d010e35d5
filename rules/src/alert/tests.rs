//! The life of an alert under a clock of our own: every transition, with times around the borders.

use super::*;

const S: i64 = 1_000_000_000;
const M: i64 = 60 * S;

fn rule(hold: i64, keep: i64) -> AlertRule<'static> {
    AlertRule {
        name: "A",
        labels: &[],
        hold_ns: hold,
        keep_firing_ns: keep,
        limit: 0,
    }
}

fn labels(instance: &str) -> Labels {
    Labels::from_pairs([("alertname", "A"), ("instance", instance)]).unwrap()
}

fn answer(instances: &[(&str, f64)]) -> BTreeMap<Labels, Candidate> {
    let candidate = |(instance, value): &(&str, f64)| {
        let labels = labels(instance);
        let candidate = Candidate {
            labels: labels.clone(),
            annotations: vec![("value".to_owned(), value.to_string())],
            value: *value,
        };
        (labels, candidate)
    };
    instances.iter().map(candidate).collect()
}

/// Evaluates at these times, the alert being there at those marked; gives the state after each.
fn states(rule: AlertRule<'_>, steps: &[(i64, bool)]) -> Vec<Option<AlertState>> {
    let mut alerts = Alerts::default();
    let one = |(at, there): &(i64, bool)| {
        let there: &[(&str, f64)] = if *there { &[("x", 1.0)] } else { &[] };
        alerts.evaluate(rule, answer(there), *at).unwrap();
        alerts.0.get(&labels("x")).map(|a| a.state)
    };
    steps.iter().map(one).collect()
}

use AlertState::{Firing, Inactive, Pending};

#[test]
fn it_fires_at_once_without_for() {
    assert_eq!(states(rule(0, 0), &[(0, true)]), [Some(Firing)]);
}

#[test]
fn it_fires_when_it_has_been_there_long_enough() {
    let steps = [(0, true), (5 * M - 1, true), (5 * M, true)];
    assert_eq!(
        states(rule(5 * M, 0), &steps),
        [Some(Pending), Some(Pending), Some(Firing)]
    );
    // A gap begins the time anew, and a pending alert leaves nothing behind.
    let steps = [(0, true), (4 * M, false), (5 * M, true), (9 * M, true)];
    assert_eq!(
        states(rule(5 * M, 0), &steps),
        [Some(Pending), None, Some(Pending), Some(Pending)]
    );
}

#[test]
fn resolved_alerts_are_remembered_for_a_quarter_of_an_hour() {
    let steps = [(0, true), (M, false), (16 * M, false), (16 * M + 1, false)];
    assert_eq!(
        states(rule(0, 0), &steps),
        [Some(Firing), Some(Inactive), Some(Inactive), None]
    );
    // When it comes back it is a new alert.
    let mut alerts = Alerts::default();
    let here = [("x", 1.0)];
    for (at, there) in [(0, true), (M, false), (2 * M, true)] {
        let there: &[_] = if there { &here } else { &[] };
        alerts.evaluate(rule(0, 0), answer(there), at).unwrap();
    }
    let alert = &alerts.0[&labels("x")];
    assert_eq!(alert.active_at_ns, 2 * M);
    assert_eq!(alert.resolved_at_ns, None);
}

#[test]
fn keep_firing_for_holds_it() {
    let steps = [
        (0, true),
        (M, false),
        (3 * M, false),
        (4 * M, true),
        (5 * M, false),
        (7 * M, false),
        (8 * M, false),
    ];
    let all = [Firing, Firing, Firing, Firing, Firing, Firing, Inactive];
    assert_eq!(states(rule(0, 3 * M), &steps), all.map(Some));
    // A pending alert is not held.
    let steps = [(0, true), (M, false)];
    assert_eq!(states(rule(5 * M, 3 * M), &steps), [Some(Pending), None]);
}

#[test]
fn a_longer_for_makes_it_wait_again() {
    let mut alerts = Alerts::default();
    let there = [("x", 1.0)];
    alerts.evaluate(rule(0, 0), answer(&there), 0).unwrap();
    alerts.evaluate(rule(5 * M, 0), answer(&there), M).unwrap();
    assert_eq!(alerts.state(), Pending);
    alerts
        .evaluate(rule(5 * M, 0), answer(&there), 5 * M)
        .unwrap();
    assert_eq!(alerts.state(), Firing);
}

#[test]
fn it_is_told_when_it_changes_and_again_after_the_delay() {
    let mut alerts = Alerts::default();
    let there = [("x", 1.0)];
    let mut sent = |at: i64, instances: &[(&str, f64)]| {
        alerts.evaluate(rule(M, 0), answer(instances), at).unwrap();
        let sent = alerts.take_due(at, M, 30 * S);
        sent.into_iter()
            .map(|a| (a.state, a.valid_until_ns))
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(0, &there), []);
    assert_eq!(sent(M, &there), [(Firing, Some(5 * M))]);
    assert_eq!(sent(M + 30 * S, &there), []);
    // The delay must have passed, not only be reached.
    assert_eq!(sent(2 * M, &there), []);
    assert_eq!(
        sent(2 * M + 30 * S, &there),
        [(Firing, Some(6 * M + 30 * S))]
    );
    assert_eq!(sent(3 * M, &[]), [(Inactive, Some(7 * M))]);
    assert_eq!(sent(3 * M + 30 * S, &[]), []);
    assert_eq!(sent(5 * M, &[]), [(Inactive, Some(9 * M))]);
}

#[test]
fn values_and_annotations_follow_the_answer() {
    let mut alerts = Alerts::default();
    alerts
        .evaluate(rule(M, 0), answer(&[("x", 1.0)]), 0)
        .unwrap();
    alerts
        .evaluate(rule(M, 0), answer(&[("x", 2.0)]), S)
        .unwrap();
    let alert = &alerts.0[&labels("x")];
    assert_eq!((alert.value, alert.active_at_ns), (2.0, 0));
    assert_eq!(alert.annotations[0].1, "2");
}

#[test]
fn beyond_the_limit_all_are_gone() {
    let mut alerts = Alerts::default();
    let limited = AlertRule {
        limit: 1,
        ..rule(0, 0)
    };
    alerts.evaluate(limited, answer(&[("x", 1.0)]), 0).unwrap();
    let error = alerts
        .evaluate(limited, answer(&[("x", 1.0), ("y", 1.0)]), S)
        .unwrap_err();
    assert_eq!(error, "exceeded limit of 1 with 2 alerts");
    assert!(alerts.0.is_empty());
}

#[test]
fn the_two_series() {
    let own = [("severity".to_owned(), "{{ $value }}".to_owned())];
    let rule = AlertRule {
        labels: &own,
        ..rule(M, 0)
    };
    let mut alerts = Alerts::default();
    let there = alerts
        .evaluate(rule, answer(&[("x", 1.0)]), 90 * S + 5)
        .unwrap();
    let [alerts, since] = samples(rule, &there[0], 90_000);
    assert_eq!(
        alerts.labels.to_string(),
        "{__name__=\"ALERTS\", alertname=\"A\", alertstate=\"pending\", instance=\"x\", severity=\"{{ $value }}\"}"
    );
    assert_eq!(alerts.value, Value::Float(1.0));
    assert_eq!(since.labels.metric_name(), Some("ALERTS_FOR_STATE"));
    assert_eq!(since.value, Value::Float(90.0));
}
