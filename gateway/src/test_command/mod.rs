//! `ferula test rules`: Prometheus's unit tests of rules.
//!
//! Promise: the files are Prometheus's, and what is printed is what promtool prints. Rules and queries run in this process over a store in
//! memory, by a clock of the test's own. Exit codes: 0, 1 for a failed test, 2 for a wrong command line.

mod junit;
pub mod schema;
mod store;
mod suite;
mod text;

use crate::check_command::parser_options;
use crate::limits::CONFIG_FILE_BYTES_MAX;
use clap::{Arg, ArgAction, ArgMatches, Command};
use junit::Suite;
use query_engine::parse::ParserOptions;
use regex::Regex;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// To standard output; a reader that went away is no reason to fail.
fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// To standard error.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn command() -> Command {
    Command::new("ferula test")
        .about("Unit tests.")
        .subcommand_required(true)
        .subcommand(
            Command::new("rules")
                .about("Unit tests for rules.")
                .arg(Arg::new("files").num_args(1..).required(true).help("The unit test file."))
                .arg(Arg::new("run").long("run").action(ArgAction::Append).help("If set, will only run test groups whose names match the regular expression. Can be specified multiple times."))
                .arg(Arg::new("junit").long("junit").help("File path to store JUnit XML test results."))
                .arg(Arg::new("enable-feature").long("enable-feature").action(ArgAction::Append).help("Comma separated feature names of the language to enable, as the server's flag.")),
        )
}

/// Runs `ferula test` with the arguments behind these two words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let matches = match command()
        .try_get_matches_from(std::iter::once("ferula test".to_owned()).chain(arguments))
    {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match matches.subcommand() {
        Some(("rules", matches)) => rules(matches),
        _ => unreachable!("clap demands one of the commands"),
    }
}

fn rules(matches: &ArgMatches) -> ExitCode {
    let given = |name: &str| -> Vec<String> {
        let values = matches.get_many::<String>(name);
        values.into_iter().flatten().cloned().collect()
    };
    let pattern = given("run").join("|");
    let only = match Regex::new(&pattern) {
        Ok(only) => Some(only).filter(|_| !pattern.is_empty()),
        Err(error) => {
            complain(format!("ferula: error: --run: {error}"));
            return ExitCode::from(2);
        }
    };
    let parser = parser_options(matches);
    let mut failed = false;
    let mut suites = Vec::new();
    for file in given("files") {
        let mut suite = Suite::new(&file);
        let faults = test_file(Path::new(&file), only.as_ref(), &parser, &mut suite);
        if faults.is_empty() {
            say("  SUCCESS");
        } else {
            complain("  FAILED:");
            for fault in faults {
                complain(fault);
                say("");
            }
            failed = true;
        }
        say("");
        suites.push(suite);
    }
    if let Some(path) = matches.get_one::<String>("junit")
        && let Err(error) = std::fs::write(path, junit::xml(&suites))
    {
        complain(format!("failed to write JUnit XML: {error}"));
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Everything that is wrong with the rules of a file, or with the file.
fn test_file(
    path: &Path,
    only: Option<&Regex>,
    parser: &ParserOptions,
    suite: &mut Suite,
) -> Vec<String> {
    let file = match read(path) {
        Ok(file) => file,
        Err(fault) => {
            suite.abort(&fault);
            return vec![fault];
        }
    };
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in &file.rule_files {
        let pattern = dir.join(pattern);
        let found = crate::rules::expand_globs([&*pattern.to_string_lossy()]);
        if found.is_empty() {
            complain(format!(
                "  WARNING: no file match pattern {}",
                pattern.display()
            ));
        }
        files.extend(found);
    }
    let order = &file.group_eval_order;
    for (i, name) in order.iter().enumerate() {
        if order.iter().take(i).any(|n| n == name) {
            let fault = format!("group name repeated in evaluation order: {name}");
            suite.abort(&fault);
            return vec![fault];
        }
    }
    let mut all = Vec::new();
    for (i, group) in file.tests.iter().enumerate() {
        if only.is_some_and(|only| !only.is_match(&group.name)) {
            continue;
        }
        let faults = suite::run(&file, group, &files, parser);
        let name = match group.name.as_str() {
            "" => format!("unnamed#{i}"),
            name => name.to_owned(),
        };
        suite.case(name, faults.clone());
        all.extend(faults);
    }
    all
}

fn read(path: &Path) -> Result<schema::TestFile, String> {
    let refuse = |error: io::Error| {
        format!(
            "open {}: {}",
            path.display(),
            crate::config::io_reason(&error)
        )
    };
    let length = std::fs::metadata(path).map_err(refuse)?.len();
    if length > CONFIG_FILE_BYTES_MAX {
        return Err(format!(
            "open {}: longer than {CONFIG_FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(refuse)?;
    schema::read(&text).map_err(|problem| {
        format!(
            "{}:{}:{}: {}",
            path.display(),
            problem.place.line,
            problem.place.column,
            problem.reason
        )
    })
}
