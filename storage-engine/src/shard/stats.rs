//! Numbers about a shard: counters for the self metrics, sizes, and cardinality for the status page.

use super::{Data, Shard};
use crate::limits::{CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_BYTES_MIN};
use crate::model::{METRIC_NAME, TimestampMs};
use crate::shard_api::RejectReason;
use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// What a shard has done and what it holds, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Series in memory.
    pub series: u64,
    /// Series created since start (not those that came back from the log).
    pub series_created: u64,
    /// Batches stored, wholly or in part.
    pub batches: u64,
    /// Batches refused as a whole (overloaded, stopping, log failure).
    pub batches_refused: u64,
    /// Samples stored since start.
    pub samples_stored: u64,
    /// Float samples among them that came out of order.
    pub out_of_order_stored: u64,
    /// Native histograms among them that came out of order.
    pub out_of_order_histograms_stored: u64,
    /// Series that lost samples to a deletion since start; one that was hit twice counts twice.
    pub series_deleted_from: u64,
    /// Samples that were there already, bit for bit.
    pub samples_duplicate: u64,
    /// Samples refused as out of order.
    pub rejected_out_of_order: u64,
    /// Samples refused as duplicates with another value.
    pub rejected_duplicate: u64,
    /// Samples refused as older than the out-of-order window.
    pub rejected_too_old: u64,
    /// Samples refused as out of bounds.
    pub rejected_out_of_bounds: u64,
    /// Samples refused because their reference is not (or no longer) known.
    pub rejected_unknown_series: u64,
    /// Samples refused because of the limit of series.
    pub rejected_series_limit: u64,
    /// Samples refused because of the limit of new series per minute.
    pub rejected_new_series_limit: u64,
    /// Samples refused because their series has too many or too long labels.
    pub rejected_label_limit: u64,
    /// Samples refused because their labels are not canonical.
    pub rejected_invalid_labels: u64,
    /// Native histograms refused because they are not valid.
    pub rejected_invalid_histogram: u64,
    /// Samples in memory.
    pub samples: u64,
    /// Chunks in memory, open ones included.
    pub chunks: u64,
    /// Oldest sample.
    pub time_min: Option<TimestampMs>,
    /// Newest sample.
    pub time_max: Option<TimestampMs>,
    /// Commits the log has taken.
    pub commits: u64,
    /// Bytes the log has taken.
    pub logged_bytes: u64,
    /// Bytes of log that wait for the commit in flight.
    pub pending_bytes: u64,
    /// Bytes of log that a restart would read: behind the last checkpoint.
    pub log_bytes_behind_checkpoint: u64,
    /// Bytes of the last checkpoint; 0 without one.
    pub checkpoint_bytes: u64,
    /// The log has failed and was not reopened.
    pub log_failed: bool,
    /// Query tasks that wait for their turn.
    pub tasks: u64,
    /// Slices of query tasks run.
    pub task_slices: u64,
    /// Distinct label names and values.
    pub symbols: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Bytes of labels, look-up tables and postings.
    pub index_bytes: u64,
    /// Bytes of label strings, label sets and their look-up tables, part of `index_bytes`.
    pub label_bytes: u64,
    /// Bytes of postings, part of `index_bytes`.
    pub postings_bytes: u64,
    /// Bytes of series state.
    pub series_bytes: u64,
    /// Bytes of open chunks.
    pub open_chunk_bytes: u64,
    /// Bytes of sealed chunks.
    pub sealed_chunk_bytes: u64,
    /// Native histogram samples in memory (`samples` counts them too).
    pub histogram_samples: u64,
    /// Bytes of native histogram samples.
    pub histogram_bytes: u64,
    /// Bytes of sealed chunks that lie in mapped files and not in memory.
    pub mapped_chunk_bytes: u64,
    /// Out-of-order samples in memory (`samples` does not count them).
    pub out_of_order_samples: u64,
    /// Bytes of out-of-order samples.
    pub out_of_order_bytes: u64,
    /// Bytes of deleted ranges.
    pub tombstone_bytes: u64,
    /// Truncations of the head since start.
    pub truncations: u64,
    /// Series removed since start because they had no sample left.
    pub series_removed: u64,
    /// Slots of removed series that wait for a checkpoint.
    pub slots_waiting: u64,
    /// Slots of removed series that the next new series get.
    pub slots_reusable: u64,
    /// Exemplars stored since start, those of the log among them.
    pub exemplars_stored: u64,
    /// Exemplars refused as out of order.
    pub exemplars_out_of_order: u64,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Series that have some.
    pub exemplar_series: u64,
    /// Time of the exemplar that goes next.
    pub exemplar_oldest: Option<TimestampMs>,
    /// Exemplars that can be kept.
    pub exemplars_max: u64,
    /// Bytes of exemplars.
    pub exemplar_bytes: u64,
    /// Bytes of start timestamps.
    pub start_bytes: u64,
}

