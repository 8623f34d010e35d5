//! One batch into the head: validation, storing and the log's columns in one pass.
//!
//! The rules are those of Prometheus's head: a sample newer than the series' newest is stored; the newest again with
//! the same bits is a silent success, with other bits a duplicate; an older one is out of order; one older than the
//! shard's newest sample before the batch minus the window, or than what is being sealed, or above the sender's bound,
//! is out of bounds.
//! A series comes to be with its first sample that passes the bounds, never for the sake of refused samples.
//! The memory wall decides the cost: hot lines are asked for well before they are needed, then the chunk tails.

use super::Shard;
use super::commit::Reliance;
use super::out_of_order::{Bounds, LateColumns};
use super::storing::{Storing, Waiter, Waiting};
use crate::head::Verdict;
use crate::index;
use crate::model::{SeriesRef, TimestampMs};
use crate::shard_api::{
    AppendBatch, AppendOutcome, HistogramSample, RejectReason, Rejection, SampleSeries,
};
use crate::wal::format::{encode_samples_record, encode_series_record};
use crate::wal::histograms::{LoggedHistogram, encode_histograms_record};

/// Samples between asking for a hot line and using it.
const LINE_AHEAD: usize = 24;
/// Samples between asking for a chunk tail and using it.
const TAIL_AHEAD: usize = 8;

/// Columns of the samples that must be logged, reused between batches.
#[derive(Default)]
pub(super) struct LogColumns {
    pub(super) refs: Vec<SeriesRef>,
    pub(super) timestamps: Vec<TimestampMs>,
    pub(super) values: Vec<f64>,
    pub(super) histograms: Vec<LoggedHistogram>,
    pub(super) late: LateColumns,
    /// The oldest time of what was flushed since somebody asked.
    oldest: Option<TimestampMs>,
}

impl LogColumns {
    /// Adds what is here to the log, floats before histograms, and forgets it. Returns the number of samples.
    pub(super) fn flush(&mut self, lsn: u64, log: &mut Vec<u8>) -> usize {
        let stored = self.refs.len() + self.histograms.len();
        encode_samples_record(log, lsn, &self.refs, &self.timestamps, &self.values);
        encode_histograms_record(log, lsn, &self.histograms);
        let histograms = self.histograms.iter().map(|h| h.timestamp).min();
        let floats = self.timestamps.iter().copied().min();
        let times = [self.oldest, floats, histograms];
        self.oldest = times.into_iter().flatten().min();
        self.refs.clear();
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
        stored
    }
}

/// What an entry of the batch's new series turned out to be.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    Series(SeriesRef),
    Refused(RejectReason),
}

impl Shard {
    fn bounds(&self, batch: &AppendBatch) -> Bounds {
        // With an empty head the first sample sets the time, as Prometheus does.
        let newest = self
            .data
            .head
            .time_max()
            .or_else(|| batch.timestamps.first().copied())
            .or_else(|| batch.histograms.first().map(|h| h.timestamp));
        let min = match (self.config.out_of_bounds_window_ms, newest) {
            (Some(window), Some(newest)) => newest.saturating_sub(window),
            _ => TimestampMs::MIN,
        };
        Bounds {
            min: min.max(self.in_order_from()),
            max: batch.timestamp_max.unwrap_or(TimestampMs::MAX),
            late_min: match self.config.out_of_order_window_ms {
                window @ 1.. => Some(newest.map_or(TimestampMs::MIN, |n| n.saturating_sub(window))),
                _ => None,
            },
        }
    }

