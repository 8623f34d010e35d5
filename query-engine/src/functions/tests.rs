//! Tests of functions: the traps of Prometheus, case by case.

use super::*;
use crate::parse::ast::{Expr, NumberLiteral};
use crate::parse::functions::Function;
use storage_engine::model::{Labels, METRIC_NAME};

fn function(name: &'static str) -> &'static Function {
    Box::leak(Box::new(Function {
        name,
        args: &[],
        variadic: 0,
        return_type: crate::parse::ast::ValueType::Vector,
        experimental: false,
    }))
}

fn row(pairs: &[(&str, &str)], steps: &[Option<f64>]) -> Row {
    let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
    let mut row = Row::absent(labels, steps.len());
    for (k, v) in steps.iter().enumerate() {
        if let Some(v) = v {
            row.put(k, *v);
        }
    }
    row
}

struct Run {
    delayed: bool,
    annotations: Annotations,
}

impl Run {
    fn new(delayed: bool) -> Run {
        Run {
            delayed,
            annotations: Annotations::default(),
        }
    }

    fn call(
        &mut self,
        name: &'static str,
        args: Vec<Value>,
        steps: usize,
    ) -> Result<Value, EvalError> {
        let number = |_: &Value| {
            Expr::Number(NumberLiteral {
                value: 0.0,
                is_duration: false,
                span: Span::default(),
            })
        };
        let node = Call {
            func: function(name),
            args: args.iter().map(number).collect(),
            span: Span::default(),
        };
        let grid = Grid {
            start: 0,
            step: 60_000,
            count: steps,
        };
        let mut ctx = CallContext {
            grid,
            query: QueryTimes {
                start: 0,
                end: grid.last() + 1_000,
                step: 60_000,
            },
            delayed_name_removal: self.delayed,
            annotations: &mut self.annotations,
            work: &mut Work::default(),
        };
        call(&node, args, &mut ctx)
    }
}

fn vector(value: Result<Value, EvalError>) -> Vec<Row> {
    match value.unwrap() {
        Value::Vector(rows) => rows,
        other => panic!("not a vector: {other:?}"),
    }
}

fn text(s: &str) -> Value {
    Value::String(s.as_bytes().to_vec())
}

#[test]
fn names_go_at_once_or_are_marked() {
    let input = || {
        vec![row(
            &[(METRIC_NAME, "m"), ("__unit__", "s"), ("a", "b")],
            &[Some(-1.0)],
        )]
    };
    let rows = vector(Run::new(false).call("abs", vec![Value::Vector(input())], 1));
    assert_eq!(rows[0].labels, row(&[("a", "b")], &[]).labels);
    assert_eq!(rows[0].get(0), Some(1.0));
    let rows = vector(Run::new(true).call("abs", vec![Value::Vector(input())], 1));
    assert!(rows[0].drop_name);
    assert_eq!(rows[0].labels, input()[0].labels);
}

#[test]
fn equal_rows_merge_or_fail() {
    let apart = vec![
        row(&[(METRIC_NAME, "a")], &[Some(1.0), None]),
        row(&[(METRIC_NAME, "b")], &[None, Some(2.0)]),
    ];
    let rows = vector(Run::new(false).call("abs", vec![Value::Vector(apart.clone())], 2));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].get(0), rows[0].get(1)), (Some(1.0), Some(2.0)));
    let mut meeting = apart;
    meeting[0].put(1, 5.0);
    let error = Run::new(false).call("abs", vec![Value::Vector(meeting)], 2);
    assert_eq!(error, Err(EvalError::same_labelset()));
}

#[test]
fn templates_expand_as_in_go() {
    let check = |template: &str, pattern: &str, want: &str| {
        let args = vec![
            Value::Vector(vec![row(&[("src", "ab-12")], &[Some(1.0)])]),
            text("dst"),
            text(template),
            text("src"),
            text(pattern),
        ];
        let rows = vector(Run::new(true).call("label_replace", args, 1));
        assert_eq!(rows[0].labels.value("dst"), want, "{template} {pattern}");
    };
    check("$1", "(.*)-(.*)", "ab");
    check("$1x", "(.*)-(.*)", "");
    check("${1}x$$2$", "(.*)-(.*)", "abx$2$");
    check("${2", "(.*)-(.*)", "${2");
    check("$word", "(?P<word>[a-z]+).*", "ab");
    check("x", "ab", "");
}

#[test]
fn wrong_labels_and_patterns_have_prometheus_texts() {
    let args = |dst: &str, regex: &str| {
        let rows = Value::Vector(Vec::new());
        vec![rows, text(dst), text(""), text("src"), text(regex)]
    };
    let error = |dst: &str, regex: &str| {
        let result = Run::new(true).call("label_replace", args(dst, regex), 1);
        result.unwrap_err().to_string()
    };
    assert_eq!(
        error("dst", "(.*"),
        "invalid regular expression in label_replace(): (.*"
    );
    assert_eq!(
        error("", ".*"),
        "invalid destination label name in label_replace(): "
    );
}

