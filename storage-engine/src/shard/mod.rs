//! The shard: a synchronous state machine that owns its series, head, log buffer and index.
//!
//! Promise: no I/O, no clock, no threads in here: events and `now` come in, actions go out. The same events in the same
//! order give the same state and the same actions, whichever runtime turns the crank.
//!
//! An append is validated, stored and encoded for the log in one pass ([`append`]); its answer waits until the log has
//! it ([`commit`]). Queries are tasks that look at the shard through a [`ShardReader`], one slice at a time, and so see
//! each batch whole. At start the runtime feeds the log back through [`Shard::replay_series`],
//! [`Shard::replay_samples`] and [`Shard::replay_histograms`], then calls [`Shard::replay_finish`].
//!
//! Not here: which shard a series belongs to (the gateway), files (the log), time out of order (blocks).

mod append;
mod block_set;
mod changes;
mod commit;
mod delete;
mod exemplars;
mod head_reader;
mod image;
mod label_reader;
mod merge;
#[cfg(test)]
mod model_tests;
mod out_of_order;
#[cfg(test)]
mod over_blocks;
mod reader;
mod replay;
mod selection;
mod series_limits;
mod slots;
mod starts;
mod stats;
mod storing;
#[cfg(test)]
mod tests;
mod truncate;
#[cfg(test)]
mod truncate_tests;

pub use block_set::{Quarantined, StoredBlock};
pub use reader::ShardReader;
pub use replay::{ReplayedSamples, ReplayedSeries};
pub use selection::{Selecting, Selection};
pub use series_limits::SeriesLimits;
pub use starts::StartSettings;
pub use stats::{Cardinality, LabelNameCardinality, ShardStats};

use crate::exemplars::Exemplars;
use crate::head::Head;
use crate::index::Index;
use crate::limits::{SERIES_PER_SHARD_MAX, TASKS_PER_SHARD_MAX, WAL_PENDING_BYTES_MAX};
use crate::model::{ShardId, TimestampMs};
use crate::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ShardChange, ShardTask, TaskState,
};
use crate::starts::Starts;
use append::LogColumns;
use changes::Changes;
use commit::Commits;
use series_limits::NewSeriesRate;
use slots::Slots;
use std::collections::VecDeque;
use truncate::Truncations;

/// What happens to a shard.
pub enum Event {
    /// A batch to check or to store; answered by [`Action::Reply`] with the same `request`.
    Append {
        /// The sender's own number for the batch.
        request: u64,
        /// The columns.
        batch: Box<AppendBatch>,
        /// Store or only check.
        mode: AppendMode,
    },
    /// A piece of a query to run, a slice at a time.
    Task(Box<dyn ShardTask>),
    /// A change other than an append; answered by [`Action::Reply`] with the same `request`.
    Change {
        /// The sender's own number for the change.
        request: u64,
        /// What to do.
        change: Box<dyn ShardChange>,
    },
    /// The log has (or has not) taken the bytes of [`Action::Log`] with this number.
    LogDone {
        /// Number of the commit.
        lsn: u64,
        /// The log's number of the last record that it has written, or why it failed.
        result: Result<u64, String>,
    },
    /// The log is (or is not) durable as [`Action::SyncLog`] asked.
    LogSynced {
        /// Number of the request.
        request: u64,
        /// Why it failed, if it did.
        result: Result<(), String>,
    },
    /// The log can be written again after a failure: the failed commit is handed out once more.
    LogReopened,
    /// Time has passed: [`Action::WakeAt`] asked for it.
    Tick,
    /// Finish what was promised, then exit.
    Stop,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Action {
    /// Write these records, then say [`Event::LogDone`]. One at a time.
    Log {
        /// Number of the commit, ascending.
        lsn: u64,
        /// Whole records.
        bytes: Vec<u8>,
    },
    /// Make durable all that the log has been given so far, then say [`Event::LogSynced`].
    SyncLog {
        /// Number of the request that waits for it.
        request: u64,
    },
    /// No restart will ask for records with a smaller number again: the log may give up their segments. No event answers it.
    ReleaseLog {
        /// The log's number of the first record that is still needed.
        before: u64,
    },
    /// The answer to an append.
    Reply {
        /// The sender's number.
        request: u64,
        /// What became of the batch.
        result: Result<AppendOutcome, AppendError>,
    },
    /// Send [`Event::Tick`] at this time (monotonic nanoseconds).
    WakeAt(u64),
    /// All is done after [`Event::Stop`].
    Exit,
}

/// The settings of a shard.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Which shard it is.
    pub shard: ShardId,
    /// Seed of the hashes of labels; random per process, fixed in a simulation.
    pub hash_seed: u64,
    /// Most series; beyond it new ones are refused.
    pub series_max: u32,
    /// Limits on new series.
    pub series_limits: SeriesLimits,
    /// How much older than the shard's newest sample a sample may be; `None` for no bound. Prometheus: half of the
    /// two-hour chunk range.
    pub out_of_bounds_window_ms: Option<i64>,
    /// How much older than the shard's newest sample a sample may be that does not come in order; 0: none is taken.
    pub out_of_order_window_ms: i64,
    /// Bytes of log that may wait for the commit in flight; beyond it appends are refused as overloaded.
    pub pending_bytes_max: usize,
    /// Bytes of memory beyond which new series are refused; at an eighth more, all appends are refused as overloaded.
    /// `None` for no bound.
    pub memory_bytes_max: Option<u64>,
    /// Exemplars kept at most; 0 keeps none. See [`Shard::resize_exemplars`].
    pub exemplars_max: usize,
    /// What to do with start timestamps.
    pub starts: StartSettings,
}