    /// Stores the good samples of a batch and adds what must be logged to the pending commit.
    pub(super) fn append(&mut self, now: u64, batch: &AppendBatch) -> (AppendOutcome, Reliance) {
        assert_columns(batch);
        let bounds = self.bounds(batch);
        let mut outcome = AppendOutcome::default();
        let mut reliance = Reliance::Nothing;
        let entries = self.resolve(now, batch, bounds, &mut outcome, &mut reliance);
        let started = !batch.starts.is_empty() || !batch.histogram_starts.is_empty();
        let keep = self.config.starts.keep && (started || self.data.starts.any_running());
        let candidates = match keep {
            true => self.start_candidates(batch, &entries),
            false => Vec::new(),
        };
        let zeros = match started && self.config.starts.zero_sample {
            true => self.store_zeros(batch, &entries, bounds),
            false => 0,
        };
        let mut columns = std::mem::take(&mut self.columns);
        columns.refs.reserve(batch.series.len());
        columns.timestamps.reserve(batch.series.len());
        columns.values.reserve(batch.series.len());
        let head = &mut self.data.head;
        let series = batch.series.as_slice();
        let index_of = |s: SampleSeries| match s {
            SampleSeries::Known(reference) => Some(reference.index),
            SampleSeries::New(i) => match entries.get(i as usize) {
                Some(Entry::Series(reference)) => Some(reference.index),
                _ => None,
            },
        };
        for ahead in series.iter().take(LINE_AHEAD) {
            if let Some(index) = index_of(*ahead) {
                head.prefetch_line(index);
            }
        }
        let mut waiting = Waiting::of(batch, index_of);
        let mut storing = Storing {
            batch,
            entries: &entries,
            bounds,
            head,
            commits: &mut self.commits,
            columns: &mut columns,
            outcome: &mut outcome,
            stored: 0,
            duplicates: 0,
        };
        for (i, (&who, &t)) in series.iter().zip(&batch.timestamps).enumerate() {
            if let Some(index) = series.get(i + LINE_AHEAD).and_then(|s| index_of(*s)) {
                storing.head.prefetch_line(index);
            }
            if let Some(index) = series.get(i + TAIL_AHEAD).and_then(|s| index_of(*s)) {
                storing.head.prefetch_tail(index);
            }
            if !waiting.first_histograms.is_empty() && waiting.takes(index_of(who), t, i) {
                continue;
            }
            storing.float(i);
        }
        waiting.in_order(batch, |sample| match sample {
            Waiter::Float(i) => storing.float(i),
            Waiter::Histogram(i) => storing.histogram(i),
        });
        let Storing {
            mut stored,
            duplicates,
            ..
        } = storing;
        // Those of floats that waited are behind those of histograms.
        outcome.rejections.sort_by_key(|r| r.sample);
        let (lsn, log) = self.commits.pending_records();
        stored += columns.flush(lsn, log);
        let oldest = [columns.oldest.take(), columns.late.oldest()];
        let oldest = oldest.into_iter().flatten().min();
        let (late, late_histograms) = columns.late.flush(lsn, log);
        if let Some(oldest) = oldest {
            self.data.changes.note(oldest);
        }
        stored += late + late_histograms;
        self.counters.late_stored += late as u64;
        self.counters.late_histograms_stored += late_histograms as u64;
        outcome.accepted = stored as u32 + duplicates;
        if duplicates > 0 {
            reliance = reliance.max(Reliance::Earlier);
        }
        if stored + zeros > 0 {
            reliance = Reliance::OwnRecords;
        }
        self.columns = columns;
        if !candidates.is_empty() && self.keep_starts(&candidates, &outcome) {
            reliance = Reliance::OwnRecords;
        }
        if !batch.exemplars.is_empty() {
            let relied = self.append_exemplars(batch, &entries, &mut outcome.exemplar_refusals);
            reliance = reliance.max(relied);
        }
        self.counters.batches += 1;
        self.counters.samples_stored += (stored + zeros) as u64;
        self.counters.samples_duplicate += u64::from(duplicates);
        for rejection in &outcome.rejections {
            self.counters.count_rejection(rejection.reason);
        }
        (outcome, reliance)
    }

