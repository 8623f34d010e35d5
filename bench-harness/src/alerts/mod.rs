//! `ferula-bench alerts`: the same rules over the same targets in ferula and in a real Prometheus, each with a receiver of its own; what the
//! receivers heard must be the same.
//!
//! The two scrape one exporter, whose value goes up for a while and down again. Both keep the slots of Prometheus's hash, so that alerts begin
//! at the same moments; values never change near a slot's scrape by chance alone, so an interval's difference is allowed.

mod receiver;
mod rules;

use crate::process::Server;
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use receiver::{Exporter, Receiver};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(60);
/// `interval` of the rules, milliseconds.
const INTERVAL_MS: i64 = 2000;

/// The command's arguments.
pub(crate) fn command() -> Command {
    Command::new("alerts")
        .about("The same rules in ferula and in Prometheus: what their receivers hear must be the same.")
        .arg(Arg::new("prometheus").long("prometheus").required(true).help("Prometheus's binary."))
        .arg(Arg::new("ferula").long("ferula").help("Ferula's binary; the one beside this program by default."))
        .arg(Arg::new("alertmanager").long("alertmanager").help("host:port of an Alertmanager that hears of both too."))
        .arg(Arg::new("ferula-args").long("ferula-args").default_value("").allow_hyphen_values(true).help("More flags for ferula, separated by spaces."))
        .arg(Arg::new("seconds").long("seconds").default_value("16").help("How long each of quiet, loud and quiet lasts."))
}

/// What a receiver heard of one alert.
#[derive(Debug, Default)]
struct Heard {
    annotations: BTreeSet<String>,
    generator_url: String,
    path: String,
    /// The last beginning, milliseconds.
    starts_ms: i64,
    /// The end, if it was told.
    resolved_ms: Option<i64>,
    told: usize,
}

/// Milliseconds of `2026-11-22T01:32:11.649Z`.
fn milliseconds(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_default();
    let number = |from: usize, to: usize| -> i64 {
        text.get(from..to).and_then(|t| t.parse().ok()).unwrap_or(0)
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970, by the calendar that begins in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    seconds * 1000 + number(20, 23)
}

/// What was heard, by labels.
fn by_labels(receiver: &Receiver) -> BTreeMap<String, Heard> {
    let mut out: BTreeMap<String, Heard> = BTreeMap::new();
    for (at_ms, path, alert) in receiver.heard() {
        let heard = out.entry(alert["labels"].to_string()).or_default();
        heard.told += 1;
        if alert["annotations"].is_object() {
            heard.annotations.insert(alert["annotations"].to_string());
        }
        heard.generator_url = alert["generatorURL"].to_string();
        heard.path = path;
        heard.starts_ms = heard.starts_ms.max(milliseconds(&alert["startsAt"]));
        let ends_ms = milliseconds(&alert["endsAt"]);
        if ends_ms <= at_ms {
            heard.resolved_ms = Some(ends_ms);
        }
    }
    out
}

/// Why two are not the same.
fn differences(ours: &Heard, theirs: &Heard) -> Vec<String> {
    let mut out = Vec::new();
    let mut note = |differs: bool, what: &str, ours: String, theirs: String| {
        if differs {
            out.push(format!(
                "{what}\n    ferula:     {ours}\n    prometheus: {theirs}"
            ));
        }
    };
    let far = |a: i64, b: i64| (a - b).abs() > INTERVAL_MS;
    note(
        ours.annotations != theirs.annotations,
        "annotations",
        format!("{:?}", ours.annotations),
        format!("{:?}", theirs.annotations),
    );
    note(
        (&ours.generator_url, &ours.path) != (&theirs.generator_url, &theirs.path),
        "addresses",
        format!("{} {}", ours.generator_url, ours.path),
        format!("{} {}", theirs.generator_url, theirs.path),
    );
    note(
        far(ours.starts_ms, theirs.starts_ms),
        "startsAt",
        ours.starts_ms.to_string(),
        theirs.starts_ms.to_string(),
    );
    let ends_differ = match (ours.resolved_ms, theirs.resolved_ms) {
        (Some(a), Some(b)) => far(a, b),
        (a, b) => a != b,
    };
    note(
        ends_differ,
        "endsAt",
        format!("{:?}", ours.resolved_ms),
        format!("{:?}", theirs.resolved_ms),
    );
    note(
        ours.told.abs_diff(theirs.told) > 2,
        "times told",
        ours.told.to_string(),
        theirs.told.to_string(),
    );
    out
}

fn config(exporter: &str, rules: &str, receivers: &[&str]) -> String {
    let receivers = receivers.join("', '");
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 2s, external_labels: {{region: eu}}}}\n\
         rule_files: ['{rules}']\n\
         scrape_configs: [{{job_name: j, static_configs: [{{targets: ['{exporter}']}}]}}]\n\
         alerting:\n  alert_relabel_configs: [{{action: labeldrop, regex: job}}]\n  \
         alertmanagers: [{{path_prefix: /am, static_configs: [{{targets: ['{receivers}']}}]}}]\n"
    )
}

