//! The sender: connections that push rounds of bodies, closed loop or at a rate, and count what happened.

use crate::body::{Body, Protocol};
use crate::http_client::{Connection, split_url};
use crate::ledger::{Fate, Layout, LedgerWriter};
use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Furthest a timestamp may run ahead of the wall clock; receivers refuse beyond ten minutes.
const AHEAD_MS_MAX: i64 = 5 * 60 * 1000;
/// First wait after a failed request; doubles up to `RETRY_WAIT_MAX`.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(20);
/// Longest latency the histogram tells apart, microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);

/// What to send, where, how fast, how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Remote-write endpoint.
    pub url: String,
    /// Series and their order in bodies.
    pub layout: Layout,
    /// Message version.
    pub protocol: Protocol,
    /// Parallel connections; each owns every n-th body.
    pub connections: usize,
    /// Samples per second over all connections; 0 sends as fast as answers come.
    pub rate: u64,
    /// Distance of rounds in sample time.
    pub step_ms: i64,
    /// Sample time of the first round.
    pub start_ms: i64,
    /// Stop after this long.
    pub duration: Duration,
    /// Stop after this many rounds, if not 0.
    pub rounds: u64,
    /// Give every n-th round's series a new generation (churn), if not 0.
    pub churn_rounds: u64,
    /// Where to keep the ledger.
    pub ledger: Option<PathBuf>,
    /// Keep trying a request after errors (a server being killed) instead of counting it as failed.
    pub retry: bool,
}

/// Live counters of a run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Acknowledged samples.
    pub samples: AtomicU64,
    /// Acknowledged requests.
    pub requests: AtomicU64,
    /// Requests that got a refusal or no answer.
    pub errors: AtomicU64,
    /// Set to end the run early.
    pub stop: AtomicBool,
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// Acknowledged samples.
    pub samples: u64,
    /// Acknowledged requests.
    pub requests: u64,
    /// Refused or unanswered requests.
    pub errors: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// Latency of acknowledged requests, microseconds.
    pub latency_us: Histogram<u64>,
    /// The last refusal, for the operator.
    pub last_error: Option<String>,
    /// Requests that were refused in a way that repeating does not change, and what was said to the last of them.
    pub refused: u64,
    /// See `refused`.
    pub last_refusal: Option<String>,
    /// Body bytes on the wire, compressed.
    pub wire_bytes: u64,
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

struct Shared {
    plan: Plan,
    authority: String,
    path: String,
    ledger: Option<LedgerWriter>,
    progress: Arc<Progress>,
    started: Instant,
    latency: Mutex<Histogram<u64>>,
    last_error: Mutex<Option<String>>,
    refused: Mutex<(u64, Option<String>)>,
    wire_bytes: AtomicU64,
}

