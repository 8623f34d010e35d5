//! What crosses the threads: the messages between the gateway plane and a shard.
//!
//! Everything here is owned data. A shard is touched by one thread; nobody shares its insides.

use crate::model::{Exemplar, FloatHistogram, Labels, SeriesRef, TimestampMs};
use crate::shard::{Action, Shard, ShardReader};
use std::sync::Arc;

/// Columns of samples for one shard, in arrival order. One entry of each column is one sample.
#[derive(Debug, Clone, Default)]
pub struct AppendBatch {
    /// Whose sample it is.
    pub series: Vec<SampleSeries>,
    /// Milliseconds since the epoch.
    pub timestamps: Vec<TimestampMs>,
    /// Value bits as they came (NaN payloads kept).
    pub values: Vec<f64>,
    /// Native histogram samples, stored after the columns.
    pub histograms: Vec<HistogramSample>,
    /// Since when the counter behind each float sample counts (0: not known); samples beyond the end have none.
    pub starts: Vec<TimestampMs>,
    /// The same for `histograms`.
    pub histogram_starts: Vec<TimestampMs>,
    /// Exemplars, stored after the samples. A series needs a sample to come to be.
    pub exemplars: Vec<ExemplarSample>,
    /// Label sets that the sender has no reference for yet.
    pub new_series: NewSeries,
    /// Upper bound for timestamps (remote write: now + 10 min); samples above it are out of bounds.
    pub timestamp_max: Option<TimestampMs>,
}

impl AppendBatch {
    /// Notes the start of the float sample that was pushed last; 0 for none.
    #[inline]
    pub fn start_of_last(&mut self, start: TimestampMs) {
        if start != 0 {
            note_last(&mut self.starts, self.series.len(), start);
        }
    }

    /// Notes the start of the histogram that was pushed last; 0 for none.
    pub fn histogram_start_of_last(&mut self, start: TimestampMs) {
        if start != 0 {
            note_last(&mut self.histogram_starts, self.histograms.len(), start);
        }
    }

    /// The start of a sample, histograms counting on from the floats; 0 for none.
    pub fn start_of(&self, sample: u32) -> TimestampMs {
        let sample = sample as usize;
        let start = match sample.checked_sub(self.series.len().max(self.timestamps.len())) {
            None => self.starts.get(sample),
            Some(histogram) => self.histogram_starts.get(histogram),
        };
        start.copied().unwrap_or(0)
    }

    /// Samples of both kinds.
    pub fn sample_count(&self) -> usize {
        self.series.len() + self.histograms.len()
    }
}

#[cold]
fn note_last(starts: &mut Vec<TimestampMs>, samples: usize, start: TimestampMs) {
    starts.resize(samples.saturating_sub(1), 0);
    starts.push(start);
}

/// One native histogram sample of a batch. The sender has validated it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Whose sample it is.
    pub series: SampleSeries,
    /// Milliseconds since the epoch.
    pub timestamp: TimestampMs,
    /// The value.
    pub histogram: Arc<FloatHistogram>,
}

/// One exemplar of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarSample {
    /// Whose exemplar it is.
    pub series: SampleSeries,
    /// What.
    pub exemplar: Exemplar,
}

/// How a sample names its series: a reference the shard gave earlier, or an entry of [`AppendBatch::new_series`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleSeries {
    /// A reference from an earlier [`AppendOutcome::created`].
    Known(SeriesRef),
    /// Index into [`AppendBatch::new_series`].
    New(u32),
}

/// Label sets in canonical bytes (see [`crate::model::Labels`]), back to back.
///
/// The sender has validated them; the shard checks again before it keeps one.
#[derive(Debug, Clone, Default)]
pub struct NewSeries {
    /// Canonical label bytes, concatenated.
    pub bytes: Vec<u8>,
    /// End offset of each set in `bytes`.
    pub ends: Vec<u32>,
}

