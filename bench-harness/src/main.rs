//! `ferula-bench`: starts ferula and its peers, drives them alike, and prints tables that anyone can make again.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

mod alerts;
mod blocks;
mod differ;
mod disk;
mod disk_full;
mod kill;
mod process;
mod promql_diff;
mod push;
mod push_twin;
mod queries;
mod query_bench;
mod remote_write;
mod servers;
mod special_data;
mod twin;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command};
use std::path::PathBuf;
use std::process::ExitCode;

fn value(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("PATH").help(help)
}

fn command() -> Command {
    let peers = [
        path(
            "ferula",
            "The ferula binary; the one beside this program when not given",
        ),
        path("prometheus", "A Prometheus binary"),
        path("victoriametrics", "A VictoriaMetrics binary"),
    ];
    let remote_write = Command::new("remote-write")
        .about(
            "Remote write into each server in turn: CPU, memory, disk, restart after kill -9, loss",
        )
        .args(peers)
        .arg(value("series", "100000", "Number of series"))
        .arg(value("batch", "2000", "Samples per request"))
        .arg(value(
            "rounds",
            "60",
            "Rounds over all series after the one that creates them",
        ))
        .arg(value("connections", "2", "Parallel connections"))
        .arg(value(
            "shuffle",
            "0",
            "Seed of a permutation of the series; 0: creation order",
        ))
        .arg(value("protocol", "v1", "v1 or v2"))
        .arg(value(
            "ferula-args",
            "",
            "More flags for ferula, separated by spaces",
        ));
    let kill = Command::new("kill")
        .about("kill -9 under load, then a cut and a flipped byte in the log; nothing acknowledged may go")
        .arg(path("ferula", "The ferula binary; the one beside this program when not given"))
        .arg(value("kills", "20", "How often"))
        .arg(value("series", "20000", "Number of series"))
        .arg(value("batch", "1000", "Samples per request"))
        .arg(value("seed", "1", "Seed of kill times and damage"))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true));
    let twin = Command::new("twin")
        .about(
            "A real Prometheus scrapes and remote-writes into ferula; both answer the same queries",
        )
        .arg(path(
            "ferula",
            "The ferula binary; the one beside this program when not given",
        ))
        .arg(path("prometheus", "A Prometheus binary").required(true))
        .arg(path("node-exporter", "A node_exporter binary").required(true))
        .arg(value("minutes", "10", "How long to collect"))
        .arg(value("protocol", "v1", "v1 or v2"))
        .arg(value(
            "ferula-args",
            "",
            "More flags for ferula, separated by spaces",
        ));
    let scrape = Command::new("scrape-twin")
        .about(
            "ferula and a real Prometheus scrape the same targets; both must hold the same series",
        )
        .arg(path(
            "ferula",
            "The ferula binary; the one beside this program when not given",
        ))
        .arg(path("prometheus", "A Prometheus binary").required(true))
        .arg(path("node-exporter", "A node_exporter binary").required(true))
        .arg(value("seconds", "60", "How long to collect"))
        .arg(value(
            "ferula-args",
            "",
            "More flags for ferula, separated by spaces",
        ));
    let disk = Command::new("disk")
        .about("Bytes per sample on disk, index included, of the same data in each server's settled form")
        .args([
            path("ferula", "The ferula binary; the one beside this program when not given"),
            path("prometheus", "A Prometheus binary"),
            path("victoriametrics", "A VictoriaMetrics binary"),
        ])
        .arg(value("series", "10000", "Number of series"))
        .arg(value("rounds", "480", "Samples of each series"))
        .arg(value("step-ms", "15000", "Time between the samples of a series, milliseconds"))
        .arg(value("noise", "10,1", "Shares of random floats, in percent; a table for each"))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true))
        .arg(
            Arg::new("running")
                .long("running")
                .action(clap::ArgAction::Append)
                .value_name("KIND=URL=DATA")
                .help("Measure a running server (ferula, prometheus or victoriametrics) instead of filling new ones; again for each"),
        );
    let disk_full = Command::new("disk-full")
        .about("Fills a small disk under load, again and again: nothing acknowledged may go, writing resumes by itself")
        .arg(path("ferula", "The ferula binary; the one beside this program when not given"))
        .arg(value("fills", "50", "How often"))
        .arg(value("megabytes", "320", "Size of the disk, a tmpfs"))
        .arg(value("series", "2000", "Number of series"))
        .arg(value("batch", "500", "Samples per request"))
        .arg(value("rate", "20000", "Samples per second"))
        .arg(value("seed", "1", "Seed of times and values"))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true));
    let blocks = Command::new("blocks")
        .about("Prometheus's block format both ways: what ferula exports Prometheus answers from, and the reverse")
        .arg(path("ferula", "The ferula binary; the one beside this program when not given"))
        .arg(path("prometheus", "A Prometheus binary").required(true))
        .arg(path("node-exporter", "A node_exporter binary, to be scraped too"))
        .arg(value("hours", "7", "Hours of special data"))
        .arg(value("seconds", "120", "How long to scrape"));
    let query = Command::new("query")
        .about("A mix of queries to each server by turns over the same data: CPU, wall time, peak memory")
        .args([
            path("ferula", "The ferula binary; the one beside this program when not given"),
            path("prometheus", "A Prometheus binary"),
            path("victoriametrics", "A VictoriaMetrics binary"),
        ])
        .arg(value("repeat", "7", "Measured repetitions of the mix"))
        .arg(value("only", "", "Names of queries, separated by commas, to ask no others"))
        .arg(Arg::new("sealed").long("sealed").action(clap::ArgAction::SetTrue).help("Wait until the data is sealed in blocks"))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true));
    let promql_diff = Command::new("promql-diff")
        .about("Listed and generated queries to two servers with the same data: every answer must be the same")
        .arg(path("ferula", "The ferula binary; the one beside this program when not given"))
        .arg(path("prometheus", "A Prometheus binary, to start both servers here"))
        .arg(Arg::new("ref").long("ref").value_name("URL").help("The server whose answers are right, in place of starting one"))
        .arg(Arg::new("test").long("test").value_name("URL").help("The server that is tested, in place of starting one"))
        .arg(Arg::new("fill").long("fill").action(clap::ArgAction::SetTrue).help("Write the data into --ref and --test first"))
        .arg(value("queries", "5000", "Generated queries"))
        .arg(value("seed", "1", "Seed of the generated queries"))
        .arg(value("hours", "2", "Hours of data"))
        .arg(value("end", "0", "When the data ends, seconds; 0: five minutes ago"))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true));
    Command::new("ferula-bench")
        .about("Side-by-side runs of ferula and its peers")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommands([
            blocks,
            remote_write,
            kill,
            twin,
            scrape,
            disk,
            disk_full,
            promql_diff,
            query,
            push::command(),
            push_twin::command(),
            alerts::command(),
        ])
}

