//! The store's side of maintenance: its threads, and what can be asked of blocks.
//!
//! Promise: a deletion that was answered is durable in every shard; a snapshot that was answered opens as a data directory.
//! Not here: how it is done (`maintenance`).

use super::Store;
use super::manifest::Manifest;
use crate::block::BlockMeta;
use crate::io::{Disk, StandardDisk};
use crate::limits::MAINTENANCE_THREADS_MAX;
use crate::maintenance::{
    Counters, Desk, KeeperError, KeeperParts, MaintenanceOptions, MaintenanceStats, OrderError,
    RetentionSettings, Settings, Shelf, Task, Wishes, desk,
};
use crate::model::Matcher;
use crate::runtime::{Mailbox, pause, start_keeper_thread};
use crate::shard::{Action, Shard, StoredBlock};
use crate::shard_api::{AppendError, AppendOutcome, ShardChange, TimeRange};
use crate::wal::WalPlace;
use futures_util::future::join_all;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Folder of snapshots in the data directory.
const SNAPSHOTS: &str = "snapshots";

/// The maintenance of a running store.
pub(super) struct Maintained {
    data_dir: PathBuf,
    shelves: Arc<[Shelf]>,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    wishes: Arc<Wishes>,
    /// The desk for each thread; empty once the store stops.
    desks: Mutex<Vec<Desk>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Maintained {
    /// Starts the threads; they wait for the shards to open.
    pub(super) fn start(
        data_dir: &Path,
        options: MaintenanceOptions,
        mailboxes: &[Arc<Mailbox>],
        wal_places: &[WalPlace],
        shelves: Arc<[Shelf]>,
    ) -> io::Result<Maintained> {
        let settings = Arc::new(Settings::new(options));
        let counters: Arc<Counters> = Arc::default();
        let wishes: Arc<Wishes> = Arc::default();
        let disk: Arc<dyn Disk> = Arc::new(StandardDisk);
        let thread_count = mailboxes.len().min(MAINTENANCE_THREADS_MAX);
        let mut parts: Vec<Vec<KeeperParts>> = (0..thread_count).map(|_| Vec::new()).collect();
        for (shard, mailbox) in mailboxes.iter().enumerate() {
            parts[shard % thread_count].push(KeeperParts {
                shard,
                data_dir: data_dir.to_path_buf(),
                wal: wal_places[shard].clone(),
                disk: Arc::clone(&disk),
                mailbox: Arc::clone(mailbox),
                shelves: Arc::clone(&shelves),
                settings: Arc::clone(&settings),
                counters: Arc::clone(&counters),
                wishes: Arc::clone(&wishes),
            });
        }
        let mut desks = Vec::new();
        let mut threads = Vec::new();
        for (index, parts) in parts.into_iter().enumerate() {
            let (desk, orders) = desk(Arc::clone(&wishes));
            threads.push(start_keeper_thread(
                index,
                parts,
                orders,
                Arc::clone(&wishes),
            )?);
            desks.push(desk);
        }
        Ok(Maintained {
            data_dir: data_dir.to_path_buf(),
            shelves,
            settings,
            counters,
            wishes,
            desks: Mutex::new(desks),
            threads: Mutex::new(threads),
        })
    }

    /// Tells the threads to leave what they do.
    pub(super) fn request_stop(&self) {
        self.wishes.stop.store(true, Ordering::Release);
        self.desks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Waits for the threads, after the shards have ended.
    pub(super) fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in the thread has ended the process already.
            let _ = thread.join();
        }
    }

    fn desk_of(&self, shard: usize) -> Result<Desk, OrderError> {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        match desks.len() {
            0 => Err(OrderError::Stopped),
            count => Ok(desks[shard % count].clone()),
        }
    }

    /// Gives every shard the same task and waits for all; the first failure is the answer.
    async fn order_all(&self, task: &Task) -> Result<(), OrderError> {
        let orders = (0..self.shelves.len()).map(|shard| async move {
            let desk = self.desk_of(shard)?;
            desk.order(shard, task.clone()).await
        });
        join_all(orders).await.into_iter().collect()
    }
}

/// A new out-of-order window for a shard.
struct SetOutOfOrderWindow(i64);

impl ShardChange for SetOutOfOrderWindow {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        shard.set_out_of_order_window(self.0);
        actions.push(Action::Reply {
            request,
            result: Ok(AppendOutcome::default()),
        });
    }
}

/// How long a reload waits before it tries a full mailbox again.
const WINDOW_RETRY: Duration = Duration::from_millis(5);

/// A block and what has become of it since it was written.
#[derive(Debug, Clone)]
pub struct BlockState {
    /// What it says of itself.
    pub meta: BlockMeta,
    /// Ranges deleted of its series.
    pub tombstones: u64,
    /// It cannot be compacted: a page of it is damaged.
    pub failed: bool,
}

