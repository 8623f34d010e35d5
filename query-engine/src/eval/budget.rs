//! What a query may use: samples, memory, time.
//!
//! One [`Budget`] is shared by the coordinator and the fragments of a query. Samples are counted as Prometheus counts them for
//! `--query.max-samples`: those held at the same time. Bytes are those of `memory`. Not here: a clock; who owns the deadline flips the
//! [`CancelToken`].

use super::error::EvalError;
use super::memory::MemoryPool;
use super::value::Grid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

const RUNNING: u8 = 0;
const CANCELED: u8 = 1;
const TIMED_OUT: u8 = 2;

/// A flag that stops a query from outside; clones share it. The first reason given stays.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    /// A token nobody has flipped.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// The client went away or the server stops.
    pub fn cancel(&self) {
        self.flip(CANCELED);
    }

    /// The time limit passed.
    pub fn time_out(&self) {
        self.flip(TIMED_OUT);
    }

    fn flip(&self, reason: u8) {
        // A second reason loses: the first one is what the user is told.
        let _first = self
            .0
            .compare_exchange(RUNNING, reason, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Must the work stop, and why?
    #[inline]
    pub fn check(&self) -> Result<(), EvalError> {
        match self.0.load(Ordering::Relaxed) {
            RUNNING => Ok(()),
            CANCELED => Err(EvalError::Canceled),
            _ => Err(EvalError::Timeout),
        }
    }
}

/// A sign that a query gives before work of its coordinator that takes longer than a few milliseconds: who drives it may move it to a thread of
/// its own. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HeavySign(Arc<AtomicBool>);

impl HeavySign {
    /// Was it given?
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives the sign and, the first time, lets the driver see it.
    pub async fn give(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }
}

/// Counters of one query, shared with its fragments.
#[derive(Debug)]
pub struct Budget {
    samples_max: usize,
    samples: AtomicUsize,
    peak: AtomicUsize,
    bytes_max: usize,
    bytes: AtomicUsize,
    bytes_peak: AtomicUsize,
    pool: Arc<MemoryPool>,
    visited: AtomicU64,
    read: AtomicU64,
    /// The query's own steps, if each is to be told.
    steps: Option<Steps>,
    cancel: CancelToken,
    heavy: HeavySign,
}

/// What each step of a query was handed and had to read.
#[derive(Debug)]
struct Steps {
    grid: Grid,
    visited: Box<[AtomicU64]>,
    read: Box<[AtomicU64]>,
}

/// What a selector handed to one step of the evaluation, in samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handed {
    /// All of the step's window.
    pub visited: usize,
    /// Those that no step before had in its window.
    pub read: usize,
}

impl Handed {
    /// As many visited as read.
    pub(crate) fn new(count: usize) -> Self {
        Handed {
            visited: count,
            read: count,
        }
    }
}

impl Budget {
    /// A budget of `samples_max` samples and of any number of bytes that stops when `cancel` says so.
    pub fn new(samples_max: usize, cancel: CancelToken) -> Self {
        Budget {
            samples_max,
            samples: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            bytes_max: usize::MAX,
            bytes: AtomicUsize::new(0),
            bytes_peak: AtomicUsize::new(0),
            pool: Arc::default(),
            visited: AtomicU64::new(0),
            read: AtomicU64::new(0),
            steps: None,
            cancel,
            heavy: HeavySign::default(),
        }
    }

    /// At most `bytes_max` bytes, taken out of `pool`.
    pub fn with_memory(mut self, bytes_max: usize, pool: Arc<MemoryPool>) -> Self {
        self.bytes_max = bytes_max;
        self.pool = pool;
        self
    }

    /// Tells of heavy work by this sign.
    pub fn with_heavy_sign(mut self, sign: HeavySign) -> Self {
        self.heavy = sign;
        self
    }

    /// Says that long work of the coordinator is about to begin.
    pub(crate) async fn announce_heavy(&self) {
        self.heavy.give().await;
    }

    /// Counts for each step of the query too.
    pub fn with_steps(mut self, grid: Grid) -> Self {
        let zeros = || (0..grid.count).map(|_| AtomicU64::new(0)).collect();
        self.steps = Some(Steps {
            grid,
            visited: zeros(),
            read: zeros(),
        });
        self
    }

    /// Must the work stop?
    #[inline]
    pub fn check(&self) -> Result<(), EvalError> {
        self.cancel.check()
    }

    /// Takes `count` samples; gives none and fails when that is too many at once.
    #[inline]
    pub fn take(&self, count: usize) -> Result<(), EvalError> {
        let now = self.samples.fetch_add(count, Ordering::Relaxed) + count;
        if now > self.samples_max {
            self.samples.fetch_sub(count, Ordering::Relaxed);
            return Err(EvalError::TooManySamples);
        }
        self.peak.fetch_max(now, Ordering::Relaxed);
        Ok(())
    }

