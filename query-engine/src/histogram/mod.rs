//! The algebra of native histograms: layouts, sums, counter resets, estimates, trimming.
//!
//! Promise: the results are Prometheus's, down to the order of additions; operands are never changed. Bucket counts are absolute floats.
//! Not here: rows and operators (`eval`), range functions (`kernels`), reading and storing.

mod classic;
mod estimate;
mod layout;
mod reset;
mod sum;
mod text;
mod trim;

pub use classic::ClassicHistogram;
pub use estimate::{NanObservations, average, fraction, quantile, variance};
pub use layout::{Bucket, all_buckets, compact, divide, is_custom, scale};
pub use reset::{counts_fall, detect_reset, equals};
pub use storage_engine::model::{BucketSpan, CounterResetHint, FloatHistogram};
pub use sum::{HistogramMean, HistogramSum, IncompatibleBuckets, Merged, to_schema};
pub use text::go_text;
pub use trim::{Side, trim};

/// Schema number of histograms with custom bucket bounds.
const CUSTOM_SCHEMA: i32 = -53;

/// How many float samples a histogram counts for, as Prometheus counts its size in memory.
pub fn sample_size(histogram: &FloatHistogram) -> usize {
    const STRUCT_BYTES: usize = 168;
    const SAMPLE_BYTES: usize = 16;
    const TIME_BYTES: usize = 8;
    let slices = histogram.positive_spans.len()
        + histogram.negative_spans.len()
        + histogram.positive_buckets.len()
        + histogram.negative_buckets.len()
        + histogram.custom_values.len();
    (STRUCT_BYTES + TIME_BYTES + slices * 8) / SAMPLE_BYTES
}

#[cfg(test)]
mod tests;
