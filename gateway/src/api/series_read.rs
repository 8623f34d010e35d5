//! Raw samples of the series that selectors choose, from all shards, in the order of their labels: what federation and remote read ask.
//!
//! Promise: a shard works in slices; samples and bytes are paid for out of the memory of queries before they are kept; a request that goes
//! away stops its work. Chunks are encoded next to the data, so that what waits for a slow client is small.

use query_engine::eval::budget::{Budget, CancelToken};
use query_engine::eval::error::EvalError;
use query_engine::eval::memory::{Held, labels_cost};
use query_engine::limits::{
    SLICE_SAMPLES, SLICE_SAMPLES_PER_HISTOGRAM, SLICE_SAMPLES_PER_SERIES, SLICE_SERIES_SELECTED,
    SUBMIT_ATTEMPTS_MAX,
};
use std::sync::Arc;
use storage_engine::model::{FloatHistogram, Labels, Matcher, SeriesSamples, TimestampMs};
use storage_engine::prometheus::{EncodedChunk, encode_series};
use storage_engine::shard::{Selecting, Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, ShardRunner, ShardTask, TaskState, TimeRange};
use tokio::sync::oneshot;

/// What is wanted of each series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Its newest sample.
    Latest,
    /// All samples.
    Samples,
    /// All samples in Prometheus's chunks.
    Chunks,
}

/// What was read of a series.
#[derive(Debug)]
pub(super) enum Content {
    /// Its newest sample.
    Latest(TimestampMs, Latest),
    /// Its samples.
    Samples(SeriesSamples),
    /// Its chunks.
    Chunks(Vec<EncodedChunk>),
}

/// A newest sample's value.
#[derive(Debug)]
pub(super) enum Latest {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// A series with samples.
#[derive(Debug)]
pub(super) struct SeriesRead {
    pub(super) labels: Labels,
    pub(super) content: Content,
}

/// All series, ascending, each once, and what was damaged.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) series: Vec<SeriesRead>,
    pub(super) notes: ReadNotes,
    /// Keeps the bytes of the series counted as long as they are here.
    pub(super) held: Held,
}

/// What a request may use, and the switch that stops it: when this goes away, the shards stop reading.
pub(super) struct Reading {
    budget: Arc<Budget>,
    cancel: CancelToken,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Reading {
    /// With at most this many samples in all, and bytes as the engine's options allow one query.
    pub(super) fn new(samples_max: usize, options: &query_engine::engine::EngineOptions) -> Self {
        let cancel = CancelToken::new();
        let budget = Budget::new(samples_max, cancel.clone())
            .with_memory(options.max_memory, Arc::clone(&options.memory));
        Reading {
            budget: Arc::new(budget),
            cancel,
        }
    }

    /// Reads from all shards.
    pub(super) async fn gather(
        &self,
        shards: &dyn ShardRunner,
        selectors: Vec<Vec<Matcher>>,
        range: TimeRange,
        want: Want,
    ) -> Result<Found, EvalError> {
        let selectors: Arc<[Vec<Matcher>]> = selectors.into();
        let mut replies = Vec::new();
        for shard in 0..shards.shard_count() {
            let (reply, receiver) = oneshot::channel();
            let task = ReadTask {
                selectors: Arc::clone(&selectors),
                next_selector: 0,
                range,
                want,
                budget: Arc::clone(&self.budget),
                stage: Stage::Between,
                found: Found {
                    held: Held::of(&self.budget),
                    ..Found::default()
                },
                scratch: SeriesSamples::default(),
                reply: Some(reply),
            };
            self.submit(shards, shard, Box::new(task)).await?;
            replies.push(receiver);
        }
        let mut all = Found {
            held: Held::of(&self.budget),
            ..Found::default()
        };
        for (shard, reply) in replies.into_iter().enumerate() {
            let stopped =
                |_| EvalError::Storage(format!("shard {shard} stopped before it answered"));
            let found = reply.await.map_err(stopped)??;
            all.series.extend(found.series);
            all.notes.merge(found.notes);
            all.held.absorb(found.held);
        }
        all.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        all.series
            .dedup_by(|later, first| later.labels == first.labels);
        Ok(all)
    }

    async fn submit(
        &self,
        shards: &dyn ShardRunner,
        shard: usize,
        mut task: Box<dyn ShardTask>,
    ) -> Result<(), EvalError> {
        for _ in 0..SUBMIT_ATTEMPTS_MAX {
            match shards.submit(shard, task) {
                Ok(()) => return Ok(()),
                Err(refused) => task = refused,
            }
            tokio::task::yield_now().await;
        }
        Err(EvalError::Storage(format!(
            "shard {shard} is overloaded, try again"
        )))
    }
}

enum Stage {
    /// Before the next selector.
    Between,
    Selecting(Box<Selecting>),
    /// Series of the selection from this number on.
    Reading(Box<Selection>, usize),
}

struct ReadTask {
    selectors: Arc<[Vec<Matcher>]>,
    next_selector: usize,
    range: TimeRange,
    want: Want,
    budget: Arc<Budget>,
    stage: Stage,
    found: Found,
    scratch: SeriesSamples,
    reply: Option<oneshot::Sender<Result<Found, EvalError>>>,
}

impl ShardTask for ReadTask {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let outcome = match self.budget.check().and_then(|()| self.work(shard)) {
            Ok(false) => return TaskState::More,
            Ok(true) => Ok(std::mem::take(&mut self.found)),
            Err(error) => Err(error),
        };
        if let Some(reply) = self.reply.take() {
            // A receiver that is gone is a request that was given up.
            drop(reply.send(outcome));
        }
        TaskState::Done
    }
}

