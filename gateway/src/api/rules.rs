//! `rules`: the groups with their rules, alerts and last evaluations; filters and pages.

use super::alerts::{push_alert, push_pairs, time_text};
use super::params::{go_quote, matchers_param};
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, push_json_string};
use crate::worker::Worker;
use query_engine::number_text::format_plain;
use rules::group::Group;
use rules::rule::{Kind, Rule};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use storage_engine::model::Matcher;

/// What is asked for.
struct Asked {
    /// `alert` or `record`; empty for both.
    kind: String,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matchers: Vec<Vec<Matcher>>,
    without_alerts: bool,
    limit: usize,
    next_token: String,
}

impl Asked {
    fn of(form: &Form) -> Result<Self, ApiError> {
        let kind = form.value("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            let text = format!("not supported value {}", go_quote(&kind));
            return Err(ApiError::parameter("type", text));
        }
        let texts = |name: &str| form.values(name).map(str::to_owned).collect();
        let (limit, next_token) = page(form)?;
        Ok(Asked {
            kind,
            names: texts("rule_name[]"),
            groups: texts("rule_group[]"),
            files: texts("file[]"),
            matchers: matchers_param(form).map_err(ApiError::bad_data)?,
            without_alerts: without_alerts(form)?,
            limit,
            next_token,
        })
    }

    fn wants(&self, rule: &Rule) -> bool {
        let kind = match self.kind.as_str() {
            "alert" => rule.is_alerting(),
            "record" => !rule.is_alerting(),
            _ => true,
        };
        let value = |name: &str| {
            let found = rule.labels().iter().find(|(n, _)| n == name);
            found.map_or("", |(_, value)| value)
        };
        let all_match = |set: &Vec<Matcher>| set.iter().all(|m| m.matches(value(&m.name)));
        kind && is_among(&self.names, rule.name())
            && (self.matchers.is_empty() || self.matchers.iter().any(all_match))
    }
}

/// An empty list asks for everything.
fn is_among(list: &[String], text: &str) -> bool {
    list.is_empty() || list.iter().any(|t| t == text)
}

/// Go's `strconv.ParseBool`.
fn without_alerts(form: &Form) -> Result<bool, ApiError> {
    match form.value("exclude_alerts") {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => {
            let quoted = go_quote(other);
            let text = format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {quoted}: invalid syntax"
            );
            Err(ApiError::parameter("exclude_alerts", text))
        }
    }
}

