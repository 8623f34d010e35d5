//! Aggregations over hand-made rows: ties, NaN, compensation, varying parameters.

use super::*;
use crate::parse::ast::{Expr, NumberLiteral};

const NAN: f64 = f64::NAN;

fn number() -> Expr {
    Expr::Number(NumberLiteral {
        value: 0.0,
        is_duration: false,
        span: Span::default(),
    })
}

fn aggregate(
    op: AggregateOp,
    param: Option<Vec<f64>>,
    columns: &[(&str, &[f64])],
) -> Vec<(String, Vec<Option<f64>>)> {
    let count = columns.first().map_or(1, |c| c.1.len());
    let rows = columns
        .iter()
        .map(|(name, values)| {
            let mut row = Row::absent(Labels::from_pairs([("n", *name)]).unwrap(), count);
            for (k, v) in values.iter().enumerate() {
                row.put(k, *v);
            }
            row
        })
        .collect();
    let expr = AggregateExpr {
        op,
        expr: number(),
        param: Some(number()),
        grouping: Vec::new(),
        without: false,
        span: Span::default(),
    };
    let out = run(
        &expr,
        rows,
        param.map(Value::Scalar),
        count,
        &mut Annotations::default(),
        &mut Work::default(),
    )
    .unwrap();
    out.iter()
        .map(|r| (r.labels.to_string(), (0..count).map(|k| r.get(k)).collect()))
        .collect()
}

fn names(rows: &[(String, Vec<Option<f64>>)]) -> Vec<&str> {
    rows.iter().map(|r| r.0.as_str()).collect()
}

#[test]
fn sums_are_compensated() {
    let got = aggregate(
        AggregateOp::Sum,
        None,
        &[("a", &[1e100]), ("b", &[1.0]), ("c", &[-1e100])],
    );
    assert_eq!(got, [("{}".to_owned(), vec![Some(1.0)])]);
}

#[test]
fn averages_do_not_overflow() {
    let got = aggregate(
        AggregateOp::Avg,
        None,
        &[("a", &[f64::MAX]), ("b", &[f64::MAX])],
    );
    assert_eq!(got[0].1, [Some(f64::MAX)]);
}

#[test]
fn extremes_prefer_numbers_to_nan() {
    let rows: &[(&str, &[f64])] = &[("a", &[NAN]), ("b", &[2.0]), ("c", &[1.0])];
    assert_eq!(aggregate(AggregateOp::Min, None, rows)[0].1, [Some(1.0)]);
    assert_eq!(aggregate(AggregateOp::Max, None, rows)[0].1, [Some(2.0)]);
}

#[test]
fn topk_and_bottomk_rank_nan_last() {
    let rows: &[(&str, &[f64])] = &[("a", &[NAN]), ("b", &[2.0]), ("c", &[1.0])];
    let top = aggregate(AggregateOp::Topk, Some(vec![3.0]), rows);
    assert_eq!(names(&top), ["{n=\"b\"}", "{n=\"c\"}", "{n=\"a\"}"]);
    let bottom = aggregate(AggregateOp::Bottomk, Some(vec![2.0]), rows);
    assert_eq!(names(&bottom), ["{n=\"c\"}", "{n=\"b\"}"]);
}

#[test]
fn k_may_vary_from_step_to_step() {
    let top = aggregate(
        AggregateOp::Topk,
        Some(vec![1.0, 0.0, 2.0]),
        &[("a", &[1.0, 1.0, 1.0]), ("b", &[2.0, 2.0, 2.0])],
    );
    assert_eq!(top[0].1, [None, None, Some(1.0)]);
    assert_eq!(top[1].1, [Some(2.0), None, Some(2.0)]);
}

#[test]
fn stddev_of_an_infinite_first_value_is_nan() {
    let got = aggregate(
        AggregateOp::Stddev,
        None,
        &[("a", &[f64::INFINITY]), ("b", &[1.0])],
    );
    assert!(got[0].1[0].is_some_and(f64::is_nan));
}

#[test]
fn ranking_many_rows_agrees_with_ranking_few() {
    let values: Vec<[f64; 1]> = (0..40).map(|i| [((i * 7) % 40) as f64]).collect();
    let labels: Vec<String> = (0..40).map(|i| format!("s{i:02}")).collect();
    let rows: Vec<(&str, &[f64])> = labels
        .iter()
        .zip(&values)
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    let all = aggregate(AggregateOp::Topk, Some(vec![40.0]), &rows);
    let few = aggregate(AggregateOp::Topk, Some(vec![5.0]), &rows);
    assert_eq!(all[..5], few[..]);
    assert_eq!(all[0].1, [Some(39.0)]);
}
