//! The oracle: what was sent, what was acknowledged, and so what a shard must, may and must not give back.
//!
//! A sample is *certain* when its acknowledgement came, or when it was found after a restart whose repair made it durable; *possible* while
//! its request has no answer, or got one that leaves it open (the commit failed). Anything else that is found was invented.

use crate::exemplars::Exemplars;
use crate::read::{Reach, Read};
use crate::tell::tell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use storage_engine::model::{FloatHistogram, STALE_NAN_BITS};
use storage_engine::shard_api::RejectReason;

/// The value of a sample.
#[derive(Debug, Clone)]
pub enum Value {
    /// The bits of a float.
    Float(u64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

impl Value {
    /// Is `found` what a shard gives back for this? A staleness marker of a histogram series comes back as a histogram's.
    pub fn is(&self, found: &Value) -> bool {
        match (self, found) {
            (Value::Float(sent), Value::Float(found)) => sent == found,
            (Value::Histogram(sent), Value::Histogram(found)) => sent.same_bits(found),
            (Value::Float(STALE_NAN_BITS), Value::Histogram(found)) => found.is_stale(),
            _ => false,
        }
    }
}

/// A sample of the series with a number.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The series.
    pub series: u32,
    /// Milliseconds.
    pub t: i64,
    /// The value.
    pub value: Value,
}

/// What a shard holds: series, time, value.
pub type Found = BTreeMap<u32, BTreeMap<i64, Value>>;

/// Samples of all series.
pub fn count(found: &Found) -> usize {
    found.values().map(BTreeMap::len).sum()
}

/// A deletion on its way: the samples that were there when it was sent.
#[derive(Debug, Clone, Default)]
pub struct Deletion(Vec<(u32, i64)>);

/// What is known of one value of one series at one time.
#[derive(Debug, Clone)]
struct Candidate {
    value: Value,
    /// Acknowledged, or found after a restart.
    certain: bool,
    /// Requests without an answer that bring it.
    waiting: u32,
    /// A request that brought it may or may not have been logged.
    doubtful: bool,
    /// The requests of this life that may have brought it, ascending; none if it was there at its start.
    bringers: Vec<usize>,
    /// When its first acknowledgement of this life came, and to which request. Requests before that one may have failed to log it.
    acknowledged_at: Option<u64>,
    acknowledged_to: Option<usize>,
    /// When the answer of a deletion came.
    gone: Option<u64>,
    /// Deletions that may or may not have taken it.
    fading: u32,
    /// The requests that brought it, over all lives, ascending: the samples of one share a record of the log, or two, and any of these may
    /// be the one that logged it.
    groups: Vec<u64>,
}

/// How the life before a restart ended, as far as it matters for what may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Whatever was acknowledged must be there.
    KeepsAll,
    /// Acknowledgements behind this virtual time may be gone, from the end.
    MayLoseAfter(u64),
}

/// What the settings of a shard change in what is promised.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// A keeper seals, compacts and forgets: what that changes is said where it matters.
    pub has_blocks: bool,
    /// Range of a sealed block: what is being sealed takes no more samples, and ends more than half of this before the newest.
    pub block_range_ms: i64,
    /// Samples this much older than the newest may be gone.
    pub retention_ms: Option<i64>,
    /// Two values of one time may both have been stored (out of order), and either may be read.
    pub ties: bool,
    /// Exemplars that the shard keeps.
    pub exemplars_max: usize,
}

/// The oracle of one shard.
#[derive(Debug, Clone, Default)]
pub struct Model {
    series: BTreeMap<u32, BTreeMap<i64, Vec<Candidate>>>,
    requests: Vec<Vec<Sample>>,
    groups: u64,
    rules: Rules,
    /// The exemplars that came with the samples.
    pub exemplars: Exemplars,
    /// Newest time that was ever sent, whatever became of it.
    horizon: Option<i64>,
    /// Samples acknowledged, in all lives.
    pub acknowledged: u64,
}

