//! Comparing two histograms: did a counter start anew, are they the same?

use super::layout::{indexed, is_custom, upper_bound};
use super::sum::{fold_counts, mapping, reduction, shared_bounds, zero_count_at};
use super::{BucketSpan, CounterResetHint, FloatHistogram};

/// Did the counter start anew between `before` and `now`? A hint decides; without one, any count that fell or any bucket that vanished does.
pub fn detect_reset(now: &FloatHistogram, before: &FloatHistogram) -> bool {
    match now.counter_reset_hint {
        CounterResetHint::CounterReset => true,
        CounterResetHint::NotCounterReset => false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => counts_fall(now, before),
    }
}

/// As [`detect_reset`], whatever the hint says.
pub fn counts_fall(now: &FloatHistogram, before: &FloatHistogram) -> bool {
    if now.count < before.count || is_custom(now) != is_custom(before) {
        return true;
    }
    if is_custom(now) {
        return custom_reset(now, before);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let (zero_count, threshold) = zero_count_at(before, now.zero_threshold);
    if threshold != now.zero_threshold || now.zero_count < zero_count {
        return true;
    }
    let at_resolution = |spans: &[BucketSpan], counts: &[f64]| {
        let all: Vec<(i32, f64)> = indexed(spans, counts).collect();
        let mut all = fold_counts(&all, reduction(before.schema, now.schema));
        all.retain(|(i, _)| upper_bound(*i, now.schema, &[]) > now.zero_threshold);
        all
    };
    let positive = at_resolution(&before.positive_spans, &before.positive_buckets);
    let negative = at_resolution(&before.negative_spans, &before.negative_buckets);
    let now_positive: Vec<_> = indexed(&now.positive_spans, &now.positive_buckets).collect();
    let now_negative: Vec<_> = indexed(&now.negative_spans, &now.negative_buckets).collect();
    falls(&positive, &now_positive) || falls(&negative, &now_negative)
}

fn custom_reset(now: &FloatHistogram, before: &FloatHistogram) -> bool {
    let now_counts: Vec<_> = indexed(&now.positive_spans, &now.positive_buckets).collect();
    let before_counts: Vec<_> = indexed(&before.positive_spans, &before.positive_buckets).collect();
    if now.custom_values == before.custom_values {
        return falls(&before_counts, &now_counts);
    }
    let shared = shared_bounds(&now.custom_values, &before.custom_values);
    falls(
        &fold_counts(&before_counts, mapping(&before.custom_values, &shared)),
        &fold_counts(&now_counts, mapping(&now.custom_values, &shared)),
    )
}

/// Is any count lower than before, or gone?
fn falls(before: &[(i32, f64)], now: &[(i32, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|&(index, count)| {
        while now.next_if(|n| n.0 < index).is_some() {}
        match now.peek() {
            Some(n) if n.0 == index => n.1 < count,
            _ => count != 0.0,
        }
    })
}

/// Equal in layout and in the bits of all numbers; empty spans and hints do not matter.
pub fn equals(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let same = |x: f64, y: f64| x.to_bits() == y.to_bits();
    let same_buckets = |sa: &[BucketSpan], ca: &[f64], sb: &[BucketSpan], cb: &[f64]| {
        ca.len() == cb.len()
            && indexed(sa, ca)
                .zip(indexed(sb, cb))
                .all(|((i, x), (j, y))| i == j && same(x, y))
    };
    a.schema == b.schema
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && (!is_custom(a) || a.custom_values == b.custom_values)
        && a.zero_threshold == b.zero_threshold
        && same(a.zero_count, b.zero_count)
        && same_buckets(
            &a.negative_spans,
            &a.negative_buckets,
            &b.negative_spans,
            &b.negative_buckets,
        )
        && same_buckets(
            &a.positive_spans,
            &a.positive_buckets,
            &b.positive_spans,
            &b.positive_buckets,
        )
}
