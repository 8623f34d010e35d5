//! Aggregations: rows to groups, then one operation per group and step.
//!
//! Promise: the operations and their order are Prometheus's, with rows taken in the order they come. Not here: evaluation of operands.

mod fold;
mod mixed;
mod rank;
mod tally;

use super::annotations::{Annotations, Severity};
use super::error::EvalError;
use super::memory::{Work, labels_cost};
use super::rows::drop_histograms;
use super::text::go_g;
use super::value::{Row, Value};
use crate::functions::texts;
use crate::parse::ast::{AggregateExpr, AggregateOp, Span};
use hashbrown::HashMap;
use storage_engine::model::{Labels, METRIC_NAME};

/// Smallest and greatest float that `k` may be, both excluded: what fits into a 64-bit integer in Go.
const K_MIN: f64 = -9_223_372_036_854_775_808.0;
const K_MAX: f64 = 9_223_372_036_854_774_784.0;

/// Evaluates an aggregation over `count` steps. Labels of the result may repeat for `count_values` only at different steps.
pub(crate) fn run(
    expr: &AggregateExpr,
    mut rows: Vec<Row>,
    param: Option<Value>,
    count: usize,
    annotations: &mut Annotations,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let span = expr.param.as_ref().map_or(expr.span, |p| p.bare().span());
    if expr.op == AggregateOp::CountValues {
        let Some(Value::String(label)) = param else {
            return Err(EvalError::execution("count_values needs a label name"));
        };
        return tally::run(expr, &rows, &label, count, work);
    }
    let mut mixed = rows.iter().any(Row::has_histograms);
    if mixed && takes_floats_only(expr.op) {
        drop_histograms(&mut rows);
        mixed = false;
        let text = texts::histogram_ignored_in_aggregation(name_of(expr.op));
        annotations.add(Severity::Info, text, expr.expr.span());
    }
    let groups = Groups::of(&rows, expr, work)?;
    let param = match param {
        Some(Value::Scalar(steps)) => Parameter::new(steps),
        _ => Parameter::new(Vec::new()),
    };
    match expr.op {
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
            if param.max < 1.0 {
                return Ok(Vec::new());
            }
            param.check_k()?;
            rank::run(expr.op, rows, &groups, &param.steps, count, work)
        }
        AggregateOp::LimitRatio => {
            if param.max == 0.0 && param.min == 0.0 {
                return Ok(Vec::new());
            }
            if param.has_nan {
                return Err(EvalError::execution("Ratio value is NaN"));
            }
            param.warn_ratio(span, annotations);
            rank::run(expr.op, rows, &groups, &param.steps, count, work)
        }
        AggregateOp::Quantile => {
            param.warn_quantile(span, annotations);
            fold::quantiles(&rows, &groups, &param.steps, count, work)
        }
        op @ (AggregateOp::Sum | AggregateOp::Avg) if mixed => {
            let span = expr.expr.span();
            let notes = mixed::Notes { annotations, span };
            mixed::run(op, &rows, &groups, count, notes, work)
        }
        op => fold::run(op, &rows, &groups, count, work),
    }
}

fn name_of(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Sum => "sum",
        AggregateOp::Avg => "avg",
        AggregateOp::Count => "count",
        AggregateOp::Min => "min",
        AggregateOp::Max => "max",
        AggregateOp::Group => "group",
        AggregateOp::Stddev => "stddev",
        AggregateOp::Stdvar => "stdvar",
        AggregateOp::Topk => "topk",
        AggregateOp::Bottomk => "bottomk",
        AggregateOp::CountValues => "count_values",
        AggregateOp::Quantile => "quantile",
        AggregateOp::Limitk => "limitk",
        AggregateOp::LimitRatio => "limit_ratio",
    }
}

/// Aggregations that have no meaning for native histograms.
fn takes_floats_only(op: AggregateOp) -> bool {
    matches!(
        op,
        AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
            | AggregateOp::Quantile
            | AggregateOp::Topk
            | AggregateOp::Bottomk
    )
}