impl Candidate {
    /// The next life begins with it.
    fn stay(&mut self) {
        *self = Candidate {
            value: self.value.clone(),
            certain: true,
            waiting: 0,
            doubtful: false,
            bringers: Vec::new(),
            acknowledged_at: None,
            acknowledged_to: None,
            gone: None,
            fading: 0,
            groups: std::mem::take(&mut self.groups),
        };
    }

    /// The next life begins with another value of its time, which is the one that is read: this one was stored beside it, or may have been.
    fn stay_beside(&mut self) {
        let certain = self.certain;
        self.stay();
        self.certain = certain;
        self.doubtful = !certain;
    }

    /// The next life begins without it, and must not see it again.
    fn stay_gone(&mut self) {
        self.stay();
        self.gone = Some(0);
    }

    fn introduced(&self) -> Option<usize> {
        self.bringers.first().copied()
    }
}

/// Requests of which each lost sample, given by the requests that brought it, has one: those that must be, then the one that explains most.
fn fewest(mut lost: Vec<&[u64]>) -> BTreeSet<u64> {
    let only = lost.iter().filter(|groups| groups.len() == 1);
    let mut some: BTreeSet<u64> = only.map(|groups| groups[0]).collect();
    loop {
        lost.retain(|groups| !groups.iter().any(|group| some.contains(group)));
        let mut explains = BTreeMap::<u64, usize>::new();
        for group in lost.iter().copied().flatten() {
            *explains.entry(*group).or_default() += 1;
        }
        let Some((most, _)) = explains.into_iter().max_by_key(|(_, samples)| *samples) else {
            return some;
        };
        some.insert(most);
    }
}

fn show(series: u32, t: i64) -> String {
    format!("series {series} at {t}")
}

impl Model {
    /// A shard that has been sent nothing.
    pub fn new(rules: Rules) -> Model {
        Model {
            rules,
            exemplars: Exemplars::with_places(rules.exemplars_max),
            ..Model::default()
        }
    }

    /// A request leaves; its number is for its answer.
    pub fn send(&mut self, samples: Vec<Sample>) -> usize {
        let request = self.requests.len();
        self.groups += 1;
        tell(|| {
            let places: Vec<_> = samples.iter().map(|s| (s.series, s.t)).collect();
            format!("request {request}: {places:?}")
        });
        for sample in &samples {
            self.horizon = self.horizon.max(Some(sample.t));
            let at = self.series.entry(sample.series).or_default();
            let candidates = at.entry(sample.t).or_default();
            match candidates.iter_mut().find(|c| c.value.is(&sample.value)) {
                Some(candidate) => {
                    candidate.waiting += 1;
                    candidate.groups.push(self.groups);
                    if candidate.introduced().is_some() {
                        candidate.bringers.push(request);
                    }
                }
                None => candidates.push(Candidate {
                    value: sample.value.clone(),
                    certain: false,
                    waiting: 1,
                    doubtful: false,
                    bringers: vec![request],
                    acknowledged_at: None,
                    acknowledged_to: None,
                    gone: None,
                    fading: 0,
                    groups: vec![self.groups],
                }),
            }
        }
        self.requests.push(samples);
        request
    }

    /// An answer for one sample of a request; `change` says whether the request may have stored it.
    fn settle(
        &mut self,
        request: usize,
        sample: &Sample,
        change: impl FnOnce(&mut Candidate) -> bool,
    ) {
        let at = self.series.entry(sample.series).or_default();
        let candidates = at.entry(sample.t).or_default();
        let index = candidates
            .iter()
            .position(|c| c.waiting > 0 && c.value.is(&sample.value))
            .expect("BUG: an answer for a sample that was not sent");
        let candidate = &mut candidates[index];
        candidate.waiting -= 1;
        if !change(candidate) {
            candidate.bringers.retain(|bringer| *bringer != request);
        }
        if candidate.waiting == 0 && !candidate.certain && !candidate.doubtful {
            candidates.remove(index);
            if candidates.is_empty() {
                at.remove(&sample.t);
            }
        }
    }

