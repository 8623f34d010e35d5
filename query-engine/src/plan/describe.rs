//! Nodes in words, for who asks what a query does (`explain=1`).

use super::{Node, Op};
use crate::eval::arithmetic::is_comparison;
use crate::explain::Place;
use crate::fragment::FragmentKind;
use crate::functions::texts::open_metrics_float;
use crate::parse::ast::{AggregateExpr, BinaryOp, VectorMatching};
use storage_engine::model::format_duration_ms;

/// What a node does, to what, and where.
pub(crate) fn node(node: &Node<'_>) -> (&'static str, String, Place) {
    let mut place = Place::Coordinator;
    let (operator, detail) = match &node.op {
        Op::Number(value) => ("number", open_metrics_float(*value)),
        Op::Text(bytes) => ("string", String::from_utf8_lossy(bytes).into_owned()),
        Op::Fragment {
            spec,
            selector,
            function,
            folded,
            ..
        } => {
            place = Place::Shards;
            let range = match spec.kind {
                FragmentKind::Window { range, .. } | FragmentKind::Raw { range, .. } => {
                    format!(" over {}", format_duration_ms(range))
                }
                FragmentKind::Instant { .. } | FragmentKind::Smoothed { .. } => String::new(),
            };
            let mut detail = match function {
                Some(function) => format!("{function} of {selector}{range}"),
                None => format!("{selector}{range}"),
            };
            if let Some(folded) = folded {
                detail = format!("{} of {detail}", aggregation(folded.expr));
            }
            let operator = match (function, folded) {
                (_, Some(_)) => "partial aggregation",
                (Some(_), None) => "range function",
                (None, None) => "selector",
            };
            (operator, detail)
        }
        Op::Windows {
            function, window, ..
        } => {
            let (range, step) = (window.range, window.step);
            let (range, step) = (format_duration_ms(range), format_duration_ms(step));
            let detail = format!("{function} over {range} in steps of {step}");
            ("range function over subquery", detail)
        }
        Op::Subquery { window } => {
            let (range, step) = (window.range, window.step);
            let (range, step) = (format_duration_ms(range), format_duration_ms(step));
            ("subquery", format!("{range} in steps of {step}"))
        }
        Op::RangeResult { call } => ("names of a range function", call.func.name.to_owned()),
        Op::AbsentOverTime { labels } => ("absent_over_time", labels.to_string()),
        Op::DropNames => ("drop names", String::new()),
        Op::Repeat => ("repeat at every step", String::new()),
        Op::Negate => ("negation", String::new()),
        Op::Scalars { op } => ("scalar operation", op.as_str().to_owned()),
        Op::VectorScalar {
            op, return_bool, ..
        } => {
            let operator = match is_comparison(*op) {
                true => "comparison with a scalar",
                false => "operation with a scalar",
            };
            (operator, with_bool(*op, *return_bool))
        }
        Op::Vectors {
            op,
            return_bool,
            matching,
            ..
        } => (
            "join",
            with_bool(*op, *return_bool) + &matching_text(matching),
        ),
        Op::Set { op, matching } => (
            "set operation",
            op.as_str().to_owned() + &matching_text(matching),
        ),
        Op::Aggregate { expr } => ("aggregation", aggregation(expr)),
        Op::Info { .. } => ("info", String::new()),
        Op::Call { call } => ("function", call.func.name.to_owned()),
    };
    (operator, detail, place)
}

fn aggregation(expr: &AggregateExpr) -> String {
    let mut text = expr.op.as_str().to_owned();
    if expr.without || !expr.grouping.is_empty() {
        let word = if expr.without { "without" } else { "by" };
        text += &format!(" {word} ({})", expr.grouping.join(", "));
    }
    text
}

fn with_bool(op: BinaryOp, return_bool: bool) -> String {
    let suffix = if return_bool { " bool" } else { "" };
    format!("{}{suffix}", op.as_str())
}

fn matching_text(matching: &VectorMatching) -> String {
    if !matching.on && matching.labels.is_empty() {
        return String::new();
    }
    let word = if matching.on { "on" } else { "ignoring" };
    format!(" {word} ({})", matching.labels.join(", "))
}
