//! Prometheus's histogram and float histogram chunks: native histograms that share one bucket layout.
//!
//! Layout: `count` (2 bytes, big-endian), flags (the counter reset header in the two highest bits), then bits: the bucket layout, the first
//! sample in full, further ones as deltas of deltas (integers) or XOR (floats).
//! Promise: the chunk grows, is recoded and ends where Prometheus's appenders do that, so that a reader sees the same counter resets.
//! Not here: cutting by size and time (`cutting`).

use super::bits::{BitReader, BitWriter, OutOfBits, XorFloat};
use super::layout::{Joined, Layout, LayoutError, Side};
use crate::model::{
    BucketSpan, CounterResetHint, FloatHistogram, HistogramError, TimestampMs, is_stale_nan,
};
use std::sync::Arc;

/// Bytes of count and flags before the bits.
const HEADER_BYTES: usize = 3;
/// Where the flags are.
const AT_FLAGS: usize = 2;
/// The bits of the flags that are the counter reset header.
const RESET_MASK: u8 = 0b1100_0000;

/// What a chunk says about a reset between the chunk before and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetHeader {
    Unknown,
    NotReset,
    Reset,
    Gauge,
}

impl ResetHeader {
    fn bits(self) -> u8 {
        match self {
            ResetHeader::Unknown => 0,
            ResetHeader::NotReset => 0b0100_0000,
            ResetHeader::Reset => 0b1000_0000,
            ResetHeader::Gauge => RESET_MASK,
        }
    }
}

