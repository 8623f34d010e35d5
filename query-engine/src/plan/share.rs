//! Which nodes of a program compute the same: such a value is computed once.
//!
//! Promise: equal operations over equal inputs at equal steps, and nothing else; where in the text they stand does not matter, as an annotation
//! is told once, with the place that came first. Range vectors are not shared.

use super::{Node, Op};
use crate::eval::value::Grid;
use crate::fragment::FragmentKind;
use crate::parse::ast::{AggregateExpr, Call};
use hashbrown::HashMap;

/// For each node the first one that computes the same.
pub(super) fn first_of_equals(nodes: &[Node<'_>]) -> Vec<usize> {
    let mut same: Vec<usize> = Vec::with_capacity(nodes.len());
    // Nodes with equal keys may differ; they are compared.
    let mut known: HashMap<(Key<'_>, Vec<usize>), Vec<usize>> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|&input| same[input]).collect();
        let candidates = known.entry((Key::of(node), inputs)).or_default();
        let equal = |&&other: &&usize| {
            candidates.len() <= CANDIDATES_MAX && is_same(&nodes[other].op, &node.op)
        };
        match candidates.iter().find(equal) {
            Some(&first) => same.push(first),
            None => {
                candidates.push(i);
                same.push(i);
            }
        }
    }
    same
}

/// Nodes of one key that are compared with each other; of more, further ones are evaluated each for itself.
const CANDIDATES_MAX: usize = 64;

/// What nodes that compute the same agree in, apart from their inputs.
#[derive(PartialEq, Eq, Hash)]
struct Key<'n> {
    operation: std::mem::Discriminant<Op<'n>>,
    steps: (i64, i64, usize),
    /// A word of the operation that is cheap to get at.
    word: Option<&'n str>,
    number: u64,
}

impl<'n> Key<'n> {
    fn of(node: &'n Node<'n>) -> Self {
        let Grid { start, step, count } = node.grid;
        let (word, number) = match &node.op {
            Op::Number(value) => (None, value.to_bits()),
            Op::Fragment { spec, function, .. } => {
                let first = spec.matchers.first().map(|m| m.value.as_str());
                (function.or(first), spec.reference.offset as u64)
            }
            Op::Call { call } => (Some(call.func.name), 0),
            Op::Aggregate { expr } => (Some(expr.op.as_str()), 0),
            _ => (None, 0),
        };
        Key {
            operation: std::mem::discriminant(&node.op),
            steps: (start, step, count),
            word,
            number,
        }
    }
}

/// Do two operations make the same of the same inputs?
fn is_same(a: &Op<'_>, b: &Op<'_>) -> bool {
    match (a, b) {
        (Op::Number(a), Op::Number(b)) => a.to_bits() == b.to_bits(),
        (Op::Text(a), Op::Text(b)) => a == b,
        (
            Op::Fragment {
                spec: a,
                function: f,
                folded: x,
                ..
            },
            Op::Fragment {
                spec: b,
                function: g,
                folded: y,
                ..
            },
        ) => {
            let names = |folded: &Option<super::Folded<'_>>| {
                folded.map(|folded| folded.call.map(|call| call.func.name))
            };
            let is_raw = matches!(a.kind, FragmentKind::Raw { .. });
            !is_raw && f == g && names(x) == names(y) && a.is_same(b)
        }
        (
            Op::Windows {
                function: f,
                mixed: m,
                window: v,
                ..
            },
            Op::Windows {
                function: g,
                mixed: n,
                window: w,
                ..
            },
        ) => f == g && m == n && (v.reference, v.range, v.step) == (w.reference, w.range, w.step),
        (Op::RangeResult { call: a }, Op::RangeResult { call: b }) => a.func.name == b.func.name,
        (Op::AbsentOverTime { labels: a }, Op::AbsentOverTime { labels: b }) => a == b,
        (Op::DropNames, Op::DropNames) | (Op::Repeat, Op::Repeat) | (Op::Negate, Op::Negate) => {
            true
        }
        (Op::Scalars { op: a }, Op::Scalars { op: b }) => a == b,
        (
            Op::VectorScalar {
                op: a,
                return_bool: x,
                scalar_left: l,
                ..
            },
            Op::VectorScalar {
                op: b,
                return_bool: y,
                scalar_left: r,
                ..
            },
        ) => (a, x, l) == (b, y, r),
        (
            Op::Vectors {
                op: a,
                return_bool: x,
                matching: m,
                ..
            },
            Op::Vectors {
                op: b,
                return_bool: y,
                matching: n,
                ..
            },
        ) => (a, x) == (b, y) && m == n,
        (Op::Set { op: a, matching: m }, Op::Set { op: b, matching: n }) => a == b && m == n,
        (Op::Aggregate { expr: a }, Op::Aggregate { expr: b }) => same_aggregation(a, b),
        (Op::Call { call: a }, Op::Call { call: b }) => same_call(a, b),
        // `info()` asks the shards by itself; a range vector is never an input.
        _ => false,
    }
}

