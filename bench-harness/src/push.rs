//! Pushes into a Pushgateway and into ferula, in one run: CPU per push, latency, and what is still there after `kill -9`.

use crate::differ::Client;
use crate::process::{Server, free_port};
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path, path_of, value};
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Command};
use loadgen::push::{PushPlan, PushVerdict, check, run as push};
use loadgen::sender::Progress;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(120);
/// Longest time for the first round, which makes the groups and is not counted.
const FILL_MAX: Duration = Duration::from_secs(600);

/// The command line of this comparison.
pub(crate) fn command() -> Command {
    Command::new("push")
        .about(
            "Pushes of groups into ferula and a Pushgateway: CPU per push, and what kill -9 costs",
        )
        .arg(path(
            "ferula",
            "The ferula binary; the one beside this program when not given",
        ))
        .arg(path("pushgateway", "A Pushgateway binary").required(true))
        .arg(value(
            "shapes",
            "100x1000,1000x20",
            "Groups and series in each push; a table row for each",
        ))
        .arg(value(
            "seconds",
            "10",
            "How long to push, after all groups are there",
        ))
        .arg(value("connections", "2", "Parallel connections"))
        .arg(
            value(
                "ferula-args",
                "",
                "More flags for ferula, separated by spaces",
            )
            .allow_hyphen_values(true),
        )
}

/// A gateway that can be started again on what it kept.
enum Gateway {
    Ferula(Setup),
    Pushgateway {
        program: PathBuf,
        directory: PathBuf,
        authority: String,
    },
}

impl Gateway {
    fn pushgateway(program: PathBuf, directory: &Path) -> Result<Gateway> {
        std::fs::create_dir_all(directory)?;
        Ok(Gateway::Pushgateway {
            program,
            directory: directory.to_owned(),
            authority: format!("127.0.0.1:{}", free_port()?),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Gateway::Ferula(_) => "ferula",
            Gateway::Pushgateway { .. } => "Pushgateway",
        }
    }

    async fn start(&self) -> Result<Server> {
        let mut server = match self {
            Gateway::Ferula(setup) => setup.start()?,
            Gateway::Pushgateway {
                program,
                directory,
                authority,
            } => {
                let args = [
                    format!("--web.listen-address={authority}"),
                    "--persistence.file=groups".to_owned(),
                ];
                Server::start(program, &args, directory, authority)?
            }
        };
        server.wait_ready("/-/ready", START_MAX).await?;
        Ok(server)
    }

    fn base(&self) -> &'static str {
        match self {
            Gateway::Ferula(_) => "/pushgateway",
            Gateway::Pushgateway { .. } => "",
        }
    }

    async fn page(&self, server: &Server) -> Result<String> {
        let mut client = Client::new(&format!("http://{}", server.authority))?;
        Ok(client.text(&format!("{}/metrics", self.base())).await?.1)
    }
}

/// What one gateway did with one shape of load.
struct Row {
    name: &'static str,
    pushes: u64,
    cpu_ms_per_push: f64,
    pushes_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    resident_mib: f64,
    before: PushVerdict,
    after: PushVerdict,
}

async fn measure(gateway: &Gateway, plan: &PushPlan) -> Result<Row> {
    let mut server = gateway.start().await?;
    let mut fill = plan.clone();
    fill.url = format!("http://{}{}", server.authority, gateway.base());
    fill.rounds = 1;
    fill.duration = FILL_MAX;
    let filled = push(fill.clone(), Arc::new(Progress::default())).await?;
    if filled.errors > 0 {
        bail!(
            "{}: {}",
            gateway.name(),
            filled.last_error.unwrap_or_default()
        );
    }
    let mut run = fill;
    run.rounds = 0;
    run.first_round = 1;
    run.duration = plan.duration;
    let cpu = server.cpu_seconds()?;
    let outcome = push(run.clone(), Arc::new(Progress::default())).await?;
    let cpu = server.cpu_seconds()? - cpu;
    if outcome.errors > 0 {
        bail!(
            "{}: {}",
            gateway.name(),
            outcome.last_error.unwrap_or_default()
        );
    }
    let resident_mib = server.resident_bytes()? as f64 / f64::from(1 << 20);
    // A group that the run did not reach keeps its first round.
    let acknowledged: Vec<Option<u64>> = outcome
        .acknowledged
        .iter()
        .zip(&filled.acknowledged)
        .map(|(new, old)| new.or(*old))
        .collect();
    let before = check(&run, &acknowledged, &gateway.page(&server).await?);
    server.kill()?;
    let mut server = gateway.start().await?;
    let after = check(&run, &acknowledged, &gateway.page(&server).await?);
    server.kill()?;
    let latency = |q: f64| outcome.latency_us.value_at_quantile(q) as f64 / 1000.0;
    Ok(Row {
        name: gateway.name(),
        pushes: outcome.pushes,
        cpu_ms_per_push: cpu * 1000.0 / outcome.pushes.max(1) as f64,
        pushes_per_second: outcome.pushes as f64 / outcome.elapsed.as_secs_f64(),
        p50_ms: latency(0.5),
        p99_ms: latency(0.99),
        resident_mib,
        before,
        after,
    })
}

/// Runs every shape of load; true when ferula shows all that it acknowledged, before and after `kill -9`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let seconds: f64 = number(matches, "seconds")?;
    let connections: usize = number(matches, "connections")?;
    let program = path_of(matches, "pushgateway").context("--pushgateway is missing")?;
    let shapes = matches
        .get_one::<String>("shapes")
        .map_or("", String::as_str);
    let mut good = true;
    println!(
        "| groups x series | gateway | pushes | CPU ms a push | CPU s per M series | pushes/s | p50 ms | p99 ms | RSS MiB | groups right | lost by kill -9 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for shape in shapes.split(',') {
        let (groups, metrics) = shape
            .split_once('x')
            .context("--shapes: GROUPSxSERIES, ...")?;
        let plan = PushPlan {
            url: String::new(),
            groups: groups.trim().parse()?,
            metrics: metrics.trim().parse()?,
            connections,
            rate: 0,
            duration: Duration::from_secs_f64(seconds),
            rounds: 0,
            first_round: 0,
            replace: true,
            seed: 1,
        };
        let directory = tempfile::tempdir()?;
        let ferula = Setup::new(
            Kind::Ferula,
            ferula_path(matches)?,
            &directory.path().join("ferula"),
            "global:\n  scrape_interval: 15s\n",
            ferula_args(matches),
        )?;
        let theirs = Gateway::pushgateway(program.clone(), &directory.path().join("pushgateway"))?;
        let mut rows = Vec::new();
        for gateway in [Gateway::Ferula(ferula), theirs] {
            rows.push(measure(&gateway, &plan).await?);
        }
        let ours = rows[0].cpu_ms_per_push;
        for row in &rows {
            let ratio = match row.name {
                "ferula" => String::new(),
                _ => format!(" ({:.0}x)", row.cpu_ms_per_push / ours),
            };
            let lost = row.after.missing + row.after.wrong;
            println!(
                "| {shape} | {} | {} | {:.3}{ratio} | {:.2} | {:.0} | {:.2} | {:.2} | {:.0} | {} of {} | {lost} |",
                row.name,
                row.pushes,
                row.cpu_ms_per_push,
                row.cpu_ms_per_push * 1000.0 / plan.metrics as f64,
                row.pushes_per_second,
                row.p50_ms,
                row.p99_ms,
                row.resident_mib,
                row.before.right,
                plan.groups,
            );
            if row.name == "ferula" {
                good &= row.before.right == plan.groups && row.after.right == plan.groups;
            }
        }
    }
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}
