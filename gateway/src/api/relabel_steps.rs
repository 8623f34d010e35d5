//! `targets/relabel_steps`: what each relabeling rule of a job makes of a set of labels.
//!
//! Promise: parameters, JSON and error texts are Prometheus's; a rule that drops the target leaves no labels for those behind it.
//! Not here: relabeling itself (`ingest::relabel`).

use super::json::{push_labels, string_list};
use super::params::go_quote;
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, push_json_string};
use crate::worker::Worker;
use ingest::relabel::{Rule, RuleConfig, Verdict, process};
use std::collections::BTreeMap;
use storage_engine::model::{Labels, LabelsBuilder};

/// `/api/v1/targets/relabel_steps`.
pub fn relabel_steps(worker: &Worker, request: &Request) -> Result<ApiData, ApiError> {
    let form = Form::from_query(&request.query);
    let pool = form.value("scrapePool");
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let labels = match form.value("labels") {
        "" => return Err(ApiError::bad_data("no labels parameter provided")),
        text => parse_labels(text)?,
    };
    let rules = worker.services.scrape.relabel_rules(pool).ok_or_else(|| {
        let pool = go_quote(pool);
        ApiError::bad_data(format!(
            "error retrieving scrape config: scrape pool {pool} not found"
        ))
    })?;
    Ok(ApiData::json(steps_json(&labels, &rules)))
}

fn parse_labels(text: &str) -> Result<Labels, ApiError> {
    let parsing = |reason: String| ApiError::bad_data(format!("error parsing labels: {reason}"));
    let pairs: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| parsing(error.to_string()))?;
    Labels::from_pairs(pairs).map_err(|error| parsing(error.to_string()))
}

fn steps_json(labels: &Labels, rules: &[Rule]) -> String {
    let mut builder = LabelsBuilder::new(labels);
    let mut kept = true;
    let mut json = String::from("{\"steps\":[");
    for (i, rule) in rules.iter().enumerate() {
        kept = kept && process(&mut builder, std::slice::from_ref(rule)) == Verdict::Keep;
        json.push_str(if i > 0 { ",{\"rule\":" } else { "{\"rule\":" });
        push_rule(&mut json, rule.config());
        json.push_str(",\"output\":");
        if kept {
            push_labels(&mut json, &builder.build());
        } else {
            json.push_str("{}");
        }
        json.push_str(if kept {
            ",\"keep\":true}"
        } else {
            ",\"keep\":false}"
        });
    }
    json.push_str("]}");
    json
}

/// A rule with its names as in the configuration; what is empty is left out.
fn push_rule(json: &mut String, rule: &RuleConfig) {
    let mut members: Vec<(&str, String)> = Vec::new();
    if !rule.source_labels.is_empty() {
        members.push(("source_labels", string_list(&rule.source_labels)));
    }
    let mut text = |name, value: &str| {
        if !value.is_empty() {
            let mut quoted = String::new();
            push_json_string(&mut quoted, value);
            members.push((name, quoted));
        }
    };
    text("separator", &rule.separator);
    text("regex", &rule.regex);
    text("target_label", &rule.target_label);
    text("replacement", &rule.replacement);
    text("action", rule.action.as_str());
    if rule.modulus > 0 {
        members.push(("modulus", rule.modulus.to_string()));
    }
    json.push('{');
    for (i, (name, value)) in members.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        json.push_str(&format!("{comma}\"{name}\":{value}"));
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::relabel::Action;
    use ingest::scrape::config::NameValidation;

    fn rule(config: RuleConfig) -> Rule {
        Rule::new(config, NameValidation::Utf8).unwrap()
    }

    #[test]
    fn steps_end_in_nothing_where_a_rule_drops() {
        let rules = [
            rule(RuleConfig {
                source_labels: vec!["team".into()],
                target_label: "owner".into(),
                ..RuleConfig::default()
            }),
            rule(RuleConfig {
                source_labels: vec!["env".into()],
                regex: "retired".into(),
                action: Action::Drop,
                ..RuleConfig::default()
            }),
            rule(RuleConfig {
                regex: "team".into(),
                action: Action::LabelDrop,
                ..RuleConfig::default()
            }),
        ];
        let steps = |labels: &str| -> serde_json::Value {
            let labels = parse_labels(labels).unwrap();
            serde_json::from_str(&steps_json(&labels, &rules)).unwrap()
        };
        let kept = steps(r#"{"env":"live","team":"web"}"#);
        assert_eq!(
            kept["steps"][0],
            serde_json::json!({
                "rule": {"source_labels": ["team"], "separator": ";", "regex": "(.*)", "target_label": "owner", "replacement": "$1", "action": "replace"},
                "output": {"env": "live", "owner": "web", "team": "web"},
                "keep": true,
            })
        );
        let last = serde_json::json!({"env": "live", "owner": "web"});
        assert_eq!(kept["steps"][2]["output"], last);
        let dropped = steps(r#"{"env":"retired","team":"web"}"#);
        assert_eq!(dropped["steps"][0]["keep"], true);
        for i in [1, 2] {
            assert_eq!(dropped["steps"][i]["keep"], false);
            assert_eq!(dropped["steps"][i]["output"], serde_json::json!({}));
        }
        let error = parse_labels("[1]").unwrap_err();
        assert!(error.text.starts_with("error parsing labels: "));
    }
}
