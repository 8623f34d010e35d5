//! `ferula check`: looks at configurations and rule files before a server does.
//!
//! Promise: texts and exit codes are promtool's: 0, 1 for what a server would refuse, 3 for lint with `--lint-fatal`, 2 for a wrong command line. A
//! fault in YAML is told with its column too. Not here: what is checked (`config`, `rules::file`), `check web-config` (`web_config`).

mod config;
mod rules;

use clap::{Arg, ArgAction, ArgMatches, Command};
use query_engine::parse::ParserOptions;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// What was found, over all files.
#[derive(Debug, Clone, Copy, Default)]
struct Verdict {
    /// Something is not as it should be.
    failed: bool,
    /// A server would refuse it.
    errors: bool,
}

impl Verdict {
    fn refuse(&mut self) {
        self.failed = true;
        self.errors = true;
    }

    fn exit_code(self, lint_fatal: bool) -> ExitCode {
        match (self.failed, self.errors, lint_fatal) {
            (true, true, _) => ExitCode::FAILURE,
            (true, false, true) => ExitCode::from(3),
            _ => ExitCode::SUCCESS,
        }
    }
}

/// Which faults of style are told.
#[derive(Debug, Clone, Default)]
struct Lint {
    duplicate_rules: bool,
    long_intervals: bool,
    fatal: bool,
}

impl Lint {
    fn of(matches: &ArgMatches) -> Self {
        let mut lint = Lint {
            fatal: matches.get_flag("lint-fatal"),
            ..Lint::default()
        };
        let asked = matches.get_one::<String>("lint");
        for option in asked.map_or("", String::as_str).split(',') {
            match option {
                "all" => {
                    lint.duplicate_rules = true;
                    lint.long_intervals = true;
                }
                "duplicate-rules" => lint.duplicate_rules = true,
                "too-long-scrape-interval" => lint.long_intervals = true,
                "none" => {
                    return Lint {
                        fatal: lint.fatal,
                        ..Lint::default()
                    };
                }
                "" => {}
                other => say(format!("WARNING: unknown lint option: {other:?}")),
            }
        }
        lint
    }
}

/// To standard output; a reader that went away is no reason to fail.
fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// To standard error.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn command() -> Command {
    let files = |help: &'static str| Arg::new("files").num_args(1..).required(true).help(help);
    let lint = |help: &'static str| {
        [
            Arg::new("lint")
                .long("lint")
                .default_value("duplicate-rules")
                .help(help),
            Arg::new("lint-fatal")
                .long("lint-fatal")
                .action(ArgAction::SetTrue)
                .help("Make lint errors exit with exit code 3."),
        ]
    };
    let features = Arg::new("enable-feature")
        .long("enable-feature")
        .action(ArgAction::Append)
        .global(true)
        .help("Comma separated feature names of the language to enable, as the server's flag.");
    Command::new("ferula check")
        .about("Check files before a server does.")
        .subcommand_required(true)
        .arg(features)
        .subcommand(
            Command::new("config")
                .about("Check if the config files are valid or not.")
                .arg(files("The config files to check."))
                .arg(
                    Arg::new("syntax-only")
                        .long("syntax-only")
                        .action(ArgAction::SetTrue)
                        .help("Only check the config file syntax, not the files that it names."),
                )
                .arg(
                    Arg::new("query.lookback-delta")
                        .long("query.lookback-delta")
                        .default_value("5m")
                        .help("The server's maximum query lookback duration."),
                )
                .args(lint("Linting checks to apply: all, duplicate-rules, too-long-scrape-interval, none.")),
        )
        .subcommand(
            Command::new("rules")
                .about("Check if the rule files are valid or not.")
                .arg(files("The rule files to check, default is read from standard input.").required(false))
                .args(lint("Linting checks to apply: all, duplicate-rules, none.")),
        )
}

/// The language with these features switched on.
pub(crate) fn parser_options(matches: &ArgMatches) -> ParserOptions {
    let given = matches.get_many::<String>("enable-feature");
    let names: Vec<&str> = given
        .into_iter()
        .flatten()
        .flat_map(|t| t.split(','))
        .collect();
    let has = |name: &str| names.contains(&name);
    ParserOptions {
        experimental_functions: has("promql-experimental-functions"),
        extended_range_selectors: has("promql-extended-range-selectors"),
        binop_fill_modifiers: has("promql-binop-fill-modifiers"),
        ..ParserOptions::default()
    }
}

fn files(matches: &ArgMatches) -> Vec<String> {
    let files = matches.get_many::<String>("files");
    files.into_iter().flatten().cloned().collect()
}

/// Runs `ferula check` with the arguments behind these two words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let matches = match command()
        .try_get_matches_from(std::iter::once("ferula check".to_owned()).chain(arguments))
    {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Some((name, matches)) = matches.subcommand() else {
        unreachable!("clap demands one of the commands");
    };
    let files = files(matches);
    if let Some(missing) = files.iter().find(|f| !std::path::Path::new(f).exists()) {
        complain(format!(
            "ferula: error: path '{missing}' does not exist, try --help"
        ));
        return ExitCode::FAILURE;
    }
    let parser = parser_options(matches);
    match name {
        "config" => {
            let lint = Lint::of(matches);
            config::run(matches, &files, &parser, &lint).exit_code(lint.fatal)
        }
        _ => {
            let lint = Lint::of(matches);
            let verdict = match files.is_empty() {
                true => rules::standard_input(&parser, &lint),
                false => rules::run(&files, &parser, Default::default(), &lint),
            };
            verdict.exit_code(lint.fatal)
        }
    }
}
