//! A running store: a directory, its shards, and the threads that run them.
//!
//! Promise: an append that was answered is kept as [`AckMode`] says, through every end of the process; the number of shards and the identity
//! of the store are fixed when the directory is made. One process at a time has a directory.
//!
//! Not here: what a shard does (`shard`), which series goes where before the routing hash (the gateway).

mod maintained;
mod manifest;
pub mod offline;

use crate::io::{DirLock, Disk, StandardDisk, random_bytes};
use crate::limits::{SERIES_PER_SHARD_MAX, SHARDS_MAX, WAL_PENDING_BYTES_MAX, WAL_SEGMENT_BYTES};
use crate::maintenance::{MaintenanceOptions, Shelf, shard_dir};
use crate::model::ShardId;
use crate::runtime::{Mail, Mailbox, PublishedStats, Refused, ShardStart, ShardThread, StartState};
use crate::runtime::{Watchdog, probe_ring};
use crate::shard::{Action, SeriesLimits, Shard, ShardConfig, ShardStats, StartSettings};
use crate::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ShardChange, ShardRunner, ShardTask,
};
use crate::wal::{ReplayProgress, WalOptions, WalPlace};
use maintained::Maintained;
use manifest::Manifest;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

pub use maintained::BlockState;

pub use crate::runtime::RuntimeChoice;
pub use crate::wal::AckMode;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory; made if it does not exist.
    pub path: PathBuf,
    /// Number of shards of a new directory (`None`: one for each core). An existing directory keeps its number.
    pub shard_count: Option<usize>,
    /// Which executor runs the shards.
    pub runtime: RuntimeChoice,
    /// When appends are acknowledged.
    pub ack: AckMode,
    /// Longest time between a fast acknowledgement and its sync.
    pub wal_sync_interval: Duration,
    /// Size of a log segment.
    pub wal_segment_bytes: u64,
    /// How much older than the newest sample of its shard a sample may be; `None`: no bound.
    pub out_of_bounds_window_ms: Option<i64>,
    /// Most series in one shard.
    pub series_per_shard_max: u32,
    /// Limits on new series, for each shard.
    pub series_limits: SeriesLimits,
    /// Bytes of series, samples and index, over all shards in equal parts, beyond which new series are refused; at an eighth
    /// more, all appends are refused as overloaded. `None`: no bound.
    pub memory_bytes_max: Option<u64>,
    /// Exemplars kept at most, over all shards in equal parts; 0 keeps none.
    pub exemplars_max: usize,
    /// What to do with start timestamps.
    pub starts: StartSettings,
    /// Pin each shard's thread to a core.
    pub pin_threads: bool,
    /// Blocks: their ranges, and how long they are kept.
    pub maintenance: MaintenanceOptions,
}

impl StoreOptions {
    /// The defaults for a directory.
    pub fn new(path: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            path: path.into(),
            shard_count: None,
            runtime: RuntimeChoice::Auto,
            ack: AckMode::Durable,
            wal_sync_interval: Duration::from_millis(200),
            wal_segment_bytes: WAL_SEGMENT_BYTES,
            out_of_bounds_window_ms: ShardConfig::default().out_of_bounds_window_ms,
            series_per_shard_max: SERIES_PER_SHARD_MAX,
            series_limits: SeriesLimits::default(),
            memory_bytes_max: None,
            exemplars_max: 0,
            starts: StartSettings::default(),
            pin_threads: true,
            maintenance: MaintenanceOptions::default(),
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory, or it cannot be locked.
    #[error("lock DB directory: {0}")]
    Lock(String),
    /// The directory cannot be used.
    #[error("{operation} {path}: {cause}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: String,
        /// The system's words.
        cause: String,
    },
    /// The manifest cannot be understood.
    #[error("manifest {path}: {cause}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// The executor that was asked for is not to be had.
    #[error("runtime glommio: {0}")]
    Runtime(String),
    /// A shard could not be brought back.
    #[error("{0}")]
    Replay(String),
    /// Settings that make no sense.
    #[error("{0}")]
    Options(String),
}

/// How far a store's start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayState {
    /// Bytes of log read so far, each counted twice.
    pub bytes_done: u64,
    /// Bytes of log known so far, each counted twice.
    pub bytes_total: u64,
    /// Shards that are ready.
    pub shards_ready: usize,
    /// Numbers of the first log segments of all shards, added up.
    pub segment_min: u64,
    /// Those of the last.
    pub segment_max: u64,
    /// Those that are being read.
    pub segment_current: u64,
}

