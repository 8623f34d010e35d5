//! Reading metrics in the form in which they are kept.

use super::message::{FAMILY_METRIC, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_LABEL, METRIC_SUMMARY};
use crate::protobuf::native_histogram;
use crate::text::go_format_g;
use crate::wire::{BYTES, FIXED64, Reader, VARINT};
use storage_engine::model::FloatHistogram;

/// A metric that was pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricView<'a> {
    /// In order of name, the group's among them.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Its value.
    pub value: ValueView,
}

/// The value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueView {
    /// Of a counter, a gauge or an untyped metric.
    Number(f64),
    /// Of a summary.
    Summary {
        /// Observations.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Rank and value.
        quantiles: Vec<(f64, f64)>,
    },
    /// Of a histogram.
    Histogram(HistogramView),
}

/// The value of a histogram.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramView {
    /// Observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// Upper bound and cumulative count of classic buckets.
    pub buckets: Vec<(f64, f64)>,
    /// The native buckets, if it has any.
    pub native: Option<FloatHistogram>,
}

/// The metrics of a family.
pub fn metrics_of(metrics: &[u8]) -> impl Iterator<Item = MetricView<'_>> {
    metric_messages(metrics).map(view)
}

/// The `Metric` messages of a family, as they are kept.
pub(super) fn metric_messages(metrics: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(metrics);
    std::iter::from_fn(move || {
        while let Ok(Some(tag)) = reader.tag("MetricFamily") {
            if tag.field == FAMILY_METRIC && tag.wire_type == BYTES {
                return reader.bytes().ok();
            }
            reader.skip(tag).ok()?;
        }
        None
    })
}

/// The part of a `Metric` message that holds its labels; they come first.
pub(super) fn label_bytes(message: &[u8]) -> &[u8] {
    let mut reader = Reader::new(message);
    let mut end = 0;
    while let Ok(Some(tag)) = reader.tag("Metric") {
        if tag.field != METRIC_LABEL || reader.skip(tag).is_err() {
            break;
        }
        end = reader.at;
    }
    message.get(..end).unwrap_or_default()
}

/// The number of a field, of whatever form.
#[derive(Debug, Clone, Copy)]
enum Number {
    Double(f64),
    Varint(u64),
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Number::Double(value) => value,
            Number::Varint(value) => value as f64,
        }
    }
}

/// Walks the fields of a message; what cannot be read ends the walk.
fn each_field<'a>(message: &'a [u8], mut on: impl FnMut(u32, Result<Number, &'a [u8]>)) {
    let mut reader = Reader::new(message);
    while let Ok(Some(tag)) = reader.tag("Metric") {
        let content = match tag.wire_type {
            VARINT => reader.varint().map(|n| Ok(Number::Varint(n))),
            FIXED64 => reader
                .fixed64()
                .map(|n| Ok(Number::Double(f64::from_bits(n)))),
            BYTES => reader.bytes().map(Err),
            _ => match reader.skip(tag) {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match content {
            Ok(content) => on(tag.field, content),
            Err(_) => return,
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn view(message: &[u8]) -> MetricView<'_> {
    let mut labels = Vec::new();
    let mut value = ValueView::Number(0.0);
    each_field(message, |field, content| match (field, content) {
        (METRIC_LABEL, Err(label)) => {
            let (mut name, mut value) = ("", "");
            each_field(label, |field, content| match (field, content) {
                (1, Err(bytes)) => name = text(bytes),
                (2, Err(bytes)) => value = text(bytes),
                _ => {}
            });
            labels.push((name, value));
        }
        (METRIC_SUMMARY, Err(content)) => value = summary(content),
        (METRIC_HISTOGRAM, Err(content)) => value = ValueView::Histogram(histogram(content)),
        (METRIC_GAUGE.., Err(content)) => {
            let mut number = 0.0;
            each_field(content, |field, content| {
                if let (1, Ok(n)) = (field, content) {
                    number = n.float();
                }
            });
            value = ValueView::Number(number);
        }
        _ => {}
    });
    MetricView { labels, value }
}

fn summary(message: &[u8]) -> ValueView {
    let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
    each_field(message, |field, content| match (field, content) {
        (1, Ok(Number::Varint(n))) => count = n,
        (2, Ok(n)) => sum = n.float(),
        (3, Err(quantile)) => {
            let (mut rank, mut value) = (0.0, 0.0);
            each_field(quantile, |field, content| match (field, content) {
                (1, Ok(n)) => rank = n.float(),
                (2, Ok(n)) => value = n.float(),
                _ => {}
            });
            quantiles.push((rank, value));
        }
        _ => {}
    });
    ValueView::Summary {
        count,
        sum,
        quantiles,
    }
}

fn histogram(message: &[u8]) -> HistogramView {
    let mut out = HistogramView::default();
    let mut count_float = 0.0;
    let mut has_spans = false;
    each_field(message, |field, content| match (field, content) {
        (1, Ok(n)) => out.count = n.float(),
        (4, Ok(n)) => count_float = n.float(),
        (2, Ok(n)) => out.sum = n.float(),
        (3, Err(bucket)) => {
            let (mut bound, mut count, mut float) = (0.0, 0.0, 0.0);
            each_field(bucket, |field, content| match (field, content) {
                (1, Ok(n)) => count = n.float(),
                (2, Ok(n)) => bound = n.float(),
                (4, Ok(n)) => float = n.float(),
                _ => {}
            });
            out.buckets
                .push((bound, if float > 0.0 { float } else { count }));
        }
        (9 | 12, Err(_)) => has_spans = true,
        _ => {}
    });
    if count_float > 0.0 {
        out.count = count_float;
    }
    if has_spans {
        out.native = native_histogram(message);
    }
    out
}

/// A float as Go prints it by default: shortest digits, an exponent below 1e-4 and from 1e6 on.
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        go_format_g(value)
    }
}
