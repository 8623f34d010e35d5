//! Runs a program: fragments out to the shards, then node by node over their rows.
//!
//! Promise: fragments that wait for nothing are under way before the first node is evaluated; equal fragments run once; between nodes the
//! cancel flag is looked at and, after much work, other tasks of the thread get their turn. Inputs are released as soon as they are used.
//! Not here: what the operators do (`arithmetic`, `matching`, `sets`, `aggregate`, `functions`).

use super::annotations::{Annotations, Severity};
use super::arithmetic::{self, ScalarOperation};
use super::budget::Budget;
use super::error::EvalError;
use super::info::InfoSpec;
use super::matching::VectorOperation;
use super::rows;
use super::text::go_quote;
use super::value::{Bits, Grid, Row, Sample, Value};
use super::{aggregate, sets};
use crate::fragment::exchange::{Exchange, Work};
use crate::fragment::fold::Partials;
use crate::fragment::mixed::{MixedSamples, RawSeries};
use crate::fragment::series::{SeriesEvaluation, SeriesProgress, remove_stale};
use crate::fragment::{FragmentKind, FragmentOutput, FragmentSpec, Reach};
use crate::functions::{self, CallContext, QueryTimes};
use crate::histogram::{FloatHistogram, scale};
use crate::kernels::{KernelNotes, MixedFunction, RangeKernel, keeps_name};
use crate::limits::{SHARED_FRAGMENTS_MAX, YIELD_CELLS};
use crate::parse::ast::{Call, Expr, Span, ValueType};
use crate::plan::{Folded, Node, Op, Program, SubqueryWindow};
use std::sync::Arc;
use storage_engine::model::{Labels, METRIC_NAME, SampleColumns};
use storage_engine::shard_api::{ReadNotes, ShardRunner};

/// The value of a whole query.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Over the query's steps.
    Value(Value),
    /// Samples with their own times.
    Columns(Vec<RawSeries>),
}

/// One evaluation.
pub(crate) struct Coordinator<'a> {
    pub(crate) shards: &'a dyn ShardRunner,
    pub(crate) budget: Arc<Budget>,
    pub(crate) delayed_name_removal: bool,
    pub(crate) query: QueryTimes,
    pub(crate) annotations: Annotations,
    /// What the shards touched, and what they could not read.
    pub(crate) reads: ReadNotes,
}

/// A fragment of the program: on its way, arrived, or waiting for its scalar arguments.
struct FragmentSlot {
    exchange: Option<Exchange>,
    output: Option<FragmentOutput>,
    uses: usize,
}

/// What the nodes have yielded so far.
enum Slot {
    Empty,
    Value(Value),
    Columns(Vec<RawSeries>),
    Partials(Partials),
}

