//! The deterministic simulator shell: virtual clock, seeded scheduling, simulated disk, one shard.
//!
//! The shard, the loop that drives it, the log's loop, its writer and the replay are the ones that run in production; only the executor
//! and the disk differ. Promise: the same seed, disk and calls give the same run, poll by poll ([`SimulatedShard::trace_hash`]).

use super::drive::{PublishedStats, drive};
use super::log_pump::{LocalLogQueue, LogNext, LogSource, run_log};
use super::mailbox::{Mail, Mailbox, Refused};
use super::thread::{open_shard_blocks, replay_shard};
use super::{LogRequest, ReplyReceiver, Rt};
use crate::block::BlockMeta;
use crate::io::{Access, AlignedBytes, BlockingDisk, DiskFile, LogDisk, SimulatedDisk};
use crate::maintenance::{
    self, Counters, Desk, Keeper, KeeperParts, MaintenanceOptions, MaintenanceStats, OrderError,
    Settings, Shelf, Wishes, desk, keep,
};
use crate::model::{Matcher, TimestampMs};
use crate::shard::{Shard, ShardConfig, ShardStats};
use crate::shard_api::{AppendBatch, AppendError, AppendMode, ShardChange, ShardTask, TimeRange};
use crate::wal::{Replayed, WalOptions, WalWriter};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::oneshot;

/// Shortest and longest time of one disk operation, in nanoseconds.
const DISK_NANOS_MIN: u64 = 20_000;
const DISK_NANOS_SPREAD: u64 = 2_000_000;
/// What a yield costs, in nanoseconds.
const YIELD_NANOS: u64 = 1_000;

/// Settings of a simulated shard.
#[derive(Debug, Clone)]
pub struct SimulationOptions {
    /// Seed of scheduling and disk times.
    pub seed: u64,
    /// The shard's settings.
    pub shard: ShardConfig,
    /// The log's settings.
    pub wal: WalOptions,
    /// Longest time between a fast acknowledgement and its sync.
    pub sync_interval_nanos: u64,
    /// Messages that the mailbox holds.
    pub mailbox_messages: usize,
    /// Blocks: their ranges, and how long they are kept; `None`: blocks are opened and left as they are.
    pub maintenance: Option<MaintenanceOptions>,
    /// What the wall clock shows at virtual time 0, in milliseconds.
    pub wall_start_ms: TimestampMs,
}

/// The virtual world: time, chance, and a fingerprint of all that happened.
struct World {
    now: Cell<u64>,
    random: Cell<u64>,
    trace: Cell<u64>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    timers_made: Cell<u64>,
}