/// Why a chunk's data cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramChunkError {
    /// It ends early.
    #[error(transparent)]
    Bits(#[from] OutOfBits),
    /// Its bucket layout makes no sense.
    #[error("bucket layout: {0}")]
    Layout(#[from] LayoutError),
    /// It holds a histogram that cannot be.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// A chunk that grows.
#[derive(Debug, Clone)]
pub(super) struct HistogramAppender {
    integer: bool,
    header: ResetHeader,
    layout: Layout,
    columns: Columns,
    /// What was added, to be written again in a wider layout.
    samples: Vec<(TimestampMs, Arc<FloatHistogram>)>,
}

/// What became of a histogram.
pub(super) enum Pushed {
    /// It is in the chunk.
    Added,
    /// It begins a new chunk, which is this one.
    NewChunk(Box<HistogramAppender>),
}

impl HistogramAppender {
    /// An empty chunk for integer or float histograms.
    pub(super) fn new(integer: bool) -> HistogramAppender {
        HistogramAppender {
            integer,
            header: ResetHeader::Unknown,
            layout: Layout::default(),
            columns: Columns::new(integer),
            samples: Vec::new(),
        }
    }

    /// Does it take integer histograms?
    pub(super) fn is_integer(&self) -> bool {
        self.integer
    }

    /// Samples so far.
    pub(super) fn count(&self) -> usize {
        self.samples.len()
    }

    /// Bytes so far.
    pub(super) fn byte_count(&self) -> usize {
        self.columns.bits.bytes().len()
    }

    /// Adds the first sample of a chunk that was cut for its size or time; `before` is the chunk before, of the same kind.
    pub(super) fn push_first(
        &mut self,
        before: Option<&HistogramAppender>,
        t: TimestampMs,
        histogram: &Arc<FloatHistogram>,
    ) {
        debug_assert!(self.samples.is_empty());
        self.header = match histogram.counter_reset_hint {
            CounterResetHint::Gauge => ResetHeader::Gauge,
            CounterResetHint::CounterReset => ResetHeader::Reset,
            CounterResetHint::Unknown | CounterResetHint::NotCounterReset => match before {
                None => ResetHeader::Unknown,
                Some(before) if self.integer => before.judge_counter(histogram).header(),
                // The appender of float histograms knows yes and no only.
                Some(before) => match before.judge_counter(histogram).header() {
                    ResetHeader::Reset => ResetHeader::Reset,
                    _ => ResetHeader::NotReset,
                },
            },
        };
        self.begin(t, histogram);
    }

    fn begin(&mut self, t: TimestampMs, histogram: &Arc<FloatHistogram>) {
        self.layout = Layout::of(histogram);
        self.columns.put(&self.layout, t, histogram);
        self.samples.push((t, Arc::clone(histogram)));
    }

    /// Adds a sample that is newer than all before, or begins a new chunk with it.
    pub(super) fn push(&mut self, t: TimestampMs, histogram: &Arc<FloatHistogram>) -> Pushed {
        let is_gauge = histogram.counter_reset_hint == CounterResetHint::Gauge;
        let verdict = match is_gauge {
            true => self.judge_gauge(histogram),
            false => self.judge_counter(histogram),
        };
        match verdict {
            Verdict::Fits => {}
            Verdict::Joins { positive, negative } => {
                self.widen(is_gauge, histogram, positive, negative);
            }
            Verdict::New(header) => {
                let mut chunk = HistogramAppender::new(self.integer);
                chunk.header = match header {
                    ResetHeader::NotReset if !self.integer => ResetHeader::Unknown,
                    header => header,
                };
                chunk.begin(t, histogram);
                return Pushed::NewChunk(Box::new(chunk));
            }
        }
        self.columns.put(&self.layout, t, histogram);
        self.samples.push((t, Arc::clone(histogram)));
        Pushed::Added
    }

    fn last_is_stale(&self) -> bool {
        self.samples.last().is_some_and(|(_, last)| last.is_stale())
    }

    fn layout_differs(&self, histogram: &FloatHistogram) -> bool {
        histogram.schema != self.layout.schema
            || histogram.zero_threshold != self.layout.zero_threshold
    }

    fn bounds_differ(&self, histogram: &FloatHistogram) -> bool {
        histogram.has_custom_buckets() && histogram.custom_values != self.layout.custom_values
    }

    /// May a counter histogram follow, and is there a reset before it?
    fn judge_counter(&self, histogram: &FloatHistogram) -> Verdict {
        let Some((_, last)) = self.samples.last() else {
            return Verdict::Fits;
        };
        if self.header == ResetHeader::Gauge {
            return Verdict::New(ResetHeader::NotReset);
        }
        if histogram.counter_reset_hint == CounterResetHint::CounterReset {
            return Verdict::New(ResetHeader::Reset);
        }
        if histogram.is_stale() {
            return Verdict::Fits;
        }
        if self.last_is_stale() {
            return Verdict::New(ResetHeader::Unknown);
        }
        if histogram.count < last.count {
            return Verdict::New(ResetHeader::Reset);
        }
        if self.layout_differs(histogram) {
            return Verdict::New(ResetHeader::Unknown);
        }
        if self.bounds_differ(histogram) || histogram.zero_count < last.zero_count {
            return Verdict::New(ResetHeader::Reset);
        }
        let positive = self.columns.positive.join(
            &self.layout.positive,
            (&histogram.positive_spans, &histogram.positive_buckets),
        );
        let negative = self.columns.negative.join(
            &self.layout.negative,
            (&histogram.negative_spans, &histogram.negative_buckets),
        );
        match (positive, negative) {
            (Some(positive), Some(negative)) if positive.grows || negative.grows => {
                Verdict::Joins { positive, negative }
            }
            (Some(_), Some(_)) => Verdict::Fits,
            _ => Verdict::New(ResetHeader::Reset),
        }
    }

    /// May a gauge histogram follow?
    fn judge_gauge(&self, histogram: &FloatHistogram) -> Verdict {
        if self.header != ResetHeader::Gauge {
            return Verdict::New(ResetHeader::Gauge);
        }
        if histogram.is_stale() {
            return Verdict::Fits;
        }
        if self.last_is_stale() || self.layout_differs(histogram) || self.bounds_differ(histogram) {
            return Verdict::New(ResetHeader::Gauge);
        }
        let side = |spans, buckets: &[f64]| Side::new(spans, buckets.len());
        let positive = self.layout.positive.join(&side(
            &histogram.positive_spans,
            &histogram.positive_buckets,
        ));
        let negative = self.layout.negative.join(&side(
            &histogram.negative_spans,
            &histogram.negative_buckets,
        ));
        match positive.grows || negative.grows {
            true => Verdict::Joins { positive, negative },
            false => Verdict::Fits,
        }
    }

    /// Writes all samples again in a layout that has the buckets of `histogram` too.
    fn widen(
        &mut self,
        is_gauge: bool,
        histogram: &FloatHistogram,
        positive: Joined,
        negative: Joined,
    ) {
        let anything_lacks = positive.lacks || negative.lacks;
        let wider = |joined: Joined, spans, buckets: &[f64]| {
            // Prometheus keeps the new histogram's spans where it can.
            if joined.lacks || (is_gauge && anything_lacks) {
                Side::of_indexes(joined.indexes)
            } else {
                Side::new(spans, buckets.len())
            }
        };
        self.layout.positive = wider(
            positive,
            &histogram.positive_spans,
            &histogram.positive_buckets,
        );
        self.layout.negative = wider(
            negative,
            &histogram.negative_spans,
            &histogram.negative_buckets,
        );
        self.columns = Columns::new(self.integer);
        for (t, sample) in &self.samples {
            self.columns.put(&self.layout, *t, sample);
        }
    }

    /// The chunk's data.
    pub(super) fn data(&self) -> Vec<u8> {
        let count = self.samples.len() as u16;
        let mut data = self.columns.bits.bytes().to_vec();
        data[..AT_FLAGS].copy_from_slice(&count.to_be_bytes());
        data[AT_FLAGS] = self.header.bits();
        data
    }
}

/// Whether a histogram may follow.
enum Verdict {
    /// In the layout as it is.
    Fits,
    /// In a wider layout.
    Joins { positive: Joined, negative: Joined },
    /// Only in a new chunk, with this header.
    New(ResetHeader),
}

impl Verdict {
    fn header(&self) -> ResetHeader {
        match self {
            Verdict::Fits | Verdict::Joins { .. } => ResetHeader::NotReset,
            Verdict::New(header) => *header,
        }
    }
}

/// The numbers of a chunk, as columns with their state.
#[derive(Debug, Clone)]
struct Columns {
    bits: BitWriter,
    integer: bool,
    is_empty: bool,
    time: Delta,
    count: Number,
    zero_count: Number,
    sum: XorFloat,
    positive: Buckets,
    negative: Buckets,
}

impl Columns {
    fn new(integer: bool) -> Columns {
        Columns {
            bits: BitWriter::after(vec![0; HEADER_BYTES]),
            integer,
            is_empty: true,
            time: Delta::default(),
            count: Number::new(integer),
            zero_count: Number::new(integer),
            sum: XorFloat::starting(0.0),
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    fn put(&mut self, layout: &Layout, t: TimestampMs, histogram: &FloatHistogram) {
        let stale = FloatHistogram::stale(self.integer);
        let is_stale = histogram.is_stale();
        let histogram = if is_stale { &stale } else { histogram };
        let bits = &mut self.bits;
        if self.is_empty {
            layout.put(bits);
            bits.put_varbit_int(t);
            self.time = Delta { value: t, delta: 0 };
            self.count.put_first(bits, histogram.count);
            self.zero_count.put_first(bits, histogram.zero_count);
            bits.put(histogram.sum.to_bits(), 64);
            self.sum = XorFloat::starting(histogram.sum);
        } else {
            bits.put_varbit_int(self.time.step(t));
            self.count.put(bits, histogram.count, is_stale);
            self.zero_count.put(bits, histogram.zero_count, is_stale);
            self.sum.put(bits, histogram.sum);
        }
        if !is_stale {
            let positive = (
                &histogram.positive_spans[..],
                &histogram.positive_buckets[..],
            );
            let negative = (
                &histogram.negative_spans[..],
                &histogram.negative_buckets[..],
            );
            let (first, integer) = (self.is_empty, self.integer);
            self.positive
                .put(bits, first, integer, &layout.positive, positive);
            self.negative
                .put(bits, first, integer, &layout.negative, negative);
        }
        self.is_empty = false;
    }
}

/// An integer that is written as delta of deltas.
#[derive(Debug, Clone, Copy, Default)]
struct Delta {
    value: i64,
    delta: i64,
}

impl Delta {
    /// Goes to `value`; the delta of deltas.
    fn step(&mut self, value: i64) -> i64 {
        let delta = value.wrapping_sub(self.value);
        let change = delta.wrapping_sub(self.delta);
        *self = Delta { value, delta };
        change
    }

    /// Undoes [`Self::step`]; the new value.
    fn follow(&mut self, change: i64) -> i64 {
        self.delta = self.delta.wrapping_add(change);
        self.value = self.value.wrapping_add(self.delta);
        self.value
    }
}

/// A count: an integer or a float.
#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(Delta),
    Float(XorFloat),
}

impl Number {
    fn new(integer: bool) -> Number {
        match integer {
            true => Number::Integer(Delta::default()),
            false => Number::Float(XorFloat::starting(0.0)),
        }
    }

    fn put_first(&mut self, bits: &mut BitWriter, value: f64) {
        match self {
            Number::Integer(column) => {
                bits.put_varbit_uint(value as u64);
                *column = Delta {
                    value: value as u64 as i64,
                    delta: 0,
                };
            }
            Number::Float(column) => {
                bits.put(value.to_bits(), 64);
                *column = XorFloat::starting(value);
            }
        }
    }

    fn put(&mut self, bits: &mut BitWriter, value: f64, is_stale: bool) {
        match self {
            Number::Integer(column) => {
                let change = column.step(value as u64 as i64);
                // A staleness marker has no counts; nothing but markers can follow it.
                bits.put_varbit_int(if is_stale { 0 } else { change });
            }
            Number::Float(column) => column.put(bits, value),
        }
    }

    fn take_first(&mut self, bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
        match self {
            Number::Integer(column) => {
                let value = bits.take_varbit_uint()?;
                *column = Delta {
                    value: value as i64,
                    delta: 0,
                };
                Ok(value as f64)
            }
            Number::Float(column) => {
                *column = XorFloat::starting(bits.take_float()?);
                Ok(column.value())
            }
        }
    }

    fn take(&mut self, bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
        match self {
            Number::Integer(column) => Ok(column.follow(bits.take_varbit_int()?) as u64 as f64),
            Number::Float(column) => column.take(bits),
        }
    }
}

/// The buckets of one sign.
#[derive(Debug, Clone, Default)]
struct Buckets {
    /// Counts of the newest sample, in the places of the layout.
    counts: Vec<f64>,
    integers: Vec<Delta>,
    floats: Vec<XorFloat>,
}

impl Buckets {
    fn put(
        &mut self,
        bits: &mut BitWriter,
        first: bool,
        integer: bool,
        side: &Side,
        (spans, counts): (&[BucketSpan], &[f64]),
    ) {
        side.spread(spans, counts, &mut self.counts);
        if first {
            self.integers = vec![Delta::default(); self.counts.len()];
            self.floats = vec![XorFloat::starting(0.0); self.counts.len()];
        }
        if !integer {
            for (column, &count) in self.floats.iter_mut().zip(&self.counts) {
                if first {
                    bits.put(count.to_bits(), 64);
                    *column = XorFloat::starting(count);
                } else {
                    column.put(bits, count);
                }
            }
            return;
        }
        // Integer buckets are written against their neighbours first.
        let mut neighbour = 0_i64;
        for (column, &count) in self.integers.iter_mut().zip(&self.counts) {
            let value = (count as u64 as i64).wrapping_sub(neighbour);
            neighbour = count as u64 as i64;
            if first {
                bits.put_varbit_int(value);
                *column = Delta { value, delta: 0 };
            } else {
                bits.put_varbit_int(column.step(value));
            }
        }
    }

    fn take(
        &mut self,
        bits: &mut BitReader<'_>,
        first: bool,
        integer: bool,
        side: &Side,
    ) -> Result<Vec<f64>, OutOfBits> {
        let len = side.indexes.len();
        // Every bucket of every sample takes a bit at least.
        if len > bits.left() {
            return Err(OutOfBits);
        }
        if first {
            self.integers = vec![Delta::default(); len];
            self.floats = vec![XorFloat::starting(0.0); len];
        }
        let mut counts = Vec::with_capacity(len);
        if !integer {
            for column in &mut self.floats {
                if first {
                    *column = XorFloat::starting(bits.take_float()?);
                    counts.push(column.value());
                } else {
                    counts.push(column.take(bits)?);
                }
            }
            return Ok(counts);
        }
        let mut neighbour = 0_i64;
        for column in &mut self.integers {
            let value = if first {
                let value = bits.take_varbit_int()?;
                *column = Delta { value, delta: 0 };
                value
            } else {
                column.follow(bits.take_varbit_int()?)
            };
            neighbour = neighbour.wrapping_add(value);
            counts.push(neighbour as f64);
        }
        Ok(counts)
    }

    /// The layout with the histogram's buckets; `None` if a bucket went down, which is a counter reset.
    fn join(&self, side: &Side, (spans, counts): (&[BucketSpan], &[f64])) -> Option<Joined> {
        let mut now = Vec::new();
        side.spread(spans, counts, &mut now);
        // A bucket that is gone counts 0 here, so one that was in use has gone down.
        if self
            .counts
            .iter()
            .zip(&now)
            .any(|(before, now)| before > now)
        {
            return None;
        }
        Some(side.join(&Side::new(spans, counts.len())))
    }
}

/// Appends the histograms of a chunk's data to `out`; on an error those before the damage are there.
///
/// Hints are Prometheus's: a chunk of gauges gives gauges; of others, the first sample is not compared with the chunk before, which may
/// be gone, and further ones have no reset before them.
pub(super) fn read(
    data: &[u8],
    integer: bool,
    out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
) -> Result<(), HistogramChunkError> {
    let (header, bits) = data.split_first_chunk::<HEADER_BYTES>().ok_or(OutOfBits)?;
    let count = u16::from_be_bytes([header[0], header[1]]);
    let is_gauge = header[AT_FLAGS] & RESET_MASK == RESET_MASK;
    if count == 0 {
        return Ok(());
    }
    let mut bits = BitReader::new(bits);
    let layout = Layout::take(&mut bits)?;
    let mut columns = Columns::new(integer);
    for index in 0..count {
        let hint = match (is_gauge, index) {
            (true, _) => CounterResetHint::Gauge,
            (false, 0) => CounterResetHint::Unknown,
            (false, _) => CounterResetHint::NotCounterReset,
        };
        let (t, histogram) = columns.take(&mut bits, &layout, index == 0, hint)?;
        out.push((t, Arc::new(histogram)));
    }
    Ok(())
}

impl Columns {
    fn take(
        &mut self,
        bits: &mut BitReader<'_>,
        layout: &Layout,
        first: bool,
        hint: CounterResetHint,
    ) -> Result<(TimestampMs, FloatHistogram), HistogramChunkError> {
        let (t, count, zero_count, sum);
        if first {
            t = bits.take_varbit_int()?;
            self.time = Delta { value: t, delta: 0 };
            count = self.count.take_first(bits)?;
            zero_count = self.zero_count.take_first(bits)?;
            sum = bits.take_float()?;
            self.sum = XorFloat::starting(sum);
        } else {
            t = self.time.follow(bits.take_varbit_int()?);
            count = self.count.take(bits)?;
            zero_count = self.zero_count.take(bits)?;
            sum = self.sum.take(bits)?;
        }
        let integer = self.integer;
        // The first sample of a chunk has all the buckets of the layout, a later staleness marker has none.
        let has_buckets = first || !is_stale_nan(sum);
        let (mut positive_buckets, mut negative_buckets) = (Vec::new(), Vec::new());
        if has_buckets {
            positive_buckets = self.positive.take(bits, first, integer, &layout.positive)?;
            negative_buckets = self.negative.take(bits, first, integer, &layout.negative)?;
        }
        if is_stale_nan(sum) {
            return Ok((t, FloatHistogram::stale(integer)));
        }
        let mut histogram = FloatHistogram {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: layout.positive.spans.clone(),
            negative_spans: layout.negative.spans.clone(),
            positive_buckets,
            negative_buckets,
            custom_values: layout.custom_values.clone(),
            integer,
        };
        histogram.limit_resolution()?;
        check_stored(&histogram)?;
        Ok((t, histogram))
    }
}

/// Is the form of a histogram sound that Prometheus has stored? Prometheus stores what its own checks let through at the time; counts that do
/// not add up are no damage.
pub(super) fn check_stored(histogram: &FloatHistogram) -> Result<(), HistogramError> {
    match histogram.validate() {
        Err(
            HistogramError::CountMismatch { .. }
            | HistogramError::CountNotBigEnough { .. }
            | HistogramError::NegativeBucketCount { .. },
        ) => Ok(()),
        result => result,
    }
}
