//! Sums, differences and means of histograms.
//!
//! Promise: the result has the lowest resolution, the widest zero bucket and the common custom bounds of the operands. Every number is summed
//! with Neumaier compensation; the uncompensated sums, which a single addition answers, are kept apart.

use super::layout::{indexed, is_custom, packed, upper_bound};
use super::{BucketSpan, CUSTOM_SCHEMA, CounterResetHint, FloatHistogram};
use crate::kernels::CompensatedSum;

/// Exponential and custom buckets do not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("operation on histograms with different schemas")]
pub struct IncompatibleBuckets;

/// What adding a histogram brought to light.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// One operand says that it follows a counter reset, the other that it does not.
    pub reset_collision: bool,
    /// Custom bounds differed; what they share was kept.
    pub bounds_reconciled: bool,
}

impl Merged {
    /// Either of two.
    pub fn or(self, other: Merged) -> Merged {
        Merged {
            reset_collision: self.reset_collision || other.reset_collision,
            bounds_reconciled: self.bounds_reconciled || other.bounds_reconciled,
        }
    }
}

/// Buckets of one sign by ascending index.
type Cells = Vec<(i32, CompensatedSum)>;

/// Histograms being added up.
#[derive(Debug, Clone)]
pub struct HistogramSum {
    hint: CounterResetHint,
    schema: i32,
    zero_threshold: f64,
    zero_count: CompensatedSum,
    count: CompensatedSum,
    sum: CompensatedSum,
    positive: Cells,
    negative: Cells,
    custom_values: Vec<f64>,
}

fn start(value: f64) -> CompensatedSum {
    CompensatedSum {
        sum: value,
        compensation: 0.0,
    }
}

/// A histogram's numbers at some resolution: what is left to merge cell by cell.
struct Operand {
    positive: Vec<(i32, f64)>,
    negative: Vec<(i32, f64)>,
}

impl HistogramSum {
    /// Starts with one histogram.
    pub fn new(first: &FloatHistogram) -> Self {
        let cells = |spans, counts| indexed(spans, counts).map(|(i, n)| (i, start(n))).collect();
        HistogramSum {
            hint: first.counter_reset_hint,
            schema: first.schema,
            zero_threshold: first.zero_threshold,
            zero_count: start(first.zero_count),
            count: start(first.count),
            sum: start(first.sum),
            positive: cells(&first.positive_spans, &first.positive_buckets),
            negative: cells(&first.negative_spans, &first.negative_buckets),
            custom_values: first.custom_values.clone(),
        }
    }

