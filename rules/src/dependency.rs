//! Which rules of a group read what others write: what may be evaluated at the same time.
//!
//! Promise: where that cannot be told (a selector without a metric name, a rule that reads `ALERTS`), nothing runs beside anything else.

use query_engine::parse::ast::{Expr, VectorSelector};

/// A rule as far as dependencies go.
pub(crate) struct Reads<'a> {
    /// The name of the metric that it writes, or of the alert.
    pub(crate) name: &'a str,
    /// What it asks.
    pub(crate) expr: &'a Expr,
}

/// Indices of rules that may be evaluated at the same time.
pub(crate) type Batch = Vec<usize>;

fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    let mut found = Vec::new();
    expr.walk(&mut |expr| match expr {
        Expr::Vector(selector) => found.push(selector),
        Expr::Matrix(matrix) => found.push(&matrix.selector),
        _ => {}
    });
    found
}

/// For each rule the rules that read it, and the rules that it reads; `None` where that cannot be told.
fn edges(rules: &[Reads<'_>]) -> Option<Vec<(usize, usize)>> {
    let mut edges = Vec::new();
    for (reader, rule) in rules.iter().enumerate() {
        for selector in selectors(rule.expr) {
            let name = selector.name.as_str();
            if name.is_empty() || name == "ALERTS" || name == "ALERTS_FOR_STATE" {
                return None;
            }
            let writers = rules.iter().enumerate().filter(|(_, w)| w.name == name);
            edges.extend(writers.map(|(writer, _)| (writer, reader)));
        }
    }
    Some(edges)
}

/// The batches in which the rules can be evaluated one after the other: first all that read no other rule, then one by one those that read and
/// are read, then all that are read by none.
pub(crate) fn batches(rules: &[Reads<'_>]) -> Vec<Batch> {
    let alone = || (0..rules.len()).map(|i| vec![i]).collect();
    if rules.len() <= 1 {
        return alone();
    }
    let Some(edges) = edges(rules) else {
        return alone();
    };
    let reads = |i: usize| edges.iter().any(|(_, reader)| *reader == i);
    let is_read = |i: usize| edges.iter().any(|(writer, _)| *writer == i);
    let first: Batch = (0..rules.len()).filter(|i| !reads(*i)).collect();
    let middle = (0..rules.len()).filter(|i| reads(*i) && is_read(*i));
    let last: Batch = (0..rules.len())
        .filter(|i| reads(*i) && !is_read(*i))
        .collect();
    let mut out = vec![first];
    out.extend(middle.map(|i| vec![i]));
    out.push(last);
    out.retain(|batch| !batch.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use query_engine::parse::{ParserOptions, parse};

    fn of(rules: &[(&str, &str)]) -> Vec<Batch> {
        let parsed: Vec<(&str, Expr)> = rules
            .iter()
            .map(|(name, text)| (*name, parse(text, &ParserOptions::default()).unwrap()))
            .collect();
        let reads: Vec<Reads<'_>> = parsed
            .iter()
            .map(|(name, expr)| Reads { name, expr })
            .collect();
        batches(&reads)
    }

    #[test]
    fn independent_rules_share_a_batch() {
        assert_eq!(of(&[("a", "x"), ("b", "rate(y[1m])")]), [vec![0, 1]]);
        assert_eq!(of(&[("a", "x")]), [vec![0]]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn chains_keep_their_order() {
        let chain = [
            ("a", "x"),
            ("b", "a + y"),
            ("c", "max_over_time(b[5m:1m])"),
            ("d", "z"),
        ];
        assert_eq!(of(&chain), [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn what_cannot_be_told_runs_alone() {
        let alone = [vec![0], vec![1]];
        assert_eq!(of(&[("a", "{job=\"x\"}"), ("b", "y")]), alone);
        assert_eq!(of(&[("a", "x"), ("b", "ALERTS")]), alone);
        assert_eq!(of(&[("a", "a"), ("b", "y")]), [vec![1], vec![0]]);
    }
}
