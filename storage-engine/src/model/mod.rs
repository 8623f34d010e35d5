//! The words everything else is said in: labels, matchers, sample columns, references.
//!
//! Promise: plain values, no I/O, no clock, no threads. Every other room and crate may use them.

mod duration;
mod exemplar;
mod histogram;
mod labels;
mod matcher;
mod re2;
mod sample;

pub use duration::{DurationError, format_duration_ms, parse_duration_ms};
pub use exemplar::{EXEMPLAR_LABEL_RUNES_MAX, Exemplar};
pub(crate) use histogram::indexed_buckets;
pub use histogram::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMA_MAX,
    EXPONENTIAL_SCHEMA_MAX_RESERVED, EXPONENTIAL_SCHEMA_MIN, FloatHistogram, HistogramError,
};
pub use labels::{LabelIter, Labels, LabelsBuilder, LabelsError, METRIC_NAME, hash_without};
pub(crate) use matcher::ValueTest;
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use re2::{
    Re2Error, translate as translate_re2, translate_unanchored as translate_re2_unanchored,
    translate_within as translate_re2_within,
};
pub use sample::{
    STALE_NAN_BITS, SampleColumns, SeriesRef, SeriesSamples, ShardId, TimestampMs, is_stale_nan,
};
