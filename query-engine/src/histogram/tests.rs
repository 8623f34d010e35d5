//! Known answers of the algebra: bounds, sums, zero buckets, custom bounds, resets, estimates.

use super::layout::upper_bound;
use super::*;

/// Builds an exponential histogram of positive buckets that start at `offset`.
fn exponential(schema: i32, offset: i32, buckets: &[f64]) -> FloatHistogram {
    FloatHistogram {
        schema,
        count: buckets.iter().sum(),
        sum: 1.0,
        positive_spans: vec![BucketSpan {
            offset,
            length: buckets.len() as u32,
        }],
        positive_buckets: buckets.to_vec(),
        ..FloatHistogram::default()
    }
}

#[test]
fn bounds_have_the_published_bits() {
    let eighths = [
        0.5,
        0.5452538663326288,
        0.5946035575013605,
        0.6484197773255048,
        0.7071067811865475,
        0.7711054127039704,
        0.8408964152537144,
        0.9170040432046711,
    ];
    for (i, bound) in eighths.iter().enumerate() {
        // Index 0 of schema 3 ends at 1, the first of the next octave.
        assert_eq!(upper_bound(i as i32, 3, &[]), bound * 2.0, "{i}");
    }
    assert_eq!(upper_bound(3, 0, &[]), 8.0);
    assert_eq!(upper_bound(-1, -2, &[]), 1.0 / 16.0);
    assert_eq!(upper_bound(1024, 0, &[]), f64::MAX);
    assert_eq!(upper_bound(1025, 0, &[]), f64::INFINITY);
    assert_eq!(upper_bound(-1074, 0, &[]), f64::from_bits(1));
}

#[test]
fn sums_take_the_lower_resolution_and_differences_go_back() {
    let fine = exponential(1, 1, &[1.0, 2.0, 3.0, 4.0]);
    let coarse = exponential(0, 1, &[10.0, 20.0]);
    let mut sum = HistogramSum::new(&fine);
    assert_eq!(sum.add(&coarse), Ok(Merged::default()));
    let sum = sum.finish();
    assert_eq!(sum.schema, 0);
    assert_eq!(sum.positive_buckets, [13.0, 27.0]);
    assert_eq!(sum.count, 40.0);
    let mut rest = HistogramSum::new(&sum);
    rest.subtract(&coarse).unwrap();
    assert_eq!(rest.finish().positive_buckets, [3.0, 7.0]);
}

#[test]
fn a_wider_zero_bucket_swallows_whole_buckets() {
    let narrow = exponential(0, 0, &[1.0, 2.0, 4.0]);
    let mut wide = exponential(0, 2, &[8.0]);
    wide.zero_threshold = 1.5;
    wide.zero_count = 3.0;
    let mut sum = HistogramSum::new(&narrow);
    sum.add(&wide).unwrap();
    let sum = sum.finish();
    // 1.5 lies inside the bucket up to 2, which has observations.
    assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 6.0));
    assert_eq!(sum.positive_buckets, [12.0]);
}

#[test]
fn custom_bounds_keep_what_they_share() {
    let custom = |bounds: &[f64], counts: &[f64]| FloatHistogram {
        custom_values: bounds.to_vec(),
        ..exponential(CUSTOM_SCHEMA, 0, counts)
    };
    let mut sum = HistogramSum::new(&custom(&[1.0, 2.0, 4.0], &[1.0, 1.0, 1.0, 1.0]));
    let merged = sum
        .add(&custom(&[2.0, 3.0, 4.0], &[1.0, 1.0, 1.0, 5.0]))
        .unwrap();
    assert!(merged.bounds_reconciled);
    let sum = sum.finish();
    assert_eq!(sum.custom_values, [2.0, 4.0]);
    assert_eq!(sum.positive_buckets, [3.0, 3.0, 6.0]);
    let exponential = exponential(0, 0, &[1.0]);
    assert_eq!(
        HistogramSum::new(&sum).add(&exponential),
        Err(IncompatibleBuckets)
    );
}

#[test]
fn a_vanished_bucket_is_a_reset() {
    let before = exponential(0, 0, &[1.0, 2.0]);
    let mut now = exponential(0, 0, &[4.0, 2.0]);
    assert!(!detect_reset(&now, &before));
    now = exponential(0, 0, &[4.0]);
    assert!(detect_reset(&now, &before));
    now.counter_reset_hint = CounterResetHint::NotCounterReset;
    assert!(!detect_reset(&now, &before));
}

#[test]
fn quantiles_interpolate_on_the_logarithm() {
    let h = exponential(0, 1, &[4.0]);
    let (median, nan) = quantile(0.5, &h);
    assert!((median - 2.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!(nan, None);
    let (share, _) = fraction(1.0, 2.0_f64.sqrt(), &h);
    assert!((share - 0.5).abs() < 1e-12);
}

#[test]
fn equal_layouts_are_added_as_others_are() {
    let a = exponential(2, -1, &[0.1, 1e17, 3.0]);
    let b = exponential(2, -1, &[0.2, 1.0, 4.0]);
    // The same numbers with an empty bucket more, which takes the long way.
    let mut wider = exponential(2, -1, &[0.2, 1.0, 4.0, 0.0]);
    wider.count = b.count;
    for round in 0..3 {
        let (mut short, mut long) = (HistogramSum::new(&a), HistogramSum::new(&a));
        for _ in 0..round {
            short.add(&b).unwrap();
            long.add(&wider).unwrap();
        }
        short.subtract(&a).unwrap();
        long.subtract(&a).unwrap();
        let (short, mut long) = (short.finish(), long.finish());
        compact(&mut long);
        let mut compacted = short.clone();
        compact(&mut compacted);
        assert!(equals(&compacted, &long), "{short:?} {long:?}");
    }
}
