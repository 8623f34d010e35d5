//! kill -9 under load, again and again, with the ledger as judge; then damage to the log.

use crate::differ::Client;
use crate::process::Server;
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::body::Protocol;
use loadgen::ledger::{Layout, Ledger};
use loadgen::sender::{Plan, Progress, now_ms, run as send};
use loadgen::series::{Fleet, NOISE_PERCENT, mix};
use loadgen::verify::{Verdict, verify};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(60);

/// How long a server lives: most of them shortly, so that starts are met too, every eighth long enough for a compaction.
fn pause(seed: u64, kill: u64) -> Duration {
    let millis = match kill % 8 {
        7 => 2_000 + mix(seed ^ kill) % 4_000,
        _ => 300 + mix(seed ^ kill) % 900,
    };
    Duration::from_millis(millis)
}

/// What the server has sealed and compacted, in words.
async fn blocks(url: &str) -> Result<String> {
    let answer = Client::new(url)?.get("/api/v1/status/tsdb/blocks").await?;
    let blocks = answer["data"]["blocks"].as_array();
    let levels = blocks.into_iter().flatten();
    let mut by_level: BTreeMap<u64, u64> = BTreeMap::new();
    for block in levels {
        let level = block["compaction"]["level"].as_u64().unwrap_or(0);
        *by_level.entry(level).or_default() += 1;
    }
    Ok(format!("blocks by level of compaction: {by_level:?}"))
}

/// Runs it; true when nothing acknowledged was lost and nothing invented.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let kills: u64 = number(matches, "kills")?;
    let seed: u64 = number(matches, "seed")?;
    let fleet = Fleet {
        series: number(matches, "series")?,
        seed,
        generation: 0,
        noise_percent: NOISE_PERCENT,
    };
    let layout = Layout {
        fleet,
        batch: number(matches, "batch")?,
        shuffle: 0,
    };
    let directory = tempfile::tempdir()?;
    let setup = Setup::new(
        Kind::Ferula,
        ferula_path(matches)?,
        directory.path(),
        "global: {}\n",
        ferula_args(matches),
    )?;
    let ledger_path = directory.path().join("ledger");
    let mut server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let progress = Arc::new(Progress::default());
    let plan = Plan {
        url: format!("{}/api/v1/write", setup.base_url()),
        layout,
        protocol: Protocol::V1,
        connections: 2,
        // Paced, so that the log stays small enough for the checker and each kill meets requests in flight.
        rate: 200_000,
        step_ms: 1000,
        start_ms: now_ms() - 3000 * 1000,
        duration: Duration::from_secs(3600),
        rounds: 0,
        churn_rounds: 0,
        ledger: Some(ledger_path.clone()),
        retry: true,
    };
    let sender = tokio::spawn(send(plan, progress.clone()));
    for kill in 0..kills {
        tokio::time::sleep(pause(seed, kill)).await;
        server.kill()?;
        server = setup.start()?;
        let ready = server.wait_ready(setup.ready_path(), START_MAX).await?;
        let samples = progress.samples.load(Ordering::Relaxed);
        println!(
            "kill {:>3}: ready again after {ready:.2?}, {samples} samples acknowledged",
            kill + 1
        );
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    progress.stop.store(true, Ordering::Relaxed);
    let outcome = sender.await??;
    println!(
        "{} samples acknowledged in {} requests; {} requests met a dead server and were repeated",
        outcome.samples, outcome.requests, outcome.errors
    );
    if let Some(refusal) = &outcome.last_refusal {
        println!(
            "{} requests were refused, the last with {refusal}",
            outcome.refused
        );
    }
    println!("{}", blocks(&setup.base_url()).await?);
    let ledger = Ledger::read(&ledger_path)?;
    let mut good = outcome.samples > 0;
    good &= judge(
        "after all kills",
        &verify(&setup.base_url(), &ledger, usize::MAX).await?,
        0,
        0,
    );

    server.kill()?;
    if !good {
        println!("kept: {}", directory.keep().display());
        println!("FAIL");
        return Ok(false);
    }
    let copy = directory.path().join("data-before-damage");
    copy_tree(&setup.data(), &copy)?;

    let (victim, used) = newest_segment(&setup.data(), mix(seed ^ 1001))?;
    let at = mix(seed ^ 1002) % used.max(1);
    File::options().write(true).open(&victim)?.set_len(at)?;
    println!("cut {} at byte {at} of {used}", victim.display());
    server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let verdict = verify(&setup.base_url(), &ledger, usize::MAX).await?;
    // A cut takes the newest samples of one shard: never a hole, never another shard's.
    good &= judge("after the cut", &verdict, u64::MAX, 0);
    good &= still_writes(&mut server, &setup, &layout).await?;

    server.kill()?;
    std::fs::remove_dir_all(setup.data())?;
    copy_tree(&copy, &setup.data())?;
    let (victim, used) = newest_segment(&setup.data(), mix(seed ^ 1003))?;
    let from = used / 4 + mix(seed ^ 1004) % (used / 2).max(1);
    let file = File::options().read(true).write(true).open(&victim)?;
    let mut byte = [0u8];
    // Commits are padded with zeros, and a flip there would harm nothing: take the next byte of a record.
    let mut at = from;
    loop {
        file.read_exact_at(&mut byte, at)?;
        if byte[0] != 0 {
            break;
        }
        at += 1;
    }
    byte[0] ^= 1 << (mix(seed ^ 1005) % 8);
    file.write_all_at(&byte, at)?;
    println!(
        "flipped one bit of byte {at} of {used} in {}",
        victim.display()
    );
    server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let verdict = verify(&setup.base_url(), &ledger, usize::MAX).await?;
    let record = layout.batch as u64;
    good &= judge("after the flipped bit", &verdict, record, record);
    good &= still_writes(&mut server, &setup, &layout).await?;
    server.terminate()?;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}