impl Default for ShardConfig {
    fn default() -> Self {
        ShardConfig {
            shard: ShardId(0),
            hash_seed: 0,
            series_max: SERIES_PER_SHARD_MAX,
            series_limits: SeriesLimits::default(),
            out_of_bounds_window_ms: Some(3_600_000),
            out_of_order_window_ms: 0,
            pending_bytes_max: WAL_PENDING_BYTES_MAX,
            memory_bytes_max: None,
            exemplars_max: 0,
            starts: StartSettings::default(),
        }
    }
}

/// What queries see of a shard.
pub(crate) struct Data {
    head: Head,
    index: Index,
    shard: ShardId,
    /// By ascending time of the oldest sample.
    blocks: Vec<StoredBlock>,
    /// Blocks that are damaged.
    quarantined: Vec<Quarantined>,
    /// In-order samples of the head that are older belong to a block.
    head_from: TimestampMs,
    exemplars: Exemplars,
    starts: Starts,
    changes: Changes,
}

impl Data {
    /// Bytes held on the heap.
    fn bytes(&self) -> u64 {
        let sizes = self.head.sizes();
        self.index.bytes()
            + sizes.series_bytes
            + sizes.open_bytes
            + sizes.sealed_bytes
            + sizes.histogram_bytes
            + sizes.out_of_order_bytes
            + sizes.tombstone_bytes
            + self.exemplars.bytes()
            + self.starts.bytes()
    }
}

