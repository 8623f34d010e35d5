//! The client: what it sends, and what it makes of the answers.

use crate::model::{Deletion, Model, Sample, Value};
use crate::profile::Profile;
use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage_engine::model::{
    BucketSpan, FloatHistogram, Labels, Matcher, STALE_NAN_BITS, SeriesRef,
};
use storage_engine::runtime::ReplyReceiver;
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::shard::{Action, Shard};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, HistogramSample, RejectReason,
    SampleSeries, ShardChange, TimeRange,
};
use tokio::sync::oneshot::error::TryRecvError;

/// The labels of a series.
pub fn labels_of(series: u32) -> Labels {
    let name = format!("metric_{}", series % 5);
    Labels::from_pairs([("__name__", name), ("id", series.to_string())])
        .expect("BUG: two different names")
}

/// The series that has these labels.
pub fn series_of(labels: &Labels) -> Option<u32> {
    labels.get("id")?.parse().ok()
}

/// Deletes from the head of a shard.
struct Delete {
    matchers: Vec<Matcher>,
    range: TimeRange,
}

impl ShardChange for Delete {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        shard.delete_from_head(&self.matchers, self.range, request, actions);
    }
}

/// A batch on its way.
struct Sent {
    request: Option<usize>,
    samples: Vec<Sample>,
    new: Vec<u32>,
    answer: ReplyReceiver,
}

/// What happened to batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Batches that left.
    pub sent: u64,
    /// Batches answered with success.
    pub answered: u64,
    /// Batches refused at once or by the shard.
    pub refused: u64,
    /// Batches that the log failed.
    pub failed: u64,
    /// Samples refused one by one.
    pub rejected: u64,
}

/// The senders of one shard.
pub struct Client {
    random: Random,
    clock: i64,
    refs: BTreeMap<u32, SeriesRef>,
    sent: Vec<Sent>,
    deletions: Vec<(Deletion, ReplyReceiver)>,
    /// Counts of all lives.
    pub counts: ClientCounts,
}

fn histogram(random: &mut Random, series: u32) -> FloatHistogram {
    let count = random.below(1_000) as f64;
    let integer = series.is_multiple_of(2);
    FloatHistogram {
        schema: random.pick(&[-4, 0, 3, 8]),
        zero_threshold: 1e-9,
        zero_count: count,
        count: count * 3.0,
        sum: f64::from_bits(random.bits() >> 2),
        positive_spans: vec![BucketSpan {
            offset: random.below(9) as i32 - 4,
            length: 2,
        }],
        positive_buckets: vec![count, count],
        integer,
        ..FloatHistogram::default()
    }
}

impl Client {
    /// A client that has sent nothing.
    pub fn new(random: Random) -> Client {
        Client {
            random,
            clock: 1_700_000_000_000,
            refs: BTreeMap::new(),
            sent: Vec::new(),
            deletions: Vec::new(),
            counts: ClientCounts::default(),
        }
    }