    /// The answer came at virtual time `at`: all is stored but `rejected` (ascending indices).
    pub fn acknowledge(&mut self, request: usize, rejected: &[u32], at: u64) {
        tell(|| format!("request {request} is acknowledged at {at} but for {rejected:?}"));
        let samples = std::mem::take(&mut self.requests[request]);
        for (index, sample) in samples.iter().enumerate() {
            let stored = rejected.binary_search(&(index as u32)).is_err();
            self.acknowledged += u64::from(stored);
            self.settle(request, sample, |candidate| {
                candidate.certain |= stored;
                if stored {
                    candidate.acknowledged_at.get_or_insert(at);
                    candidate.acknowledged_to.get_or_insert(request);
                }
                stored
            });
        }
    }

    /// The whole request was refused before anything was stored.
    pub fn refuse(&mut self, request: usize) {
        self.exemplars.refuse(request);
        for sample in std::mem::take(&mut self.requests[request]) {
            self.settle(request, &sample, |_| false);
        }
    }

    /// No answer came or will come, or one that says that the log failed.
    pub fn doubt(&mut self, request: usize) {
        tell(|| format!("request {request} is in doubt"));
        for sample in std::mem::take(&mut self.requests[request]) {
            self.settle(request, &sample, |candidate| {
                candidate.doubtful = true;
                true
            });
        }
    }

    /// A deletion leaves, for what these series hold in a range.
    pub fn delete(&mut self, of: impl Fn(u32) -> bool, range: RangeInclusive<i64>) -> Deletion {
        let mut deletion = Deletion::default();
        for (series, times) in self.series.iter_mut().filter(|(series, _)| of(**series)) {
            for (t, candidates) in times.range_mut(range.clone()) {
                candidates.iter_mut().for_each(|c| c.fading += 1);
                deletion.0.push((*series, *t));
            }
        }
        deletion
    }

    fn settle_deletion(&mut self, deletion: &Deletion, change: impl Fn(&mut Candidate)) {
        for (series, t) in &deletion.0 {
            let candidates = self
                .series
                .get_mut(series)
                .and_then(|times| times.get_mut(t));
            for candidate in candidates.into_iter().flatten().filter(|c| c.fading > 0) {
                candidate.fading -= 1;
                change(candidate);
            }
        }
    }

    /// The deletion was answered with success.
    pub fn deleted(&mut self, deletion: &Deletion, at: u64) {
        self.settle_deletion(deletion, |candidate| {
            candidate.gone.get_or_insert(at);
        });
    }

    /// The deletion was refused. One that may have happened is not settled at all.
    pub fn not_deleted(&mut self, deletion: &Deletion) {
        self.settle_deletion(deletion, |_| {});
    }

    /// Samples before this may be gone because they are old.
    fn kept_from(&self) -> i64 {
        match (self.rules.retention_ms, self.horizon) {
            (Some(retention), Some(newest)) => newest - retention,
            _ => i64::MIN,
        }
    }

    /// Was a sample of this time deleted, or is about to be?
    pub fn is_deleted(&self, series: u32, t: i64) -> bool {
        let candidates = self.series.get(&series).and_then(|times| times.get(&t));
        let mut candidates = candidates.into_iter().flatten();
        candidates.any(|c| c.fading > 0 || c.gone.is_some())
    }

    /// Newest time that was ever sent for a series and not refused.
    pub fn newest(&self, series: u32) -> Option<i64> {
        Some(*self.series.get(&series)?.last_key_value()?.0)
    }

    /// Newest time of all series.
    pub fn newest_of_all(&self) -> Option<i64> {
        self.series.keys().filter_map(|s| self.newest(*s)).max()
    }

    /// A sample of the series that is (or may be) there: the newest, or one before it.
    pub fn known(&self, series: u32, back: usize) -> Option<(i64, Value)> {
        let (t, candidates) = self.series.get(&series)?.iter().rev().nth(back)?;
        let here = candidates
            .first()
            .filter(|_| !self.is_deleted(series, *t))?;
        Some((*t, here.value.clone()))
    }

