//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: the order of rows of an instant query.
//!
//! Promise: NaN comes last in both directions; labels compare in natural order, ties by the whole label set. In a range query, whose result
//! is ordered by labels anyway, nothing happens and the user is told.

use super::{Arguments, CallContext, texts};
use crate::eval::annotations::Severity;
use crate::eval::error::EvalError;
use crate::eval::ordering::sort_by;
use crate::eval::value::Row;
use crate::parse::ast::Call;
use std::cmp::Ordering;

pub(super) fn sort(
    call: &Call,
    args: &mut Arguments,
    ctx: &mut CallContext<'_>,
) -> Result<Vec<Row>, EvalError> {
    let mut rows = args.vector()?;
    if ctx.is_range() {
        let text = texts::sort_in_range_query();
        ctx.annotations.add(Severity::Warning, text, call.span);
        return Ok(rows);
    }
    let name = call.func.name;
    match name {
        "sort" | "sort_desc" => {
            rows.retain(|row| row.present.any());
            rows = sort_by(rows, ctx.work, |a, b| by_value(a, b, name == "sort_desc"))?;
        }
        _ => {
            let labels: Vec<String> = args
                .texts()?
                .iter()
                .map(|l| String::from_utf8_lossy(l).into_owned())
                .collect();
            rows = sort_by(rows, ctx.work, |a, b| {
                let order = by_labels(a, b, &labels);
                if name == "sort_by_label_desc" {
                    order.reverse()
                } else {
                    order
                }
            })?;
        }
    }
    Ok(rows)
}

fn by_value(a: &Row, b: &Row, descending: bool) -> Ordering {
    let value = |row: &Row| row.get(0).unwrap_or(f64::NAN);
    let (a, b) = (value(a), value(b));
    match a.partial_cmp(&b) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => a.is_nan().cmp(&b.is_nan()),
    }
}

fn by_labels(a: &Row, b: &Row, labels: &[String]) -> Ordering {
    let differing = labels
        .iter()
        .map(|label| (a.labels.value(label), b.labels.value(label)))
        .find(|(x, y)| x != y);
    match differing {
        Some((x, y)) => natural_cmp(x, y),
        None => a.labels.cmp(&b.labels),
    }
}

/// Natural order: runs of digits compare as numbers, other runs as text; `a2` is before `a10`.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let ((x, after_x), (y, after_y)) = (first_run(left), first_run(right));
        if x.is_empty() || y.is_empty() {
            return x.len().cmp(&y.len()).then_with(|| a.cmp(b));
        }
        let order = match (x.parse::<i64>(), y.parse::<i64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (after_x, after_y);
    }
}

/// The longest prefix of only digits or only other characters.
fn first_run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits);
    text.split_at(end.unwrap_or(text.len()))
}
