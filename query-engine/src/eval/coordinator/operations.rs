//! What each operation of the coordinator does with its inputs.
//!
//! Promise: memory is paid for before it is taken, and long loops look at the cancel flag. Not here: the order of the nodes, fragments
//! (`super`), what the operators themselves do (`arithmetic`, `matching`, `sets`, `aggregate`, `functions`).

use super::Coordinator;
use crate::eval::annotations::Severity;
use crate::eval::arithmetic::{self, ScalarOperation};
use crate::eval::error::EvalError;
use crate::eval::matching::VectorOperation;
use crate::eval::memory::{Held, Work, column_cost, histogram_cost, row_cost};
use crate::eval::text::go_quote;
use crate::eval::value::{Bits, Grid, Row, Sample, Value};
use crate::eval::{aggregate, ordering, rows, sets};
use crate::fragment::mixed::{MixedSamples, RawSeries};
use crate::fragment::series::{SeriesEvaluation, SeriesProgress, remove_stale};
use crate::fragment::{FragmentKind, Reach};
use crate::functions::{self, CallContext};
use crate::histogram::{FloatHistogram, scale};
use crate::kernels::{KernelNotes, MixedFunction, RangeKernel, keeps_name};
use crate::limits::CHECK_WORK;
use crate::parse::ast::{Call, Expr, Span, ValueType};
use crate::plan::{Node, Op, SubqueryWindow};
use std::sync::Arc;
use storage_engine::model::{Labels, SampleColumns};

