//! A slow evaluator to hold answers against: one step at a time, over plain lists, as the language is defined and without any plan.
//!
//! It trusts the parser only. What it leaves out it says with [`Refusal::NotCovered`]: native histograms, rankings (which of equal values come
//! is not defined), label functions other than `label_replace` with a whole-value pattern. Not here: which queries are asked.

mod kernels;
mod operators;

use ferula_query_engine::parse::ast::{
    AtModifier, Expr, MatrixSelector, SubqueryExpr, VectorSelector,
};
use std::collections::BTreeMap;
use storage_engine::model::is_stale_nan;

pub(crate) type LabelMap = BTreeMap<String, String>;
pub(crate) const NAME: &str = "__name__";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// The query is wrong for these data.
    Failed(&'static str),
    /// This evaluator has no such thing.
    NotCovered(String),
}

pub(crate) const SAME_LABELS: Refusal =
    Refusal::Failed("vector cannot contain metrics with the same labelset");

/// One series of an instant vector.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) labels: LabelMap,
    pub(crate) value: f64,
    /// Time of the sample, if a selector gave it.
    pub(crate) sampled: i64,
}

/// A value at one time.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Scalar(f64),
    Vector(Vec<Element>),
}

/// Series of a range vector: labels and samples.
type Ranges = Vec<(LabelMap, Vec<(i64, f64)>)>;

/// A window and where it lies.
struct Window {
    series: Ranges,
    start: i64,
    end: i64,
}

/// All series and the times of one query.
pub(crate) struct Reference<'a> {
    pub(crate) data: &'a [(LabelMap, Vec<(i64, f64)>)],
    /// When the query begins and ends, milliseconds.
    pub(crate) query: (i64, i64),
    pub(crate) lookback: i64,
    pub(crate) subquery_step: i64,
}

fn not_covered<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::NotCovered(what.into()))
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inside) => bare(&inside.expr),
        other => other,
    }
}

/// No two elements may have the same labels.
pub(crate) fn distinct(elements: Vec<Element>) -> Result<Vec<Element>, Refusal> {
    let mut labels: Vec<&LabelMap> = elements.iter().map(|e| &e.labels).collect();
    labels.sort();
    match labels.windows(2).any(|w| w[0] == w[1]) {
        true => Err(SAME_LABELS),
        false => Ok(elements),
    }
}

pub(crate) fn without_name(labels: &LabelMap) -> LabelMap {
    let mut labels = labels.clone();
    labels.remove(NAME);
    labels
}

/// Every value through `f`; the name goes.
fn mapped(elements: Vec<Element>, f: impl Fn(&Element) -> f64) -> Result<Answer, Refusal> {
    let map = |e: Element| Element {
        labels: without_name(&e.labels),
        value: f(&e),
        sampled: e.sampled,
    };
    distinct(elements.into_iter().map(map).collect()).map(Answer::Vector)
}

