//! Runs a program: fragments out to the shards, then node by node over their rows.
//!
//! Promise: fragments that wait for nothing are under way before the first node is evaluated; equal nodes are evaluated once; between nodes the
//! cancel flag is looked at and, after much work, other tasks of the thread get their turn; heavy work is announced before it begins. Inputs are
//! released as soon as they are used.
//! Not here: what the operations do with their inputs (`operations`).

mod operations;
mod slots;

use self::operations::{nothing, scalars, vector};
use self::slots::{Content, Inputs, Slots};
use super::aggregate;
use super::annotations::{Annotations, Severity};
use super::budget::Budget;
use super::error::EvalError;
use super::info::InfoSpec;
use super::memory::{Held, Work, column_cost, raw_cost, value_cost};
use super::rows;
use super::value::{Row, Value};
use crate::explain::{Clock, Explanation, FragmentReport, NodeReport, Place};
use crate::fragment::exchange::{Exchange, FragmentWork};
use crate::fragment::mixed::RawSeries;
use crate::fragment::{Effort, FragmentKind, FragmentOutput, FragmentSpec};
use crate::functions::QueryTimes;
use crate::kernels::{KernelNotes, keeps_name};
use crate::limits::{HEAVY_CELLS, YIELD_CELLS};
use crate::parse::ast::{Span, ValueType};
use crate::plan::{Folded, Node, Op, Program, describe};
use std::sync::Arc;
use storage_engine::model::METRIC_NAME;
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
    /// Where somebody wants to know what each node did.
    pub(crate) tracer: Option<Tracer>,
}

/// Takes down what each node did.
pub(crate) struct Tracer {
    clock: Clock,
    /// What the shards did for the node at hand.
    fragment: FragmentReport,
    pub(crate) explanation: Explanation,
}

impl Tracer {
    pub(crate) fn new(clock: Clock) -> Self {
        Tracer {
            clock,
            fragment: FragmentReport::default(),
            explanation: Explanation::default(),
        }
    }

    fn note(&mut self, effort: Effort, reads: &ReadNotes) {
        let report = &mut self.fragment;
        report.series_selected += effort.series;
        report.samples_decoded += effort.samples;
        report.slices += effort.slices;
        report.busy_ns += effort.busy_ns;
        report.pages_decoded += reads.pages_decoded;
        report.pages_skipped += reads.pages_skipped;
        report.bytes_read += reads.bytes_read;
    }

    /// Takes down a node that has been evaluated since `began`, or that an earlier one stands for.
    fn report(&mut self, node: &Node<'_>, began: u64, same_as: Option<usize>, content: &Content) {
        let (operator, detail, place) = describe::node(node);
        let (series, samples, bytes) = match content {
            Content::Empty => (0, 0, 0),
            Content::Value(value) => {
                let series = match value {
                    Value::Vector(rows) => rows.len(),
                    Value::Scalar(_) | Value::String(_) => 0,
                };
                (series, rows::samples_of(value), value_cost(value))
            }
            Content::Columns(columns) => (
                columns.len(),
                columns.iter().map(RawSeries::samples).sum(),
                columns.iter().map(raw_cost).sum(),
            ),
        };
        let fragment = std::mem::take(&mut self.fragment);
        self.explanation.nodes.push(NodeReport {
            operator,
            detail,
            place,
            inputs: node.inputs.clone(),
            same_as,
            grid: node.grid,
            series: series as u64,
            samples: samples as u64,
            bytes: bytes as u64,
            duration_ns: (self.clock)().saturating_sub(began),
            fragment: (place == Place::Shards || fragment.slices > 0).then_some(fragment),
        });
    }
}