impl World {
    fn random(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn note(&self, what: u64) {
        let trace = self.trace.get().rotate_left(5) ^ what ^ self.now.get();
        self.trace.set(trace.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }

    async fn until(&self, at: u64) {
        poll_fn(|context| {
            if self.now.get() >= at {
                return Poll::Ready(());
            }
            let id = self.timers_made.get();
            self.timers_made.set(id + 1);
            self.timers
                .borrow_mut()
                .insert((at, id), context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Jumps to the next timer; false if there is none.
    fn advance(&self) -> bool {
        let Some((&(at, id), _)) = self.timers.borrow().first_key_value() else {
            return false;
        };
        let waker = self.timers.borrow_mut().remove(&(at, id));
        self.now.set(self.now.get().max(at));
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

struct Simulated {
    world: Rc<World>,
    log: Rc<LocalLogQueue>,
}

impl Rt for Simulated {
    fn now(&self) -> u64 {
        self.world.now.get()
    }

    async fn sleep(&self, nanos: u64) {
        self.world.until(self.now().saturating_add(nanos)).await;
    }

    async fn yield_to_reactor(&self) {
        self.world.until(self.now() + YIELD_NANOS).await;
    }

    fn log(&self, request: LogRequest) {
        self.world.note(match &request {
            LogRequest::Commit { lsn, bytes } => lsn ^ bytes.len() as u64,
            LogRequest::Sync { request } => !request,
            LogRequest::Release { before } => before.rotate_left(32),
        });
        self.log.push(request);
    }
}

/// The world as maintenance sees it.
struct MaintenanceWorld {
    world: Rc<World>,
    wall_start_ms: Rc<Cell<TimestampMs>>,
}

impl maintenance::World for MaintenanceWorld {
    fn wall_ms(&self) -> TimestampMs {
        let passed = i64::try_from(self.world.now.get() / 1_000_000).unwrap_or(i64::MAX);
        self.wall_start_ms.get().saturating_add(passed)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.world.now.get()
    }

    fn sleep(&self, nanos: u64) -> maintenance::Waiting<'_> {
        let at = self.world.now.get().saturating_add(nanos);
        Box::pin(self.world.until(at))
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        for byte in &mut bytes {
            *byte = self.world.random() as u8;
        }
        bytes
    }
}

struct SimulatedSource {
    world: Rc<World>,
    log: Rc<LocalLogQueue>,
}

impl LogSource for SimulatedSource {
    fn now(&self) -> u64 {
        self.world.now.get()
    }

    async fn next(&self, deadline: Option<u64>) -> LogNext {
        let timer = async {
            match deadline {
                Some(deadline) => self.world.until(deadline).await,
                None => std::future::pending().await,
            }
        };
        self.log.next(timer).await
    }
}

/// The simulated disk with operations that take (virtual) time.
struct SlowDisk {
    world: Rc<World>,
    disk: BlockingDisk,
}

impl SlowDisk {
    async fn work(&self, operation: u64) {
        let nanos = DISK_NANOS_MIN + self.world.random() % DISK_NANOS_SPREAD;
        self.world.until(self.world.now.get() + nanos).await;
        self.world.note(operation);
    }
}

impl LogDisk for SlowDisk {
    type File = Box<dyn DiskFile>;

    fn alignment(&self) -> usize {
        self.disk.alignment()
    }

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.work(1).await;
        self.disk.create(path).await
    }

    async fn reuse(&self, path: &Path) -> io::Result<Self::File> {
        self.work(2).await;
        self.disk.reuse(path).await
    }

    async fn write(
        &self,
        file: &Self::File,
        offset: u64,
        bytes: AlignedBytes,
    ) -> (io::Result<()>, AlignedBytes) {
        self.work(offset).await;
        self.disk.write(file, offset, bytes).await
    }

    async fn sync(&self, file: &Self::File) -> io::Result<()> {
        self.work(3).await;
        self.disk.sync(file).await
    }

    async fn close(&self, file: Self::File) {
        self.disk.close(file).await;
    }

    async fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.work(4).await;
        self.disk.rename(source, target).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.work(5).await;
        self.disk.remove(path).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.work(6).await;
        self.disk.sync_dir(dir).await
    }
}

/// Set when a future wants to be polled.
struct Wanted(AtomicBool);

impl Wake for Wanted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    wanted: Arc<Wanted>,
    done: bool,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Task {
        let wanted = Arc::new(Wanted(AtomicBool::new(true)));
        Task {
            future: Box::pin(future),
            wanted,
            done: false,
        }
    }

    fn is_runnable(&self) -> bool {
        !self.done && self.wanted.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) {
        self.wanted.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.wanted));
        self.done = self
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
    }
}

/// One shard with its log in a virtual world.
pub struct SimulatedShard {
    world: Rc<World>,
    mailbox: Arc<Mailbox>,
    stats: Arc<PublishedStats>,
    replayed: Replayed,
    tasks: Vec<Task>,
    shelves: Arc<[Shelf]>,
    counters: Arc<Counters>,
    wishes: Arc<Wishes>,
    /// What the wall clock showed at virtual time 0, or would have shown, had it not jumped since.
    wall_start_ms: Rc<Cell<TimestampMs>>,
    /// Where orders to the keeper go; `None` once the shard is told to stop, or without maintenance.
    orders: Option<Desk>,
}

impl SimulatedShard {
    /// Brings a shard back from `disk` and starts it. Errors are those of the replay.
    pub fn open(disk: &SimulatedDisk, options: &SimulationOptions) -> io::Result<SimulatedShard> {
        let mut shard = Shard::new(options.shard.clone());
        let shelves: Arc<[Shelf]> = Arc::new([Shelf::default()]);
        open_shard_blocks(disk, &options.wal.place, &mut shard, &shelves[0])?;
        let replayed = replay_shard(disk, &options.wal, &mut shard, &Default::default())?;
        let world = Rc::new(World {
            now: Cell::new(1),
            random: Cell::new(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            trace: Cell::new(0),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
        });
        let mailbox = Arc::new(Mailbox::with_capacity(options.mailbox_messages));
        let stats = Arc::new(PublishedStats::default());
        let log = Rc::new(LocalLogQueue::default());
        let slow = SlowDisk {
            world: Rc::clone(&world),
            disk: BlockingDisk::new(Arc::new(disk.clone()), Access::Buffered),
        };
        let writer = WalWriter::new(slow, options.wal.clone(), replayed.position.clone());
        let source = SimulatedSource {
            world: Rc::clone(&world),
            log: Rc::clone(&log),
        };
        let sync_interval_nanos = options.sync_interval_nanos;
        let reports = Arc::clone(&mailbox);
        let log_task = Task::new(async move {
            run_log(writer, &source, &reports, sync_interval_nanos).await;
        });
        let rt = Simulated {
            world: Rc::clone(&world),
            log: Rc::clone(&log),
        };
        let (mail, published) = (Arc::clone(&mailbox), Arc::clone(&stats));
        let shard_task = Task::new(async move {
            drive(&rt, &mut shard, &mail, &published).await;
            mail.close();
            log.close();
        });
        let counters: Arc<Counters> = Arc::default();
        let wishes: Arc<Wishes> = Arc::default();
        let wall_start_ms = Rc::new(Cell::new(options.wall_start_ms));
        let mut tasks = vec![shard_task, log_task];
        let orders = options.maintenance.clone().map(|maintenance| {
            let shard_dir = options
                .wal
                .place
                .dir
                .parent()
                .unwrap_or(&options.wal.place.dir);
            let parts = KeeperParts {
                shard: 0,
                data_dir: shard_dir.parent().unwrap_or(shard_dir).to_path_buf(),
                wal: options.wal.place.clone(),
                disk: Arc::new(disk.clone()),
                mailbox: Arc::clone(&mailbox),
                shelves: Arc::clone(&shelves),
                settings: Arc::new(Settings::new(maintenance)),
                counters: Arc::clone(&counters),
                wishes: Arc::clone(&wishes),
            };
            let clocks: Rc<dyn maintenance::World> = Rc::new(MaintenanceWorld {
                world: Rc::clone(&world),
                wall_start_ms: Rc::clone(&wall_start_ms),
            });
            let (orders, arriving) = desk(Arc::clone(&wishes));
            let keeper = Keeper::new(parts, Rc::clone(&clocks));
            tasks.push(Task::new(keep(
                vec![keeper],
                arriving,
                clocks,
                Arc::clone(&wishes),
            )));
            orders
        });
        Ok(SimulatedShard {
            world,
            mailbox,
            stats,
            replayed,
            tasks,
            shelves,
            counters,
            wishes,
            wall_start_ms,
            orders,
        })
    }

    /// The wall clock jumps by so many milliseconds; virtual time does not.
    pub fn jump_wall_clock(&self, ms: i64) {
        let jumped = self.wall_start_ms.get().saturating_add(ms);
        self.wall_start_ms.set(jumped);
    }

    /// The sound blocks of the shard.
    pub fn blocks(&self) -> Vec<BlockMeta> {
        self.shelves[0].metas()
    }

    /// What maintenance has done, and what lies on disk.
    pub fn maintenance_stats(&self) -> MaintenanceStats {
        let mut stats = self.counters.view();
        let (log_bytes, quarantined) =
            self.shelves[0].with(|shelf| (shelf.log_bytes, shelf.quarantined.len() as u64));
        stats.add_shelf(&self.blocks(), log_bytes, quarantined);
        stats
    }

    /// Deletes what matches in `range`; the outcome comes while the simulation runs.
    pub fn delete_series(
        &mut self,
        matchers: Vec<Matcher>,
        range: TimeRange,
    ) -> oneshot::Receiver<Result<(), OrderError>> {
        self.order(maintenance::Task::Delete { matchers, range })
    }

    /// Writes every block anew that has deletions; the outcome comes while the simulation runs.
    pub fn clean_tombstones(&mut self) -> oneshot::Receiver<Result<(), OrderError>> {
        self.order(maintenance::Task::CleanTombstones)
    }

    /// Does now what is due; the outcome comes while the simulation runs.
    pub fn maintain(&mut self) -> oneshot::Receiver<Result<(), OrderError>> {
        self.order(maintenance::Task::Round)
    }

    /// Puts this shard's part of a snapshot into `dir`; the outcome comes while the simulation runs.
    pub fn snapshot(
        &mut self,
        dir: &Path,
        with_head: bool,
    ) -> oneshot::Receiver<Result<(), OrderError>> {
        let dir = dir.to_path_buf();
        self.order(maintenance::Task::Snapshot { dir, with_head })
    }

    fn order(&mut self, task: maintenance::Task) -> oneshot::Receiver<Result<(), OrderError>> {
        let (sender, outcome) = oneshot::channel();
        match self.orders.clone() {
            Some(desk) => self.tasks.push(Task::new(async move {
                // Whoever asked may have gone.
                let _ = sender.send(desk.order(0, task).await);
            })),
            None => {
                let _ = sender.send(Err(OrderError::Stopped));
            }
        }
        outcome
    }

    /// What the replay found.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// Sends a batch; the answer comes while the simulation runs.
    pub fn append(
        &self,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<ReplyReceiver, AppendError> {
        let (reply, answer) = oneshot::channel();
        match self.mailbox.push(Mail::Append {
            batch: Box::new(batch),
            mode,
            reply,
        }) {
            Ok(()) => Ok(answer),
            Err(Refused::Full(_)) => Err(AppendError::Overloaded),
            Err(Refused::Closed(_)) => Err(AppendError::Stopped),
        }
    }

    /// Sends a piece of a query; false if it was not taken.
    pub fn submit(&self, task: Box<dyn ShardTask>) -> bool {
        self.mailbox.push(Mail::Task(task)).is_ok()
    }

    /// Sends a change; the answer comes while the simulation runs.
    pub fn change(&self, change: Box<dyn ShardChange>) -> Result<ReplyReceiver, AppendError> {
        let (reply, answer) = oneshot::channel();
        match self.mailbox.push(Mail::Change { change, reply }) {
            Ok(()) => Ok(answer),
            Err(Refused::Full(_)) => Err(AppendError::Overloaded),
            Err(Refused::Closed(_)) => Err(AppendError::Stopped),
        }
    }

    /// Asks the shard to finish and end.
    pub fn stop(&mut self) {
        self.wishes.stop.store(true, Ordering::Release);
        self.orders = None;
        self.mailbox.request_stop();
    }

    /// Polls one task that wants it, chosen by chance, or lets time pass; false if nothing is left that could ever happen.
    pub fn step(&mut self) -> bool {
        let runnable: Vec<_> = (0..self.tasks.len())
            .filter(|&index| self.tasks[index].is_runnable())
            .collect();
        if runnable.is_empty() {
            return !self.has_ended() && self.world.advance();
        }
        let chosen = runnable[self.world.random() as usize % runnable.len()];
        self.world.note(chosen as u64);
        self.tasks[chosen].poll();
        true
    }

    /// Steps until virtual time `at`.
    pub fn run_until(&mut self, at: u64) {
        while self.now() < at && self.step() {}
        self.world.now.set(self.now().max(at));
    }

    /// Have shard and log ended?
    pub fn has_ended(&self) -> bool {
        self.tasks.iter().all(|task| task.done)
    }

    /// Virtual nanoseconds.
    pub fn now(&self) -> u64 {
        self.world.now.get()
    }

    /// Numbers of the shard, as published.
    pub fn stats(&self) -> ShardStats {
        self.stats.read()
    }

    /// A fingerprint of everything that happened: equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace.get()
    }
}
