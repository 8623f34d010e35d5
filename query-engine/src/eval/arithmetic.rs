//! One operator on two numbers, and on vectors with scalars.
//!
//! Not here: two vectors (`matching`), set operators (`sets`).

use super::annotations::{Annotations, Severity};
use super::error::EvalError;
use super::memory::Work;
use super::rows::drop_name;
use super::value::{Bits, Row, Sample};
use crate::functions::texts;
use crate::go_math;
use crate::histogram::{
    CounterResetHint, FloatHistogram, HistogramSum, Merged, Side, compact, divide, equals, scale,
    trim,
};
use crate::parse::ast::{BinaryOp, Span};
use std::sync::Arc;

/// `==`, `!=`, `<`, `<=`, `>`, `>=`.
pub fn is_comparison(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Eql
            | BinaryOp::Neq
            | BinaryOp::Lss
            | BinaryOp::Lte
            | BinaryOp::Gtr
            | BinaryOp::Gte
    )
}

/// `and`, `or`, `unless`.
pub fn is_set_operator(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
}

/// Operators whose result is another quantity than the operands: the metric name goes.
pub fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}

/// What an operator makes of two numbers: `Some(result)` or, where a comparison does not hold (or histogram operators meet floats), `None`.
/// A comparison that holds yields its left operand.
#[inline]
pub fn apply(op: BinaryOp, l: f64, r: f64) -> Option<f64> {
    let compared = match op {
        BinaryOp::Add => return Some(l + r),
        BinaryOp::Sub => return Some(l - r),
        BinaryOp::Mul => return Some(l * r),
        BinaryOp::Div => return Some(l / r),
        // Rust's remainder has the sign of the dividend, as Go's math.Mod has.
        BinaryOp::Mod => return Some(l % r),
        BinaryOp::Pow => return Some(go_math::pow(l, r)),
        BinaryOp::Atan2 => return Some(l.atan2(r)),
        BinaryOp::Eql => l == r,
        BinaryOp::Neq => l != r,
        BinaryOp::Lss => l < r,
        BinaryOp::Lte => l <= r,
        BinaryOp::Gtr => l > r,
        BinaryOp::Gte => l >= r,
        BinaryOp::TrimUpper
        | BinaryOp::TrimLower
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless => false,
    };
    compared.then_some(l)
}

/// Two scalars: comparisons give 0 or 1.
pub fn scalars(op: BinaryOp, l: f64, r: f64) -> f64 {
    match apply(op, l, r) {
        Some(_) if is_comparison(op) => 1.0,
        Some(v) => v,
        None => 0.0,
    }
}

/// A vector and a scalar.
pub struct ScalarOperation {
    /// Operator.
    pub op: BinaryOp,
    /// `bool` after a comparison.
    pub return_bool: bool,
    /// The scalar is the left operand.
    pub scalar_left: bool,
    /// Where the operation stands.
    pub span: Span,
    /// Names go at the end of the evaluation.
    pub delayed_name_removal: bool,
}

impl ScalarOperation {
    /// Applies the operation in place; rows may end without a number.
    pub fn run(
        &self,
        rows: &mut [Row],
        scalar: &[f64],
        annotations: &mut Annotations,
        work: &mut Work,
    ) -> Result<(), EvalError> {
        let comparison = is_comparison(self.op);
        let trims = matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        for row in rows {
            work.tick(row.values.len() + 1)?;
            if trims || row.histograms.is_some() {
                self.run_mixed(row, scalar, annotations, work)?;
                continue;
            }
            let mut kept = Bits::zeros(row.present.len());
            for (k, value) in row.values.iter_mut().enumerate() {
                if !row.present.get(k) {
                    continue;
                }
                let s = scalar.get(k).copied().unwrap_or(f64::NAN);
                let (l, r) = if self.scalar_left {
                    (s, *value)
                } else {
                    (*value, s)
                };
                let result = apply(self.op, l, r);
                if self.return_bool {
                    *value = f64::from(u8::from(result.is_some()));
                    kept.set(k);
                } else if let Some(result) = result {
                    // A comparison keeps the vector's number, on whichever side it stands.
                    if !comparison {
                        *value = result;
                    }
                    kept.set(k);
                }
            }
            row.present = kept;
            if changes_metric(self.op) || self.return_bool {
                drop_name(row, self.delayed_name_removal);
            }
        }
        Ok(())
    }
}

