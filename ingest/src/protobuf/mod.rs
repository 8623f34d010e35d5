//! Pages of metrics in protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! `read_page` walks a page and hands out metadata and samples one by one, as a text page would give them: a classic histogram is its
//! `_count`, `_sum` and `_bucket` series, a summary its quantiles. A histogram with native buckets is one native sample, its
//! classic series besides only where they are asked for.
//!
//! Promise: equal metrics give equal series, values and timestamps as their text page does. Bytes in, entries out; no I/O, no clock.
//! Not here: which samples are stored (the scrape loop).

mod family;
mod histogram;
mod key;
mod metric;

pub(crate) use family::read_page;
pub(crate) use histogram::native_histogram;
pub(crate) use key::labels_of_key;

use crate::text::MetricType;
use crate::wire::WireError;
use std::sync::Arc;
use storage_engine::model::{Exemplar, FloatHistogram, HistogramError, TimestampMs};

/// What to read of histograms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadOptions {
    /// Native buckets; without it a histogram is read as a classic one.
    pub(crate) native_histograms: bool,
    /// The classic series of a histogram that has native buckets, too.
    pub(crate) classic_histograms: bool,
}

/// What a page says about a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FamilyMetadata<'p> {
    pub(crate) name: &'p str,
    pub(crate) metric_type: MetricType,
    pub(crate) help: &'p str,
    pub(crate) unit: &'p str,
}

/// The value of a sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FoundValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// One sample of a page.
#[derive(Debug, Clone)]
pub(crate) struct FoundSample<'p> {
    /// Name and labels in a form that [`labels_of_key`] reads: equal bytes are an equal series.
    pub(crate) key: &'p [u8],
    pub(crate) value: FoundValue,
    /// Milliseconds, when the target sent a timestamp.
    pub(crate) timestamp: Option<TimestampMs>,
    /// Since when the metric counts; 0 when not known.
    pub(crate) start: TimestampMs,
    /// Ascending by time, value, labels. Those of a native histogram all have a timestamp.
    pub(crate) exemplars: &'p [Exemplar],
}

/// Takes what a page has.
pub(crate) trait PageSink {
    /// Why the rest of the page is not wanted.
    type Error: From<PageError>;

    fn family(&mut self, metadata: FamilyMetadata<'_>);
    fn sample(&mut self, sample: &FoundSample<'_>) -> Result<(), Self::Error>;
}

/// Why a page is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PageError {
    /// Not the messages that they should be.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// A family without a name, or one that is not UTF-8.
    #[error("invalid metric name: {0}")]
    Name(String),
    /// A help text that is not UTF-8.
    #[error("invalid help for metric {name:?}: {help}")]
    Help { name: String, help: String },
    /// A number of a type that does not exist.
    #[error("unknown metric type for metric {name:?}: {number}")]
    MetricType { name: String, number: u64 },
    /// A unit that the metric's name does not end with.
    #[error("unit {unit:?} not a suffix of {what} {name:?}")]
    UnitSuffix {
        unit: String,
        what: &'static str,
        name: String,
    },
    /// A label name that is empty or not UTF-8.
    #[error("invalid label name: {0}")]
    LabelName(String),
    /// A native histogram that breaks a rule.
    #[error("{0}")]
    Histogram(HistogramError),
    /// A label value that is not UTF-8.
    #[error("invalid label value: {0}")]
    LabelValue(String),
}

#[cfg(test)]
mod tests;
