//! `count_values`: how many series have each value.

use super::group_labels;
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::rows::steps;
use crate::eval::text::{go_f, go_quote};
use crate::eval::value::Row;
use crate::histogram::go_text;
use crate::parse::ast::AggregateExpr;
use hashbrown::HashMap;
use storage_engine::model::{Labels, LabelsBuilder};

/// Evaluates `count_values(label, …)`.
pub(super) fn run(
    expr: &AggregateExpr,
    rows: &[Row],
    label: &[u8],
    count: usize,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let Some(label) = std::str::from_utf8(label).ok().filter(|l| !l.is_empty()) else {
        let name = go_quote(label);
        return Err(EvalError::Execution(format!("invalid label name {name}")));
    };
    let mut grouping = expr.grouping.clone();
    if !expr.without {
        grouping.push(label.to_owned());
    }
    let mut slots: HashMap<Labels, usize> = HashMap::new();
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        // A series mostly repeats its values; the slot of the last one is looked up once.
        let mut last: Option<(u64, usize)> = None;
        work.tick(count)?;
        for k in steps(&row.present) {
            let histogram = row.histogram(k);
            let bits = row.values[k].to_bits();
            let slot = match last {
                Some((b, slot)) if b == bits && histogram.is_none() => slot,
                _ => {
                    work.tick(64)?;
                    let mut labels = LabelsBuilder::new(&row.labels);
                    let text = match histogram {
                        Some(histogram) => go_text(histogram),
                        None => go_f(row.values[k]),
                    };
                    labels.set(label, &text);
                    let key = group_labels(&labels.build(), &grouping, expr.without);
                    match slots.get(&key) {
                        Some(&slot) => slot,
                        None => {
                            work.row(&key, count)?;
                            out.push(Row::absent(key.clone(), count));
                            slots.insert(key, out.len() - 1);
                            out.len() - 1
                        }
                    }
                }
            };
            last = histogram.is_none().then_some((bits, slot));
            let before = out[slot].get(k).unwrap_or(0.0);
            out[slot].put(k, before + 1.0);
        }
    }
    Ok(out)
}
