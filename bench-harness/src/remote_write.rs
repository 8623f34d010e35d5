//! The remote-write comparison: the same load into each server in turn, one table at the end.

use crate::process::directory_bytes;
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::body::Protocol;
use loadgen::ledger::{Layout, Ledger};
use loadgen::sender::now_ms;
use loadgen::series::{Fleet, NOISE_PERCENT};
use loadgen::verify::verify;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest start we wait for (Prometheus replays its log).
const START_MAX: Duration = Duration::from_secs(300);
/// Instances whose samples are read back after the kill.
const CHECKED_INSTANCES: usize = 20;

struct Row {
    name: &'static str,
    create_cpu: f64,
    write_cpu: f64,
    /// The part of `write_cpu` that keepers took.
    keeper_cpu: f64,
    samples_per_second: f64,
    resident_per_series: f64,
    disk_per_sample: f64,
    restart: Duration,
    checked: u64,
    lost: u64,
}

/// Runs it, prints the table.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let fleet = Fleet {
        series: number(matches, "series")?,
        seed: 1,
        generation: 0,
        noise_percent: NOISE_PERCENT,
    };
    let layout = Layout {
        fleet,
        batch: number(matches, "batch")?,
        shuffle: number(matches, "shuffle")?,
    };
    let rounds: u64 = number(matches, "rounds")?;
    let connections: usize = number(matches, "connections")?;
    let protocol = match matches.get_one::<String>("protocol").map(String::as_str) {
        Some("v1") => Protocol::V1,
        Some("v2") => Protocol::V2,
        _ => bail!("--protocol must be v1 or v2"),
    };
    let mut servers = vec![(Kind::Ferula, ferula_path(matches)?, ferula_args(matches))];
    for (name, kind) in [
        ("prometheus", Kind::Prometheus),
        ("victoriametrics", Kind::VictoriaMetrics),
    ] {
        if let Some(path) = path_of(matches, name) {
            servers.push((kind, path, Vec::new()));
        }
    }
    let mut rows = Vec::new();
    for (kind, program, extra) in servers {
        let directory = tempfile::tempdir()?;
        let setup = Setup::new(kind, program, directory.path(), "global: {}\n", extra)?;
        let load = Load {
            layout,
            rounds,
            connections,
            protocol,
            scratch: directory.path(),
        };
        rows.push(measure(&setup, &load).await.with_context(|| setup.name())?);
    }
    print(&rows, &layout, rounds, protocol);
    let ferula_lost = rows
        .iter()
        .find(|r| r.name == "ferula")
        .is_some_and(|r| r.lost > 0);
    Ok(!ferula_lost)
}

struct Load<'a> {
    layout: Layout,
    rounds: u64,
    connections: usize,
    protocol: Protocol,
    scratch: &'a Path,
}