fn judge(when: &str, verdict: &Verdict, missing_max: u64, holes_max: u64) -> bool {
    let good = verdict.missing <= missing_max
        && verdict.holes <= holes_max
        && verdict.wrong == 0
        && verdict.invented == 0
        && verdict.read > 0;
    println!(
        "{when}: acknowledged {}, read {}, missing {} ({} holes), wrong {}, invented {}: {}",
        verdict.acknowledged,
        verdict.read,
        verdict.missing,
        verdict.holes,
        verdict.wrong,
        verdict.invented,
        if good { "good" } else { "BAD" }
    );
    if !good {
        verdict.examples.iter().for_each(|e| println!("  {e}"));
    }
    good
}

/// After damage the server must go on taking samples.
async fn still_writes(server: &mut Server, setup: &Setup, layout: &Layout) -> Result<bool> {
    let fleet = Fleet {
        generation: 1,
        ..layout.fleet
    };
    let plan = Plan {
        url: format!("{}/api/v1/write", setup.base_url()),
        layout: Layout { fleet, ..*layout },
        protocol: Protocol::V1,
        connections: 1,
        rate: 0,
        step_ms: 1000,
        start_ms: now_ms(),
        duration: Duration::from_secs(30),
        rounds: 2,
        churn_rounds: 0,
        ledger: None,
        retry: false,
    };
    let outcome = send(plan, Arc::default()).await?;
    let good = outcome.errors == 0 && outcome.samples == 2 * layout.fleet.series as u64;
    if !good {
        println!(
            "writes after the damage failed: {:?}\n{}",
            outcome.last_error,
            server.tail()
        );
    }
    Ok(good)
}

/// The newest log segment of one shard, chosen by `random`, and how many bytes of it are written.
fn newest_segment(data: &Path, random: u64) -> Result<(PathBuf, u64)> {
    let mut by_shard: BTreeMap<PathBuf, Vec<PathBuf>> = Default::default();
    let mut stack = vec![data.to_owned()];
    while let Some(directory) = stack.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|e| e == "wal") {
                by_shard.entry(directory.clone()).or_default().push(path);
            }
        }
    }
    let shards: Vec<_> = by_shard.into_values().collect();
    if shards.is_empty() {
        bail!("no log segment under {}", data.display());
    }
    let mut segments = shards[random as usize % shards.len()].clone();
    segments.sort();
    let newest = segments.pop().context("a shard without segments")?;
    let bytes = std::fs::read(&newest)?;
    let used = bytes
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |i| i as u64 + 1);
    Ok((newest, used))
}

fn copy_tree(source: &Path, target: &Path) -> Result<()> {
    std::fs::create_dir_all(target)?;
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
