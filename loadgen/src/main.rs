//! `ferula-loadgen`: sends load, keeps the ledger, checks it afterwards.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};
use loadgen::body::Protocol;
use loadgen::http_client::{Connection, split_url};
use loadgen::ledger::{Layout, Ledger};
use loadgen::push;
use loadgen::sender::{Outcome, Plan, Progress, now_ms, run};
use loadgen::series::Fleet;
use loadgen::verify::verify;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn value(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help)
}

fn url(help: &'static str) -> Arg {
    Arg::new("url").long("url").required(true).help(help)
}

fn quiet() -> Arg {
    Arg::new("quiet")
        .long("quiet")
        .action(ArgAction::SetTrue)
        .help("No progress bar")
}

fn command() -> Command {
    let remote_write = Command::new("remote-write")
        .about("Push samples to a remote-write endpoint")
        .arg(url("http://host:port/api/v1/write"))
        .arg(value("series", "100000", "Number of series"))
        .arg(value("batch", "2000", "Samples per request"))
        .arg(value("connections", "2", "Parallel connections"))
        .arg(value(
            "rate",
            "0",
            "Samples per second over all; 0: as fast as answers come",
        ))
        .arg(value("duration", "30", "Seconds to run"))
        .arg(value(
            "rounds",
            "0",
            "Rounds over all series; 0: until the duration ends",
        ))
        .arg(value(
            "step-ms",
            "1000",
            "Sample time between rounds, milliseconds",
        ))
        .arg(value(
            "start-ago",
            "3000",
            "Sample time of the first round, seconds before now",
        ))
        .arg(value(
            "shuffle",
            "0",
            "Seed of a permutation of the series; 0: creation order",
        ))
        .arg(value(
            "churn-rounds",
            "0",
            "Replace all series every n rounds; 0: never",
        ))
        .arg(value("seed", "1", "Seed of the values"))
        .arg(value(
            "noise",
            "10",
            "Of a hundred series, how many are random floats (at most 30)",
        ))
        .arg(value("protocol", "v1", "v1 or v2"))
        .arg(
            Arg::new("ledger")
                .long("ledger")
                .help("File for the ledger of sent and acknowledged"),
        )
        .arg(
            Arg::new("retry")
                .long("retry")
                .action(ArgAction::SetTrue)
                .help("Repeat a request until it is acknowledged (the server is being killed)"),
        )
        .arg(quiet());
    let push = Command::new("push")
        .about("Push groups of metrics, as batch jobs do, to a Pushgateway or ferula")
        .arg(url("http://host:port, or with a path below which /metrics/job/... is"))
        .arg(value("groups", "100", "Number of groups"))
        .arg(value("metrics", "1000", "Series in each push"))
        .arg(value("connections", "2", "Parallel connections"))
        .arg(value(
            "rate",
            "0",
            "Pushes per second over all; 0: as fast as answers come",
        ))
        .arg(value("duration", "30", "Seconds to run"))
        .arg(value(
            "rounds",
            "0",
            "Rounds over all groups; 0: until the duration ends",
        ))
        .arg(value("seed", "1", "Seed of the values"))
        .arg(value("method", "PUT", "PUT or POST"))
        .arg(
            Arg::new("page")
                .long("page")
                .help("Afterwards, read this page of all groups and check that nothing acknowledged is missing"),
        )
        .arg(quiet());
    let check = Command::new("verify")
        .about("Read everything back and hold it against a ledger")
        .arg(url("http://host:port"))
        .arg(
            Arg::new("ledger")
                .long("ledger")
                .required(true)
                .help("The ledger"),
        )
        .arg(value(
            "allow-missing",
            "0",
            "Missing acknowledged samples that are still a success",
        ));
    Command::new("ferula-loadgen")
        .about("Load and an independent checker for metric stores")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommand(remote_write)
        .subcommand(push)
        .subcommand(check)
}

fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &String = matches
        .get_one(name)
        .with_context(|| format!("--{name} is missing"))?;
    text.parse().with_context(|| format!("--{name}={text}"))
}

fn plan(matches: &ArgMatches) -> Result<Plan> {
    let protocol = match matches.get_one::<String>("protocol").map(String::as_str) {
        Some("v1") => Protocol::V1,
        Some("v2") => Protocol::V2,
        other => bail!("--protocol must be v1 or v2, got {other:?}"),
    };
    let fleet = Fleet {
        series: number(matches, "series")?,
        seed: number(matches, "seed")?,
        generation: 0,
        noise_percent: number(matches, "noise")?,
    };
    let layout = Layout {
        fleet,
        batch: number(matches, "batch")?,
        shuffle: number(matches, "shuffle")?,
    };
    let plan = Plan {
        url: matches
            .get_one::<String>("url")
            .cloned()
            .unwrap_or_default(),
        layout,
        protocol,
        connections: number(matches, "connections")?,
        rate: number(matches, "rate")?,
        step_ms: number(matches, "step-ms")?,
        start_ms: now_ms() - number::<i64>(matches, "start-ago")? * 1000,
        duration: Duration::from_secs_f64(number(matches, "duration")?),
        rounds: number(matches, "rounds")?,
        churn_rounds: number(matches, "churn-rounds")?,
        ledger: matches.get_one::<String>("ledger").map(PathBuf::from),
        retry: matches.get_flag("retry"),
    };
    if plan.ledger.is_some() && plan.churn_rounds != 0 {
        bail!(
            "a ledger describes one generation of series: --ledger and --churn-rounds exclude each other"
        );
    }
    Ok(plan)
}

