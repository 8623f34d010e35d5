//! `ferula check` and `ferula test rules` as people run them. What is expected was printed by promtool 3.5.3 for the same files.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

use std::path::Path;
use std::process::Command;

/// Exit code, standard output, standard error.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

const GOOD: &str = "\
groups:
  - name: g
    rules:
      - record: a:b
        expr: sum(x)
      - alert: A
        expr: up == 0
        for: 5m
        annotations: {summary: '{{ $labels.job }} {{ $value }}'}
";

const BAD: &str = "\
groups:
  - name: g
    rules:
      - record: a{b}
        expr: sum(x
        for: 1m
      - alert: A
        expr: up == 0
        annotations: {s1: '{{ $nope }}', s2: '{{ nope 1 }}', s3: '{{ if }}'}
      - expr: x
";

#[test]
fn rule_files_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("good.yml", GOOD);
    write("bad.yml", BAD);
    write("unknown.yml", &GOOD.replace("for:", "fro:"));
    write(
        "dup.yml",
        "groups: [{name: g, rules: [{record: a, expr: sum(x), labels: {q: w}}, {record: a, expr: sum(y), labels: {q: w}}]}]",
    );
    write("prometheus.yml", "rule_files: [good.yml, 'x*.yml']\n");
    write("nowhere.yml", "rule_files: [nowhere/x.yml]\n");

    assert_eq!(
        run(dir, &["check", "rules", "good.yml"]),
        (
            0,
            "Checking good.yml\n  SUCCESS: 2 rules found\n\n".to_owned(),
            String::new()
        )
    );
    let (code, out, err) = run(dir, &["check", "rules", "bad.yml"]);
    assert_eq!((code, out.as_str()), (1, "Checking bad.yml\n"));
    assert_eq!(
        err,
        "  FAILED:\n\
         bad.yml: 5:15: group \"g\", rule 1, \"a{b}\": could not parse expression: 1:6: parse error: unclosed left parenthesis\n\
         bad.yml: 4:17: group \"g\", rule 1, \"a{b}\": invalid field 'for' in recording rule\n\
         bad.yml: 4:17: group \"g\", rule 1, \"a{b}\": braces present in the recording rule name; should it be in expr?: a{b}\n\
         bad.yml: group \"g\", rule 2, \"A\": annotation \"s1\": template: __alert_A:1: undefined variable \"$nope\"\n\
         bad.yml: group \"g\", rule 2, \"A\": annotation \"s2\": template: __alert_A:1: function \"nope\" not defined\n\
         bad.yml: group \"g\", rule 2, \"A\": annotation \"s3\": template: __alert_A:1: missing value for if\n\
         bad.yml: 0:0: 0:0: group \"g\", rule 3, \"\": one of 'record' or 'alert' must be set\n"
    );
    let (code, _, err) = run(dir, &["check", "rules", "unknown.yml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains(
            "unknown.yml: 8:9: yaml: unmarshal errors: field fro not found in type rulefmt.Rule"
        ),
        "{err}"
    );

    let twice = "  FAILED:\nlint error 1 duplicate rule(s) found.\nMetric: a\nLabel(s):\n\tq: w\nMight cause inconsistency while recording expressions\n";
    let (code, _, err) = run(dir, &["check", "rules", "dup.yml"]);
    assert_eq!((code, err.as_str()), (0, twice));
    assert_eq!(
        run(dir, &["check", "rules", "--lint-fatal", "dup.yml"]).0,
        3
    );
    assert_eq!(
        run(
            dir,
            &["check", "rules", "--lint=none", "--lint-fatal", "dup.yml"]
        )
        .0,
        0
    );

    let (code, out, _) = run(dir, &["check", "config", "prometheus.yml"]);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "Checking prometheus.yml\n  SUCCESS: 1 rule files found\n SUCCESS: prometheus.yml is valid prometheus config file syntax\n\n\
             Checking good.yml\n  SUCCESS: 2 rules found\n\n"
        )
    );
    let (code, _, err) = run(dir, &["check", "config", "nowhere.yml"]);
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "  FAILED: \"nowhere/x.yml\" does not point to an existing file\n"
        )
    );
    write(
        "files.yml",
        "scrape_configs: [{job_name: a, file_sd_configs: [{files: [t.json]}]}]\n",
    );
    let (code, out, _) = run(dir, &["check", "config", "files.yml"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("  WARNING: file \"t.json\" for file_sd in scrape job \"a\" does not exist\n"),
        "{out}"
    );
    write(
        "secret.yml",
        "scrape_configs: [{job_name: a, authorization: {credentials_file: nope}}]\n",
    );
    let (code, _, err) = run(dir, &["check", "config", "secret.yml"]);
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "  FAILED: error checking authorization credentials or bearer token file \"nope\": stat nope: no such file or directory\n"
        )
    );
    let (code, _, err) = run(dir, &["check", "rules", "none.yml"]);
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "ferula: error: path 'none.yml' does not exist, try --help\n"
        )
    );
    assert_eq!(run(dir, &["check", "nothing"]).0, 2);
}

