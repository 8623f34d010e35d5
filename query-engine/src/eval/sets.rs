//! `and`, `or`, `unless`: decided at each step by match groups; names and values stay those of the side they come from.

use super::error::EvalError;
use super::memory::{Work, column_cost};
use super::signature::Signatures;
use super::value::{Bits, Row};
use crate::parse::ast::{BinaryOp, VectorMatching};

/// Evaluates a set operator. The rows of `or` may repeat labels; the caller joins them.
pub(crate) fn run(
    op: BinaryOp,
    mut lhs: Vec<Row>,
    mut rhs: Vec<Row>,
    matching: &VectorMatching,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let signatures = Signatures::of(&lhs, &rhs, matching, work)?;
    match op {
        BinaryOp::And | BinaryOp::Unless => {
            let right = presence(&rhs, &signatures.right, signatures.count, work)?;
            for (row, &group) in lhs.iter_mut().zip(&signatures.left) {
                let keep_where = op == BinaryOp::And;
                mask(&mut row.present, right[group].as_ref(), keep_where);
            }
        }
        _ => {
            let left = presence(&lhs, &signatures.left, signatures.count, work)?;
            for (row, &group) in rhs.iter_mut().zip(&signatures.right) {
                mask(&mut row.present, left[group].as_ref(), false);
            }
            lhs.append(&mut rhs);
        }
    }
    Ok(lhs)
}

/// Steps at which a group has any row.
fn presence(
    rows: &[Row],
    groups: &[usize],
    count: usize,
    work: &mut Work,
) -> Result<Vec<Option<Bits>>, EvalError> {
    work.take(count * size_of::<Option<Bits>>())?;
    let mut out: Vec<Option<Bits>> = vec![None; count];
    for (row, &group) in rows.iter().zip(groups) {
        match &mut out[group] {
            Some(bits) => bits.union(&row.present),
            empty => {
                work.take(column_cost(Bits::words_of(row.present.len())))?;
                *empty = Some(row.present.clone());
            }
        }
        work.tick(1 + Bits::words_of(row.present.len()))?;
    }
    Ok(out)
}

/// Keeps the steps of `bits` where `other` is (`keep_where`) or is not set.
fn mask(bits: &mut Bits, other: Option<&Bits>, keep_where: bool) {
    match (other, keep_where) {
        (Some(other), true) => bits.intersect(other),
        (Some(other), false) => bits.subtract(other),
        (None, true) => *bits = Bits::zeros(bits.len()),
        (None, false) => {}
    }
}
