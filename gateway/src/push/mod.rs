//! The push gateway as the process runs it: one thread that owns the groups and their log, and the handle that workers ask through.
//!
//! Promise: a push is answered when its record is as durable as `--storage.ack` says. Pushes that arrive while a write is on its way share
//! the next one. What is refused or cannot be written is answered with an error and changes nothing that was acknowledged.
//! Not here: what a push means (`ingest::pushgateway`), HTTP (`api::push`).

mod keeper;
mod log;

pub use log::LogError;

use crate::limits::{PUSH_QUEUE_BYTES_MAX, PUSH_QUEUE_MAX};
use crate::self_metrics::{Counter, Exposition};
use ingest::clock::Clock;
use ingest::pushgateway::{
    GroupDescription, GroupLimits, Grouping, Groups, GroupsError, PreparedPush, PushPage,
};
use keeper::Keeper;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use storage_engine::io::Disk;
use tokio::sync::{Notify, oneshot};

/// How the push gateway is set up.
pub struct PushOptions {
    /// Directory of its log.
    pub dir: PathBuf,
    /// Sync before an answer, or at most this long after it.
    pub sync: SyncMode,
    /// Bounds of the groups.
    pub limits: GroupLimits,
    /// Seed of hashes.
    pub seed: u64,
}

/// When a push is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before its answer.
    BeforeAnswer,
    /// At most this long after its answer.
    Within(Duration),
}

/// Why a request to the gateway failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The push itself is to blame, or a limit.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// More is waiting than may wait.
    #[error("too many pushes are waiting to be written")]
    Busy,
    /// The log could not be written.
    #[error("the push could not be written to the log: {0}")]
    Log(String),
    /// The gateway has ended.
    #[error("the server is stopping")]
    Stopping,
}

/// A request to the keeper.
enum Command {
    Push {
        grouping: Grouping,
        replace: bool,
        ttl_ms: u64,
        time_ns: i64,
        push: PreparedPush,
        answer: Answer,
    },
    Delete {
        grouping: Grouping,
        answer: Answer,
    },
    Wipe {
        answer: Answer,
    },
    Page(oneshot::Sender<PushPage>),
    Describe(oneshot::Sender<Vec<GroupDescription>>),
    Stop,
}

type Answer = oneshot::Sender<Result<(), PushError>>;

/// Numbers that the keeper shares.
#[derive(Debug, Default)]
struct Shared {
    groups: AtomicUsize,
    metrics: AtomicUsize,
    bytes: AtomicUsize,
    log_bytes: AtomicU64,
    queued_bytes: AtomicUsize,
    used: AtomicBool,
    first_use: Notify,
    accepted: Counter,
    refused: Counter,
    failed: Counter,
    deleted: Counter,
    expired: Counter,
    commits: Counter,
    rewrites: Counter,
    damaged_bytes: Counter,
}

