//! Values during evaluation: rows of numbers over the step grid.
//!
//! A row is one series over all steps of the query: a number per step and a bit per step that says whether there is one.
//! NaN is a number; absence is a clear bit. An instant query is a grid of one step.

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
    /// A number per step; meaningless where `present` is clear.
    pub values: Vec<f64>,
    /// Which steps have a number.
    pub present: Bits,
}

impl Row {
    /// A row of `count` absent steps.
    pub fn absent(labels: Labels, count: usize) -> Self {
        Row {
            labels,
            drop_name: false,
            values: vec![0.0; count],
            present: Bits::zeros(count),
        }
    }

    /// The number at step `k`, if there is one.
    #[inline]
    pub fn get(&self, k: usize) -> Option<f64> {
        if self.present.get(k) {
            self.values.get(k).copied()
        } else {
            None
        }
    }

    /// Puts a number at step `k`.
    #[inline]
    pub fn put(&mut self, k: usize, value: f64) {
        self.values[k] = value;
        self.present.set(k);
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
