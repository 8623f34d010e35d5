//! `check rules`.

use super::{Lint, Verdict, complain, say};
use crate::rules::check_text;
use ::rules::file::{Names, RuleFile};
use query_engine::parse::ParserOptions;
use std::collections::BTreeMap;
use std::io::Read;

/// Checks these files.
pub(super) fn run(files: &[String], parser: &ParserOptions, names: Names, lint: &Lint) -> Verdict {
    let mut verdict = Verdict::default();
    for file in files {
        say(format!("Checking {file}"));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                complain(format!("  FAILED:\n{file}: open {file}: {error}"));
                verdict.refuse();
                continue;
            }
        };
        match check_text(&text, parser, names) {
            Ok(found) => {
                style(&found, lint, &mut verdict);
                say("");
            }
            Err(faults) => {
                complain("  FAILED:");
                for fault in faults {
                    complain(format!("{file}: {fault}"));
                }
                verdict.refuse();
            }
        }
    }
    verdict
}

pub(super) fn standard_input(parser: &ParserOptions, lint: &Lint) -> Verdict {
    let mut verdict = Verdict::default();
    say("Checking standard input");
    let mut text = String::new();
    if let Err(error) = std::io::stdin().lock().read_to_string(&mut text) {
        complain(format!("  FAILED: {error}"));
        verdict.refuse();
        return verdict;
    }
    match check_text(&text, parser, Names::default()) {
        Ok(found) => {
            style(&found, lint, &mut verdict);
            say("");
        }
        Err(faults) => {
            complain("  FAILED:");
            faults.into_iter().for_each(complain);
            verdict.refuse();
        }
    }
    verdict
}

/// Says how many rules there are, or which of them are there twice.
fn style(file: &RuleFile, lint: &Lint, verdict: &mut Verdict) {
    let twice = match lint.duplicate_rules {
        true => duplicates(file),
        false => Vec::new(),
    };
    if twice.is_empty() {
        let count: usize = file.groups.iter().map(|group| group.rules.len()).sum();
        say(format!("  SUCCESS: {count} rules found"));
        return;
    }
    verdict.failed = true;
    let mut text = format!("lint error {} duplicate rule(s) found.\n", twice.len());
    for (name, labels) in twice {
        text.push_str(&format!("Metric: {name}\nLabel(s):\n"));
        for (name, value) in labels {
            text.push_str(&format!("\t{name}: {value}\n"));
        }
    }
    text.push_str("Might cause inconsistency while recording expressions");
    complain("  FAILED:");
    complain(text);
}

type Identity = (String, BTreeMap<String, String>);

/// Names and labels that several rules have, in order, each once.
fn duplicates(file: &RuleFile) -> Vec<Identity> {
    let mut all: Vec<Identity> = Vec::new();
    for group in &file.groups {
        for rule in &group.rules {
            let mut labels = group.labels.clone();
            labels.extend(rule.labels.clone());
            all.push((rule.name().to_owned(), labels));
        }
    }
    all.sort();
    let mut twice: Vec<Identity> = Vec::new();
    for (one, next) in all.iter().zip(all.iter().skip(1)) {
        if one == next && twice.last() != Some(one) {
            twice.push(one.clone());
        }
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_with_one_name_and_labels_are_found_once() {
        let text = "groups: [{name: g, labels: {a: b}, rules: [\
            {record: r, expr: x}, {record: r, expr: y, labels: {a: b}}, {record: r, expr: z}, {record: q, expr: x}]}]";
        let file = check_text(text, &ParserOptions::default(), Names::Utf8).unwrap();
        let twice = duplicates(&file);
        assert_eq!(twice.len(), 1);
        assert_eq!((twice[0].0.as_str(), twice[0].1["a"].as_str()), ("r", "b"));
    }
}
