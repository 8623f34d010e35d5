//! One group of tests: rules evaluated from the start to the last time that a test asks for, alerts compared on the way, expressions at the end.

use super::schema::{ExpectedSample, ExprTest, TestFile, TestGroup};
use super::store::{Local, NoTime, series};
use super::text::{AlertText, alerts_text, exponent_text, label_text};
use crate::config::format_duration_ms;
use ::rules::alert::{ALERT_NAME, AlertState};
use ::rules::file::Names;
use ::rules::group::Group;
use ::rules::rule::Rule;
use ::rules::schedule::NS_PER_MS;
use ::rules::source::{Element, External, Query, Source, Value, World};
use ::rules::template::go_duration;
use query_engine::eval::text::go_quote;
use query_engine::histogram::go_text;
use query_engine::parse::ParserOptions;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use storage_engine::model::Labels;

const MINUTE_MS: i64 = 60_000;

/// Runs one group; everything that was not as expected.
pub(super) fn run(
    file: &TestFile,
    tests: &TestGroup,
    rule_files: &[PathBuf],
    parser: &ParserOptions,
) -> Vec<String> {
    let or = |given: i64, default: i64| if given == 0 { default } else { given };
    let step_ms = or(file.evaluation_interval.0, MINUTE_MS);
    let interval_ms = or(tests.interval.0, step_ms);
    match prepare(tests, rule_files, parser, (step_ms, interval_ms)) {
        Ok((local, groups)) => Suite {
            tests,
            fuzzy: file.fuzzy_compare,
            step_ms,
            start_ms: tests.start_timestamp.0,
            groups: in_order(groups, &file.group_eval_order),
            local: Arc::new(local),
            faults: Vec::new(),
        }
        .run(),
        Err(faults) => faults,
    }
}

fn prepare(
    tests: &TestGroup,
    rule_files: &[PathBuf],
    parser: &ParserOptions,
    (step_ms, interval_ms): (i64, i64),
) -> Result<(Local, Vec<Group>), Vec<String>> {
    let one = |fault: String| vec![fault];
    let local = Local::new(step_ms, parser).map_err(one)?;
    let lines = tests.input_series.iter();
    let lines = lines.map(|s| (s.series.as_str(), s.values.as_str()));
    let series = series(&format_duration_ms(interval_ms), lines).map_err(one)?;
    local.load(series, tests.start_timestamp.0).map_err(one)?;
    let loaded = crate::rules::load(rule_files, parser, Names::Utf8)?;
    let mut groups = Vec::new();
    for (file, spec) in loaded.groups() {
        groups.push(Group::new(spec, file, interval_ms, parser, true).map_err(one)?);
    }
    for test in &tests.alert_rule_test {
        if test.alertname.is_empty() {
            let group = match tests.name.as_str() {
                "" => String::new(),
                name => format!(" (in TestGroup {name})"),
            };
            return Err(one(format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time {}{group}",
                test.eval_time
            )));
        }
    }
    Ok((local, groups))
}

/// Those that `group_eval_order` names go by it; all others are first.
fn in_order(mut groups: Vec<Group>, order: &[String]) -> Vec<Group> {
    groups.sort_by_key(|group| {
        order
            .iter()
            .position(|name| name == group.name())
            .unwrap_or(0)
    });
    groups
}

struct Suite<'a> {
    tests: &'a TestGroup,
    fuzzy: bool,
    step_ms: i64,
    start_ms: i64,
    groups: Vec<Group>,
    local: Arc<Local>,
    faults: Vec<String>,
}

/// A sample of an answer or an expectation.
struct Sample {
    labels: Labels,
    value: Value,
}

