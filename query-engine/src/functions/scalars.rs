//! Functions that yield scalars, and `vector`, which turns one into a vector.

use super::{Arguments, CallContext, elementwise, times};
use crate::eval::error::EvalError;
use crate::eval::value::{Row, Value};
use storage_engine::model::Labels;

pub(super) fn call(
    name: &str,
    args: &mut Arguments,
    ctx: &mut CallContext<'_>,
) -> Result<Value, EvalError> {
    let query = ctx.query;
    let range = query.end.saturating_sub(query.start);
    let steps = match name {
        "time" => ctx.each_step(|t| t as f64 / 1000.0),
        "pi" => ctx.each_step(|_| std::f64::consts::PI),
        "start" => ctx.each_step(|_| query.start as f64 / 1000.0),
        "end" => ctx.each_step(|_| query.end as f64 / 1000.0),
        "step" => ctx.each_step(|_| query.step as f64 / 1000.0),
        "range" => ctx.each_step(|_| range as f64 / 1000.0),
        "min_of" => pairwise(args, elementwise::go_min)?,
        "max_of" => pairwise(args, elementwise::go_max)?,
        "scalar" => scalar(&args.vector()?, ctx)?,
        "vector" => {
            let row = times::everywhere(Labels::empty(), args.scalar()?);
            return Ok(Value::Vector(vec![row]));
        }
        _ => {
            return Err(EvalError::execution(format!(
                "unsupported function \"{name}\""
            )));
        }
    };
    Ok(Value::Scalar(steps))
}

fn pairwise(args: &mut Arguments, f: impl Fn(f64, f64) -> f64) -> Result<Vec<f64>, EvalError> {
    let (a, b) = (args.scalar()?, args.scalar()?);
    Ok(a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect())
}

/// The only sample of each step; NaN where there is none or more than one.
fn scalar(rows: &[Row], ctx: &mut CallContext<'_>) -> Result<Vec<f64>, EvalError> {
    let only = |k: usize| {
        ctx.work.tick(1 + rows.len())?;
        let mut found = rows.iter().filter_map(|row| row.get(k));
        Ok(match (found.next(), found.next()) {
            (Some(v), None) => v,
            _ => f64::NAN,
        })
    };
    (0..ctx.grid.count).map(only).collect()
}
