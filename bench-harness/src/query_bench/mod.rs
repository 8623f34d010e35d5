//! `ferula-bench query`: what a mix of queries costs ferula, Prometheus and VictoriaMetrics over the same data.
//!
//! Promise: all servers run at once and are asked by turns, query by query; the cost is the server's own CPU time, by the scheduler's account of
//! its threads; caches of answers are off (`nocache=1`). Ferula's first answers are held against Prometheus's. Afterwards the range queries are asked
//! again with the caches on: least wall time and median CPU of an answer that is repeated.
//! Not here: the data (`data`) and the mix (`queries`).

mod data;
mod queries;

use crate::differ::{Client, encode};
use crate::process::Server;
use crate::promql_diff::{Verdict, compare_answers, excused};
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use loadgen::sender::now_ms;
use queries::{Goal, Grid, MIX, Question, SCAN};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(60);
const SEALED_MAX: Duration = Duration::from_secs(300);
const HOUR_MS: i64 = 3_600_000;
/// Length of a block.
const BLOCK_MS: i64 = 2 * HOUR_MS;
/// A head is sealed when it is this long.
const HEAD_MS: i64 = 3 * HOUR_MS;
/// Rest before each measured query, so that the one before has no part in it.
const PAUSE: Duration = Duration::from_millis(30);

/// A server and what its queries cost.
struct Contender {
    kind: Kind,
    name: &'static str,
    url: String,
    server: Server,
    client: Client,
    /// For each query of the mix, CPU and wall seconds of each repetition.
    cost: Vec<Vec<(f64, f64)>>,
    /// The same with caches on, for range queries.
    again: Vec<Vec<(f64, f64)>>,
    peak_bytes: u64,
}

/// Runs it; true when ferula's answers equal Prometheus's.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let repeat: usize = number(matches, "repeat")?;
    let only = matches.get_one::<String>("only").map_or("", String::as_str);
    let is_asked = |q: &Question| only.is_empty() || only.split(',').any(|name| name == q.name);
    let directory = tempfile::tempdir()?;
    let mut kinds = vec![(Kind::Ferula, ferula_path(matches)?, ferula_args(matches))];
    for (name, kind) in [
        ("prometheus", Kind::Prometheus),
        ("victoriametrics", Kind::VictoriaMetrics),
    ] {
        if let Some(path) = path_of(matches, name) {
            kinds.push((kind, path, Vec::new()));
        }
    }
    let mut contenders = Vec::new();
    for (kind, program, extra) in kinds {
        let home = directory.path().join(format!("{kind:?}"));
        let setup = Setup::new(kind, program, &home, "global: {}\n", extra)?;
        let mut server = setup.start()?;
        server.wait_ready(setup.ready_path(), START_MAX).await?;
        contenders.push(Contender {
            kind,
            name: setup.name(),
            url: setup.base_url(),
            server,
            client: Client::new(&setup.base_url())?,
            cost: vec![Vec::new(); MIX.len()],
            again: vec![Vec::new(); MIX.len()],
            peak_bytes: 0,
        });
    }
    let sealed = matches.get_flag("sealed");
    let now = now_ms();
    let start = match sealed {
        false => (now - data::SPAN_MS) / 60_000 * 60_000,
        // The newest whole block that is far enough back.
        true => (now - HEAD_MS - 60_000) / BLOCK_MS * BLOCK_MS,
    };
    let urls: Vec<(Kind, String)> = contenders.iter().map(|c| (c.kind, c.url.clone())).collect();
    let (series, samples) = data::send(&urls, start, sealed.then_some(now - 30_000)).await?;
    println!(
        "{series} series, {samples} samples, sent to {} servers",
        urls.len()
    );
    let end = start + data::SPAN_MS - data::STEP_MS;
    for contender in &mut contenders {
        contender.settle(sealed.then_some(end)).await?;
    }
    let mut good = true;
    for round in 0..=repeat {
        if round == 1 {
            contenders.iter().try_for_each(|c| c.server.reset_peak())?;
        }
        for (number, question) in MIX.iter().enumerate().filter(|(_, q)| is_asked(q)) {
            let mut answers = Vec::new();
            for contender in &mut contenders {
                let (cost, answer) = contender.ask(question, end, false).await?;
                // The first round warms up and is looked at.
                match round {
                    0 => answers.push((contender.kind, answer)),
                    _ => contender.cost[number].push(cost),
                }
            }
            if round == 0 {
                good &= check(question, &answers)?;
            }
        }
    }
    for contender in &mut contenders {
        contender.peak_bytes = contender.server.peak_bytes()?;
    }
    for round in 0..=repeat {
        let ranges = MIX.iter().enumerate().filter(|(_, q)| is_asked(q));
        for (number, question) in ranges.filter(|(_, q)| q.grid != Grid::Instant) {
            for contender in &mut contenders {
                let (cost, _) = contender.ask(question, end, true).await?;
                if round > 0 {
                    contender.again[number].push(cost);
                }
            }
        }
    }
    print(&contenders, sealed, repeat);
    print_again(&contenders);
    Ok(good)
}