/// True when both receivers heard the same.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let phase = Duration::from_secs(number(matches, "seconds")?);
    let directory = tempfile::tempdir()?;
    let rules = directory.path().join("rules.yml");
    std::fs::write(&rules, rules::file().to_string())?;
    let exporter = Exporter::start()?;
    let (ours, theirs) = (Receiver::start()?, Receiver::start()?);
    let flags = [
        "--web.external-url=http://prom.example:1/base/",
        "--web.route-prefix=/",
        "--rules.alert.resend-delay=5s",
    ]
    .map(str::to_owned);
    let prometheus = path_of(matches, "prometheus").context("--prometheus is missing")?;
    let mut servers = Vec::new();
    for (kind, program, receiver) in [
        (Kind::Ferula, ferula_path(matches)?, &ours),
        (Kind::Prometheus, prometheus, &theirs),
    ] {
        let mut receivers = vec![receiver.authority.as_str()];
        receivers.extend(
            matches
                .get_one::<String>("alertmanager")
                .map(String::as_str),
        );
        let mut extra = flags.to_vec();
        if kind == Kind::Ferula {
            extra.extend(ferula_args(matches));
        }
        let home = directory.path().join(format!("{kind:?}"));
        let text = config(
            &exporter.authority,
            &rules.display().to_string(),
            &receivers,
        );
        let setup = Setup::new(kind, program, &home, &text, extra)?;
        let mut server = setup.start()?;
        server.wait_ready(setup.ready_path(), START_MAX).await?;
        servers.push(server);
    }
    for (value, text) in [(1.0, "quiet"), (31.5, "loud"), (1.0, "quiet again")] {
        exporter.set(value);
        println!("{text} for {phase:?}");
        tokio::time::sleep(phase).await;
    }
    servers.into_iter().try_for_each(Server::terminate)?;
    let (ours, theirs) = (by_labels(&ours), by_labels(&theirs));
    let mut same = 0;
    let mut good = true;
    for labels in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let found = match (ours.get(labels), theirs.get(labels)) {
            (Some(ours), Some(theirs)) => differences(ours, theirs),
            (Some(_), None) => vec!["only ferula told of it".to_owned()],
            _ => vec!["only Prometheus told of it".to_owned()],
        };
        // Alerts that were there from the start begin with the servers, which did not start together.
        let excused = rules::IS_THERE_FROM_THE_START
            .iter()
            .any(|name| labels.contains(name));
        let found: Vec<String> = found
            .into_iter()
            .filter(|text| {
                !(excused && (text.starts_with("startsAt") || text.starts_with("times")))
            })
            .collect();
        match found.is_empty() {
            true => same += 1,
            false => println!("DIFFERENT {labels}\n  {}", found.join("\n  ")),
        }
        good &= found.is_empty();
    }
    let count = rules::TEXTS.len();
    println!(
        "{same} alerts the same, of {} heard by ferula and {} by Prometheus, over {count} templates",
        ours.len(),
        theirs.len()
    );
    Ok(good && same > count)
}