    /// Finds or creates the new series that have a sample within bounds, and logs the created ones.
    fn resolve(
        &mut self,
        now: u64,
        batch: &AppendBatch,
        bounds: Bounds,
        outcome: &mut AppendOutcome,
        reliance: &mut Reliance,
    ) -> Vec<Entry> {
        if batch.new_series.is_empty() {
            return Vec::new();
        }
        let wanted = wanted_entries(batch, bounds);
        let memory_full = self.memory_beyond(|max| max);
        let mut entries = Vec::with_capacity(batch.new_series.len());
        let mut created: Vec<(SeriesRef, &[u8])> = Vec::new();
        for (i, wanted) in wanted.iter().enumerate() {
            let Some(canonical) = batch.new_series.get(i) else {
                entries.push(Entry::Refused(RejectReason::InvalidLabels));
                continue;
            };
            entries.push(match self.data.index.find(canonical) {
                Some(slot) => {
                    *reliance = (*reliance).max(Reliance::Earlier);
                    Entry::Series(self.data.head.reference(slot))
                }
                None if !index::is_series(canonical) => Entry::Refused(RejectReason::InvalidLabels),
                // Without a sample within bounds nothing asks for this entry, so the reason is never seen.
                None if !wanted => Entry::Refused(RejectReason::OutOfBounds),
                None if memory_full => Entry::Refused(RejectReason::SeriesLimit),
                None => match self.create(now, canonical) {
                    Ok(reference) => {
                        created.push((reference, canonical));
                        Entry::Series(reference)
                    }
                    Err(reason) => Entry::Refused(reason),
                },
            });
        }
        outcome.created = entries
            .iter()
            .map(|entry| match entry {
                Entry::Series(reference) => Some(*reference),
                Entry::Refused(_) => None,
            })
            .collect();
        outcome.series_added = created.len() as u32;
        if !created.is_empty() {
            *reliance = Reliance::OwnRecords;
            self.counters.series_created += created.len() as u64;
            let (lsn, log) = self.commits.pending_records();
            encode_series_record(log, lsn, &mut created.iter().copied());
            self.commits.define(created.iter().map(|(r, _)| *r));
        }
        entries
    }

    fn create(&mut self, now: u64, canonical: &[u8]) -> Result<SeriesRef, RejectReason> {
        let limits = self.config.series_limits;
        limits.check_labels(canonical)?;
        if self.data.index.identity.len() as u64 >= u64::from(self.config.series_max) {
            return Err(RejectReason::SeriesLimit);
        }
        let slot = self.slots.peek().ok_or(RejectReason::SeriesLimit)?;
        let (index, generation_min) = slot;
        if !self.new_series.take(now, limits.new_per_minute_max) {
            return Err(RejectReason::NewSeriesLimit);
        }
        self.generation = self.generation.max(generation_min);
        let reference = SeriesRef {
            index,
            generation: self.generation,
        };
        if !self.data.index.insert(reference.index, canonical) {
            return Err(RejectReason::SeriesLimit);
        }
        self.data.head.occupy(reference);
        self.slots.take();
        Ok(reference)
    }

