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
    match given.contains_key("aloud") {
        true => sim::tell::aloud(),
        // A failing seed tells itself; a thousand stack traces would hide it.
        false => std::panic::set_hook(Box::new(|_| {})),
    }
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

/// `cargo xtask sim-mutants`: drops each sync of the engine, one at a time. True if each one is missed by some seed.
pub fn mutants(arguments: &[String]) -> Result<bool> {
    let given = numbers(arguments, &["runs", "reach"])?;
    let runs = given.get("runs").copied().unwrap_or(2_000);
    let reach = given.get("reach").copied().unwrap_or(200);
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let sites = sim::mutants::reached(1..=reach);
    println!(
        "{} places make something durable in {reach} seeds",
        sites.len()
    );
    let mut missed = 0;
    for (site, times) in &sites {
        if sim::mutants::is_spare(site) {
            println!("{site:60} {times:8} times; spare, see SPARE in sim/src/mutants.rs");
            continue;
        }
        match sim::mutants::caught_by(site, 1..=runs) {
            Some((seed, text)) => {
                let words: String = text.chars().take(100).collect();
                println!("{site:60} {times:8} times; dropped: seed {seed} says {words}");
            }
            None => {
                missed += 1;
                println!("{site:60} {times:8} times; dropped: NOBODY NOTICES in {runs} seeds");
            }
        }
    }
    let _ = std::panic::take_hook();
    println!(
        "{missed} not caught; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(missed == 0)
}

/// `cargo xtask sim-enumerate`: a crash at every operation of the scripts, and of their recovery; `--runs` courses of chance.
pub fn enumerate(arguments: &[String]) -> Result<bool> {
    let given = numbers(arguments, &["seed", "runs"])?;
    let first = given.get("seed").copied().unwrap_or(1);
    let runs = given.get("runs").copied().unwrap_or(1);
    let (all, mut states) = (Instant::now(), 0);
    for seed in first..first + runs {
        for script in sim::enumerate::scripts(seed) {
            let begun = Instant::now();
            let done = sim::enumerate::crash_everywhere(&script, 1, true);
            states += done.states;
            println!(
                "{}, {seed}: {} operations, {} states, {:.1} s",
                script.name,
                done.operations,
                done.states,
                begun.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{states} crash points, nothing lost or invented; {:.1} s",
        all.elapsed().as_secs_f64()
    );
    Ok(true)
}

/// `cargo xtask wal-sweep`: every bit and every truncation of a 64 KiB log.
pub fn wal_sweep(arguments: &[String]) -> Result<bool> {
    let given = numbers(arguments, &["every", "threads"])?;
    let every = given.get("every").copied().unwrap_or(1);
    let threads = given.get("threads").copied().unwrap_or_else(threads);
    let begun = Instant::now();
    let swept = sim::wal_sweep::sweep(64 << 10, every as usize, threads);
    println!(
        "{} bytes, {} records; {} bits flipped, {} of them cost a record, none more; {} truncations; {} sectors mixed up; {:.1} s",
        swept.log_bytes,
        swept.records,
        swept.bits,
        swept.bits_that_cost,
        swept.truncations,
        swept.sectors,
        begun.elapsed().as_secs_f64()
    );
    Ok(true)
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
    let kept = &total.kept;
    println!(
        "{} pieces of heads sealed, {} blocks written ({} from blocks that overlapped), {} failed; {} checkpoints, {} failed; {} deletions, {} cleaned up; {} times retention took blocks; {} exemplars",
        kept.seals,
        kept.blocks,
        kept.overlapping,
        kept.failed,
        kept.checkpoints,
        kept.checkpoints_failed,
        total.batches.deleted,
        kept.cleanings,
        kept.retentions,
        total.exemplars
    );
    println!("{} failures", summary.failures.len());
    for failure in summary.failures.iter().take(FAILURES_SHOWN) {
        println!("  seed {}: {}", failure.seed, first_line(failure));
        println!("    again: cargo xtask sim --seed {}", failure.seed);
    }
}

fn first_line(failure: &Failure) -> String {
    let line = failure.text.lines().next().unwrap_or_default();
    line.chars().take(1_500).collect()
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