impl ScalarOperation {
    /// A row that may hold histograms, or an operator for them.
    fn run_mixed(
        &self,
        row: &mut Row,
        scalar: &[f64],
        annotations: &mut Annotations,
        work: &mut Work,
    ) -> Result<(), EvalError> {
        for k in 0..row.values.len() {
            let Some(sample) = row.sample(k) else {
                continue;
            };
            let s = Sample::Float(scalar.get(k).copied().unwrap_or(f64::NAN));
            let (l, r) = if self.scalar_left {
                (&s, &sample)
            } else {
                (&sample, &s)
            };
            let result = match samples(self.op, l, r, self.span, annotations) {
                Outcome::Nothing => None,
                outcome if self.return_bool => Some(outcome.as_bool()),
                Outcome::Fails => None,
                Outcome::Holds if is_comparison(self.op) => Some(sample),
                Outcome::Holds => Some(l.clone()),
                Outcome::Value(value) => Some(value),
            };
            match result {
                Some(result) => {
                    work.sample(&result)?;
                    row.put_sample(k, result);
                }
                None => row.present.clear(k),
            }
        }
        if changes_metric(self.op) || self.return_bool {
            drop_name(row, self.delayed_name_removal);
        }
        Ok(())
    }
}

/// What an operator makes of two samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// A new sample.
    Value(Sample),
    /// A comparison that holds.
    Holds,
    /// A comparison that does not hold.
    Fails,
    /// The operator has no meaning for these samples.
    Nothing,
}

impl Outcome {
    fn as_bool(&self) -> Sample {
        Sample::Float(f64::from(u8::from(*self == Outcome::Holds)))
    }

    /// What is left of a pair, `left` being the left operand.
    pub(crate) fn of_pair(self, left: &Sample, return_bool: bool) -> Option<Sample> {
        match self {
            Outcome::Nothing => None,
            outcome if return_bool => Some(outcome.as_bool()),
            Outcome::Fails => None,
            Outcome::Holds => Some(left.clone()),
            Outcome::Value(value) => Some(value),
        }
    }
}

