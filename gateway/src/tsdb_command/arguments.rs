//! The command line of `ferula tsdb`. Names and defaults are `promtool tsdb`'s where it has them.

use super::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::PathBuf;
use storage_engine::model::{Matcher, parse_duration_ms};
use storage_engine::shard_api::TimeRange;

fn db_path() -> Arg {
    Arg::new("db path")
        .help("Data directory")
        .default_value("data/")
}

fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn range_and_matchers(command: Command) -> Command {
    command
        .arg(
            option(
                "min-time",
                "Minimum timestamp, in milliseconds since the Unix epoch",
            )
            .default_value("-9223372036854775808")
            .allow_negative_numbers(true),
        )
        .arg(
            option(
                "max-time",
                "Maximum timestamp, in milliseconds since the Unix epoch",
            )
            .default_value("9223372036854775807")
            .allow_negative_numbers(true),
        )
        .arg(
            option("match", "Series selector; may be given several times")
                .default_value("{__name__=~'(?s:.*)'}")
                .action(ArgAction::Append),
        )
}

/// All of it.
pub(super) fn command() -> Command {
    let list = Command::new("list")
        .about("List the blocks")
        .arg(
            Arg::new("human-readable")
                .short('r')
                .long("human-readable")
                .action(ArgAction::SetTrue)
                .help("Print human readable values"),
        )
        .arg(db_path());
    let analyze = Command::new("analyze")
        .about("Analyze churn and cardinality of a block, or of the newest blocks of all shards")
        .arg(option("limit", "How many items to show in each list").default_value("20"))
        .arg(option("match", "Series selector to analyze"))
        .arg(db_path())
        .arg(Arg::new("block id").help("Block to analyze"));
    // Prometheus's tool replays the log in a directory of its own; here nothing is written anywhere.
    let sandbox = option(
        "sandbox-dir-root",
        "Accepted, no effect: nothing is written",
    );
    let dump = range_and_matchers(
        Command::new("dump").about("Print all samples, a line each, by series and time"),
    )
    .arg(sandbox.clone())
    .arg(
        option(
            "format",
            "Output format of the dump (prom (default) or seriesjson)",
        )
        .value_parser(["prom", "seriesjson"])
        .default_value("prom"),
    )
    .arg(db_path());
    let dump_openmetrics = range_and_matchers(Command::new("dump-openmetrics").about(
        "Print samples as OpenMetrics text, without native histograms and staleness markers",
    ))
    .arg(sandbox)
    .arg(db_path());
    let verify = Command::new("verify")
        .about("Read everything and check every checksum; exit code 1 if something is damaged")
        .arg(db_path());
    let export = range_and_matchers(
        Command::new("export-prometheus-block")
            .about("Write samples as blocks that Prometheus opens")
            .arg(
                option("block-duration", "Width of a block; blocks lie between its multiples")
                    .default_value("2h"),
            )
            .arg(option("block", "Only the samples of this block")),
    )
    .arg(
        Arg::new("output directory")
            .required(true)
            .help("Where the blocks go: a data directory of a Prometheus that is not running, or a new directory"),
    )
    .arg(db_path());
    let import = Command::new("import")
        .about("Bring blocks and head of a Prometheus that is not running, or a snapshot, into a data directory")
        .arg(
            Arg::new("prometheus path")
                .required(true)
                .help("Data directory or snapshot of Prometheus, or one block"),
        )
        .arg(option(
            "shards",
            "Number of shards of a new data directory; one for each core when not given",
        ))
        .arg(db_path());
    let compact = Command::new("compact")
        .about("Merge the blocks of each wide range of time into one, carry out deletions and pack the result; for a snapshot, or a server that is stopped")
        .arg(
            option("block-duration", "Width of a block; blocks lie between its multiples")
                .default_value("31d"),
        )
        .arg(db_path());
    Command::new("ferula tsdb")
        .about("Look at, check, export, import and compact data directories that no server runs on")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            list,
            analyze,
            dump,
            dump_openmetrics,
            verify,
            export,
            import,
            compact,
        ])
}

/// A path argument, which has a default or is required.
pub(super) fn path(matches: &ArgMatches, name: &str) -> PathBuf {
    text(matches, name).map(PathBuf::from).unwrap_or_default()
}

/// A text, if given.
pub(super) fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// A whole number, if given.
pub(super) fn number<T: std::str::FromStr>(
    matches: &ArgMatches,
    name: &str,
) -> Result<Option<T>, Failure> {
    let parse = |text: &str| {
        let bad = |_| Failure::Text(format!("--{name}={text}: not a whole number"));
        text.parse().map_err(bad)
    };
    text(matches, name).map(parse).transpose()
}

/// `--min-time` and `--max-time`.
pub(super) fn range(matches: &ArgMatches) -> Result<TimeRange, Failure> {
    Ok(TimeRange {
        min: number(matches, "min-time")?.unwrap_or(i64::MIN),
        max: number(matches, "max-time")?.unwrap_or(i64::MAX),
    })
}

/// `--match`, one set of matchers for each.
pub(super) fn matchers(matches: &ArgMatches) -> Result<Vec<Vec<Matcher>>, Failure> {
    let given = matches.get_many::<String>("match").into_iter().flatten();
    given.map(|text| selector(text)).collect()
}

/// One selector.
pub(super) fn selector(text: &str) -> Result<Vec<Matcher>, Failure> {
    let parsed = query_engine::parse::parse_metric_selector(text);
    parsed.map_err(|error| Failure::Text(format!("{text}: {error}")))
}

/// A duration in Prometheus's notation, in milliseconds.
pub(super) fn duration_ms(matches: &ArgMatches, name: &str) -> Result<i64, Failure> {
    let text = text(matches, name).unwrap_or_default();
    let bad = |error| Failure::Text(format!("--{name}={text}: {error}"));
    parse_duration_ms(text).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        let matches = command()
            .try_get_matches_from([
                "ferula tsdb",
                "dump",
                "--min-time=-5",
                "--match=up",
                "--match",
                "{a='b'}",
                "x",
            ])
            .unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        assert_eq!(
            range(matches).ok().map(|r| (r.min, r.max)),
            Some((-5, i64::MAX))
        );
        assert_eq!(matchers(matches).ok().map(|m| m.len()), Some(2));
        assert_eq!(path(matches, "db path"), PathBuf::from("x"));
    }
}