impl Coordinator<'_> {
    /// Evaluates all nodes; the last one's value is the result.
    pub(crate) async fn run(&mut self, program: &Program<'_>) -> Result<Outcome, EvalError> {
        let nodes = &program.nodes;
        for node in nodes {
            if node.grid.count > self.budget.cells_max() {
                return Err(EvalError::TooManySamples);
            }
        }
        let (mut fragments, of_node) = share(nodes);
        for (i, node) in nodes.iter().enumerate() {
            let slot = &mut fragments[of_node[i]];
            if let Op::Fragment { spec, .. } = &node.op
                && slot.exchange.is_none()
                && node.grid.count > 0
                && let Some(scalars) = constants(nodes, node)
            {
                slot.exchange = Some(self.send(spec, scalars).await?);
            }
        }
        let mut slots: Vec<Slot> = nodes.iter().map(|_| Slot::Empty).collect();
        let mut cells = 0;
        for (i, node) in nodes.iter().enumerate() {
            self.budget.check()?;
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for &input in &node.inputs {
                match std::mem::replace(&mut slots[input], Slot::Empty) {
                    Slot::Value(value) => inputs.push(value),
                    Slot::Columns(_) | Slot::Partials(_) | Slot::Empty => {
                        return Err(EvalError::execution(
                            "a range vector stands where an instant vector or a scalar is needed",
                        ));
                    }
                }
            }
            slots[i] = match &node.op {
                Op::Fragment {
                    spec,
                    notes,
                    folded,
                } => {
                    let fragment = &mut fragments[of_node[i]];
                    let args = inputs.clone();
                    let slot = self.fragment(node, spec, *notes, inputs, fragment).await?;
                    match (slot, folded) {
                        (Slot::Partials(partials), Some(folded)) => Slot::Value(
                            self.folded(node, (spec, *notes), folded, partials, args)
                                .await?,
                        ),
                        (slot, _) => slot,
                    }
                }
                Op::Subquery { window } => Slot::Columns(self.subquery_columns(
                    inputs,
                    *window,
                    nodes[node.inputs[0]].grid,
                )?),
                _ if node.grid.count == 0 => Slot::Value(nothing(node.value_type)),
                Op::Info { info } => {
                    let base = inputs.into_iter().next();
                    let base = base.unwrap_or_else(|| nothing(ValueType::Vector));
                    Slot::Value(self.info(info, base, node.grid.count).await?)
                }
                _ => {
                    let spent: usize = inputs.iter().map(rows::samples_of).sum();
                    let freed: usize = inputs.iter().map(rows::cells_of).sum();
                    let inner = node.inputs.first().map_or(node.grid, |&i| nodes[i].grid);
                    let value = self.evaluate(node, inner, inputs)?;
                    rows::charge(&value, &self.budget)?;
                    self.budget.give_back(spent);
                    self.budget.give_back_cells(freed);
                    cells += freed + rows::cells_of(&value);
                    Slot::Value(value)
                }
            };
            if cells > YIELD_CELLS {
                cells = 0;
                tokio::task::yield_now().await;
            }
        }
        match slots.pop() {
            Some(Slot::Value(value)) => Ok(Outcome::Value(self.finish(value)?)),
            Some(Slot::Columns(columns)) => Ok(Outcome::Columns(columns)),
            _ => Err(EvalError::execution("the query has no expression")),
        }
    }

    async fn send(
        &self,
        spec: &FragmentSpec,
        scalars: Vec<Vec<f64>>,
    ) -> Result<Exchange, EvalError> {
        let work = Work {
            spec: spec.clone(),
            scalars,
            budget: Arc::clone(&self.budget),
        };
        Exchange::open(work, self.shards).await
    }

    async fn fragment(
        &mut self,
        node: &Node<'_>,
        spec: &FragmentSpec,
        notes: Span,
        inputs: Vec<Value>,
        fragment: &mut FragmentSlot,
    ) -> Result<Slot, EvalError> {
        if node.grid.count == 0 {
            return Ok(Slot::Value(Value::Vector(Vec::new())));
        }
        if fragment.output.is_none() {
            let exchange = match fragment.exchange.take() {
                Some(exchange) => exchange,
                None => self.send(spec, scalars(inputs)).await?,
            };
            let mut output = exchange.gather().await?;
            self.reads.merge(std::mem::take(&mut output.reads));
            fragment.output = Some(output);
        }
        fragment.uses = fragment.uses.saturating_sub(1);
        let output = if fragment.uses == 0 {
            fragment.output.take().unwrap_or_default()
        } else {
            let copy = fragment.output.clone().unwrap_or_default();
            for row in &copy.rows {
                self.budget.take_cells(row.values.len())?;
                self.budget.take(row.samples())?;
            }
            if let Some(fold) = &spec.fold {
                let (cells, samples) = copy.partials.cost(fold);
                self.budget.take_cells(cells)?;
                self.budget.take(samples)?;
            }
            copy
        };
        self.note(output.notes, notes)?;
        if spec.fold.is_some() {
            return Ok(Slot::Partials(output.partials));
        }
        Ok(match spec.kind {
            FragmentKind::Raw { .. } => Slot::Columns(output.columns),
            _ => Slot::Value(Value::Vector(output.rows)),
        })
    }

    /// Finishes the groups that the shards have folded.
    async fn folded(
        &mut self,
        node: &Node<'_>,
        (spec, notes): (&FragmentSpec, Span),
        folded: &Folded<'_>,
        partials: Partials,
        args: Vec<Value>,
    ) -> Result<Value, EvalError> {
        let Some(fold) = &spec.fold else {
            return Ok(nothing(node.value_type));
        };
        if partials.has_floats
            && let Some(call) = folded.call
            && let Some(name) = spec.matchers.iter().find(|m| m.name == METRIC_NAME)
        {
            self.note_counter_name(call, &name.value);
        }
        let drop_name = folded.call.is_some_and(|c| !keeps_name(c.func.name));
        if let Some(rows) = partials.finish(fold, drop_name, &self.budget) {
            return Ok(Value::Vector(rows));
        }
        // A mean overflowed, or there are native histograms: only all rows in order give Prometheus's answer.
        let plain = FragmentSpec {
            fold: None,
            ..spec.clone()
        };
        let output = self.send(&plain, scalars(args)).await?.gather().await?;
        let cells: usize = output.rows.iter().map(|r| r.values.len()).sum();
        let samples: usize = output.rows.iter().map(Row::samples).sum();
        let mut rows = output.rows;
        self.reads.merge(output.reads);
        self.note(output.notes, notes)?;
        if let Some(call) = folded.call {
            rows = self.range_result(call, rows)?;
        }
        let annotations = &mut self.annotations;
        let rows = aggregate::run(folded.expr, rows, None, node.grid.count, annotations)?;
        let value = Value::Vector(rows);
        self.budget.give_back_cells(cells);
        self.budget.give_back(samples);
        rows::charge(&value, &self.budget)?;
        Ok(value)
    }

    /// `info()`: reads the info series of the targets that the base has.
    async fn info(
        &mut self,
        info: &InfoSpec,
        base: Value,
        count: usize,
    ) -> Result<Value, EvalError> {
        let (mut samples, mut cells) = (rows::samples_of(&base), rows::cells_of(&base));
        let base = vector(base)?;
        let series = match info.fragment(&base) {
            Some(spec) => {
                let output = self.send(&spec, Vec::new()).await?.gather().await?;
                self.reads.merge(output.reads);
                output.rows
            }
            None => Vec::new(),
        };
        cells += series.iter().map(|r| r.values.len()).sum::<usize>();
        samples += series.iter().map(Row::samples).sum::<usize>();
        let enriched = info.enrich(base, &series, count, &self.budget)?;
        let value = Value::Vector(enriched);
        rows::charge(&value, &self.budget)?;
        self.budget.give_back(samples);
        self.budget.give_back_cells(cells);
        Ok(value)
    }

    /// Turns what a kernel noted into annotations.
    fn note(&mut self, notes: KernelNotes, span: Span) -> Result<(), EvalError> {
        for text in notes.warnings() {
            self.annotations.add(Severity::Warning, text, span);
        }
        for (severity, text) in notes.remarks {
            self.annotations.add(severity, text, span);
        }
        match notes.error {
            Some(text) => Err(EvalError::Execution(text)),
            None => Ok(()),
        }
    }

    fn evaluate(
        &mut self,
        node: &Node<'_>,
        inner: Grid,
        inputs: Vec<Value>,
    ) -> Result<Value, EvalError> {
        let count = node.grid.count;
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().unwrap_or_else(|| nothing(ValueType::Vector));
        Ok(match &node.op {
            Op::Number(v) => Value::Scalar(vec![*v; count]),
            Op::Text(bytes) => Value::String(bytes.to_vec()),
            Op::Fragment { .. } | Op::Subquery { .. } | Op::Info { .. } => next(),
            Op::Windows {
                kernel,
                mixed,
                window,
                notes,
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
                )?)
            }
            Op::RangeResult { call } => Value::Vector(self.range_result(call, vector(next())?)?),
            Op::AbsentOverTime { labels } => {
                let mut missing = Bits::ones(count);
                for row in vector(next())? {
                    missing.subtract(&row.present);
                }
                let mut out = Vec::new();
                if missing.any() {
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
                    rows::drop_name(row, self.delayed_name_removal);
                }
                Value::Vector(self.joined(rows, count)?)
            }
            Op::Repeat => repeat(next(), count, &self.budget)?,
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
                        for v in &mut row.values {
                            *v = -*v;
                        }
                        negate_histograms(row);
                        rows::drop_name(row, self.delayed_name_removal);
                    }
                    if !self.delayed_name_removal {
                        rows = rows::join_same_labels(rows)?;
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
                operation.run(&mut rows, &scalar(scalar_side)?, &mut self.annotations);
                Value::Vector(self.joined(rows, count)?)
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
                let rows = operation.run(&left, &right, &self.budget, &mut self.annotations)?;
                Value::Vector(self.joined(rows, count)?)
            }
            Op::Set { op, matching } => {
                let (left, right) = (vector(next())?, vector(next())?);
                let rows = sets::run(*op, left, right, matching);
                Value::Vector(self.joined(rows, count)?)
            }
            Op::Aggregate { expr } => {
                let rows = vector(next())?;
                let param = inputs.next();
                let annotations = &mut self.annotations;
                let mut rows = aggregate::run(expr, rows, param, count, annotations)?;
                rows::retain_present(&mut rows);
                Value::Vector(rows)
            }
            Op::Call { call } => self.call(call, node.grid, inputs.collect())?,
        })
    }

    fn call(&mut self, call: &Call, grid: Grid, args: Vec<Value>) -> Result<Value, EvalError> {
        let mut context = CallContext {
            grid,
            query: self.query,
            delayed_name_removal: self.delayed_name_removal,
            annotations: &mut self.annotations,
        };
        Ok(match functions::call(call, args, &mut context)? {
            Value::Vector(rows) => Value::Vector(self.joined(rows, grid.count)?),
            value => value,
        })
    }

    /// Rows with a number, each label set once. With delayed name removal a single step may hold equal label sets for a while: the names that
    /// tell them apart from others may still go or come back.
    fn joined(&self, mut rows: Vec<Row>, count: usize) -> Result<Vec<Row>, EvalError> {
        rows::retain_present(&mut rows);
        if count == 1 && self.delayed_name_removal {
            return Ok(rows);
        }
        rows::join_same_labels(rows)
    }

    /// A range function over the rows of a subquery.
    fn windows(
        &mut self,
        inner_rows: Vec<Row>,
        (inner, outer): (Grid, Grid),
        window: SubqueryWindow,
        (kernel, mixed): (RangeKernel, MixedFunction),
        args: &[Vec<f64>],
        span: Span,
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
            self.budget.check()?;
            let mixed = row.has_histograms().then(|| {
                let mut mixed = MixedSamples::of_row(&row, inner);
                mixed.forget_hints();
                mixed
            });
            if mixed.is_none() {
                fill(&mut samples, &row, inner);
                remove_stale(&mut samples);
            }
            let mut progress = SeriesProgress::new(row.labels, outer.count);
            let work = &mut usize::MAX.clone();
            // What a subquery makes has no start timestamps.
            let floats = (&samples, [].as_slice());
            while !match &mixed {
                Some(mixed) => evaluation.advance_mixed(&mut progress, mixed, &mut notes, work)?,
                None => evaluation.advance(&mut progress, floats, &mut notes, work)?,
            } {
                *work = usize::MAX;
            }
            let (mut made, points) = progress.finish();
            // The evaluation has charged the points; the node's value is charged as a whole.
            self.budget.give_back(points);
            if points > 0 {
                made.drop_name = row.drop_name;
                out.push(made);
            }
        }
        self.note(notes, span)?;
        Ok(out)
    }

    fn subquery_columns(
        &self,
        inputs: Vec<Value>,
        window: SubqueryWindow,
        inner: Grid,
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
            all = self.without_dropped_names(all)?;
        }
        debug_assert!(window.step > 0);
        for row in all {
            out.push(MixedSamples::of_row(&row, inner).split(row.labels));
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    /// Names, infos and duplicates of a range function's rows, which still carry all their labels.
    fn range_result(&mut self, call: &Call, mut all: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        let name = call.func.name;
        for row in all.iter().filter(|row| row.has_floats()) {
            self.note_counter_name(call, row.labels.metric_name().unwrap_or_default());
        }
        if !keeps_name(name) {
            for row in &mut all {
                rows::drop_name(row, self.delayed_name_removal);
            }
        }
        if !self.delayed_name_removal && rows::has_same_labels(&all) {
            return Err(EvalError::same_labelset());
        }
        Ok(all)
    }

    /// `rate` and `increase` over something that is not called like a counter.
    fn note_counter_name(&mut self, call: &Call, metric: &str) {
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

    /// What is left to do with the last value: names whose removal was delayed.
    fn finish(&self, value: Value) -> Result<Value, EvalError> {
        match value {
            Value::Vector(rows) if self.delayed_name_removal => {
                Ok(Value::Vector(self.without_dropped_names(rows)?))
            }
            value => Ok(value),
        }
    }

    fn without_dropped_names(&self, mut all: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        for row in &mut all {
            if row.drop_name {
                row.labels = rows::drop_metadata(&row.labels);
            }
        }
        rows::join_same_labels(all)
    }
}

/// Numbers the distinct fragments of a program; other nodes point at a slot nobody fills.
fn share(nodes: &[Node<'_>]) -> (Vec<FragmentSlot>, Vec<usize>) {
    let unused = || FragmentSlot {
        exchange: None,
        output: None,
        uses: 0,
    };
    let mut slots = vec![unused()];
    let mut seen: Vec<(usize, &FragmentSpec)> = Vec::new();
    let of_node = nodes
        .iter()
        .map(|node| {
            let Op::Fragment { spec, .. } = &node.op else {
                return 0;
            };
            let shareable =
                node.inputs.is_empty() && !matches!(spec.kind, FragmentKind::Raw { .. });
            let same = seen
                .iter()
                .find(|(_, other)| shareable && spec.is_same(other))
                .map(|(slot, _)| *slot);
            let slot = same.unwrap_or_else(|| {
                slots.push(unused());
                let slot = slots.len() - 1;
                if shareable && seen.len() < SHARED_FRAGMENTS_MAX {
                    seen.push((slot, spec));
                }
                slot
            });
            slots[slot].uses += 1;
            slot
        })
        .collect();
    (slots, of_node)
}

/// The inputs of `node` over its grid, if all are constants.
fn constants(nodes: &[Node<'_>], node: &Node<'_>) -> Option<Vec<Vec<f64>>> {
    node.inputs
        .iter()
        .map(|&i| match nodes[i].op {
            Op::Number(v) => Some(vec![v; node.grid.count]),
            _ => None,
        })
        .collect()
}

fn fill(samples: &mut SampleColumns, row: &Row, grid: Grid) {
    samples.clear();
    for k in rows::steps(&row.present) {
        samples.push(grid.at(k), row.values[k]);
    }
}

/// Unary minus of histograms.
fn negate_histograms(row: &mut Row) {
    let Some(all) = &mut row.histograms else {
        return;
    };
    for histogram in all.iter_mut().flatten() {
        let mut negated = FloatHistogram::clone(histogram);
        scale(&mut negated, -1.0);
        *histogram = Arc::new(negated);
    }
}

fn is_counter_name(name: &str) -> bool {
    ["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// The value of a node without steps.
fn nothing(value_type: ValueType) -> Value {
    match value_type {
        ValueType::Scalar => Value::Scalar(Vec::new()),
        ValueType::String => Value::String(Vec::new()),
        ValueType::Vector | ValueType::Matrix => Value::Vector(Vec::new()),
    }
}

fn repeat(value: Value, count: usize, budget: &Budget) -> Result<Value, EvalError> {
    Ok(match value {
        Value::Scalar(steps) => {
            Value::Scalar(vec![steps.first().copied().unwrap_or(f64::NAN); count])
        }
        Value::Vector(all) => {
            // Refused before it is allocated; the node's value is charged when it is there.
            let cells = all.len().saturating_mul(count);
            budget.take_cells(cells)?;
            budget.give_back_cells(cells);
            let repeated = all.into_iter().filter_map(|row| {
                let (value, histogram) = match row.sample(0)? {
                    Sample::Float(value) => (value, None),
                    Sample::Histogram(histogram) => (0.0, Some(histogram)),
                };
                Some(Row {
                    labels: row.labels,
                    drop_name: row.drop_name,
                    values: vec![value; count],
                    present: Bits::ones(count),
                    histograms: histogram.map(|h| vec![Some(h); count].into_boxed_slice()),
                })
            });
            Value::Vector(repeated.collect())
        }
        value => value,
    })
}

fn vector(value: Value) -> Result<Vec<Row>, EvalError> {
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
fn scalars(values: Vec<Value>) -> Vec<Vec<f64>> {
    values
        .into_iter()
        .map(|value| match value {
            Value::Scalar(steps) => steps,
            Value::Vector(_) | Value::String(_) => Vec::new(),
        })
        .collect()
}
