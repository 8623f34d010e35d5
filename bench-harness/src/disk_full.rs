//! A disk that fills up, again and again, under load: nothing acknowledged may go, queries go on, and writing resumes by itself.
//!
//! The data lies on a small tmpfs of its own, which needs the right to mount. A file beside the data takes all the room; when the server
//! refuses writes the file goes away again. At the end, and once more after a kill -9, the ledger is the judge.

use crate::differ::{Client, encode};
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::body::Protocol;
use loadgen::ledger::{Layout, Ledger};
use loadgen::sender::{Plan, Progress, now_ms, run as send};
use loadgen::series::{Fleet, NOISE_PERCENT, mix};
use loadgen::verify::verify;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the first refusal on a full disk, and for the first acknowledgement after room has come back.
const CHANGE_MAX: Duration = Duration::from_secs(20);
/// How long no acknowledgement comes before writing counts as refused.
const SILENCE: Duration = Duration::from_millis(700);
/// What one write of the filler takes.
const FILLER_STEP_BYTES: usize = 64 << 10;

/// A tmpfs that is unmounted when the run ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, megabytes: u64) -> Result<SmallDisk> {
        std::fs::create_dir_all(path)?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(path)
            .status()
            .context("starting mount")?;
        if !status.success() {
            bail!("a tmpfs could not be mounted: this test needs the right to mount");
        }
        Ok(SmallDisk(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server, which is dropped after this on an early return, may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs it; true when nothing acknowledged was lost and writing resumed after each fill.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let fills: u64 = number(matches, "fills")?;
    let seed: u64 = number(matches, "seed")?;
    let layout = Layout {
        fleet: Fleet {
            series: number(matches, "series")?,
            seed,
            generation: 0,
            noise_percent: NOISE_PERCENT,
        },
        batch: number(matches, "batch")?,
        shuffle: 0,
    };
    let directory = tempfile::tempdir()?;
    let home = directory.path().join("small");
    let _disk = SmallDisk::mount(&home, number(matches, "megabytes")?)?;
    let setup = Setup::new(
        Kind::Ferula,
        ferula_path(matches)?,
        &home,
        "global: {}\n",
        ferula_args(matches),
    )?;
    // The server's own output must not fail for lack of room.
    let ledger_path = directory.path().join("ledger");
    let mut server = setup.start_with_log(directory.path())?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let progress = Arc::new(Progress::default());
    let plan = Plan {
        url: format!("{}/api/v1/write", setup.base_url()),
        layout,
        protocol: Protocol::V1,
        connections: 2,
        rate: number(matches, "rate")?,
        step_ms: 1000,
        start_ms: now_ms() - 3000 * 1000,
        duration: Duration::from_secs(7200),
        rounds: 0,
        churn_rounds: 0,
        ledger: Some(ledger_path.clone()),
        retry: true,
    };
    let sender = tokio::spawn(send(plan, progress.clone()));
    wait_for_samples(&progress, 0).await?;
    let mut client = Client::new(&setup.base_url())?;
    let mut good = true;
    for fill in 0..fills {
        tokio::time::sleep(Duration::from_millis(200 + mix(seed ^ fill) % 600)).await;
        let filler = home.join("filler");
        let begun = Instant::now();
        refuse_by_filling(&filler, &progress).await?;
        let full_after = begun.elapsed();
        let query = format!("/api/v1/query?query={}", encode("count({__name__!=\"\"})"));
        let (status, _) = client.text(&query).await?;
        good &= status == 200;
        let before = progress.samples.load(Ordering::Relaxed);
        std::fs::remove_file(&filler)?;
        let begun = Instant::now();
        wait_for_samples(&progress, before).await?;
        println!(
            "fill {:>3}: refused after {full_after:.1?}, query {status}, resumed {:.1?} after room came back, {before} samples acknowledged",
            fill + 1,
            begun.elapsed()
        );
    }
    progress.stop.store(true, Ordering::Relaxed);
    let outcome = sender.await??;
    println!(
        "{} samples acknowledged in {} requests; {} were refused and repeated, the last with: {}",
        outcome.samples,
        outcome.requests,
        outcome.errors,
        outcome.last_error.as_deref().unwrap_or("-")
    );
    let ledger = Ledger::read(&ledger_path)?;
    for when in ["after all fills", "after a kill -9"] {
        let verdict = verify(&setup.base_url(), &ledger, usize::MAX).await?;
        let right = verdict.missing + verdict.wrong + verdict.invented == 0 && verdict.read > 0;
        println!(
            "{when}: acknowledged {}, read {}, missing {}, wrong {}, invented {}",
            verdict.acknowledged, verdict.read, verdict.missing, verdict.wrong, verdict.invented
        );
        verdict.examples.iter().for_each(|e| println!("  {e}"));
        good &= right;
        server.kill()?;
        server = setup.start_with_log(directory.path())?;
        server.wait_ready(setup.ready_path(), START_MAX).await?;
    }
    server.terminate()?;
    good &= outcome.errors > 0;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}

/// Takes all room until no acknowledgement has come for a while.
async fn refuse_by_filling(filler: &Path, progress: &Progress) -> Result<()> {
    let mut file = File::create(filler)?;
    let step = vec![0xa5; FILLER_STEP_BYTES];
    let begun = Instant::now();
    let (mut last, mut since) = (progress.samples.load(Ordering::Relaxed), Instant::now());
    while since.elapsed() < SILENCE {
        // Again and again: the server may free its own reserve or an old segment meanwhile.
        while file.write_all(&step).is_ok() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = progress.samples.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if begun.elapsed() > CHANGE_MAX {
            bail!("writes are still acknowledged {CHANGE_MAX:?} after the disk was filled");
        }
    }
    Ok(())
}

async fn wait_for_samples(progress: &Progress, before: u64) -> Result<()> {
    let begun = Instant::now();
    while progress.samples.load(Ordering::Relaxed) <= before {
        if begun.elapsed() > CHANGE_MAX {
            bail!("no sample was acknowledged within {CHANGE_MAX:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