impl Contender {
    /// Waits until what was written can be asked for, and with `before` until everything up to then is sealed.
    async fn settle(&mut self, before: Option<i64>) -> Result<()> {
        if self.kind == Kind::VictoriaMetrics {
            let (status, body) = self.client.text("/internal/force_flush").await?;
            if status != 200 {
                bail!("force_flush: {status} {body}");
            }
            return Ok(());
        }
        let Some(before) = before else { return Ok(()) };
        let begun = Instant::now();
        loop {
            let answer = self.client.get("/api/v1/status/tsdb").await?;
            let oldest = answer["data"]["headStats"]["minTime"].as_i64();
            if oldest.is_some_and(|t| t > before) {
                println!(
                    "{}: sealed after {:.0} s",
                    self.name,
                    begun.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            if begun.elapsed() > SEALED_MAX {
                bail!(
                    "{}: not sealed after {SEALED_MAX:?}: the head begins at {oldest:?}",
                    self.name
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Asks a query; CPU and wall seconds, and the answer.
    async fn ask(
        &mut self,
        question: &Question,
        end: i64,
        cache: bool,
    ) -> Result<((f64, f64), String)> {
        tokio::time::sleep(PAUSE).await;
        let query = encode(question.query);
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let step = if question.grid == Grid::Fine { 15 } else { 60 };
        let cache = if cache { "" } else { "&nocache=1" };
        let path = match question.grid {
            Grid::Instant => format!("/api/v1/query?query={query}&time={}{cache}", seconds(end)),
            _ => format!(
                "/api/v1/query_range?query={query}&start={}&end={}&step={step}{cache}",
                seconds(end - HOUR_MS),
                seconds(end)
            ),
        };
        let before = self.server.scheduled_seconds()?;
        let begun = Instant::now();
        let (status, body) = self.client.text(&path).await?;
        let wall = begun.elapsed().as_secs_f64();
        let cpu = (self.server.scheduled_seconds()? - before).max(0.0);
        if status != 200 {
            bail!("{}: {}: {status} {body:.300}", self.name, question.name);
        }
        Ok(((cpu, wall), body))
    }
}

/// Holds ferula's answer against Prometheus's.
fn check(question: &Question, answers: &[(Kind, String)]) -> Result<bool> {
    let of = |kind: Kind| {
        answers
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, body)| body)
    };
    let (Some(ours), Some(theirs)) = (of(Kind::Ferula), of(Kind::Prometheus)) else {
        return Ok(true);
    };
    let parsed = |text: &str| serde_json::from_str(text).with_context(|| question.name);
    let (theirs, ours) = (parsed(theirs)?, parsed(ours)?);
    match compare_answers(&theirs, &ours) {
        Verdict::Same => Ok(true),
        Verdict::Wording(text) | Verdict::Different(text) => {
            if let Some(reason) = excused(question.query, &theirs, &ours) {
                println!("excused {}: {reason}", question.query);
                return Ok(true);
            }
            println!("DIFFERENT {}\n  {text:.300}", question.query);
            Ok(false)
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => (numbers[n / 2 - 1] + numbers[n / 2]) / 2.0,
    }
}

fn print(contenders: &[Contender], sealed: bool, repeat: usize) {
    let place = if sealed { "sealed blocks" } else { "the head" };
    println!(
        "\nQueries over {place}: CPU milliseconds of the server a query (median of {repeat}), least wall milliseconds behind the slash. Ratios are to ferula.\n"
    );
    let Some((ours, others)) = contenders.split_first() else {
        return;
    };
    let names: Vec<&str> = contenders.iter().map(|c| c.name).collect();
    println!("| query | {} | goal |", names.join(" | "));
    println!("|{}", "---|".repeat(contenders.len() + 2));
    let cpu = |c: &Contender, number: usize| median(c.cost[number].iter().map(|c| c.0).collect());
    let wall = |c: &Contender, number: usize| {
        let walls = c.cost[number].iter().map(|c| c.1);
        walls.fold(f64::INFINITY, f64::min)
    };
    let (mut sums, mut met, mut lines) = (vec![0.0; contenders.len()], 0, 0);
    for (number, question) in MIX.iter().enumerate() {
        if ours.cost[number].is_empty() {
            continue;
        }
        let mine = cpu(ours, number);
        print!(
            "| {} | {:.2} / {:.1} |",
            question.name,
            mine * 1e3,
            wall(ours, number) * 1e3
        );
        let mut is_met = true;
        sums[0] += mine;
        for (other, sum) in others.iter().zip(&mut sums[1..]) {
            let theirs = cpu(other, number);
            *sum += theirs;
            let part = match (other.kind, question.goal) {
                (Kind::Prometheus, Goal::Tenth) => 0.1,
                (Kind::Prometheus, Goal::Third) => 1.0 / 3.0,
                _ => 1.0,
            };
            is_met &= mine <= theirs * part;
            print!(
                " {:.2} / {:.1} ({:.1}x) |",
                theirs * 1e3,
                wall(other, number) * 1e3,
                theirs / mine
            );
        }
        println!(" {} |", if is_met { "met" } else { "missed" });
        lines += 1;
        met += usize::from(is_met);
    }
    print!("| all |");
    for sum in &sums {
        print!(" {:.1} ({:.1}x) |", sum * 1e3, sum / sums[0]);
    }
    println!(" {met} of {lines} |");
    print!("| peak memory, MiB |");
    for contender in contenders {
        print!(" {} |", contender.peak_bytes >> 20);
    }
    println!(" |");
    if let Some(number) = MIX.iter().position(|q| q.name == SCAN.0) {
        let rate = SCAN.1 / cpu(ours, number) / 1e6;
        if rate.is_finite() {
            println!(
                "\n{}: {rate:.1} million samples scanned per second and core",
                SCAN.0
            );
        }
    }
}

/// Answers that are repeated.
fn print_again(contenders: &[Contender]) {
    println!(
        "\nThe same range queries once more, with caches of answers: least wall milliseconds / CPU milliseconds (median).\n"
    );
    let names: Vec<&str> = contenders.iter().map(|c| c.name).collect();
    println!("| query | {} |", names.join(" | "));
    println!("|{}", "---|".repeat(contenders.len() + 1));
    for (number, question) in MIX.iter().enumerate() {
        if contenders.iter().any(|c| c.again[number].is_empty()) {
            continue;
        }
        print!("| {} |", question.name);
        for contender in contenders {
            let cost = &contender.again[number];
            let wall = cost.iter().map(|c| c.1).fold(f64::INFINITY, f64::min);
            let cpu = median(cost.iter().map(|c| c.0).collect());
            print!(" {:.2} / {:.2} |", wall * 1e3, cpu * 1e3);
        }
        println!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
