//! `relabel_configs` and their siblings.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use crate::config::field::{Field, LabelName, section};
use crate::config::yaml::{Node, Out, Problem, Value};
use ingest::relabel::{Action, Rule, RuleConfig};
use ingest::scrape::config::NameValidation;

section! {
    /// One rule as written.
    RuleFields as "relabel.plain" {
        source_labels: Vec<LabelName> = Vec::new(), filled;
        separator: String = ";".to_owned(), always;
        target_label: String = String::new(), filled;
        regex: String = "(.*)".to_owned(), always;
        modulus: u64 = 0, filled;
        replacement: String = "$1".to_owned(), always;
        action: String = "replace".to_owned(), always;
    }
}

/// One rule, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Relabel(pub Rule);

impl Field for Relabel {
    fn decode(node: &Node) -> Result<Self, Problem> {
        if node.is_null() {
            return Err(Problem::new(node.place, "empty or null relabeling rule"));
        }
        let fields = RuleFields::decode(node)?;
        let at = |key: &str, reason: String| Problem::new(node.place_of(key), reason);
        let action = Action::from_name(&fields.action).map_err(|e| at("action", e.to_string()))?;
        let rule = RuleConfig {
            source_labels: fields.source_labels.into_iter().map(|n| n.0).collect(),
            separator: fields.separator,
            regex: fields.regex,
            modulus: fields.modulus,
            target_label: fields.target_label,
            replacement: fields.replacement,
            action,
        };
        Rule::new(rule, NameValidation::Utf8)
            .map(Relabel)
            .map_err(|error| {
                let text = error.to_string();
                let key = [
                    "regex",
                    "target_label",
                    "replacement",
                    "modulus",
                    "source_labels",
                ]
                .into_iter()
                .find(|k| text.contains(k) && node.get(k).is_some());
                let key = match &error {
                    ingest::relabel::RuleError::Regex(_) => Some("regex"),
                    _ => key,
                };
                Problem::new(key.map_or(node.place, |k| node.place_of(k)), text)
            })
    }

    fn encode(&self) -> Out {
        let rule = self.0.config();
        let defaults = RuleConfig::default();
        let mut out = Vec::new();
        if !rule.source_labels.is_empty() {
            out.push(("source_labels".to_owned(), flow_list(&rule.source_labels)));
        }
        let text = |t: &str| Out::Text(t.to_owned());
        // Prometheus leaves out what is empty, and a regular expression that is the default one.
        if !rule.separator.is_empty() {
            out.push(("separator".to_owned(), text(&rule.separator)));
        }
        if rule.regex != defaults.regex {
            out.push(("regex".to_owned(), text(&rule.regex)));
        }
        if rule.modulus != 0 {
            out.push(("modulus".to_owned(), rule.modulus.encode()));
        }
        if !rule.target_label.is_empty() {
            out.push(("target_label".to_owned(), text(&rule.target_label)));
        }
        if !rule.replacement.is_empty() {
            out.push(("replacement".to_owned(), text(&rule.replacement)));
        }
        out.push(("action".to_owned(), text(rule.action.as_str())));
        Out::Map(out)
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// `[a, b]` on one line, as Prometheus writes source labels; a plain list where a name would need quotes.
fn flow_list(names: &[String]) -> Out {
    let simple = |n: &String| n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match names.iter().all(simple) {
        true => Out::Bare(format!("[{}]", names.join(", "))),
        false => Out::Seq(names.iter().map(|n| Out::Text(n.clone())).collect()),
    }
}

/// A rule under the job's own naming scheme.
pub fn under_scheme(
    rules: &[Relabel],
    scheme: NameValidation,
    node: Option<&Node>,
    key: &str,
) -> Result<Vec<Rule>, Problem> {
    rules
        .iter()
        .enumerate()
        .map(|(i, rule)| match scheme {
            NameValidation::Utf8 => Ok(rule.0.clone()),
            NameValidation::Legacy => Rule::new(rule.0.config().clone(), scheme).map_err(|error| {
                let place = node
                    .and_then(|n| n.get(key))
                    .and_then(|list| match &list.value {
                        Value::Seq(items) => items.get(i),
                        _ => None,
                    })
                    .map_or_else(Default::default, |n| n.place);
                Problem::new(place, error.to_string())
            }),
        })
        .collect()
}