    /// Is it right to refuse this sample for this reason?
    pub fn may_reject(
        &self,
        sample: &Sample,
        reason: RejectReason,
        window: Option<i64>,
        late_window: i64,
    ) -> bool {
        let times = self.series.get(&sample.series);
        let is_older = |by: i64| self.horizon.is_some_and(|newest| sample.t < newest - by);
        match reason {
            RejectReason::OutOfOrder => {
                times.is_some_and(|times| times.range(sample.t + 1..).next().is_some())
            }
            RejectReason::DuplicateTimestamp => times
                .and_then(|times| times.get(&sample.t))
                .is_some_and(|all| all.iter().any(|c| !c.value.is(&sample.value))),
            RejectReason::OutOfBounds => {
                window.is_some_and(is_older)
                    || (self.rules.has_blocks && is_older(self.rules.block_range_ms / 2))
            }
            // The series was left without a sample in the head.
            RejectReason::UnknownSeries => self.rules.has_blocks,
            RejectReason::TooOld => late_window > 0 && is_older(late_window),
            _ => false,
        }
    }

    /// Is what a query found what it must and may find now?
    pub fn check_read(&self, read: &Read) -> Result<(), String> {
        let found = &read.found;
        self.check_invented(found, u64::MAX)?;
        self.exemplars
            .check(&read.exemplars, Ending::KeepsAll, |_, _| false)?;
        match self.missing(found).next() {
            Some((series, t, _)) => {
                let what = show(series, t);
                Err(format!("lost: {what} was acknowledged and is not read"))
            }
            None => Ok(()),
        }
    }