fn report(outcome: &Outcome) {
    let seconds = outcome.elapsed.as_secs_f64();
    let latency = |q: f64| outcome.latency_us.value_at_quantile(q) as f64 / 1000.0;
    println!(
        "acknowledged {} samples in {} requests, {:.0} samples/s, {:.1} wire bytes a sample",
        outcome.samples,
        outcome.requests,
        outcome.samples as f64 / seconds,
        outcome.wire_bytes as f64 / outcome.samples.max(1) as f64
    );
    println!(
        "latency ms: p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2}",
        latency(0.5),
        latency(0.9),
        latency(0.99),
        outcome.latency_us.max() as f64 / 1000.0
    );
    if let Some(error) = &outcome.last_error {
        println!("{} requests failed, the last with: {error}", outcome.errors);
    }
}

/// Shows the rate while a run goes on.
fn watch(
    progress: &Arc<Progress>,
    duration: Duration,
    quiet: bool,
) -> Result<(tokio::task::JoinHandle<()>, ProgressBar)> {
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {msg}")?;
        ProgressBar::new(duration.as_millis() as u64).with_style(style)
    };
    let watcher = tokio::spawn({
        let (progress, bar) = (progress.clone(), bar.clone());
        async move {
            let mut before = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let now = progress.samples.load(Ordering::Relaxed);
                bar.inc(500);
                bar.set_message(format!("{} samples/s", (now - before) * 2));
                before = now;
            }
        }
    });
    Ok((watcher, bar))
}

async fn push(matches: &ArgMatches) -> Result<bool> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let plan = push::PushPlan {
        url: text("url"),
        groups: number(matches, "groups")?,
        metrics: number(matches, "metrics")?,
        connections: number(matches, "connections")?,
        rate: number(matches, "rate")?,
        duration: Duration::from_secs_f64(number(matches, "duration")?),
        rounds: number(matches, "rounds")?,
        first_round: 0,
        replace: match text("method").as_str() {
            "PUT" => true,
            "POST" => false,
            other => bail!("--method must be PUT or POST, got {other:?}"),
        },
        seed: number(matches, "seed")?,
    };
    let progress = Arc::new(Progress::default());
    let (watcher, bar) = watch(&progress, plan.duration, matches.get_flag("quiet"))?;
    let outcome = push::run(plan.clone(), progress).await?;
    watcher.abort();
    bar.finish_and_clear();
    let latency = |q: f64| outcome.latency_us.value_at_quantile(q) as f64 / 1000.0;
    println!(
        "acknowledged {} pushes of {} series, {:.0} pushes/s; latency ms: p50 {:.2}, p99 {:.2}",
        outcome.pushes,
        plan.metrics,
        outcome.pushes as f64 / outcome.elapsed.as_secs_f64(),
        latency(0.5),
        latency(0.99),
    );
    if let Some(error) = &outcome.last_error {
        println!("{} pushes failed, the last with: {error}", outcome.errors);
    }
    let mut good = outcome.pushes > 0 && outcome.errors == 0;
    if let Some(page) = matches.get_one::<String>("page") {
        let (authority, path) = split_url(page)?;
        let request = http::Request::get(path);
        let (status, body) = Connection::new(authority)
            .send(request, Bytes::new())
            .await?;
        if status != 200 {
            bail!("{page} answers {status}");
        }
        let page = String::from_utf8_lossy(&body);
        let verdict = push::check(&plan, &outcome.acknowledged, &page);
        println!(
            "groups right {}, missing {}, wrong {}",
            verdict.right, verdict.missing, verdict.wrong
        );
        good &= verdict.missing == 0 && verdict.wrong == 0;
    }
    Ok(good)
}

async fn remote_write(matches: &ArgMatches) -> Result<bool> {
    let plan = plan(matches)?;
    let progress = Arc::new(Progress::default());
    let (watcher, bar) = watch(&progress, plan.duration, matches.get_flag("quiet"))?;
    let retry = plan.retry;
    let outcome = run(plan, progress).await?;
    watcher.abort();
    bar.finish_and_clear();
    report(&outcome);
    Ok(outcome.samples > 0 && (retry || outcome.errors == 0))
}

async fn check(matches: &ArgMatches) -> Result<bool> {
    let path: &String = matches.get_one("ledger").context("--ledger is missing")?;
    let url: &String = matches.get_one("url").context("--url is missing")?;
    let ledger = Ledger::read(path.as_ref()).with_context(|| format!("reading {path}"))?;
    let verdict = verify(url, &ledger, number(matches, "instances")?).await?;
    println!(
        "acknowledged {}, read {}, missing {} ({} of them holes), wrong {}, invented {}",
        verdict.acknowledged,
        verdict.read,
        verdict.missing,
        verdict.holes,
        verdict.wrong,
        verdict.invented
    );
    for example in &verdict.examples {
        println!("  {example}");
    }
    let allowed: u64 = number(matches, "allow-missing")?;
    Ok(verdict.missing <= allowed && verdict.wrong == 0 && verdict.invented == 0)
}

fn main() -> Result<ExitCode> {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let good = runtime.block_on(async {
        match matches.subcommand() {
            Some(("remote-write", matches)) => remote_write(matches).await,
            Some(("push", matches)) => push(matches).await,
            Some(("verify", matches)) => check(matches).await,
            _ => bail!("unknown command"),
        }
    })?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
