//! Start timestamps of a batch: kept as runs and logged, or made visible by a zero sample, as the settings say.
//!
//! Promise: a start never makes a sample be refused; as long as no series of the shard has a start, nothing here runs. A late sample has
//! the start of the run that it falls into, whatever it came with. Not here: the runs themselves ([`crate::starts`]), the log's bytes ([`crate::wal::starts`]).

use super::append::{Entry, entry};
use super::out_of_order::Bounds;
use super::{Shard, ShardReader};
use crate::head::Verdict;
use crate::model::{CounterResetHint, FloatHistogram, SeriesRef, TimestampMs};
use crate::shard_api::{AppendBatch, AppendOutcome, SampleSeries, TimeRange};
use crate::wal::format::encode_samples_record;
use crate::wal::histograms::{LoggedHistogram, encode_histograms_record};
use crate::wal::starts::{LoggedStart, encode_starts_record};
use hashbrown::{HashMap, HashSet};
use std::iter::repeat;
use std::sync::Arc;

/// What to do with the start timestamps of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartSettings {
    /// Keep them beside the samples (Prometheus: `st-storage`).
    pub keep: bool,
    /// Store a zero at the start, where the series has nothing newer yet (Prometheus: `created-timestamp-zero-ingestion`).
    pub zero_sample: bool,
}

/// A sample's number in its batch, and the run that it would begin.
pub(super) type Candidate = (u32, LoggedStart);

/// A sample of a batch and its start; 0 for none.
struct Started {
    number: u32,
    who: SampleSeries,
    t: TimestampMs,
    start: TimestampMs,
}

fn started(batch: &AppendBatch) -> impl Iterator<Item = Started> {
    let starts = batch.starts.iter().copied().chain(repeat(0));
    let floats = batch.series.iter().zip(&batch.timestamps).zip(starts);
    let floats = floats.enumerate();
    let floats = floats.map(|(i, ((&who, &t), start))| Started {
        number: i as u32,
        who,
        t,
        start,
    });
    let first = batch.series.len();
    let starts = batch.histogram_starts.iter().copied().chain(repeat(0));
    let histograms = batch.histograms.iter().zip(starts).enumerate();
    let histograms = histograms.map(move |(i, (h, start))| Started {
        number: (first + i) as u32,
        who: h.series,
        t: h.timestamp,
        start,
    });
    floats.chain(histograms)
}

impl Shard {
    /// Before the batch's samples are stored: those newer than all that their series has, with their starts. Samples without one end a
    /// run, if their series has any.
    #[cold]
    pub(super) fn start_candidates(
        &self,
        batch: &AppendBatch,
        entries: &[Entry],
    ) -> Vec<Candidate> {
        // Those that have none yet but get one from this batch.
        let mut begun: HashSet<u32> = HashSet::new();
        let all = started(batch).filter_map(|s| {
            let series = series_of(s.who, entries)?;
            if s.start != 0 {
                begun.insert(series.index);
            } else if !self.data.starts.has(series.index) && !begun.contains(&series.index) {
                return None;
            }
            let newest = self.data.head.newest_time(series.index);
            let run = LoggedStart {
                series,
                from: s.t,
                start: s.start,
            };
            newest
                .is_none_or(|newest| s.t > newest)
                .then_some((s.number, run))
        });
        all.collect()
    }

    /// Keeps the starts of the candidates that were stored. True when the log heard of one.
    #[cold]
    pub(super) fn keep_starts(
        &mut self,
        candidates: &[Candidate],
        outcome: &AppendOutcome,
    ) -> bool {
        let mut refused = outcome.rejections.iter().map(|r| r.sample).peekable();
        let mut runs = Vec::new();
        // A sample that is late behind another one of its batch begins no run.
        let mut newest: HashMap<u32, TimestampMs> = HashMap::new();
        for &(number, run) in candidates {
            while refused.next_if(|r| *r < number).is_some() {}
            if refused.peek() == Some(&number) || !self.is_current(run.series) {
                continue;
            }
            let slot = run.series.index;
            let before = newest.insert(slot, run.from);
            if let Some(before) = before.filter(|before| *before >= run.from) {
                newest.insert(slot, before);
            } else if self.data.starts.note(slot, run.from, run.start) {
                runs.push(run);
            }
        }
        let (lsn, log) = self.commits.pending_records();
        encode_starts_record(log, lsn, &runs);
        !runs.is_empty()
    }

