//! Long runs of the simulator from the command line.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use anyhow::{Context, Result, bail};
use sim::runs::{Summary, run_seeds};
use sim::seeds::Failure;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seeds between two words about how far the run is.
const PROGRESS_EVERY: u64 = 1_000;
/// Failing seeds that are told one by one.
const FAILURES_SHOWN: usize = 20;

/// Numbers given as `--name value`.
fn numbers(arguments: &[String], known: &[&str]) -> Result<BTreeMap<String, u64>> {
    let mut numbers = BTreeMap::new();
    for pair in arguments.chunks(2) {
        let name = pair[0].trim_start_matches("--");
        let Some(value) = pair.get(1).filter(|_| known.contains(&name)) else {
            bail!(
                "what is {:?}? Known: {known:?}, each with a number",
                pair[0]
            );
        };
        let value = value.parse().with_context(|| format!("--{name} {value}"))?;
        numbers.insert(name.to_owned(), value);
    }
    Ok(numbers)
}

fn threads() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// `cargo xtask sim`: runs seeds; those that fail are added to `seeds.txt`. True if none did.
pub fn seeds(root: &Path, arguments: &[String]) -> Result<bool> {
    let given = numbers(arguments, &["seed", "runs", "threads", "aloud"])?;
    let first = given.get("seed").copied().unwrap_or(1);
    let runs = given.get("runs").copied();
    let runs = runs.unwrap_or_else(|| if given.contains_key("seed") { 1 } else { 1_000 });
    let threads = given.get("threads").copied().unwrap_or_else(threads);
    if given.contains_key("aloud") {
        sim::tell::aloud();
    }
    // A failing seed tells itself; a thousand stack traces would hide it.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let summary = run_seeds(first..first + runs, threads as usize, &|done| {
        if done.is_multiple_of(PROGRESS_EVERY) {
            println!("{done} of {runs} seeds, {:.0?}", begun.elapsed());
        }
    });
    let _ = std::panic::take_hook();
    print(&summary, begun.elapsed());
    keep(root, &summary.failures)?;
    Ok(summary.failures.is_empty())
}

fn print(summary: &Summary, took: Duration) {
    let total = &summary.total;
    println!(
        "{} seeds ({} of them twice, with equal traces) in {:.1} s",
        summary.seeds,
        summary.repeated,
        took.as_secs_f64()
    );
    println!(
        "{} lives, {} deaths, {} of them at a chosen operation, {} of them during recovery; {:.0} s of virtual time",
        total.lives,
        total.deaths,
        total.crash_points,
        total.nested,
        total.nanos as f64 / 1e9
    );
    println!(
        "{} writing and {} reading operations; failed: {} writes, {} syncs, {} of names, {} reads",
        total.operations,
        total.reads,
        total.faults.writes,
        total.faults.syncs,
        total.faults.names,
        total.faults.reads
    );
    println!(
        "damage at rest: {:?}; records lost to it and counted: {}",
        total.damages, total.records_lost
    );
    println!(
        "{} batches, {} answered, {} refused, {} failed; {} samples acknowledged, {} rejected; {} comparisons with the oracle",
        total.batches.sent,
        total.batches.answered,
        total.batches.refused,
        total.batches.failed,
        total.samples,
        total.batches.rejected,
        total.checks
    );
    println!("{} failures", summary.failures.len());
    for failure in summary.failures.iter().take(FAILURES_SHOWN) {
        println!("  seed {}: {}", failure.seed, first_line(failure));
        println!("    again: cargo xtask sim --seed {}", failure.seed);
    }
}

fn first_line(failure: &Failure) -> String {
    let line = failure.text.lines().next().unwrap_or_default();
    line.chars().take(300).collect()
}

/// Adds failing seeds to the list that the tests run.
fn keep(root: &Path, failures: &[Failure]) -> Result<()> {
    let path = root.join("storage-engine/sim/seeds.txt");
    let listed = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut file = OpenOptions::new().append(true).open(&path)?;
    for failure in failures.iter().take(FAILURES_SHOWN) {
        let known = listed
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&failure.seed.to_string()));
        if !known {
            writeln!(file, "{} {}", failure.seed, first_line(failure))?;
        }
    }
    Ok(())
}
