//! The samples of one batch on their way into the head and the log's columns, each series in the order of its times.
//!
//! Not here: bounds, new series, the commit (`append`).

use super::append::{Entry, LogColumns, entry};
use super::commit::Commits;
use super::out_of_order::Bounds;
use crate::head::{Head, Verdict};
use crate::model::TimestampMs;
use crate::shard_api::{AppendBatch, AppendOutcome, RejectReason, Rejection, SampleSeries};
use crate::wal::histograms::LoggedHistogram;
use hashbrown::HashMap;
use std::sync::Arc;

/// Floats of a batch that come behind native histograms of the same series in it: a batch has both in columns of their own, and a series
/// takes its samples in the order of their times.
#[derive(Default)]
pub(super) struct Waiting {
    /// The earliest histogram of each series that has any.
    pub(super) first_histograms: HashMap<u32, TimestampMs>,
    /// Indices into the float columns.
    floats: Vec<usize>,
}

/// A sample of a batch, by its place in its column.
#[derive(Clone, Copy)]
pub(super) enum Waiter {
    Float(usize),
    Histogram(usize),
}

impl Waiting {
    pub(super) fn of(
        batch: &AppendBatch,
        index_of: impl Fn(SampleSeries) -> Option<u32>,
    ) -> Waiting {
        let mut waiting = Waiting::default();
        if batch.series.is_empty() {
            return waiting;
        }
        for sample in &batch.histograms {
            if let Some(index) = index_of(sample.series) {
                let first = waiting.first_histograms.entry(index);
                let first = first.or_insert(sample.timestamp);
                *first = sample.timestamp.min(*first);
            }
        }
        waiting
    }

    /// Must this float wait for histograms before it?
    pub(super) fn takes(&mut self, index: Option<u32>, t: TimestampMs, float: usize) -> bool {
        let first = index.and_then(|index| self.first_histograms.get(&index));
        let waits = first.is_some_and(|first| *first < t);
        if waits {
            self.floats.push(float);
        }
        waits
    }

    /// All histograms, and what waits for them, in an order that keeps that of each series.
    pub(super) fn in_order(self, batch: &AppendBatch, mut f: impl FnMut(Waiter)) {
        let histograms = (0..batch.histograms.len()).map(Waiter::Histogram);
        if self.floats.is_empty() {
            return histograms.for_each(f);
        }
        let mut all: Vec<Waiter> = self.floats.into_iter().map(Waiter::Float).collect();
        all.extend(histograms);
        let time = |sample: &Waiter| match *sample {
            Waiter::Float(i) => batch.timestamps.get(i).copied(),
            Waiter::Histogram(i) => batch.histograms.get(i).map(|h| h.timestamp),
        };
        all.sort_by_key(time);
        all.into_iter().for_each(&mut f);
    }
}

/// What the samples of a batch go through.
pub(super) struct Storing<'a> {
    pub(super) batch: &'a AppendBatch,
    pub(super) entries: &'a [Entry],
    pub(super) bounds: Bounds,
    pub(super) head: &'a mut Head,
    pub(super) commits: &'a mut Commits,
    pub(super) columns: &'a mut LogColumns,
    pub(super) outcome: &'a mut AppendOutcome,
    pub(super) stored: usize,
    pub(super) duplicates: u32,
}

impl Storing<'_> {
    /// Stores float `i` of the batch, or says why not.
    #[inline(always)]
    pub(super) fn float(&mut self, i: usize) {
        let batch = self.batch;
        let (Some(&who), Some(&t), Some(&value)) = (
            batch.series.get(i),
            batch.timestamps.get(i),
            batch.values.get(i),
        ) else {
            return;
        };
        let target = match who {
            SampleSeries::Known(reference) => Entry::Series(reference),
            SampleSeries::New(i) => entry(self.entries, i),
        };
        let mut verdict = match target {
            _ if !self.bounds.in_order(t) => Verdict::Rejected(RejectReason::OutOfBounds),
            Entry::Refused(reason) => Verdict::Rejected(reason),
            Entry::Series(reference) => {
                let verdict = self.head.append(reference, t, value.to_bits());
                if verdict == Verdict::StoredAfterHistogram && !self.columns.histograms.is_empty() {
                    // The log has the order of each series: what is before this sample goes first.
                    let (lsn, log) = self.commits.pending_records();
                    self.stored += self.columns.flush(lsn, log);
                }
                if matches!(verdict, Verdict::Stored | Verdict::StoredAfterHistogram) {
                    self.columns.refs.push(reference);
                    self.columns.timestamps.push(t);
                    self.columns.values.push(value);
                }
                verdict
            }
        };
        if self.bounds.is_late(t, verdict) {
            let late = &mut self.columns.late;
            verdict = late.append(self.head, self.bounds, target, t, value);
        }
        if verdict == Verdict::StoredStaleHistogram
            && let Entry::Series(series) = target
            && let Some(stale) = self.head.newest_histogram(series.index)
        {
            self.columns.histograms.push(LoggedHistogram {
                series,
                timestamp: t,
                histogram: Arc::clone(stale),
            });
        }
        self.note(verdict, i);
    }

    /// Stores histogram `i` of the batch, or says why not.
    pub(super) fn histogram(&mut self, i: usize) {
        let Some(sample) = self.batch.histograms.get(i) else {
            return;
        };
        let (bounds, t) = (self.bounds, sample.timestamp);
        let target = match sample.series {
            SampleSeries::Known(reference) => Entry::Series(reference),
            SampleSeries::New(i) => entry(self.entries, i),
        };
        let mut verdict = match target {
            _ if !bounds.takes(t) && bounds.late_min.is_none() => {
                Verdict::Rejected(RejectReason::OutOfBounds)
            }
            _ if sample.histogram.validate().is_err() => {
                Verdict::Rejected(RejectReason::InvalidHistogram)
            }
            _ if !bounds.in_order(t) => Verdict::Rejected(RejectReason::OutOfBounds),
            Entry::Refused(reason) => Verdict::Rejected(reason),
            Entry::Series(series) => {
                let verdict = self.head.append_histogram(series, t, &sample.histogram);
                if verdict == Verdict::Stored {
                    self.columns.histograms.push(LoggedHistogram {
                        series,
                        timestamp: t,
                        histogram: Arc::clone(&sample.histogram),
                    });
                }
                verdict
            }
        };
        if bounds.is_late(t, verdict) {
            let late = &mut self.columns.late;
            verdict = late.append_histogram(self.head, bounds, target, sample);
        }
        self.note(verdict, self.batch.series.len() + i);
    }

    #[inline(always)]
    fn note(&mut self, verdict: Verdict, sample: usize) {
        match verdict {
            Verdict::Stored
            | Verdict::StoredAfterHistogram
            | Verdict::StoredStaleHistogram
            | Verdict::StoredLate => {}
            Verdict::Duplicate => self.duplicates += 1,
            Verdict::Rejected(reason) => self.outcome.rejections.push(Rejection {
                sample: sample as u32,
                reason,
            }),
        }
    }
}