    /// Stores zeros at the starts of the batch's samples, before these are stored; returns how many. A zero that is not newer than all
    /// that its series has is left out: a counter that lives long tells the same start again and again.
    #[cold]
    pub(super) fn store_zeros(
        &mut self,
        batch: &AppendBatch,
        entries: &[Entry],
        bounds: Bounds,
    ) -> usize {
        let mut seen: HashSet<SeriesRef> = HashSet::new();
        let (mut refs, mut times) = (Vec::new(), Vec::new());
        let mut histograms = Vec::new();
        for s in started(batch) {
            let Some(series) = series_of(s.who, entries) else {
                continue;
            };
            // Only the first sample of a series gets one: a zero for a later one would make those before it late.
            let first = seen.insert(series);
            let inside = bounds.in_order(s.t) && bounds.in_order(s.start);
            if !first || s.start == 0 || s.start >= s.t || !inside {
                continue;
            }
            let head = &mut self.data.head;
            let sample = (s.number as usize).checked_sub(batch.series.len());
            match sample.and_then(|at| batch.histograms.get(at)) {
                None => {
                    let verdict = head.append(series, s.start, 0);
                    if matches!(verdict, Verdict::Stored | Verdict::StoredAfterHistogram) {
                        refs.push(series);
                        times.push(s.start);
                    }
                }
                Some(sample) => {
                    let zero = Arc::new(zero_of(&sample.histogram));
                    if head.append_histogram(series, s.start, &zero) == Verdict::Stored {
                        histograms.push(LoggedHistogram {
                            series,
                            timestamp: s.start,
                            histogram: zero,
                        });
                    }
                }
            }
        }
        self.data.changes.note_all(&times);
        let of_histograms: Vec<TimestampMs> = histograms.iter().map(|h| h.timestamp).collect();
        self.data.changes.note_all(&of_histograms);
        let (lsn, log) = self.commits.pending_records();
        encode_samples_record(log, lsn, &refs, &times, &vec![0.0; refs.len()]);
        encode_histograms_record(log, lsn, &histograms);
        refs.len() + histograms.len()
    }

    /// Brings back the starts of one record; returns how many were of series that are not there. Those of samples that are in blocks do
    /// not count: their series may be gone.
    pub fn replay_starts(&mut self, runs: &[LoggedStart]) -> u64 {
        let from = self.in_order_from();
        let mut unknown = 0;
        for run in runs {
            if self.is_current(run.series) {
                self.data.starts.note(run.series.index, run.from, run.start);
            } else if run.from >= from {
                unknown += 1;
                self.name_slot(run.series);
            }
        }
        unknown
    }
}

fn series_of(who: SampleSeries, entries: &[Entry]) -> Option<SeriesRef> {
    match who {
        SampleSeries::Known(series) => Some(series),
        SampleSeries::New(index) => match entry(entries, index) {
            Entry::Series(series) => Some(series),
            Entry::Refused(_) => None,
        },
    }
}

/// A histogram of the same layout without observations. Where it stands, counting began.
fn zero_of(histogram: &FloatHistogram) -> FloatHistogram {
    FloatHistogram {
        integer: histogram.integer,
        counter_reset_hint: CounterResetHint::CounterReset,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        custom_values: histogram.custom_values.clone(),
        ..FloatHistogram::default()
    }
}

