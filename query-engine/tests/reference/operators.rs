//! Operators between values and aggregations, at one step.

use super::kernels::{highest, mean, quantile, variance};
use super::{Answer, Element, LabelMap, NAME, Refusal, distinct, not_covered, without_name};
use ferula_query_engine::parse::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, MatchCardinality, VectorMatching,
};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The value of an operator, and whether a comparison lets it through.
fn combined(op: BinaryOp, a: f64, b: f64) -> Result<(f64, bool), Refusal> {
    Ok(match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (a / b, true),
        BinaryOp::Mod => (a % b, true),
        BinaryOp::Pow => (a.powf(b), true),
        BinaryOp::Eql => (a, a == b),
        BinaryOp::Neq => (a, a != b),
        BinaryOp::Lss => (a, a < b),
        BinaryOp::Lte => (a, a <= b),
        BinaryOp::Gtr => (a, a > b),
        BinaryOp::Gte => (a, a >= b),
        other => return not_covered(other.as_str()),
    })
}

fn as_bool(keep: bool) -> f64 {
    f64::from(u8::from(keep))
}

pub(super) fn binary(expr: &BinaryExpr, lhs: Answer, rhs: Answer) -> Result<Answer, Refusal> {
    match (lhs, rhs) {
        (Answer::Scalar(a), Answer::Scalar(b)) => {
            let (value, keep) = combined(expr.op, a, b)?;
            Ok(Answer::Scalar(match expr.op.is_comparison() {
                true => as_bool(keep),
                false => value,
            }))
        }
        (Answer::Vector(all), Answer::Scalar(b)) => with_number(expr, all, |v| (v, b)),
        (Answer::Scalar(a), Answer::Vector(all)) => with_number(expr, all, |v| (a, v)),
        (Answer::Vector(a), Answer::Vector(b)) => {
            let Some(matching) = &expr.matching else {
                return not_covered("vectors without matching");
            };
            if expr.op.is_set() {
                return Ok(Answer::Vector(set(expr.op, matching, a, b)));
            }
            joined(expr, matching, a, b)
        }
    }
}

fn with_number(
    expr: &BinaryExpr,
    all: Vec<Element>,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Answer, Refusal> {
    let mut out = Vec::new();
    for mut e in all {
        let (a, b) = sides(e.value);
        let (value, keep) = combined(expr.op, a, b)?;
        if !expr.op.is_comparison() || expr.return_bool {
            e.labels = without_name(&e.labels);
            e.value = if expr.return_bool {
                as_bool(keep)
            } else {
                value
            };
        } else if !keep {
            continue;
        }
        out.push(e);
    }
    distinct(out).map(Answer::Vector)
}

fn signature(matching: &VectorMatching, labels: &LabelMap) -> LabelMap {
    let is_named = |name: &str| matching.labels.iter().any(|l| l == name);
    let of_signature = |name: &str| match matching.on {
        true => is_named(name),
        false => !is_named(name) && name != NAME,
    };
    let kept = labels.iter().filter(|(name, _)| of_signature(name));
    kept.map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn set(op: BinaryOp, matching: &VectorMatching, a: Vec<Element>, b: Vec<Element>) -> Vec<Element> {
    let signatures = |all: &[Element]| -> BTreeSet<LabelMap> {
        all.iter().map(|e| signature(matching, &e.labels)).collect()
    };
    let (of_a, of_b) = (signatures(&a), signatures(&b));
    let in_b = |e: &Element| of_b.contains(&signature(matching, &e.labels));
    match op {
        BinaryOp::And => a.into_iter().filter(in_b).collect(),
        BinaryOp::Unless => a.into_iter().filter(|e| !in_b(e)).collect(),
        _ => {
            let new = |e: &Element| !of_a.contains(&signature(matching, &e.labels));
            a.into_iter().chain(b.into_iter().filter(new)).collect()
        }
    }
}

fn joined(
    expr: &BinaryExpr,
    matching: &VectorMatching,
    lhs: Vec<Element>,
    rhs: Vec<Element>,
) -> Result<Answer, Refusal> {
    if lhs.is_empty() || rhs.is_empty() {
        return Ok(Answer::Vector(Vec::new()));
    }
    let swapped = matching.card == MatchCardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let mut ones: BTreeMap<LabelMap, Element> = BTreeMap::new();
    for e in one {
        match ones.entry(signature(matching, &e.labels)) {
            Entry::Occupied(_) => return Err(Refusal::Failed("found duplicate series")),
            Entry::Vacant(entry) => entry.insert(e),
        };
    }
    let mut out = Vec::new();
    let mut seen: BTreeMap<LabelMap, BTreeSet<LabelMap>> = BTreeMap::new();
    for e in many {
        let key = signature(matching, &e.labels);
        let Some(partner) = ones.get(&key) else {
            continue;
        };
        let (a, b) = match swapped {
            true => (partner.value, e.value),
            false => (e.value, partner.value),
        };
        let (value, keep) = combined(expr.op, a, b)?;
        let labels = result_labels(expr, matching, &e.labels, &partner.labels);
        let of_group = seen.entry(key).or_default();
        let is_one_to_one = matching.card == MatchCardinality::OneToOne;
        if is_one_to_one && !of_group.is_empty() || !of_group.insert(labels.clone()) {
            return Err(Refusal::Failed("multiple matches for labels"));
        }
        if keep || expr.return_bool {
            let value = if expr.return_bool {
                as_bool(keep)
            } else {
                value
            };
            out.push(Element { labels, value, ..e });
        }
    }
    distinct(out).map(Answer::Vector)
}

fn result_labels(
    expr: &BinaryExpr,
    matching: &VectorMatching,
    many: &LabelMap,
    one: &LabelMap,
) -> LabelMap {
    let mut labels = many.clone();
    if !expr.op.is_comparison() || expr.return_bool {
        labels.remove(NAME);
    }
    if matching.card == MatchCardinality::OneToOne {
        labels.retain(|name, _| matching.on == matching.labels.contains(name));
    }
    for name in &matching.include {
        match one.get(name) {
            Some(value) => labels.insert(name.clone(), value.clone()),
            None => labels.remove(name),
        };
    }
    labels
}

pub(super) fn aggregate(
    expr: &AggregateExpr,
    param: f64,
    all: Vec<Element>,
) -> Result<Answer, Refusal> {
    if matches!(expr.op, AggregateOp::Topk | AggregateOp::Bottomk) {
        return not_covered(expr.op.as_str());
    }
    let mut groups: BTreeMap<LabelMap, Vec<f64>> = BTreeMap::new();
    for e in all {
        let mut labels = e.labels;
        labels.retain(|name, _| match expr.without {
            true => name != NAME && !expr.grouping.contains(name),
            false => expr.grouping.contains(name),
        });
        groups.entry(labels).or_default().push(e.value);
    }
    let mut out = Vec::new();
    for (labels, values) in groups {
        let each = values.iter().copied();
        let value = match expr.op {
            AggregateOp::Sum => each.sum(),
            AggregateOp::Avg => mean(each),
            AggregateOp::Count => values.len() as f64,
            AggregateOp::Min => -highest(each.map(|v| -v)),
            AggregateOp::Max => highest(each),
            AggregateOp::Group => 1.0,
            AggregateOp::Stddev => variance(each).sqrt(),
            AggregateOp::Stdvar => variance(each),
            AggregateOp::Quantile => quantile(param, values),
            other => return not_covered(other.as_str()),
        };
        out.push(Element {
            labels,
            value,
            sampled: 0,
        });
    }
    Ok(Answer::Vector(out))
}
