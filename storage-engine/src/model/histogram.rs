//! Native histograms: one sample as a value, and the rules that Prometheus has for a valid one.
//!
//! Promise: integer and float histograms have one form here, with absolute bucket counts; error texts are
//! Prometheus's (`model/histogram`). Not here: arithmetic and quantiles (the query engine), wire formats, storage.

mod reduce;

use super::{STALE_NAN_BITS, is_stale_nan};
use crate::limits::HISTOGRAM_PARTS_MAX;

/// Schema number of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// Coarsest exponential schema.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/// Finest exponential schema.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;
/// Finest exponential schema of other systems; those above [`EXPONENTIAL_SCHEMA_MAX`] are made coarser.
pub const EXPONENTIAL_SCHEMA_MAX_RESERVED: i32 = 52;
/// Whole numbers up to here are exact in a float; counts of integer histograms above it are rounded.
const EXACT_COUNT_MAX: f64 = (1_u64 << 53) as f64;

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing: compare the two.
    #[default]
    Unknown,
    /// The counter was reset before this histogram.
    CounterReset,
    /// The counter went on.
    NotCounterReset,
    /// A gauge: there are no resets.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Gap to the end of the span before; for the first one the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// One native histogram sample.
///
/// `==` compares the numbers as floats do (NaN is unequal to itself); [`FloatHistogram::same_bits`] compares bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FloatHistogram {
    /// Reset between the histogram before and this one.
    pub counter_reset_hint: CounterResetHint,
    /// -4 to 8: base `2^(2^-schema)`; [`CUSTOM_BUCKETS_SCHEMA`]: the bounds are `custom_values`.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN included.
    pub count: f64,
    /// Sum of the observations.
    pub sum: f64,
    /// Where the positive buckets are.
    pub positive_spans: Vec<BucketSpan>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<BucketSpan>,
    /// Absolute counts of the positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Absolute counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, without the last, infinite one.
    pub custom_values: Vec<f64>,
    /// It came as an integer histogram.
    pub integer: bool,
}

/// Why a histogram is not stored. Texts are Prometheus's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// Fewer or more observations in the buckets than counted.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should \
         equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// Observations in all buckets.
        buckets: f64,
        /// The count field.
        count: f64,
    },
    /// More observations in the buckets than counted, although NaN observations may be missing from them.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should \
         be at least the number of observations found in the buckets"
    )]
    CountNotBigEnough {
        /// Observations in all buckets.
        buckets: f64,
        /// The count field.
        count: f64,
    },
    /// A bucket below zero.
    #[error(
        "{side} side: bucket number {number} has observation count of {count}: histogram has a bucket whose observation \
         count is negative"
    )]
    NegativeBucketCount {
        /// `positive` or `negative`.
        side: &'static str,
        /// Counted from one.
        number: usize,
        /// Its count.
        count: f64,
    },
    /// A span that goes backwards.
    #[error(
        "{part}: span number {number} with offset {offset}: histogram has a span whose offset is negative"
    )]
    NegativeSpanOffset {
        /// `positive side`, `negative side` or `custom buckets`.
        part: &'static str,
        /// Counted from one.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans and buckets do not fit together.
    #[error(
        "{part}: spans need {needed} buckets, have {got} buckets: histogram spans specify different number of buckets \
         than provided"
    )]
    SpansBucketsMismatch {
        /// `positive side`, `negative side` or `custom buckets`.
        part: &'static str,
        /// Buckets of the spans.
        needed: u64,
        /// Buckets that came.
        got: usize,
    },
    /// Spans that reach beyond the bounds.
    #[error(
        "custom buckets: only {bounds} custom bounds defined which is insufficient to cover total span length of \
         {length}: histogram custom bounds are too few"
    )]
    CustomBoundsTooFew {
        /// Bounds that came.
        bounds: usize,
        /// Buckets and gaps of the spans.
        length: u64,
    },
    /// Bounds out of order.
    #[error(
        "custom buckets: previous bound is {previous:.6} and current is {current:.6}: histogram custom bounds must be in \
         strictly increasing order"
    )]
    CustomBoundsOrder {
        /// The bound before.
        previous: f64,
        /// The bound that is not above it.
        current: f64,
    },
    /// A bound that is NaN.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    CustomBoundNaN,
    /// The last bound, which goes without saying.
    #[error(
        "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite"
    )]
    CustomBoundInfinite,
    /// A zero bucket beside custom buckets.
    #[error("custom buckets: must have zero count of 0")]
    CustomZeroCount,
    /// A zero bucket beside custom buckets.
    #[error("custom buckets: must have zero threshold of 0")]
    CustomZeroThreshold,
    /// Negative spans beside custom buckets.
    #[error("custom buckets: must not have negative spans")]
    CustomNegativeSpans,
    /// Negative buckets beside custom buckets.
    #[error("custom buckets: must not have negative buckets")]
    CustomNegativeBuckets,
    /// Bounds beside an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialCustomBounds,
    /// Beyond [`HISTOGRAM_PARTS_MAX`].
    #[error(
        "histogram has {parts} spans, buckets and custom bounds, more than {HISTOGRAM_PARTS_MAX}"
    )]
    TooLarge {
        /// Spans, buckets and bounds.
        parts: usize,
    },
    /// A schema that does not exist.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom \
         buckets, got schema {schema}"
    )]
    InvalidSchema {
        /// The schema.
        schema: i32,
    },
}