impl Coordinator<'_> {
    /// Evaluates all nodes; the last one's value is the result, with its memory.
    pub(crate) async fn run(
        &mut self,
        program: &Program<'_>,
    ) -> Result<(Outcome, Held), EvalError> {
        let nodes = &program.nodes;
        for node in nodes {
            if node.value_type == ValueType::Scalar || matches!(node.op, Op::Repeat) {
                self.budget.fits_samples(node.grid.count)?;
            }
            self.budget.fits(column_cost(node.grid.count))?;
        }
        let mut exchanges: Vec<Option<Exchange>> = nodes.iter().map(|_| None).collect();
        for (i, node) in nodes
            .iter()
            .enumerate()
            .filter(|(i, _)| program.same[*i] == *i)
        {
            if let Op::Fragment { spec, .. } = &node.op
                && node.grid.count > 0
                && let Some((scalars, held)) = self.constants(nodes, node)?
            {
                exchanges[i] = Some(self.send(spec, scalars, held).await?);
            }
        }
        let mut slots = Slots::new(program, &self.budget);
        let mut cells = 0;
        for (i, node) in nodes.iter().enumerate() {
            self.budget.check()?;
            let began = self.tracer.as_ref().map_or(0, |tracer| (tracer.clock)());
            if program.same[i] != i {
                if let Some(tracer) = &mut self.tracer {
                    tracer.report(node, began, Some(program.same[i]), &Content::Empty);
                }
                continue;
            }
            let inputs = slots.inputs(node)?;
            let (content, held) = match &node.op {
                Op::Fragment {
                    spec,
                    notes,
                    folded,
                    ..
                } => {
                    let exchange = exchanges[i].take();
                    self.fragment(node, (spec, *notes), folded.as_ref(), inputs, exchange)
                        .await?
                }
                Op::Subquery { window } => {
                    let mut held = inputs.held;
                    let mut work = Work::of(&self.budget);
                    let inner = nodes[node.inputs[0]].grid;
                    let columns =
                        self.subquery_columns(inputs.values, *window, inner, &mut work)?;
                    held.absorb(work.into_held());
                    held.settle(columns.iter().map(raw_cost).sum())?;
                    (Content::Columns(columns), held)
                }
                _ if node.grid.count == 0 => {
                    let value = nothing(node.value_type);
                    (Content::Value(value), Held::of(&self.budget))
                }
                Op::Info { info } => {
                    let (value, held) = self.info(info, inputs, node.grid.count).await?;
                    (Content::Value(value), held)
                }
                _ => {
                    let spent: usize = inputs.values.iter().map(rows::samples_of).sum();
                    let freed: usize = inputs.values.iter().map(rows::cells_of).sum();
                    if weight(node, &inputs.values) > HEAVY_CELLS {
                        self.budget.announce_heavy().await;
                    }
                    let mut held = inputs.held;
                    let mut work = Work::of(&self.budget);
                    let inner = node.inputs.first().map_or(node.grid, |&i| nodes[i].grid);
                    let value = self.evaluate(node, inner, inputs.values, &mut work)?;
                    self.budget.take(rows::samples_of(&value))?;
                    self.budget.give_back(spent);
                    held.absorb(work.into_held());
                    held.settle(value_cost(&value))?;
                    cells += freed + rows::cells_of(&value);
                    (Content::Value(value), held)
                }
            };
            if let Some(tracer) = &mut self.tracer {
                tracer.report(node, began, None, &content);
            }
            slots.put(i, content, held);
            if cells > YIELD_CELLS {
                cells = 0;
                tokio::task::yield_now().await;
            }
        }
        let (outcome, mut held) = slots.result()?;
        let Outcome::Value(Value::Vector(rows)) = outcome else {
            return Ok((outcome, held));
        };
        let mut work = Work::of(&self.budget);
        let value = Value::Vector(self.finish(rows, &mut work)?);
        held.absorb(work.into_held());
        held.settle(value_cost(&value))?;
        Ok((Outcome::Value(value), held))
    }

    async fn send(
        &self,
        spec: &FragmentSpec,
        scalars: Vec<Vec<f64>>,
        held: Held,
    ) -> Result<Exchange, EvalError> {
        let work = FragmentWork {
            spec: spec.clone(),
            scalars,
            scalars_held: held,
            budget: Arc::clone(&self.budget),
            clock: self.tracer.as_ref().map(|tracer| tracer.clock),
        };
        Exchange::open(work, self.shards).await
    }

    /// The answer of the shards, taken down.
    async fn gather(&mut self, exchange: Exchange) -> Result<FragmentOutput, EvalError> {
        let mut output = exchange.gather().await?;
        if let Some(tracer) = &mut self.tracer {
            tracer.note(output.effort, &output.reads);
        }
        self.reads.merge(std::mem::take(&mut output.reads));
        Ok(output)
    }

    async fn fragment(
        &mut self,
        node: &Node<'_>,
        (spec, notes): (&FragmentSpec, Span),
        folded: Option<&Folded<'_>>,
        inputs: Inputs,
        exchange: Option<Exchange>,
    ) -> Result<(Content, Held), EvalError> {
        if node.grid.count == 0 {
            let none = Value::Vector(Vec::new());
            return Ok((Content::Value(none), Held::of(&self.budget)));
        }
        let spent: usize = inputs.values.iter().map(rows::samples_of).sum();
        let args = inputs.values.clone();
        let exchange = match exchange {
            Some(exchange) => exchange,
            None => self.send(spec, scalars(inputs.values), inputs.held).await?,
        };
        let mut output = self.gather(exchange).await?;
        self.budget.give_back(spent);
        self.note(std::mem::take(&mut output.notes), notes)?;
        if let Some(folded) = folded {
            let (value, held) = self
                .folded(node, (spec, notes), folded, output, args)
                .await?;
            return Ok((Content::Value(value), held));
        }
        let content = match spec.kind {
            FragmentKind::Raw { .. } => Content::Columns(output.columns),
            _ => Content::Value(Value::Vector(output.rows)),
        };
        Ok((content, output.held))
    }

    /// Finishes the groups that the shards have folded.
    async fn folded(
        &mut self,
        node: &Node<'_>,
        (spec, notes): (&FragmentSpec, Span),
        folded: &Folded<'_>,
        output: FragmentOutput,
        args: Vec<Value>,
    ) -> Result<(Value, Held), EvalError> {
        let Some(fold) = &spec.fold else {
            return Ok((nothing(node.value_type), output.held));
        };
        let (partials, mut held) = (output.partials, output.held);
        if partials.has_floats
            && let Some(call) = folded.call
            && let Some(name) = spec.matchers.iter().find(|m| m.name == METRIC_NAME)
        {
            self.note_counter_name(call, &name.value);
        }
        let drop_name = folded.call.is_some_and(|c| !keeps_name(c.func.name));
        if let Some(rows) = partials.finish(fold, drop_name, &self.budget) {
            let value = Value::Vector(rows);
            held.settle(value_cost(&value))?;
            return Ok((value, held));
        }
        held.settle(0)?;
        // A mean overflowed, or there are native histograms: only all rows in order give Prometheus's answer.
        let plain = FragmentSpec {
            fold: None,
            ..spec.clone()
        };
        let exchange = self.send(&plain, scalars(args), held).await?;
        let output = self.gather(exchange).await?;
        let samples: usize = output.rows.iter().map(Row::samples).sum();
        let (mut rows, mut held) = (output.rows, output.held);
        self.note(output.notes, notes)?;
        let mut work = Work::of(&self.budget);
        if let Some(call) = folded.call {
            rows = self.range_result(call, rows, &mut work)?;
        }
        let annotations = &mut self.annotations;
        let count = node.grid.count;
        let rows = aggregate::run(folded.expr, rows, None, count, annotations, &mut work)?;
        let value = Value::Vector(rows);
        self.budget.give_back(samples);
        self.budget.take(rows::samples_of(&value))?;
        held.absorb(work.into_held());
        held.settle(value_cost(&value))?;
        Ok((value, held))
    }

    /// `info()`: reads the info series of the targets that the base has.
    async fn info(
        &mut self,
        info: &InfoSpec,
        inputs: Inputs,
        count: usize,
    ) -> Result<(Value, Held), EvalError> {
        let mut held = inputs.held;
        let base = inputs.values.into_iter().next();
        let base = base.unwrap_or_else(|| nothing(ValueType::Vector));
        let mut samples = rows::samples_of(&base);
        let base = vector(base)?;
        let series = match info.fragment(&base) {
            Some(spec) => {
                let exchange = self.send(&spec, Vec::new(), Held::default()).await?;
                let output = self.gather(exchange).await?;
                held.absorb(output.held);
                output.rows
            }
            None => Vec::new(),
        };
        samples += series.iter().map(Row::samples).sum::<usize>();
        if (base.len() + series.len()) * count > HEAVY_CELLS {
            self.budget.announce_heavy().await;
        }
        let mut work = Work::of(&self.budget);
        let enriched = info.enrich(base, &series, count, &mut work)?;
        let value = Value::Vector(enriched);
        self.budget.take(rows::samples_of(&value))?;
        self.budget.give_back(samples);
        held.absorb(work.into_held());
        held.settle(value_cost(&value))?;
        Ok((value, held))
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

    /// The inputs of `node` over its grid, if all are constants.
    fn constants(&self, nodes: &[Node<'_>], node: &Node<'_>) -> Result<Option<Scalars>, EvalError> {
        let mut held = Held::of(&self.budget);
        let mut columns = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            let Op::Number(value) = nodes[input].op else {
                return Ok(None);
            };
            held.take(column_cost(node.grid.count))?;
            columns.push(vec![value; node.grid.count]);
        }
        Ok(Some((columns, held)))
    }

    /// What is left to do with the last rows: names whose removal was delayed.
    fn finish(&self, rows: Vec<Row>, work: &mut Work) -> Result<Vec<Row>, EvalError> {
        match self.delayed_name_removal {
            true => self.without_dropped_names(rows, work),
            false => Ok(rows),
        }
    }

    fn without_dropped_names(
        &self,
        mut all: Vec<Row>,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        for row in &mut all {
            work.tick(8)?;
            if row.drop_name {
                row.labels = rows::drop_metadata(&row.labels);
            }
        }
        rows::join_same_labels(all, work)
    }
}

/// Scalar arguments of a range function over the steps, and their memory.
type Scalars = (Vec<Vec<f64>>, Held);

/// About how many cells an operation goes through.
fn weight(node: &Node<'_>, inputs: &[Value]) -> usize {
    const ROW: usize = 16;
    const HISTOGRAM: usize = 32;
    let steps = node.grid.count;
    let of = |value: &Value| match (value, &node.op) {
        (Value::Vector(rows), Op::Repeat) => rows.len().saturating_mul(steps),
        // Each step looks at its whole window.
        (Value::Vector(rows), Op::Windows { window, .. }) => {
            let samples = usize::try_from(window.range / window.step.max(1)).unwrap_or(usize::MAX);
            samples.saturating_mul(steps).saturating_mul(rows.len())
        }
        (Value::Vector(rows), _) => {
            let mixed = rows.iter().filter(|row| row.histograms.is_some()).count();
            rows::cells_of(value) + ROW * rows.len() + HISTOGRAM * mixed * steps
        }
        (value, _) => rows::cells_of(value),
    };
    inputs.iter().map(of).fold(steps, usize::saturating_add)
}