/// Their operands are inputs.
fn same_aggregation(a: &AggregateExpr, b: &AggregateExpr) -> bool {
    (a.op, a.without) == (b.op, b.without) && a.grouping == b.grouping
}

/// Their arguments are inputs; only `absent` looks at how its argument is written.
fn same_call(a: &Call, b: &Call) -> bool {
    let labels = |call: &Call| call.args.first().map(crate::functions::absent_labels);
    a.func.name == b.func.name && (a.func.name != "absent" || labels(a) == labels(b))
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParserOptions, parse};
    use crate::plan::{PlanContext, plan};

    /// How many nodes are evaluated, of how many.
    fn evaluated(query: &str) -> (usize, usize) {
        let context = PlanContext {
            grid: crate::eval::value::Grid {
                start: 0,
                step: 1_000,
                count: 10,
            },
            end: 9_000,
            step: 1_000,
            lookback_delta: 300_000,
            default_subquery_step: 60_000,
            delayed_name_removal: false,
            use_start_timestamps: false,
        };
        let expr = parse(query, &ParserOptions::all()).unwrap();
        let program = plan(&expr, &context).unwrap();
        let same = program.same.iter().enumerate();
        (
            same.filter(|(i, first)| i == *first).count(),
            program.same.len(),
        )
    }

    #[test]
    fn equal_parts_are_evaluated_once() {
        assert_eq!(evaluated("a + a"), (2, 3));
        assert_eq!(evaluated("rate(a[5m]) / rate(a[5m])"), (3, 5));
        assert_eq!(
            evaluated("sum by (x) (rate(a[5m])) / sum by (x) (rate(a[5m]))"),
            (2, 3)
        );
        assert_eq!(evaluated("abs(a + 1) + abs(a + 1)"), (5, 9));
        assert_eq!(
            evaluated("max_over_time(a[5m:1m]) - max_over_time(a[5m:1m])"),
            (4, 7)
        );
        assert_eq!(evaluated("topk(2, a) or topk(2, a)"), (4, 7));
        assert_eq!(evaluated("absent(a) or absent(a)"), (3, 5));
        assert_eq!(
            evaluated(
                "label_replace(a, \"x\", \"y\", \"z\", \"w\") or label_replace(a, \"x\", \"y\", \"z\", \"w\")"
            ),
            (7, 13)
        );
    }

    #[test]
    fn parts_that_differ_are_not() {
        for query in [
            "a + b",
            "a + a offset 1m",
            "a + a @ 5",
            "rate(a[5m]) / rate(a[6m])",
            "rate(a[5m]) / increase(a[5m])",
            "a{x=\"1\"} + a{x=\"2\"}",
            "sum by (x) (a) + sum by (y) (a)",
            "sum(a) + avg(a)",
            "1 + 2",
        ] {
            let (once, all) = evaluated(query);
            assert_eq!(once, all, "{query}");
        }
        // What is below them is shared, they are not.
        assert_eq!(evaluated("(a + 1) - (a - 1)"), (5, 7));
        assert_eq!(evaluated("topk(1, a) or bottomk(1, a)"), (5, 7));
        assert_eq!(
            evaluated("max_over_time(a[5m:1m]) - max_over_time(a[5m:2m])"),
            (7, 7)
        );
    }
}