/// A typed option.
pub(crate) fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &String = matches
        .get_one(name)
        .with_context(|| format!("--{name} is missing"))?;
    text.parse().with_context(|| format!("--{name}={text}"))
}

/// A path option, if given.
pub(crate) fn path_of(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<String>(name).map(PathBuf::from)
}

/// The ferula binary: named, or beside this program.
pub(crate) fn ferula_path(matches: &ArgMatches) -> Result<PathBuf> {
    if let Some(path) = path_of(matches, "ferula") {
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name("ferula");
    if !beside.exists() {
        bail!(
            "{} does not exist: build it or name one with --ferula",
            beside.display()
        );
    }
    Ok(beside)
}

/// Extra flags for ferula.
pub(crate) fn ferula_args(matches: &ArgMatches) -> Vec<String> {
    let text = matches
        .get_one::<String>("ferula-args")
        .map_or("", String::as_str);
    text.split_whitespace().map(str::to_owned).collect()
}

fn main() -> Result<ExitCode> {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let good = runtime.block_on(async {
        match matches.subcommand() {
            Some(("remote-write", matches)) => remote_write::run(matches).await,
            Some(("blocks", matches)) => blocks::run(matches).await,
            Some(("kill", matches)) => kill::run(matches).await,
            Some(("disk-full", matches)) => disk_full::run(matches).await,
            Some(("query", matches)) => query_bench::run(matches).await,
            Some(("promql-diff", matches)) => promql_diff::run(matches).await,
            Some(("disk", matches)) => disk::run(matches).await,
            Some(("twin", matches)) => twin::remote_write_twin(matches).await,
            Some(("push", matches)) => push::run(matches).await,
            Some(("alerts", matches)) => alerts::run(matches).await,
            Some(("push-twin", matches)) => push_twin::run(matches).await,
            Some(("scrape-twin", matches)) => twin::scrape_twin(matches).await,
            _ => bail!("unknown command"),
        }
    })?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