    /// Nothing but what was sent, and not what was deleted before `bound`.
    fn check_invented(&self, found: &Found, bound: u64) -> Result<(), String> {
        // The block that knew of a deletion may have gone with its age while the log still has the samples.
        let kept_from = self.kept_from();
        for (series, samples) in found {
            for (t, value) in samples {
                let candidates = self.series.get(series).and_then(|times| times.get(t));
                let is_known = |c: &Candidate| {
                    c.value.is(value) && (c.gone.is_none_or(|at| at >= bound) || *t < kept_from)
                };
                if !candidates.is_some_and(|all| all.iter().any(is_known)) {
                    return Err(format!(
                        "invented: {} is read as {value:?}, known {candidates:?}",
                        show(*series, *t)
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is certain and not found.
    fn missing<'m>(
        &'m self,
        found: &'m Found,
    ) -> impl Iterator<Item = (u32, i64, &'m Candidate)> + 'm {
        let kept_from = self.kept_from();
        self.series.iter().flat_map(move |(series, times)| {
            let samples = found.get(series);
            times.range(kept_from..).filter_map(move |(t, candidates)| {
                let must_be = |c: &&Candidate| c.certain && c.fading == 0 && c.gone.is_none();
                let certain = candidates.iter().find(must_be)?;
                let read = samples.and_then(|samples| samples.get(t));
                let is_there = read.is_some_and(|v| {
                    let mut right = candidates.iter().filter(|c| c.certain || self.rules.ties);
                    right.any(|c| c.value.is(v))
                });
                (!is_there).then_some((*series, *t, certain))
            })
        })
    }

    /// Is what a restarted shard holds what it must and may hold? Its blocks reach over `reach`.
    pub fn check_restart(&self, read: &Read, ending: Ending, reach: &Reach) -> Result<(), String> {
        let found = &read.found;
        // Sealed since then, or deleted and the gap sealed.
        let has_left = |series: u32, t: i64| {
            let is_there = found
                .get(&series)
                .is_some_and(|times| times.contains_key(&t));
            self.rules.has_blocks && (reach.contains(t) || !is_there)
        };
        self.exemplars.check(&read.exemplars, ending, has_left)?;
        let bound = match ending {
            Ending::KeepsAll => u64::MAX,
            Ending::MayLoseAfter(bound) => bound,
        };
        self.check_invented(found, bound)?;
        let mut end = usize::MAX;
        for (series, t, candidate) in self.missing(found) {
            let what = show(series, t);
            let Ending::MayLoseAfter(bound) = ending else {
                return Err(format!("lost: {what} was acknowledged ({candidate:?})"));
            };
            let (Some(request), Some(at)) = (candidate.acknowledged_to, candidate.acknowledged_at)
            else {
                return Err(format!("lost: {what} was durable since an earlier life"));
            };
            if at < bound {
                return Err(format!(
                    "lost: {what} was acknowledged at {at}, before {bound}"
                ));
            }
            if request < end {
                tell(|| format!("{what} of request {request} is lost"));
            }
            end = end.min(request);
        }
        for (series, samples) in found {
            // A block may be durable before the log is: it holds what is old, not what came first.
            for (t, value) in samples.iter().filter(|(t, _)| !reach.contains(**t)) {
                let Some(candidates) = self.series.get(series).and_then(|times| times.get(t))
                else {
                    continue;
                };
                // Two values of one time may have come in two requests; the earlier one excuses.
                let first = candidates.iter().filter(|c| c.value.is(value));
                let first = first.filter_map(Candidate::introduced).min();
                if first.is_some_and(|introduced| introduced > end) {
                    return Err(format!(
                        "a hole: {} of request {first:?} is there, acknowledged ones of request {end} are not",
                        show(*series, *t)
                    ));
                }
            }
        }
        Ok(())
    }

    /// After damage: nothing but what the intact medium gave. Returns requests, as few as explain it, whose samples are (in part) lost.
    pub fn check_damaged(&self, intact: &Found, read: &Read) -> Result<BTreeSet<u64>, String> {
        let found = &read.found;
        self.exemplars.check_damaged(&read.exemplars)?;
        let mut lost = Vec::new();
        for (series, samples) in found {
            for (t, value) in samples {
                let before = intact.get(series).and_then(|samples| samples.get(t));
                // The record of a deletion may be what the damage took; of two values of one time, the one that was read.
                let candidates = self.series.get(series).and_then(|times| times.get(t));
                let mut candidates = candidates.into_iter().flatten();
                let excused =
                    candidates.any(|c| c.value.is(value) && (self.rules.ties || c.gone.is_some()));
                if !excused && !before.is_some_and(|before| before.is(value)) {
                    let what = show(*series, *t);
                    return Err(format!(
                        "invented by damage: {what} {value:?}, was {before:?}"
                    ));
                }
            }
        }
        for (series, samples) in intact {
            let left = found.get(series);
            for (t, value) in samples {
                if left.is_some_and(|left| left.contains_key(t)) || *t < self.kept_from() {
                    continue;
                }
                let candidates = self.series.get(series).and_then(|times| times.get(t));
                let candidates = candidates.into_iter().flatten();
                let mut right = candidates.filter(|c| c.value.is(value));
                lost.extend(right.next().map(|candidate| candidate.groups.as_slice()));
            }
        }
        Ok(fewest(lost))
    }

    /// The next life begins with what was found, all of which the restart has made durable.
    pub fn restart(&mut self, read: &Read) -> Result<(), String> {
        let found = &read.found;
        self.exemplars
            .restart(&read.exemplars, self.rules.has_blocks)?;
        self.requests.clear();
        let (kept_from, rules) = (self.kept_from(), self.rules);
        for (series, times) in &mut self.series {
            let samples = found.get(series);
            times.retain(|t, candidates| {
                let value = samples.and_then(|samples| samples.get(t));
                let Some(value) = value else {
                    if *t < kept_from {
                        // Whole blocks go; a late sample of the same time may still come back from the log.
                        for candidate in candidates.iter_mut() {
                            let gone = candidate.gone;
                            candidate.stay();
                            candidate.gone = gone;
                        }
                        return true;
                    }
                    // What was deleted still counts for what is newer or older.
                    candidates.retain(|c| c.gone.is_some() || c.fading > 0);
                    candidates.iter_mut().for_each(Candidate::stay_gone);
                    return !candidates.is_empty();
                };
                // A request that failed may have been stored all the same: which of two such values is read may change when they are
                // sealed, as with two acknowledged ones.
                let ties = rules.ties;
                candidates.retain(|c| c.value.is(value) || (ties && c.gone.is_none()));
                for candidate in candidates.iter_mut() {
                    match candidate.value.is(value) {
                        true => candidate.stay(),
                        false => candidate.stay_beside(),
                    }
                }
                if !ties {
                    candidates.truncate(1);
                }
                true
            });
        }
        Ok(())
    }
}
