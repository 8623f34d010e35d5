//! A classic histogram's parts put together into one native histogram with custom buckets.

use super::layout::{compact, packed};
use super::{CUSTOM_SCHEMA, CounterResetHint, FloatHistogram};

/// Cumulative buckets, count and sum at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassicHistogram {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl ClassicHistogram {
    /// Adds the count of what is at most `bound`; a bound that is there already or is NaN changes nothing.
    pub fn set_bucket(&mut self, bound: f64, count: f64) {
        let at = self.buckets.partition_point(|b| b.0 < bound);
        let known = self.buckets.get(at).is_some_and(|b| b.0 == bound);
        if !known && !bound.is_nan() {
            self.buckets.insert(at, (bound, count));
        }
    }

    /// Sets the number of observations.
    pub fn set_count(&mut self, count: f64) {
        self.count = Some(count);
    }

    /// Sets the sum of observations.
    pub fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// The native histogram; `None` where the counts fall or there are none.
    pub fn build(mut self) -> Option<FloatHistogram> {
        let top = self
            .buckets
            .last()
            .filter(|b| b.0 == f64::INFINITY)
            .map(|b| b.1);
        let count = match (top, self.count) {
            (Some(top), None) => top,
            (Some(top), Some(count)) if top == count => count,
            (Some(_), Some(_)) => return None,
            (None, Some(count)) => {
                self.buckets.push((f64::INFINITY, count));
                count
            }
            (None, None) => {
                let last = self.buckets.last()?.1;
                self.buckets.push((f64::INFINITY, last));
                last
            }
        };
        let mut below = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, cumulative) in &self.buckets {
            if *cumulative < below {
                return None;
            }
            counts.push(cumulative - below);
            below = *cumulative;
        }
        let integer = self.buckets.iter().all(|b| b.1.fract() == 0.0);
        self.buckets.pop();
        let indexed = counts.into_iter().enumerate();
        let (positive_spans, positive_buckets) = packed(indexed.map(|(i, n)| (i as i32, n)));
        let mut out = FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: CUSTOM_SCHEMA,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count,
            sum: self.sum,
            positive_spans,
            negative_spans: Vec::new(),
            positive_buckets,
            negative_buckets: Vec::new(),
            custom_values: self.buckets.into_iter().map(|b| b.0).collect(),
            integer,
        };
        compact(&mut out);
        Some(out)
    }
}
