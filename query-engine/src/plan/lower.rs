//! Syntax tree to nodes.
//!
//! Promise: a part whose selectors are all fixed by `@` (or that has none) is evaluated once, as high up as it reaches, except under
//! functions that read the evaluation time.

use super::{
    Folded, Node, Op, PlanContext, PlanError, Reference, SubqueryWindow, duration, is_subquery,
};
use crate::eval::arithmetic::is_set_operator;
use crate::eval::info::InfoSpec;
use crate::eval::value::Grid;
use crate::fragment::fold::{FoldSpec, is_foldable};
use crate::fragment::{FragmentKind, FragmentSpec, Pick, Reach};
use crate::functions::absent_labels;
use crate::kernels::{Edges, MixedFunction, keeps_name, range_kernel};
use crate::parse::ast::{
    AggregateExpr, AtModifier, BinaryExpr, BinaryOp, Call, DurationExpr, Expr, MatchCardinality,
    MatrixSelector, SubqueryExpr, ValueType, VectorMatching, VectorSelector,
};
use storage_engine::model::{METRIC_NAME, MatchOp};

/// Functions whose result depends on the evaluation time even where their arguments do not.
const TIME_DEPENDENT: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
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

/// Matching of two vectors where the tree gives none.
static PLAIN_MATCHING: VectorMatching = VectorMatching {
    card: MatchCardinality::OneToOne,
    labels: Vec::new(),
    on: false,
    include: Vec::new(),
    fill_left: None,
    fill_right: None,
};

/// Nodes of `expr`, inputs before users.
pub(crate) fn lower<'a>(expr: &'a Expr, context: &PlanContext) -> Result<Vec<Node<'a>>, PlanError> {
    let mut lowering = Lowering {
        context,
        nodes: Vec::new(),
        histogram_stats: false,
    };
    let root = lowering.expr(expr)?;
    lowering.settled(root);
    Ok(lowering.nodes)
}

/// A lowered expression.
#[derive(Clone, Copy)]
struct Lowered {
    node: usize,
    value_type: ValueType,
    /// Does its value not depend on the step?
    invariant: bool,
    /// Is it worth a [`Op::Repeat`] where its user depends on the step?
    repeat: bool,
}

struct Lowering<'a, 'c> {
    context: &'c PlanContext,
    nodes: Vec<Node<'a>>,
    /// The expression being lowered stands under a function that takes counts or sums out of native histograms.
    histogram_stats: bool,
}