/// The push gateway. May be asked from any thread.
pub struct PushGateway {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    seed: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PushGateway {
    /// Reads the log and starts the keeper.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: PushOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<PushGateway, LogError> {
        let seed = options.seed;
        let mut groups = Groups::new(options.limits, seed);
        let (log, reading) = log::PushLog::open(disk, &options.dir, &mut groups)?;
        let shared = Arc::new(Shared::default());
        shared.damaged_bytes.add(reading.damaged_bytes as u64);
        let (commands, queue) = sync_channel(PUSH_QUEUE_MAX);
        let keeper = Keeper::new(groups, log, options.sync, clock, shared.clone());
        let thread = std::thread::Builder::new()
            .name("push-keeper".to_owned())
            .spawn(move || keeper.run(&queue))
            .map_err(|source| LogError::Io {
                path: options.dir,
                source,
            })?;
        Ok(PushGateway {
            commands,
            shared,
            seed,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The seed for `ingest::pushgateway::parse_push`.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn send(&self, command: Command) -> Result<(), PushError> {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                Full(_) => PushError::Busy,
                Disconnected(_) => PushError::Stopping,
            })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PushError> {
        let (answer, outcome) = oneshot::channel();
        self.send(command(answer))?;
        outcome.await.map_err(|_| PushError::Stopping)
    }

    /// Takes a push: `replace` ends the group's other families.
    pub async fn push(
        &self,
        grouping: Grouping,
        replace: bool,
        ttl_ms: u64,
        time_ns: i64,
        push: PreparedPush,
    ) -> Result<(), PushError> {
        let bytes = push.size();
        let queued = &self.shared.queued_bytes;
        let before = queued.fetch_add(bytes, Ordering::Relaxed);
        // One push alone may always wait, however large.
        let outcome = if before > 0 && before + bytes > PUSH_QUEUE_BYTES_MAX {
            Err(PushError::Busy)
        } else {
            let command = |answer| Command::Push {
                grouping,
                replace,
                ttl_ms,
                time_ns,
                push,
                answer,
            };
            self.ask(command).await.and_then(|outcome| outcome)
        };
        queued.fetch_sub(bytes, Ordering::Relaxed);
        match &outcome {
            Ok(()) => self.shared.accepted.inc(),
            Err(PushError::Groups(_)) => self.shared.refused.inc(),
            Err(_) => self.shared.failed.inc(),
        }
        outcome
    }

    /// Notes a body that could not be read.
    pub fn note_unreadable(&self) {
        self.shared.refused.inc();
    }

    /// Ends a group; one that is not there is no error.
    pub async fn delete(&self, grouping: Grouping) -> Result<(), PushError> {
        let command = |answer| Command::Delete { grouping, answer };
        self.ask(command).await.and_then(|outcome| outcome)
    }

    /// Ends all groups.
    pub async fn wipe(&self) -> Result<(), PushError> {
        self.ask(|answer| Command::Wipe { answer })
            .await
            .and_then(|outcome| outcome)
    }

    /// All families now.
    pub async fn page(&self) -> Result<PushPage, PushError> {
        self.ask(Command::Page).await
    }

    /// All groups now.
    pub async fn describe(&self) -> Result<Vec<GroupDescription>, PushError> {
        self.ask(Command::Describe).await
    }

    /// Has there been a group since the start?
    pub fn is_used(&self) -> bool {
        self.shared.used.load(Ordering::Acquire)
    }

    /// Returns when the first group since the start has come.
    pub async fn first_use(&self) {
        loop {
            let notified = self.shared.first_use.notified();
            if self.is_used() {
                return;
            }
            notified.await;
        }
    }

    /// Writes what is promised and ends the keeper. Later requests are answered with [`PushError::Stopping`].
    pub fn shut_down(&self) {
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(thread) = thread {
            // Waits for room: the keeper empties the queue.
            let _ = self.commands.send(Command::Stop);
            let _ = thread.join();
        }
    }

    /// Adds the gateway's own metrics.
    pub fn write_metrics(&self, page: &mut Exposition) {
        let shared = &self.shared;
        let now = |number: &AtomicUsize| number.load(Ordering::Relaxed) as f64;
        page.one_gauge(
            "ferula_push_groups",
            "Groups of pushed metrics.",
            now(&shared.groups),
        );
        page.one_gauge(
            "ferula_push_metrics",
            "Pushed metrics in all groups; a histogram is one.",
            now(&shared.metrics),
        );
        page.one_gauge(
            "ferula_push_bytes",
            "Bytes that pushed metrics take, about.",
            now(&shared.bytes),
        );
        page.one_gauge(
            "ferula_push_log_bytes",
            "Length of the push log.",
            shared.log_bytes.load(Ordering::Relaxed) as f64,
        );
        let requests = page.counter(
            "ferula_push_requests_total",
            "Pushes by what became of them.",
        );
        for (outcome, counter) in [
            ("accepted", &shared.accepted),
            ("refused", &shared.refused),
            ("failed", &shared.failed),
        ] {
            requests.sample(&[("outcome", outcome)], counter.get() as f64);
        }
        for (name, help, counter) in [
            (
                "ferula_push_groups_deleted_total",
                "Requests to delete a group, or all.",
                &shared.deleted,
            ),
            (
                "ferula_push_groups_expired_total",
                "Groups whose time to live has ended.",
                &shared.expired,
            ),
            (
                "ferula_push_log_commits_total",
                "Writes of the push log; each may hold many pushes.",
                &shared.commits,
            ),
            (
                "ferula_push_log_rewrites_total",
                "Times that the push log was written anew with the groups alone.",
                &shared.rewrites,
            ),
            (
                "ferula_push_log_damaged_bytes_total",
                "Bytes of the push log that this start has found damaged.",
                &shared.damaged_bytes,
            ),
        ] {
            page.one_counter(name, help, counter.get() as f64);
        }
    }
}

impl Drop for PushGateway {
    fn drop(&mut self) {
        self.shut_down();
    }
}