impl Coordinator<'_> {
    /// Evaluates a node that needs nothing from the shards.
    pub(super) fn evaluate(
        &mut self,
        node: &Node<'_>,
        inner: Grid,
        inputs: Vec<Value>,
        work: &mut Work,
    ) -> Result<Value, EvalError> {
        let count = node.grid.count;
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().unwrap_or_else(|| nothing(ValueType::Vector));
        Ok(match &node.op {
            Op::Number(v) => {
                work.take(column_cost(count))?;
                Value::Scalar(vec![*v; count])
            }
            Op::Text(bytes) => Value::String(bytes.to_vec()),
            Op::Fragment { .. } | Op::Subquery { .. } | Op::Info { .. } => next(),
            Op::Windows {
                kernel,
                mixed,
                window,
                notes,
                ..
            } => {
                let rows = vector(next())?;
                let args = scalars(inputs.collect());
                Value::Vector(self.windows(
                    rows,
                    (inner, node.grid),
                    *window,
                    (*kernel, *mixed),
                    &args,
                    *notes,
                    work,
                )?)
            }
            Op::RangeResult { call } => {
                Value::Vector(self.range_result(call, vector(next())?, work)?)
            }
            Op::AbsentOverTime { labels } => {
                let mut missing = Bits::ones(count);
                for row in vector(next())? {
                    work.tick(1 + count / 64)?;
                    missing.subtract(&row.present);
                }
                let mut out = Vec::new();
                if missing.any() {
                    work.row(labels, count)?;
                    out.push(Row {
                        labels: labels.clone(),
                        drop_name: true,
                        values: vec![1.0; count],
                        present: missing,
                        histograms: None,
                    });
                }
                Value::Vector(out)
            }
            Op::DropNames => {
                let mut rows = vector(next())?;
                for row in &mut rows {
                    work.tick(8)?;
                    rows::drop_name(row, self.delayed_name_removal);
                }
                Value::Vector(self.joined(rows, count, work)?)
            }
            Op::Repeat => repeat(next(), count, work)?,
            Op::Negate => match next() {
                Value::Scalar(mut steps) => {
                    for v in &mut steps {
                        *v = -*v;
                    }
                    Value::Scalar(steps)
                }
                value => {
                    let mut rows = vector(value)?;
                    for row in &mut rows {
                        work.tick(row.values.len() + 8)?;
                        for v in &mut row.values {
                            *v = -*v;
                        }
                        negate_histograms(row, work)?;
                        rows::drop_name(row, self.delayed_name_removal);
                    }
                    if !self.delayed_name_removal {
                        rows = rows::join_same_labels(rows, work)?;
                    }
                    Value::Vector(rows)
                }
            },
            Op::Scalars { op } => {
                let mut left = scalar(next())?;
                let right = scalar(next())?;
                for (l, r) in left.iter_mut().zip(right) {
                    *l = arithmetic::scalars(*op, *l, r);
                }
                Value::Scalar(left)
            }
            Op::VectorScalar {
                op,
                return_bool,
                scalar_left,
                span,
            } => {
                let (left, right) = (next(), next());
                let (vector_side, scalar_side) = if *scalar_left {
                    (right, left)
                } else {
                    (left, right)
                };
                let mut rows = vector(vector_side)?;
                let operation = ScalarOperation {
                    op: *op,
                    return_bool: *return_bool,
                    scalar_left: *scalar_left,
                    span: *span,
                    delayed_name_removal: self.delayed_name_removal,
                };
                let annotations = &mut self.annotations;
                operation.run(&mut rows, &scalar(scalar_side)?, annotations, work)?;
                Value::Vector(self.joined(rows, count, work)?)
            }
            Op::Vectors {
                op,
                return_bool,
                matching,
                span,
            } => {
                let (left, right) = (vector(next())?, vector(next())?);
                let operation = VectorOperation {
                    op: *op,
                    return_bool: *return_bool,
                    matching,
                    span: *span,
                    delayed_name_removal: self.delayed_name_removal,
                    count,
                };
                let rows = operation.run(&left, &right, work, &mut self.annotations)?;
                Value::Vector(self.joined(rows, count, work)?)
            }
            Op::Set { op, matching } => {
                let (left, right) = (vector(next())?, vector(next())?);
                let rows = sets::run(*op, left, right, matching, work)?;
                Value::Vector(self.joined(rows, count, work)?)
            }
            Op::Aggregate { expr } => {
                let rows = vector(next())?;
                let param = inputs.next();
                let annotations = &mut self.annotations;
                let mut rows = aggregate::run(expr, rows, param, count, annotations, work)?;
                rows::retain_present(&mut rows);
                Value::Vector(rows)
            }
            Op::Call { call } => self.call(call, node.grid, inputs.collect(), work)?,
        })
    }

    fn call(
        &mut self,
        call: &Call,
        grid: Grid,
        args: Vec<Value>,
        work: &mut Work,
    ) -> Result<Value, EvalError> {
        let mut context = CallContext {
            grid,
            query: self.query,
            delayed_name_removal: self.delayed_name_removal,
            annotations: &mut self.annotations,
            work,
        };
        Ok(match functions::call(call, args, &mut context)? {
            Value::Vector(rows) => Value::Vector(self.joined(rows, grid.count, work)?),
            value => value,
        })
    }

    /// Rows with a number, each label set once. With delayed name removal a single step may hold equal label sets for a while: the names that
    /// tell them apart from others may still go or come back.
    fn joined(
        &self,
        mut rows: Vec<Row>,
        count: usize,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        rows::retain_present(&mut rows);
        if count == 1 && self.delayed_name_removal {
            return Ok(rows);
        }
        rows::join_same_labels(rows, work)
    }

    /// A range function over the rows of a subquery.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the node says, and what it may use"
    )]
    fn windows(
        &mut self,
        inner_rows: Vec<Row>,
        (inner, outer): (Grid, Grid),
        window: SubqueryWindow,
        (kernel, mixed): (RangeKernel, MixedFunction),
        args: &[Vec<f64>],
        span: Span,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        let evaluation = SeriesEvaluation {
            kind: FragmentKind::Window {
                range: window.range,
                reach: Reach::default(),
                kernel,
                mixed,
            },
            reference: window.reference,
            grid: outer,
            scalars: args,
            budget: &self.budget,
            stored: false,
        };
        let mut notes = KernelNotes::default();
        let mut out = Vec::new();
        let mut samples = SampleColumns::default();
        for row in inner_rows {
            work.tick(row.values.len() + 1)?;
            let mixed = row.has_histograms().then(|| {
                let mut mixed = MixedSamples::of_row(&row, inner);
                mixed.forget_hints();
                mixed
            });
            if mixed.is_none() {
                fill(&mut samples, &row, inner);
                remove_stale(&mut samples);
            }
            let mut held = Held::of(&self.budget);
            held.take(row_cost(&row.labels, outer.count))?;
            // The columns that the row is turned into.
            let mut scratch = Held::of(&self.budget);
            scratch.take(16 * row.values.len())?;
            let mut progress = SeriesProgress::new(row.labels, outer.count, held);
            let mut left = CHECK_WORK;
            // What a subquery makes has no start timestamps.
            let floats = (&samples, [].as_slice());
            while !match &mixed {
                Some(mixed) => {
                    evaluation.advance_mixed(&mut progress, mixed, &mut notes, &mut left)?
                }
                None => evaluation.advance(&mut progress, floats, &mut notes, &mut left)?,
            } {
                self.budget.check()?;
                left = CHECK_WORK;
            }
            let (mut made, points, held) = progress.finish();
            // The evaluation has charged the points; the node's value is charged as a whole.
            self.budget.give_back(points);
            if points > 0 {
                made.drop_name = row.drop_name;
                work.absorb(held);
                out.push(made);
            }
        }
        self.note(notes, span)?;
        Ok(out)
    }

    /// The samples of a subquery that is the whole query.
    pub(super) fn subquery_columns(
        &self,
        inputs: Vec<Value>,
        window: SubqueryWindow,
        inner: Grid,
        work: &mut Work,
    ) -> Result<Vec<RawSeries>, EvalError> {
        let mut out = Vec::new();
        let value = inputs
            .into_iter()
            .next()
            .unwrap_or_else(|| nothing(ValueType::Vector));
        let value = match value {
            Value::Scalar(steps) => Value::Vector(vec![Row {
                labels: Labels::empty(),
                drop_name: false,
                present: Bits::ones(steps.len()),
                histograms: None,
                values: steps,
            }]),
            value => value,
        };
        let mut all = vector(value)?;
        if self.delayed_name_removal {
            all = self.without_dropped_names(all, work)?;
        }
        debug_assert!(window.step > 0);
        for row in all {
            work.tick(row.values.len() + 1)?;
            // Once as they come, once as columns.
            work.take(2 * row_cost(&row.labels, 2 * row.values.len()))?;
            out.push(MixedSamples::of_row(&row, inner).split(row.labels));
        }
        ordering::sort_by(out, work, |a, b| a.labels.cmp(&b.labels))
    }

    /// Names, infos and duplicates of a range function's rows, which still carry all their labels.
    pub(super) fn range_result(
        &mut self,
        call: &Call,
        mut all: Vec<Row>,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        let name = call.func.name;
        for row in all.iter().filter(|row| row.has_floats()) {
            work.tick(8)?;
            self.note_counter_name(call, row.labels.metric_name().unwrap_or_default());
        }
        if !keeps_name(name) {
            for row in &mut all {
                work.tick(8)?;
                rows::drop_name(row, self.delayed_name_removal);
            }
        }
        if !self.delayed_name_removal && rows::has_same_labels(&all, work)? {
            return Err(EvalError::same_labelset());
        }
        Ok(all)
    }

    /// `rate` and `increase` over something that is not called like a counter.
    pub(super) fn note_counter_name(&mut self, call: &Call, metric: &str) {
        let counts = matches!(call.func.name, "rate" | "increase");
        if counts && !metric.is_empty() && !is_counter_name(metric) {
            let text = format!(
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                go_quote(metric.as_bytes())
            );
            // Prometheus has put the subquery's result in the place of the argument by now: it points at the start of the query.
            let span = match call.args.first().map(Expr::bare) {
                Some(Expr::Subquery(_)) | None => Span::default(),
                Some(arg) => arg.span(),
            };
            self.annotations.add(Severity::Info, text, span);
        }
    }
}

