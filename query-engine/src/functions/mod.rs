//! Functions that take no range vector: elementwise arithmetic, clocks, labels, order, classic histograms.
//!
//! Promise: arguments are values over the step grid, results are values over the same grid; the sets, names, order and texts are
//! Prometheus's.
//! Not here: range functions (`kernels`), `timestamp` of a bare selector and `absent_over_time` (the evaluator knows the samples).

mod absent;
mod almost;
mod elementwise;
mod histogram;
mod labels;
mod native;
mod order;
mod scalars;
pub mod texts;
mod times;

pub use absent::absent_labels;
pub use almost::almost_equal;
pub(crate) use elementwise::log2;
pub use elementwise::{go_max, go_min};
pub use order::natural_cmp;

use crate::eval::annotations::Annotations;
use crate::eval::error::EvalError;
use crate::eval::memory::{Work, column_cost};
use crate::eval::rows;
use crate::eval::value::{Grid, Row, Value};
use crate::parse::ast::{Call, Span};
use storage_engine::model::TimestampMs;

/// The times of a query as the user gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTimes {
    /// First evaluation time.
    pub start: TimestampMs,
    /// Last time asked for; the last step may be earlier.
    pub end: TimestampMs,
    /// Distance of steps; 0 for an instant query.
    pub step: i64,
}

/// What a function may know beside its arguments.
#[derive(Debug)]
pub struct CallContext<'a> {
    /// The steps being evaluated (a subquery's own grid inside a subquery).
    pub grid: Grid,
    /// The whole query's times: what `start()`, `end()`, `step()` and `range()` tell.
    pub query: QueryTimes,
    /// Names are dropped at the end of the evaluation, not by each function.
    pub delayed_name_removal: bool,
    /// Where warnings and infos go.
    pub annotations: &'a mut Annotations,
    /// The memory and time it uses.
    pub work: &'a mut Work,
}

impl CallContext<'_> {
    /// Is this evaluation over several steps? Sorting means nothing then.
    fn is_range(&self) -> bool {
        self.grid.count > 1
    }

    fn each_step(&self, f: impl Fn(TimestampMs) -> f64) -> Vec<f64> {
        (0..self.grid.count).map(|k| f(self.grid.at(k))).collect()
    }
}

/// Functions that look at native histograms, or at whether there is a sample at all; the others take floats only.
fn takes_histograms(name: &str) -> bool {
    name.starts_with("histogram_")
        || matches!(
            name,
            "absent"
                | "info"
                | "label_join"
                | "label_replace"
                | "sort_by_label"
                | "sort_by_label_desc"
                | "timestamp"
        )
}

/// What every function that changes the meaning of numbers does to the names of its results.
fn drop_names(mut all: Vec<Row>, ctx: &mut CallContext<'_>) -> Result<Vec<Row>, EvalError> {
    for row in &mut all {
        ctx.work.tick(8)?;
        rows::drop_name(row, ctx.delayed_name_removal);
    }
    if ctx.delayed_name_removal {
        Ok(all)
    } else {
        rows::join_same_labels(all, ctx.work)
    }
}

