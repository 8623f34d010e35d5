//! What a job allows of native histograms: a least growth of buckets, a most number of them.
//!
//! Promise: Prometheus's own reductions, in its order. Pure.

use super::config::ScrapeConfig;
use storage_engine::model::{
    EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, FloatHistogram, HistogramError,
};

/// What stops a histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NativeLimit {
    /// More buckets than allowed, and it cannot be made coarser.
    Buckets,
    /// Spans and buckets do not fit.
    Invalid(HistogramError),
}

/// Makes a histogram as coarse as the job wants it.
pub(super) fn fit(
    histogram: &mut FloatHistogram,
    config: &ScrapeConfig,
) -> Result<(), NativeLimit> {
    if histogram.is_stale() {
        return Ok(());
    }
    let schema_max = schema_of_factor(config.native_histogram_min_bucket_factor);
    let exponential = !histogram.has_custom_buckets();
    if exponential && histogram.schema > schema_max {
        let reduced = histogram.reduce_resolution(schema_max);
        reduced.map_err(NativeLimit::Invalid)?;
    }
    let limit = config.native_histogram_bucket_limit;
    let buckets = |h: &FloatHistogram| (h.positive_buckets.len() + h.negative_buckets.len()) as u64;
    while limit > 0 && buckets(histogram) > limit {
        if !exponential || histogram.schema <= EXPONENTIAL_SCHEMA_MIN {
            return Err(NativeLimit::Buckets);
        }
        let reduced = histogram.reduce_resolution(histogram.schema - 1);
        reduced.map_err(NativeLimit::Invalid)?;
    }
    Ok(())
}

/// The finest schema whose buckets grow by this factor at least.
fn schema_of_factor(factor: f64) -> i32 {
    if factor <= 1.0 {
        return EXPONENTIAL_SCHEMA_MAX;
    }
    let finest = (-factor.log2().log2()).floor();
    let bounds = (
        f64::from(EXPONENTIAL_SCHEMA_MIN),
        f64::from(EXPONENTIAL_SCHEMA_MAX),
    );
    finest.clamp(bounds.0, bounds.1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_engine::model::BucketSpan;

    #[test]
    fn factors_choose_schemas_as_prometheus_does() {
        for (factor, schema) in [
            (0.0, 8),
            (1.0, 8),
            (1.00271, 8),
            (1.0028, 7),
            (1.1, 2),
            (1.5, 0),
            (2.0, 0),
            (4.0, -1),
            (65536.0, -4),
            (1e300, -4),
        ] {
            assert_eq!(schema_of_factor(factor), schema, "{factor}");
        }
    }

    #[test]
    fn histograms_are_made_coarser_until_they_fit() {
        let many = FloatHistogram {
            schema: 3,
            positive_spans: vec![BucketSpan {
                offset: 1,
                length: 8,
            }],
            positive_buckets: vec![1.0; 8],
            ..FloatHistogram::default()
        };
        let fitted = |limit, factor| {
            let config = ScrapeConfig {
                native_histogram_bucket_limit: limit,
                native_histogram_min_bucket_factor: factor,
                ..ScrapeConfig::new("j")
            };
            let mut histogram = many.clone();
            fit(&mut histogram, &config).map(|()| (histogram.schema, histogram.positive_buckets))
        };
        assert_eq!(fitted(0, 0.0), Ok((3, vec![1.0; 8])));
        assert_eq!(fitted(8, 0.0), Ok((3, vec![1.0; 8])));
        assert_eq!(fitted(7, 0.0), Ok((2, vec![2.0; 4])));
        assert_eq!(fitted(1, 0.0), Ok((0, vec![8.0])));
        assert_eq!(fitted(0, 1.4), Ok((1, vec![4.0, 4.0])));
        let custom = FloatHistogram {
            schema: storage_engine::model::CUSTOM_BUCKETS_SCHEMA,
            ..many.clone()
        };
        let config = ScrapeConfig {
            native_histogram_bucket_limit: 7,
            ..ScrapeConfig::new("j")
        };
        assert_eq!(fit(&mut custom.clone(), &config), Err(NativeLimit::Buckets));
    }
}
