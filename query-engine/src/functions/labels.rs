//! `label_replace` and `label_join`.
//!
//! Promise: patterns are RE2, anchored at both ends, dot matches newline; templates expand as Go's `Regexp.Expand` does; series that end with
//! equal labels merge when they never meet at a step, else the evaluation fails.

use super::Arguments;
use crate::eval::error::EvalError;
use crate::eval::memory::{Work, labels_cost};
use crate::eval::rows::join_same_labels;
use crate::eval::value::Row;
use crate::limits::LABEL_REGEX_BYTES_MAX;
use storage_engine::model::{LabelsBuilder, METRIC_NAME, translate_re2_within};

pub(super) fn label_replace(args: &mut Arguments, work: &mut Work) -> Result<Vec<Row>, EvalError> {
    let mut out = args.vector()?;
    let target = label_name(args.text()?, "destination", "label_replace")?;
    let template = lossy(&args.text()?);
    let source = lossy(&args.text()?);
    let pattern = lossy(&args.text()?);
    let regex = translate_re2_within(&pattern, LABEL_REGEX_BYTES_MAX).map_err(|_| {
        EvalError::execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    for row in &mut out {
        let value = row.labels.value(&source);
        work.tick(64 + value.len())?;
        let Some(captures) = regex.captures(value) else {
            continue;
        };
        let mut text = String::new();
        expand(&template, &captures, &mut text, work)?;
        set_label(row, &target, &text);
        work.take(labels_cost(&row.labels))?;
    }
    join_same_labels(out, work)
}

pub(super) fn label_join(args: &mut Arguments, work: &mut Work) -> Result<Vec<Row>, EvalError> {
    let mut out = args.vector()?;
    let target = args.text()?;
    let separator = lossy(&args.text()?);
    let mut sources = Vec::new();
    for source in args.texts()? {
        sources.push(label_name(source, "source", "label_join")?);
    }
    let target = label_name(target, "destination", "label_join")?;
    for row in &mut out {
        let values: Vec<&str> = sources.iter().map(|s| row.labels.value(s)).collect();
        let separators = separator.len() * values.len().saturating_sub(1);
        let length = separators + values.iter().map(|v| v.len()).sum::<usize>();
        work.tick(64 + values.len() + length / 8)?;
        work.take(TEXT_COPIES * length)?;
        let text = values.join(&separator);
        set_label(row, &target, &text);
        work.take(labels_cost(&row.labels))?;
    }
    join_same_labels(out, work)
}

/// How often a new label's text is in memory while a label set is built: the text, the builder's, the sorted set.
const TEXT_COPIES: usize = 3;

fn set_label(row: &mut Row, name: &str, value: &str) {
    let mut labels = LabelsBuilder::new(&row.labels);
    labels.set(name, value);
    row.labels = labels.build();
    if name == METRIC_NAME {
        // A name that the query sets itself outlives delayed removal.
        row.drop_name = false;
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn label_name(bytes: Vec<u8>, role: &str, function: &str) -> Result<String, EvalError> {
    match String::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) => Err(invalid_label(role, function, "")),
        Err(e) => Err(invalid_label(role, function, &lossy(e.as_bytes()))),
    }
}

fn invalid_label(role: &str, function: &str, name: &str) -> EvalError {
    EvalError::execution(format!("invalid {role} label name in {function}(): {name}"))
}

/// Appends `template` with `$1`, `${1}`, `$name` and `${name}` replaced; `$$` is a dollar, a malformed reference is itself.
fn expand(
    template: &str,
    captures: &regex::Captures<'_>,
    out: &mut String,
    work: &mut Work,
) -> Result<(), EvalError> {
    let mut rest = template;
    let mut paid = 0;
    while let Some((before, after)) = rest.split_once('$') {
        work.tick(8)?;
        work.take(TEXT_COPIES * (out.len() - paid))?;
        paid = out.len();
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(after) else {
            out.push('$');
            rest = after;
            continue;
        };
        rest = after;
        let group = match group_number(name) {
            Some(number) => captures.get(number),
            None => captures.name(name),
        };
        out.push_str(group.map_or("", |m| m.as_str()));
    }
    out.push_str(rest);
    work.take(TEXT_COPIES * (out.len() - paid))
}

/// The name at the start of `text` (behind a `$`) and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inside, braced) = match text.strip_prefix('{') {
        Some(inside) => (inside, true),
        None => (text, false),
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let end = inside.find(|c| !is_word(c)).unwrap_or(inside.len());
    let (name, after) = inside.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced {
        after.strip_prefix('}').map(|after| (name, after))
    } else {
        Some((name, after))
    }
}

/// Digits without a leading zero name a group by its number.
fn group_number(name: &str) -> Option<usize> {
    let decimal = name.bytes().all(|b| b.is_ascii_digit());
    if !decimal || name.len() > 8 || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    name.parse().ok()
}
