//! What the same samples cost on disk: each server is filled alike, brought to its settled form, and its files are counted.
//!
//! Settled: ferula and Prometheus write a snapshot (head included) over the admin API, ferula's is then merged as a server merges its blocks
//! in time (`ferula tsdb compact`; what it was before is in a row of its own), VictoriaMetrics is told to flush and to merge.
//! Index and meta files count, logs of the unsettled do not. Not here: whether what was stored is right (`remote-write`, `twin`).

use crate::differ::Client;
use crate::process::directory_bytes;
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::sender::now_ms;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(60);
/// Longest wait for VictoriaMetrics' merge to end.
const MERGE_MAX: Duration = Duration::from_secs(120);

struct Row {
    name: &'static str,
    bytes: u64,
    samples: f64,
}

/// A server that has its data.
struct Filled<'a> {
    kind: Kind,
    name: &'static str,
    url: &'a str,
    data: &'a Path,
}

/// Runs it; true unless a server could not be measured.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    if let Some(running) = matches.get_many::<String>("running") {
        let mut rows = Vec::new();
        for text in running {
            let measured = measure_running(matches, text).await;
            rows.extend(measured.with_context(|| text.clone())?);
        }
        print("Running servers", &rows);
        return Ok(true);
    }
    let shares: &String = matches.get_one("noise").context("--noise is missing")?;
    for share in shares.split(',') {
        let noise: u32 = share.parse().with_context(|| format!("--noise={shares}"))?;
        let rows = synthetic(matches, noise).await?;
        let (series, rounds): (u64, u64) = (number(matches, "series")?, number(matches, "rounds")?);
        print(
            &format!("{series} series, {rounds} samples each, {noise} % random floats"),
            &rows,
        );
    }
    Ok(true)
}

async fn synthetic(matches: &ArgMatches, noise: u32) -> Result<Vec<Row>> {
    let mut ferula_flags = vec!["--web.enable-admin-api".to_owned()];
    ferula_flags.extend(ferula_args(matches));
    let mut servers = vec![(Kind::Ferula, ferula_path(matches)?, ferula_flags)];
    if let Some(path) = path_of(matches, "prometheus") {
        let flags = vec!["--web.enable-admin-api".to_owned()];
        servers.push((Kind::Prometheus, path, flags));
    }
    if let Some(path) = path_of(matches, "victoriametrics") {
        servers.push((Kind::VictoriaMetrics, path, Vec::new()));
    }
    let mut rows = Vec::new();
    for (kind, program, flags) in servers {
        let directory = tempfile::tempdir()?;
        let setup = Setup::new(kind, program, directory.path(), "global: {}\n", flags)?;
        let mut server = setup.start()?;
        server.wait_ready(setup.ready_path(), START_MAX).await?;
        fill(matches, &setup, noise)?;
        let filled = Filled {
            kind,
            name: setup.name(),
            url: &setup.base_url(),
            data: &setup.data(),
        };
        let settled = filled.settle(matches).await;
        rows.extend(settled.with_context(|| setup.name())?);
        server.kill()?;
    }
    Ok(rows)
}

