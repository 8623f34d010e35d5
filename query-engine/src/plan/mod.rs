//! From syntax tree to program: nodes in evaluation order, each with its inputs, its grid and, at the leaves, a fragment for the shards.
//!
//! Promise: all durations, offsets and `@` times are numbers; parts that do not depend on the step are evaluated once; an input always has a
//! smaller index than its user, so neither evaluation nor drop recurses. Not here: data, clocks.

pub(crate) mod describe;
mod duration;
mod grid;
mod lower;
mod share;

pub(crate) use duration::DurationError;

use crate::eval::info::InfoSpec;
use crate::eval::value::Grid;
use crate::fragment::FragmentSpec;
use crate::kernels::{Edges, MixedFunction, RangeKernel};
use crate::parse::ast::{
    AggregateExpr, BinaryOp, Call, Expr, Span, SubqueryExpr, ValueType, VectorMatching,
    VectorSelector,
};
use storage_engine::model::{Labels, Matcher, TimestampMs};

/// Why a tree cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// A duration expression without a usable value.
    #[error("{0}")]
    Duration(#[from] DurationError),
    /// `anchored` or `smoothed` with a function that has no use for it.
    #[error("{} modifier can only be used with: {} - not with {function}", .edges.word(), .edges.functions())]
    Edges {
        edges: Edges,
        function: &'static str,
    },
    /// A range function over something that has no range; the type checker lets none through.
    #[error("expected a range vector")]
    NoRange,
}

/// What the planner must know beside the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanContext {
    /// The query's steps.
    pub(crate) grid: Grid,
    /// The query's end as asked for; the last step may be earlier.
    pub(crate) end: TimestampMs,
    /// The query's step, 0 for an instant query.
    pub(crate) step: i64,
    /// How far back an instant selector looks.
    pub(crate) lookback_delta: i64,
    /// Resolution of subqueries that give none.
    pub(crate) default_subquery_step: i64,
    /// Names go at the end of the evaluation.
    pub(crate) delayed_name_removal: bool,
    /// Start timestamps tell of counter resets.
    pub(crate) use_start_timestamps: bool,
}

/// Where a selector or subquery looks: `at` or the step's time, minus `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Milliseconds back; negative looks ahead.
    pub(crate) offset: i64,
    /// A fixed time in place of the step's.
    pub(crate) at: Option<TimestampMs>,
}

impl Reference {
    /// The time looked at from a step at `t`.
    #[inline]
    pub(crate) fn time(self, t: TimestampMs) -> TimestampMs {
        self.at.unwrap_or(t).saturating_sub(self.offset)
    }
}

/// One operation.
#[derive(Debug)]
pub(crate) enum Op<'a> {
    /// A constant.
    Number(f64),
    /// A text.
    Text(&'a [u8]),
    /// Work of the shards; inputs are the scalar arguments of the range function.
    Fragment {
        spec: FragmentSpec,
        /// As written, and the range function over it, if there is one.
        selector: &'a VectorSelector,
        function: Option<&'static str>,
        /// Where notes of the kernel point.
        notes: Span,
        /// The aggregation that the shards fold the rows into, if they do.
        folded: Option<Folded<'a>>,
    },
    /// A range function over a subquery: inputs are the inner vector and the scalar arguments.
    Windows {
        function: &'static str,
        kernel: RangeKernel,
        mixed: MixedFunction,
        window: SubqueryWindow,
        notes: Span,
    },
    /// A subquery that is the whole query; input is the inner vector.
    Subquery { window: SubqueryWindow },
    /// Names, duplicates and infos of a range function's rows.
    RangeResult { call: &'a Call },
    /// 1 where no row has a number.
    AbsentOverTime { labels: Labels },
    /// Drops names.
    DropNames,
    /// Repeats the only step of the input over the grid.
    Repeat,
    /// Unary minus.
    Negate,
    /// Two scalars.
    Scalars { op: BinaryOp },
    /// A vector and a scalar; inputs are left and right as written.
    VectorScalar {
        op: BinaryOp,
        return_bool: bool,
        scalar_left: bool,
        span: Span,
    },
    /// Two vectors.
    Vectors {
        op: BinaryOp,
        return_bool: bool,
        matching: &'a VectorMatching,
        span: Span,
    },
    /// `and`, `or`, `unless`.
    Set {
        op: BinaryOp,
        matching: &'a VectorMatching,
    },
    /// An aggregation; inputs are the vector and, if there is one, the parameter.
    Aggregate { expr: &'a AggregateExpr },
    /// `info()`; input is the vector that gets labels.
    Info { info: InfoSpec },
    /// A function over values.
    Call { call: &'a Call },
}

/// What a folded fragment stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folded<'a> {
    pub(crate) expr: &'a AggregateExpr,
    /// The range function whose rows are folded; `None` for plain samples.
    pub(crate) call: Option<&'a Call>,
}

/// Window and resolution of a subquery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubqueryWindow {
    pub(crate) reference: Reference,
    pub(crate) range: i64,
    pub(crate) step: i64,
}

/// A node of the program.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) op: Op<'a>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) value_type: ValueType,
    /// Steps at which the node is evaluated; `count` 0 where a subquery has none.
    pub(crate) grid: Grid,
}

/// A planned query; the last node is the result.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    /// For each node the first one that computes the same: itself, mostly.
    pub(crate) same: Vec<usize>,
}

impl Program<'_> {
    /// About how many bytes the regular expressions of the selectors take.
    pub(crate) fn regex_bytes(&self) -> usize {
        let matchers = self.nodes.iter().flat_map(|node| match &node.op {
            Op::Fragment { spec, .. } => spec.matchers.as_slice(),
            _ => &[],
        });
        matchers.map(Matcher::compiled_bytes).sum()
    }
}

/// Plans `expr`.
pub(crate) fn plan<'a>(expr: &'a Expr, context: &PlanContext) -> Result<Program<'a>, PlanError> {
    let mut nodes = lower::lower(expr, context)?;
    grid::assign(&mut nodes, context);
    let same = share::first_of_equals(&nodes);
    Ok(Program { nodes, same })
}

/// Matchers of a subquery are nobody's: its `absent_over_time` has no labels.
pub(crate) fn is_subquery(expr: &Expr) -> Option<&SubqueryExpr> {
    match expr {
        Expr::Subquery(s) => Some(s),
        _ => None,
    }
}