impl FloatHistogram {
    /// The sample that says that a histogram series has ended.
    pub fn stale(integer: bool) -> FloatHistogram {
        FloatHistogram {
            sum: f64::from_bits(STALE_NAN_BITS),
            integer,
            ..FloatHistogram::default()
        }
    }

    /// True only for the staleness marker.
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum)
    }

    /// Are the bounds given, not exponential?
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Equal bit for bit in all that was observed, the reset hint aside; two staleness markers are the same.
    pub fn same_bits(&self, other: &FloatHistogram) -> bool {
        let same = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        if self.integer != other.integer {
            return false;
        }
        if self.is_stale() || other.is_stale() {
            return self.is_stale() && other.is_stale();
        }
        self.schema == other.schema
            && same(
                &[self.zero_threshold, self.zero_count, self.count, self.sum],
                &[
                    other.zero_threshold,
                    other.zero_count,
                    other.count,
                    other.sum,
                ],
            )
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && same(&self.positive_buckets, &other.positive_buckets)
            && same(&self.negative_buckets, &other.negative_buckets)
            && same(&self.custom_values, &other.custom_values)
    }

    /// Spans, buckets and custom bounds together.
    pub fn part_count(&self) -> usize {
        self.positive_spans.len()
            + self.negative_spans.len()
            + self.positive_buckets.len()
            + self.negative_buckets.len()
            + self.custom_values.len()
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        (self.positive_spans.capacity() + self.negative_spans.capacity()) * size_of::<BucketSpan>()
            + (self.positive_buckets.capacity()
                + self.negative_buckets.capacity()
                + self.custom_values.capacity())
                * size_of::<f64>()
    }

    /// May it be stored? A staleness marker always may.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let parts = self.part_count();
        if parts > HISTOGRAM_PARTS_MAX {
            return Err(HistogramError::TooLarge { parts });
        }
        if self.is_stale() {
            return Ok(());
        }
        let mut observations = 0.0;
        if self.has_custom_buckets() {
            self.check_custom()?;
        } else if (EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX).contains(&self.schema) {
            check_spans(
                "positive side",
                &self.positive_spans,
                self.positive_buckets.len(),
            )?;
            check_spans(
                "negative side",
                &self.negative_spans,
                self.negative_buckets.len(),
            )?;
            observations += check_buckets("negative", &self.negative_buckets)?;
            if !self.custom_values.is_empty() {
                return Err(HistogramError::ExponentialCustomBounds);
            }
        } else {
            return Err(HistogramError::InvalidSchema {
                schema: self.schema,
            });
        }
        observations += check_buckets("positive", &self.positive_buckets)?;
        // Sums of floats are not exact, so Prometheus compares counts of integer histograms only.
        if self.integer {
            self.check_count(observations + self.zero_count)?;
        }
        Ok(())
    }

    fn check_count(&self, buckets: f64) -> Result<(), HistogramError> {
        let count = self.count;
        if buckets.max(count) > EXACT_COUNT_MAX
            && (buckets - count).abs() <= buckets.max(count) * 1e-12
        {
            return Ok(());
        }
        if self.sum.is_nan() {
            if buckets > count {
                return Err(HistogramError::CountNotBigEnough { buckets, count });
            }
        } else if buckets != count {
            return Err(HistogramError::CountMismatch { buckets, count });
        }
        Ok(())
    }

    fn check_custom(&self) -> Result<(), HistogramError> {
        let mut previous = f64::NEG_INFINITY;
        for &current in &self.custom_values {
            if current.is_nan() {
                return Err(HistogramError::CustomBoundNaN);
            }
            if current <= previous {
                return Err(HistogramError::CustomBoundsOrder { previous, current });
            }
            previous = current;
        }
        if previous == f64::INFINITY {
            return Err(HistogramError::CustomBoundInfinite);
        }
        let part = "custom buckets";
        let (mut needed, mut length) = (0_u64, 0_u64);
        for (i, span) in self.positive_spans.iter().enumerate() {
            let Ok(gap) = u64::try_from(span.offset) else {
                return Err(HistogramError::NegativeSpanOffset {
                    part,
                    number: i + 1,
                    offset: span.offset,
                });
            };
            needed += u64::from(span.length);
            length += u64::from(span.length) + gap;
        }
        let got = self.positive_buckets.len();
        if needed != got as u64 {
            return Err(HistogramError::SpansBucketsMismatch { part, needed, got });
        }
        let bounds = self.custom_values.len();
        if (bounds as u64) + 1 < length {
            return Err(HistogramError::CustomBoundsTooFew { bounds, length });
        }
        if self.zero_count != 0.0 {
            return Err(HistogramError::CustomZeroCount);
        }
        if self.zero_threshold != 0.0 {
            return Err(HistogramError::CustomZeroThreshold);
        }
        if !self.negative_spans.is_empty() {
            return Err(HistogramError::CustomNegativeSpans);
        }
        if !self.negative_buckets.is_empty() {
            return Err(HistogramError::CustomNegativeBuckets);
        }
        Ok(())
    }
}

/// Index and count of each bucket, in the order of the spans.
pub(crate) fn indexed_buckets<'a>(
    spans: &'a [BucketSpan],
    counts: &'a [f64],
) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut next = 0_i64;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    });
    indexes.zip(counts.iter().copied())
}

fn check_spans(
    part: &'static str,
    spans: &[BucketSpan],
    buckets: usize,
) -> Result<(), HistogramError> {
    let mut needed = 0_u64;
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(HistogramError::NegativeSpanOffset {
                part,
                number: i + 1,
                offset: span.offset,
            });
        }
        needed += u64::from(span.length);
    }
    if needed != buckets as u64 {
        return Err(HistogramError::SpansBucketsMismatch {
            part,
            needed,
            got: buckets,
        });
    }
    Ok(())
}

/// Sum of the counts.
fn check_buckets(side: &'static str, buckets: &[f64]) -> Result<f64, HistogramError> {
    let mut sum = 0.0;
    for (i, &count) in buckets.iter().enumerate() {
        if count < 0.0 {
            return Err(HistogramError::NegativeBucketCount {
                side,
                number: i + 1,
                count,
            });
        }
        sum += count;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