    /// Gives samples back.
    #[inline]
    pub fn give_back(&self, count: usize) {
        release(&self.samples, count);
    }

    /// Takes bytes, before they are allocated.
    pub(super) fn take_bytes(&self, count: usize) -> Result<(), EvalError> {
        self.fits(count)?;
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        let now = before.saturating_add(count);
        let taken = match now > self.bytes_max {
            true => Err(EvalError::MemoryOfQuery(self.bytes_max)),
            false => self.pool.take(count),
        };
        match taken {
            Ok(()) => {
                self.bytes_peak.fetch_max(now, Ordering::Relaxed);
            }
            Err(_) => {
                self.bytes.fetch_sub(count, Ordering::Relaxed);
            }
        }
        taken
    }

    /// Gives back bytes that were taken.
    pub(super) fn give_back_bytes(&self, count: usize) {
        self.bytes.fetch_sub(count, Ordering::Relaxed);
        self.pool.give_back(count);
    }

    /// Would this many samples ever fit?
    pub fn fits_samples(&self, count: usize) -> Result<(), EvalError> {
        match count > self.samples_max {
            true => Err(EvalError::TooManySamples),
            false => Ok(()),
        }
    }

    /// Would this many bytes ever fit?
    pub fn fits(&self, bytes: usize) -> Result<(), EvalError> {
        // Nothing is as large as half of all addresses; the sums below stay far from wrapping.
        if bytes > self.bytes_max.min(isize::MAX as usize) {
            return Err(EvalError::MemoryOfQuery(self.bytes_max));
        }
        Ok(())
    }

    /// Most bytes held at once so far.
    pub fn bytes_peak(&self) -> usize {
        self.bytes_peak.load(Ordering::Relaxed)
    }

    /// Is every step counted?
    #[inline]
    pub fn counts_steps(&self) -> bool {
        self.steps.is_some()
    }

    /// Notes what a selector handed to all steps together, for the statistics.
    #[inline]
    pub fn visit(&self, handed: Handed) {
        self.visited
            .fetch_add(handed.visited as u64, Ordering::Relaxed);
        self.read.fetch_add(handed.read as u64, Ordering::Relaxed);
    }

    /// Notes what of it went to step `k` of `grid`. Of a subquery's steps the last step of the query had use.
    pub fn visit_step(&self, grid: Grid, k: usize, handed: Handed) {
        let Some(steps) = &self.steps else { return };
        let k = match grid == steps.grid {
            true => k,
            // One step alone is what does not depend on the step.
            false if grid.count == 1 && grid.start == steps.grid.start => 0,
            false => steps.grid.count.saturating_sub(1),
        };
        if let (Some(visited), Some(read)) = (steps.visited.get(k), steps.read.get(k)) {
            visited.fetch_add(handed.visited as u64, Ordering::Relaxed);
            read.fetch_add(handed.read as u64, Ordering::Relaxed);
        }
    }

    /// Most samples held at once so far.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Samples visited so far.
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::Relaxed)
    }

    /// Samples read so far: one that is in the windows of many steps counts once.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Time, samples visited and samples read of each step; empty if they were not counted.
    pub fn steps(&self) -> Vec<(i64, u64, u64)> {
        let Some(steps) = &self.steps else {
            return Vec::new();
        };
        let of = |counters: &[AtomicU64], k: usize| counters[k].load(Ordering::Relaxed);
        let all = (0..steps.grid.count)
            .map(|k| (steps.grid.at(k), of(&steps.visited, k), of(&steps.read, k)));
        all.collect()
    }
}

/// Never below zero: a count that wraps would refuse everything.
fn release(counter: &AtomicUsize, count: usize) {
    let lower = |now: usize| Some(now.saturating_sub(count));
    // The closure always answers, so the update cannot fail.
    let (Ok(_) | Err(_)) = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_stop_stays() {
        let token = CancelToken::new();
        assert_eq!(token.check(), Ok(()));
        token.clone().time_out();
        token.cancel();
        assert_eq!(token.check(), Err(EvalError::Timeout));
    }

    #[test]
    fn samples_beyond_the_limit_are_refused_and_not_kept() {
        let budget = Budget::new(10, CancelToken::new());
        assert_eq!(budget.take(10), Ok(()));
        assert_eq!(budget.take(1), Err(EvalError::TooManySamples));
        budget.give_back(4);
        assert_eq!(budget.take(4), Ok(()));
        assert_eq!(budget.peak(), 10);
    }
}
