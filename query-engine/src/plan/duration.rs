//! Duration expressions: `[5m * 2]`, `offset -step()`; folded when the query is planned, because only then step and range are known.

use super::PlanContext;
use crate::eval::arithmetic;
use crate::parse::ast::{BinaryOp, DurationExpr, DurationOp, Expr};

/// A duration that cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// `/ 0`.
    #[error("division by zero")]
    DivisionByZero,
    /// `% 0`.
    #[error("modulo by zero")]
    ModuloByZero,
    /// A window or resolution that is not positive.
    #[error("duration must be greater than 0")]
    NotPositive,
    /// Beyond what milliseconds in 64 bits hold.
    #[error("duration is out of range")]
    OutOfRange,
    /// Something that is no duration where one must stand.
    #[error("unexpected expression in a duration")]
    Unexpected,
}

/// Longest duration, seconds: Go's `time.Duration` is 64 bits of nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.0;

/// A window or a resolution: the literal, or the expression's value, which must be positive. Milliseconds.
pub(crate) fn positive(
    literal: i64,
    expr: Option<&DurationExpr>,
    context: &PlanContext,
) -> Result<i64, DurationError> {
    let Some(expr) = expr else {
        return Ok(literal);
    };
    let seconds = evaluate(expr, context)?;
    if seconds <= 0.0 {
        return Err(DurationError::NotPositive);
    }
    milliseconds(seconds)
}

/// An offset: any sign. Milliseconds.
pub(crate) fn offset(
    literal: i64,
    expr: Option<&DurationExpr>,
    context: &PlanContext,
) -> Result<i64, DurationError> {
    match expr {
        Some(expr) => milliseconds(evaluate(expr, context)?),
        None => Ok(literal),
    }
}

fn milliseconds(seconds: f64) -> Result<i64, DurationError> {
    if seconds.abs() > SECONDS_MAX || seconds.is_nan() {
        return Err(DurationError::OutOfRange);
    }
    Ok((seconds * 1000.0) as i64)
}

fn evaluate(expr: &DurationExpr, context: &PlanContext) -> Result<f64, DurationError> {
    let operand = |e: &Option<Expr>| e.as_ref().map(|e| operand(e, context)).transpose();
    let lhs = operand(&expr.lhs)?;
    let rhs = operand(&expr.rhs)?;
    match (expr.op, lhs, rhs) {
        (DurationOp::Step, ..) => Ok(context.step as f64 / 1000.0),
        (DurationOp::Range, ..) => Ok((context.end - context.grid.start) as f64 / 1000.0),
        (DurationOp::Sub, None, Some(r)) => Ok(-r),
        (DurationOp::Add, None, Some(r)) => Ok(r),
        (DurationOp::Div, Some(_), Some(0.0)) => Err(DurationError::DivisionByZero),
        (DurationOp::Mod, Some(_), Some(0.0)) => Err(DurationError::ModuloByZero),
        (DurationOp::Min, Some(l), Some(r)) => Ok(l.min(r)),
        (DurationOp::Max, Some(l), Some(r)) => Ok(l.max(r)),
        (op, Some(l), Some(r)) => Ok(arithmetic::scalars(binary(op)?, l, r)),
        (_, Some(only), None) | (_, None, Some(only)) if expr.wrapped => Ok(only),
        _ => Err(DurationError::Unexpected),
    }
}

fn binary(op: DurationOp) -> Result<BinaryOp, DurationError> {
    Ok(match op {
        DurationOp::Add => BinaryOp::Add,
        DurationOp::Sub => BinaryOp::Sub,
        DurationOp::Mul => BinaryOp::Mul,
        DurationOp::Div => BinaryOp::Div,
        DurationOp::Mod => BinaryOp::Mod,
        DurationOp::Pow => BinaryOp::Pow,
        _ => return Err(DurationError::Unexpected),
    })
}

fn operand(expr: &Expr, context: &PlanContext) -> Result<f64, DurationError> {
    match expr {
        Expr::Number(n) => Ok(n.value),
        Expr::Duration(d) => evaluate(d, context),
        Expr::Paren(p) => operand(&p.expr, context),
        Expr::Unary(u) => {
            let value = operand(&u.expr, context)?;
            Ok(if u.op == BinaryOp::Sub { -value } else { value })
        }
        _ => Err(DurationError::Unexpected),
    }
}
