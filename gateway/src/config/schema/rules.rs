//! Rule files: YAML into the plain data of `rules::file`.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's rule files"
)]

use crate::config::field::{Field, LabelSet, Ms, section};
use crate::config::yaml::{self, Node, Out, Problem};
use rules::file::{GroupSpec, Located, Place, RuleFile, RuleSpec};

/// A text that knows where it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocatedText(pub Located);

impl Field for LocatedText {
    fn decode(node: &Node) -> Result<Self, Problem> {
        Ok(LocatedText(Located {
            text: String::decode(node)?,
            place: place(node.place),
        }))
    }
    fn encode(&self) -> Out {
        Out::Text(self.0.text.clone())
    }
    fn is_empty(&self) -> bool {
        self.0.text.is_empty()
    }
}

/// Labels and annotations, whose names are checked with the rest of the rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Texts(pub std::collections::BTreeMap<String, String>);

impl Field for Texts {
    fn decode(node: &Node) -> Result<Self, Problem> {
        std::collections::BTreeMap::<String, String>::decode(node).map(Texts)
    }
    fn encode(&self) -> Out {
        LabelSet(self.0.clone()).encode()
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

section! {
    /// One rule.
    Rule as "rulefmt.Rule" {
        record: LocatedText = LocatedText::default(), filled;
        alert: LocatedText = LocatedText::default(), filled;
        expr: LocatedText = LocatedText::default(), always;
        for_ ["for"]: Ms = Ms(0), filled;
        keep_firing_for: Ms = Ms(0), filled;
        labels: Texts = Texts::default(), filled;
        annotations: Texts = Texts::default(), filled;
    }
}

section! {
    /// Rules that are evaluated together.
    Group as "rulefmt.RuleGroup" {
        name: String = String::new(), always;
        interval: Ms = Ms(0), filled;
        query_offset: Option<Ms> = None, filled;
        limit: i64 = 0, filled;
        rules: Vec<Rule> = Vec::new(), always;
        labels: Texts = Texts::default(), filled;
    }
}

section! {
    /// A whole file.
    Groups as "rulefmt.RuleGroups" {
        groups: Vec<Group> = Vec::new(), always;
    }
}

fn place(place: yaml::Place) -> Place {
    Place {
        line: place.line,
        column: place.column,
    }
}

/// Reads the text of a rule file; names, expressions and templates are not checked.
pub fn read(text: &str) -> Result<RuleFile, Problem> {
    let root = yaml::parse(text)?;
    let file = Groups::decode(&root)?;
    let list = root.get("groups").unwrap_or(&root);
    let groups = file.groups.into_iter().enumerate();
    Ok(RuleFile {
        groups: groups
            .map(|(i, group)| plain(group, list.item(i).unwrap_or(list)))
            .collect(),
    })
}

fn plain(group: Group, node: &Node) -> GroupSpec {
    let rule = |rule: Rule| RuleSpec {
        record: rule.record.0,
        alert: rule.alert.0,
        expr: rule.expr.0,
        for_ms: rule.for_.0,
        keep_firing_for_ms: rule.keep_firing_for.0,
        labels: rule.labels.0,
        annotations: rule.annotations.0,
    };
    GroupSpec {
        place: place(node.place),
        name: group.name,
        interval_ms: group.interval.0,
        query_offset_ms: group.query_offset.map(|offset| offset.0),
        limit: group.limit,
        labels: group.labels.0,
        rules: group.rules.into_iter().map(rule).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
groups:
  - name: one
    interval: 30s
    query_offset: 5s
    limit: 7
    labels: {team: a}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 1m
        labels: {severity: page}
        annotations: {summary: '{{ $labels.job }}'}
";

    #[test]
    fn every_field_arrives_with_its_place() {
        let file = read(FILE).unwrap();
        let group = &file.groups[0];
        assert_eq!(
            (group.interval_ms, group.query_offset_ms),
            (30_000, Some(5_000))
        );
        assert_eq!((group.limit, group.labels["team"].as_str()), (7, "a"));
        assert_eq!(group.place, Place { line: 2, column: 5 });
        let alert = &group.rules[1];
        assert_eq!(alert.alert.text, "Down");
        assert_eq!(
            alert.expr.place,
            Place {
                line: 11,
                column: 15
            }
        );
        assert_eq!((alert.for_ms, alert.keep_firing_for_ms), (300_000, 60_000));
        assert_eq!(alert.annotations["summary"], "{{ $labels.job }}");
        assert_eq!(alert.record.place, Place::default());
        assert!(read("").unwrap().groups.is_empty());
    }

    #[test]
    fn unknown_fields_are_refused_at_their_key() {
        let problem = read(&FILE.replace("for: 5m", "fro: 5m")).unwrap_err();
        assert_eq!(problem.reason, "field fro not found in type rulefmt.Rule");
        assert_eq!((problem.place.line, problem.place.column), (12, 9));
        let problem = read(&FILE.replace("5m", "5x")).unwrap_err();
        assert_eq!(problem.reason, "unknown unit \"x\" in duration \"5x\"");
    }
}