impl Load<'_> {
    /// Runs the load generator as its own process, so that its CPU is not the server's.
    fn send(
        &self,
        url: &str,
        rounds: u64,
        start_ms: i64,
        ledger: Option<&Path>,
    ) -> Result<Duration> {
        let loadgen = std::env::current_exe()?.with_file_name("ferula-loadgen");
        let ago = (now_ms() - start_ms) / 1000;
        let mut command = Command::new(&loadgen);
        command
            .arg("remote-write")
            .args(["--url", &format!("{url}/api/v1/write"), "--quiet"])
            .args(["--series", &self.layout.fleet.series.to_string()])
            .args(["--batch", &self.layout.batch.to_string()])
            .args(["--shuffle", &self.layout.shuffle.to_string()])
            .args(["--seed", &self.layout.fleet.seed.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--rounds", &rounds.to_string(), "--duration", "3600"])
            .args(["--start-ago", &ago.to_string()])
            .args([
                "--protocol",
                if self.protocol == Protocol::V1 {
                    "v1"
                } else {
                    "v2"
                },
            ]);
        if let Some(ledger) = ledger {
            command.arg("--ledger").arg(ledger);
        }
        let started = Instant::now();
        let output = command
            .stdout(Stdio::piped())
            .output()
            .with_context(|| format!("starting {}", loadgen.display()))?;
        if !output.status.success() {
            bail!(
                "the load generator failed: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(started.elapsed())
    }
}

async fn measure(setup: &Setup, load: &Load<'_>) -> Result<Row> {
    let mut server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let start = now_ms() - 3000 * 1000;
    let series = load.layout.fleet.series as f64;
    let idle = server.cpu_seconds()?;
    load.send(&setup.base_url(), 1, start, None)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let created = server.cpu_seconds()?;
    let kept = server.keeper_cpu_seconds()?;
    let ledger_path = load.scratch.join("ledger");
    let took = load.send(
        &setup.base_url(),
        load.rounds,
        start + 10_000,
        Some(&ledger_path),
    )?;
    let written = server.cpu_seconds()?;
    let kept = server.keeper_cpu_seconds()? - kept;
    let resident = server.resident_bytes()?;
    server.kill()?;
    let samples = series * load.rounds as f64;
    let disk = directory_bytes(&setup.data()) as f64 / (samples + series);
    let restarted = Instant::now();
    let mut server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    let restart = restarted.elapsed();
    let ledger = Ledger::read(&ledger_path)?;
    let verdict = verify(&setup.base_url(), &ledger, CHECKED_INSTANCES).await?;
    if verdict.wrong + verdict.invented > 0 {
        println!(
            "{}: {} wrong, {} invented",
            setup.name(),
            verdict.wrong,
            verdict.invented
        );
        verdict.examples.iter().for_each(|e| println!("  {e}"));
    }
    server.kill()?;
    Ok(Row {
        name: setup.name(),
        create_cpu: (created - idle) / series * 1e6,
        write_cpu: (written - created) / samples * 1e6,
        keeper_cpu: kept / samples * 1e6,
        samples_per_second: samples / took.as_secs_f64(),
        resident_per_series: resident as f64 / series,
        disk_per_sample: disk,
        restart,
        checked: verdict.acknowledged,
        lost: verdict.missing,
    })
}

fn print(rows: &[Row], layout: &Layout, rounds: u64, protocol: Protocol) {
    let order = if layout.shuffle == 0 {
        "creation order"
    } else {
        "shuffled"
    };
    println!(
        "\nRemote write {protocol:?}: {} series, {} samples a request, {rounds} rounds, {order}. Ratios are to ferula.\n",
        layout.fleet.series, layout.batch
    );
    println!(
        "| server | CPU s per M samples | CPU s per M new series | samples/s | RSS per series, B | disk, B a sample | ready after kill -9, s | acknowledged and lost |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let Some(base) = rows.first() else { return };
    for row in rows {
        let ratio = |value: f64, base: f64| {
            if std::ptr::eq(row, rows.as_ptr()) {
                String::new()
            } else {
                format!(" ({:.2}x)", value / base)
            }
        };
        let restart = row.restart.as_secs_f64();
        println!(
            "| {} | {:.3}{} | {:.2}{} | {:.0}{} | {:.0}{} | {:.2}{} | {:.2}{} | {} of {} checked |",
            row.name,
            row.write_cpu,
            ratio(row.write_cpu, base.write_cpu),
            row.create_cpu,
            ratio(row.create_cpu, base.create_cpu),
            row.samples_per_second,
            ratio(row.samples_per_second, base.samples_per_second),
            row.resident_per_series,
            ratio(row.resident_per_series, base.resident_per_series),
            row.disk_per_sample,
            ratio(row.disk_per_sample, base.disk_per_sample),
            restart,
            ratio(restart, base.restart.as_secs_f64()),
            row.lost,
            row.checked
        );
    }
    if base.keeper_cpu > 0.0 {
        println!(
            "\nOf {}'s CPU s per M samples, {:.3} went into sealing, compaction and checkpoints, {:.3} into the rest.",
            base.name,
            base.keeper_cpu,
            base.write_cpu - base.keeper_cpu
        );
    }
}