impl ReadTask {
    /// One slice; true when all selectors are done.
    fn work(&mut self, shard: &ShardReader<'_>) -> Result<bool, EvalError> {
        match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Between => {
                let Some(matchers) = self.selectors.get(self.next_selector) else {
                    return Ok(true);
                };
                self.next_selector += 1;
                let selecting = shard.begin_select(matchers, self.range);
                self.stage = Stage::Selecting(Box::new(selecting));
            }
            Stage::Selecting(mut selecting) => {
                if shard.go_on_selecting(&mut selecting, SLICE_SERIES_SELECTED) {
                    let selection = selecting.finish();
                    for text in selection.damage() {
                        self.found.notes.note_damage(text.clone());
                    }
                    self.stage = Stage::Reading(Box::new(selection), 0);
                } else {
                    self.stage = Stage::Selecting(selecting);
                }
            }
            Stage::Reading(selection, mut next) => {
                let mut left = SLICE_SAMPLES;
                while next < selection.len() && left > 0 {
                    let cost = self.read(shard, &selection, next)?;
                    left = left.saturating_sub(cost + SLICE_SAMPLES_PER_SERIES);
                    next += 1;
                }
                if next < selection.len() {
                    self.stage = Stage::Reading(selection, next);
                }
            }
        }
        Ok(false)
    }

    /// Reads one series; what it cost, in samples.
    fn read(
        &mut self,
        shard: &ShardReader<'_>,
        selection: &Selection,
        series: usize,
    ) -> Result<usize, EvalError> {
        self.scratch.clear();
        let notes = &mut self.found.notes;
        shard.read(
            selection,
            series,
            self.range,
            &mut self.scratch.floats,
            notes,
        );
        trim(&mut self.scratch, self.range);
        if shard.has_histograms(selection, series) {
            let histograms = &mut self.scratch.histograms;
            shard.read_histograms(selection, series, self.range, histograms, notes);
        }
        let cost =
            self.scratch.floats.len() + self.scratch.histograms.len() * SLICE_SAMPLES_PER_HISTOGRAM;
        if self.scratch.is_empty() {
            return Ok(cost);
        }
        if self.want != Want::Latest {
            self.budget.take(self.scratch.len())?;
        }
        let labels = shard.labels(selection, series);
        if labels.is_empty() {
            let text = "the labels of a series cannot be read: a block's index is damaged";
            self.found.notes.note_damage(text.to_owned());
            return Ok(cost);
        }
        let content = match self.want {
            Want::Latest => latest(&self.scratch),
            Want::Samples => Content::Samples(self.scratch.clone()),
            Want::Chunks => Content::Chunks(encode_series(&self.scratch)),
        };
        let bytes = labels_cost(&labels) + content.bytes();
        self.found.held.take(bytes)?;
        self.found.series.push(SeriesRead { labels, content });
        Ok(cost)
    }
}