impl ShardStats {
    /// Is there so much log that the next checkpoint should be taken? A restart then reads about as much log as checkpoint.
    pub fn is_checkpoint_due(&self) -> bool {
        self.log_bytes_behind_checkpoint >= CHECKPOINT_LOG_BYTES.max(self.checkpoint_bytes)
    }

    /// Is there so much log that a checkpoint now would shorten a restart and not write more than the log does?
    pub fn is_checkpoint_worth_while(&self) -> bool {
        self.log_bytes_behind_checkpoint >= CHECKPOINT_LOG_BYTES_MIN.max(self.checkpoint_bytes)
    }
}

/// What a shard counts as it goes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) series_created: u64,
    pub(super) batches: u64,
    pub(super) batches_refused: u64,
    pub(super) samples_stored: u64,
    pub(super) late_stored: u64,
    pub(super) late_histograms_stored: u64,
    pub(super) series_deleted_from: u64,
    pub(super) samples_duplicate: u64,
    pub(super) task_slices: u64,
    out_of_order: u64,
    duplicate: u64,
    out_of_bounds: u64,
    too_old: u64,
    unknown_series: u64,
    series_limit: u64,
    new_series_limit: u64,
    label_limit: u64,
    invalid_labels: u64,
    invalid_histogram: u64,
}

impl Counters {
    pub(super) fn count_rejection(&mut self, reason: RejectReason) {
        let counter = match reason {
            RejectReason::OutOfOrder => &mut self.out_of_order,
            RejectReason::DuplicateTimestamp => &mut self.duplicate,
            RejectReason::OutOfBounds => &mut self.out_of_bounds,
            RejectReason::TooOld => &mut self.too_old,
            RejectReason::UnknownSeries => &mut self.unknown_series,
            RejectReason::SeriesLimit => &mut self.series_limit,
            RejectReason::NewSeriesLimit => &mut self.new_series_limit,
            RejectReason::LabelLimit => &mut self.label_limit,
            RejectReason::InvalidLabels => &mut self.invalid_labels,
            RejectReason::InvalidHistogram => &mut self.invalid_histogram,
        };
        *counter += 1;
    }
}

impl Shard {
    /// Counters and sizes; cheap, whatever the number of series.
    pub fn stats(&self) -> ShardStats {
        let sizes = self.data.head.sizes();
        let (commits, logged_bytes) = self.commits.done();
        let time = self.data.head.time_range();
        let c = &self.counters;
        let label_bytes = self.data.index.identity.bytes();
        let postings_bytes = self.data.index.postings.bytes();
        let (slots_waiting, slots_reusable) = self.slots.kept_back();
        let exemplars = self.data.exemplars.numbers();
        ShardStats {
            series: self.data.index.identity.len() as u64,
            series_created: c.series_created,
            batches: c.batches,
            batches_refused: c.batches_refused,
            samples_stored: c.samples_stored,
            out_of_order_stored: c.late_stored,
            out_of_order_histograms_stored: c.late_histograms_stored,
            series_deleted_from: c.series_deleted_from,
            samples_duplicate: c.samples_duplicate,
            rejected_out_of_order: c.out_of_order,
            rejected_duplicate: c.duplicate,
            rejected_too_old: c.too_old,
            rejected_out_of_bounds: c.out_of_bounds,
            rejected_unknown_series: c.unknown_series,
            rejected_series_limit: c.series_limit,
            rejected_new_series_limit: c.new_series_limit,
            rejected_label_limit: c.label_limit,
            rejected_invalid_labels: c.invalid_labels,
            rejected_invalid_histogram: c.invalid_histogram,
            samples: sizes.samples,
            chunks: self.data.head.chunk_count(),
            time_min: time.map(|(min, _)| min),
            time_max: time.map(|(_, max)| max),
            commits,
            logged_bytes,
            pending_bytes: self.commits.pending_bytes(),
            log_bytes_behind_checkpoint: self.log_bytes_behind_checkpoint(),
            checkpoint_bytes: self.checkpoint_bytes,
            log_failed: self.commits.failure().is_some(),
            tasks: self.tasks.len() as u64,
            task_slices: c.task_slices,
            symbols: self.data.index.identity.symbols().len() as u64,
            label_pairs: self.data.index.postings.pair_count(),
            index_bytes: label_bytes + postings_bytes,
            label_bytes,
            postings_bytes,
            series_bytes: sizes.series_bytes,
            open_chunk_bytes: sizes.open_bytes,
            sealed_chunk_bytes: sizes.sealed_bytes,
            histogram_samples: sizes.histogram_samples,
            histogram_bytes: sizes.histogram_bytes,
            mapped_chunk_bytes: sizes.mapped_bytes,
            out_of_order_samples: sizes.out_of_order_samples,
            out_of_order_bytes: sizes.out_of_order_bytes,
            tombstone_bytes: sizes.tombstone_bytes,
            truncations: self.truncations.done,
            series_removed: self.truncations.series_removed,
            slots_waiting,
            slots_reusable,
            exemplars_stored: exemplars.stored,
            exemplars_out_of_order: exemplars.out_of_order,
            exemplars: exemplars.held,
            exemplar_series: exemplars.series,
            exemplar_oldest: exemplars.oldest,
            exemplars_max: self.config.exemplars_max as u64,
            exemplar_bytes: exemplars.bytes,
            start_bytes: self.data.starts.bytes(),
        }
    }
}