fn page(form: &Form) -> Result<(usize, String), ApiError> {
    let token = form.value("group_next_token").to_owned();
    let refuse = |text: String| Err(ApiError::parameter("group_limit", text));
    match form.value("group_limit") {
        "" if token.is_empty() => Ok((0, token)),
        "" => Err(ApiError::parameter(
            "group_next_token",
            "group_limit needs to be present in order to paginate over the groups",
        )),
        text => match text.parse::<i32>() {
            Ok(limit) if limit > 0 => Ok((limit.unsigned_abs() as usize, token)),
            Ok(_) => refuse("group_limit needs to be greater than 0".to_owned()),
            Err(error) => {
                use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                let reason = match error.kind() {
                    PosOverflow | NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                let quoted = go_quote(text);
                refuse(format!(
                    "group_limit needs to be a valid number: strconv.ParseInt: parsing {quoted}: {reason}"
                ))
            }
        },
    }
}

/// Where the page that begins with this group begins.
fn token(group: &Group) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, group.key().as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `/api/v1/rules`
pub fn rules(worker: &Rc<Worker>, request: &Request) -> Result<ApiData, ApiError> {
    let asked = Asked::of(&Form::from_query(&request.query))?;
    let groups = worker.services.rules.groups();
    let mut skipping = !asked.next_token.is_empty();
    let mut next = None;
    let mut json = String::from("{\"groups\":[");
    let mut count = 0;
    for group in &groups {
        if skipping {
            skipping = token(group) != asked.next_token;
        }
        if skipping
            || !is_among(&asked.groups, group.name())
            || !is_among(&asked.files, group.file())
        {
            continue;
        }
        let wanted: Vec<&Rule> = group.rules().iter().filter(|r| asked.wants(r)).collect();
        if wanted.is_empty() {
            continue;
        }
        if asked.limit > 0 && count == asked.limit {
            next = Some(token(group));
            break;
        }
        if count > 0 {
            json.push(',');
        }
        count += 1;
        push_group(&mut json, group, &wanted, asked.without_alerts);
    }
    if skipping {
        let text = format!(
            "invalid group_next_token '{}'. were rule groups changed?",
            asked.next_token
        );
        return Err(ApiError::parameter("group_next_token", text));
    }
    json.push(']');
    if let Some(next) = next {
        let _ = write!(json, ",\"groupNextToken\":\"{next}\"");
    }
    json.push('}');
    Ok(ApiData::json(json))
}

fn push_group(out: &mut String, group: &Arc<Group>, rules: &[&Rule], without_alerts: bool) {
    let status = group.status();
    out.push_str("{\"name\":");
    push_json_string(out, group.name());
    out.push_str(",\"file\":");
    push_json_string(out, group.file());
    out.push_str(",\"rules\":[");
    for (i, rule) in rules.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_rule(out, rule, without_alerts);
    }
    out.push_str("],\"interval\":");
    push_seconds(out, group.interval_ns());
    let _ = write!(out, ",\"limit\":{},\"evaluationTime\":", group.limit());
    push_seconds(out, status.took_ns);
    out.push_str(",\"lastEvaluation\":");
    push_json_string(out, &time_text(status.evaluated_at_ns));
    out.push('}');
}

fn push_rule(out: &mut String, rule: &Rule, without_alerts: bool) {
    let status = rule.status();
    out.push('{');
    if rule.is_alerting() {
        let _ = write!(out, "\"state\":\"{}\",", rule.state().as_str());
    }
    out.push_str("\"name\":");
    push_json_string(out, rule.name());
    out.push_str(",\"query\":");
    push_json_string(out, rule.expr_text());
    if let Kind::Alerting {
        hold_ns,
        keep_firing_ns,
        ..
    } = rule.kind()
    {
        out.push_str(",\"duration\":");
        push_seconds(out, *hold_ns);
        out.push_str(",\"keepFiringFor\":");
        push_seconds(out, *keep_firing_ns);
    }
    let texts = |(name, value): &(String, String)| (name.clone(), value.clone());
    let labels: Vec<(String, String)> = rule.labels().iter().map(texts).collect();
    if rule.is_alerting() || !labels.is_empty() {
        out.push_str(",\"labels\":");
        push_pairs(out, &labels);
    }
    if let Kind::Alerting { annotations, .. } = rule.kind() {
        let annotations: Vec<(String, String)> = annotations
            .iter()
            .map(|(name, text)| (name.clone(), text.text().to_owned()))
            .collect();
        out.push_str(",\"annotations\":");
        push_pairs(out, &annotations);
        out.push_str(",\"alerts\":[");
        let alerts = match without_alerts {
            true => Vec::new(),
            false => rule.active_alerts(),
        };
        for (i, alert) in alerts.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_alert(out, alert);
        }
        out.push(']');
    }
    let _ = write!(out, ",\"health\":\"{}\"", status.health.as_str());
    if let Some(error) = &status.last_error {
        out.push_str(",\"lastError\":");
        push_json_string(out, error);
    }
    out.push_str(",\"evaluationTime\":");
    push_seconds(out, status.took_ns);
    out.push_str(",\"lastEvaluation\":");
    push_json_string(out, &time_text(status.evaluated_at_ns));
    out.push_str(",\"type\":");
    out.push_str(match rule.is_alerting() {
        true => "\"alerting\"}",
        false => "\"recording\"}",
    });
}

fn push_seconds(out: &mut String, ns: i64) {
    format_plain(ns as f64 / 1e9, out);
}
