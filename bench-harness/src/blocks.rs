//! Prometheus's block format, both ways: what ferula exports a real Prometheus answers from, and what Prometheus wrote ferula answers from.
//!
//! Promise: true only when every answer of both servers is equal. Not here: the data (`special_data`), what equal means (`differ`).

use crate::differ::{Client, difference, encode};
use crate::process::{Server, free_port};
use crate::queries::QUERIES;
use crate::servers::{Kind, Setup};
use crate::special_data::{ARITHMETIC_QUERIES, SPECIAL_QUERIES, is_about_late_samples, send};
use crate::{ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::ArgMatches;
use loadgen::http_client::Connection;
use loadgen::sender::now_ms;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(120);
const NO_TARGETS: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 2d\n";
const HOUR_MS: i64 = 3_600_000;

/// A range of time that is asked about.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: i64,
    end: i64,
}

impl Span {
    /// Moments of instant queries: the ends, the middle, and odd places between.
    fn moments(self) -> [i64; 5] {
        let length = self.end - self.start;
        [
            self.end,
            self.start + length / 2,
            self.start + length / 3 + 7,
            self.end - length / 5,
            self.start + length / 20,
        ]
    }
}

/// Asks both the same; true when all answers are equal.
async fn compare(ours: &Setup, theirs: &Setup, queries: &[&str], span: Span) -> Result<bool> {
    let mut ours = Client::new(&ours.base_url())?;
    let mut theirs = Client::new(&theirs.base_url())?;
    let (mut asked, mut equal, mut empty) = (0, 0, 0);
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let step = ((span.end - span.start) / 97 / 1000).max(1);
    let range = format!(
        "start={}&end={}&step={step}",
        seconds(span.start),
        seconds(span.end)
    );
    for query in queries {
        let encoded = encode(query);
        let mut paths: Vec<String> = span
            .moments()
            .iter()
            .map(|t| format!("/api/v1/query?query={encoded}&time={}", seconds(*t)))
            .collect();
        paths.push(format!("/api/v1/query_range?query={encoded}&{range}"));
        let mut has_answer = false;
        for path in paths {
            asked += 1;
            let (left, right) = (ours.get(&path).await?, theirs.get(&path).await?);
            let result = &right["data"]["result"];
            has_answer |= result.as_array().is_some_and(|rows| !rows.is_empty());
            match difference(&left, &right) {
                None => equal += 1,
                Some(text) => println!("DIFFERENT {query}\n  {path}\n  {text:.300}"),
            }
        }
        if !has_answer {
            empty += 1;
            println!("  no answer at any time: {query}");
        }
    }
    let all = encode("{__name__=~\".+\"}");
    // Over all time: in a part of its head Prometheus names labels that only other parts have.
    for path in [
        "/api/v1/labels".to_owned(),
        "/api/v1/label/__name__/values".to_owned(),
        "/api/v1/label/job/values".to_owned(),
        format!("/api/v1/series?match[]={all}"),
    ] {
        asked += 1;
        let (left, right) = (ours.get(&path).await?, theirs.get(&path).await?);
        let sorted = |answer: &serde_json::Value| {
            let rows = answer["data"].as_array().into_iter().flatten();
            let mut rows: Vec<String> = rows.map(ToString::to_string).collect();
            rows.sort();
            rows
        };
        let (left, right) = (sorted(&left), sorted(&right));
        match left == right && !right.is_empty() {
            true => equal += 1,
            false => println!("DIFFERENT {path}: {} against {}", left.len(), right.len()),
        }
    }
    println!(
        "{equal} of {asked} answers equal ({} queries, {empty} without any answer)",
        queries.len()
    );
    Ok(equal == asked)
}