/// What a start has found damaged, over all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartDamage {
    /// Log records that are lost.
    pub records_lost: u64,
    /// Log segments without a usable record, set aside.
    pub segments_set_aside: u64,
    /// Damaged checkpoints; one before them, if it was sound, and the log have brought everything back.
    pub checkpoints: u64,
    /// Series that are lost with a checkpoint.
    pub series_lost: u64,
    /// Pages of sealed chunks that are damaged.
    pub pages: u64,
}

struct ShardHandle {
    mailbox: Arc<Mailbox>,
    stats: Arc<PublishedStats>,
    progress: Arc<ReplayProgress>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A running store. Share it by `Arc`; dropping it stops the shards and waits for them.
pub struct Store {
    shards: Vec<ShardHandle>,
    state: watch::Receiver<StartState>,
    runtime: ShardStart,
    runtime_reason: String,
    watchdog: Option<Watchdog>,
    maintained: Maintained,
    _lock: DirLock,
}

impl Store {
    /// Opens or makes a store and starts its shards, which read their logs in parallel; does not wait for them.
    pub fn open(options: StoreOptions) -> Result<Store, OpenError> {
        let dir = options.path.clone();
        let io_error = |operation: &'static str| {
            let path = dir.display().to_string();
            move |error: io::Error| OpenError::Io {
                operation,
                path,
                cause: error.to_string(),
            }
        };
        StandardDisk
            .create_dir_all(&dir)
            .map_err(io_error("create"))?;
        let lock = DirLock::acquire(&dir).map_err(|error| OpenError::Lock(error.to_string()))?;
        let (runtime, runtime_reason) = choose_runtime(options.runtime)?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let shard_count = options.shard_count.unwrap_or_else(|| cores.len().max(1));
        if shard_count == 0 || shard_count > SHARDS_MAX {
            let text = format!("the number of shards must be between 1 and {SHARDS_MAX}");
            return Err(OpenError::Options(text));
        }
        let manifest = Manifest::load_or_create(&StandardDisk, &dir, shard_count)?;
        let hash_seed = u64::from_le_bytes(random_bytes().map_err(io_error("seed"))?);
        let (state, state_seen) = watch::channel(StartState::default());
        let shelves: Arc<[Shelf]> = (0..manifest.shard_count)
            .map(|_| Shelf::default())
            .collect();
        let mut wal_places = Vec::new();
        let mut shards = Vec::new();
        for index in 0..manifest.shard_count {
            let core = match options.pin_threads && !cores.is_empty() {
                true => Some(cores[index % cores.len()]),
                false => None,
            };
            let shard = ShardConfig {
                shard: ShardId(index as u32),
                hash_seed,
                series_max: options.series_per_shard_max,
                series_limits: options.series_limits,
                out_of_bounds_window_ms: options.out_of_bounds_window_ms,
                out_of_order_window_ms: 0,
                pending_bytes_max: WAL_PENDING_BYTES_MAX,
                memory_bytes_max: options
                    .memory_bytes_max
                    .map(|bytes| bytes / manifest.shard_count as u64),
                starts: options.starts,
                exemplars_max: share(options.exemplars_max, manifest.shard_count, index),
            };
            let place = WalPlace {
                dir: shard_dir(&dir, index).join("wal"),
                store_id: manifest.store_id,
                shard: index as u32,
            };
            wal_places.push(place.clone());
            let wal = WalOptions {
                place,
                segment_bytes: options.wal_segment_bytes,
                ack: options.ack,
            };
            let handle = ShardHandle {
                mailbox: Arc::new(Mailbox::new()),
                stats: Arc::default(),
                progress: Arc::default(),
                thread: Mutex::new(None),
            };
            let thread = ShardThread {
                index,
                start: runtime,
                core,
                shard,
                wal,
                sync_interval_nanos: options.wal_sync_interval.as_nanos() as u64,
                mailbox: Arc::clone(&handle.mailbox),
                stats: Arc::clone(&handle.stats),
                progress: Arc::clone(&handle.progress),
                state: state.clone(),
                shelves: Arc::clone(&shelves),
            };
            let name = format!("shard-{index}");
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || thread.run());
            *lock_thread(&handle.thread) = Some(thread.map_err(io_error("start a thread for"))?);
            shards.push(handle);
        }
        let mailboxes: Vec<Arc<Mailbox>> = shards
            .iter()
            .map(|shard| Arc::clone(&shard.mailbox))
            .collect();
        let maintained =
            Maintained::start(&dir, options.maintenance, &mailboxes, &wal_places, shelves)
                .map_err(io_error("start a thread for"))?;
        let watchdog = Watchdog::start(mailboxes).map_err(io_error("start a thread for"))?;
        Ok(Store {
            shards,
            state: state_seen,
            runtime,
            runtime_reason,
            watchdog: Some(watchdog),
            maintained,
            _lock: lock,
        })
    }

    /// Waits until every shard has read its log.
    pub async fn wait_ready(&self) -> Result<(), OpenError> {
        let mut state = self.state.clone();
        let count = self.shards.len();
        let seen = state
            .wait_for(|state| state.ready == count || state.failure.is_some())
            .await;
        match seen {
            Ok(state) => match &state.failure {
                Some(failure) => Err(OpenError::Replay(failure.clone())),
                None => Ok(()),
            },
            Err(_) => Err(OpenError::Replay("the shards have ended".to_owned())),
        }
    }

    /// How far the shards are with reading their logs.
    pub fn replay_progress(&self) -> ReplayState {
        let sum = |counter: fn(&ReplayProgress) -> &std::sync::atomic::AtomicU64| {
            self.shards
                .iter()
                .map(|s| counter(&s.progress).load(Ordering::Relaxed))
                .sum()
        };
        ReplayState {
            bytes_done: sum(|progress| &progress.bytes_done),
            bytes_total: sum(|progress| &progress.bytes_total),
            shards_ready: self.state.borrow().ready,
            segment_min: sum(|progress| &progress.segment_min),
            segment_max: sum(|progress| &progress.segment_max),
            segment_current: sum(|progress| &progress.segment_current),
        }
    }

    /// What this start has found damaged.
    pub fn start_damage(&self) -> StartDamage {
        let mut all = StartDamage::default();
        for shard in &self.shards {
            let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let progress = &shard.progress;
            all.records_lost += of(&progress.records_lost);
            all.segments_set_aside += of(&progress.segments_set_aside);
            all.checkpoints += of(&progress.checkpoints_damaged);
            all.series_lost += of(&progress.checkpoint_series_lost);
            all.pages += of(&progress.pages_damaged);
        }
        all
    }

    /// Log records that this start found damaged and lost, over all shards.
    pub fn log_records_lost(&self) -> u64 {
        self.start_damage().records_lost
    }

    /// Number of shards; fixed for the life of the directory.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The shard of a series, by [`crate::model::Labels::route_hash`].
    pub fn shard_of(&self, route_hash: u64) -> usize {
        shard_of(route_hash, self.shards.len())
    }

    /// Hands a batch to a shard and waits for its answer. A full mailbox is [`AppendError::Overloaded`], at once.
    pub async fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<AppendOutcome, AppendError> {
        let (reply, answer) = oneshot::channel();
        let mail = Mail::Append {
            batch: Box::new(batch),
            mode,
            reply,
        };
        match self.mailbox(shard).push(mail) {
            Ok(()) => answer.await.unwrap_or(Err(AppendError::Stopped)),
            Err(Refused::Full(_)) => Err(AppendError::Overloaded),
            Err(Refused::Closed(_)) => Err(AppendError::Stopped),
        }
    }

    /// Hands a change to a shard and waits for its answer; refused like an append.
    pub async fn change(
        &self,
        shard: usize,
        change: Box<dyn ShardChange>,
    ) -> Result<AppendOutcome, AppendError> {
        let (reply, answer) = oneshot::channel();
        match self.mailbox(shard).push(Mail::Change { change, reply }) {
            Ok(()) => answer.await.unwrap_or(Err(AppendError::Stopped)),
            Err(Refused::Full(_)) => Err(AppendError::Overloaded),
            Err(Refused::Closed(_)) => Err(AppendError::Stopped),
        }
    }

    /// Changes how many exemplars are kept; with fewer, each shard's oldest go. Tries again while a shard is overloaded.
    pub async fn resize_exemplars(&self, exemplars_max: usize) -> Result<(), AppendError> {
        for shard in 0..self.shards.len() {
            loop {
                let change = Box::new(ResizeExemplars(share(
                    exemplars_max,
                    self.shards.len(),
                    shard,
                )));
                match self.change(shard, change).await {
                    Ok(_) => break,
                    Err(AppendError::Overloaded) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn mailbox(&self, shard: usize) -> &Mailbox {
        let count = self.shards.len();
        assert!(shard < count, "BUG: shard {shard} of {count}");
        &self.shards[shard].mailbox
    }

    /// Numbers of each shard, about a second old at most.
    pub fn stats(&self) -> Vec<ShardStats> {
        self.shards.iter().map(|shard| shard.stats.read()).collect()
    }

    /// The executor that runs the shards: `tokio` or `glommio`.
    pub fn runtime_name(&self) -> &'static str {
        match self.runtime {
            ShardStart::Tokio => "tokio",
            ShardStart::Glommio => "glommio",
        }
    }

    /// Why it is that one.
    pub fn runtime_reason(&self) -> &str {
        &self.runtime_reason
    }

    /// Stops the shards after they have kept their promises, and waits for that. Later appends are [`AppendError::Stopped`].
    pub async fn shutdown(&self) {
        self.request_stop();
        let mut state = self.state.clone();
        let count = self.shards.len();
        // An error means that all senders, and so all threads, are gone.
        let _ = state.wait_for(|state| state.ended == count).await;
        self.join();
    }

    fn request_stop(&self) {
        self.maintained.request_stop();
        for shard in &self.shards {
            shard.mailbox.request_stop();
        }
    }

    fn join(&self) {
        for shard in &self.shards {
            let thread = lock_thread(&shard.thread).take();
            if let Some(thread) = thread {
                // A panic in the thread has ended the process already.
                let _ = thread.join();
            }
        }
        self.maintained.join();
    }
}

/// What shard `index` of `count` gets of a whole.
fn share(whole: usize, count: usize, index: usize) -> usize {
    whole / count + usize::from(index < whole % count)
}

/// Gives a shard's exemplars another number of places.
struct ResizeExemplars(usize);

impl ShardChange for ResizeExemplars {
    fn apply(self: Box<Self>, shard: &mut Shard, request: u64, _: u64, actions: &mut Vec<Action>) {
        shard.resize_exemplars(self.0);
        let result = Ok(AppendOutcome::default());
        actions.push(Action::Reply { request, result });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.request_stop();
        self.join();
        self.watchdog = None;
    }
}

impl ShardRunner for Store {
    fn shard_count(&self) -> usize {
        self.shards.len()
    }

    fn submit(&self, shard: usize, task: Box<dyn ShardTask>) -> Result<(), Box<dyn ShardTask>> {
        match self.mailbox(shard).push(Mail::Task(task)) {
            Ok(()) => Ok(()),
            Err(Refused::Full(Mail::Task(task)) | Refused::Closed(Mail::Task(task))) => Err(task),
            Err(_) => unreachable!("BUG: a mailbox gives back what it was given"),
        }
    }
}

fn lock_thread(
    thread: &Mutex<Option<JoinHandle<()>>>,
) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
    thread.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which shell runs, and why. See docs/decisions/0003-shell-choice.md.
fn choose_runtime(choice: RuntimeChoice) -> Result<(ShardStart, String), OpenError> {
    match choice {
        RuntimeChoice::Tokio => Ok((ShardStart::Tokio, "asked for".to_owned())),
        RuntimeChoice::Glommio => match probe_ring() {
            Ok(()) => Ok((ShardStart::Glommio, "asked for".to_owned())),
            Err(reason) => Err(OpenError::Runtime(reason.to_string())),
        },
        RuntimeChoice::Auto => {
            let reason = match probe_ring() {
                Ok(()) => "preferred over glommio: half the CPU for each durable batch".to_owned(),
                Err(reason) => format!("glommio is not to be had: {reason}"),
            };
            Ok((ShardStart::Tokio, reason))
        }
    }
}

/// Which of `count` shards a series belongs to.
fn shard_of(route_hash: u64, count: usize) -> usize {
    ((u128::from(route_hash) * count as u128) >> 64) as usize
}