impl NewSeries {
    /// Adds one set, returns its index.
    pub fn push(&mut self, canonical: &[u8]) -> u32 {
        let index = self.ends.len() as u32;
        self.bytes.extend_from_slice(canonical);
        self.ends.push(self.bytes.len() as u32);
        index
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without sets.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Canonical bytes of set `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.bytes.get(start..end)
    }
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendMode {
    /// Store the good samples, report the others (remote write 2.0, scrapes, push).
    Partial,
    /// Only say what would be rejected; store and create nothing (first half of a remote write 1.0 request).
    Check,
}

/// Why one sample was not stored. Texts are Prometheus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// Older than the series' newest sample.
    #[error("out of order sample")]
    OutOfOrder,
    /// Same timestamp as the newest sample, other value.
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    /// Outside the window that the head accepts.
    #[error("out of bounds")]
    OutOfBounds,
    /// Older than the out-of-order window.
    #[error("too old sample")]
    TooOld,
    /// The reference is not (or no longer) this shard's: send the labels.
    #[error("unknown series reference")]
    UnknownSeries,
    /// A new series beyond the limit.
    #[error("series limit of the shard reached")]
    SeriesLimit,
    /// A new series beyond those that a minute may bring.
    #[error("limit of new series per minute of the shard reached")]
    NewSeriesLimit,
    /// A new series with too many labels, or with a label that is too long.
    #[error("label limit exceeded")]
    LabelLimit,
    /// A native histogram that breaks a rule of [`FloatHistogram::validate`].
    #[error("invalid histogram")]
    InvalidHistogram,
    /// The label bytes are not canonical.
    #[error("invalid labels")]
    InvalidLabels,
}

/// Why one exemplar was not stored. Texts are Prometheus's, where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExemplarRefusal {
    /// Older than the series' newest exemplar allows.
    #[error("out of order exemplar")]
    OutOfOrder,
    /// More characters in its labels than [`crate::model::EXEMPLAR_LABEL_RUNES_MAX`].
    #[error(
        "label length for exemplar exceeds maximum of {} UTF-8 characters",
        crate::model::EXEMPLAR_LABEL_RUNES_MAX
    )]
    LabelsTooLong,
    /// Later than the sender's bound.
    #[error("out of bounds: timestamp is too far in the future")]
    TooFarAhead,
    /// No such series, or none of its samples was stored yet.
    #[error("unknown series when trying to add an exemplar")]
    UnknownSeries,
}

impl RejectReason {
    /// Is it a bound on how many series there may be? Samples of series that exist are not refused for it.
    pub fn is_series_limit(self) -> bool {
        matches!(
            self,
            RejectReason::SeriesLimit | RejectReason::NewSeriesLimit
        )
    }

    /// Is it about the time that the shard has got to? That goes on between two looks at the same sample.
    pub fn is_about_time(self) -> bool {
        matches!(self, RejectReason::OutOfBounds | RejectReason::TooOld)
    }

    /// Do the labels of the series stand against it?
    pub fn is_about_labels(self) -> bool {
        matches!(self, RejectReason::InvalidLabels | RejectReason::LabelLimit)
    }
}

/// One refused sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Index in the batch's columns; histograms count on from the length of the columns.
    pub sample: u32,
    /// Why.
    pub reason: RejectReason,
}

/// The shard's answer to a batch, given after the promise of the acknowledgement mode is met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendOutcome {
    /// A reference for each entry of `new_series` (`None` where it was refused, or in `Check` mode).
    pub created: Vec<Option<SeriesRef>>,
    /// Samples stored, or already there bit for bit.
    pub accepted: u32,
    /// Series that did not exist before.
    pub series_added: u32,
    /// Refused samples in ascending order of index.
    pub rejections: Vec<Rejection>,
    /// Refused exemplars: index in the batch, and why. All others are stored, were there already, or are not kept at all.
    pub exemplar_refusals: Vec<(u32, ExemplarRefusal)>,
}

/// The exemplars of one series, as a query gets them.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Its exemplars, ascending by time.
    pub exemplars: Vec<Exemplar>,
}

/// Why a whole batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The mailbox or the log queue is full: try again shortly.
    #[error("the shard is overloaded, try again")]
    Overloaded,
    /// The log cannot be written (disk full, I/O error); queries go on.
    #[error("the write-ahead log cannot be written: {0}")]
    Log(String),
    /// The shard is stopping.
    #[error("the server is shutting down")]
    Stopped,
}

/// Whether a task wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// More to do: call again after others had their turn.
    More,
    /// Finished; drop it.
    Done,
}

/// A piece of a query that runs next to the data, on the shard's own thread.
///
/// `slice` does at most about 100 µs of work, then returns. The task carries its own way to deliver results (a channel) and its own
/// cancel flag; the shard drops it when it is done or when the shard stops.
pub trait ShardTask: Send {
    /// One bounded piece of work on a consistent view of the shard.
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState;
}

/// What a read touched, for the statistics of a query, and what it could not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadNotes {
    /// Chunks of the head and pages of blocks that were decoded.
    pub pages_decoded: u64,
    /// Pages that time range or statistics made needless.
    pub pages_skipped: u64,
    /// Encoded bytes of the decoded pages.
    pub bytes_read: u64,
    /// What was damaged and is missing from the answer, in words for the answer's warnings; each once.
    pub damage: Vec<String>,
}

impl ReadNotes {
    /// Adds what another read noted.
    pub fn merge(&mut self, other: ReadNotes) {
        self.pages_decoded += other.pages_decoded;
        self.pages_skipped += other.pages_skipped;
        self.bytes_read += other.bytes_read;
        for text in other.damage {
            self.note_damage(text);
        }
    }

    /// Notes damage once.
    pub fn note_damage(&mut self, text: String) {
        if !self.damage.contains(&text) {
            self.damage.push(text);
        }
    }
}

/// A change of a shard other than an append: a block that appears, a deletion, the end of a sealing.
///
/// It runs between batches, in one piece, and must stay short. It carries its own way to give back results. It answers `request` exactly
/// once: at once by [`Action::Reply`], or with the commit that it has put records into.
pub trait ShardChange: Send {
    /// Changes the shard. `now` is monotonic nanoseconds.
    fn apply(self: Box<Self>, shard: &mut Shard, request: u64, now: u64, actions: &mut Vec<Action>);
}

/// Where query tasks can be sent: the running store, or plain shards in a test.
pub trait ShardRunner: Send + Sync {
    /// Number of shards; constant for the life of the store.
    fn shard_count(&self) -> usize;
    /// Hands a task to shard `shard`; a task that cannot be taken is given back.
    fn submit(&self, shard: usize, task: Box<dyn ShardTask>) -> Result<(), Box<dyn ShardTask>>;
}

/// Reads of one series: columns to append to, and the inclusive time range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First millisecond wanted.
    pub min: TimestampMs,
    /// Last millisecond wanted.
    pub max: TimestampMs,
}

/// Where in a range somebody looks: in windows of one width, evenly spaced, the first at the range's beginning. What lies between them
/// may be read or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindows {
    /// From the first window's first millisecond to the last one's last.
    pub range: TimeRange,
    /// Milliseconds in a window, at least 1.
    pub width: i64,
    /// Milliseconds from the beginning of one window to that of the next, at least 1.
    pub step: i64,
}

impl TimeWindows {
    /// Does any window have a millisecond of `first..=last`?
    pub fn touch(&self, first: TimestampMs, last: TimestampMs) -> bool {
        if last < self.range.min || first > self.range.max || last < first {
            return false;
        }
        let from = first.max(self.range.min).saturating_sub(self.range.min);
        let into_window = from % self.step.max(1);
        // Where windows meet or overlap, every millisecond is in one.
        if into_window < self.width {
            return true;
        }
        let next = self.step.saturating_sub(into_window).saturating_add(from);
        self.range.min.saturating_add(next) <= last.min(self.range.max)
    }
}

impl From<TimeRange> for TimeWindows {
    /// One window.
    fn from(range: TimeRange) -> TimeWindows {
        TimeWindows {
            range,
            width: i64::MAX,
            step: i64::MAX,
        }
    }
}

impl TimeRange {
    /// Is `t` inside?
    pub fn contains(&self, t: TimestampMs) -> bool {
        self.min <= t && t <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_touch_what_has_one_of_their_milliseconds() {
        for (step, width) in [(1, 1), (5, 1), (5, 3), (5, 5), (5, 8), (30, 4)] {
            for max in 7..40 {
                let range = TimeRange { min: -3, max };
                let windows = TimeWindows { range, width, step };
                let looked_at = |t: i64| range.contains(t) && (t - range.min) % step < width;
                for first in -8..45 {
                    for last in first..47 {
                        let wanted = (first..=last).any(looked_at);
                        let found = windows.touch(first, last);
                        assert_eq!(found, wanted, "{windows:?} {first}..={last}");
                    }
                }
            }
        }
        let all = TimeRange {
            min: TimestampMs::MIN,
            max: TimestampMs::MAX,
        };
        assert!(TimeWindows::from(all).touch(5, 5));
        assert!(TimeWindows::from(all).touch(TimestampMs::MIN, TimestampMs::MIN));
    }
}
