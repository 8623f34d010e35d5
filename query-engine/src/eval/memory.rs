//! Bytes that queries hold: what one may, what all together may, and who gives them back.
//!
//! Promise: memory is paid for before it is taken, and comes back when its owner ([`Held`]) goes away, however the query ends. What is counted
//! are rows, groups, columns, histograms, labels and large tables; what is not is small and bounded: the tree and program of the query, the
//! samples of the one series that a fragment is at while they grow, what the allocator rounds up.
//! Not here: samples as Prometheus counts them (`budget`).

use super::budget::Budget;
use super::error::EvalError;
use super::value::{Bits, Row, Sample, Value};
use crate::fragment::mixed::RawSeries;
use crate::histogram::{FloatHistogram, sample_size};
use crate::limits::CHECK_WORK;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage_engine::model::Labels;

/// Bytes that all queries of a server may hold together.
#[derive(Debug)]
pub struct MemoryPool {
    bytes_max: usize,
    held: AtomicUsize,
}

impl Default for MemoryPool {
    fn default() -> Self {
        MemoryPool::new(usize::MAX)
    }
}

impl MemoryPool {
    /// A pool of this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        MemoryPool {
            bytes_max,
            held: AtomicUsize::new(0),
        }
    }

    /// Bytes that may be held.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, bytes: usize) -> Result<(), EvalError> {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.bytes_max {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(EvalError::MemoryOfAll(self.bytes_max));
        }
        Ok(())
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes of one query, given back when this goes away. By default there is no budget behind it and nothing is counted.
#[derive(Debug, Default)]
pub struct Held {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Held {
    /// None yet, of this query.
    pub fn of(budget: &Arc<Budget>) -> Held {
        Held {
            budget: Some(Arc::clone(budget)),
            bytes: 0,
        }
    }

    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more; fails when the query or all queries would hold too many.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> Result<(), EvalError> {
        if let Some(budget) = &self.budget
            && bytes > 0
        {
            budget.take_bytes(bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// Gives some back, at most all.
    #[inline]
    pub fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if let Some(budget) = &self.budget {
            budget.give_back_bytes(bytes);
            self.bytes -= bytes;
        }
    }

    /// Holds exactly this many.
    pub fn settle(&mut self, bytes: usize) -> Result<(), EvalError> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.take(more),
            None => {
                self.give_back(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Holds at least this many.
    pub fn reach(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.take(bytes.saturating_sub(self.bytes))
    }

    /// Takes over what another holds of the same query.
    pub fn absorb(&mut self, mut other: Held) {
        if self.budget.is_none() {
            *self = other;
            return;
        }
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// What one operation may use while it runs: memory, and time until it is told to stop.
#[derive(Debug, Default)]
pub struct Work {
    held: Held,
    until_check: usize,
}

impl Work {
    /// For an operation of this query.
    pub fn of(budget: &Arc<Budget>) -> Work {
        Work {
            held: Held::of(budget),
            until_check: CHECK_WORK,
        }
    }

    /// Pays for a row of `steps` steps.
    #[inline]
    pub fn row(&mut self, labels: &Labels, steps: usize) -> Result<(), EvalError> {
        self.held.take(row_cost(labels, steps))?;
        self.tick(steps / 8 + 1)
    }

    /// Pays for a histogram and its place in a row; a float has its place already.
    #[inline]
    pub fn sample(&mut self, sample: &Sample) -> Result<(), EvalError> {
        match sample {
            Sample::Float(_) => Ok(()),
            Sample::Histogram(h) => self.held.take(size_of::<usize>() + histogram_cost(h)),
        }
    }

    /// Pays for other memory.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.held.take(bytes)
    }

    /// Counts work (cells, rows, comparisons) and looks at the cancel flag now and then.
    #[inline]
    pub fn tick(&mut self, work: usize) -> Result<(), EvalError> {
        match self.until_check.checked_sub(work) {
            Some(left) => {
                self.until_check = left;
                Ok(())
            }
            None => self.check(),
        }
    }

    #[cold]
    fn check(&mut self) -> Result<(), EvalError> {
        self.until_check = CHECK_WORK;
        match &self.held.budget {
            Some(budget) => budget.check(),
            None => Ok(()),
        }
    }

    /// Takes over memory of the same query that was paid for elsewhere.
    pub fn absorb(&mut self, other: Held) {
        self.held.absorb(other);
    }

    /// What was paid for.
    pub fn into_held(self) -> Held {
        self.held
    }
}

/// A row without its cells: itself, and what the allocator keeps beside each of its parts.
const ROW_BYTES: usize = size_of::<Row>() + 64;
/// A label set without its text.
const LABELS_BYTES: usize = 32;

/// Bytes of a label set, wherever else it may be shared.
#[inline]
pub fn labels_cost(labels: &Labels) -> usize {
    LABELS_BYTES + labels.as_bytes().len()
}

/// Bytes of a column of numbers or pointers.
#[inline]
pub fn column_cost(steps: usize) -> usize {
    steps.saturating_mul(size_of::<f64>())
}

/// Bytes of a row of floats.
#[inline]
pub fn row_cost(labels: &Labels, steps: usize) -> usize {
    ROW_BYTES
        + labels_cost(labels)
        + column_cost(steps).saturating_add(column_cost(Bits::words_of(steps)))
}

/// Bytes of a native histogram.
pub fn histogram_cost(histogram: &FloatHistogram) -> usize {
    16 * sample_size(histogram) + 64
}

/// Bytes of the histograms of a row; one that is carried from step to step counts once.
pub fn histograms_cost(row: &Row) -> usize {
    let Some(all) = &row.histograms else { return 0 };
    let mut bytes = column_cost(all.len());
    let mut before: Option<&Arc<FloatHistogram>> = None;
    for histogram in all.iter().flatten() {
        if before.is_none_or(|before| !Arc::ptr_eq(before, histogram)) {
            bytes += histogram_cost(histogram);
        }
        before = Some(histogram);
    }
    bytes
}

/// Bytes of a value.
pub fn value_cost(value: &Value) -> usize {
    match value {
        Value::Scalar(values) => column_cost(values.len()),
        Value::Vector(rows) => rows_cost(rows),
        Value::String(text) => text.len(),
    }
}

/// Bytes of rows.
pub fn rows_cost(rows: &[Row]) -> usize {
    let cost = |row: &Row| row_cost(&row.labels, row.values.len()) + histograms_cost(row);
    rows.iter().map(cost).sum()
}

/// Bytes of a series of samples.
pub(crate) fn raw_cost(series: &RawSeries) -> usize {
    let histograms = series.histograms.iter();
    let histograms: usize = histograms.map(|(_, h)| 16 + histogram_cost(h)).sum();
    ROW_BYTES + labels_cost(&series.labels) + 16 * series.floats.len() + histograms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::budget::CancelToken;

    fn budget(query: usize, pool: &Arc<MemoryPool>) -> Arc<Budget> {
        let budget = Budget::new(1000, CancelToken::new());
        Arc::new(budget.with_memory(query, Arc::clone(pool)))
    }

    #[test]
    fn what_is_held_comes_back_whoever_holds_it() {
        let pool = Arc::new(MemoryPool::new(100));
        let budget = budget(80, &pool);
        let mut one = Held::of(&budget);
        let mut two = Held::of(&budget);
        one.take(50).unwrap();
        two.take(30).unwrap();
        assert_eq!(two.take(1), Err(EvalError::MemoryOfQuery(80)));
        assert_eq!(pool.held(), 80);
        one.absorb(two);
        assert_eq!((one.bytes(), pool.held()), (80, 80));
        one.settle(20).unwrap();
        assert_eq!((one.bytes(), pool.held()), (20, 20));
        one.reach(10).unwrap();
        assert_eq!(one.bytes(), 20);
        drop(one);
        assert_eq!((budget.bytes_peak(), pool.held()), (80, 0));
    }

    #[test]
    fn queries_share_the_pool() {
        let pool = Arc::new(MemoryPool::new(100));
        let mut one = Held::of(&budget(80, &pool));
        let mut two = Held::of(&budget(80, &pool));
        one.take(80).unwrap();
        assert_eq!(two.take(21), Err(EvalError::MemoryOfAll(100)));
        assert_eq!(pool.held(), 80);
        drop(one);
        assert_eq!(two.take(21), Ok(()));
    }

    #[test]
    fn work_stops_when_the_query_does() {
        let token = CancelToken::new();
        let budget = Arc::new(Budget::new(1000, token.clone()));
        let mut work = Work::of(&budget);
        assert_eq!(work.tick(CHECK_WORK), Ok(()));
        token.cancel();
        assert_eq!(work.tick(1), Err(EvalError::Canceled));
    }

    #[test]
    fn a_histogram_that_stays_costs_once() {
        let mut row = Row::absent(Labels::empty(), 3);
        let histogram = Arc::new(FloatHistogram::default());
        for k in 0..3 {
            row.put_histogram(k, Arc::clone(&histogram));
        }
        assert_eq!(
            histograms_cost(&row),
            3 * size_of::<usize>() + histogram_cost(&histogram)
        );
    }
}