fn fill(samples: &mut SampleColumns, row: &Row, grid: Grid) {
    samples.clear();
    for k in rows::steps(&row.present) {
        samples.push(grid.at(k), row.values[k]);
    }
}

/// Unary minus of histograms.
fn negate_histograms(row: &mut Row, work: &mut Work) -> Result<(), EvalError> {
    let Some(all) = &mut row.histograms else {
        return Ok(());
    };
    for histogram in all.iter_mut().flatten() {
        work.take(histogram_cost(histogram))?;
        let mut negated = FloatHistogram::clone(histogram);
        scale(&mut negated, -1.0);
        *histogram = Arc::new(negated);
    }
    Ok(())
}

fn is_counter_name(name: &str) -> bool {
    ["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// The value of a node without steps.
pub(super) fn nothing(value_type: ValueType) -> Value {
    match value_type {
        ValueType::Scalar => Value::Scalar(Vec::new()),
        ValueType::String => Value::String(Vec::new()),
        ValueType::Vector | ValueType::Matrix => Value::Vector(Vec::new()),
    }
}

fn repeat(value: Value, count: usize, work: &mut Work) -> Result<Value, EvalError> {
    Ok(match value {
        Value::Scalar(steps) => {
            work.take(column_cost(count))?;
            Value::Scalar(vec![steps.first().copied().unwrap_or(f64::NAN); count])
        }
        Value::Vector(all) => {
            let mut repeated = Vec::with_capacity(all.len());
            for row in all {
                let (value, histogram) = match row.sample(0) {
                    Some(Sample::Float(value)) => (value, None),
                    Some(Sample::Histogram(histogram)) => (0.0, Some(histogram)),
                    None => continue,
                };
                work.row(&row.labels, count)?;
                work.tick(count)?;
                if histogram.is_some() {
                    work.take(column_cost(count))?;
                }
                repeated.push(Row {
                    labels: row.labels,
                    drop_name: row.drop_name,
                    values: vec![value; count],
                    present: Bits::ones(count),
                    histograms: histogram.map(|h| vec![Some(h); count].into_boxed_slice()),
                });
            }
            Value::Vector(repeated)
        }
        value => value,
    })
}

pub(super) fn vector(value: Value) -> Result<Vec<Row>, EvalError> {
    match value {
        Value::Vector(rows) => Ok(rows),
        Value::Scalar(_) | Value::String(_) => {
            Err(EvalError::execution("an instant vector is needed here"))
        }
    }
}

fn scalar(value: Value) -> Result<Vec<f64>, EvalError> {
    match value {
        Value::Scalar(steps) => Ok(steps),
        Value::Vector(_) | Value::String(_) => Err(EvalError::execution("a scalar is needed here")),
    }
}

/// Scalar arguments of a range function; the type checker allows no others.
pub(super) fn scalars(values: Vec<Value>) -> Vec<Vec<f64>> {
    values
        .into_iter()
        .map(|value| match value {
            Value::Scalar(steps) => steps,
            Value::Vector(_) | Value::String(_) => Vec::new(),
        })
        .collect()
}
