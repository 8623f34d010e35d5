//! What is counted with: counters, histograms, and summaries over a recent window.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of observations below fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum_bits: AtomicU64,
}

/// A histogram at one moment; bucket counts are cumulative.
pub struct HistogramView {
    /// `(upper bound, observations at or below it)`.
    pub buckets: Vec<(f64, u64)>,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// With ascending bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram {
            bounds,
            counts,
            sum_bits: AtomicU64::new(0),
        }
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|b| *b < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |bits: u64| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self
            .sum_bits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The state now.
    pub fn view(&self) -> HistogramView {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (i, counter) in self.counts.iter().enumerate() {
            count += counter.load(Ordering::Relaxed);
            if let Some(bound) = self.bounds.get(i) {
                buckets.push((*bound, count));
            }
        }
        HistogramView {
            buckets,
            count,
            sum: f64::from_bits(self.sum_bits.load(Ordering::Relaxed)),
        }
    }
}

/// Observations a summary keeps for its quantiles.
const SUMMARY_WINDOW: usize = 1024;
/// Age at which an observation no longer counts for quantiles (client_golang's default).
const SUMMARY_AGE_MAX: Duration = Duration::from_secs(600);
/// The quantiles that Prometheus exposes.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Quantiles over recent observations, sum and count over all. For rare events (a query, a reload), never per sample.
#[derive(Debug)]
pub struct Summary {
    state: Mutex<SummaryState>,
    quantiles: &'static [f64],
}

impl Default for Summary {
    fn default() -> Self {
        Summary::with_quantiles(&QUANTILES)
    }
}

#[derive(Debug, Default)]
struct SummaryState {
    recent: std::collections::VecDeque<(Instant, f64)>,
    count: u64,
    sum: f64,
}

/// A summary at one moment.
pub struct SummaryView {
    /// `(quantile, value)`; NaN without recent observations.
    pub quantiles: Vec<(f64, f64)>,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Summary {
    /// With quantiles of its own.
    pub fn with_quantiles(quantiles: &'static [f64]) -> Self {
        Summary {
            state: Mutex::default(),
            quantiles,
        }
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.recent.len() == SUMMARY_WINDOW {
            state.recent.pop_front();
        }
        state.recent.push_back((Instant::now(), value));
        state.count += 1;
        state.sum += value;
    }

    /// The state now.
    pub fn view(&self) -> SummaryView {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        while state
            .recent
            .front()
            .is_some_and(|(at, _)| now - *at > SUMMARY_AGE_MAX)
        {
            state.recent.pop_front();
        }
        let mut values: Vec<f64> = state.recent.iter().map(|(_, v)| *v).collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = ((q * values.len() as f64).ceil() as usize).saturating_sub(1);
            values.get(rank).copied().unwrap_or(f64::NAN)
        };
        SummaryView {
            quantiles: self.quantiles.iter().map(|q| (*q, at(*q))).collect(),
            count: state.count,
            sum: state.sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_is_cumulative() {
        let h = Histogram::new(&[1.0, 2.0]);
        for v in [0.5, 1.0, 1.5, 9.0] {
            h.observe(v);
        }
        let view = h.view();
        assert_eq!(view.buckets, [(1.0, 2), (2.0, 3)]);
        assert_eq!((view.count, view.sum), (4, 12.0));
    }

    #[test]
    fn summary_quantiles() {
        let s = Summary::default();
        assert!(s.view().quantiles[0].1.is_nan());
        (1..=100).for_each(|v| s.observe(f64::from(v)));
        let view = s.view();
        assert_eq!(view.quantiles, [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0)]);
        assert_eq!(view.count, 100);
    }
}
