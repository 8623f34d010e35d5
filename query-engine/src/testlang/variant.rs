//! The extra evaluations of an instant case: every selector pinned with `@`, printed, at five times.

use crate::parse::ast::{AtModifier, Expr};
use storage_engine::model::TimestampMs;

/// Functions whose result depends on the evaluation time even over pinned selectors.
const TIME_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// Pins all selectors and subqueries that have no `@` yet; selectors inside a subquery move with it and stay.
/// False when the expression depends on the evaluation time in another way.
pub(super) fn pin(expr: &mut Expr, at: TimestampMs) -> bool {
    let pinned = Some(AtModifier::Timestamp(at));
    match expr {
        Expr::Paren(e) => pin(&mut e.expr, at),
        Expr::Unary(e) => pin(&mut e.expr, at),
        Expr::Binary(e) => {
            let left = pin(&mut e.lhs, at);
            pin(&mut e.rhs, at) && left
        }
        Expr::Aggregate(e) => {
            let param = e.param.as_mut().is_none_or(|p| pin(p, at));
            pin(&mut e.expr, at) && param
        }
        Expr::Call(e) => {
            let mut invariant = !TIME_DEPENDENT.contains(&e.func.name);
            for arg in &mut e.args {
                invariant &= pin(arg, at);
            }
            invariant
        }
        Expr::Vector(e) => {
            e.at = e.at.or(pinned);
            true
        }
        Expr::Matrix(e) => {
            e.selector.at = e.selector.at.or(pinned);
            true
        }
        Expr::Subquery(e) => {
            e.at = e.at.or(pinned);
            true
        }
        Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => true,
    }
}

/// When the pinned expression is evaluated: the result must always be the same.
pub(super) fn times(at: TimestampMs) -> Vec<TimestampMs> {
    if at == 0 {
        vec![-1000, 0, 1000]
    } else {
        vec![-10 * at, 0, at / 5, at, 10 * at]
    }
}

/// Expressions that mean something else in a range query.
pub(super) fn depends_on_query(text: &str) -> bool {
    ["start()", "end()", "range()", "step()"]
        .iter()
        .any(|f| text.contains(f))
}