impl Store {
    /// The sound blocks of all shards, ascending by time.
    pub fn blocks(&self) -> Vec<BlockMeta> {
        let shelves = self.maintained.shelves.iter();
        let mut metas: Vec<BlockMeta> = shelves.flat_map(Shelf::metas).collect();
        metas.sort_by_key(|meta| (meta.min_time, meta.id));
        metas
    }

    /// As [`Store::blocks`], with what has become of them.
    pub fn block_states(&self) -> Vec<BlockState> {
        let of_shelf = |shelf: &Shelf| {
            shelf.with(|shelf| {
                let state = |stored: &StoredBlock| BlockState {
                    meta: stored.block.meta().clone(),
                    tombstones: stored.tombstones.iter().map(|(_, r)| r.len() as u64).sum(),
                    failed: shelf.failed.contains(&stored.block.meta().id),
                };
                shelf.blocks.iter().map(state).collect::<Vec<_>>()
            })
        };
        let mut states: Vec<BlockState> =
            self.maintained.shelves.iter().flat_map(of_shelf).collect();
        states.sort_by_key(|state| (state.meta.min_time, state.meta.id));
        states
    }

    /// What cannot be read of blocks, in words.
    pub fn quarantined(&self) -> Vec<String> {
        let texts = |shelf: &Shelf| {
            shelf.with(|shelf| {
                let texts = shelf.quarantined.iter().map(|q| q.text.clone());
                texts.collect::<Vec<_>>()
            })
        };
        self.maintained.shelves.iter().flat_map(texts).collect()
    }

    /// Deletes the samples in `range` of all series that pass `matchers`. Answers when that is durable in every shard; after a failure a
    /// part may be deleted.
    pub async fn delete_series(
        &self,
        matchers: Vec<Matcher>,
        range: TimeRange,
    ) -> Result<(), OrderError> {
        let task = Task::Delete { matchers, range };
        self.maintained.order_all(&task).await
    }

    /// Writes every block anew that has deletions.
    pub async fn clean_tombstones(&self) -> Result<(), OrderError> {
        self.maintained.order_all(&Task::CleanTombstones).await
    }

    /// Makes `<data>/snapshots/<name>`, a data directory with all that is stored now, or only with what is in blocks. Returns its path.
    pub async fn snapshot(&self, name: &str, with_head: bool) -> Result<PathBuf, OrderError> {
        let snapshots = self.maintained.data_dir.join(SNAPSHOTS);
        let dir = snapshots.join(name);
        let io_error = |operation: &'static str, path: &Path| {
            let path = path.display().to_string();
            move |source| KeeperError::Io {
                operation,
                path,
                source,
            }
        };
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        if !plain {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(io_error("create", &dir)(error).into());
        }
        let disk = StandardDisk;
        disk.create_dir_all(&dir)
            .map_err(io_error("create", &dir))?;
        let task = Task::Snapshot {
            dir: dir.clone(),
            with_head,
        };
        self.maintained.order_all(&task).await?;
        // Last, because it makes a data directory of it.
        Manifest::write_for_snapshot(&disk, &dir, self.shard_count())
            .map_err(io_error("write the manifest of", &dir))?;
        for dir in [&snapshots, &self.maintained.data_dir] {
            disk.sync_dir(dir).map_err(io_error("sync", dir))?;
        }
        Ok(dir)
    }

    /// Does in every shard what is due now, instead of with the next round: for tests.
    pub async fn maintain(&self) -> Result<(), OrderError> {
        self.maintained.order_all(&Task::Round).await
    }

    /// What maintenance has done, and what lies on disk.
    pub fn maintenance_stats(&self) -> MaintenanceStats {
        let mut stats = self.maintained.counters.view();
        for shelf in &*self.maintained.shelves {
            let metas = shelf.metas();
            let (log_bytes, quarantined) =
                shelf.with(|shelf| (shelf.log_bytes, shelf.quarantined.len() as u64));
            stats.add_shelf(&metas, log_bytes, quarantined);
        }
        stats
    }

    /// Changes how much older than the newest sample of its shard a sample may be that does not come in order; 0: none is taken. Returns
    /// when every shard knows, or has ended.
    pub async fn set_out_of_order_window(&self, window_ms: i64) {
        for shard in 0..self.shard_count() {
            let set = || Box::new(SetOutOfOrderWindow(window_ms));
            while let Err(AppendError::Overloaded) = self.change(shard, set()).await {
                pause(WINDOW_RETRY).await;
            }
        }
    }

    /// What is kept, as it is in force.
    pub fn retention(&self) -> RetentionSettings {
        self.maintained.settings.retention()
    }

    /// Changes what is kept, from the next round on.
    pub fn set_retention(&self, retention: RetentionSettings) {
        self.maintained.settings.set_retention(retention);
    }
}