    /// Adds a histogram.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Merged, IncompatibleBuckets> {
        self.merge(other, 1.0)
    }

    /// Subtracts a histogram.
    pub fn subtract(&mut self, other: &FloatHistogram) -> Result<Merged, IncompatibleBuckets> {
        self.merge(other, -1.0)
    }

    fn merge(&mut self, other: &FloatHistogram, sign: f64) -> Result<Merged, IncompatibleBuckets> {
        let custom = self.schema == CUSTOM_SCHEMA;
        if custom != is_custom(other) {
            return Err(IncompatibleBuckets);
        }
        let mut merged = Merged {
            reset_collision: self.adjust_hint(other.counter_reset_hint),
            bounds_reconciled: false,
        };
        if self.has_layout_of(other) {
            self.add_in_place(other, sign);
            return Ok(merged);
        }
        let mut operand = Operand {
            positive: indexed(&other.positive_spans, &other.positive_buckets).collect(),
            negative: indexed(&other.negative_spans, &other.negative_buckets).collect(),
        };
        if custom {
            if self.custom_values != other.custom_values {
                merged.bounds_reconciled = true;
                let shared = shared_bounds(&self.custom_values, &other.custom_values);
                let mine = mapping(&self.custom_values, &shared);
                let theirs = mapping(&other.custom_values, &shared);
                self.positive = fold_cells(&self.positive, mine);
                operand.positive = fold_counts(&operand.positive, theirs);
                self.custom_values = shared;
            }
        } else {
            let zero_count = self.reconcile_zero(other);
            self.zero_count.add(sign * zero_count);
            if other.schema < self.schema {
                self.reduce(other.schema);
            } else if other.schema > self.schema {
                let to = reduction(other.schema, self.schema);
                operand.positive = fold_counts(&operand.positive, &to);
                operand.negative = fold_counts(&operand.negative, &to);
            }
            let (schema, threshold) = (self.schema, self.zero_threshold);
            // What lies inside the zero bucket has been counted there.
            let outside = |(i, _): &(i32, f64)| upper_bound(*i, schema, &[]) > threshold;
            operand.positive.retain(outside);
            operand.negative.retain(outside);
        }
        self.count.add(sign * other.count);
        self.sum.add(sign * other.sum);
        join(&mut self.positive, &operand.positive, sign);
        join(&mut self.negative, &operand.negative, sign);
        Ok(merged)
    }

    /// Does every bucket have its counterpart? Then there is nothing to bring together; the usual case.
    fn has_layout_of(&self, other: &FloatHistogram) -> bool {
        let same = |cells: &Cells, spans: &[BucketSpan], counts: &[f64]| {
            let pairs = cells.iter().zip(indexed(spans, counts));
            // A bucket inside the zero bucket would have to be counted there.
            let outside = cells.first().is_none_or(|(i, _)| {
                self.schema == CUSTOM_SCHEMA
                    || upper_bound(*i, self.schema, &[]) > self.zero_threshold
            });
            cells.len() == counts.len() && outside && pairs.into_iter().all(|(a, b)| a.0 == b.0)
        };
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.custom_values == other.custom_values
            && same(
                &self.positive,
                &other.positive_spans,
                &other.positive_buckets,
            )
            && same(
                &self.negative,
                &other.negative_spans,
                &other.negative_buckets,
            )
    }

    fn add_in_place(&mut self, other: &FloatHistogram, sign: f64) {
        self.zero_count.add(sign * other.zero_count);
        self.count.add(sign * other.count);
        self.sum.add(sign * other.sum);
        for ((_, cell), count) in self.positive.iter_mut().zip(&other.positive_buckets) {
            cell.add(sign * count);
        }
        for ((_, cell), count) in self.negative.iter_mut().zip(&other.negative_buckets) {
            cell.add(sign * count);
        }
    }

    /// The hint of the sum; true when the hints contradict each other.
    fn adjust_hint(&mut self, other: CounterResetHint) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        if other == self.hint || self.hint == Gauge {
            return false;
        }
        if other == Gauge {
            self.hint = Gauge;
            return false;
        }
        let collision = self.hint != Unknown && other != Unknown;
        self.hint = Unknown;
        collision
    }

    /// Lowers the resolution of what has been summed.
    fn reduce(&mut self, schema: i32) {
        if schema < self.schema {
            let to = reduction(self.schema, schema);
            self.positive = fold_cells(&self.positive, &to);
            self.negative = fold_cells(&self.negative, &to);
            self.schema = schema;
        }
    }

    /// Widens the narrower zero bucket until both are equal; the answer is the other's zero count.
    fn reconcile_zero(&mut self, other: &FloatHistogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold
            && !threshold.is_nan()
            && !self.zero_threshold.is_nan()
        {
            if self.zero_threshold > threshold {
                (count, threshold) = zero_count_at(other, self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                let plain = self.clone().finish_plain();
                let (_, wider) = zero_count_at(&plain, threshold);
                let schema = self.schema;
                for cells in [&mut self.positive, &mut self.negative] {
                    cells.retain(|(i, cell)| {
                        let inside = upper_bound(i.wrapping_sub(1), schema, &[]) < wider;
                        if inside {
                            self.zero_count.add(cell.sum);
                            self.zero_count.compensation += cell.compensation;
                        }
                        !inside && cell.sum != 0.0
                    });
                }
                self.zero_threshold = wider;
            }
        }
        count
    }

    /// The sum with what rounding lost.
    pub fn finish(self) -> FloatHistogram {
        self.into_histogram(CompensatedSum::value)
    }

    /// The sum as plain additions give it.
    pub fn finish_plain(self) -> FloatHistogram {
        self.into_histogram(|cell| cell.sum)
    }

    fn into_histogram(self, value: fn(CompensatedSum) -> f64) -> FloatHistogram {
        let cells = |cells: Cells| packed(cells.into_iter().map(|(i, cell)| (i, value(cell))));
        let (positive_spans, positive_buckets) = cells(self.positive);
        let (negative_spans, negative_buckets) = cells(self.negative);
        FloatHistogram {
            counter_reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: value(self.zero_count),
            count: value(self.count),
            sum: value(self.sum),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values,
            integer: false,
        }
    }

    fn overflows(&self) -> bool {
        let infinite = |cell: &CompensatedSum| cell.sum.is_infinite();
        infinite(&self.count)
            || infinite(&self.sum)
            || infinite(&self.zero_count)
            || self
                .positive
                .iter()
                .chain(&self.negative)
                .any(|(_, c)| infinite(c))
    }

    fn scale(&mut self, factor: f64) {
        let cells = self
            .positive
            .iter_mut()
            .chain(&mut self.negative)
            .map(|(_, cell)| cell);
        let all = [&mut self.count, &mut self.sum, &mut self.zero_count];
        for cell in cells.chain(all) {
            cell.sum *= factor;
            cell.compensation *= factor;
        }
    }
}

/// A mean of histograms: a sum until that overflows, then incremental.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    state: HistogramSum,
    number: f64,
    incremental: bool,
}

impl HistogramMean {
    /// Starts with one histogram.
    pub fn new(first: &FloatHistogram) -> Self {
        HistogramMean {
            state: HistogramSum::new(first),
            number: 1.0,
            incremental: false,
        }
    }

