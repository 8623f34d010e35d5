//! The client: what it sends, and what it makes of the answers.

use crate::model::{Deletion, Model, Sample, Value};
use crate::profile::Profile;
use crate::random::Random;
use crate::tell::tell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage_engine::maintenance::OrderError;
use storage_engine::model::{
    BucketSpan, Exemplar, FloatHistogram, Labels, Matcher, STALE_NAN_BITS, SeriesRef,
};
use storage_engine::runtime::ReplyReceiver;
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::shard::{Action, Shard};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ExemplarRefusal, ExemplarSample,
    HistogramSample, RejectReason, SampleSeries, ShardChange, TimeRange,
};
use tokio::sync::oneshot;
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
    exemplars: Vec<(u32, Exemplar)>,
    new: Vec<u32>,
    answer: ReplyReceiver,
}

/// Where the outcome of an order to the keeper comes out.
type OrderReceiver = oneshot::Receiver<Result<(), OrderError>>;

/// Where the answer to a deletion comes out.
enum Answer {
    Shard(ReplyReceiver),
    Keeper(OrderReceiver),
}

/// A deletion on its way.
struct Pending {
    deletion: Deletion,
    series: u32,
    scope: Scope,
    range: TimeRange,
    answer: Answer,
}

/// Which series a deletion means.
#[derive(Debug, Clone, Copy)]
enum Scope {
    One,
    Name,
    All,
}

impl Pending {
    /// May it take a sample that is sent now?
    fn covers(&self, series: u32, t: i64) -> bool {
        self.range.contains(t) && self.scope.has(self.series, series)
    }
}

impl Scope {
    /// Does a deletion for series `a` mean series `b` too?
    fn has(self, a: u32, b: u32) -> bool {
        match self {
            Scope::One => a == b,
            Scope::Name => a % 5 == b % 5,
            Scope::All => true,
        }
    }

    fn matchers(self, series: u32) -> Vec<Matcher> {
        vec![match self {
            Scope::One => Matcher::equal("id", series.to_string()),
            Scope::Name => Matcher::equal("__name__", format!("metric_{}", series % 5)),
            Scope::All => Matcher::equal("none", ""),
        }]
    }
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
    /// Deletions that were answered with success.
    pub deleted: u64,
}

