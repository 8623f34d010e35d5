//! Validation texts, resolution, staleness.

use super::*;

fn spans(all: &[(i32, u32)]) -> Vec<BucketSpan> {
    all.iter()
        .map(|&(offset, length)| BucketSpan { offset, length })
        .collect()
}

fn valid() -> FloatHistogram {
    FloatHistogram {
        schema: 0,
        zero_threshold: 0.01,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.4,
        positive_spans: spans(&[(0, 2), (1, 1)]),
        positive_buckets: vec![1.0, 2.0, 3.0],
        negative_spans: spans(&[(-3, 1)]),
        negative_buckets: vec![4.0],
        integer: true,
        ..FloatHistogram::default()
    }
}

fn custom() -> FloatHistogram {
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 6.0,
        sum: 9.0,
        positive_spans: spans(&[(0, 1), (1, 2)]),
        positive_buckets: vec![1.0, 2.0, 3.0],
        custom_values: vec![0.5, 1.0, 2.5],
        integer: true,
        ..FloatHistogram::default()
    }
}

#[test]
fn what_is_wrong_is_said_as_prometheus_says_it() {
    let check =
        |mut histogram: FloatHistogram, change: &dyn Fn(&mut FloatHistogram), text: &str| {
            assert_eq!(histogram.validate(), Ok(()));
            change(&mut histogram);
            let error = histogram.validate().expect_err(text);
            assert_eq!(error.to_string(), text);
        };
    check(
        valid(),
        &|h| h.count = 13.0,
        "12 observations found in buckets, but the Count field is 13: histogram's observation count should equal the \
         number of observations found in the buckets (in absence of NaN)",
    );
    let nan = FloatHistogram {
        sum: f64::NAN,
        count: 13.0,
        ..valid()
    };
    check(
        nan,
        &|h| h.count = 11.0,
        "12 observations found in buckets, but the Count field is 11: histogram's observation count should be at least \
         the number of observations found in the buckets",
    );
    check(
        valid(),
        &|h| h.positive_buckets[1] = -1.0,
        "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation count is \
         negative",
    );
    check(
        valid(),
        &|h| h.positive_spans[1].offset = -1,
        "positive side: span number 2 with offset -1: histogram has a span whose offset is negative",
    );
    check(
        valid(),
        &|h| h.negative_buckets.push(1.0),
        "negative side: spans need 1 buckets, have 2 buckets: histogram spans specify different number of buckets than \
         provided",
    );
    check(
        valid(),
        &|h| h.custom_values.push(1.0),
        "histogram with exponential schema must not have custom bounds",
    );
    for schema in [-5, 9, -52] {
        let text = format!(
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom \
             buckets, got schema {schema}"
        );
        check(valid(), &|h| h.schema = schema, &text);
    }
    check(
        custom(),
        &|h| h.custom_values[2] = 1.0,
        "custom buckets: previous bound is 1.000000 and current is 1.000000: histogram custom bounds must be in strictly \
         increasing order",
    );
    check(
        custom(),
        &|h| h.custom_values[2] = f64::INFINITY,
        "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite",
    );
    check(
        custom(),
        &|h| h.custom_values.truncate(2),
        "custom buckets: only 2 custom bounds defined which is insufficient to cover total span length of 4: histogram \
         custom bounds are too few",
    );
    check(
        custom(),
        &|h| h.positive_spans[0].offset = -1,
        "custom buckets: span number 1 with offset -1: histogram has a span whose offset is negative",
    );
    check(
        custom(),
        &|h| h.zero_count = 1.0,
        "custom buckets: must have zero count of 0",
    );
    check(
        custom(),
        &|h| h.negative_spans = spans(&[(0, 1)]),
        "custom buckets: must not have negative spans",
    );
}

#[test]
fn floats_need_not_add_up_and_staleness_needs_nothing() {
    let mut histogram = FloatHistogram {
        integer: false,
        count: 100.0,
        ..valid()
    };
    assert_eq!(histogram.validate(), Ok(()));
    histogram.positive_buckets[0] = f64::NAN;
    assert_eq!(histogram.validate(), Ok(()));
    assert!(!histogram.is_stale());
    assert!(histogram.same_bits(&histogram.clone()));
    assert_ne!(histogram, histogram.clone(), "NaN is not NaN");
    let stale = FloatHistogram::stale(true);
    assert!(stale.is_stale() && stale.validate().is_ok());
    assert!(!stale.same_bits(&histogram));
    let other = FloatHistogram {
        count: 5.0,
        ..stale.clone()
    };
    assert!(stale.same_bits(&other));
    let counts_beyond_floats = FloatHistogram {
        count: 9_007_199_254_740_994.0,
        zero_count: 9_007_199_254_740_984.0,
        ..valid()
    };
    assert_eq!(counts_beyond_floats.validate(), Ok(()));
}

#[test]
fn finer_schemas_become_the_finest_of_ours() {
    let mut histogram = FloatHistogram {
        schema: 10,
        // Indexes -4 to 1, 9 and 10: four of the old ones make one new.
        positive_spans: spans(&[(-4, 6), (7, 2)]),
        positive_buckets: vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0],
        negative_spans: Vec::new(),
        negative_buckets: Vec::new(),
        zero_count: 1.0,
        count: 256.0,
        ..valid()
    };
    histogram.limit_resolution().unwrap();
    assert_eq!(histogram.schema, 8);
    assert_eq!(histogram.positive_spans, spans(&[(-1, 3), (1, 1)]));
    assert_eq!(histogram.positive_buckets, [1.0, 30.0, 32.0, 192.0]);
    assert_eq!(histogram.validate(), Ok(()));
    let before = histogram.clone();
    histogram.limit_resolution().unwrap();
    assert_eq!(histogram, before);
    histogram.schema = 52;
    histogram.positive_buckets.pop();
    assert!(matches!(
        histogram.limit_resolution(),
        Err(HistogramError::SpansBucketsMismatch { .. })
    ));
}
