//! What a query may use: samples, memory, time.
//!
//! One [`Budget`] is shared by the coordinator and the fragments of a query. Samples are counted as Prometheus counts them for
//! `--query.max-samples`: those held at the same time. Not here: a clock; who owns the deadline flips the [`CancelToken`].

use super::error::EvalError;
use crate::limits::{QUERY_CELLS_MIN, QUERY_CELLS_PER_SAMPLE_MAX};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

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

/// Counters of one query, shared with its fragments.
#[derive(Debug)]
pub struct Budget {
    samples_max: usize,
    cells_max: usize,
    samples: AtomicUsize,
    cells: AtomicUsize,
    peak: AtomicUsize,
    visited: AtomicU64,
    cancel: CancelToken,
}

impl Budget {
    /// A budget of `samples_max` samples that stops when `cancel` says so.
    pub fn new(samples_max: usize, cancel: CancelToken) -> Self {
        Budget {
            samples_max,
            cells_max: samples_max
                .saturating_mul(QUERY_CELLS_PER_SAMPLE_MAX)
                .max(QUERY_CELLS_MIN),
            samples: AtomicUsize::new(0),
            cells: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            visited: AtomicU64::new(0),
            cancel,
        }
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

    /// Takes row cells, before they are allocated.
    #[inline]
    pub fn take_cells(&self, count: usize) -> Result<(), EvalError> {
        let now = self
            .cells
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        if now > self.cells_max {
            self.cells.fetch_sub(count, Ordering::Relaxed);
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    /// Gives row cells back.
    #[inline]
    pub fn give_back_cells(&self, count: usize) {
        release(&self.cells, count);
    }

    /// Would this many cells ever fit?
    pub fn cells_max(&self) -> usize {
        self.cells_max
    }

    /// Notes samples that a selector handed to the evaluation, for the statistics.
    #[inline]
    pub fn visit(&self, count: usize) {
        self.visited.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Most samples held at once so far.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Samples visited so far.
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::Relaxed)
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
