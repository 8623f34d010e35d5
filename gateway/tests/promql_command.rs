//! `ferula promql`, and `explain=1` that it asks for.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::process::{Command, Output};
use support::Ferula;

fn promql(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferula"));
    command.arg("promql").args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn format_and_parse_need_no_server() {
    let formatted = promql(&["format", "sum  by(job)(rate(x[5m]))/on(a,b)y"]);
    assert_eq!(formatted.status.code(), Some(0), "{}", err(&formatted));
    assert_eq!(
        out(&formatted),
        "sum by (job) (rate(x[5m])) / on (a, b) y\n"
    );
    let parsed = promql(&["parse", "x + 1"]);
    let tree: serde_json::Value = serde_json::from_slice(&parsed.stdout).unwrap();
    assert_eq!(tree["type"], "binaryExpr");
    let wrong = promql(&["format", "sum("]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(err(&wrong), "1:5: parse error: unclosed left parenthesis\n");
    let off = promql(&["parse", "limitk(1, x)"]);
    assert_eq!(off.status.code(), Some(1));
    let feature = "--enable-feature=promql-experimental-functions";
    assert_eq!(
        promql(&["parse", feature, "limitk(1, x)"]).status.code(),
        Some(0)
    );
    assert_eq!(promql(&["format"]).status.code(), Some(2));
    assert_eq!(promql(&["reformat", "x"]).status.code(), Some(2));
}

#[test]
fn query_and_explain_ask_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let url = format!("http://{}", server.address);
    server.eventually("it scrapes itself", |s| {
        s.query("count(up == 1)") != serde_json::json!([])
    });

    let answer = promql(&["query", "--time=12.5", &url, "vector(1) + 1"]);
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
    assert_eq!(out(&answer), "{} => 2 @[12.5]\n");
    let range = [
        "query",
        "--start=0",
        "--end=2",
        "--step=1",
        &url,
        "time() * 2",
    ];
    assert_eq!(out(&promql(&range)), "{} =>\n0 @[0]\n2 @[1]\n4 @[2]\n");
    let json = promql(&["query", "-o", "json", &url, "1"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["data"]["resultType"], "scalar");
    assert!(json["explain"].is_null());
    let wrong = promql(&["query", &url, "sum("]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        err(&wrong).ends_with(
            "bad_data: invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis\n"
        ),
        "{}",
        err(&wrong)
    );
    assert_eq!(
        promql(&["query", "http://127.0.0.1:1", "1"]).status.code(),
        Some(1)
    );

    let query = "sum(rate(up[5m])) / sum(rate(up[5m])) + count(up)";
    let explained = promql(&["explain", "-o", "json", &url, query]);
    assert_eq!(explained.status.code(), Some(0), "{}", err(&explained));
    let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    let plan = &explained["plan"];
    assert_eq!(plan["operator"], "join");
    assert_eq!(plan["place"], "coordinator");
    let division = &plan["inputs"][0];
    assert_eq!(division["detail"], "/");
    let sum = &division["inputs"][0];
    assert_eq!(sum["operator"], "partial aggregation");
    assert_eq!(sum["detail"], "sum of rate of up over 5m");
    assert_eq!(sum["place"], "shards");
    assert_eq!(sum["shards"]["series"], 1);
    assert!(sum["shards"]["samples"].as_u64().unwrap() > 0, "{sum}");
    assert!(sum["shards"]["seconds"].as_f64().unwrap() > 0.0, "{sum}");
    assert_eq!(division["inputs"][1]["sameAs"], sum["id"]);
    assert!(explained["bytesPeak"].as_u64().unwrap() > 0);
    assert!(explained["timings"]["evaluate"].as_f64().unwrap() > 0.0);
    let text = out(&promql(&["explain", &url, query]));
    assert!(
        text.starts_with("#4 join [+]: coordinator, 1 steps, "),
        "{text}"
    );
    assert!(
        text.contains("\n    #1 partial aggregation [sum of rate of up over 5m]: the same as #0\n"),
        "{text}"
    );
}