/// One operator on two samples of any kind.
pub(crate) fn samples(
    op: BinaryOp,
    left: &Sample,
    right: &Sample,
    span: Span,
    annotations: &mut Annotations,
) -> Outcome {
    let made = |histogram: FloatHistogram| Outcome::Value(Sample::Histogram(Arc::new(histogram)));
    let compare = |holds: bool| {
        if holds {
            Outcome::Holds
        } else {
            Outcome::Fails
        }
    };
    match (left, right, op) {
        (_, _, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => Outcome::Nothing,
        (Sample::Float(_), Sample::Float(_), BinaryOp::TrimLower | BinaryOp::TrimUpper) => {
            incompatible_floats(op, span, annotations);
            Outcome::Nothing
        }
        (Sample::Float(l), Sample::Float(r), _) if is_comparison(op) => {
            compare(apply(op, *l, *r).is_some())
        }
        (Sample::Float(l), Sample::Float(r), _) => {
            apply(op, *l, *r).map_or(Outcome::Nothing, |v| Outcome::Value(Sample::Float(v)))
        }
        (Sample::Histogram(h), Sample::Float(factor), BinaryOp::Mul)
        | (Sample::Float(factor), Sample::Histogram(h), BinaryOp::Mul) => {
            let mut out = FloatHistogram::clone(h);
            scale(&mut out, *factor);
            compact(&mut out);
            made(out)
        }
        (Sample::Histogram(h), Sample::Float(divisor), BinaryOp::Div) => {
            let mut out = FloatHistogram::clone(h);
            divide(&mut out, *divisor);
            compact(&mut out);
            made(out)
        }
        (Sample::Histogram(h), Sample::Float(at), BinaryOp::TrimUpper) => {
            made(trim(h, *at, Side::Upper))
        }
        (Sample::Histogram(h), Sample::Float(at), BinaryOp::TrimLower) => {
            made(trim(h, *at, Side::Lower))
        }
        (Sample::Histogram(l), Sample::Histogram(r), BinaryOp::Eql) => compare(equals(l, r)),
        (Sample::Histogram(l), Sample::Histogram(r), BinaryOp::Neq) => compare(!equals(l, r)),
        (Sample::Histogram(l), Sample::Histogram(r), BinaryOp::Add | BinaryOp::Sub) => {
            match sum(op, l, r) {
                Ok((histogram, merged)) => {
                    note_merged(op, merged, span, annotations);
                    made(histogram)
                }
                Err(_) => {
                    let text = texts::incompatible_buckets(op.as_str());
                    annotations.add(Severity::Warning, text, span);
                    Outcome::Nothing
                }
            }
        }
        _ => {
            let text = texts::incompatible_types(kind(left), op.as_str(), kind(right));
            annotations.add(Severity::Info, text, span);
            Outcome::Nothing
        }
    }
}

fn kind(sample: &Sample) -> &'static str {
    match sample {
        Sample::Float(_) => "float",
        Sample::Histogram(_) => "histogram",
    }
}

fn sum(
    op: BinaryOp,
    left: &FloatHistogram,
    right: &FloatHistogram,
) -> Result<(FloatHistogram, Merged), crate::histogram::IncompatibleBuckets> {
    let mut state = HistogramSum::new(left);
    let subtracts = op == BinaryOp::Sub;
    let merged = if subtracts {
        state.subtract(right)?
    } else {
        state.add(right)?
    };
    let mut histogram = state.finish_plain();
    if subtracts {
        histogram.counter_reset_hint = CounterResetHint::Gauge;
    }
    compact(&mut histogram);
    Ok((histogram, merged))
}

fn note_merged(op: BinaryOp, merged: Merged, span: Span, annotations: &mut Annotations) {
    let operation = if op == BinaryOp::Sub {
        "subtraction"
    } else {
        "addition"
    };
    if merged.reset_collision {
        annotations.add(Severity::Warning, texts::reset_collision(operation), span);
    }
    if merged.bounds_reconciled {
        annotations.add(Severity::Info, texts::bounds_reconciled(operation), span);
    }
}

/// Histogram operators between floats give nothing and say so.
pub fn incompatible_floats(op: BinaryOp, span: Span, annotations: &mut Annotations) {
    let text = texts::incompatible_types("float", op.as_str(), "float");
    annotations.add(Severity::Info, text, span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainder_has_the_sign_of_the_dividend() {
        assert_eq!(apply(BinaryOp::Mod, -5.0, 3.0), Some(-2.0));
        assert_eq!(apply(BinaryOp::Mod, 5.0, -3.0), Some(2.0));
        assert!(apply(BinaryOp::Mod, 5.0, 0.0).is_some_and(f64::is_nan));
    }

    #[test]
    fn comparisons_of_scalars_are_zero_or_one() {
        assert_eq!(scalars(BinaryOp::Gtr, 2.0, 1.0), 1.0);
        assert_eq!(scalars(BinaryOp::Gtr, 1.0, 2.0), 0.0);
        assert_eq!(scalars(BinaryOp::Eql, f64::NAN, f64::NAN), 0.0);
    }

    #[test]
    fn powers_of_one_are_one() {
        assert_eq!(apply(BinaryOp::Pow, 1.0, f64::NAN), Some(1.0));
        assert_eq!(apply(BinaryOp::Pow, f64::NAN, 0.0), Some(1.0));
    }
}