/// Evaluates a call; `args` are its evaluated arguments in the order written.
pub fn call(call: &Call, args: Vec<Value>, ctx: &mut CallContext<'_>) -> Result<Value, EvalError> {
    let name = call.func.name;
    let mut args = args;
    // What most functions allocate: a column for the answer.
    ctx.work.take(column_cost(ctx.grid.count))?;
    if !takes_histograms(name) {
        for arg in &mut args {
            if let Value::Vector(all) = arg {
                rows::drop_histograms(all);
            }
        }
    }
    let mut args = Arguments::new(call, args);
    if let Some(f) = elementwise::function(name) {
        let rows = elementwise::map(args.vector()?, f, ctx.work)?;
        return drop_names(rows, ctx).map(Value::Vector);
    }
    if let Some(part) = times::part(name) {
        let rows = match args.next() {
            None => return Ok(times::of_steps(ctx, part)),
            Some(value) => {
                elementwise::map(args.as_vector(value)?, |v| part.of_value(v), ctx.work)?
            }
        };
        return drop_names(rows, ctx).map(Value::Vector);
    }
    match name {
        "round" | "clamp" | "clamp_min" | "clamp_max" => {
            let rows = elementwise::with_scalars(name, &mut args, ctx.work)?;
            drop_names(rows, ctx).map(Value::Vector)
        }
        // What an expression yields has no start timestamps.
        "start_timestamp" => Ok(Value::Vector(Vec::new())),
        "timestamp" => {
            let rows = times::timestamps(args.vector()?, ctx.grid);
            drop_names(rows, ctx).map(Value::Vector)
        }
        "absent" => absent::absent(call, args.vector()?, ctx).map(Value::Vector),
        "label_replace" => labels::label_replace(&mut args, ctx.work).map(Value::Vector),
        "label_join" => labels::label_join(&mut args, ctx.work).map(Value::Vector),
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
            order::sort(call, &mut args, ctx).map(Value::Vector)
        }
        "histogram_quantile" => histogram::quantile(call, &mut args, ctx).map(Value::Vector),
        "histogram_quantiles" => histogram::quantiles(call, &mut args, ctx).map(Value::Vector),
        "histogram_fraction" => histogram::fraction(call, &mut args, ctx).map(Value::Vector),
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
        | "histogram_stdvar" => {
            let rows = native::of_histograms(name, args.vector()?, ctx.work)?;
            drop_names(rows, ctx).map(Value::Vector)
        }
        _ => scalars::call(name, &mut args, ctx),
    }
}

/// The evaluated arguments of one call, taken one after the other with the type that the type checker has promised.
struct Arguments {
    name: &'static str,
    spans: Vec<Span>,
    call_span: Span,
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Arguments {
    fn new(call: &Call, values: Vec<Value>) -> Self {
        Arguments {
            name: call.func.name,
            spans: call.args.iter().map(|a| a.bare().span()).collect(),
            call_span: call.span,
            values: values.into_iter(),
            taken: 0,
        }
    }

    fn next(&mut self) -> Option<Value> {
        self.taken += 1;
        self.values.next()
    }

    /// Where argument `index` stands.
    fn span(&self, index: usize) -> Span {
        self.spans.get(index).copied().unwrap_or(self.call_span)
    }

    fn mismatch(&self, wanted: &str) -> EvalError {
        EvalError::execution(format!(
            "argument {} of {} is not {wanted}",
            self.taken, self.name
        ))
    }

    fn as_vector(&self, value: Value) -> Result<Vec<Row>, EvalError> {
        match value {
            Value::Vector(rows) => Ok(rows),
            _ => Err(self.mismatch("an instant vector")),
        }
    }

    fn vector(&mut self) -> Result<Vec<Row>, EvalError> {
        match self.next() {
            Some(value) => self.as_vector(value),
            None => Err(self.mismatch("an instant vector")),
        }
    }

    fn scalar(&mut self) -> Result<Vec<f64>, EvalError> {
        match self.next() {
            Some(Value::Scalar(steps)) => Ok(steps),
            _ => Err(self.mismatch("a scalar")),
        }
    }

    fn optional_scalar(&mut self) -> Result<Option<Vec<f64>>, EvalError> {
        match self.next() {
            None => Ok(None),
            Some(Value::Scalar(steps)) => Ok(Some(steps)),
            Some(_) => Err(self.mismatch("a scalar")),
        }
    }

    fn text(&mut self) -> Result<Vec<u8>, EvalError> {
        match self.next() {
            Some(Value::String(bytes)) => Ok(bytes),
            _ => Err(self.mismatch("a string")),
        }
    }

    fn texts(&mut self) -> Result<Vec<Vec<u8>>, EvalError> {
        let mut all = Vec::new();
        while self.values.len() > 0 {
            all.push(self.text()?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