/// Which rows belong together.
pub(crate) struct Groups {
    /// Labels of each group, in order of appearance.
    labels: Vec<Labels>,
    /// Rows of each group, ascending.
    members: Vec<Vec<usize>>,
    /// Group of each row.
    of_row: Vec<usize>,
}

impl Groups {
    fn of(rows: &[Row], expr: &AggregateExpr, work: &mut Work) -> Result<Self, EvalError> {
        work.take(24 * rows.len())?;
        let mut numbers: HashMap<Labels, usize> = HashMap::new();
        let mut groups = Groups {
            labels: Vec::new(),
            members: Vec::new(),
            of_row: Vec::with_capacity(rows.len()),
        };
        for (i, row) in rows.iter().enumerate() {
            work.tick(16)?;
            let key = group_labels(&row.labels, &expr.grouping, expr.without);
            let group = match numbers.get(&key) {
                Some(&group) => group,
                None => {
                    work.take(GROUP_BYTES + labels_cost(&key))?;
                    numbers.insert(key.clone(), groups.labels.len());
                    groups.labels.push(key);
                    groups.members.push(Vec::new());
                    groups.labels.len() - 1
                }
            };
            groups.members[group].push(i);
            groups.of_row.push(group);
        }
        Ok(groups)
    }
}

/// A group's entries in the tables, without its labels and members.
const GROUP_BYTES: usize = 96;

/// Labels of the group that a series falls into.
pub(crate) fn group_labels(labels: &Labels, grouping: &[String], without: bool) -> Labels {
    let listed = |n: &str| grouping.iter().any(|g| g == n);
    if without {
        labels.filtered(|n| n != METRIC_NAME && !listed(n))
    } else if grouping.is_empty() {
        Labels::empty()
    } else {
        labels.filtered(listed)
    }
}

/// The scalar parameter over the steps.
struct Parameter {
    steps: Vec<f64>,
    min: f64,
    max: f64,
    has_nan: bool,
}

impl Parameter {
    fn new(steps: Vec<f64>) -> Self {
        let has_nan = steps.iter().any(|v| v.is_nan());
        // As Go's math.Min and math.Max, which answer NaN when they see one.
        let fold = |start: f64, f: fn(f64, f64) -> f64| {
            if has_nan {
                f64::NAN
            } else {
                steps.iter().fold(start, |a, &b| f(a, b))
            }
        };
        Parameter {
            min: fold(f64::MAX, f64::min),
            max: fold(-f64::MAX, f64::max),
            has_nan,
            steps,
        }
    }

    fn check_k(&self) -> Result<(), EvalError> {
        if self.has_nan {
            return Err(EvalError::execution("Parameter value is NaN"));
        }
        if self.min <= K_MIN {
            let value = go_g(self.min);
            return Err(EvalError::Execution(format!(
                "Scalar value {value} underflows int64"
            )));
        }
        if self.max >= K_MAX {
            let value = go_g(self.max);
            return Err(EvalError::Execution(format!(
                "Scalar value {value} overflows int64"
            )));
        }
        Ok(())
    }

    fn warn_ratio(&self, span: Span, annotations: &mut Annotations) {
        let mut warn = |value: f64, cap: &str| {
            let value = go_g(value);
            let text = format!(
                "PromQL warning: ratio value should be between -1 and 1, got {value}, capping to {cap}"
            );
            annotations.add(Severity::Warning, text, span);
        };
        if self.max > 1.0 {
            warn(self.max, "1");
        }
        if self.min < -1.0 {
            warn(self.min, "-1");
        }
    }

    fn warn_quantile(&self, span: Span, annotations: &mut Annotations) {
        let mut warn = |value: f64| {
            let text = texts::invalid_quantile(value);
            annotations.add(Severity::Warning, text, span);
        };
        if self.has_nan {
            warn(f64::NAN);
        }
        if self.max > 1.0 {
            warn(self.max);
        }
        if self.min < 0.0 {
            warn(self.min);
        }
    }
}

#[cfg(test)]
mod tests;
