//! Shards on the calling thread: a store for tests and tools, without runtime, log or disk.
//!
//! Promise: an append is done when the call returns and a task has run to its end when `submit` returns. The log's answers are given at once.
//! Not here: anything that waits.

use std::sync::Arc;
use std::sync::Mutex;
use storage_engine::model::{FloatHistogram, Labels, SampleColumns, ShardId, TimestampMs};
use storage_engine::shard::{Action, Event, Shard, ShardConfig, StartSettings};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, HistogramSample, RejectReason,
    SampleSeries, ShardRunner, ShardTask,
};

/// Why samples were not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalAppendError {
    /// The shard refused the batch.
    #[error("{0}")]
    Refused(#[from] AppendError),
    /// The shard refused a sample.
    #[error("{reason} (series {labels})")]
    Rejected {
        /// Why.
        reason: RejectReason,
        /// Whose sample.
        labels: String,
    },
    /// The shard did not answer.
    #[error("the shard gave no answer")]
    Silent,
}

/// Some shards and the thread that calls.
pub struct LocalShards {
    shards: Vec<Mutex<Shard>>,
}

impl LocalShards {
    /// `count` empty shards that accept samples of any age and keep start timestamps.
    pub fn new(count: usize) -> Self {
        let shard = |index: usize| {
            Mutex::new(Shard::new(ShardConfig {
                shard: ShardId(index as u32),
                out_of_bounds_window_ms: None,
                starts: StartSettings {
                    keep: true,
                    ..StartSettings::default()
                },
                ..ShardConfig::default()
            }))
        };
        LocalShards {
            shards: (0..count.max(1)).map(shard).collect(),
        }
    }

    /// Stores the samples of one series, in time order.
    pub fn append(&self, labels: &Labels, samples: &SampleColumns) -> Result<(), LocalAppendError> {
        self.append_mixed(labels, samples, &[])
    }

    /// Stores floats and native histograms of one series, each in time order.
    pub fn append_mixed(
        &self,
        labels: &Labels,
        floats: &SampleColumns,
        histograms: &[(TimestampMs, Arc<FloatHistogram>)],
    ) -> Result<(), LocalAppendError> {
        self.append_started(labels, floats, histograms, &[])
    }

    /// The same with start timestamps, as runs: from a sample time on, samples carry a start timestamp (0: none), until the next run.
    pub fn append_started(
        &self,
        labels: &Labels,
        floats: &SampleColumns,
        histograms: &[(TimestampMs, Arc<FloatHistogram>)],
        starts: &[(TimestampMs, TimestampMs)],
    ) -> Result<(), LocalAppendError> {
        for batch in batches(labels, floats, histograms, starts) {
            self.append_batch(labels, batch)?;
        }
        Ok(())
    }

    /// Runs `f` with a shard, between two events.
    pub fn with_shard<T>(&self, shard: usize, f: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        Some(f(&mut lock(self.shards.get(shard)?)))
    }

    fn append_batch(&self, labels: &Labels, batch: AppendBatch) -> Result<(), LocalAppendError> {
        let home = labels.route_hash() % self.shards.len() as u64;
        let outcome = self.drive(home as usize, batch)?;
        match outcome.rejections.first() {
            None => Ok(()),
            Some(rejection) => Err(LocalAppendError::Rejected {
                reason: rejection.reason,
                labels: labels.to_string(),
            }),
        }
    }

    fn drive(&self, shard: usize, batch: AppendBatch) -> Result<AppendOutcome, LocalAppendError> {
        let mut shard = lock(&self.shards[shard]);
        let mut actions = Vec::new();
        let event = Event::Append {
            request: 0,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        };
        shard.on(0, event, &mut actions);
        let mut answer = None;
        let mut now = 0;
        while let Some(action) = actions.pop() {
            match action {
                Action::Log { lsn, .. } => {
                    let done = Event::LogDone {
                        lsn,
                        result: Ok(lsn),
                    };
                    shard.on(now, done, &mut actions);
                }
                Action::WakeAt(at) => {
                    now = now.max(at);
                    shard.on(now, Event::Tick, &mut actions);
                }
                Action::Reply { result, .. } => answer = Some(result),
                Action::SyncLog { request } => {
                    let result = Ok(());
                    shard.on(now, Event::LogSynced { request, result }, &mut actions);
                }
                Action::ReleaseLog { .. } | Action::Exit => {}
            }
        }
        Ok(answer.ok_or(LocalAppendError::Silent)??)
    }
}

/// The samples of one series as batches: a shard takes the histograms of a batch after its floats, so a batch ends where the kind changes from
/// histogram to float.
pub fn batches(
    labels: &Labels,
    floats: &SampleColumns,
    histograms: &[(TimestampMs, Arc<FloatHistogram>)],
    starts: &[(TimestampMs, TimestampMs)],
) -> Vec<AppendBatch> {
    let start_of = |t: TimestampMs| {
        let run = starts
            .partition_point(|(from, _)| *from <= t)
            .checked_sub(1);
        run.and_then(|run| starts.get(run))
            .map_or(0, |(_, start)| *start)
    };
    let open = || {
        let mut batch = AppendBatch::default();
        batch.new_series.push(labels.as_bytes());
        batch
    };
    // Each batch names its series once, first.
    let series = SampleSeries::New(0);
    let mut out = Vec::new();
    let mut batch = open();
    let mut histograms = histograms.iter().peekable();
    for (&t, &v) in floats.timestamps.iter().zip(&floats.values) {
        while let Some((timestamp, histogram)) = histograms.next_if(|h| h.0 < t) {
            batch.histograms.push(HistogramSample {
                series,
                timestamp: *timestamp,
                histogram: Arc::clone(histogram),
            });
            batch.histogram_start_of_last(start_of(*timestamp));
        }
        if !batch.histograms.is_empty() {
            out.push(std::mem::replace(&mut batch, open()));
        }
        batch.series.push(series);
        batch.timestamps.push(t);
        batch.values.push(v);
        batch.start_of_last(start_of(t));
    }
    for (timestamp, histogram) in histograms {
        batch.histograms.push(HistogramSample {
            series,
            timestamp: *timestamp,
            histogram: Arc::clone(histogram),
        });
        batch.histogram_start_of_last(start_of(*timestamp));
    }
    if batch.sample_count() > 0 {
        out.push(batch);
    }
    out
}

/// A panic in another test thread leaves the shard as it was between two events.
fn lock(shard: &Mutex<Shard>) -> std::sync::MutexGuard<'_, Shard> {
    shard
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl ShardRunner for LocalShards {
    fn shard_count(&self) -> usize {
        self.shards.len()
    }

    fn submit(&self, shard: usize, task: Box<dyn ShardTask>) -> Result<(), Box<dyn ShardTask>> {
        let Some(shard) = self.shards.get(shard) else {
            return Err(task);
        };
        let mut shard = lock(shard);
        shard.on(0, Event::Task(task), &mut Vec::new());
        while shard.slice() {}
        Ok(())
    }
}
