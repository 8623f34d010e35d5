//! Values during evaluation: rows of numbers over the step grid.
//!
//! A row is one series over all steps of the query: a number per step and a bit per step that says whether there is one.
//! NaN is a number; absence is a clear bit. An instant query is a grid of one step.
//! Native histograms lie in a column of their own, which most rows do not have: a present step is a histogram where that column has one.

use crate::histogram::{FloatHistogram, sample_size};
use std::sync::Arc;
use storage_engine::model::{Labels, TimestampMs};

/// The evaluation times of a query: `start + k * step` for `k` in `0..count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// First evaluation time, milliseconds.
    pub start: TimestampMs,
    /// Distance of evaluation times, milliseconds; any positive number when `count` is 1.
    pub step: i64,
    /// Number of evaluation times, at least 1.
    pub count: usize,
}

impl Grid {
    /// Time of step `k`.
    #[inline]
    pub fn at(&self, k: usize) -> TimestampMs {
        self.start + self.step * k as i64
    }

    /// Time of the last step.
    pub fn last(&self) -> TimestampMs {
        self.at(self.count.saturating_sub(1))
    }
}

/// One bit per step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// `len` clear bits.
    pub fn zeros(len: usize) -> Self {
        Bits {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// How many words `len` bits take.
    pub(crate) fn words_of(len: usize) -> usize {
        len.div_ceil(64)
    }

    /// `len` set bits.
    pub fn ones(len: usize) -> Self {
        let mut bits = Bits {
            words: vec![u64::MAX; len.div_ceil(64)],
            len,
        };
        if !len.is_multiple_of(64)
            && let Some(last) = bits.words.last_mut()
        {
            *last = (1 << (len % 64)) - 1;
        }
        bits
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for zero bits of length.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `k`; clear beyond the end.
    #[inline]
    pub fn get(&self, k: usize) -> bool {
        self.words
            .get(k / 64)
            .is_some_and(|w| w >> (k % 64) & 1 == 1)
    }

    /// Sets bit `k`; `k` must be below the length.
    #[inline]
    pub fn set(&mut self, k: usize) {
        self.words[k / 64] |= 1 << (k % 64);
    }

    /// Sets `count` bits from `first` on, all below the length.
    pub fn set_run(&mut self, first: usize, count: usize) {
        let end = first + count;
        assert!(end <= self.len, "BUG: bits beyond the end of a row");
        if count == 0 {
            return;
        }
        for word in first / 64..end.div_ceil(64) {
            let from = first.saturating_sub(word * 64).min(63);
            let to = (end - word * 64).min(64);
            self.words[word] |= (u64::MAX >> (64 - (to - from))) << from;
        }
    }

    /// Are all bits set?
    pub fn all(&self) -> bool {
        let whole = self.len / 64;
        let rest = self.len % 64;
        self.words.iter().take(whole).all(|w| *w == u64::MAX)
            && (rest == 0 || self.words.get(whole) == Some(&((1 << rest) - 1)))
    }

    /// Clears bit `k`; `k` must be below the length.
    #[inline]
    pub fn clear(&mut self, k: usize) {
        self.words[k / 64] &= !(1 << (k % 64));
    }

    /// Sets the bits that are set in `other`, which has the same length.
    pub fn union(&mut self, other: &Bits) {
        debug_assert_eq!(self.len, other.len);
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// Clears the bits that are clear in `other`, which has the same length.
    pub fn intersect(&mut self, other: &Bits) {
        debug_assert_eq!(self.len, other.len);
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= b;
        }
    }

    /// Clears the bits that are set in `other`, which has the same length.
    pub fn subtract(&mut self, other: &Bits) {
        debug_assert_eq!(self.len, other.len);
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= !b;
        }
    }

    /// Is any bit set?
    pub fn any(&self) -> bool {
        self.words.iter().any(|w| *w != 0)
    }

    /// Number of set bits.
    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Number of bits that are set here and not in `other`.
    pub fn count_ones_outside(&self, other: &Bits) -> usize {
        let pairs = self.words.iter().zip(&other.words);
        pairs.map(|(a, b)| (a & !b).count_ones() as usize).sum()
    }

    /// The words, least significant bit first; bits beyond the length are clear.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// One series over the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its labels.
    pub labels: Labels,
    /// Delayed name removal: the name goes at the end of evaluation.
    pub drop_name: bool,
    /// A number per step; meaningless where `present` is clear or a histogram stands.
    pub values: Vec<f64>,
    /// Which steps have a sample.
    pub present: Bits,
    /// The histograms among the samples; meaningless where `present` is clear.
    pub histograms: Option<Histograms>,
}

/// A native histogram, or none, per step.
pub type Histograms = Box<[Option<Arc<FloatHistogram>>]>;

/// One sample of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

impl Row {
    /// A row of `count` absent steps.
    pub fn absent(labels: Labels, count: usize) -> Self {
        Row {
            labels,
            drop_name: false,
            values: vec![0.0; count],
            present: Bits::zeros(count),
            histograms: None,
        }
    }

    /// The number at step `k`, if there is one.
    #[inline]
    pub fn get(&self, k: usize) -> Option<f64> {
        if self.present.get(k) && !self.is_histogram(k) {
            self.values.get(k).copied()
        } else {
            None
        }
    }

    #[inline]
    fn is_histogram(&self, k: usize) -> bool {
        let cell = |all: &Histograms| matches!(all.get(k), Some(Some(_)));
        self.histograms.as_ref().is_some_and(cell)
    }

    /// The histogram at step `k`, if there is one.
    #[inline]
    pub fn histogram(&self, k: usize) -> Option<&Arc<FloatHistogram>> {
        let all = self.histograms.as_ref()?;
        all.get(k)?.as_ref().filter(|_| self.present.get(k))
    }

    /// The sample at step `k`, whatever its kind.
    pub fn sample(&self, k: usize) -> Option<Sample> {
        match self.histogram(k) {
            Some(histogram) => Some(Sample::Histogram(Arc::clone(histogram))),
            None => self.get(k).map(Sample::Float),
        }
    }

    /// Is any sample a histogram?
    pub fn has_histograms(&self) -> bool {
        let all = self.histograms.as_ref();
        all.is_some_and(|all| (0..all.len()).any(|k| self.histogram(k).is_some()))
    }

    /// Is any sample a number?
    pub fn has_floats(&self) -> bool {
        match &self.histograms {
            None => self.present.any(),
            Some(all) => (0..all.len()).any(|k| self.get(k).is_some()),
        }
    }

    /// Takes the histograms out; true if there were any.
    pub fn drop_histograms(&mut self) -> bool {
        let Some(all) = self.histograms.take() else {
            return false;
        };
        let mut dropped = false;
        for (k, cell) in all.iter().enumerate() {
            if cell.is_some() && self.present.get(k) {
                self.present.clear(k);
                dropped = true;
            }
        }
        dropped
    }

    /// Puts a histogram at step `k`.
    pub fn put_histogram(&mut self, k: usize, histogram: Arc<FloatHistogram>) {
        let count = self.values.len();
        let all = self
            .histograms
            .get_or_insert_with(|| vec![None; count].into_boxed_slice());
        all[k] = Some(histogram);
        self.present.set(k);
    }

    /// Puts a sample of either kind at step `k`.
    pub fn put_sample(&mut self, k: usize, sample: Sample) {
        match sample {
            Sample::Float(value) => self.put(k, value),
            Sample::Histogram(histogram) => self.put_histogram(k, histogram),
        }
    }

    /// Number of samples, a histogram counting by its size.
    pub fn samples(&self) -> usize {
        let more = self.histograms.as_ref().map_or(0, |all| {
            let sizes = (0..all.len()).filter_map(|k| self.histogram(k));
            sizes.map(|h| sample_size(h).saturating_sub(1)).sum()
        });
        self.present.count_ones() + more
    }

    /// Puts a number at step `k`.
    #[inline]
    pub fn put(&mut self, k: usize, value: f64) {
        self.values[k] = value;
        self.present.set(k);
        if let Some(all) = &mut self.histograms {
            all[k] = None;
        }
    }
}

/// The value of an expression over the grid. Range vectors never are values: range functions consume windows directly.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number per step.
    Scalar(Vec<f64>),
    /// Rows; label sets may repeat only on disjoint steps.
    Vector(Vec<Row>),
    /// A text.
    String(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_bits_equal_bit_by_bit() {
        for length in [1, 63, 64, 65, 130] {
            for first in 0..=length {
                for count in [0, 1, 2, 63, 64, 65, 128] {
                    if first + count > length {
                        continue;
                    }
                    let (mut run, mut single) = (Bits::zeros(length), Bits::zeros(length));
                    run.set_run(first, count);
                    (first..first + count).for_each(|k| single.set(k));
                    assert_eq!(run, single);
                    assert_eq!(run.all(), count == length);
                }
            }
        }
    }
}