/// Runs the plan on the caller's runtime.
pub async fn run(plan: Plan, progress: Arc<Progress>) -> Result<Outcome> {
    let (authority, path) = split_url(&plan.url)?;
    let ledger = match &plan.ledger {
        Some(path) => Some(
            LedgerWriter::create(path, &plan.layout)
                .with_context(|| format!("creating the ledger {}", path.display()))?,
        ),
        None => None,
    };
    let bodies = plan.layout.bodies();
    let connections = plan.connections.clamp(1, bodies.len().max(1));
    let mut shares: Vec<Vec<(usize, Body)>> = (0..connections).map(|_| Vec::new()).collect();
    for (index, series) in bodies.into_iter().enumerate() {
        let body = Body::new(&plan.layout.fleet, series, plan.protocol);
        shares[index % connections].push((index, body));
    }
    let shared = Arc::new(Shared {
        authority,
        path,
        ledger,
        progress,
        started: Instant::now(),
        latency: Mutex::new(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?),
        last_error: Mutex::default(),
        refused: Mutex::default(),
        wire_bytes: AtomicU64::new(0),
        plan,
    });
    let mut tasks = tokio::task::JoinSet::new();
    for share in shares {
        tasks.spawn(push(shared.clone(), share));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    if let Some(ledger) = &shared.ledger {
        ledger.sync()?;
    }
    let latency = shared
        .latency
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .clone();
    let last_error = shared
        .last_error
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .clone();
    let (refused, last_refusal) = shared
        .refused
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .clone();
    Ok(Outcome {
        samples: shared.progress.samples.load(Ordering::Relaxed),
        requests: shared.progress.requests.load(Ordering::Relaxed),
        errors: shared.progress.errors.load(Ordering::Relaxed),
        elapsed: shared.started.elapsed(),
        latency_us: latency,
        last_error,
        refused,
        last_refusal,
        wire_bytes: shared.wire_bytes.load(Ordering::Relaxed),
    })
}

/// One connection's life: its bodies, round after round.
async fn push(shared: Arc<Shared>, mut share: Vec<(usize, Body)>) -> Result<()> {
    let plan = &shared.plan;
    let mut connection = Connection::new(shared.authority.clone());
    let mut encoder = snap::raw::Encoder::new();
    let mut fleet = plan.layout.fleet;
    // Open loop: this connection's part of the rate, spread evenly over its requests.
    let own_samples: usize = share.iter().map(|(_, b)| b.series.len()).sum();
    let total = plan.layout.fleet.series.max(1) as f64;
    let own_rate = plan.rate as f64 * own_samples as f64 / total;
    let mut sent_samples = 0u64;
    for round in 0.. {
        if plan.rounds != 0 && round >= plan.rounds {
            break;
        }
        if plan.churn_rounds != 0 && round != 0 && round % plan.churn_rounds == 0 {
            fleet.generation += 1;
            for (_, body) in &mut share {
                *body = Body::new(&fleet, std::mem::take(&mut body.series), plan.protocol);
            }
        }
        let timestamp = plan.start_ms + round as i64 * plan.step_ms;
        for (index, body) in &mut share {
            let over = |s: &Shared| {
                s.progress.stop.load(Ordering::Relaxed) || s.started.elapsed() >= plan.duration
            };
            while timestamp > now_ms() + AHEAD_MS_MAX && !over(&shared) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if plan.rate > 0 {
                let due = Duration::from_secs_f64(sent_samples as f64 / own_rate.max(1.0));
                if let Some(wait) = due.checked_sub(shared.started.elapsed()) {
                    tokio::time::sleep(wait).await;
                }
            }
            if over(&shared) {
                return Ok(());
            }
            let packed = Bytes::from(encoder.compress_vec(body.fill(&fleet, round, timestamp))?);
            if let Some(ledger) = &shared.ledger {
                ledger.record(Fate::Sent, *index, round, timestamp)?;
            }
            let acknowledged = deliver(&shared, &mut connection, packed).await;
            if acknowledged {
                if let Some(ledger) = &shared.ledger {
                    ledger.record(Fate::Acknowledged, *index, round, timestamp)?;
                }
                shared
                    .progress
                    .samples
                    .fetch_add(body.series.len() as u64, Ordering::Relaxed);
                shared.progress.requests.fetch_add(1, Ordering::Relaxed);
            }
            sent_samples += body.series.len() as u64;
        }
    }
    Ok(())
}

/// Sends one body until it is acknowledged, refused for good, or the run ends.
async fn deliver(shared: &Shared, connection: &mut Connection, packed: Bytes) -> bool {
    let plan = &shared.plan;
    let mut wait = RETRY_WAIT_MIN;
    loop {
        let request = http::Request::post(&shared.path)
            .header("content-type", plan.protocol.content_type())
            .header("content-encoding", "snappy")
            .header(
                "user-agent",
                concat!("ferula-loadgen/", env!("CARGO_PKG_VERSION")),
            )
            .header("x-prometheus-remote-write-version", plan.protocol.version());
        let at = Instant::now();
        let refusal = match connection.send(request, packed.clone()).await {
            Ok((status, _)) if (200..300).contains(&status) => {
                let us = at.elapsed().as_micros() as u64;
                let mut latency = shared.latency.lock().unwrap_or_else(|e| e.into_inner());
                latency.saturating_record(us);
                shared
                    .wire_bytes
                    .fetch_add(packed.len() as u64, Ordering::Relaxed);
                return true;
            }
            Ok((status, body)) => {
                let text = format!("{status}: {}", String::from_utf8_lossy(&body).trim_end());
                (text, status < 500 && status != 429)
            }
            Err(error) => (format!("{error:#}"), false),
        };
        shared.progress.errors.fetch_add(1, Ordering::Relaxed);
        if refusal.1 {
            let mut refused = shared.refused.lock().unwrap_or_else(|e| e.into_inner());
            *refused = (refused.0 + 1, Some(refusal.0.clone()));
        }
        *shared.last_error.lock().unwrap_or_else(|e| e.into_inner()) = Some(refusal.0);
        let over = shared.progress.stop.load(Ordering::Relaxed)
            || shared.started.elapsed() >= plan.duration;
        if refusal.1 || !plan.retry || over {
            return false;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT_MAX);
    }
}