/// Counts of series by label, over one shard or several merged.
#[derive(Debug, Clone, Default)]
pub struct Cardinality {
    /// Series.
    pub series: u64,
    /// Chunks in memory.
    pub chunks: u64,
    /// Oldest sample.
    pub time_min: Option<TimestampMs>,
    /// Newest sample.
    pub time_max: Option<TimestampMs>,
    /// Series of each metric name.
    pub metrics: HashMap<String, u64>,
    /// Series of each `name=value`.
    pub pairs: HashMap<String, u64>,
    /// Values and bytes of each label name.
    pub names: HashMap<String, LabelNameCardinality>,
}

/// The values of one label name.
#[derive(Debug, Clone, Default)]
pub struct LabelNameCardinality {
    /// Hashes of the distinct values, so that shards can be merged without double counting.
    pub values: HashSet<u64>,
    /// Bytes of the values, counted once for each series that has them, as Prometheus does.
    pub bytes: u64,
}

impl Cardinality {
    /// Adds what another shard counted.
    pub fn merge(&mut self, other: Cardinality) {
        self.series += other.series;
        self.chunks += other.chunks;
        self.time_min = self.time_min.into_iter().chain(other.time_min).min();
        self.time_max = self.time_max.into_iter().chain(other.time_max).max();
        for (metric, count) in other.metrics {
            *self.metrics.entry(metric).or_default() += count;
        }
        for (pair, count) in other.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        for (name, of_name) in other.names {
            let entry = self.names.entry(name).or_default();
            entry.values.extend(of_name.values);
            entry.bytes += of_name.bytes;
        }
    }

    /// Distinct label pairs.
    pub fn label_pairs(&self) -> u64 {
        self.pairs.len() as u64
    }
}

/// The `limit` largest counts, largest first, equal ones by name.
impl Cardinality {
    /// Largest of any of the maps: see [`Cardinality::metrics`], [`Cardinality::pairs`].
    pub fn largest(counts: &HashMap<String, u64>, limit: usize) -> Vec<(String, u64)> {
        let mut all: Vec<(&String, u64)> = counts.iter().map(|(n, c)| (n, *c)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(limit);
        all.into_iter().map(|(n, c)| (n.clone(), c)).collect()
    }
}

pub(super) fn cardinality(data: &Data) -> Cardinality {
    let symbols = data.index.identity.symbols();
    let time = data.head.time_range();
    let mut found = Cardinality {
        series: data.index.identity.len() as u64,
        chunks: data.head.chunk_count(),
        time_min: time.map(|(min, _)| min),
        time_max: time.map(|(_, max)| max),
        ..Cardinality::default()
    };
    for (name, values) in data.index.postings.names() {
        let name = symbols.get(name);
        let entry = found.names.entry(name.to_owned()).or_default();
        for (value, list) in values {
            let value = symbols.get(*value);
            entry.values.insert(xxh3_64(value.as_bytes()));
            entry.bytes += value.len() as u64 * list.len();
            found.pairs.insert(format!("{name}={value}"), list.len());
            if name == METRIC_NAME {
                found.metrics.insert(value.to_owned(), list.len());
            }
        }
    }
    found
}