fn fill(matches: &ArgMatches, setup: &Setup, noise: u32) -> Result<()> {
    let loadgen = std::env::current_exe()?.with_file_name("ferula-loadgen");
    let (rounds, step_ms): (i64, i64) = (number(matches, "rounds")?, number(matches, "step-ms")?);
    let option = |name: &str| -> Result<String> {
        Ok(format!("--{name}={}", number::<u64>(matches, name)?))
    };
    let output = Command::new(&loadgen)
        .args(["remote-write", "--quiet", "--connections=1"])
        .arg(format!("--url={}/api/v1/write", setup.base_url()))
        .args([option("series")?, option("rounds")?, option("step-ms")?])
        .arg(format!("--noise={noise}"))
        .arg(format!("--start-ago={}", rounds * step_ms / 1000))
        .args(["--duration=3600", "--retry"])
        .output()
        .with_context(|| format!("starting {}", loadgen.display()))?;
    if !output.status.success() {
        bail!(
            "the load generator failed: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(())
}

/// Merges the blocks of a snapshot.
fn compact(ferula: &Path, snapshot: &Path) -> Result<()> {
    let output = Command::new(ferula)
        .args(["tsdb", "compact"])
        .arg(snapshot)
        .output()
        .with_context(|| format!("starting {}", ferula.display()))?;
    if !output.status.success() {
        bail!(
            "ferula tsdb compact: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

async fn measure_running(matches: &ArgMatches, text: &str) -> Result<Vec<Row>> {
    let mut parts = text.splitn(3, '=');
    let (Some(kind), Some(url), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("--running must be KIND=URL=DATA");
    };
    let (kind, name) = match kind {
        "ferula" => (Kind::Ferula, "ferula"),
        "prometheus" => (Kind::Prometheus, "Prometheus"),
        "victoriametrics" => (Kind::VictoriaMetrics, "VictoriaMetrics"),
        other => bail!("unknown kind of server {other:?}"),
    };
    let data = PathBuf::from(data);
    let filled = Filled {
        kind,
        name,
        url,
        data: &data,
    };
    filled.settle(matches).await
}

impl Filled<'_> {
    async fn settle(&self, matches: &ArgMatches) -> Result<Vec<Row>> {
        let mut client = Client::new(self.url)?;
        // What is merged in the end first: ratios are to it.
        let mut sizes = Vec::new();
        match self.kind {
            Kind::Ferula => {
                let snapshot = self.snapshot(&mut client).await?;
                sizes.push(("ferula, blocks of two hours", directory_bytes(&snapshot)));
                compact(&ferula_path(matches)?, &snapshot)?;
                sizes.insert(0, ("ferula", directory_bytes(&snapshot)));
            }
            Kind::Prometheus => {
                let snapshot = self.snapshot(&mut client).await?;
                sizes.push((self.name, directory_bytes(&snapshot)));
            }
            Kind::VictoriaMetrics => {
                for path in ["/internal/force_flush", "/internal/force_merge"] {
                    let (status, body) = client.text(path).await?;
                    if status != 200 {
                        bail!("{path}: status {status}: {body}");
                    }
                }
                sizes.push((self.name, self.settled_parts().await));
            }
        };
        let samples = self.samples(&mut client).await?;
        let rows = sizes.into_iter().map(|(name, bytes)| Row {
            name,
            bytes,
            samples,
        });
        Ok(rows.collect())
    }

    async fn snapshot(&self, client: &mut Client) -> Result<PathBuf> {
        let (status, body) = client.post("/api/v1/admin/tsdb/snapshot").await?;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let Some(name) = answer["data"]["name"].as_str() else {
            bail!("snapshot: status {status}: {body}");
        };
        Ok(self.data.join("snapshots").join(name))
    }

    /// Waits until the sizes stand still for some seconds.
    async fn settled_parts(&self) -> u64 {
        let size = || {
            directory_bytes(&self.data.join("data")) + directory_bytes(&self.data.join("indexdb"))
        };
        let (mut last, mut still) = (size(), 0);
        let begun = std::time::Instant::now();
        while still < 8 && begun.elapsed() < MERGE_MAX {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = size();
            still = if now == last { still + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Samples that the server says it holds. Asked metric by metric: a range function drops the name, and series of two metrics with the
    /// same other labels would collide.
    async fn samples(&self, client: &mut Client) -> Result<f64> {
        let names = client.get("/api/v1/label/__name__/values").await?;
        let names = names["data"].as_array().context("names of metrics")?;
        let at = (now_ms() + 60_000) / 1000;
        let mut samples = 0.0;
        for name in names.iter().filter_map(Value::as_str) {
            let query = format!("sum(count_over_time({{__name__={name:?}}}[2d]))");
            let query = crate::differ::encode(&query);
            let path = format!("/api/v1/query?query={query}&time={at}&timeout=110s");
            let answer = client.get(&path).await?;
            let count = answer["data"]["result"][0]["value"][1].as_str();
            // Of a metric whose series are all gone there is nothing.
            samples += count.map_or(Ok(0.0), str::parse)?;
        }
        Ok(samples)
    }
}

fn print(title: &str, rows: &[Row]) {
    println!("\nDisk: {title}. Ratios are to ferula.\n");
    println!("| server | bytes | samples | bytes a sample |\n|---|---|---|---|");
    let Some(base) = rows.first() else { return };
    let cost = |row: &Row| row.bytes as f64 / row.samples.max(1.0);
    for row in rows {
        println!(
            "| {} | {} | {:.0} | {:.3} ({:.2}x) |",
            row.name,
            row.bytes,
            row.samples,
            cost(row),
            cost(row) / cost(base)
        );
    }
}