impl Suite<'_> {
    fn run(mut self) -> Vec<String> {
        let mut times: Vec<i64> = self
            .tests
            .alert_rule_test
            .iter()
            .map(|t| t.eval_time.0)
            .collect();
        times.sort_unstable();
        times.dedup();
        let of_exprs = self.tests.promql_expr_test.iter().map(|t| t.eval_time.0);
        let last = of_exprs.chain(times.iter().copied()).max().unwrap_or(0);
        let external = Arc::new(External {
            labels: self.tests.external_labels.0.clone().into_iter().collect(),
            url: self.tests.external_url.clone(),
        });
        let local = Arc::clone(&self.local);
        let world = World {
            source: Arc::clone(&self.local) as Arc<dyn Source>,
            store: &*local,
            notify: &*local,
            clock: &NoTime,
            external,
            resend_delay_ns: 0,
            query_offset_ms: 0,
        };
        let mut elapsed = 0;
        while elapsed <= last {
            if !self.evaluate(elapsed, &world) {
                return self.faults;
            }
            let due = times
                .iter()
                .filter(|t| (elapsed..elapsed + self.step_ms).contains(*t));
            for time in due.copied().collect::<Vec<_>>() {
                self.compare_alerts(time);
            }
            elapsed += self.step_ms;
        }
        for test in &self.tests.promql_expr_test {
            if let Err(fault) = self.compare_samples(test) {
                self.faults.push(fault);
            }
        }
        self.faults
    }

    /// Evaluates all groups; false when a rule failed.
    fn evaluate(&mut self, elapsed_ms: i64, world: &World<'_>) -> bool {
        let at_ms = self.start_ms + elapsed_ms;
        let mut sound = true;
        for group in &self.groups {
            group.evaluate(at_ms * NS_PER_MS, world);
            for rule in group.rules() {
                if let Some(error) = rule.status().last_error {
                    sound = false;
                    self.faults.push(format!(
                        "    rule: {}, time: {}, err: {error}",
                        rule.name(),
                        go_duration(at_ms * NS_PER_MS)
                    ));
                }
            }
        }
        sound
    }

    fn firing(&self, name: &str) -> Vec<AlertText> {
        let rules = self.groups.iter().flat_map(|group| group.rules());
        let named = rules.filter(|rule| rule.is_alerting() && rule.name() == name);
        let mut out: Vec<AlertText> = named
            .flat_map(Rule::active_alerts)
            .filter(|alert| alert.state == AlertState::Firing)
            .map(|alert| AlertText {
                labels: map(alert.labels.iter()),
                annotations: alert.annotations.into_iter().collect(),
            })
            .collect();
        out.sort();
        out
    }

    fn compare_alerts(&mut self, time: i64) {
        for test in &self.tests.alert_rule_test {
            if test.eval_time.0 != time {
                continue;
            }
            let expected = test.exp_alerts.iter().map(|alert| {
                let mut labels = alert.exp_labels.0.clone();
                labels.insert(ALERT_NAME.to_owned(), test.alertname.clone());
                AlertText {
                    labels,
                    annotations: alert.exp_annotations.0.clone(),
                }
            });
            let mut expected: Vec<AlertText> = expected.collect();
            expected.sort();
            let got = self.firing(&test.alertname);
            if expected != got {
                let name = match self.tests.name.as_str() {
                    "" => String::new(),
                    name => format!("    name: {name},\n"),
                };
                let by = " ".repeat(12);
                self.faults.push(format!(
                    "{name}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
                    test.alertname,
                    test.eval_time,
                    alerts_text(&expected, &by),
                    alerts_text(&got, &by)
                ));
            }
        }
    }

    fn compare_samples(&self, test: &ExprTest) -> Result<(), String> {
        let failed = |error: String| {
            let expr = go_quote(test.expr.as_bytes());
            format!("    expr: {expr}, time: {}, err: {error}", test.eval_time)
        };
        let query = Query {
            text: &test.expr,
            expr: None,
            at_ms: self.start_ms + test.eval_time.0,
            lookback_ms: None,
        };
        let answer = self
            .local
            .query(query)
            .map_err(|fault| failed(fault.to_string()))?;
        let of = |element: Element| Sample {
            labels: element.labels,
            value: element.value,
        };
        let mut got: Vec<Sample> = answer.into_iter().map(of).collect();
        let mut expected = Vec::new();
        for sample in &test.exp_samples {
            expected.push(expectation(sample).map_err(|error| {
                let labels = go_quote(sample.labels.as_bytes());
                failed(format!("labels {labels}: {error}"))
            })?);
        }
        expected.sort_by(|a, b| a.labels.cmp(&b.labels));
        got.sort_by(|a, b| a.labels.cmp(&b.labels));
        let same = expected.len() == got.len()
            && expected.iter().zip(&got).all(|(a, b)| self.is_equal(a, b));
        match same {
            true => Ok(()),
            false => Err(format!(
                "    expr: {}, time: {},\n        exp: {}\n        got: {}",
                go_quote(test.expr.as_bytes()),
                test.eval_time,
                samples_text(&expected),
                samples_text(&got)
            )),
        }
    }

    fn is_equal(&self, a: &Sample, b: &Sample) -> bool {
        let values = match (&a.value, &b.value) {
            (Value::Float(a), Value::Float(b)) => {
                a == b || self.fuzzy && (a.next_up() == *b || a.next_down() == *b)
            }
            (Value::Histogram(a), Value::Histogram(b)) => go_text(a) == go_text(b),
            _ => false,
        };
        a.labels == b.labels && values
    }
}

fn map<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// An expected sample; labels and histogram are written as in a series.
fn expectation(sample: &ExpectedSample) -> Result<Sample, String> {
    let point = match sample.histogram.as_str() {
        "" => "0",
        histogram => histogram,
    };
    let labels = match sample.labels.trim() {
        "" => "{}",
        labels => labels,
    };
    let loaded = series("1s", [(labels, point)])?;
    let one = loaded.into_iter().next().ok_or("expected 1 value, got 0")?;
    let value = match one.histograms.into_iter().next() {
        Some((_, histogram)) => Value::Histogram(histogram),
        None if sample.histogram.is_empty() => Value::Float(sample.value.0),
        None => return Err(format!("expected histogram, got {:?}", sample.histogram)),
    };
    Ok(Sample {
        labels: one.labels,
        value,
    })
}

fn samples_text(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let texts: Vec<String> = samples
        .iter()
        .map(|sample| {
            let labels = label_text(sample.labels.iter());
            match &sample.value {
                Value::Float(value) => format!("{labels} {}", exponent_text(*value)),
                Value::Histogram(histogram) => format!("{labels} {}", go_text(histogram)),
            }
        })
        .collect();
    texts.join(", ")
}
