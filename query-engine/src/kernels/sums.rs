//! Sums and means with Neumaier compensation, and the functions made of them.
//!
//! Promise: the operations and their order are those of Prometheus's `kahansum.Inc`: a sum that reaches an infinity forgets its compensation,
//! a mean whose sum overflows goes on incrementally.

use super::{KernelNotes, WindowArgs};

/// A sum and its compensation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CompensatedSum {
    /// The running sum.
    pub sum: f64,
    /// What rounding lost.
    pub compensation: f64,
}

impl CompensatedSum {
    /// Adds one number.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let total = self.sum + x;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= x.abs() {
            self.compensation += (self.sum - total) + x;
        } else {
            self.compensation += (x - total) + self.sum;
        }
        self.sum = total;
    }

    /// Sum and compensation together; an infinite sum stays what it is.
    #[inline]
    pub fn value(self) -> f64 {
        if self.sum.is_infinite() {
            self.sum
        } else {
            self.sum + self.compensation
        }
    }
}

/// A mean: a plain compensated sum until that overflows, then incremental.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunningMean {
    state: CompensatedSum,
    count: f64,
    incremental: bool,
}

impl RunningMean {
    /// Starts with the first number.
    #[inline]
    pub fn new(first: f64) -> Self {
        RunningMean {
            state: CompensatedSum {
                sum: first,
                compensation: 0.0,
            },
            count: 1.0,
            incremental: false,
        }
    }

    /// Takes in one more number.
    #[inline]
    pub fn add(&mut self, x: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.state;
            next.add(x);
            if !next.sum.is_infinite() {
                self.state = next;
                return;
            }
            self.incremental = true;
            self.state.sum /= self.count - 1.0;
            self.state.compensation /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.state.sum *= share;
        self.state.compensation *= share;
        self.state.add(x / self.count);
    }

    /// The mean so far.
    #[inline]
    pub fn value(self) -> f64 {
        if self.incremental {
            self.state.sum + self.state.compensation
        } else {
            self.state.sum / self.count + self.state.compensation / self.count
        }
    }
}

/// The compensated sum.
pub(super) fn sum(values: &[f64]) -> f64 {
    let mut sum = CompensatedSum::default();
    for &v in values {
        sum.add(v);
    }
    sum.value()
}

/// The mean; NaN of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    let Some((&first, rest)) = values.split_first() else {
        return f64::NAN;
    };
    let mut mean = RunningMean::new(first);
    for &v in rest {
        mean.add(v);
    }
    mean.value()
}

pub(super) fn sum_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(sum(window.values))
}

pub(super) fn avg_over_time(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
    Some(mean(window.values))
}