    /// Takes in one more.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Merged, IncompatibleBuckets> {
        self.number += 1.0;
        if !self.incremental {
            let mut next = self.state.clone();
            let merged = next.add(other)?;
            if !next.overflows() {
                self.state = next;
                return Ok(merged);
            }
            self.incremental = true;
            self.state.scale(1.0 / (self.number - 1.0));
        }
        self.state.scale((self.number - 1.0) / self.number);
        let mut share = other.clone();
        super::divide(&mut share, self.number);
        self.state.add(&share)
    }

    /// The mean so far.
    pub fn finish(self) -> FloatHistogram {
        let mut mean = self.state.finish();
        if !self.incremental {
            super::divide(&mut mean, self.number);
        }
        mean
    }
}

/// A copy at a resolution that is not higher.
pub fn to_schema(histogram: &FloatHistogram, schema: i32) -> FloatHistogram {
    let mut sum = HistogramSum::new(histogram);
    if !is_custom(histogram) {
        sum.reduce(schema);
    }
    FloatHistogram {
        integer: histogram.integer,
        ..sum.finish_plain()
    }
}

/// Bucket of a lower resolution that holds a bucket: counting from 1, `2^difference` become one.
pub(super) fn reduction(from: i32, to: i32) -> impl Fn(i32) -> i32 {
    let shift = (from - to).clamp(0, 31);
    move |index: i32| ((i64::from(index) - 1) >> shift) as i32 + 1
}

fn fold_cells(cells: &Cells, to: impl Fn(i32) -> i32) -> Cells {
    let mut out: Cells = Vec::with_capacity(cells.len());
    for (index, cell) in cells {
        let target = to(*index);
        match out.last_mut() {
            Some((last, sum)) if *last == target => {
                sum.sum += cell.sum;
                sum.compensation += cell.compensation;
            }
            _ => out.push((target, *cell)),
        }
    }
    out
}

pub(super) fn fold_counts(cells: &[(i32, f64)], to: impl Fn(i32) -> i32) -> Vec<(i32, f64)> {
    let mut out: Vec<(i32, f64)> = Vec::with_capacity(cells.len());
    for &(index, count) in cells {
        let target = to(index);
        match out.last_mut() {
            Some((last, sum)) if *last == target => *sum += count,
            _ => out.push((target, count)),
        }
    }
    out
}

fn join(cells: &mut Cells, others: &[(i32, f64)], sign: f64) {
    if others.is_empty() {
        return;
    }
    let mine = std::mem::take(cells);
    let mut out: Cells = Vec::with_capacity(mine.len().max(others.len()));
    let mut others = others.iter().peekable();
    let fresh = |(i, n): &(i32, f64)| (*i, start(sign * n));
    for (index, mut cell) in mine {
        while let Some(other) = others.next_if(|o| o.0 < index) {
            out.push(fresh(other));
        }
        if let Some(other) = others.next_if(|o| o.0 == index) {
            cell.add(sign * other.1);
        }
        out.push((index, cell));
    }
    out.extend(others.map(fresh));
    *cells = out;
}

/// Bounds that both have; both ascend.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter()
        .copied()
        .filter(|bound| b.contains(bound))
        .collect()
}

/// Bucket of the coarser bounds that holds a bucket of `from`.
pub(super) fn mapping<'a>(from: &'a [f64], to: &'a [f64]) -> impl Fn(i32) -> i32 + 'a {
    move |index: i32| match usize::try_from(index).ok().and_then(|i| from.get(i)) {
        Some(bound) => to.partition_point(|b| b < bound) as i32,
        None => to.len() as i32,
    }
}

/// Count of a zero bucket widened to at least `threshold`; a populated bucket that the threshold would cut is taken in whole.
pub(super) fn zero_count_at(histogram: &FloatHistogram, mut threshold: f64) -> (f64, f64) {
    if threshold <= histogram.zero_threshold {
        return (histogram.zero_count, histogram.zero_threshold);
    }
    let bound = |i: i32| upper_bound(i, histogram.schema, &[]);
    'wider: loop {
        let mut count = histogram.zero_count;
        for (index, n) in indexed(&histogram.positive_spans, &histogram.positive_buckets) {
            if bound(index.wrapping_sub(1)) >= threshold {
                break;
            }
            count += n;
            if bound(index) > threshold {
                if n != 0.0 {
                    threshold = bound(index);
                }
                break;
            }
        }
        for (index, n) in indexed(&histogram.negative_spans, &histogram.negative_buckets) {
            if bound(index.wrapping_sub(1)) >= threshold {
                break;
            }
            count += n;
            if bound(index) > threshold {
                if n != 0.0 {
                    threshold = bound(index);
                    continue 'wider;
                }
                break;
            }
        }
        return (count, threshold);
    }
}