const TESTS: &str = "\
rule_files: [good.yml]
evaluation_interval: 1m
tests:
  - name: first
    interval: 1m
    input_series:
      - series: 'up{job=\"p\", instance=\"l:1\"}'
        values: '0+0x10 _ 1 stale'
      - series: 'x{a=\"b\"}'
        values: '1+2x5'
    alert_rule_test:
      - eval_time: 6m
        alertname: A
        exp_alerts:
          - exp_labels: {job: p, instance: \"l:1\"}
            exp_annotations: {summary: \"p 0\"}
      - eval_time: 7m
        alertname: A
        exp_alerts:
          - exp_labels: {job: q, instance: \"l:1\"}
            exp_annotations: {summary: \"p 0\"}
      - eval_time: 4m
        alertname: A
    promql_expr_test:
      - expr: a:b
        eval_time: 4m
        exp_samples:
          - {labels: 'a:b', value: 9}
      - expr: a:b * 2
        eval_time: 4m
        exp_samples:
          - {labels: '{}', value: 1}
      - expr: nope
        eval_time: 4m
        exp_samples:
          - {labels: 'a:b{x=\"y\"}', value: 1e10}
      - expr: sum(
        eval_time: 4m
";

#[test]
fn unit_tests_of_rules_are_run() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("good.yml", GOOD);
    write("t.yml", TESTS);
    write(
        "fine.yml",
        "rule_files: [good.yml]\ntests:\n  - promql_expr_test: [{expr: time(), eval_time: 1m, exp_samples: [{value: 60}]}]\n",
    );
    assert_eq!(
        run(dir, &["test", "rules", "fine.yml"]),
        (0, "  SUCCESS\n\n".to_owned(), String::new())
    );
    let (code, out, err) = run(dir, &["test", "rules", "--junit=x.xml", "t.yml"]);
    assert_eq!((code, out.as_str()), (1, "\n\n\n\n\n"));
    assert_eq!(
        err,
        "  FAILED:
    name: first,
    alertname: A, time: 7m, \n        exp:[
            0:
              Labels:{alertname=\"A\", instance=\"l:1\", job=\"q\"}
              Annotations:{summary=\"p 0\"}
            ], \n        got:[
            0:
              Labels:{alertname=\"A\", instance=\"l:1\", job=\"p\"}
              Annotations:{summary=\"p 0\"}
            ]
    expr: \"a:b * 2\", time: 4m,
        exp: {} 1E+00
        got: {} 1.8E+01
    expr: \"nope\", time: 4m,
        exp: {__name__=\"a:b\", x=\"y\"} 1E+10
        got: nil
    expr: \"sum(\", time: 4m, err: 1:5: parse error: unclosed left parenthesis
"
    );
    let junit = std::fs::read_to_string(dir.join("x.xml")).unwrap();
    assert!(junit.contains("tests=\"1\" failures=\"4\""), "{junit}");
    assert_eq!(run(dir, &["test", "rules", "--run=second", "t.yml"]).0, 0);
}