impl<'a> Lowering<'a, '_> {
    fn push(&mut self, op: Op<'a>, inputs: Vec<usize>, value_type: ValueType) -> usize {
        self.nodes.push(Node {
            op,
            inputs,
            value_type,
            grid: self.context.grid,
        });
        self.nodes.len() - 1
    }

    /// The node to use where the user depends on the step.
    fn settled(&mut self, lowered: Lowered) -> usize {
        if lowered.repeat {
            self.push(Op::Repeat, vec![lowered.node], lowered.value_type)
        } else {
            lowered.node
        }
    }

    fn expr(&mut self, expr: &'a Expr) -> Result<Lowered, PlanError> {
        match expr {
            Expr::Number(n) => Ok(self.constant(Op::Number(n.value), ValueType::Scalar)),
            Expr::String(s) => Ok(self.constant(Op::Text(&s.value), ValueType::String)),
            Expr::Paren(p) => self.expr(&p.expr),
            Expr::Unary(u) => {
                let inner = self.expr(&u.expr)?;
                if u.op != BinaryOp::Sub {
                    return Ok(inner);
                }
                let node = self.push(Op::Negate, vec![inner.node], inner.value_type);
                Ok(Lowered { node, ..inner })
            }
            Expr::Binary(b) => self.binary_chain(b),
            Expr::Aggregate(a) => self.aggregate(a),
            Expr::Call(c) => {
                let outer = self.histogram_stats;
                match c.func.name {
                    "histogram_avg" | "histogram_count" | "histogram_sum" => {
                        self.histogram_stats = true;
                    }
                    "histogram_fraction"
                    | "histogram_quantile"
                    | "histogram_quantiles"
                    | "histogram_stddev"
                    | "histogram_stdvar" => self.histogram_stats = false,
                    _ => {}
                }
                let lowered = self.call(c);
                self.histogram_stats = outer;
                lowered
            }
            Expr::Vector(v) => {
                let lookback = self.context.lookback_delta;
                let kind = match edges_of(v) {
                    Some(Edges::Smoothed) => FragmentKind::Smoothed { lookback },
                    // The edge of an instant is its sample.
                    Some(Edges::Anchored) | None => FragmentKind::Instant {
                        lookback,
                        pick: Pick::Sample,
                    },
                };
                self.selector(v, kind, ValueType::Vector)
            }
            Expr::Matrix(m) => {
                let edges = edges_of(&m.selector);
                let kind = FragmentKind::Raw {
                    range: self.range(m)?,
                    reach: self.reach(edges),
                    edges,
                };
                let lowered = self.selector(&m.selector, kind, ValueType::Matrix)?;
                Ok(Lowered {
                    repeat: false,
                    ..lowered
                })
            }
            Expr::Subquery(s) => {
                let (inner, window) = self.subquery(s)?;
                let node = self.push(Op::Subquery { window }, vec![inner], ValueType::Matrix);
                Ok(Lowered {
                    node,
                    value_type: ValueType::Matrix,
                    invariant: window.reference.at.is_some(),
                    repeat: false,
                })
            }
            Expr::Duration(d) => {
                let seconds = duration::offset(0, Some(d), self.context)? as f64 / 1000.0;
                Ok(self.constant(Op::Number(seconds), ValueType::Scalar))
            }
        }
    }

    fn constant(&mut self, op: Op<'a>, value_type: ValueType) -> Lowered {
        Lowered {
            node: self.push(op, Vec::new(), value_type),
            value_type,
            invariant: true,
            repeat: false,
        }
    }

    /// `a + b + c …` leans to the left and may be long: walked down by a loop, not by recursion.
    fn binary_chain(&mut self, top: &'a BinaryExpr) -> Result<Lowered, PlanError> {
        let mut chain = vec![top];
        let mut leftmost = &top.lhs;
        while let Expr::Binary(next) = leftmost {
            chain.push(next);
            leftmost = &next.lhs;
        }
        let mut left = self.expr(leftmost)?;
        while let Some(binary) = chain.pop() {
            let right = self.expr(&binary.rhs)?;
            left = self.binary(binary, left, right);
        }
        Ok(left)
    }

    fn binary(&mut self, b: &'a BinaryExpr, left: Lowered, right: Lowered) -> Lowered {
        let invariant = left.invariant && right.invariant;
        let inputs = if invariant {
            vec![left.node, right.node]
        } else {
            vec![self.settled(left), self.settled(right)]
        };
        let scalar = |l: Lowered| l.value_type == ValueType::Scalar;
        let matching = b.matching.as_ref().unwrap_or(&PLAIN_MATCHING);
        let (op, value_type) = match (scalar(left), scalar(right)) {
            (true, true) => (Op::Scalars { op: b.op }, ValueType::Scalar),
            (false, false) if is_set_operator(b.op) => {
                (Op::Set { op: b.op, matching }, ValueType::Vector)
            }
            (false, false) => (
                Op::Vectors {
                    op: b.op,
                    return_bool: b.return_bool,
                    matching,
                    span: b.span,
                },
                ValueType::Vector,
            ),
            (scalar_left, _) => (
                Op::VectorScalar {
                    op: b.op,
                    return_bool: b.return_bool,
                    scalar_left,
                    span: b.span,
                },
                ValueType::Vector,
            ),
        };
        Lowered {
            node: self.push(op, inputs, value_type),
            value_type,
            invariant,
            repeat: invariant,
        }
    }

    fn aggregate(&mut self, a: &'a AggregateExpr) -> Result<Lowered, PlanError> {
        let param = a.param.as_ref().map(|p| self.expr(p)).transpose()?;
        let inner = self.expr(&a.expr)?;
        if param.is_none() && self.fold(a) {
            return Ok(Lowered {
                node: self.nodes.len() - 1,
                value_type: ValueType::Vector,
                ..inner
            });
        }
        let invariant = inner.invariant && param.is_none_or(|p| p.invariant);
        let mut inputs = Vec::with_capacity(2);
        for operand in std::iter::once(inner).chain(param) {
            inputs.push(if invariant {
                operand.node
            } else {
                self.settled(operand)
            });
        }
        Ok(Lowered {
            node: self.push(Op::Aggregate { expr: a }, inputs, ValueType::Vector),
            value_type: ValueType::Vector,
            invariant,
            repeat: invariant,
        })
    }

    /// Makes an aggregation part of the fragment that was lowered last, where the shards can do it: over the rows of one metric (so that no
    /// two series can become equal when the name goes), as they are or after a range function.
    fn fold(&mut self, a: &'a AggregateExpr) -> bool {
        if !is_foldable(a.op) {
            return false;
        }
        let call = match self.nodes.last().map(|n| &n.op) {
            Some(Op::RangeResult { call }) => Some(*call),
            _ => None,
        };
        let at = self
            .nodes
            .len()
            .wrapping_sub(1 + usize::from(call.is_some()));
        let is_input = call.is_none() || self.nodes.last().is_some_and(|n| n.inputs == [at]);
        let Some(Op::Fragment { spec, folded, .. }) = self.nodes.get_mut(at).map(|n| &mut n.op)
        else {
            return false;
        };
        let plain = match spec.kind {
            FragmentKind::Instant { pick, .. } => pick == Pick::Sample && call.is_none(),
            FragmentKind::Smoothed { .. } => call.is_none(),
            FragmentKind::Window { .. } => call.is_some(),
            FragmentKind::Raw { .. } => false,
        };
        let one_metric = spec
            .matchers
            .iter()
            .any(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty());
        if !(is_input && plain && one_metric && folded.is_none()) {
            return false;
        }
        let drops_name = call.is_some_and(|c| !keeps_name(c.func.name));
        spec.fold = Some(FoldSpec {
            op: a.op,
            grouping: a.grouping.clone(),
            without: a.without,
            drop_metadata: drops_name && !self.context.delayed_name_removal,
        });
        *folded = Some(Folded { expr: a, call });
        self.nodes.truncate(at + 1);
        true
    }

    fn call(&mut self, call: &'a Call) -> Result<Lowered, PlanError> {
        let name = call.func.name;
        let value_type = call.func.return_type;
        if let Some(Expr::Vector(selector)) = call.args.first().map(Expr::bare) {
            match name {
                "timestamp" => return self.of_samples(selector, Pick::Time),
                "start_timestamp" => return self.of_samples(selector, Pick::Start),
                _ => {}
            }
        }
        if name == "info" {
            return self.info(call);
        }
        let time_dependent = TIME_DEPENDENT.contains(&name);
        let ranged = call.args.iter().map(Expr::bare).position(is_range);
        let mut scalars = Vec::new();
        let mut source = None;
        for (i, arg) in call.args.iter().enumerate() {
            let arg = arg.bare();
            if Some(i) == ranged {
                source = Some(match arg {
                    Expr::Matrix(m) => RangeSource::Selector(&m.selector, self.range(m)?),
                    _ => match is_subquery(arg) {
                        Some(s) => {
                            let (inner, window) = self.subquery(s)?;
                            RangeSource::Subquery(inner, window)
                        }
                        None => return Err(PlanError::NoRange),
                    },
                });
            } else {
                scalars.push(self.expr(arg)?);
            }
        }
        let fixed_source = source.as_ref().is_none_or(|s| match s {
            RangeSource::Selector(selector, _) => selector.at.is_some(),
            RangeSource::Subquery(_, window) => window.reference.at.is_some(),
        });
        let invariant = !time_dependent && fixed_source && scalars.iter().all(|s| s.invariant);
        let mut inputs = Vec::with_capacity(scalars.len() + 1);
        for scalar in scalars {
            inputs.push(if invariant {
                scalar.node
            } else {
                self.settled(scalar)
            });
        }
        let node = match source {
            Some(source) => self.range_call(call, source, inputs)?,
            None => self.push(Op::Call { call }, inputs, value_type),
        };
        Ok(Lowered {
            node,
            value_type,
            invariant,
            repeat: invariant,
        })
    }

    /// `info(v, {matchers})`: the info series are looked at when the first selector of the argument is.
    fn info(&mut self, call: &'a Call) -> Result<Lowered, PlanError> {
        let Some(base) = call.args.first() else {
            return Err(PlanError::NoRange);
        };
        let reference = self.first_reference(base)?;
        let kind = FragmentKind::Instant {
            lookback: self.context.lookback_delta,
            pick: Pick::FloatTime,
        };
        let spec = FragmentSpec {
            matchers: Vec::new(),
            reference,
            grid: self.context.grid,
            kind,
            starts: false,
            histogram_stats: false,
            fold: None,
        };
        let matchers = match call.args.get(1).map(Expr::bare) {
            Some(Expr::Vector(selector)) => selector.matchers.as_slice(),
            _ => &[],
        };
        let info = InfoSpec::new(matchers, spec);
        let base = self.expr(base)?;
        let invariant = base.invariant && reference.at.is_some();
        let input = match invariant {
            true => base.node,
            false => self.settled(base),
        };
        Ok(Lowered {
            node: self.push(Op::Info { info }, vec![input], ValueType::Vector),
            value_type: ValueType::Vector,
            invariant,
            repeat: invariant,
        })
    }

    /// Where the first selector of `expr` looks, in the order written, seen from the steps of `expr` itself.
    fn first_reference(&self, expr: &Expr) -> Result<Reference, PlanError> {
        const HERE: Reference = Reference {
            offset: 0,
            at: None,
        };
        let inside = |outer: Reference, own: Reference| match own.at {
            Some(_) => own,
            None => Reference {
                offset: outer.offset.saturating_add(own.offset),
                at: outer.at,
            },
        };
        let mut open = vec![(expr, HERE)];
        while let Some((expr, outer)) = open.pop() {
            let selector: &VectorSelector = match expr {
                Expr::Vector(selector) => selector,
                Expr::Matrix(matrix) => &matrix.selector,
                Expr::Subquery(s) => {
                    let offset_expr = s.original_offset_expr.as_deref();
                    let own = self.reference(s.original_offset, offset_expr, s.at)?;
                    open.push((&s.expr, inside(outer, own)));
                    continue;
                }
                Expr::Aggregate(e) => {
                    open.extend(e.param.as_ref().map(|p| (p, outer)));
                    open.push((&e.expr, outer));
                    continue;
                }
                other => {
                    let children = other.children().into_iter().rev();
                    open.extend(children.map(|child| (child, outer)));
                    continue;
                }
            };
            let offset_expr = selector.original_offset_expr.as_deref();
            let own = self.reference(selector.original_offset, offset_expr, selector.at)?;
            return Ok(inside(outer, own));
        }
        Ok(HERE)
    }

    fn range_call(
        &mut self,
        call: &'a Call,
        source: RangeSource<'a>,
        mut inputs: Vec<usize>,
    ) -> Result<usize, PlanError> {
        // As in Prometheus, parentheses around an argument are not part of it.
        let notes = call.args.first().map_or(call.span, |a| a.bare().span());
        let name = call.func.name;
        let Some(mut kernel) = range_kernel(name) else {
            // The evaluator answers with the name of the function it does not know.
            return Ok(self.push(Op::Call { call }, inputs, call.func.return_type));
        };
        let mut mixed = MixedFunction::of(name);
        let rows = match source {
            RangeSource::Selector(selector, range) => {
                let edges = edges_of(selector);
                if let Some(edges) = edges {
                    let function = name;
                    kernel = edges
                        .kernel(name)
                        .ok_or(PlanError::Edges { edges, function })?;
                    mixed = mixed.with(edges);
                }
                let kind = FragmentKind::Window {
                    range,
                    reach: self.reach(edges),
                    kernel,
                    mixed,
                };
                let mut spec = self.spec(selector, kind)?;
                spec.starts = self.context.use_start_timestamps
                    && edges.is_none()
                    && matches!(name, "rate" | "increase" | "irate" | "resets");
                let op = Op::Fragment {
                    spec,
                    selector,
                    function: Some(name),
                    notes,
                    folded: None,
                };
                self.push(op, inputs, ValueType::Vector)
            }
            RangeSource::Subquery(inner, window) => {
                inputs.insert(0, inner);
                let op = Op::Windows {
                    function: name,
                    kernel,
                    mixed,
                    window,
                    notes,
                };
                self.push(op, inputs, ValueType::Vector)
            }
        };
        let op = if call.func.name == "absent_over_time" {
            Op::AbsentOverTime {
                labels: call.args.first().map(absent_labels).unwrap_or_default(),
            }
        } else {
            Op::RangeResult { call }
        };
        Ok(self.push(op, vec![rows], ValueType::Vector))
    }

    /// `timestamp(selector)` and `start_timestamp(selector)`: times of the samples themselves. Everything else has the step's time.
    fn of_samples(
        &mut self,
        selector: &'a VectorSelector,
        pick: Pick,
    ) -> Result<Lowered, PlanError> {
        let kind = FragmentKind::Instant {
            lookback: self.context.lookback_delta,
            pick,
        };
        let rows = self.selector(selector, kind, ValueType::Vector)?;
        if let Some(Op::Fragment { spec, .. }) = self.nodes.last_mut().map(|n| &mut n.op) {
            spec.starts = pick == Pick::Start;
        }
        Ok(Lowered {
            node: self.push(Op::DropNames, vec![rows.node], ValueType::Vector),
            value_type: ValueType::Vector,
            invariant: false,
            repeat: false,
        })
    }

    fn selector(
        &mut self,
        selector: &'a VectorSelector,
        kind: FragmentKind,
        value_type: ValueType,
    ) -> Result<Lowered, PlanError> {
        let spec = self.spec(selector, kind)?;
        let fixed = spec.reference.at.is_some();
        let op = Op::Fragment {
            spec,
            selector,
            function: None,
            notes: selector.span,
            folded: None,
        };
        Ok(Lowered {
            node: self.push(op, Vec::new(), value_type),
            value_type,
            invariant: fixed,
            repeat: fixed,
        })
    }

    fn spec(
        &self,
        selector: &VectorSelector,
        kind: FragmentKind,
    ) -> Result<FragmentSpec, PlanError> {
        Ok(FragmentSpec {
            matchers: selector.matchers.clone(),
            reference: self.reference(
                selector.original_offset,
                selector.original_offset_expr.as_deref(),
                selector.at,
            )?,
            grid: Grid {
                count: 0,
                ..self.context.grid
            },
            kind,
            starts: false,
            histogram_stats: self.histogram_stats,
            fold: None,
        })
    }

    fn reference(
        &self,
        offset: i64,
        expr: Option<&DurationExpr>,
        at: Option<AtModifier>,
    ) -> Result<Reference, PlanError> {
        Ok(Reference {
            offset: duration::offset(offset, expr, self.context)?,
            at: at.map(|at| match at {
                AtModifier::Timestamp(t) => t,
                AtModifier::Start => self.context.grid.start,
                AtModifier::End => self.context.end,
            }),
        })
    }

    /// Edges look for samples as far as an instant selector.
    fn reach(&self, edges: Option<Edges>) -> Reach {
        let lookback = self.context.lookback_delta;
        match edges {
            None => Reach::default(),
            Some(Edges::Anchored) => Reach {
                before: lookback,
                after: 0,
            },
            Some(Edges::Smoothed) => Reach {
                before: lookback,
                after: lookback,
            },
        }
    }

    fn range(&self, m: &MatrixSelector) -> Result<i64, PlanError> {
        Ok(duration::positive(
            m.range,
            m.range_expr.as_deref(),
            self.context,
        )?)
    }

    fn subquery(&mut self, s: &'a SubqueryExpr) -> Result<(usize, SubqueryWindow), PlanError> {
        let window = SubqueryWindow {
            reference: self.reference(
                s.original_offset,
                s.original_offset_expr.as_deref(),
                s.at,
            )?,
            range: duration::positive(s.range, s.range_expr.as_deref(), self.context)?,
            step: match duration::positive(s.step, s.step_expr.as_deref(), self.context)? {
                0 => self.context.default_subquery_step,
                step => step,
            },
        };
        let outer = std::mem::replace(&mut self.histogram_stats, false);
        let inner = self.expr(&s.expr);
        self.histogram_stats = outer;
        Ok((self.settled(inner?), window))
    }
}

/// Where the windows of a range function come from.
enum RangeSource<'a> {
    Selector(&'a VectorSelector, i64),
    Subquery(usize, SubqueryWindow),
}

fn edges_of(selector: &VectorSelector) -> Option<Edges> {
    if selector.anchored {
        Some(Edges::Anchored)
    } else {
        selector.smoothed.then_some(Edges::Smoothed)
    }
}

fn is_range(expr: &Expr) -> bool {
    matches!(expr, Expr::Matrix(_) | Expr::Subquery(_))
}
