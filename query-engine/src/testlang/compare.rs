//! Is an answer what the case says?
//!
//! Promise: exact label sets, exact times, values equal to six digits, a matrix sorted by labels.

use super::host::{AnswerValue, Sample};
use super::native;
use super::script::{EvalCase, EvalTime};
use super::series::{Point, SeriesLine};
use crate::functions::almost_equal;
use storage_engine::model::{Labels, TimestampMs};

/// Relative difference that is still equal.
const EPSILON: f64 = 1e-6;

/// Compares the answer with the case's expected value.
pub(super) fn check_value(case: &EvalCase, value: &AnswerValue) -> Result<(), String> {
    match value {
        AnswerValue::Scalar(got) => match case.value.scalar {
            Some(wanted) if almost_equal(wanted, *got, EPSILON) => Ok(()),
            Some(wanted) => Err(format!("expected scalar {wanted}, but got {got}")),
            None => Err(format!("expected a vector or matrix, but got scalar {got}")),
        },
        AnswerValue::String(got) => {
            let wanted = case.value.string.clone().unwrap_or_default();
            if wanted == *got {
                Ok(())
            } else {
                let (wanted, got) = (
                    String::from_utf8_lossy(&wanted),
                    String::from_utf8_lossy(got),
                );
                Err(format!("expected string {wanted:?}, but got {got:?}"))
            }
        }
        AnswerValue::Vector(got) => check_vector(case, got),
        AnswerValue::Matrix(got) => check_matrix(case, got),
    }
}

/// Later lines for the same labels replace earlier ones.
fn expected<'a>(case: &'a EvalCase, labels: &Labels) -> Option<(usize, &'a SeriesLine)> {
    let all = case.value.series.iter().enumerate();
    all.rev().find(|(_, s)| s.labels == *labels)
}

/// Is a sample what the point says?
fn is_equal(wanted: &Point, got: &Sample) -> bool {
    match (wanted, got) {
        (Point::Float(wanted), Sample::Float(got)) => almost_equal(*wanted, *got, EPSILON),
        (Point::Histogram(wanted), Sample::Histogram(got)) => native::matches(wanted, got, EPSILON),
        _ => false,
    }
}

pub(super) fn check_vector(case: &EvalCase, got: &[(Labels, Sample)]) -> Result<(), String> {
    if let Some(wanted) = case.value.scalar {
        return Err(format!("expected scalar {wanted}, but got vector {got:?}"));
    }
    for (position, (labels, value)) in got.iter().enumerate() {
        let Some((index, series)) = expected(case, labels) else {
            return Err(format!(
                "unexpected metric {labels} in result, has value {value:?}"
            ));
        };
        if case.expectations.ordered && index != position {
            return Err(format!(
                "expected metric {labels} at position {}, but it was at {}",
                index + 1,
                position + 1
            ));
        }
        match series.points.first() {
            Some(wanted) if is_equal(wanted, value) => {}
            wanted => {
                return Err(format!(
                    "expected {wanted:?} for {labels}, but got {value:?}"
                ));
            }
        }
    }
    all_found(case, |labels| got.iter().any(|(l, _)| l == labels))
}

fn all_found(case: &EvalCase, found: impl Fn(&Labels) -> bool) -> Result<(), String> {
    match case.value.series.iter().find(|s| !found(&s.labels)) {
        Some(series) => Err(format!("expected metric {} not found", series.labels)),
        None => Ok(()),
    }
}

fn check_matrix(
    case: &EvalCase,
    got: &[(Labels, Vec<(TimestampMs, Sample)>)],
) -> Result<(), String> {
    if case.expectations.ordered {
        return Err("expected an ordered result, but the query returned a matrix".to_owned());
    }
    if case.value.scalar.is_some() {
        return Err(format!("expected a scalar, but got matrix {got:?}"));
    }
    check_sorted(got)?;
    let (start, end, step) = match (case.window, case.time) {
        (Some(window), _) => window,
        (None, EvalTime::Range { start, end, step }) => (start, end, step),
        (None, EvalTime::Instant(t)) => (t, t, 0),
    };
    for (labels, samples) in got {
        let Some((_, series)) = expected(case, labels) else {
            return Err(format!(
                "unexpected metric {labels} in result, has {samples:?}"
            ));
        };
        let mut wanted: Vec<(TimestampMs, &Point)> = Vec::new();
        for (i, point) in series.points.iter().enumerate() {
            let time = start + step * i as i64;
            if time > end {
                return Err(format!(
                    "expected {} points for {labels}, but the time range cannot return this many",
                    series.points.len()
                ));
            }
            if *point != Point::Omitted {
                wanted.push((time, point));
            }
        }
        let equal = wanted.len() == samples.len()
            && samples
                .iter()
                .zip(&wanted)
                .all(|((t, v), (wt, wv))| t == wt && is_equal(wv, v));
        if !equal {
            return Err(format!(
                "expected {wanted:?} for {labels}, but got {samples:?}"
            ));
        }
    }
    all_found(case, |labels| got.iter().any(|(l, _)| l == labels))
}

/// A matrix comes sorted by labels.
pub(super) fn check_sorted<T>(matrix: &[(Labels, T)]) -> Result<(), String> {
    for (a, b) in matrix.iter().zip(matrix.iter().skip(1)) {
        if a.0 > b.0 {
            return Err(format!(
                "a matrix must be sorted by labels, but {} comes before {}",
                a.0, b.0
            ));
        }
    }
    Ok(())
}
