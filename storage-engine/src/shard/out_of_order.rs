//! Samples that come late: which are taken, how they are logged and brought back.
//!
//! The rules are those of Prometheus's head. A sample that its series cannot take in order, because it is older than
//! the series' newest or than what the shard takes in order, is taken out of order if it is at most the window older than
//! the shard's newest sample; beyond that it is too old. Of two late samples of one time the first is kept and the
//! second is a silent success.
//! Not here: where they are kept (the head), merging them on read (the reader), sealing them (maintenance).

use super::append::Entry;
use super::replay::ReplayedSamples;
use super::{Shard, TimestampMs};
use crate::head::{Head, Verdict};
use crate::model::{FloatHistogram, STALE_NAN_BITS, SeriesRef};
use crate::shard_api::{HistogramSample, RejectReason};
use crate::wal::format::encode_out_of_order_samples_record;
use crate::wal::histograms::{LoggedHistogram, encode_out_of_order_histograms_record};
use std::sync::Arc;

/// What the shard accepts by time alone, fixed at the start of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In order from here on.
    pub(super) min: TimestampMs,
    /// The sender's bound.
    pub(super) max: TimestampMs,
    /// Out of order from here on, if at all.
    pub(super) late_min: Option<TimestampMs>,
}

impl Bounds {
    /// Can a sample at `t` be taken in order, as far as its series lets it?
    #[inline(always)]
    pub(super) fn in_order(&self, t: TimestampMs) -> bool {
        self.min <= t && t <= self.max
    }

    /// Can a sample at `t` be taken at all?
    pub(super) fn takes(&self, t: TimestampMs) -> bool {
        t <= self.max && (t >= self.min || self.late_min.is_some_and(|min| t >= min))
    }

    /// Is a sample at `t` that was refused with `verdict` to be looked at as a late one?
    #[inline(always)]
    pub(super) fn is_late(&self, t: TimestampMs, verdict: Verdict) -> bool {
        self.late_min.is_some()
            && t <= self.max
            && matches!(
                verdict,
                Verdict::Rejected(RejectReason::OutOfOrder | RejectReason::OutOfBounds)
            )
    }

    /// Is `t` older than the window?
    pub(super) fn is_too_old(&self, t: TimestampMs) -> bool {
        self.late_min.is_none_or(|min| t < min)
    }
}

/// Columns of the late samples that must be logged, reused between batches.
#[derive(Default)]
pub(super) struct LateColumns {
    refs: Vec<SeriesRef>,
    timestamps: Vec<TimestampMs>,
    values: Vec<f64>,
    histograms: Vec<LoggedHistogram>,
}

impl LateColumns {
    /// The oldest time of what is here.
    pub(super) fn oldest(&self) -> Option<TimestampMs> {
        let floats = self.timestamps.iter().copied();
        floats
            .chain(self.histograms.iter().map(|h| h.timestamp))
            .min()
    }

    /// Adds what is here to the log and forgets it. Returns the number of floats and of histograms.
    pub(super) fn flush(&mut self, lsn: u64, log: &mut Vec<u8>) -> (usize, usize) {
        let stored = (self.refs.len(), self.histograms.len());
        if stored == (0, 0) {
            return stored;
        }
        encode_out_of_order_samples_record(log, lsn, &self.refs, &self.timestamps, &self.values);
        encode_out_of_order_histograms_record(log, lsn, &self.histograms);
        self.refs.clear();
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
        stored
    }

    /// Takes a float that did not come in order.
    #[cold]
    pub(super) fn append(
        &mut self,
        head: &mut Head,
        bounds: Bounds,
        target: Entry,
        t: TimestampMs,
        value: f64,
    ) -> Verdict {
        let series = match target {
            _ if bounds.is_too_old(t) => return Verdict::Rejected(RejectReason::TooOld),
            Entry::Refused(reason) => return Verdict::Rejected(reason),
            Entry::Series(series) => series,
        };
        // A staleness marker becomes a histogram's where the series has those, as in order.
        if value.to_bits() == STALE_NAN_BITS
            && let Some(stale) = head.stale_histogram(series)
        {
            return self.append_histogram_of(head, series, t, &stale);
        }
        let verdict = head.append_late(series, t, value.to_bits());
        if verdict == Verdict::StoredLate {
            self.refs.push(series);
            self.timestamps.push(t);
            self.values.push(value);
        }
        verdict
    }

    /// Takes a native histogram that did not come in order.
    #[cold]
    pub(super) fn append_histogram(
        &mut self,
        head: &mut Head,
        bounds: Bounds,
        target: Entry,
        sample: &HistogramSample,
    ) -> Verdict {
        match target {
            _ if bounds.is_too_old(sample.timestamp) => Verdict::Rejected(RejectReason::TooOld),
            Entry::Refused(reason) => Verdict::Rejected(reason),
            Entry::Series(series) => {
                self.append_histogram_of(head, series, sample.timestamp, &sample.histogram)
            }
        }
    }

    fn append_histogram_of(
        &mut self,
        head: &mut Head,
        series: SeriesRef,
        timestamp: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) -> Verdict {
        let verdict = head.append_late_histogram(series, timestamp, histogram);
        if verdict == Verdict::StoredLate {
            self.histograms.push(LoggedHistogram {
                series,
                timestamp,
                histogram: Arc::clone(histogram),
            });
        }
        verdict
    }
}

impl Shard {
    /// From now on samples up to `window_ms` older than the shard's newest are taken out of order; 0 or less: none. What
    /// was taken stays.
    pub fn set_out_of_order_window(&mut self, window_ms: i64) {
        self.config.out_of_order_window_ms = window_ms;
        self.data.exemplars.set_window(window_ms);
    }

    /// What would become of a late sample of `target`; `None` is a series that does not exist yet.
    pub(super) fn check_late(
        &self,
        bounds: Bounds,
        target: Result<Option<SeriesRef>, RejectReason>,
        t: TimestampMs,
    ) -> Verdict {
        match target {
            _ if bounds.is_too_old(t) => Verdict::Rejected(RejectReason::TooOld),
            Err(reason) => Verdict::Rejected(reason),
            Ok(Some(series)) if !self.data.head.is_known(series) => {
                Verdict::Rejected(RejectReason::UnknownSeries)
            }
            Ok(_) => Verdict::StoredLate,
        }
    }

    /// Brings back the late samples of one record. The columns have one length; what is beyond the shortest is ignored.
    pub fn replay_out_of_order(
        &mut self,
        refs: &[SeriesRef],
        timestamps: &[TimestampMs],
        values: &[f64],
    ) -> ReplayedSamples {
        let mut counts = ReplayedSamples::default();
        for ((&series, &t), &value) in refs.iter().zip(timestamps).zip(values) {
            let verdict = self.data.head.append_late(series, t, value.to_bits());
            self.count_replayed(series, verdict, &mut counts);
        }
        counts
    }

    /// Brings back the late native histograms of one record.
    pub fn replay_out_of_order_histograms(
        &mut self,
        samples: &[LoggedHistogram],
    ) -> ReplayedSamples {
        let mut counts = ReplayedSamples::default();
        for sample in samples {
            let head = &mut self.data.head;
            let verdict =
                head.append_late_histogram(sample.series, sample.timestamp, &sample.histogram);
            self.count_replayed(sample.series, verdict, &mut counts);
        }
        counts
    }
}
