//! One operator on two numbers, and on vectors with scalars.
//!
//! Not here: two vectors (`matching`), set operators (`sets`).

use super::annotations::{Annotations, Severity};
use super::rows::drop_name;
use super::value::{Bits, Row};
use crate::go_math;
use crate::parse::ast::{BinaryOp, Span};

/// The operator as PromQL writes it.
pub fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "^",
        BinaryOp::Atan2 => "atan2",
        BinaryOp::Eql => "==",
        BinaryOp::Neq => "!=",
        BinaryOp::Lss => "<",
        BinaryOp::Lte => "<=",
        BinaryOp::Gtr => ">",
        BinaryOp::Gte => ">=",
        BinaryOp::TrimUpper => "</",
        BinaryOp::TrimLower => ">/",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Unless => "unless",
    }
}

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
    pub fn run(&self, rows: &mut [Row], scalar: &[f64], annotations: &mut Annotations) {
        if matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
            && rows.iter().any(|r| r.present.any())
        {
            incompatible_floats(self.op, self.span, annotations);
        }
        let comparison = is_comparison(self.op);
        for row in rows {
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
    }
}

/// Histogram operators between floats give nothing and say so.
pub fn incompatible_floats(op: BinaryOp, span: Span, annotations: &mut Annotations) {
    let symbol = symbol(op);
    annotations.add(
        Severity::Info,
        format!(
            "PromQL info: incompatible sample types encountered for binary operator \"{symbol}\": float {symbol} float"
        ),
        span,
    );
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
