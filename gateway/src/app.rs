//! The process: what all threads share, and the words for its life (starting, ready, stopping).
//!
//! Promise: a reload is serialised and never leaves a half-applied configuration; the store is seen only after its replay is done.
//! Not here: HTTP (`http`, `api`), the start itself (`main`).

use crate::cli::Flags;
use crate::limits::RELOADS_WAITING_MAX;
use crate::notifications::{Notifications, SHUTTING_DOWN, STARTING_UP};
use regex::Regex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// A request to load the configuration again; the answer is the error text.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the last loads of the configuration came to.
#[derive(Debug, Default)]
pub struct ReloadState {
    successful: AtomicBool,
    success_time_ms: AtomicI64,
    reloads: AtomicU64,
}

impl ReloadState {
    /// Notes a load that succeeded at this wall time.
    pub fn succeeded(&self, now_ms: i64) {
        self.success_time_ms.store(now_ms, Ordering::Relaxed);
        self.successful.store(true, Ordering::Relaxed);
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a load that failed.
    pub fn failed(&self) {
        self.successful.store(false, Ordering::Relaxed);
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// `prometheus_config_last_reload_successful`
    pub fn is_successful(&self) -> bool {
        self.successful.load(Ordering::Relaxed)
    }

    /// `prometheus_config_last_reload_success_timestamp_seconds`, in milliseconds; 0 before the first success.
    pub fn success_time_ms(&self) -> i64 {
        self.success_time_ms.load(Ordering::Relaxed)
    }

    /// Loads so far, failed ones included.
    pub fn count(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }
}

/// Shared by all threads of the process.
pub struct App {
    flags: Flags,
    start_time: SystemTime,
    start: Instant,
    phase: AtomicU8,
    reload_state: ReloadState,
    reload_requests: mpsc::Sender<ReloadRequest>,
    shutdown: watch::Sender<bool>,
    notifications: Notifications,
}

impl App {
    /// An app that is starting, and the end at which its reload requests arrive.
    pub fn new(flags: Flags) -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (reload_requests, reload_queue) = mpsc::channel(RELOADS_WAITING_MAX);
        let notifications = Notifications::new(flags.notification_listeners_max);
        notifications.add(STARTING_UP);
        let app = App {
            flags,
            notifications,
            start_time: SystemTime::now(),
            start: Instant::now(),
            phase: AtomicU8::new(STARTING),
            reload_state: ReloadState::default(),
            reload_requests,
            shutdown: watch::Sender::new(false),
        };
        (app, reload_queue)
    }

    /// The command line.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// When the process started, by the wall clock.
    pub fn start_time(&self) -> SystemTime {
        self.start_time
    }

    /// How long ago the process started.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// `--web.enable-lifecycle`
    pub fn lifecycle_enabled(&self) -> bool {
        self.flags.lifecycle
    }

    /// `--web.cors.origin`; `None` means any.
    pub fn cors_origin(&self) -> Option<&Regex> {
        self.flags.cors_origin.as_ref()
    }

    /// `--query.timeout`
    pub fn query_timeout(&self) -> Duration {
        self.flags.query_timeout
    }

    /// May a query ask for the statistics of each step (`promql-per-step-stats`)?
    pub fn step_stats(&self) -> bool {
        self.flags.has_feature("promql-per-step-stats")
    }

    /// Can it answer?
    pub fn is_ready(&self) -> bool {
        self.phase.load(Ordering::Acquire) == READY
    }

    /// Has it begun to stop?
    pub fn is_stopping(&self) -> bool {
        self.phase.load(Ordering::Acquire) == STOPPING
    }

    /// From now on it answers, unless it is stopping already.
    pub fn set_ready(&self) {
        self.notifications.remove(STARTING_UP);
        let _ = self
            .phase
            .compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends the process gracefully, as SIGTERM does.
    pub fn request_shutdown(&self) {
        self.phase.store(STOPPING, Ordering::Release);
        self.notifications.add(SHUTTING_DOWN);
        self.shutdown.send_replace(true);
    }

    /// Turns true when the process begins to stop.
    pub fn shutdown_signal(&self) -> watch::Receiver<bool> {
        self.shutdown.subscribe()
    }

    /// What operators should know now.
    pub fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    /// What the last loads came to.
    pub fn reload_state(&self) -> &ReloadState {
        &self.reload_state
    }

    /// Loads the configuration again and waits for the outcome; the old one stays when the new one is bad.
    pub async fn reload(&self) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        self.reload_requests
            .try_send(answer)
            .map_err(|_| "too many reloads are waiting, or the server is stopping".to_owned())?;
        outcome
            .await
            .map_err(|_| "the server is stopping".to_owned())?
    }
}