/// A read may give floats around the range; they go.
fn trim(samples: &mut SeriesSamples, range: TimeRange) {
    let floats = &mut samples.floats;
    let end = floats.timestamps.partition_point(|t| *t <= range.max);
    floats.timestamps.truncate(end);
    floats.values.truncate(end);
    let start = floats.timestamps.partition_point(|t| *t < range.min);
    floats.timestamps.drain(..start);
    floats.values.drain(..start);
}

fn latest(samples: &SeriesSamples) -> Content {
    let float = samples
        .floats
        .timestamps
        .last()
        .zip(samples.floats.values.last());
    match (float, samples.histograms.last()) {
        (Some((t, _)), Some((at, histogram))) if at > t => {
            Content::Latest(*at, Latest::Histogram(Arc::clone(histogram)))
        }
        (Some((t, value)), _) => Content::Latest(*t, Latest::Float(*value)),
        (None, Some((at, histogram))) => {
            Content::Latest(*at, Latest::Histogram(Arc::clone(histogram)))
        }
        (None, None) => unreachable!("BUG: a series without samples was kept"),
    }
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Content::Latest(_, Latest::Float(_)) => 64,
            Content::Latest(_, Latest::Histogram(histogram)) => 64 + histogram.heap_bytes(),
            Content::Samples(samples) => {
                let histograms = samples.histograms.iter();
                64 + samples.floats.len() * 16
                    + histograms.map(|(_, h)| 64 + h.heap_bytes()).sum::<usize>()
            }
            Content::Chunks(chunks) => {
                64 + chunks
                    .iter()
                    .map(|chunk| 64 + chunk.data.len())
                    .sum::<usize>()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use query_engine::engine::EngineOptions;
    use query_engine::local::LocalShards;
    use storage_engine::model::SampleColumns;

    fn store() -> LocalShards {
        let store = LocalShards::new(3);
        for job in 0..20 {
            let job = format!("j{job:02}");
            let labels = Labels::from_pairs([("__name__", "up"), ("job", &job)]).unwrap();
            let samples = SampleColumns {
                timestamps: (1..=300).map(|i| i * 1000).collect(),
                values: (1..=300).map(f64::from).collect(),
            };
            store.append(&labels, &samples).unwrap();
        }
        store
    }

    fn gather(want: Want, samples_max: usize) -> Result<Found, EvalError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let reading = Reading::new(samples_max, &EngineOptions::default());
        let up = vec![Matcher::equal("__name__", "up")];
        let range = TimeRange {
            min: 5_000,
            max: 200_500,
        };
        let twice = vec![up.clone(), up];
        runtime.block_on(reading.gather(&store(), twice, range, want))
    }

    #[test]
    fn series_come_once_and_in_order_with_samples_of_the_range() {
        let found = gather(Want::Samples, usize::MAX).unwrap();
        let jobs: Vec<&str> = found.series.iter().map(|s| s.labels.value("job")).collect();
        assert_eq!(jobs.len(), 20);
        assert!(jobs.is_sorted());
        for series in &found.series {
            let Content::Samples(samples) = &series.content else {
                panic!("{series:?}");
            };
            assert_eq!(samples.floats.timestamps.first(), Some(&5_000));
            assert_eq!(samples.floats.timestamps.last(), Some(&200_000));
        }
        assert!(found.held.bytes() > 20 * 196 * 16);
        let latest = gather(Want::Latest, usize::MAX).unwrap();
        assert!(latest.series.iter().all(|series| matches!(
            series.content,
            Content::Latest(200_000, Latest::Float(value)) if value == 200.0
        )));
        let chunks = gather(Want::Chunks, usize::MAX).unwrap();
        for series in &chunks.series {
            let Content::Chunks(chunks) = &series.content else {
                panic!("{series:?}");
            };
            assert_eq!(chunks.iter().map(|c| c.count).sum::<u32>(), 196);
        }
    }

    #[test]
    fn too_many_samples_are_refused() {
        assert!(matches!(
            gather(Want::Samples, 3_000),
            Err(EvalError::TooManySamples)
        ));
        assert!(gather(Want::Latest, 0).is_ok());
    }
}
