//! The kept answers: found by what was asked, bounded by bytes.
//!
//! Not here: whether an answer still holds (`cache`).

use crate::eval::error::EvalError;
use crate::eval::memory::Held;
use crate::result::{QueryOutput, QueryValue, Series};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage_engine::model::TimestampMs;

/// An answer larger than this part of the cache is not kept.
const LARGEST_SHARE: usize = 4;
/// Bytes that an answer takes beside its series and its text.
const ENTRY_BYTES: usize = 256;

/// What was asked, but for its first and last step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The expression as it is printed.
    pub(super) text: String,
    pub(super) step: i64,
    /// Where the steps lie between two multiples of the step.
    pub(super) phase: i64,
    pub(super) lookback_delta: i64,
    pub(super) default_subquery_step: i64,
    pub(super) delayed_name_removal: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) first: TimestampMs,
    pub(super) last: TimestampMs,
    /// The number of each shard's newest change before it was computed.
    pub(super) numbers: Vec<u64>,
    /// In the order of their labels.
    series: Vec<Series>,
    bytes: usize,
}

impl Answer {
    /// The series at the steps `first..=last`, those without a point left out; `held` pays for them.
    pub(super) fn part(
        &self,
        first: TimestampMs,
        last: TimestampMs,
        held: &mut Held,
    ) -> Result<Vec<Series>, EvalError> {
        let mut part = Vec::with_capacity(self.series.len());
        for series in &self.series {
            let from = series.timestamps.partition_point(|t| *t < first);
            let to = series.timestamps.partition_point(|t| *t <= last);
            if from < to {
                let of_part = Series {
                    labels: series.labels.clone(),
                    timestamps: series.timestamps[from..to].to_vec(),
                    values: series.values[from..to].to_vec(),
                    histograms: Vec::new(),
                };
                held.take(of_part.cost())?;
                part.push(of_part);
            }
        }
        Ok(part)
    }

    /// Milliseconds from its first step to the last that holds.
    pub(super) fn valid_length(&self, changed_from: Option<TimestampMs>) -> i64 {
        let last = match changed_from {
            Some(changed) => self.last.min(changed.saturating_sub(1)),
            None => self.last,
        };
        last.saturating_sub(self.first)
    }
}

/// What the cache has done, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Queries answered without an evaluation.
    pub hits: u64,
    /// Queries of which a part was known.
    pub partial_hits: u64,
    /// Queries of which nothing was known, of those that could have been kept.
    pub misses: u64,
    /// Steps that were not evaluated.
    pub steps: u64,
    /// Answers held.
    pub answers: u64,
    /// Bytes held.
    pub bytes: u64,
}

#[derive(Default)]
struct State {
    /// Each with the time of its last use.
    answers: HashMap<Arc<Key>, (Arc<Answer>, u64)>,
    by_use: BTreeMap<u64, Arc<Key>>,
    bytes: usize,
    uses: u64,
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some((answer, used)) = self.answers.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= answer.bytes;
        }
    }
}

/// Kept answers of range queries.
pub struct ResultCache {
    bytes_max: usize,
    state: Mutex<State>,
    hits: AtomicU64,
    partial_hits: AtomicU64,
    misses: AtomicU64,
    steps: AtomicU64,
}

impl ResultCache {
    /// A cache of at most this many bytes; 0 keeps nothing.
    pub fn new(bytes_max: usize) -> ResultCache {
        ResultCache {
            bytes_max,
            state: Mutex::default(),
            hits: AtomicU64::new(0),
            partial_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            steps: AtomicU64::new(0),
        }
    }

    /// What it has done.
    pub fn counts(&self) -> CacheCounts {
        let state = self.state();
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            partial_hits: self.partial_hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            answers: state.answers.len() as u64,
            bytes: state.bytes as u64,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// A thread that panicked left the state between two changes at worst uncounted; nothing in here is wrong for it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, whole: bool, steps: u64) {
        let counter = match (whole, steps) {
            (_, 0) => &self.misses,
            (true, _) => &self.hits,
            (false, _) => &self.partial_hits,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.steps.fetch_add(steps, Ordering::Relaxed);
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Answer>> {
        let mut state = self.state();
        let state = &mut *state;
        state.uses += 1;
        let (answer, used) = state.answers.get_mut(key)?;
        if let Some(key) = state.by_use.remove(used) {
            state.by_use.insert(state.uses, key);
        }
        *used = state.uses;
        Some(Arc::clone(answer))
    }

    /// Keeps an answer if it can be kept, in place of the one that is there.
    pub(super) fn keep(
        &self,
        key: Key,
        first: TimestampMs,
        last: TimestampMs,
        numbers: &[u64],
        output: &QueryOutput,
    ) {
        let QueryValue::Matrix(series) = &output.value else {
            return;
        };
        let plain = output.warnings.is_empty()
            && output.infos.is_empty()
            && series.iter().all(|s| s.histograms.is_empty());
        let of_series: usize = series.iter().map(Series::cost).sum();
        let bytes = of_series + 2 * key.text.len() + ENTRY_BYTES;
        if !plain || bytes > self.bytes_max / LARGEST_SHARE {
            self.state().remove(&key);
            return;
        }
        let answer = Arc::new(Answer {
            first,
            last,
            numbers: numbers.to_vec(),
            series: series.clone(),
            bytes,
        });
        let mut state = self.state();
        let state = &mut *state;
        state.remove(&key);
        state.uses += 1;
        let key = Arc::new(key);
        state.by_use.insert(state.uses, Arc::clone(&key));
        state.answers.insert(key, (answer, state.uses));
        state.bytes += bytes;
        while state.bytes > self.bytes_max
            && let Some((_, oldest)) = state.by_use.first_key_value()
        {
            let oldest = Arc::clone(oldest);
            state.remove(&oldest);
        }
    }
}
