//! A rule file as plain data, and everything that Prometheus checks about it.
//!
//! Promise: [`check`] finds what Prometheus refuses, in its words and in its order. Not here: YAML (the gateway reads it into these).

use crate::template::Template;
use query_engine::parse::{ParserOptions, parse};
use std::collections::BTreeMap;

/// A place in the file, both counted from 1; 0:0 for what is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A text and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// The text, empty when it is not there.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleFile {
    /// Its groups.
    pub groups: Vec<GroupSpec>,
}

/// Rules that are evaluated together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupSpec {
    /// Where it begins.
    pub place: Place,
    /// Unique in the file.
    pub name: String,
    /// Milliseconds; 0 for `global.evaluation_interval`.
    pub interval_ms: i64,
    /// Milliseconds; none for `global.rule_query_offset`.
    pub query_offset_ms: Option<i64>,
    /// Most series or alerts that one rule may yield; 0 or less for no limit.
    pub limit: i64,
    /// Labels of all its rules; a rule's own label wins.
    pub labels: BTreeMap<String, String>,
    /// The rules in order.
    pub rules: Vec<RuleSpec>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSpec {
    /// The metric that it writes.
    pub record: Located,
    /// The alert that it raises.
    pub alert: Located,
    /// PromQL.
    pub expr: Located,
    /// How long before it fires, milliseconds.
    pub for_ms: i64,
    /// How long it goes on firing, milliseconds.
    pub keep_firing_for_ms: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl RuleSpec {
    /// The alert's name, or the metric's.
    pub fn name(&self) -> &str {
        match self.alert.text.is_empty() {
            true => &self.record.text,
            false => &self.alert.text,
        }
    }
}

/// Which names are valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// Any text.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`; no colon in labels.
    Legacy,
}

impl Names {
    fn is_label(self, name: &str) -> bool {
        !name.is_empty() && (self == Names::Utf8 || is_legacy(name, false))
    }

    fn is_metric(self, name: &str) -> bool {
        !name.is_empty() && (self == Names::Utf8 || is_legacy(name, true))
    }
}

fn is_legacy(name: &str, colon: bool) -> bool {
    let ordinary = |b: u8| b == b'_' || b.is_ascii_alphabetic() || colon && b == b':';
    name.bytes()
        .enumerate()
        .all(|(i, b)| ordinary(b) || i > 0 && b.is_ascii_digit())
}

/// Everything that is wrong with a file, each as `line:column: …` where there is a place.
pub fn check(file: &RuleFile, parser: &ParserOptions, names: Names) -> Vec<String> {
    let mut faults = Vec::new();
    for (i, group) in file.groups.iter().enumerate() {
        let place = group.place;
        if group.name.is_empty() {
            faults.push(format!("{place}: Groupname must not be empty"));
        }
        if file.groups.iter().take(i).any(|g| g.name == group.name) {
            let name = &group.name;
            faults.push(format!(
                "{place}: groupname: \"{name}\" is repeated in the same file"
            ));
        }
        for name in group.labels.keys() {
            if !names.is_label(name) || name == "__name__" {
                faults.push(format!("invalid label name: {name}"));
            }
        }
        for (k, rule) in group.rules.iter().enumerate() {
            for (place, text) in check_rule(rule, parser, names) {
                let place = place.map_or_else(String::new, |place| format!("{place}: "));
                faults.push(format!(
                    "{place}group {:?}, rule {}, {:?}: {text}",
                    group.name,
                    k + 1,
                    rule.name()
                ));
            }
        }
    }
    faults
}

fn check_rule(
    rule: &RuleSpec,
    parser: &ParserOptions,
    names: Names,
) -> Vec<(Option<String>, String)> {
    let mut faults: Vec<(Option<String>, String)> = Vec::new();
    let mut at = |place: Place, text: String| faults.push((Some(place.to_string()), text));
    let (record, alert) = (&rule.record, &rule.alert);
    let both = format!("{}: {}", record.place, alert.place);
    let is_recording = !record.text.is_empty();
    if let Err(error) = parse(&rule.expr.text, parser)
        && !rule.expr.text.is_empty()
    {
        at(
            rule.expr.place,
            format!("could not parse expression: {error}"),
        );
    }
    if rule.expr.text.is_empty() {
        at(
            rule.expr.place,
            "field 'expr' must be set in rule".to_owned(),
        );
    }
    if is_recording {
        for (wrong, field) in [
            (!rule.annotations.is_empty(), "annotations"),
            (rule.for_ms != 0, "for"),
            (rule.keep_firing_for_ms != 0, "keep_firing_for"),
        ] {
            if wrong {
                at(
                    record.place,
                    format!("invalid field '{field}' in recording rule"),
                );
            }
        }
        if !names.is_metric(&record.text) {
            at(
                record.place,
                format!("invalid recording rule name: {}", record.text),
            );
        }
        if record.text.contains(['{', '}']) {
            at(
                record.place,
                format!(
                    "braces present in the recording rule name; should it be in expr?: {}",
                    record.text
                ),
            );
        }
    }
    for name in rule.labels.keys() {
        if !names.is_label(name) || name == "__name__" {
            faults.push((None, format!("invalid label name: {name}")));
        }
    }
    for name in rule.annotations.keys() {
        if !names.is_label(name) {
            faults.push((None, format!("invalid annotation name: {name}")));
        }
    }
    if !alert.text.is_empty() {
        for (what, texts) in [("label", &rule.labels), ("annotation", &rule.annotations)] {
            for (name, text) in texts {
                if let Err(error) = Template::new(&alert.text, text) {
                    faults.push((None, format!("{what} {name:?}: {error}")));
                }
            }
        }
    }
    let which = match (is_recording, alert.text.is_empty()) {
        (true, false) => Some("only one of 'record' and 'alert' must be set"),
        (false, true) => Some("one of 'record' or 'alert' must be set"),
        _ => None,
    };
    if let Some(text) = which {
        faults.insert(0, (Some(both), text.to_owned()));
    }
    faults
}
