//! Where buckets lie: bounds by schema, spans to indices and back, buckets in order.
//!
//! Promise: bounds have the bits of Prometheus's tables. Source of the formulas: the sparse histogram format of Prometheus
//! (boundary `i` of schema `n` is `2^(i * 2^-n)`).

use super::{BucketSpan, CUSTOM_SCHEMA, CounterResetHint, FloatHistogram};
use crate::go_math;
use std::sync::OnceLock;

/// Finest resolution of exponential buckets.
const SCHEMA_MAX: usize = 8;

/// One bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Is the lower bound inside?
    pub lower_inclusive: bool,
    /// Is the upper bound inside?
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// Does the histogram have custom bounds instead of exponential ones?
pub fn is_custom(histogram: &FloatHistogram) -> bool {
    histogram.schema == CUSTOM_SCHEMA
}

/// Indices and counts of the buckets of one sign.
pub(super) fn indexed<'a>(
    spans: &'a [BucketSpan],
    counts: &'a [f64],
) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0_i32;
    let indices = spans.iter().flat_map(move |span| {
        let start = next.wrapping_add(span.offset);
        next = start.wrapping_add(span.length as i32);
        start..next
    });
    indices.zip(counts.iter().copied())
}

/// Spans and counts of buckets with ascending indices.
pub(super) fn packed(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<BucketSpan>, Vec<f64>) {
    let mut spans: Vec<BucketSpan> = Vec::new();
    let mut counts = Vec::new();
    let mut end = 0_i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if end == index => span.length += 1,
            _ => spans.push(BucketSpan {
                offset: index.wrapping_sub(end),
                length: 1,
            }),
        }
        end = index.wrapping_add(1);
        counts.push(count);
    }
    (spans, counts)
}

/// Drops empty buckets.
pub fn compact(histogram: &mut FloatHistogram) {
    let filled = |spans: &[BucketSpan], counts: &[f64]| {
        packed(indexed(spans, counts).filter(|(_, count)| *count != 0.0))
    };
    (histogram.positive_spans, histogram.positive_buckets) =
        filled(&histogram.positive_spans, &histogram.positive_buckets);
    (histogram.negative_spans, histogram.negative_buckets) =
        filled(&histogram.negative_spans, &histogram.negative_buckets);
}

/// Multiplies all counts and the sum; a negative factor makes a gauge of it.
pub fn scale(histogram: &mut FloatHistogram, factor: f64) {
    each_number(histogram, |v| *v *= factor);
    if factor < 0.0 {
        histogram.counter_reset_hint = CounterResetHint::Gauge;
    }
}

/// Divides all counts and the sum. Division by zero removes the buckets.
pub fn divide(histogram: &mut FloatHistogram, divisor: f64) {
    each_number(histogram, |v| *v /= divisor);
    if divisor == 0.0 {
        histogram.positive_spans.clear();
        histogram.positive_buckets.clear();
        histogram.negative_spans.clear();
        histogram.negative_buckets.clear();
    } else if divisor < 0.0 {
        histogram.counter_reset_hint = CounterResetHint::Gauge;
    }
}

fn each_number(histogram: &mut FloatHistogram, f: impl Fn(&mut f64)) {
    histogram.integer = false;
    f(&mut histogram.zero_count);
    f(&mut histogram.count);
    f(&mut histogram.sum);
    histogram.positive_buckets.iter_mut().for_each(&f);
    histogram.negative_buckets.iter_mut().for_each(&f);
}

/// Upper bound of bucket `index` of positive values.
pub(super) fn upper_bound(index: i32, schema: i32, custom: &[f64]) -> f64 {
    if schema == CUSTOM_SCHEMA {
        return match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(i) => custom.get(i).copied().unwrap_or(f64::INFINITY),
        };
    }
    if schema < 0 {
        let exponent = i64::from(index) << (-schema).min(16);
        // The bound beyond the largest number takes the numbers up to it.
        return if exponent == 1024 {
            f64::MAX
        } else {
            power_of_two(exponent)
        };
    }
    let schema = (schema as usize).min(SCHEMA_MAX);
    let fraction = fractions(schema)[(index & ((1 << schema) - 1)) as usize];
    let exponent = i64::from(index >> schema) + 1;
    if fraction == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    // One factor at a time, so that a fraction times 2^1024 does not overflow.
    fraction * 2.0 * power_of_two(exponent - 1)
}

fn power_of_two(exponent: i64) -> f64 {
    2.0_f64.powi(exponent.clamp(-2000, 2000) as i32)
}

/// The bounds between 0.5 and 1 of a schema: even ones are those of the schema below, odd ones the bound before times the growth factor.
fn fractions(schema: usize) -> &'static [f64] {
    static TABLES: OnceLock<Vec<Vec<f64>>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        let mut tables: Vec<Vec<f64>> = vec![vec![0.5]];
        for schema in 1..=SCHEMA_MAX {
            let factor = go_math::exp2(1.0 / (1_u32 << schema) as f64);
            let below = &tables[schema - 1];
            let mut bounds = Vec::with_capacity(2 * below.len());
            for bound in below {
                bounds.push(*bound);
                bounds.push(bound * factor);
            }
            tables.push(bounds);
        }
        tables
    });
    &tables[schema]
}

fn bucket(index: i32, count: f64, positive: bool, histogram: &FloatHistogram) -> Bucket {
    let bound = |i| upper_bound(i, histogram.schema, &histogram.custom_values);
    let (lower, upper) = if positive {
        (bound(index.wrapping_sub(1)), bound(index))
    } else {
        (-bound(index), -bound(index.wrapping_sub(1)))
    };
    let custom = is_custom(histogram);
    Bucket {
        lower,
        upper,
        lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
        upper_inclusive: custom || upper > 0.0,
        count,
    }
}

/// The zero bucket.
pub(super) fn zero_bucket(histogram: &FloatHistogram) -> Bucket {
    Bucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

/// All buckets in ascending order, empty ones among them; the zero bucket only if it has observations.
pub fn all_buckets(histogram: &FloatHistogram) -> Vec<Bucket> {
    let mut all: Vec<Bucket> = indexed(&histogram.negative_spans, &histogram.negative_buckets)
        .map(|(i, n)| bucket(i, n, false, histogram))
        .collect();
    all.reverse();
    if histogram.zero_count > 0.0 {
        all.push(zero_bucket(histogram));
    }
    all.extend(
        indexed(&histogram.positive_spans, &histogram.positive_buckets)
            .map(|(i, n)| bucket(i, n, true, histogram)),
    );
    all
}
