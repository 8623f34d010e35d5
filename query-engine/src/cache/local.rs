//! Which queries have answers that belong to their steps: the value at a step is the same whatever the first and the last step are, and depends on
//! no sample later than the step.
//!
//! Promise: when in doubt, no. Not here: what is done with that (`cache`).

use crate::parse::ast::{AggregateOp, Expr, VectorSelector};
use storage_engine::model::{METRIC_NAME, MatchOp};

/// Does each step of the answer stand for itself?
pub(super) fn is_local(expr: &Expr) -> bool {
    let (mut local, mut selectors) = (true, 0);
    expr.walk(&mut |expr| match expr {
        Expr::Vector(selector) => {
            selectors += 1;
            local &= is_local_selector(selector);
        }
        Expr::Matrix(e) => {
            selectors += 1;
            local &= e.range_expr.is_none() && is_local_selector(&e.selector);
        }
        Expr::Subquery(e) => {
            let plain =
                e.range_expr.is_none() && e.step_expr.is_none() && e.original_offset_expr.is_none();
            local &= plain && e.at.is_none() && e.original_offset >= 0;
        }
        Expr::Call(e) => local &= is_local_function(e.func.name),
        // Which series they take may depend on which others the range has.
        Expr::Aggregate(e) => {
            local &= !matches!(e.op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        }
        Expr::Duration(_) => local = false,
        Expr::Number(_) | Expr::String(_) | Expr::Paren(_) | Expr::Unary(_) | Expr::Binary(_) => {}
    });
    // Without a selector there is nothing to save.
    local && selectors > 0
}

fn is_local_selector(selector: &VectorSelector) -> bool {
    // Of one name: a function that drops the names of several may find the same labels twice within the whole range only.
    let one_name = selector
        .matchers
        .iter()
        .any(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty());
    one_name
        && selector.at.is_none()
        && selector.original_offset >= 0
        && selector.original_offset_expr.is_none()
        && !selector.anchored
        && !selector.smoothed
}

fn is_local_function(name: &str) -> bool {
    // Those that know the query's range, choose among all series of it, may make two series one, or look at start timestamps, which come on
    // ways of their own.
    const NOT: [&str; 8] = [
        "end",
        "info",
        "label_join",
        "label_replace",
        "range",
        "start",
        "start_timestamp",
        "step",
    ];
    !NOT.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParserOptions, parse};

    #[test]
    fn only_queries_whose_steps_stand_for_themselves() {
        let options = ParserOptions {
            experimental_functions: true,
            ..ParserOptions::default()
        };
        for (text, expected) in [
            ("up", true),
            (
                "sum by (job) (rate(x_total{a=\"b\"}[5m] offset 1h)) / 2",
                true,
            ),
            ("max_over_time(rate(x[1m])[10m:30s])", true),
            ("topk(3, x) or absent(y)", true),
            ("time()", false),
            ("vector(1)", false),
            ("{a=\"b\"}", false),
            ("rate({__name__=~\"a|b\"}[1m])", false),
            ("x @ 100", false),
            ("x offset -1m", false),
            ("max_over_time(x[10m:] @ end())", false),
            ("label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")", false),
            ("limitk(3, x)", false),
            ("x * (end() - start())", false),
        ] {
            let Ok(expr) = parse(text, &options) else {
                assert!(!expected, "{text}");
                continue;
            };
            assert_eq!(is_local(&expr), expected, "{text}");
        }
    }
}