    /// Does it wait for an answer?
    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty() || !self.deletions.is_empty()
    }

    fn value(&mut self, profile: &Profile, series: u32, stale: bool) -> Value {
        let random = &mut self.random;
        if stale {
            return Value::Float(STALE_NAN_BITS);
        }
        // Neighbours differ in kind; one kind has both.
        let place = (series * 37) % 100;
        let share = profile.workload.histogram_series;
        if place < share && (!series.is_multiple_of(3) || random.chance(500)) {
            return Value::Histogram(Arc::new(histogram(random, series)));
        }
        Value::Float(match series % 4 {
            0 => (random.below(100_000) as f64).to_bits(),
            1 => (random.below(1_000_000) as f64 / 1000.0).to_bits(),
            2 => random.pick(&[
                0,
                (-0.0_f64).to_bits(),
                f64::INFINITY.to_bits(),
                f64::NAN.to_bits(),
                0x7ff8_0000_dead_beef,
                1,
            ]),
            // Not the staleness marker.
            _ => random.bits() | 0xf00,
        })
    }

    /// A sample of a series; `behind` is the series' time in the batch so far.
    fn sample(
        &mut self,
        profile: &Profile,
        model: &Model,
        series: u32,
        behind: Option<i64>,
    ) -> Sample {
        let work = profile.workload;
        let newest = model.newest(series).max(behind);
        let stale = self.random.chance(work.stale);
        let value = self.value(profile, series, stale);
        let back = self.random.below(6) as usize;
        if self.random.chance(work.duplicates)
            && let Some((t, value)) = model.known(series, back % 2)
        {
            return Sample { series, t, value };
        }
        if self.random.chance(work.conflicts)
            && let Some((t, _)) = model.known(series, back)
        {
            return Sample { series, t, value };
        }
        if self.random.chance(work.late)
            && let Some(newest) = newest
        {
            let t = newest - self.random.below(work.step_ms * 20) as i64;
            // What becomes of a sample that meets a deletion of its own time is not said.
            if !model.is_deleted(series, t) {
                return Sample { series, t, value };
            }
        }
        let t = newest.map_or(self.clock, |newest| self.clock.max(newest + 1));
        Sample { series, t, value }
    }

    fn batch(&mut self, samples: &[Sample], by_labels: bool) -> (AppendBatch, Vec<u32>) {
        let (mut batch, mut new) = (AppendBatch::default(), Vec::<u32>::new());
        for sample in samples {
            let known = self.refs.get(&sample.series).filter(|_| !by_labels);
            let who = match known {
                Some(reference) => SampleSeries::Known(*reference),
                None => SampleSeries::New(match new.iter().position(|s| *s == sample.series) {
                    Some(index) => index as u32,
                    None => {
                        new.push(sample.series);
                        batch.new_series.push(labels_of(sample.series).as_bytes())
                    }
                }),
            };
            match &sample.value {
                Value::Float(bits) => {
                    batch.series.push(who);
                    batch.timestamps.push(sample.t);
                    batch.values.push(f64::from_bits(*bits));
                }
                Value::Histogram(histogram) => batch.histograms.push(HistogramSample {
                    series: who,
                    timestamp: sample.t,
                    histogram: Arc::clone(histogram),
                }),
            }
        }
        (batch, new)
    }

    /// Sends one batch of chance.
    pub fn send(&mut self, profile: &Profile, model: &mut Model, shard: &SimulatedShard) {
        let work = profile.workload;
        self.clock += self.random.between(1, work.step_ms) as i64;
        let count = self.random.between(1, work.batch_samples_max);
        let mut samples: Vec<Sample> = Vec::new();
        for _ in 0..count {
            let series = self.random.below(u64::from(work.series)) as u32;
            let of_series = samples.iter().filter(|sample| sample.series == series);
            let behind = of_series.map(|sample| sample.t).max();
            samples.push(self.sample(profile, model, series, behind));
        }
        let mode = match self.random.chance(work.checks) {
            true => AppendMode::Check,
            false => AppendMode::Partial,
        };
        let by_labels = self.random.chance(work.by_labels);
        self.send_samples(samples, mode, by_labels, model, shard);
    }

    /// Sends a new sample of every series; false if it was refused.
    pub fn send_all(
        &mut self,
        profile: &Profile,
        model: &mut Model,
        shard: &SimulatedShard,
    ) -> bool {
        self.clock = model.newest_of_all().unwrap_or(0).max(self.clock) + 1;
        let series = 0..profile.workload.series;
        let samples = series.map(|series| Sample {
            series,
            t: self.clock,
            value: self.value(profile, series, false),
        });
        let samples = samples.collect();
        self.send_samples(samples, AppendMode::Partial, true, model, shard)
    }

    /// Deletes some range of one series, or of those with one name.
    pub fn delete(&mut self, profile: &Profile, model: &mut Model, shard: &SimulatedShard) {
        let series = self.random.below(u64::from(profile.workload.series)) as u32;
        let Some(newest) = model.newest(series) else {
            return;
        };
        let span = self.random.below(profile.workload.step_ms * 20) as i64;
        let max = newest - self.random.below(profile.workload.step_ms * 10) as i64;
        let range = TimeRange {
            min: max - span,
            max,
        };
        let whole_name = self.random.chance(300);
        let matcher = match whole_name {
            true => Matcher::equal("__name__", format!("metric_{}", series % 5)),
            false => Matcher::equal("id", series.to_string()),
        };
        let change = Delete {
            matchers: vec![matcher],
            range,
        };
        if let Ok(answer) = shard.change(Box::new(change)) {
            let of = |other: u32| match whole_name {
                true => other % 5 == series % 5,
                false => other == series,
            };
            let deletion = model.delete(of, range.min..=range.max);
            self.deletions.push((deletion, answer));
        }
    }

    fn collect_deletions(&mut self, model: &mut Model, now: u64) {
        for (deletion, mut answer) in std::mem::take(&mut self.deletions) {
            match answer.try_recv() {
                Ok(Ok(_)) => model.deleted(&deletion, now),
                Ok(Err(AppendError::Overloaded | AppendError::Stopped)) => {
                    model.not_deleted(&deletion);
                }
                // The log failed, or refuses: what is marked may come back or not.
                Ok(Err(_)) | Err(TryRecvError::Closed) => {}
                Err(TryRecvError::Empty) => self.deletions.push((deletion, answer)),
            }
        }
    }

    fn send_samples(
        &mut self,
        mut samples: Vec<Sample>,
        mode: AppendMode,
        by_labels: bool,
        model: &mut Model,
        shard: &SimulatedShard,
    ) -> bool {
        // The order in which a batch counts its samples.
        samples.sort_by_key(|sample| matches!(sample.value, Value::Histogram(_)));
        let (batch, new) = self.batch(&samples, by_labels);
        self.counts.sent += 1;
        match shard.append(batch, mode) {
            Ok(answer) => {
                let stores = mode == AppendMode::Partial;
                let request = stores.then(|| model.send(samples.clone()));
                self.sent.push(Sent {
                    request,
                    samples,
                    new,
                    answer,
                });
                true
            }
            Err(AppendError::Overloaded | AppendError::Stopped) => {
                self.counts.refused += 1;
                false
            }
            Err(error) => panic!("a mailbox refuses with {error}"),
        }
    }

    /// Takes the answers that have come.
    pub fn collect(&mut self, profile: &Profile, model: &mut Model, now: u64) {
        self.collect_deletions(model, now);
        for mut sent in std::mem::take(&mut self.sent) {
            match sent.answer.try_recv() {
                Ok(Ok(outcome)) => self.accept(profile, model, &sent, &outcome, now),
                Ok(Err(AppendError::Overloaded | AppendError::Stopped)) => {
                    self.counts.refused += 1;
                    if let Some(request) = sent.request {
                        model.refuse(request);
                    }
                }
                Ok(Err(_)) | Err(TryRecvError::Closed) => {
                    self.counts.failed += 1;
                    if let Some(request) = sent.request {
                        model.doubt(request);
                    }
                }
                Err(TryRecvError::Empty) => self.sent.push(sent),
            }
        }
    }

    fn accept(
        &mut self,
        profile: &Profile,
        model: &mut Model,
        sent: &Sent,
        outcome: &AppendOutcome,
        now: u64,
    ) {
        let samples = sent.samples.len();
        assert_eq!(
            outcome.accepted as usize + outcome.rejections.len(),
            samples,
            "an answer does not account for {samples} samples: {outcome:?}"
        );
        self.counts.answered += 1;
        self.counts.rejected += outcome.rejections.len() as u64;
        for rejection in &outcome.rejections {
            let sample = &sent.samples[rejection.sample as usize];
            let is_right = match rejection.reason {
                RejectReason::SeriesLimit => profile.workload.series > profile.series_max,
                reason => {
                    let (window, late) = (profile.window_ms, profile.late_window_ms);
                    model.may_reject(sample, reason, window, late)
                }
            };
            assert!(is_right, "refused for no reason: {rejection:?} {sample:?}");
        }
        let Some(request) = sent.request else {
            return;
        };
        for (series, created) in sent.new.iter().zip(&outcome.created) {
            if let Some(created) = created {
                self.refs.insert(*series, *created);
            }
        }
        let rejected: Vec<u32> = outcome.rejections.iter().map(|r| r.sample).collect();
        model.acknowledge(request, &rejected, now);
    }

    /// The process is gone, and with it the references and the answers.
    pub fn restart(&mut self) {
        self.refs.clear();
        self.sent.clear();
        self.deletions.clear();
    }
}
