//! `</` and `>/`: the part of a histogram on one side of a value.
//!
//! Promise: a bucket that the value cuts keeps the share that its interpolation gives; count and sum are those of what is left, the sum
//! estimated from the middles of the buckets. Where nothing is cut off, nothing changes. A bucket without a lower or upper bound cannot be
//! shared: it stays or goes as a whole.

use super::FloatHistogram;
use super::estimate::{exponential_share, one_sided_zero};
use super::layout::{Bucket, all_buckets, compact, is_custom, zero_bucket};

/// Which part goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is above the value (`</`).
    Upper,
    /// What is below the value (`>/`).
    Lower,
}

/// What is left of one bucket.
struct Rest {
    count: f64,
    sum: f64,
}

/// The histogram without one side of `value`.
pub fn trim(histogram: &FloatHistogram, value: f64, side: Side) -> FloatHistogram {
    let mut out = histogram.clone();
    let (mut count, mut sum, mut cut) = (0.0, 0.0, false);
    let mut keep = |bucket: Bucket, zero: bool| -> f64 {
        let rest = rest_of(bucket, zero, histogram, value, side);
        cut |= rest.count != bucket.count;
        count += rest.count;
        sum += rest.sum;
        rest.count
    };
    let all = all_buckets(histogram);
    let has_zero = histogram.zero_count > 0.0;
    let (negative, positive) = all.split_at(histogram.negative_buckets.len().min(all.len()));
    for (target, bucket) in out.negative_buckets.iter_mut().zip(negative.iter().rev()) {
        *target = keep(*bucket, false);
    }
    if has_zero {
        let mut bucket = zero_bucket(histogram);
        one_sided_zero(&mut bucket, histogram);
        out.zero_count = keep(bucket, true);
    }
    let positive = positive.get(usize::from(has_zero)..).unwrap_or_default();
    for (target, bucket) in out.positive_buckets.iter_mut().zip(positive) {
        *target = keep(*bucket, false);
    }
    if cut {
        out.count = count;
        out.sum = sum;
        out.integer = false;
    }
    compact(&mut out);
    out
}

fn rest_of(bucket: Bucket, zero: bool, histogram: &FloatHistogram, value: f64, side: Side) -> Rest {
    let custom = is_custom(histogram);
    let nothing = Rest {
        count: 0.0,
        sum: 0.0,
    };
    let mut range = bucket;
    if custom && bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 && bucket.upper.is_finite()
    {
        // Observations are taken as positive, unless the value says otherwise.
        if side == Side::Upper || value >= 0.0 || value == f64::NEG_INFINITY {
            range.lower = 0.0;
        }
    }
    let whole = |from: f64, to: f64| Rest {
        count: bucket.count,
        sum: if bucket.count == 0.0 {
            0.0
        } else {
            bucket.count * middle(from, to, custom || zero)
        },
    };
    let keeps_all = match side {
        Side::Upper => range.upper <= value,
        Side::Lower => range.lower >= value,
    };
    if keeps_all {
        return whole(range.lower, range.upper);
    }
    let loses_all = match side {
        Side::Upper => range.lower >= value,
        Side::Lower => range.upper <= value,
    };
    if loses_all || value.is_nan() {
        return nothing;
    }
    match (
        range.lower == f64::NEG_INFINITY,
        range.upper == f64::INFINITY,
        side,
    ) {
        (true, true, _) | (false, true, Side::Upper) | (true, false, Side::Lower) => {
            return nothing;
        }
        (false, true, Side::Lower) => return whole(value, range.upper),
        (true, false, Side::Upper) => return whole(range.lower, value),
        (false, false, _) => {}
    }
    let below = if custom || zero {
        (value - range.lower) / (range.upper - range.lower)
    } else {
        exponential_share(&range, value)
    };
    let (share, from, to) = match side {
        Side::Upper => (below, range.lower, value),
        Side::Lower => (1.0 - below, value, range.upper),
    };
    let count = bucket.count * share;
    let sum = if count == 0.0 {
        0.0
    } else {
        count * middle(from, to, custom || zero)
    };
    Rest { count, sum }
}

/// Where the observations between two bounds are taken to be.
fn middle(from: f64, to: f64, linear: bool) -> f64 {
    if from == f64::NEG_INFINITY {
        to
    } else if to == f64::INFINITY {
        from
    } else if linear {
        (from + to) / 2.0
    } else if from < 0.0 {
        -(from * to).sqrt()
    } else {
        (from * to).sqrt()
    }
}
