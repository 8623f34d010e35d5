//! The `Histogram` message: classic buckets, native buckets, or both.

use super::PageError;
use super::metric::{exemplar, timestamp};
use crate::wire::{
    Reader, bucket_span, bytes, counts_of_deltas, double, double_list, signed, signed_list,
    unsigned,
};
use storage_engine::model::{
    BucketSpan, CounterResetHint, Exemplar, FloatHistogram, HistogramError, TimestampMs,
};

/// A classic bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    count: u64,
    count_float: f64,
    /// Which of the bucket exemplars is its own.
    exemplar: Option<u32>,
}

impl Bucket {
    /// The cumulative count; a float count counts unless it is zero.
    pub(super) fn count(&self) -> f64 {
        number(self.count_float, self.count)
    }
}

/// Buckets of one sign, as they come.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<BucketSpan>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn clear(&mut self) {
        self.spans.clear();
        self.deltas.clear();
        self.counts.clear();
    }

    fn buckets(&self, integer: bool) -> Vec<f64> {
        if !integer {
            return self.counts.clone();
        }
        counts_of_deltas(&self.deltas)
    }
}

/// All parts of a message.
#[derive(Debug, Default)]
pub(super) struct HistogramParts {
    count: u64,
    count_float: f64,
    pub(super) sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    pub(super) buckets: Vec<Bucket>,
    bucket_exemplars: Vec<Exemplar>,
    exemplars: Vec<Exemplar>,
}

impl HistogramParts {
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.count_float = 0.0;
        self.sum = 0.0;
        self.schema = 0;
        self.zero_threshold = 0.0;
        self.zero_count = 0;
        self.zero_count_float = 0.0;
        self.negative.clear();
        self.positive.clear();
        self.buckets.clear();
        self.bucket_exemplars.clear();
        self.exemplars.clear();
    }

    /// Observations; a float count counts unless it is zero.
    pub(super) fn count(&self) -> f64 {
        number(self.count_float, self.count)
    }

    /// Has it native buckets? A library says so for an empty one by a span of no length.
    pub(super) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    /// The native histogram without empty buckets.
    pub(super) fn native(&self, gauge: bool) -> Result<FloatHistogram, HistogramError> {
        let integer = !(self.count_float > 0.0 || self.zero_count_float > 0.0);
        let mut out = FloatHistogram {
            integer,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: if integer {
                self.zero_count as f64
            } else {
                self.zero_count_float
            },
            count: if integer {
                self.count as f64
            } else {
                self.count_float
            },
            sum: self.sum,
            positive_spans: self.positive.spans.clone(),
            negative_spans: self.negative.spans.clone(),
            positive_buckets: self.positive.buckets(integer),
            negative_buckets: self.negative.buckets(integer),
            ..FloatHistogram::default()
        };
        if gauge {
            out.counter_reset_hint = CounterResetHint::Gauge;
        }
        out.compact()?;
        out.limit_resolution()?;
        out.validate()?;
        Ok(out)
    }

    /// The exemplar of a classic bucket.
    pub(super) fn bucket_exemplar(&self, bucket: &Bucket) -> &[Exemplar] {
        let own = bucket.exemplar.map(|at| at as usize);
        own.and_then(|at| self.bucket_exemplars.get(at..=at))
            .unwrap_or_default()
    }

    /// The exemplars of the native histogram that have a timestamp, in order: its own, or those of the buckets when it has none.
    pub(super) fn native_exemplars(&self, out: &mut Vec<Exemplar>) {
        out.clear();
        let own = match self.exemplars.is_empty() {
            false => &self.exemplars,
            true => &self.bucket_exemplars,
        };
        out.extend(own.iter().filter(|e| e.timed).cloned());
        out.sort_by(|a, b| {
            let by_value = || a.value.total_cmp(&b.value);
            let by_labels = || a.labels.cmp(&b.labels);
            let by_time = a.timestamp.cmp(&b.timestamp);
            by_time.then_with(by_value).then_with(by_labels)
        });
    }
}

fn number(float: f64, integer: u64) -> f64 {
    if float == 0.0 { integer as f64 } else { float }
}

/// The native buckets of a message by itself; none when it cannot be read or has none.
pub(crate) fn native_histogram(message: &[u8]) -> Option<FloatHistogram> {
    let mut parts = HistogramParts::default();
    read_histogram(message, &mut parts).ok()?;
    parts
        .is_native()
        .then(|| parts.native(false).ok())
        .flatten()
}

/// Reads a message; returns since when it counts, 0 when it does not say.
pub(super) fn read_histogram(
    message: &[u8],
    out: &mut HistogramParts,
) -> Result<TimestampMs, PageError> {
    let mut start = 0;
    let mut reader = Reader::new(message);
    let r = &mut reader;
    while let Some(tag) = r.tag("Histogram")? {
        match tag.field {
            1 => out.count = unsigned(r, tag, "SampleCount")?,
            2 => out.sum = double(r, tag, "SampleSum")?,
            3 => read_bucket(bytes(r, tag, "Bucket")?, out)?,
            4 => out.count_float = double(r, tag, "SampleCountFloat")?,
            5 => out.schema = signed(unsigned(r, tag, "Schema")?) as i32,
            6 => out.zero_threshold = double(r, tag, "ZeroThreshold")?,
            7 => out.zero_count = unsigned(r, tag, "ZeroCount")?,
            8 => out.zero_count_float = double(r, tag, "ZeroCountFloat")?,
            9 => out
                .negative
                .spans
                .push(bucket_span(bytes(r, tag, "NegativeSpan")?)?),
            10 => signed_list(r, tag, "NegativeDelta", &mut out.negative.deltas)?,
            11 => double_list(r, tag, "NegativeCount", &mut out.negative.counts)?,
            12 => out
                .positive
                .spans
                .push(bucket_span(bytes(r, tag, "PositiveSpan")?)?),
            13 => signed_list(r, tag, "PositiveDelta", &mut out.positive.deltas)?,
            14 => double_list(r, tag, "PositiveCount", &mut out.positive.counts)?,
            15 => start = timestamp(bytes(r, tag, "CreatedTimestamp")?)?,
            16 => out.exemplars.extend(exemplar(bytes(r, tag, "Exemplars")?)?),
            _ => r.skip(tag)?,
        }
    }
    Ok(start)
}

fn read_bucket(message: &[u8], out: &mut HistogramParts) -> Result<(), PageError> {
    let mut bucket = Bucket::default();
    let mut reader = Reader::new(message);
    let r = &mut reader;
    while let Some(tag) = r.tag("Bucket")? {
        match tag.field {
            1 => bucket.count = unsigned(r, tag, "CumulativeCount")?,
            2 => bucket.bound = double(r, tag, "UpperBound")?,
            3 => {
                if let Some(exemplar) = exemplar(bytes(r, tag, "Exemplar")?)? {
                    bucket.exemplar = Some(out.bucket_exemplars.len() as u32);
                    out.bucket_exemplars.push(exemplar);
                }
            }
            4 => bucket.count_float = double(r, tag, "CumulativeCountFloat")?,
            _ => r.skip(tag)?,
        }
    }
    out.buckets.push(bucket);
    Ok(())
}
