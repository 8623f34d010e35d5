//! Parser, printer and pretty-printer against cases taken from Prometheus's own tests, where they are at hand, and against ours always.
//!
//! `FERULA_PROMQL_PARSER_CASES` names the file (default `../shared/promql/parser-cases.json` beside the workspace),
//! `FERULA_PROMQL_TESTDATA` the directory of `.test` files whose expressions must survive printing.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "counts and differing texts are the test's product; a failed unwrap is a failed test"
)]

use ferula_query_engine::parse::{
    ParserOptions, ast_json, parse, parse_bytes, parse_metric_selector, prettify, prettify_within,
};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Of a text with ten thousand empty selectors.
const FIRST_OF_MANY: &str =
    "1:3: parse error: vector selector must contain at least one non-empty matcher";
/// The width that Prometheus's tests of its pretty-printer set.
const TEST_WIDTH: usize = 10;

fn resource(variable: &str, default: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(
        || {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
            workspace.join(default)
        },
        PathBuf::from,
    );
    if path.exists() {
        return Some(path);
    }
    // Past the harness's capture, so that a skip is seen although the test passes.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no {} (set {variable})",
        path.display()
    );
    None
}

/// The bytes of a JSON string in which bytes that are not UTF-8 were written as lone surrogates, `\udcXX`.
fn cases(path: &Path) -> Vec<(Value, Vec<u8>)> {
    // A private-use character stands in for the lone surrogates, which JSON readers refuse.
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("\\udcff", "\\uf8ff");
    let values: Vec<Value> = serde_json::from_str(&text).unwrap();
    values
        .into_iter()
        .map(|value| {
            let input = value["input"].as_str().unwrap();
            let mut bytes = Vec::new();
            for c in input.chars() {
                match c {
                    '\u{f8ff}' => bytes.push(0xff),
                    c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            (value, bytes)
        })
        .collect()
}

#[test]
fn prometheus_parser_cases() {
    let Some(path) = resource(
        "FERULA_PROMQL_PARSER_CASES",
        "../shared/promql/parser-cases.json",
    ) else {
        return;
    };
    let options = ParserOptions::all();
    let (mut failed, mut equal, mut texts, mut different) = (Vec::new(), 0, 0, Vec::new());
    for (case, input) in cases(&path) {
        let source = case["src"].as_str().unwrap();
        let shown: String = String::from_utf8_lossy(&input).chars().take(200).collect();
        if source == "parse_test_series" {
            continue;
        }
        let result = parse_bytes(&input, &options);
        match (case["ok"].as_bool().unwrap(), result) {
            (true, Ok(expr)) => {
                let printed = expr.to_string();
                let again = parse(&printed, &options).map(|e| e.to_string());
                if again.as_ref() != Ok(&printed) {
                    failed.push(format!("{shown}\n  prints {printed}\n  reads  {again:?}"));
                }
                let got = match source {
                    "printer_test" => printed,
                    "prettier_test" => prettify_within(&expr, TEST_WIDTH),
                    _ => continue,
                };
                let want = case["out"].as_str().unwrap_or(&shown);
                if got != want {
                    failed.push(format!("{shown}\n  got\n{got}\n  want\n{want}"));
                }
            }
            (true, Err(error)) => failed.push(format!("{shown}\n  refused: {error}")),
            (false, Ok(_)) => failed.push(format!("{shown}\n  accepted")),
            (false, Err(error)) => {
                texts += 1;
                // Upstream's test makes this case's list of errors by a loop, which the file's extraction did not run: the first is at byte 2.
                let want = match input.starts_with(b"(-{}-1-{}-1") {
                    true => FIRST_OF_MANY,
                    false => case["error"].as_str().unwrap(),
                };
                if error.to_string() == want {
                    equal += 1;
                } else {
                    different.push(format!("{shown}\n  got  {error}\n  want {want}"));
                }
            }
        }
    }
    println!("error texts equal: {equal}/{texts}");
    assert!(
        failed.is_empty(),
        "{} cases:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(
        different.is_empty(),
        "{} texts differ:\n{}",
        different.len(),
        different.join("\n")
    );
    assert!(equal > 140, "only {equal} refused cases");
}

#[test]
fn corpus_expressions_survive_printing() {
    let Some(dir) = resource("FERULA_PROMQL_TESTDATA", "../shared/promql/testdata") else {
        return;
    };
    let options = ParserOptions::all();
    let (mut count, mut failed) = (0, Vec::new());
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let query = match words.as_slice() {
                ["eval", "instant", "at", time, ..] => line.split_once(time),
                ["eval", "range", "from", _, "to", _, "step", step, ..] => line
                    .split_once(" step ")
                    .and_then(|(_, rest)| rest.trim_start().split_once(step)),
                _ => None,
            };
            let Some((_, query)) = query else { continue };
            let query = query.trim();
            count += 1;
            let round = parse(query, &options).and_then(|e| {
                let printed = e.to_string();
                let pretty = prettify(&e);
                let again = parse(&printed, &options)?.to_string();
                let from_pretty = parse(&pretty, &options)?.to_string();
                let json: Result<Value, _> = serde_json::from_str(&ast_json(&e));
                assert!(json.is_ok(), "{query}: {json:?}");
                Ok((printed, again, from_pretty))
            });
            match round {
                Ok((a, b, c)) if a == b && a == c => {}
                other => failed.push(format!("{query}\n  {other:?}")),
            }
        }
    }
    println!("expressions: {count}");
    assert!(
        failed.is_empty(),
        "{}:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[track_caller]
fn printed(query: &str) -> String {
    parse(query, &ParserOptions::all()).unwrap().to_string()
}

#[track_caller]
fn refused(query: &str) -> String {
    parse(query, &ParserOptions::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn operators_bind_as_in_prometheus() {
    // Printing keeps no parentheses of its own, so the tree shows in the JSON.
    let root = |query: &str| {
        let json: Value =
            serde_json::from_str(&ast_json(&parse(query, &ParserOptions::all()).unwrap())).unwrap();
        json["op"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(root("-a ^ b"), "-");
    assert_eq!(root("-a * b"), "*");
    assert_eq!(root("a ^ -b * c"), "*");
    assert_eq!(root("a + b * c"), "+");
    assert_eq!(root("a or b and c"), "or");
    assert_eq!(root("a and b or c"), "or");
    assert_eq!(root("a == b + c"), "==");
    assert_eq!(root("a atan2 b + c"), "+");
    assert_eq!(root("a offset 5m + c"), "+");
    assert_eq!(root("a offset -2 ^ 2"), "^");
    assert_eq!(root("a </ b + c"), "</");
}

#[test]
fn what_is_written_comes_back() {
    assert_eq!(
        printed("up{job=\"a\"}[5m] offset 1h"),
        "up{job=\"a\"}[5m] offset 1h"
    );
    assert_eq!(printed("rate(x[1h30m])"), "rate(x[1h30m])");
    assert_eq!(printed("1h + 0x10"), "1h + 16");
    assert_eq!(printed("{`a\\b`=~`\\d+`}"), "{\"a\\\\b\"=~\"\\\\d+\"}");
    assert_eq!(printed("SUM(x) BY (a)"), "sum by (a) (x)");
    assert_eq!(printed("x @ -100"), "x @ -100.000");
}

#[test]
fn switches_are_off_by_default() {
    assert_eq!(
        refused("info(x)"),
        "1:1: parse error: function \"info\" is not enabled"
    );
    assert_eq!(
        refused("limitk(2, x)"),
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
    );
    assert_eq!(
        refused("x[5m] smoothed"),
        "1:1: parse error: smoothed modifier is experimental and not enabled"
    );
    assert_eq!(
        refused("a + fill(0) b"),
        "1:1: parse error: binop fill modifiers are experimental and not enabled"
    );
    assert!(parse("x[5m * 2]", &ParserOptions::default()).is_ok());
}

#[test]
fn positions_count_lines_and_columns() {
    assert_eq!(
        refused("sum(\n  x,\n  y\n)"),
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2"
    );
    assert_eq!(
        refused("a +\n  + )"),
        "2:6: parse error: unexpected right parenthesis ')'"
    );
    assert_eq!(
        refused("sum(*)"),
        "1:5: parse error: unexpected <op:*> in aggregation"
    );
}

#[test]
fn hostile_texts_are_refused_and_do_not_hang() {
    let options = ParserOptions::default();
    for open in [
        "(", "-", "sum(", "{", "a[", "a ^ ", "\"", "a[1+", "a[-(", "1 + ",
    ] {
        let text = open.repeat(100_000);
        assert!(parse(&text, &options).is_err(), "{open}");
    }
    assert!(parse(&format!("1{}", "+1".repeat(100_000)), &options).is_err());
    assert!(parse(&format!("x{}", "[1m:]".repeat(10_000)), &options).is_err());
    assert!(
        parse(
            &format!("{}1{}", "(".repeat(100), ")".repeat(100)),
            &options
        )
        .is_ok()
    );
    assert!(parse(&format!("1{}", "+1".repeat(500)), &options).is_ok());
    assert!(parse(&"a".repeat(2 << 20), &options).is_err());
    for byte in 0..=255_u8 {
        for text in [
            vec![byte],
            vec![b'a', byte],
            vec![b'{', byte],
            vec![b'"', byte, b'"'],
        ] {
            let _ = parse_bytes(&text, &options);
        }
    }
}

#[test]
fn selectors_of_the_api() {
    let matchers = parse_metric_selector("up{job=~\"a|b\", x!=\"\"}").unwrap();
    assert_eq!(matchers.len(), 3);
    assert!(parse_metric_selector("{}").unwrap().is_empty());
    assert_eq!(
        parse_metric_selector("up[5m]").unwrap_err().to_string(),
        "1:3: parse error: unexpected \"[\""
    );
    assert!(parse_metric_selector("rate(x)").is_err());
    assert!(parse_metric_selector("").is_err());
}
