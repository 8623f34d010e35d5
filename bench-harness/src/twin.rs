//! Twins: the same data by two ways in two servers, and the same questions to both.

use crate::differ::{Client, difference, encode};
use crate::process::{Server, free_port};
use crate::queries::QUERIES;
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::sender::now_ms;
use std::path::Path;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(60);
/// Queries end this long before now, so that remote write has delivered all they read.
const SETTLED_MS: i64 = 20_000;

fn node_exporter(program: &Path, directory: &Path) -> Result<Server> {
    let authority = format!("127.0.0.1:{}", free_port()?);
    let args = [format!("--web.listen-address={authority}")];
    Server::start(program, &args, directory, &authority)
}

fn scrape_config(node: &str, prometheus: &str) -> String {
    format!(
        "global:\n  scrape_interval: 5s\n  scrape_timeout: 4s\nscrape_configs:\n\
         - job_name: node\n  static_configs:\n  - targets: ['{node}']\n\
         - job_name: prometheus\n  static_configs:\n  - targets: ['{prometheus}']\n"
    )
}

/// Prometheus scrapes and remote-writes into ferula; true when nothing failed and all answers are equal.
pub(crate) async fn remote_write_twin(matches: &ArgMatches) -> Result<bool> {
    let minutes: f64 = number(matches, "minutes")?;
    let message = match matches.get_one::<String>("protocol").map(String::as_str) {
        Some("v1") => "prometheus.WriteRequest",
        Some("v2") => "io.prometheus.write.v2.Request",
        _ => bail!("--protocol must be v1 or v2"),
    };
    let directory = tempfile::tempdir()?;
    let ferula_home = directory.path().join("ferula");
    let ferula = Setup::new(
        Kind::Ferula,
        ferula_path(matches)?,
        &ferula_home,
        "global: {}\n",
        ferula_args(matches),
    )?;
    let mut ferula_server = ferula.start()?;
    ferula_server
        .wait_ready(ferula.ready_path(), START_MAX)
        .await?;
    let node_path = path_of(matches, "node-exporter").context("--node-exporter is missing")?;
    let mut node = node_exporter(&node_path, directory.path())?;
    node.wait_ready("/metrics", START_MAX).await?;
    let prometheus_path = path_of(matches, "prometheus").context("--prometheus is missing")?;
    let home = directory.path().join("prometheus");
    let prometheus = Setup::new(Kind::Prometheus, prometheus_path, &home, "", Vec::new())?;
    let own = prometheus.base_url();
    let own_authority = own.trim_start_matches("http://");
    let config = format!(
        "{}remote_write:\n- url: {}/api/v1/write\n  protobuf_message: {message}\n",
        scrape_config(&node.authority, own_authority),
        ferula.base_url()
    );
    std::fs::write(home.join("server.yml"), config)?;
    let mut prometheus_server = prometheus.start()?;
    prometheus_server
        .wait_ready(prometheus.ready_path(), START_MAX)
        .await?;
    println!("collecting for {minutes} minutes ({message})");
    tokio::time::sleep(Duration::from_secs_f64(minutes * 60.0)).await;

    let mut theirs = Client::new(&prometheus.base_url())?;
    let mut good = true;
    let (_, metrics) = theirs.text("/metrics").await?;
    for name in [
        "prometheus_remote_storage_samples_failed_total",
        "prometheus_remote_storage_samples_retried_total",
        "prometheus_remote_storage_samples_dropped_total",
        "prometheus_remote_storage_samples_total",
    ] {
        let value: f64 = metrics
            .lines()
            .filter(|l| l.starts_with(name))
            .filter_map(|l| l.rsplit_once(' ').and_then(|(_, v)| v.parse::<f64>().ok()))
            .sum();
        println!("{name} {value}");
        let counts_failures = name != "prometheus_remote_storage_samples_total";
        good &= if counts_failures {
            value == 0.0
        } else {
            value > 0.0
        };
    }
    let mut ours = Client::new(&ferula.base_url())?;
    let end = now_ms() - SETTLED_MS;
    let span = ((minutes * 60_000.0) as i64 / 2).min(300_000);
    let (mut asked, mut equal) = (0, 0);
    for query in QUERIES {
        let at = end as f64 / 1000.0;
        let encoded = encode(query);
        let instant = format!("/api/v1/query?query={encoded}&time={at}");
        let range = format!(
            "/api/v1/query_range?query={encoded}&start={}&end={at}&step=15",
            (end - span) as f64 / 1000.0
        );
        for path in [instant, range] {
            asked += 1;
            let (left, right) = (ours.get(&path).await?, theirs.get(&path).await?);
            match difference(&left, &right) {
                None => equal += 1,
                Some(text) => println!("DIFFERENT {query}\n  {path}\n  {text}"),
            }
        }
    }
    println!(
        "{equal} of {asked} answers equal ({} queries)",
        QUERIES.len()
    );
    good &= equal == asked;
    prometheus_server.terminate()?;
    ferula_server.terminate()?;
    node.kill()?;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}

/// Both scrape node_exporter and Prometheus; true when both hold the same series.
pub(crate) async fn scrape_twin(matches: &ArgMatches) -> Result<bool> {
    let seconds: u64 = number(matches, "seconds")?;
    let directory = tempfile::tempdir()?;
    let node_path = path_of(matches, "node-exporter").context("--node-exporter is missing")?;
    let mut node = node_exporter(&node_path, directory.path())?;
    node.wait_ready("/metrics", START_MAX).await?;
    let prometheus_path = path_of(matches, "prometheus").context("--prometheus is missing")?;
    let prometheus = Setup::new(
        Kind::Prometheus,
        prometheus_path,
        &directory.path().join("prometheus"),
        "",
        Vec::new(),
    )?;
    let own = prometheus.base_url();
    let config = scrape_config(&node.authority, own.trim_start_matches("http://"));
    let ferula = Setup::new(
        Kind::Ferula,
        ferula_path(matches)?,
        &directory.path().join("ferula"),
        &config,
        ferula_args(matches),
    )?;
    std::fs::write(directory.path().join("prometheus/server.yml"), &config)?;
    let mut prometheus_server = prometheus.start()?;
    prometheus_server
        .wait_ready(prometheus.ready_path(), START_MAX)
        .await?;
    let mut ferula_server = ferula.start()?;
    ferula_server
        .wait_ready(ferula.ready_path(), START_MAX)
        .await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let mut good = true;
    let mut sets = Vec::new();
    for setup in [&ferula, &prometheus] {
        let mut client = Client::new(&setup.base_url())?;
        let selector = encode("{job=~\"node|prometheus\"}");
        let answer = client
            .get(&format!("/api/v1/series?match[]={selector}"))
            .await?;
        let rows: std::collections::BTreeSet<String> = answer["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        println!("{}: {} series", setup.name(), rows.len());
        sets.push(rows);
    }
    for (name, only) in [
        ("ferula", sets[0].difference(&sets[1]).collect::<Vec<_>>()),
        (
            "Prometheus",
            sets[1].difference(&sets[0]).collect::<Vec<_>>(),
        ),
    ] {
        good &= only.is_empty();
        only.iter()
            .take(20)
            .for_each(|s| println!("only in {name}: {s}"));
    }
    good &= !sets[0].is_empty();
    ferula_server.terminate()?;
    prometheus_server.terminate()?;
    node.kill()?;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}
