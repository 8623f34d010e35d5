//! Which cases need something that this engine does not have yet.
//!
//! Promise: a case is set aside only for a stated reason: it reads start timestamps, and the host's storage does not keep them. Everything
//! else must pass.

use crate::parse::ast::{Expr, VectorSelector};
use storage_engine::model::Labels;

/// Loaded series whose full content the store does not have.
#[derive(Debug, Default)]
pub(super) struct Incomplete {
    series: Vec<(Labels, &'static str)>,
}

impl Incomplete {
    pub(super) fn clear(&mut self) {
        self.series.clear();
    }

    pub(super) fn add(&mut self, labels: Labels, reason: &'static str) {
        self.series.push((labels, reason));
    }

    /// Why the selector's answer would differ.
    fn hit(&self, selector: &VectorSelector) -> Option<&'static str> {
        let matches = |labels: &Labels| {
            let mut all = selector.matchers.iter();
            all.all(|m| m.matches(labels.value(&m.name)))
        };
        let hit = self.series.iter().find(|(labels, _)| matches(labels));
        hit.map(|(_, reason)| *reason)
    }
}

/// Why the case cannot be covered, if so.
pub(super) fn not_covered(
    expr: &Expr,
    incomplete: &Incomplete,
    keeps_starts: bool,
) -> Option<&'static str> {
    if keeps_starts {
        return None;
    }
    let mut reason = None;
    visit(expr, &mut |e| {
        if reason.is_none() {
            reason = node_reason(e, incomplete);
        }
    });
    reason
}

fn node_reason(expr: &Expr, incomplete: &Incomplete) -> Option<&'static str> {
    match expr {
        Expr::Vector(selector) => incomplete.hit(selector),
        Expr::Matrix(matrix) => incomplete.hit(&matrix.selector),
        Expr::Call(call) if call.func.name == "start_timestamp" => Some("start timestamps"),
        _ => None,
    }
}

/// Calls `f` for every expression of the tree, parents first.
fn visit(expr: &Expr, f: &mut impl FnMut(&Expr)) {
    f(expr);
    match expr {
        Expr::Paren(e) => visit(&e.expr, f),
        Expr::Unary(e) => visit(&e.expr, f),
        Expr::Binary(e) => {
            visit(&e.lhs, f);
            visit(&e.rhs, f);
        }
        Expr::Aggregate(e) => {
            if let Some(param) = &e.param {
                visit(param, f);
            }
            visit(&e.expr, f);
        }
        Expr::Call(e) => e.args.iter().for_each(|a| visit(a, f)),
        Expr::Subquery(e) => visit(&e.expr, f),
        Expr::Number(_)
        | Expr::String(_)
        | Expr::Vector(_)
        | Expr::Matrix(_)
        | Expr::Duration(_) => {}
    }
}