/// The senders of one shard.
pub struct Client {
    random: Random,
    clock: i64,
    refs: BTreeMap<u32, SeriesRef>,
    sent: Vec<Sent>,
    deletions: Vec<Pending>,
    orders: Vec<OrderReceiver>,
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
            orders: Vec::new(),
            counts: ClientCounts::default(),
        }
    }

    /// Does it wait for an answer?
    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty() || !self.deletions.is_empty() || !self.orders.is_empty()
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
        // What becomes of a sample that meets a deletion of its own time is not said.
        let is_free = |t: i64| {
            !model.is_deleted(series, t) && !self.deletions.iter().any(|d| d.covers(series, t))
        };
        if self.random.chance(work.duplicates)
            && let Some((t, value)) = model.known(series, back % 2)
            && is_free(t)
        {
            return Sample { series, t, value };
        }
        if self.random.chance(work.conflicts)
            && let Some((t, _)) = model.known(series, back)
            && is_free(t)
        {
            return Sample { series, t, value };
        }
        if self.random.chance(work.late)
            && let Some(newest) = newest
        {
            let t = newest - self.random.below(work.step_ms * 20) as i64;
            if is_free(t) {
                return Sample { series, t, value };
            }
        }
        let mut t = newest.map_or(self.clock, |newest| self.clock.max(newest + 1));
        while !is_free(t) {
            t += 1;
        }
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

    /// Exemplars for some of a batch's series, each newer than those before.
    fn exemplars(
        &mut self,
        samples: &[Sample],
        per_mille: u32,
        model: &Model,
    ) -> Vec<(u32, Exemplar)> {
        let mut exemplars: BTreeMap<u32, Exemplar> = BTreeMap::new();
        for sample in samples {
            let is_newer = model.exemplars.newest(sample.series) < Some(sample.t);
            if self.random.chance(per_mille) && is_newer {
                let id = format!("{:016x}", self.random.bits());
                let exemplar = Exemplar {
                    labels: Labels::from_pairs([("trace_id", id)])
                        .expect("BUG: one name is not unique"),
                    value: f64::from_bits(self.random.bits() >> 2),
                    timestamp: sample.t,
                    timed: self.random.chance(500),
                };
                exemplars.insert(sample.series, exemplar);
            }
        }
        exemplars.into_iter().collect()
    }

    /// Sends one batch of chance.
    pub fn send(&mut self, profile: &Profile, model: &mut Model, shard: &SimulatedShard) {
        let work = profile.workload;
        self.clock += self.random.between(1, work.step_ms) as i64;
        if self.random.chance(work.leaps) {
            let range = profile.blocks.map_or(work.step_ms as i64, |b| b.range_ms);
            self.clock += range * self.random.pick(&[1, 4, 1_000_000]);
        }
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
        self.send_samples(samples, mode, by_labels, (work.exemplars, model), shard);
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
        let exemplars = profile.workload.exemplars;
        let mode = AppendMode::Partial;
        self.send_samples(samples, mode, true, (exemplars, model), shard)
    }

    /// Deletes some range of one series, or of those with one name.
    pub fn delete(&mut self, profile: &Profile, model: &mut Model, shard: &mut SimulatedShard) {
        let series = self.random.below(u64::from(profile.workload.series)) as u32;
        let Some(newest) = model.newest(series) else {
            return;
        };
        let span = self.random.below(profile.workload.step_ms * 20) as i64;
        let max = newest - self.random.below(profile.workload.step_ms * 10) as i64;
        let min = match self.random.chance(100) {
            true => i64::MIN,
            false => max - span,
        };
        let range = TimeRange { min, max };
        let scope = match self.random.below(10) {
            0..6 => Scope::One,
            6..9 => Scope::Name,
            _ => Scope::All,
        };
        let matchers = scope.matchers(series);
        let answer = match profile.blocks {
            Some(_) => Answer::Keeper(shard.delete_series(matchers, range)),
            None => match shard.change(Box::new(Delete { matchers, range })) {
                Ok(answer) => Answer::Shard(answer),
                Err(_) => return,
            },
        };
        tell(|| format!("delete {scope:?} {series} {range:?}"));
        let of = |other| scope.has(series, other);
        let deletion = model.delete(of, range.min..=range.max);
        self.deletions.push(Pending {
            deletion,
            series,
            scope,
            range,
            answer,
        });
    }

    /// Asks the keeper for a round, or to clean up deletions.
    pub fn order(&mut self, profile: &Profile, shard: &mut SimulatedShard) {
        let Some(blocks) = profile.blocks else {
            return;
        };
        if self.random.chance(blocks.rounds) {
            self.orders.push(shard.maintain());
        }
        if self.random.chance(blocks.cleanings) {
            self.orders.push(shard.clean_tombstones());
        }
    }

    fn collect_deletions(&mut self, model: &mut Model, now: u64) {
        let is_waiting =
            |order: &mut OrderReceiver| matches!(order.try_recv(), Err(TryRecvError::Empty));
        self.orders.retain_mut(is_waiting);
        for mut pending in std::mem::take(&mut self.deletions) {
            let (is_done, is_refused) = match &mut pending.answer {
                Answer::Shard(answer) => match answer.try_recv() {
                    Ok(Ok(_)) => (true, false),
                    Ok(Err(AppendError::Overloaded | AppendError::Stopped)) => (false, true),
                    // The log failed, or refuses: what is marked may come back or not.
                    Ok(Err(_)) | Err(TryRecvError::Closed) => continue,
                    Err(TryRecvError::Empty) => (false, false),
                },
                Answer::Keeper(answer) => match answer.try_recv() {
                    Ok(Ok(())) => (true, false),
                    // Some blocks may have their deletions and others not.
                    Ok(Err(error)) => {
                        tell(|| format!("not deleted {:?}: {error}", pending.range));
                        continue;
                    }
                    Err(TryRecvError::Closed) => continue,
                    Err(TryRecvError::Empty) => (false, false),
                },
            };
            if is_done {
                tell(|| format!("deleted {:?}", pending.range));
                self.counts.deleted += 1;
                model.deleted(&pending.deletion, now);
            } else if is_refused {
                model.not_deleted(&pending.deletion);
            } else {
                self.deletions.push(pending);
            }
        }
    }

    fn send_samples(
        &mut self,
        mut samples: Vec<Sample>,
        mode: AppendMode,
        by_labels: bool,
        (exemplars, model): (u32, &mut Model),
        shard: &SimulatedShard,
    ) -> bool {
        // The order in which a batch counts its samples.
        samples.sort_by_key(|sample| matches!(sample.value, Value::Histogram(_)));
        let (mut batch, new) = self.batch(&samples, by_labels);
        let exemplars = match mode {
            AppendMode::Partial => self.exemplars(&samples, exemplars, model),
            _ => Vec::new(),
        };
        for (series, exemplar) in &exemplars {
            let new = new.iter().position(|s| s == series);
            let known = || SampleSeries::Known(self.refs[series]);
            batch.exemplars.push(ExemplarSample {
                series: new.map_or_else(known, |index| SampleSeries::New(index as u32)),
                exemplar: exemplar.clone(),
            });
        }
        self.counts.sent += 1;
        match shard.append(batch, mode) {
            Ok(answer) => {
                let stores = mode == AppendMode::Partial;
                let request = stores.then(|| model.send(samples.clone()));
                if let Some(request) = request {
                    model.exemplars.send(request, &exemplars);
                }
                self.sent.push(Sent {
                    request,
                    samples,
                    exemplars,
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
            if rejection.reason == RejectReason::UnknownSeries {
                self.refs.remove(&sample.series);
            }
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
        let mut refused = BTreeSet::new();
        for (index, refusal) in &outcome.exemplar_refusals {
            let (series, exemplar) = &sent.exemplars[*index as usize];
            let of_series = |r: &u32| sent.samples[*r as usize].series == *series;
            let is_right = *refusal == ExemplarRefusal::UnknownSeries
                && (profile.blocks.is_some() || rejected.iter().any(of_series));
            assert!(is_right, "refused for no reason: {refusal:?} {exemplar:?}");
            refused.insert(*index);
        }
        model.exemplars.acknowledge(request, &refused, now);
        model.acknowledge(request, &rejected, now);
    }

    /// The process is gone, and with it the references and the answers.
    pub fn restart(&mut self) {
        self.refs.clear();
        self.sent.clear();
        self.deletions.clear();
        self.orders.clear();
    }
}
