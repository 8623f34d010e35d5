//! Histograms of OpenTelemetry as native histograms.
//!
//! Promise: exponential buckets of a finer scale than ours are added up to the finest one that we have; a bucket that counts nothing costs nothing
//! but where the gap between two others is small. Not here: explicit buckets as series of their own (`translate`).

use super::model::{Buckets, ExponentialPoint, HistogramPoint};
use storage_engine::model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, FloatHistogram, STALE_NAN_BITS,
};

/// The coarsest scale.
const SCALE_MIN: i32 = -4;
/// Width of the zero bucket; the protocol's own is not looked at, as in Prometheus.
const ZERO_THRESHOLD: f64 = 1e-128;
/// A gap of more buckets begins a new span.
const GAP_MAX: i64 = 2;
/// Bit of a point's flags: there is no value.
const NO_VALUE: u32 = 1;

/// Says a point that there is no value any more?
pub(super) fn is_stale(flags: u32) -> bool {
    flags & NO_VALUE != 0
}

/// A histogram with exponential buckets, or why there is none.
pub(super) fn exponential(point: &ExponentialPoint<'_>) -> Result<FloatHistogram, String> {
    if point.scale < SCALE_MIN {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= {SCALE_MIN}, was {}",
            point.scale
        ));
    }
    let down = (point.scale - EXPONENTIAL_SCHEMA_MAX).max(0);
    let mut out = FloatHistogram {
        schema: point.scale - down,
        zero_threshold: ZERO_THRESHOLD,
        zero_count: point.zero_count as f64,
        integer: true,
        ..FloatHistogram::default()
    };
    let layout = |side: &Buckets| {
        let index = |i: usize| shifted(i64::from(side.offset) + i as i64, down) + 1;
        spans(
            side.bucket_counts
                .iter()
                .enumerate()
                .map(|(i, n)| (index(i), *n)),
        )
    };
    (out.positive_spans, out.positive_buckets) = layout(&point.positive)?;
    (out.negative_spans, out.negative_buckets) = layout(&point.negative)?;
    count(&mut out, point.flags, point.sum, point.count);
    Ok(out)
}

/// A histogram with the bounds that the sender chose, or why there is none.
pub(super) fn custom(point: &HistogramPoint<'_>) -> Result<FloatHistogram, String> {
    let mut out = FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        custom_values: point.explicit_bounds.clone(),
        integer: true,
        ..FloatHistogram::default()
    };
    let buckets = point.bucket_counts.iter().enumerate();
    (out.positive_spans, out.positive_buckets) = spans(buckets.map(|(i, n)| (i as i64, *n)))?;
    count(&mut out, point.flags, point.sum, point.count);
    Ok(out)
}

fn count(out: &mut FloatHistogram, flags: u32, sum: Option<f64>, count: u64) {
    if is_stale(flags) {
        *out = FloatHistogram {
            sum: f64::from_bits(STALE_NAN_BITS),
            integer: true,
            ..FloatHistogram::default()
        };
        return;
    }
    out.sum = sum.unwrap_or_default();
    out.count = count as f64;
}

fn shifted(index: i64, down: i32) -> i64 {
    index >> down.min(62)
}

/// Where the buckets that count something are, and what they count. Buckets of one index are added up; indices ascend.
fn spans(buckets: impl Iterator<Item = (i64, u64)>) -> Result<(Vec<BucketSpan>, Vec<f64>), String> {
    let (mut spans, mut counts): (Vec<BucketSpan>, Vec<f64>) = (Vec::new(), Vec::new());
    // Index behind the last bucket.
    let mut next = 0_i64;
    for (index, count) in buckets.filter(|(_, count)| *count > 0) {
        if let Some(last) = counts.last_mut().filter(|_| index + 1 == next) {
            *last += count as f64;
            continue;
        }
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                span.length += gap as u32 + 1;
                counts.extend(std::iter::repeat_n(0.0, gap as usize));
            }
            _ => spans.push(BucketSpan {
                offset: i32::try_from(gap)
                    .map_err(|_| format!("bucket index {index} is out of range"))?,
                length: 1,
            }),
        }
        counts.push(count as f64);
        next = index + 1;
    }
    Ok((spans, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(scale: i32, offset: i32, counts: &[u64]) -> ExponentialPoint<'static> {
        ExponentialPoint {
            scale,
            count: counts.iter().sum(),
            sum: Some(1.5),
            positive: Buckets {
                offset,
                bucket_counts: counts.to_vec(),
            },
            ..ExponentialPoint::default()
        }
    }

    fn layout(h: &FloatHistogram) -> (Vec<(i32, u32)>, Vec<f64>) {
        let spans = h.positive_spans.iter().map(|s| (s.offset, s.length));
        (spans.collect(), h.positive_buckets.clone())
    }

    #[test]
    fn dense_buckets_become_spans() {
        let h = exponential(&point(1, -2, &[1, 2, 0, 3])).unwrap();
        assert!(h.validate().is_ok());
        assert_eq!(layout(&h), (vec![(-1, 4)], vec![1.0, 2.0, 0.0, 3.0]));
        let h = exponential(&point(0, 3, &[5, 0, 0, 0, 7])).unwrap();
        assert_eq!(layout(&h), (vec![(4, 1), (3, 1)], vec![5.0, 7.0]));
        assert_eq!(
            layout(&exponential(&point(0, 3, &[0, 0])).unwrap()),
            (vec![], vec![])
        );
    }

    #[test]
    fn a_finer_scale_is_made_coarser() {
        // Two steps down: four neighbours are one.
        let h = exponential(&point(10, -3, &[1, 1, 1, 1, 1, 1])).unwrap();
        assert_eq!(h.schema, 8);
        assert_eq!(layout(&h), (vec![(0, 2)], vec![3.0, 3.0]));
        assert!(exponential(&point(-5, 0, &[1])).is_err());
    }

    #[test]
    fn bounds_are_kept_and_staleness_too() {
        let mut point = HistogramPoint {
            count: 3,
            bucket_counts: vec![0, 1, 2],
            explicit_bounds: vec![1.0, 2.0],
            ..HistogramPoint::default()
        };
        let h = custom(&point).unwrap();
        assert!(h.validate().is_ok());
        assert_eq!(layout(&h), (vec![(1, 2)], vec![1.0, 2.0]));
        point.flags = 1;
        assert_eq!(custom(&point).unwrap().sum.to_bits(), STALE_NAN_BITS);
    }
}