    /// What would be refused now; nothing changes. As in Prometheus, samples of one batch are not held against each
    /// other, only against what is stored.
    pub(super) fn check(&self, now: u64, batch: &AppendBatch) -> AppendOutcome {
        assert_columns(batch);
        let bounds = self.bounds(batch);
        let mut outcome = AppendOutcome {
            created: vec![None; batch.new_series.len()],
            ..AppendOutcome::default()
        };
        let mut room =
            u64::from(self.config.series_max).saturating_sub(self.data.index.identity.len() as u64);
        let limits = self.config.series_limits;
        let mut rate_room = self.new_series.room(now, limits.new_per_minute_max);
        let wanted = wanted_entries(batch, bounds);
        let known: Vec<Result<Option<SeriesRef>, RejectReason>> = wanted
            .iter()
            .enumerate()
            .map(|(i, wanted)| {
                let canonical = batch.new_series.get(i).ok_or(RejectReason::InvalidLabels)?;
                if let Some(slot) = self.data.index.find(canonical) {
                    return Ok(Some(self.data.head.reference(slot)));
                }
                if !index::is_series(canonical) {
                    return Err(RejectReason::InvalidLabels);
                }
                if *wanted {
                    limits.check_labels(canonical)?;
                    room = room.checked_sub(1).ok_or(RejectReason::SeriesLimit)?;
                    let rest = rate_room.checked_sub(1);
                    rate_room = rest.ok_or(RejectReason::NewSeriesLimit)?;
                }
                Ok(None)
            })
            .collect();
        for (i, ((&who, &t), &value)) in batch
            .series
            .iter()
            .zip(&batch.timestamps)
            .zip(&batch.values)
            .enumerate()
        {
            let target = match who {
                SampleSeries::Known(reference) => Ok(Some(reference)),
                SampleSeries::New(i) => known
                    .get(i as usize)
                    .copied()
                    .unwrap_or(Err(RejectReason::UnknownSeries)),
            };
            let mut verdict = match target {
                _ if !bounds.in_order(t) => Verdict::Rejected(RejectReason::OutOfBounds),
                Err(reason) => Verdict::Rejected(reason),
                Ok(None) => Verdict::Stored,
                Ok(Some(reference)) => self.data.head.check(reference, t, value.to_bits()),
            };
            if bounds.is_late(t, verdict) {
                verdict = self.check_late(bounds, target, t);
            }
            match verdict {
                Verdict::Rejected(reason) => outcome.rejections.push(Rejection {
                    sample: i as u32,
                    reason,
                }),
                _ => outcome.accepted += 1,
            }
        }
        for (i, sample) in batch.histograms.iter().enumerate() {
            let t = sample.timestamp;
            let target = match sample.series {
                SampleSeries::Known(reference) => Ok(Some(reference)),
                SampleSeries::New(i) => known
                    .get(i as usize)
                    .copied()
                    .unwrap_or(Err(RejectReason::UnknownSeries)),
            };
            let mut verdict = match target {
                _ if !bounds.takes(t) && bounds.late_min.is_none() => {
                    Verdict::Rejected(RejectReason::OutOfBounds)
                }
                _ if sample.histogram.validate().is_err() => {
                    Verdict::Rejected(RejectReason::InvalidHistogram)
                }
                _ if !bounds.in_order(t) => Verdict::Rejected(RejectReason::OutOfBounds),
                Err(reason) => Verdict::Rejected(reason),
                Ok(None) => Verdict::Stored,
                Ok(Some(reference)) => {
                    let head = &self.data.head;
                    head.check_histogram(reference, t, &sample.histogram)
                }
            };
            if bounds.is_late(t, verdict) {
                verdict = self.check_late(bounds, target, t);
            }
            match verdict {
                Verdict::Rejected(reason) => outcome.rejections.push(Rejection {
                    sample: (batch.series.len() + i) as u32,
                    reason,
                }),
                _ => outcome.accepted += 1,
            }
        }
        outcome
    }
}

pub(super) fn entry(entries: &[Entry], index: u32) -> Entry {
    entries
        .get(index as usize)
        .copied()
        .unwrap_or(Entry::Refused(RejectReason::UnknownSeries))
}

/// For each entry of the new series: does a sample within bounds ask for it? Histograms that are not valid do not.
fn wanted_entries(batch: &AppendBatch, bounds: Bounds) -> Vec<bool> {
    let mut wanted = vec![false; batch.new_series.len()];
    let floats = batch
        .series
        .iter()
        .copied()
        .zip(batch.timestamps.iter().copied());
    let valid = |h: &&HistogramSample| {
        matches!(h.series, SampleSeries::New(_)) && h.histogram.validate().is_ok()
    };
    let histograms = batch.histograms.iter().filter(valid);
    let histograms = histograms.map(|h| (h.series, h.timestamp));
    for (who, t) in floats.chain(histograms) {
        if let SampleSeries::New(i) = who
            && bounds.takes(t)
            && let Some(entry) = wanted.get_mut(i as usize)
        {
            *entry = true;
        }
    }
    wanted
}

fn assert_columns(batch: &AppendBatch) {
    assert!(
        batch.series.len() == batch.timestamps.len() && batch.series.len() == batch.values.len(),
        "BUG: the columns of a batch differ in length: {} series, {} timestamps, {} values",
        batch.series.len(),
        batch.timestamps.len(),
        batch.values.len(),
    );
}
