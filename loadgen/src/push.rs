//! Batch jobs: groups of metrics pushed to a Pushgateway or to whatever speaks like one, and the check of what it shows afterwards.
//!
//! Promise: every value is a function of (seed, group, series, round), so the check needs only the last acknowledged round of each group.

use crate::http_client::{Connection, split_url};
use crate::sender::Progress;
use anyhow::{Result, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Series of one family.
const FAMILY_SERIES: usize = 10;
/// Longest latency the histogram tells apart, microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What to push, where, how fast, how long.
#[derive(Debug, Clone)]
pub struct PushPlan {
    /// Address of the gateway, with the path below which `/metrics/job/…` is.
    pub url: String,
    /// Groups: `job="j-N",instance="i-N"`.
    pub groups: usize,
    /// Series in each push.
    pub metrics: usize,
    /// Parallel connections; each owns every n-th group.
    pub connections: usize,
    /// Pushes per second over all connections; 0 pushes as fast as answers come.
    pub rate: u64,
    /// Stop after this long.
    pub duration: Duration,
    /// Stop after this many rounds over all groups, if not 0.
    pub rounds: u64,
    /// The number of the first round; values follow from it.
    pub first_round: u64,
    /// Replace the group (PUT) or only families of the same names (POST).
    pub replace: bool,
    /// Seed of the values.
    pub seed: u64,
}

/// What a run did.
#[derive(Debug)]
pub struct PushOutcome {
    /// Acknowledged pushes.
    pub pushes: u64,
    /// Refused or unanswered pushes.
    pub errors: u64,
    /// The last refusal.
    pub last_error: Option<String>,
    /// Wall time.
    pub elapsed: Duration,
    /// Latency of acknowledged pushes, microseconds.
    pub latency_us: Histogram<u64>,
    /// For each group the last acknowledged round, if any.
    pub acknowledged: Vec<Option<u64>>,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// The value of a series: the first tells the round, others are numbers as jobs push them, integers and decimals.
fn value(seed: u64, group: usize, series: usize, round: u64) -> f64 {
    if series == 0 {
        return round as f64;
    }
    let bits = mix(seed ^ mix(group as u64 ^ mix(series as u64 ^ mix(round))));
    match series % 3 {
        0 => (bits % 1_000_000) as f64,
        1 => (bits % 100_000_000) as f64 / 1000.0,
        _ => (bits % 100) as f64,
    }
}

fn family(series: usize) -> usize {
    series / FAMILY_SERIES
}

impl PushPlan {
    fn body(&self, group: usize, round: u64, out: &mut String) {
        out.clear();
        for series in 0..self.metrics {
            let name = family(series);
            if series % FAMILY_SERIES == 0 {
                let _ = writeln!(
                    out,
                    "# HELP batch_family_{name} What the job counted in step {name}."
                );
                let _ = writeln!(out, "# TYPE batch_family_{name} gauge");
            }
            let value = value(self.seed, group, series, round);
            let _ = writeln!(
                out,
                "batch_family_{name}{{part=\"{}\",stage=\"transform\"}} {value}",
                series % FAMILY_SERIES
            );
        }
    }
}

struct Shared {
    plan: PushPlan,
    authority: String,
    base: String,
    started: Instant,
    progress: Arc<Progress>,
    latency: Mutex<Histogram<u64>>,
    last_error: Mutex<Option<String>>,
    /// Round plus one.
    acknowledged: Vec<AtomicU64>,
}

/// Runs the plan on the caller's runtime.
pub async fn run(plan: PushPlan, progress: Arc<Progress>) -> Result<PushOutcome> {
    let (authority, path) = split_url(&plan.url)?;
    if plan.groups == 0 || plan.metrics == 0 {
        bail!("there must be groups and metrics");
    }
    let shared = Arc::new(Shared {
        authority,
        base: path.trim_end_matches('/').to_owned(),
        started: Instant::now(),
        progress,
        latency: Mutex::new(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?),
        last_error: Mutex::default(),
        acknowledged: (0..plan.groups).map(|_| AtomicU64::new(0)).collect(),
        plan,
    });
    let connections = shared.plan.connections.clamp(1, shared.plan.groups);
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..connections {
        tasks.spawn(push(shared.clone(), index, connections));
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    let round = |slot: &AtomicU64| slot.load(Ordering::Relaxed).checked_sub(1);
    let latency_us = shared
        .latency
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .clone();
    let last_error = shared
        .last_error
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .clone();
    Ok(PushOutcome {
        pushes: shared.progress.requests.load(Ordering::Relaxed),
        errors: shared.progress.errors.load(Ordering::Relaxed),
        last_error,
        elapsed: shared.started.elapsed(),
        latency_us,
        acknowledged: shared.acknowledged.iter().map(round).collect(),
    })
}

/// One connection's life: its groups, round after round.
async fn push(shared: Arc<Shared>, index: usize, connections: usize) {
    let plan = &shared.plan;
    let mut connection = Connection::new(shared.authority.clone());
    let mut body = String::new();
    let own_rate = plan.rate as f64 / connections as f64;
    let mut sent = 0_u64;
    for round in 0.. {
        if plan.rounds != 0 && round >= plan.rounds {
            return;
        }
        for group in (index..plan.groups).step_by(connections) {
            if plan.rate > 0 {
                let due = Duration::from_secs_f64(sent as f64 / own_rate);
                if let Some(wait) = due.checked_sub(shared.started.elapsed()) {
                    tokio::time::sleep(wait).await;
                }
            }
            let stop = shared.progress.stop.load(Ordering::Relaxed);
            if stop || shared.started.elapsed() >= plan.duration {
                return;
            }
            let round = plan.first_round + round;
            plan.body(group, round, &mut body);
            sent += 1;
            let path = format!("{}/metrics/job/j-{group}/instance/i-{group}", shared.base);
            let request = match plan.replace {
                true => http::Request::put(path),
                false => http::Request::post(path),
            };
            let at = Instant::now();
            let refusal = match connection.send(request, Bytes::from(body.clone())).await {
                Ok((200 | 202, _)) => {
                    let us = at.elapsed().as_micros() as u64;
                    let mut latency = shared.latency.lock().unwrap_or_else(|e| e.into_inner());
                    latency.saturating_record(us);
                    shared.acknowledged[group].store(round + 1, Ordering::Relaxed);
                    shared.progress.requests.fetch_add(1, Ordering::Relaxed);
                    shared
                        .progress
                        .samples
                        .fetch_add(plan.metrics as u64, Ordering::Relaxed);
                    continue;
                }
                Ok((status, text)) => {
                    format!("{status}: {}", String::from_utf8_lossy(&text).trim_end())
                }
                Err(error) => format!("{error:#}"),
            };
            shared.progress.errors.fetch_add(1, Ordering::Relaxed);
            *shared.last_error.lock().unwrap_or_else(|e| e.into_inner()) = Some(refusal);
        }
    }
}

/// What a page shows of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PushVerdict {
    /// Groups whose last acknowledged push is shown whole, or a later one.
    pub right: usize,
    /// Groups that should be there and are not, or an older push of theirs.
    pub missing: usize,
    /// Groups with a series that no push of theirs had, or a mixture of pushes.
    pub wrong: usize,
}

/// Holds the page of a gateway against what it acknowledged.
pub fn check(plan: &PushPlan, acknowledged: &[Option<u64>], page: &str) -> PushVerdict {
    let mut groups: HashMap<usize, HashMap<usize, f64>> = HashMap::new();
    for line in page
        .lines()
        .filter(|line| line.starts_with("batch_family_"))
    {
        if let Some((group, series, value)) = read_line(line) {
            groups.entry(group).or_default().insert(series, value);
        }
    }
    let mut verdict = PushVerdict::default();
    for (group, acknowledged) in acknowledged.iter().enumerate() {
        let (Some(least), found) = (*acknowledged, groups.get(&group)) else {
            continue;
        };
        let Some(found) = found else {
            verdict.missing += 1;
            continue;
        };
        let round = found.get(&0).map_or(u64::MAX, |round| *round as u64);
        let expected = |series: usize| value(plan.seed, group, series, round);
        let whole = found.len() == plan.metrics
            && found
                .iter()
                .all(|(series, value)| expected(*series) == *value);
        if !whole {
            verdict.wrong += 1;
        } else if round < least {
            verdict.missing += 1;
        } else {
            verdict.right += 1;
        }
    }
    verdict
}

/// Group, series and value of a line of the page.
fn read_line(line: &str) -> Option<(usize, usize, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{')?;
    let family: usize = name.strip_prefix("batch_family_")?.parse().ok()?;
    let label = |name: &str| {
        let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
        labels[start..].split('"').next()
    };
    let part: usize = label("part")?.parse().ok()?;
    let group = label("job")?.strip_prefix("j-")?.parse().ok()?;
    Some((group, family * FAMILY_SERIES + part, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> PushPlan {
        PushPlan {
            url: "http://127.0.0.1:1".to_owned(),
            groups: 2,
            metrics: 15,
            connections: 1,
            rate: 0,
            duration: Duration::from_secs(1),
            rounds: 0,
            first_round: 0,
            replace: true,
            seed: 4,
        }
    }

    /// The page that a gateway would show after these rounds.
    fn page(rounds: &[u64]) -> String {
        let mut page = String::new();
        for (group, round) in rounds.iter().enumerate() {
            let mut body = String::new();
            plan().body(group, *round, &mut body);
            page += &body.replace('}', &format!(",instance=\"i-{group}\",job=\"j-{group}\"}}"));
        }
        page
    }

    #[test]
    fn the_check_sees_what_is_lost_or_mixed() {
        let verdict = |acknowledged: [u64; 2], page: &str| {
            let v = check(&plan(), &acknowledged.map(Some), page);
            (v.right, v.missing, v.wrong)
        };
        assert_eq!(verdict([3, 3], &page(&[3, 4])), (2, 0, 0));
        assert_eq!(verdict([3, 3], &page(&[3, 2])), (1, 1, 0));
        assert_eq!(verdict([3, 3], &page(&[3])), (1, 1, 0));
        let mixed: String = page(&[3, 3]).replacen("} 3\n", "} 4\n", 1);
        assert_eq!(verdict([3, 3], &mixed), (1, 0, 1));
        let cut = page(&[3, 3])
            .lines()
            .filter(|l| !l.contains("part=\"2\""))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(verdict([3, 3], &cut), (0, 0, 2));
    }
}
