//! Aggregations with one number per group: sum, avg, count, min, max, group, stddev, stdvar, quantile.

use super::Groups;
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::rows::steps;
use crate::eval::value::{Bits, Row};
use crate::kernels::{CompensatedSum, RunningMean, quantile};
use crate::parse::ast::AggregateOp;

/// Evaluates all but quantile.
pub(super) fn run(
    op: AggregateOp,
    rows: &[Row],
    groups: &Groups,
    count: usize,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let fold = Fold {
        rows,
        groups,
        count,
    };
    match op {
        AggregateOp::Sum => fold.with(
            |v| CompensatedSum {
                sum: v,
                compensation: 0.0,
            },
            CompensatedSum::add,
            |s| s.sum + s.compensation,
            work,
        ),
        AggregateOp::Avg => fold.with(RunningMean::new, RunningMean::add, |m| m.value(), work),
        AggregateOp::Count => fold.with(|_| 1.0, |n, _| *n += 1.0, |n| n, work),
        // Any number takes the place of a NaN.
        AggregateOp::Min => fold.with(
            |v| v,
            |least, v| {
                if *least > v || least.is_nan() {
                    *least = v;
                }
            },
            |v| v,
            work,
        ),
        AggregateOp::Max => fold.with(
            |v| v,
            |greatest, v| {
                if *greatest < v || greatest.is_nan() {
                    *greatest = v;
                }
            },
            |v| v,
            work,
        ),
        AggregateOp::Stddev => fold.with(Spread::new, Spread::add, |s| s.variance().sqrt(), work),
        AggregateOp::Stdvar => fold.with(Spread::new, Spread::add, |s| s.variance(), work),
        _ => fold.with(|_| 1.0, |_, _| {}, |v| v, work),
    }
}

/// Evaluates `quantile`.
pub(super) fn quantiles(
    rows: &[Row],
    groups: &Groups,
    q: &[f64],
    count: usize,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let fold = Fold {
        rows,
        groups,
        count,
    };
    let mut values = Vec::new();
    let mut out = Vec::with_capacity(groups.labels.len());
    work.take(size_of::<f64>() * rows.len())?;
    for (group, members) in groups.members.iter().enumerate() {
        let mut row = fold.open(group, members, work)?;
        for k in steps(&row.present.clone()) {
            // Sorting costs more than looking.
            work.tick(8 * members.len())?;
            values.clear();
            values.extend(members.iter().filter_map(|&i| rows[i].get(k)));
            let q = q.get(k).copied().unwrap_or(f64::NAN);
            row.put(k, quantile(q, &mut values));
        }
        out.push(row);
    }
    Ok(out)
}

/// Incremental variance (Welford). The first value being infinite or NaN makes the result NaN.
#[derive(Clone, Copy)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn new(v: f64) -> Self {
        Spread {
            count: 1.0,
            mean: v,
            squares: if v.is_finite() { 0.0 } else { f64::NAN },
        }
    }

    fn add(&mut self, v: f64) {
        self.count += 1.0;
        let delta = v - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (v - self.mean);
    }

    fn variance(self) -> f64 {
        self.squares / self.count
    }
}

pub(super) struct Fold<'a> {
    pub(super) rows: &'a [Row],
    pub(super) groups: &'a Groups,
    pub(super) count: usize,
}

impl Fold<'_> {
    /// The row of a group, present where any member is.
    pub(super) fn open(
        &self,
        group: usize,
        members: &[usize],
        work: &mut Work,
    ) -> Result<Row, EvalError> {
        work.row(&self.groups.labels[group], self.count)?;
        work.tick(members.len() * (1 + self.count / 64))?;
        let mut row = Row::absent(self.groups.labels[group].clone(), self.count);
        for &i in members {
            row.present.union(&self.rows[i].present);
        }
        // Prometheus keeps what the last step with samples said.
        if let Some(last) = last_set(&row.present) {
            row.drop_name = members
                .iter()
                .any(|&i| self.rows[i].drop_name && self.rows[i].present.get(last));
        }
        Ok(row)
    }

    /// One accumulator per step, rows in order: the same operations in the same order as step by step.
    fn with<S: Copy>(
        &self,
        first: impl Fn(f64) -> S,
        next: impl Fn(&mut S, f64),
        finish: impl Fn(S) -> f64,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        work.take(size_of::<S>() * self.count)?;
        let mut states = vec![first(0.0); self.count];
        let mut out = Vec::with_capacity(self.groups.labels.len());
        for (group, members) in self.groups.members.iter().enumerate() {
            let mut row = self.open(group, members, work)?;
            let mut seen = Bits::zeros(self.count);
            for &i in members {
                let member = &self.rows[i];
                work.tick(self.count)?;
                for k in steps(&member.present) {
                    if seen.get(k) {
                        next(&mut states[k], member.values[k]);
                    } else {
                        seen.set(k);
                        states[k] = first(member.values[k]);
                    }
                }
            }
            for k in steps(&seen) {
                row.values[k] = finish(states[k]);
            }
            if seen.any() {
                out.push(row);
            }
        }
        Ok(out)
    }
}

fn last_set(bits: &Bits) -> Option<usize> {
    let (i, word) = bits
        .words()
        .iter()
        .enumerate()
        .rev()
        .find(|(_, w)| **w != 0)?;
    Some(i * 64 + 63 - word.leading_zeros() as usize)
}
