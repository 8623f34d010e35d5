//! `ferula promql`: writes a query neatly, shows its tree, asks a server for its answer or for what answering it took.
//!
//! Promise: `format` and `parse` need no server and read exactly the language that a server with the same `--enable-feature` reads; `query`
//! prints as `promtool query` does. Exit codes: 0, 1 for a failure, 2 for a wrong command line. Not here: the language (`query_engine::parse`).

mod answer;
mod arguments;
mod plan;
mod server;

use clap::ArgMatches;
use query_engine::parse::{ParserOptions, ast_json, parse, prettify};
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs `ferula promql` with the arguments behind these two words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let matches = match arguments::command()
        .try_get_matches_from(std::iter::once("ferula promql".to_owned()).chain(arguments))
    {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match matches.subcommand() {
        Some(("format", matches)) => format(matches),
        Some(("parse", matches)) => tree(matches),
        Some(("query", matches)) => query(matches),
        Some(("explain", matches)) => explain(matches),
        _ => unreachable!("clap demands one of the commands"),
    };
    match done {
        // A reader that went away is no failure.
        Ok(text) => match writeln!(io::stdout().lock(), "{text}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                remark(&error.to_string());
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        },
        Err(text) => {
            remark(&text);
            ExitCode::FAILURE
        }
    }
}

/// Says something that is not the answer.
fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn options(matches: &ArgMatches) -> ParserOptions {
    let given = matches.get_many::<String>("enable-feature");
    let names: Vec<&str> = given
        .into_iter()
        .flatten()
        .flat_map(|v| v.split(','))
        .collect();
    let has = |name: &str| names.contains(&name);
    ParserOptions {
        experimental_functions: has("promql-experimental-functions"),
        extended_range_selectors: has("promql-extended-range-selectors"),
        binop_fill_modifiers: has("promql-binop-fill-modifiers"),
        ..ParserOptions::default()
    }
}

fn format(matches: &ArgMatches) -> Result<String, String> {
    let expr = parse(arguments::text(matches, "query"), &options(matches));
    expr.map(|expr| prettify(&expr)).map_err(|e| e.to_string())
}

fn tree(matches: &ArgMatches) -> Result<String, String> {
    let expr = parse(arguments::text(matches, "query"), &options(matches));
    let json = ast_json(&expr.map_err(|e| e.to_string())?);
    let value: serde_json::Value = serde_json::from_str(&json).map_err(|e| e.to_string())?;
    serde_json::to_string_pretty(&value).map_err(|e| e.to_string())
}

fn query(matches: &ArgMatches) -> Result<String, String> {
    let text = server::ask(matches, false)?;
    if arguments::text(matches, "format") == "json" {
        return Ok(text);
    }
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    tell_annotations(&answer);
    answer::show(&answer["data"])
}

fn explain(matches: &ArgMatches) -> Result<String, String> {
    let text = server::ask(matches, true)?;
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    tell_annotations(&answer);
    let explanation = &answer["explain"];
    if explanation.is_null() {
        return Err("the server does not explain queries".to_owned());
    }
    match arguments::text(matches, "format") {
        "json" => serde_json::to_string_pretty(explanation).map_err(|e| e.to_string()),
        _ => Ok(plan::show(explanation)),
    }
}

fn tell_annotations(answer: &serde_json::Value) {
    for kind in ["warnings", "infos"] {
        let texts = answer[kind].as_array().into_iter().flatten();
        for text in texts.filter_map(|t| t.as_str()) {
            remark(text);
        }
    }
}