/// One shard.
pub struct Shard {
    config: ShardConfig,
    data: Data,
    commits: Commits,
    columns: LogColumns,
    /// Tasks with their numbers, in the order of their turns.
    tasks: VecDeque<(u64, Box<dyn ShardTask>)>,
    next_task: u64,
    truncations: Truncations,
    /// The last slice was one of a truncation.
    truncated_last: bool,
    slots: Slots,
    new_series: NewSeriesRate,
    /// Least generation of the series that are created from now on.
    generation: u32,
    /// Bytes of log that the replay has read, and bytes logged since, up to the last checkpoint.
    log_bytes_replayed: u64,
    log_bytes_covered: u64,
    checkpoint_bytes: u64,
    /// In-order samples before this are out of bounds: a block takes their place.
    sealed_from: TimestampMs,
    stopping: bool,
    counters: stats::Counters,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig) -> Self {
        let data = Data {
            head: Head::default(),
            index: Index::new(config.hash_seed),
            shard: config.shard,
            blocks: Vec::new(),
            quarantined: Vec::new(),
            head_from: TimestampMs::MIN,
            exemplars: Exemplars::new(config.exemplars_max, config.out_of_order_window_ms),
            starts: Starts::default(),
            changes: Changes::default(),
        };
        Shard {
            commits: Commits::new(config.pending_bytes_max),
            config,
            data,
            columns: LogColumns::default(),
            tasks: VecDeque::new(),
            next_task: 0,
            truncations: Truncations::default(),
            truncated_last: false,
            slots: Slots::default(),
            new_series: NewSeriesRate::default(),
            generation: 1,
            log_bytes_replayed: 0,
            log_bytes_covered: 0,
            checkpoint_bytes: 0,
            sealed_from: TimestampMs::MIN,
            stopping: false,
            counters: stats::Counters::default(),
        }
    }

    /// Takes one event; what it causes is added to `actions`. `now` is monotonic nanoseconds.
    pub fn on(&mut self, now: u64, event: Event, actions: &mut Vec<Action>) {
        self.data.changes.set_now(now);
        match event {
            Event::Append {
                request,
                batch,
                mode,
            } => self.on_append(now, request, &batch, mode, actions),
            Event::Task(task) => {
                // A task that is dropped tells its query through the channel it carries.
                if !self.stopping && self.tasks.len() < TASKS_PER_SHARD_MAX {
                    self.tasks.push_back((self.next_task, task));
                    self.next_task += 1;
                }
            }
            Event::Change { request, .. } if self.stopping => actions.push(Action::Reply {
                request,
                result: Err(AppendError::Stopped),
            }),
            Event::Change { request, change } => change.apply(self, request, now, actions),
            Event::LogDone { lsn, result } => {
                let taken = result.is_ok();
                self.commits.on_done(lsn, result, actions);
                if taken {
                    self.slots.logged(lsn, self.commits.logged());
                }
            }
            Event::LogSynced { request, result } => actions.push(Action::Reply {
                request,
                result: match result {
                    Ok(()) => Ok(AppendOutcome::default()),
                    Err(error) => Err(AppendError::Log(error)),
                },
            }),
            Event::LogReopened => self.commits.on_reopened(actions),
            Event::Tick => self.commits.on_tick(now, actions),
            Event::Stop => {
                self.stopping = true;
                self.tasks.clear();
                self.truncations.clear();
            }
        }
        self.commits
            .advance(now, self.stopping, &self.data, actions);
        if self.stopping && self.commits.take_exit() {
            actions.push(Action::Exit);
        }
    }

    /// One bounded piece of a query or of a truncation; tasks take turns, and every other slice is for truncation when
    /// it can go on. True while there is more to do.
    pub fn slice(&mut self) -> bool {
        let truncate = self.can_truncate() && (self.tasks.is_empty() || !self.truncated_last);
        self.truncated_last = truncate;
        if truncate {
            self.truncate_slice();
        } else if let Some((number, mut task)) = self.tasks.pop_front() {
            self.counters.task_slices += 1;
            match task.slice(&ShardReader::new(&self.data)) {
                TaskState::More => self.tasks.push_back((number, task)),
                TaskState::Done => {}
            }
        }
        !self.tasks.is_empty() || !self.truncations.is_empty()
    }

    /// A checkpoint covers the log up to record `lsn`, the last one when it was begun: slots that were freed before may
    /// be used again.
    pub fn release_slots(&mut self, lsn: u64) {
        self.slots.release(lsn);
    }

    /// From now on in-order samples before `until` are out of bounds, so that what is there does not change while it is
    /// sealed. Never goes back.
    pub fn begin_seal(&mut self, until: TimestampMs) {
        self.sealed_from = self.sealed_from.max(until);
    }

    /// The log's number of a record such that what this and all earlier records say is in memory. A checkpoint that is begun now covers
    /// them all, and a restart from it needs only what comes behind.
    pub fn logged_lsn(&self) -> u64 {
        self.commits.logged()
    }

    /// In-order samples before this belong to a block, or will.
    fn in_order_from(&self) -> TimestampMs {
        self.sealed_from.max(self.data.head_from)
    }

    /// The shard as queries see it.
    pub fn reader(&self) -> ShardReader<'_> {
        ShardReader::new(&self.data)
    }

    /// Does the shard take more memory than the limit, altered by `scale`, allows?
    fn memory_beyond(&self, scale: impl Fn(u64) -> u64) -> bool {
        self.config
            .memory_bytes_max
            .is_some_and(|max| self.data.bytes() > scale(max))
    }

    fn on_append(
        &mut self,
        now: u64,
        request: u64,
        batch: &AppendBatch,
        mode: AppendMode,
        actions: &mut Vec<Action>,
    ) {
        let refusal = if self.stopping {
            Some(AppendError::Stopped)
        } else if let Some(error) = self.commits.failure() {
            Some(AppendError::Log(error.to_owned()))
        } else if !self.commits.has_room()
            || !self.data.head.has_room()
            || self.memory_beyond(|max| max.saturating_add(max / 8))
        {
            Some(AppendError::Overloaded)
        } else {
            None
        };
        if let Some(error) = refusal {
            self.counters.batches_refused += 1;
            actions.push(Action::Reply {
                request,
                result: Err(error),
            });
            return;
        }
        match mode {
            AppendMode::Check => {
                let outcome = self.check(now, batch);
                actions.push(Action::Reply {
                    request,
                    result: Ok(outcome),
                });
            }
            AppendMode::Partial => {
                let (outcome, reliance) = self.append(now, batch);
                self.commits.add_waiter(request, outcome, reliance, actions);
            }
        }
    }
}
