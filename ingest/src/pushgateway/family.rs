//! What a body says, in the body's own bytes where they can be kept: families, metrics, labels, values.

use super::message::{self, put_bytes, put_double, put_varint};
use std::borrow::Cow;
use std::ops::Range;

/// The type of a family, numbered as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `counter`
    Counter = 0,
    /// `gauge`
    Gauge = 1,
    /// `summary`
    Summary = 2,
    /// `untyped`
    Untyped = 3,
    /// `histogram`
    Histogram = 4,
    /// `gauge_histogram`
    GaugeHistogram = 5,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::Counter,
        Kind::Gauge,
        Kind::Summary,
        Kind::Untyped,
        Kind::Histogram,
        Kind::GaugeHistogram,
    ];

    /// The type of that number.
    pub(super) fn from_number(number: u64) -> Option<Kind> {
        Kind::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The type of that name, in any case.
    pub(super) fn from_name(name: &[u8]) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()))
    }

    /// The name in protobuf: `COUNTER`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "COUNTER",
            Kind::Gauge => "GAUGE",
            Kind::Summary => "SUMMARY",
            Kind::Untyped => "UNTYPED",
            Kind::Histogram => "HISTOGRAM",
            Kind::GaugeHistogram => "GAUGE_HISTOGRAM",
        }
    }

    /// The name in a text page. (The text format has no gauge histograms.)
    pub(super) fn text_name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Untyped => "untyped",
            Kind::Histogram | Kind::GaugeHistogram => "histogram",
        }
    }

    /// The field of a `Metric` message that holds its value; none is asked of gauge histograms, as the Pushgateway asks none.
    pub(super) fn value_field(self) -> Option<u32> {
        match self {
            Kind::Gauge => Some(message::METRIC_GAUGE),
            Kind::Counter => Some(message::METRIC_COUNTER),
            Kind::Summary => Some(message::METRIC_SUMMARY),
            Kind::Untyped => Some(message::METRIC_UNTYPED),
            Kind::Histogram => Some(message::METRIC_HISTOGRAM),
            Kind::GaugeHistogram => None,
        }
    }
}

/// One label of a metric as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
}

/// One metric as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric<'a> {
    /// Its labels among those of the push.
    pub(super) labels: Range<usize>,
    pub(super) has_timestamp: bool,
    pub(super) value: Value<'a>,
}

/// The value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// A number, in this field of the `Metric` message.
    Number(u32, f64),
    Summary(Box<SummaryValue>),
    Histogram(Box<HistogramValue>),
    /// Value fields of a `Metric` message as they came, checked: number and content.
    Fields(Vec<(u32, &'a [u8])>),
}

/// A summary put together from lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SummaryValue {
    pub(super) count: Option<u64>,
    pub(super) sum: Option<f64>,
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// A classic histogram put together from lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HistogramValue {
    pub(super) count: Option<u64>,
    pub(super) sum: Option<f64>,
    /// Upper bound and cumulative count.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Value<'_> {
    /// Is there a value in this field of the message?
    pub(super) fn has_field(&self, field: u32) -> bool {
        match self {
            Value::Number(own, _) => *own == field,
            Value::Summary(_) => field == message::METRIC_SUMMARY,
            Value::Histogram(_) => field == message::METRIC_HISTOGRAM,
            Value::Fields(fields) => fields.iter().any(|(own, _)| *own == field),
        }
    }

    /// Appends the value's fields of a `Metric` message.
    pub(super) fn encode(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        scratch.clear();
        match self {
            Value::Number(field, value) => {
                put_double(scratch, 1, *value);
                put_bytes(out, *field, scratch);
            }
            Value::Summary(summary) => {
                summary.encode(scratch);
                put_bytes(out, message::METRIC_SUMMARY, scratch);
            }
            Value::Histogram(histogram) => {
                histogram.encode(scratch);
                put_bytes(out, message::METRIC_HISTOGRAM, scratch);
            }
            Value::Fields(fields) => {
                for (field, content) in fields {
                    put_bytes(out, *field, content);
                }
            }
        }
    }
}

impl SummaryValue {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(count) = self.count {
            put_varint(out, 1, count);
        }
        if let Some(sum) = self.sum {
            put_double(out, 2, sum);
        }
        let mut quantile = Vec::with_capacity(18);
        for (rank, value) in &self.quantiles {
            quantile.clear();
            put_double(&mut quantile, 1, *rank);
            put_double(&mut quantile, 2, *value);
            put_bytes(out, 3, &quantile);
        }
    }
}

impl HistogramValue {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(count) = self.count {
            put_varint(out, 1, count);
        }
        if let Some(sum) = self.sum {
            put_double(out, 2, sum);
        }
        let mut bucket = Vec::with_capacity(20);
        for (bound, count) in &self.buckets {
            bucket.clear();
            put_varint(&mut bucket, 1, *count);
            put_double(&mut bucket, 2, *bound);
            put_bytes(out, 3, &bucket);
        }
    }
}

/// One family as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) help: Option<Cow<'a, str>>,
    pub(super) kind: Option<Kind>,
    pub(super) metrics: Vec<Metric<'a>>,
}

/// A body as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parsed<'a> {
    pub(super) families: Vec<Family<'a>>,
    pub(super) labels: Vec<Label<'a>>,
}