impl ShardReader<'_> {
    /// Appends the start timestamps of the head's samples of a slot as runs inside `range`: from a sample time on, samples carry a start
    /// (0: none), until the next run.
    pub fn read_head_starts(
        &self,
        slot: u32,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, TimestampMs)>,
    ) {
        self.data.starts.read(slot, range, out);
    }

    /// Slots that have starts, in no order.
    pub(crate) fn start_slots(&self) -> Vec<u32> {
        self.data.starts.slots().collect()
    }

    /// Appends the starts of a slot as the log has them.
    pub(crate) fn put_starts(&self, slot: u32, out: &mut Vec<LoggedStart>) {
        let series = self.data.head.reference(slot);
        let of_slot = self.data.starts.of(slot).iter();
        out.extend(of_slot.map(|&(from, start)| LoggedStart {
            series,
            from,
            start,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketSpan, Labels, SeriesSamples};
    use crate::shard::{Action, Event, ShardConfig};
    use crate::shard_api::{AppendMode, HistogramSample};

    const ALL: TimeRange = TimeRange {
        min: i64::MIN,
        max: i64::MAX,
    };

    fn shard(keep: bool, zero_sample: bool) -> Shard {
        Shard::new(ShardConfig {
            starts: StartSettings { keep, zero_sample },
            ..ShardConfig::default()
        })
    }

    /// Floats of the series `m` with their starts, as one batch. The times that were refused.
    fn append(shard: &mut Shard, samples: &[(i64, f64, i64)]) -> Vec<i64> {
        let mut batch = AppendBatch::default();
        let labels = Labels::from_pairs([("__name__", "m")]).unwrap();
        let series = SampleSeries::New(batch.new_series.push(labels.as_bytes()));
        for &(t, value, start) in samples {
            batch.series.push(series);
            batch.timestamps.push(t);
            batch.values.push(value);
            batch.start_of_last(start);
        }
        run(shard, batch, samples)
    }

    fn run(shard: &mut Shard, batch: AppendBatch, samples: &[(i64, f64, i64)]) -> Vec<i64> {
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        };
        let mut actions = Vec::new();
        shard.on(0, event, &mut actions);
        let mut refused = Vec::new();
        while let Some(action) = actions.pop() {
            match action {
                Action::Log { lsn, .. } => {
                    let result = Ok(lsn);
                    shard.on(0, Event::LogDone { lsn, result }, &mut actions);
                }
                Action::Reply { result, .. } => {
                    let rejections = result.unwrap().rejections;
                    refused = rejections
                        .iter()
                        .map(|r| samples[r.sample as usize].0)
                        .collect();
                }
                _ => {}
            }
        }
        refused
    }

    fn held(shard: &Shard) -> SeriesSamples {
        let mut out = SeriesSamples::default();
        shard.reader().read_head(0, ALL, &mut out);
        out
    }

    #[test]
    fn starts_are_kept_where_they_change() {
        let mut s = shard(true, false);
        append(&mut s, &[(1000, 1.0, 500), (2000, 2.0, 500)]);
        append(&mut s, &[(3000, 3.0, 500), (4000, 1.0, 3500)]);
        // Refused, and there already: nothing changes.
        assert_eq!(append(&mut s, &[(2500, 1.0, 9), (4000, 1.0, 9)]), [2500]);
        append(&mut s, &[(5000, 2.0, 0)]);
        let held = held(&s);
        assert_eq!(held.starts, [(1000, 500), (4000, 3500), (5000, 0)]);
        assert_eq!(held.floats.timestamps, [1000, 2000, 3000, 4000, 5000]);
        assert!(s.stats().start_bytes > 0);
    }

    #[test]
    fn without_the_setting_nothing_is_kept() {
        let mut s = shard(false, false);
        append(&mut s, &[(1000, 1.0, 500)]);
        assert_eq!(held(&s).starts, []);
        assert_eq!(s.stats().start_bytes, 0);
    }

    #[test]
    fn late_samples_leave_the_runs_alone() {
        let mut s = shard(true, false);
        s.set_out_of_order_window(10_000);
        append(&mut s, &[(1000, 1.0, 500), (5000, 2.0, 500)]);
        assert!(append(&mut s, &[(3000, 7.0, 2500)]).is_empty());
        assert_eq!(held(&s).starts, [(1000, 500)]);
        // Late behind a sample of its own batch.
        assert!(append(&mut s, &[(7000, 3.0, 500), (6000, 7.0, 5500)]).is_empty());
        assert_eq!(held(&s).starts, [(1000, 500)]);
        let mut late = SeriesSamples::default();
        s.reader().read_out_of_order(0, ALL, &mut late);
        assert_eq!(late.floats.timestamps, [3000, 6000]);
        assert_eq!(late.starts, [(1000, 500)], "as the samples around them");
    }

    #[test]
    fn a_batch_without_starts_ends_the_runs() {
        let mut s = shard(true, false);
        append(&mut s, &[(1000, 1.0, 500)]);
        append(&mut s, &[(2000, 1.0, 0)]);
        append(&mut s, &[(3000, 1.0, 0)]);
        append(&mut s, &[(4000, 1.0, 3500)]);
        assert_eq!(held(&s).starts, [(1000, 500), (2000, 0), (4000, 3500)]);
    }

    #[test]
    fn zeros_stand_where_counting_began() {
        let mut s = shard(false, true);
        append(&mut s, &[(1000, 4.0, 500), (2000, 5.0, 500)]);
        append(&mut s, &[(3000, 6.0, 500)]);
        // Began anew since the last sample; a start that is not before its sample means nothing.
        append(&mut s, &[(5000, 1.0, 4000)]);
        append(&mut s, &[(6000, 2.0, 6000)]);
        let held = held(&s);
        assert_eq!(
            held.floats.timestamps,
            [500, 1000, 2000, 3000, 4000, 5000, 6000]
        );
        assert_eq!(held.floats.values, [0.0, 4.0, 5.0, 6.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn only_the_first_sample_of_a_batch_asks_for_a_zero() {
        let mut s = shard(false, true);
        let refused = append(&mut s, &[(1000, 4.0, 500), (2000, 1.0, 1500)]);
        assert!(refused.is_empty());
        assert_eq!(held(&s).floats.timestamps, [500, 1000, 2000]);
    }

    #[test]
    fn histograms_begin_with_an_empty_one() {
        let mut s = shard(true, true);
        let mut batch = AppendBatch::default();
        let labels = Labels::from_pairs([("__name__", "h")]).unwrap();
        let series = SampleSeries::New(batch.new_series.push(labels.as_bytes()));
        let histogram = Arc::new(FloatHistogram {
            integer: true,
            schema: 3,
            zero_threshold: 0.5,
            count: 2.0,
            sum: 3.0,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 1,
            }],
            positive_buckets: vec![2.0],
            ..FloatHistogram::default()
        });
        batch.histograms.push(HistogramSample {
            series,
            timestamp: 1000,
            histogram: Arc::clone(&histogram),
        });
        batch.histogram_start_of_last(500);
        assert!(run(&mut s, batch, &[]).is_empty());
        let held = held(&s);
        let times: Vec<i64> = held.histograms.iter().map(|(t, _)| *t).collect();
        assert_eq!(times, [500, 1000]);
        let zero = &held.histograms[0].1;
        assert_eq!(
            (zero.schema, zero.zero_threshold, zero.count),
            (3, 0.5, 0.0)
        );
        assert_eq!(zero.counter_reset_hint, CounterResetHint::CounterReset);
        assert!(held.histograms[1].1.same_bits(&histogram));
        assert_eq!(held.starts, [(1000, 500)]);
    }
}
