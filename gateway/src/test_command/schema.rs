//! Prometheus's unit-test files for rules, as they are written.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's unit-test files"
)]

use crate::api::params::parse_time;
use crate::config::field::{Field, LabelSet, Ms, section};
use crate::config::schema::rules::Texts;
use crate::config::yaml::{self, Node, Out, Problem};

section! {
    Series as "main.series" {
        series: String = String::new(), always;
        values: String = String::new(), always;
    }
}

section! {
    ExpectedAlert as "main.alert" {
        exp_labels: Texts = Texts::default(), filled;
        exp_annotations: Texts = Texts::default(), filled;
    }
}

section! {
    AlertTest as "main.alertTestCase" {
        eval_time: Ms = Ms(0), always;
        alertname: String = String::new(), always;
        exp_alerts: Vec<ExpectedAlert> = Vec::new(), filled;
    }
}

section! {
    ExpectedSample as "main.sample" {
        labels: String = String::new(), always;
        value: Number = Number(0.0), filled;
        histogram: String = String::new(), filled;
    }
}

section! {
    ExprTest as "main.promqlTestCase" {
        expr: String = String::new(), always;
        eval_time: Ms = Ms(0), always;
        exp_samples: Vec<ExpectedSample> = Vec::new(), filled;
    }
}

section! {
    TestGroup as "main.testGroup" {
        interval: Ms = Ms(0), filled;
        input_series: Vec<Series> = Vec::new(), filled;
        alert_rule_test: Vec<AlertTest> = Vec::new(), filled;
        promql_expr_test: Vec<ExprTest> = Vec::new(), filled;
        external_labels: LabelSet = LabelSet::default(), filled;
        external_url: String = String::new(), filled;
        name: String = String::new(), filled;
        start_timestamp: Moment = Moment(0), filled;
    }
}

section! {
    TestFile as "main.unitTestFile" {
        rule_files: Vec<String> = Vec::new(), always;
        evaluation_interval: Ms = Ms(0), filled;
        group_eval_order: Vec<String> = Vec::new(), filled;
        tests: Vec<TestGroup> = Vec::new(), always;
        fuzzy_compare: bool = false, filled;
    }
}

/// A number as YAML and Go write them: `.inf`, `NaN` and `1e3` too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Field for Number {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let text = String::decode(node)?;
        let value = match text.to_ascii_lowercase().as_str() {
            ".inf" | "+.inf" => Some(f64::INFINITY),
            "-.inf" => Some(f64::NEG_INFINITY),
            ".nan" => Some(f64::NAN),
            text => text.replace('_', "").parse().ok(),
        };
        value.map(Number).ok_or_else(|| node.refuse("float64"))
    }
    fn encode(&self) -> Out {
        Out::Bare(self.0.to_string())
    }
    fn is_empty(&self) -> bool {
        self.0 == 0.0
    }
}

/// A time as RFC 3339 or seconds; milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment(pub i64);

impl Field for Moment {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let text = String::decode(node)?;
        let time = parse_time(&text).map_err(|reason| Problem::new(node.place, reason))?;
        Ok(Moment(time))
    }
    fn encode(&self) -> Out {
        Out::Bare((self.0 / 1000).to_string())
    }
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// Reads a test file.
pub fn read(text: &str) -> Result<TestFile, Problem> {
    TestFile::decode(&yaml::parse(text)?)
}
