//! `absent`: a 1 where nothing is, with the labels that the selector promised.

use super::CallContext;
use crate::eval::error::EvalError;
use crate::eval::value::Row;
use crate::parse::ast::{Call, Expr};
use storage_engine::model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp};

/// The labels of `absent(expr)` and `absent_over_time(expr)`: equality matchers of a selector, `{}` for any other expression.
///
/// A label that is matched twice disappears, even when both matchers say the same (an old rule that Prometheus keeps).
pub fn absent_labels(expr: &Expr) -> Labels {
    let mut expr = expr;
    while let Expr::Paren(inner) = expr {
        expr = &inner.expr;
    }
    let selector = match expr {
        Expr::Vector(selector) => selector,
        Expr::Matrix(matrix) => &matrix.selector,
        _ => return Labels::empty(),
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut labels = LabelsBuilder::default();
    for matcher in selector.matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            labels.del(&matcher.name);
        }
    }
    labels.build()
}

pub(super) fn absent(
    call: &Call,
    rows: Vec<Row>,
    ctx: &mut CallContext<'_>,
) -> Result<Vec<Row>, EvalError> {
    let labels = call.args.first().map(absent_labels).unwrap_or_default();
    let mut out = Row::absent(labels, ctx.grid.count);
    for k in 0..ctx.grid.count {
        ctx.work.tick(1 + rows.len())?;
        if !rows.iter().any(|row| row.present.get(k)) {
            out.put(k, 1.0);
        }
    }
    Ok(match out.present.any() {
        true => vec![out],
        false => Vec::new(),
    })
}