#[test]
fn classic_quantile_repairs_and_tells() {
    let bucket = |le: &str, v: f64| row(&[(METRIC_NAME, "b"), ("le", le)], &[Some(v)]);
    let input = vec![bucket("+Inf", 35.0), bucket("1", 30.0), bucket("0.5", 40.0)];
    let mut run = Run::new(true);
    let args = vec![Value::Scalar(vec![0.5]), Value::Vector(input)];
    let rows = vector(run.call("histogram_quantile", args, 1));
    assert_eq!(rows[0].get(0), Some(0.25));
    let (warnings, infos) = run.annotations.render("x");
    assert!(warnings.is_empty());
    assert_eq!(
        infos,
        vec![
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric \
             name \"b\", from buckets 1 to +Inf, with a max diff of 10, over 1 samples from \
             1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z (1:1)"
        ]
    );
}

#[test]
fn a_bad_bucket_is_named() {
    let mut run = Run::new(true);
    let rows = vec![row(&[(METRIC_NAME, "b"), ("le", "x")], &[Some(1.0)])];
    let args = vec![Value::Scalar(vec![2.0]), Value::Vector(rows)];
    assert!(vector(run.call("histogram_quantile", args, 1)).is_empty());
    let (warnings, _) = run.annotations.render("x");
    assert_eq!(
        warnings,
        vec![
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"b\" (1:1)"
        ]
    );
}

#[test]
fn sorting_puts_nan_last_both_ways() {
    let one = |v: f64| row(&[("v", &v.to_string())], &[Some(v)]);
    let input = || Value::Vector(vec![one(2.0), one(f64::NAN), one(1.0)]);
    let order = |name| -> Vec<String> {
        let rows = vector(Run::new(true).call(name, vec![input()], 1));
        rows.iter()
            .map(|r| r.labels.value("v").to_owned())
            .collect()
    };
    assert_eq!(order("sort"), ["1", "2", "NaN"]);
    assert_eq!(order("sort_desc"), ["2", "1", "NaN"]);
}

#[test]
fn natural_order_compares_numbers() {
    use std::cmp::Ordering::*;
    assert_eq!(natural_cmp("cpu2", "cpu10"), Less);
    assert_eq!(natural_cmp("a", "b"), Less);
    assert_eq!(natural_cmp("a1b", "a1"), Greater);
    assert_eq!(natural_cmp("", "1"), Less);
}

#[test]
fn dates_are_utc_and_proleptic() {
    let of = |name: &'static str, seconds: f64| {
        let rows = vec![row(&[], &[Some(seconds)])];
        let rows = vector(Run::new(true).call(name, vec![Value::Vector(rows)], 1));
        rows[0].get(0).unwrap()
    };
    let leap_day = 1_456_790_399.0; // 2016-02-29T23:59:59Z
    assert_eq!(of("day_of_month", leap_day), 29.0);
    assert_eq!(of("days_in_month", leap_day), 29.0);
    assert_eq!(of("day_of_year", leap_day), 60.0);
    assert_eq!(of("day_of_week", leap_day), 1.0);
    assert_eq!(of("hour", leap_day), 23.0);
    assert_eq!(of("minute", leap_day), 59.0);
    assert_eq!(of("month", -1.0), 12.0);
    assert_eq!(of("year", -1.0), 1969.0);
    assert_eq!(of("day_of_year", -1.0), 365.0);
}

#[test]
fn clamp_follows_go() {
    let rows = || Value::Vector(vec![row(&[("a", "1")], &[Some(f64::NAN), Some(7.0)])]);
    let scalar = |v: f64| Value::Scalar(vec![v, v]);
    let got = vector(Run::new(true).call("clamp", vec![rows(), scalar(1.0), scalar(5.0)], 2));
    assert!(got[0].get(0).unwrap().is_nan());
    assert_eq!(got[0].get(1), Some(5.0));
    let none = vector(Run::new(true).call("clamp", vec![rows(), scalar(5.0), scalar(1.0)], 2));
    assert!(none.is_empty());
}

#[test]
fn exact_logarithms() {
    let of = |name: &'static str, v: f64| {
        let rows = vec![row(&[], &[Some(v)])];
        vector(Run::new(true).call(name, vec![Value::Vector(rows)], 1))[0]
            .get(0)
            .unwrap()
    };
    assert_eq!(of("log2", 1024.0), 10.0);
    assert_eq!(of("log2", 5e-324), -1074.0);
    assert_eq!(of("log10", 0.0), f64::NEG_INFINITY);
    assert!(of("log10", -1.0).is_nan());
    assert_eq!(of("log2", f64::INFINITY), f64::INFINITY);
}

#[test]
fn query_times_are_those_asked_for() {
    let of = |name: &'static str| match Run::new(true).call(name, Vec::new(), 2) {
        Ok(Value::Scalar(steps)) => steps,
        other => panic!("{other:?}"),
    };
    assert_eq!(of("start"), [0.0, 0.0]);
    assert_eq!(of("end"), [61.0, 61.0]);
    assert_eq!(of("range"), [61.0, 61.0]);
    assert_eq!(of("step"), [60.0, 60.0]);
    assert_eq!(of("time"), [0.0, 60.0]);
}