impl Reference<'_> {
    /// The value of `expr` at `t`.
    pub(crate) fn at(&self, expr: &Expr, t: i64) -> Result<Answer, Refusal> {
        match expr {
            Expr::Number(n) => Ok(Answer::Scalar(n.value)),
            Expr::Paren(p) => self.at(&p.expr, t),
            Expr::Vector(selector) => Ok(Answer::Vector(self.newest(selector, t))),
            Expr::Unary(u) => match (u.op.as_str(), self.at(&u.expr, t)?) {
                ("-", Answer::Scalar(v)) => Ok(Answer::Scalar(-v)),
                ("-", Answer::Vector(all)) => mapped(all, |e| -e.value),
                (_, same) => Ok(same),
            },
            Expr::Binary(binary) => {
                operators::binary(binary, self.at(&binary.lhs, t)?, self.at(&binary.rhs, t)?)
            }
            Expr::Aggregate(aggregate) => {
                let param = match &aggregate.param {
                    Some(param) => self.number(param, t)?,
                    None => f64::NAN,
                };
                operators::aggregate(aggregate, param, self.vector(&aggregate.expr, t)?)
            }
            Expr::Call(call) => self.call(call.func.name, &call.args, t),
            other => not_covered(format!("{other}")),
        }
    }

    fn vector(&self, expr: &Expr, t: i64) -> Result<Vec<Element>, Refusal> {
        match self.at(expr, t)? {
            Answer::Vector(all) => Ok(all),
            Answer::Scalar(_) => not_covered("a number in place of a vector"),
        }
    }

    fn number(&self, expr: &Expr, t: i64) -> Result<f64, Refusal> {
        match self.at(expr, t)? {
            Answer::Scalar(v) => Ok(v),
            Answer::Vector(_) => not_covered("a vector in place of a number"),
        }
    }

    fn call(&self, name: &str, args: &[Expr], t: i64) -> Result<Answer, Refusal> {
        let seconds = t as f64 / 1000.0;
        match (name, args) {
            ("time", []) => Ok(Answer::Scalar(seconds)),
            ("scalar", [v]) => Ok(Answer::Scalar(match self.vector(v, t)?.as_slice() {
                [one] => one.value,
                _ => f64::NAN,
            })),
            ("abs", [v]) => mapped(self.vector(v, t)?, |e| e.value.abs()),
            ("ceil", [v]) => mapped(self.vector(v, t)?, |e| e.value.ceil()),
            ("timestamp", [v]) => {
                let of_sample = matches!(bare(v), Expr::Vector(_));
                mapped(self.vector(v, t)?, |e| match of_sample {
                    true => e.sampled as f64 / 1000.0,
                    false => seconds,
                })
            }
            ("absent", [v]) => Ok(absence(v, self.vector(v, t)?.is_empty())),
            ("absent_over_time", [v]) => Ok(absence(v, self.window(v, t)?.series.is_empty())),
            (
                "label_replace",
                [
                    v,
                    Expr::String(to),
                    Expr::String(with),
                    Expr::String(from),
                    _,
                ],
            ) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (to, with, from) = (text(&to.value), text(&with.value), text(&from.value));
                let mut all = self.vector(v, t)?;
                for e in &mut all {
                    let value = e.labels.get(&from).cloned().unwrap_or_default();
                    e.labels.insert(to.clone(), with.replace("$1", &value));
                }
                distinct(all).map(Answer::Vector)
            }
            ("quantile_over_time", [q, v]) => {
                let q = self.number(q, t)?;
                self.over_windows(v, t, true, |_, samples| {
                    let values: Vec<f64> = samples.iter().map(|(_, v)| *v).collect();
                    Some(kernels::quantile(q, values))
                })
            }
            (_, [v]) => match kernels::range_function(name) {
                Some(f) => self.over_windows(v, t, name != "last_over_time", f),
                None => not_covered(name),
            },
            _ => not_covered(name),
        }
    }

    fn over_windows(
        &self,
        expr: &Expr,
        t: i64,
        drops_name: bool,
        f: impl Fn((i64, i64), &[(i64, f64)]) -> Option<f64>,
    ) -> Result<Answer, Refusal> {
        let window = self.window(expr, t)?;
        let mut out = Vec::new();
        for (labels, samples) in &window.series {
            if let Some(value) = f((window.start, window.end), samples) {
                let labels = match drops_name {
                    true => without_name(labels),
                    false => labels.clone(),
                };
                out.push(Element {
                    labels,
                    value,
                    sampled: t,
                });
            }
        }
        distinct(out).map(Answer::Vector)
    }

    fn reference(&self, at: Option<AtModifier>, offset: i64, t: i64) -> i64 {
        let t = match at {
            None => t,
            Some(AtModifier::Timestamp(at)) => at,
            Some(AtModifier::Start) => self.query.0,
            Some(AtModifier::End) => self.query.1,
        };
        t - offset
    }

    fn selected(
        &self,
        selector: &VectorSelector,
    ) -> impl Iterator<Item = &(LabelMap, Vec<(i64, f64)>)> {
        self.data.iter().filter(|(labels, _)| {
            let value = |name: &str| labels.get(name).map_or("", String::as_str);
            selector.matchers.iter().all(|m| m.matches(value(&m.name)))
        })
    }

    /// The newest samples at `t`.
    fn newest(&self, selector: &VectorSelector, t: i64) -> Vec<Element> {
        let t = self.reference(selector.at, selector.original_offset, t);
        let mut out = Vec::new();
        for (labels, samples) in self.selected(selector) {
            let newest = samples.iter().rfind(|(at, _)| *at <= t);
            if let Some(&(sampled, value)) = newest
                && sampled > t - self.lookback
                && !is_stale_nan(value)
            {
                out.push(Element {
                    labels: labels.clone(),
                    value,
                    sampled,
                });
            }
        }
        out
    }

    fn window(&self, expr: &Expr, t: i64) -> Result<Window, Refusal> {
        match bare(expr) {
            Expr::Matrix(matrix) => Ok(self.samples(matrix, t)),
            Expr::Subquery(subquery) => self.subquery(subquery, t),
            other => not_covered(format!("{other}")),
        }
    }

    fn samples(&self, matrix: &MatrixSelector, t: i64) -> Window {
        let end = self.reference(matrix.selector.at, matrix.selector.original_offset, t);
        let start = end - matrix.range;
        let inside = |(t, v): &&(i64, f64)| *t > start && *t <= end && !is_stale_nan(*v);
        let series = self.selected(&matrix.selector).map(|(labels, samples)| {
            let inside: Vec<(i64, f64)> = samples.iter().filter(inside).copied().collect();
            (labels.clone(), inside)
        });
        Window {
            series: series.filter(|(_, samples)| !samples.is_empty()).collect(),
            start,
            end,
        }
    }

    fn subquery(&self, subquery: &SubqueryExpr, t: i64) -> Result<Window, Refusal> {
        let end = self.reference(subquery.at, subquery.original_offset, t);
        let start = end - subquery.range;
        let step = match subquery.step {
            0 => self.subquery_step,
            step => step,
        };
        let mut at = start.div_euclid(step) * step + step;
        let mut series: BTreeMap<LabelMap, Vec<(i64, f64)>> = BTreeMap::new();
        while at <= end {
            let all = match self.at(&subquery.expr, at)? {
                Answer::Vector(all) => all,
                Answer::Scalar(value) => vec![Element {
                    labels: LabelMap::new(),
                    value,
                    sampled: at,
                }],
            };
            for e in all {
                series.entry(e.labels).or_default().push((at, e.value));
            }
            at += step;
        }
        Ok(Window {
            series: series.into_iter().collect(),
            start,
            end,
        })
    }
}

/// What `absent` says: labels come from the matchers that ask for one value each.
fn absence(expr: &Expr, absent: bool) -> Answer {
    if !absent {
        return Answer::Vector(Vec::new());
    }
    let matchers = match bare(expr) {
        Expr::Vector(selector) => selector.matchers.as_slice(),
        Expr::Matrix(matrix) => matrix.selector.matchers.as_slice(),
        _ => &[],
    };
    let mut labels = LabelMap::new();
    for m in matchers.iter().filter(|m| m.name != NAME) {
        let of_label = matchers.iter().filter(|other| other.name == m.name);
        if m.op == storage_engine::model::MatchOp::Equal && of_label.count() == 1 {
            labels.insert(m.name.clone(), m.value.clone());
        }
    }
    Answer::Vector(vec![Element {
        labels,
        value: 1.0,
        sampled: 0,
    }])
}
