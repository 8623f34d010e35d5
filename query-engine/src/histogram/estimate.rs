//! What a histogram tells about its observations: quantiles, fractions, mean, variance.
//!
//! Promise: inside exponential buckets observations are taken as spread evenly over the logarithm, inside the zero bucket and custom buckets
//! evenly over the value.

use super::FloatHistogram;
use super::layout::{Bucket, all_buckets, is_custom};
use crate::functions::log2;
use crate::go_math::exp2;
use crate::kernels::CompensatedSum;

/// What observations of NaN did to an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanObservations {
    /// The quantile falls among them.
    Result,
    /// They push the quantile up.
    Skew,
}

/// Sum by count.
pub fn average(histogram: &FloatHistogram) -> f64 {
    histogram.sum / histogram.count
}

/// The `q`-quantile.
pub fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<NanObservations>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let custom = is_custom(histogram);
    let buckets = all_buckets(histogram);
    // NaN observations are in the count and in no bucket: only from below is a rank where it seems to be.
    let has_nan = histogram.sum.is_nan();
    let forward = has_nan || q < 0.5;
    let rank = if forward { q } else { 1.0 - q } * histogram.count;
    let mut found = Bucket {
        lower: 0.0,
        upper: 0.0,
        lower_inclusive: false,
        upper_inclusive: false,
        count: 0.0,
    };
    let mut count = 0.0;
    let mut step = |bucket: &Bucket| {
        if bucket.count != 0.0 {
            found = *bucket;
            count += bucket.count;
        }
        bucket.count != 0.0 && count >= rank
    };
    let reached = if forward {
        buckets.iter().any(&mut step)
    } else {
        buckets.iter().rev().any(&mut step)
    };
    let mut bucket = found;
    if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else {
        one_sided_zero(&mut bucket, histogram);
    }
    let count = count.min(histogram.count);
    if !reached || count < rank {
        return if has_nan {
            (f64::NAN, Some(NanObservations::Result))
        } else {
            (bucket.upper, None)
        };
    }
    let total: f64 = buckets.iter().map(|b| b.count).sum();
    let nan = (has_nan && total < histogram.count).then_some(NanObservations::Skew);
    let inside = if forward {
        rank - (count - bucket.count)
    } else {
        count - rank
    };
    let fraction = inside / bucket.count;
    let value = if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        bucket.lower + (bucket.upper - bucket.lower) * fraction
    } else {
        let (lower, upper) = (log2(bucket.lower.abs()), log2(bucket.upper.abs()));
        if bucket.lower > 0.0 {
            exp2(lower + (upper - lower) * fraction)
        } else {
            -exp2(upper + (lower - upper) * (1.0 - fraction))
        }
    };
    (value, nan)
}

/// The zero bucket of a histogram with buckets of one sign only reaches to that side only.
pub(super) fn one_sided_zero(bucket: &mut Bucket, histogram: &FloatHistogram) {
    if bucket.lower < 0.0 && bucket.upper > 0.0 {
        let (negative, positive) = (
            !histogram.negative_buckets.is_empty(),
            !histogram.positive_buckets.is_empty(),
        );
        if positive && !negative {
            bucket.lower = 0.0;
        } else if negative && !positive {
            bucket.upper = 0.0;
        }
    }
}

/// How much of an exponential bucket lies below `value`.
pub(super) fn exponential_share(bucket: &Bucket, value: f64) -> f64 {
    let (lower, upper) = (log2(bucket.lower.abs()), log2(bucket.upper.abs()));
    let at = log2(value.abs());
    if value > 0.0 {
        (at - lower) / (upper - lower)
    } else {
        1.0 - (at - upper) / (lower - upper)
    }
}

/// The share of observations between two bounds, and whether NaN observations were left out.
pub fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> (f64, bool) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    let buckets = all_buckets(histogram);
    let custom = is_custom(histogram);
    let mut count = histogram.count;
    let mut left_out = false;
    if histogram.sum.is_nan() {
        let total: f64 = buckets.iter().map(|b| b.count).sum();
        left_out = total < count;
        count = total;
    }
    if lower >= upper {
        return (0.0, left_out);
    }
    let rank_of = |value: f64| -> f64 {
        let mut rank = 0.0;
        for bucket in &buckets {
            let mut bucket = *bucket;
            let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if custom {
                if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                    bucket.lower = 0.0;
                }
            } else if around_zero {
                one_sided_zero(&mut bucket, histogram);
            }
            if bucket.lower >= value {
                return rank;
            }
            if bucket.upper > value {
                return if bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else if custom || around_zero {
                    rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower)
                } else {
                    rank + bucket.count * exponential_share(&bucket, value)
                };
            }
            rank += bucket.count;
        }
        count
    };
    let at_most = |rank: f64| if rank > count { count } else { rank };
    let share = (at_most(rank_of(upper)) - at_most(rank_of(lower))) / histogram.count;
    (share, left_out)
}

/// The population variance, each bucket's observations taken at its middle.
pub fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = average(histogram);
    let custom = is_custom(histogram);
    let mut sum = CompensatedSum::default();
    for bucket in all_buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        let middle = if custom {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.sum + sum.compensation) / histogram.count
}