/// Runs `ferula tsdb …` and prints what it says.
fn tsdb(ferula: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(ferula)
        .arg("tsdb")
        .args(arguments)
        .output()
        .with_context(|| format!("starting {}", ferula.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "ferula tsdb {}: {}\n{text}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

/// Are the samples of two data directories equal, text for text?
fn dumps_equal(ferula: &Path, one: &str, other: &str) -> Result<bool> {
    let (one, other) = (
        tsdb(ferula, &["dump", one])?,
        tsdb(ferula, &["dump", other])?,
    );
    let equal = one == other;
    let word = if equal { "equal" } else { "DIFFERENT" };
    let lines = one.lines().count();
    println!(
        "  dumps of {lines} and {} samples are {word}",
        other.lines().count()
    );
    Ok(equal)
}

/// All queries over the special data.
fn all_queries() -> Vec<&'static str> {
    [SPECIAL_QUERIES, ARITHMETIC_QUERIES].concat()
}

async fn start(setup: &Setup) -> Result<Server> {
    let mut server = setup.start()?;
    server.wait_ready(setup.ready_path(), START_MAX).await?;
    Ok(server)
}

/// Names of Prometheus's blocks in a directory.
fn block_names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.len() == 26 && dir.join(&name).join("meta.json").exists() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

struct Programs {
    ferula: PathBuf,
    prometheus: PathBuf,
    node_exporter: Option<PathBuf>,
}

impl Programs {
    fn ferula(&self, home: &Path, name: &str, extra: &[&str]) -> Result<Setup> {
        let extra = extra.iter().map(|flag| (*flag).to_owned()).collect();
        Setup::new(
            Kind::Ferula,
            self.ferula.clone(),
            &home.join(name),
            NO_TARGETS,
            extra,
        )
    }

    fn prometheus(&self, home: &Path, name: &str) -> Result<Setup> {
        let extra = vec![
            "--enable-feature=native-histograms".to_owned(),
            "--web.enable-admin-api".to_owned(),
        ];
        let program = self.prometheus.clone();
        Setup::new(
            Kind::Prometheus,
            program,
            &home.join(name),
            NO_TARGETS,
            extra,
        )
    }
}

/// Exports `data` into the data directory of a Prometheus that is not there yet.
fn export(programs: &Programs, home: &Path, name: &str, data: &Path) -> Result<Setup> {
    let theirs = programs.prometheus(home, name)?;
    let (data, blocks) = (data.to_string_lossy(), theirs.data());
    let arguments = ["export-prometheus-block", &blocks.to_string_lossy(), &data];
    print!("{}", tsdb(&programs.ferula, &arguments)?);
    Ok(theirs)
}

/// (a) ferula's data in Prometheus. A second Prometheus is sent the same as ferula, to ask two servers of one version the same.
async fn exported(programs: &Programs, home: &Path, hours: i64) -> Result<bool> {
    println!("\n(a) ferula writes, exports; Prometheus answers from the blocks");
    let end = (now_ms() - HOUR_MS) / 60_000 * 60_000;
    let span = Span {
        start: end - hours * HOUR_MS,
        end,
    };
    let ours = programs.ferula(home, "written-by-ferula", &[])?;
    let twin = programs.prometheus(home, "written-by-prometheus-too")?;
    let mut sent = 0;
    for setup in [&ours, &twin] {
        let server = start(setup).await?;
        sent = send(&setup.base_url(), span.start, span.end).await?;
        server.terminate()?;
    }
    let theirs = export(programs, home, "exported-to-prometheus", &ours.data())?;
    println!("{sent} samples sent");
    let text = |setup: &Setup| setup.data().to_string_lossy().into_owned();
    let (data, blocks, twins) = (text(&ours), text(&theirs), text(&twin));
    let stored = tsdb(&programs.ferula, &["dump", &data])?.lines().count() as u64;
    let mut good = stored == sent;
    println!("ferula's data directory and the blocks:");
    good &= dumps_equal(&programs.ferula, &data, &blocks)?;
    println!("the blocks and what Prometheus wrote itself:");
    good &= dumps_equal(&programs.ferula, &blocks, &twins)?;
    print!("{}", tsdb(&programs.ferula, &["verify", &blocks])?);
    let server = start(&ours).await?;
    let prometheus = start(&theirs).await?;
    println!("ferula and the Prometheus on the blocks:");
    good &= compare(&ours, &theirs, SPECIAL_QUERIES, span).await?;
    server.terminate()?;
    let server = start(&twin).await?;
    println!("the Prometheus that wrote itself and the one on the blocks:");
    good &= compare(&twin, &theirs, &all_queries(), span).await?;
    server.terminate()?;
    prometheus.terminate()?;
    Ok(good)
}

/// (b) Prometheus's data in ferula: the data directory with blocks and log, and a snapshot.
async fn imported(programs: &Programs, home: &Path, hours: i64, seconds: u64) -> Result<bool> {
    println!("\n(b) Prometheus writes; ferula imports and answers");
    let theirs = programs.prometheus(home, "written-by-prometheus")?;
    let mut node = None;
    if let Some(program) = &programs.node_exporter {
        let authority = format!("127.0.0.1:{}", free_port()?);
        let args = [format!("--web.listen-address={authority}")];
        let mut server = Server::start(program, &args, home, &authority)?;
        server.wait_ready("/metrics", START_MAX).await?;
        let own = theirs.base_url();
        let config = format!(
            "{NO_TARGETS}global:\n  scrape_interval: 5s\n  scrape_timeout: 4s\nscrape_configs:\n\
             - job_name: node\n  static_configs:\n  - targets: ['{authority}']\n\
             - job_name: prometheus\n  scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]\n  \
             static_configs:\n  - targets: ['{}']\n",
            own.trim_start_matches("http://")
        );
        let path = home.join("written-by-prometheus").join("server.yml");
        // First the special data, which is older than what is scraped.
        node = Some((server, path, config));
    }
    let end = (now_ms() - HOUR_MS / 2) / 60_000 * 60_000;
    let special = Span {
        start: end - hours * HOUR_MS,
        end,
    };
    let prometheus = start(&theirs).await?;
    let sent = send(&theirs.base_url(), special.start, special.end).await?;
    println!("{sent} samples sent");
    prometheus.terminate()?;
    let mut scraped = None;
    if let Some((_, path, config)) = &node {
        std::fs::write(path, config)?;
        let from = now_ms();
        println!("scraping for {seconds} s");
        let prometheus = start(&theirs).await?;
        // The head is compacted about a minute after the start, so that there are blocks and a log.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        scraped = Some(Span {
            start: from + 20_000,
            end: now_ms() - 10_000,
        });
        let mut connection = Connection::new(prometheus.authority.clone());
        let request = http::Request::post("/api/v1/admin/tsdb/snapshot");
        let (status, answer) = connection.send(request, Bytes::new()).await?;
        println!("snapshot: {status} {}", String::from_utf8_lossy(&answer));
        prometheus.terminate()?;
        std::fs::write(path, NO_TARGETS)?;
    }
    if let Some((mut server, _, _)) = node {
        server.kill()?;
    }
    let data = theirs.data();
    println!("{} blocks of Prometheus's own", block_names(&data)?.len());
    let mut sources = vec![("imported-from-data", data.clone())];
    if let Ok(snapshots) = std::fs::read_dir(data.join("snapshots")) {
        for snapshot in snapshots {
            sources.push(("imported-from-snapshot", snapshot?.path()));
        }
    }
    let mut good = true;
    for (name, source) in sources {
        // Prometheus leaves the late samples of its head out of a snapshot.
        let asked = |query: &&str| name == "imported-from-data" || !is_about_late_samples(query);
        let alike: Vec<&str> = SPECIAL_QUERIES.iter().copied().filter(asked).collect();
        let all: Vec<&str> = all_queries().into_iter().filter(asked).collect();
        let ours = programs.ferula(home, name, &["--storage.tsdb.retention.time=10y"])?;
        let target = ours.data();
        let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
        println!("{name}:");
        print!(
            "{}",
            tsdb(
                &programs.ferula,
                &["import", &source, &target, "--shards=2"]
            )?
        );
        good &= dumps_equal(&programs.ferula, &source, &target)?;
        print!("{}", tsdb(&programs.ferula, &["verify", &target])?);
        let back = export(programs, home, &format!("{name}-and-back"), &ours.data())?;
        let server = start(&ours).await?;
        let prometheus = start(&theirs).await?;
        println!("ferula and Prometheus over the special data:");
        good &= compare(&ours, &theirs, &alike, special).await?;
        if let Some(span) = scraped {
            println!("ferula and Prometheus over what was scraped:");
            good &= compare(&ours, &theirs, QUERIES, span).await?;
        }
        server.terminate()?;
        let server = start(&back).await?;
        println!("Prometheus and a Prometheus on what was exported again:");
        good &= compare(&back, &theirs, &all, special).await?;
        server.terminate()?;
        prometheus.terminate()?;
    }
    Ok(good)
}

/// Runs both; true when everything is equal.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let programs = Programs {
        ferula: ferula_path(matches)?,
        prometheus: path_of(matches, "prometheus").context("--prometheus is missing")?,
        node_exporter: path_of(matches, "node-exporter"),
    };
    let hours: i64 = number(matches, "hours")?;
    let seconds: u64 = number(matches, "seconds")?;
    let directory = tempfile::tempdir()?;
    let exported = exported(&programs, directory.path(), hours).await?;
    let imported = imported(&programs, directory.path(), hours, seconds).await?;
    let verdict = |good: bool| if good { "PASS" } else { "FAIL" };
    println!(
        "\nexport {}, import {}",
        verdict(exported),
        verdict(imported)
    );
    Ok(exported && imported)
}
