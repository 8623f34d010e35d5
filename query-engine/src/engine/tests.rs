//! Whole queries over local shards: the traps that the parts alone cannot show.

use super::*;
use crate::local::LocalShards;
use storage_engine::model::STALE_NAN_BITS;
use storage_engine::model::SampleColumns;

const MINUTE: i64 = 60_000;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn labels(text: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(text.iter().copied()).unwrap()
}

/// Labels and values of a series.
type Points<'a> = (&'a [(&'a str, &'a str)], &'a [f64]);

/// Series with a sample a minute from 0 on.
fn store(shards: usize, series: &[Points<'_>]) -> LocalShards {
    let store = LocalShards::new(shards);
    for (pairs, values) in series {
        let samples = SampleColumns {
            timestamps: (0..values.len() as i64).map(|i| i * MINUTE).collect(),
            values: values.to_vec(),
        };
        store.append(&labels(pairs), &samples).unwrap();
    }
    store
}

fn run(
    engine: &Engine,
    store: &LocalShards,
    request: &QueryRequest<'_>,
) -> Result<QueryOutput, QueryError> {
    block_on(engine.query(store, request))
}

/// The value of an instant query as text, one line a series.
fn instant(store: &LocalShards, query: &str, minute: i64) -> Result<String, QueryError> {
    let request = QueryRequest::instant(query, minute * MINUTE);
    run(&Engine::default(), store, &request).map(|output| show(&output.value))
}

fn show(value: &QueryValue) -> String {
    match value {
        QueryValue::Scalar(t, v) => format!("{v} @{t}"),
        QueryValue::String(t, bytes) => format!("{:?} @{t}", String::from_utf8_lossy(bytes)),
        QueryValue::Vector(all) => {
            let lines: Vec<String> = all.iter().map(|(l, _, v)| format!("{l} {v}")).collect();
            lines.join("\n")
        }
        QueryValue::Matrix(all) => {
            let line = |s: &Series| {
                let points: Vec<String> = s
                    .timestamps
                    .iter()
                    .zip(&s.values)
                    .map(|(t, v)| format!("{v}@{t}"))
                    .collect();
                format!("{} {}", s.labels, points.join(" "))
            };
            let lines: Vec<String> = all.iter().map(line).collect();
            lines.join("\n")
        }
    }
}

fn three_jobs(shards: usize) -> LocalShards {
    store(
        shards,
        &[
            (
                &[("__name__", "x_total"), ("job", "a")],
                &[0.0, 1.0, 2.0, 3.0, 4.0],
            ),
            (
                &[("__name__", "x_total"), ("job", "b")],
                &[0.0, 2.0, 4.0, 6.0, 8.0],
            ),
            (
                &[("__name__", "y"), ("job", "a")],
                &[10.0, 10.0, 10.0, 10.0, 10.0],
            ),
        ],
    )
}

#[test]
fn the_future_can_move_between_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let store = three_jobs(1);
    let request = QueryRequest::instant("x_total + y", 0);
    let engine = Engine::default();
    let future = assert_send(engine.query(&store, &request));
    assert!(block_on(future).is_ok());
}

#[test]
fn answers_do_not_depend_on_the_number_of_shards() {
    for query in [
        "x_total",
        "sum by (job) (rate(x_total[3m]))",
        "x_total / on(job) group_left y",
        "topk(1, x_total)",
        "sum_over_time(x_total[3m:30s])",
        "x_total or y",
        "quantile(0.5, {__name__=~\".+\"})",
    ] {
        let one = instant(&three_jobs(1), query, 4).unwrap();
        assert!(!one.is_empty(), "{query}");
        for shards in [2, 7] {
            assert_eq!(
                instant(&three_jobs(shards), query, 4).unwrap(),
                one,
                "{query}"
            );
        }
    }
}

#[test]
fn aggregates_folded_in_the_shards_equal_those_of_the_coordinator() {
    let huge: &[f64] = &[f64::MAX, f64::MAX, f64::NAN, 1.0, f64::INFINITY];
    let series: Vec<[(&str, &str); 3]> = vec![
        [("__name__", "x_total"), ("job", "a"), ("i", "1")],
        [("__name__", "x_total"), ("job", "a"), ("i", "2")],
        [("__name__", "x_total"), ("job", "b"), ("i", "3")],
        [("__name__", "x_total"), ("job", "b"), ("i", "4")],
    ];
    let columns: [&[f64]; 4] = [
        &[1.0, 2.0, 3.0, 4.0, 5.0],
        &[0.1, 0.2, 0.7, 0.7, 1.9],
        huge,
        huge,
    ];
    let all: Vec<Points<'_>> = series
        .iter()
        .zip(columns)
        .map(|(pairs, values)| (pairs.as_slice(), values))
        .collect();
    for shards in [1, 3] {
        let store = store(shards, &all);
        for op in ["sum", "avg", "count", "min", "max", "group"] {
            for by in ["", "by (job)", "without (i)", "by (__name__)"] {
                for inner in [
                    "SELECTOR",
                    "rate(SELECTOR[2m])",
                    "last_over_time(SELECTOR[2m])",
                ] {
                    for delayed_name_removal in [false, true] {
                        let engine = Engine::new(EngineOptions {
                            delayed_name_removal,
                            ..EngineOptions::default()
                        });
                        let value = |selector: &str| {
                            let inner = inner.replace("SELECTOR", selector);
                            let query = format!("{op} {by} ({inner})");
                            let request = QueryRequest::range(&query, 0, 5 * MINUTE, 30_000);
                            let output = run(&engine, &store, &request).unwrap();
                            assert_eq!(output.warnings, Vec::<String>::new());
                            show(&output.value)
                        };
                        let folded = value("x_total");
                        assert!(!folded.is_empty());
                        assert_eq!(
                            folded,
                            value("{__name__=~\"x_total\"}"),
                            "{op} {by} {inner}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn equal_selectors_of_a_query_are_read_once_and_counted_right() {
    let store = three_jobs(2);
    let request = QueryRequest::range("sum(x_total) - sum(x_total)", 0, 4 * MINUTE, MINUTE);
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(output.stats.samples_total, 10);
    assert_eq!(
        show(&output.value),
        "{} 0@0 0@60000 0@120000 0@180000 0@240000"
    );
    assert_eq!(
        instant(&store, "x_total - x_total + x_total", 4).unwrap(),
        "{job=\"a\"} 4\n{job=\"b\"} 8"
    );
}

#[test]
fn samples_are_counted_for_each_step_when_asked() {
    let counts = |query: &str, shards: usize| {
        let store = three_jobs(shards);
        let mut request = QueryRequest::range(query, 0, 4 * MINUTE, MINUTE);
        request.step_stats = true;
        let stats = run(&Engine::default(), &store, &request).unwrap().stats;
        let (mut visited, mut read) = (Vec::new(), Vec::new());
        for (k, (t, v, r)) in stats.steps.iter().enumerate() {
            assert_eq!(*t, k as i64 * MINUTE);
            visited.push(*v);
            read.push(*r);
        }
        assert_eq!(visited.iter().sum::<u64>(), stats.samples_total, "{query}");
        assert_eq!(read.iter().sum::<u64>(), stats.samples_read, "{query}");
        (visited, read)
    };
    for shards in [1, 2] {
        let all = |steps: [u64; 5]| steps.to_vec();
        assert_eq!(counts("x_total", shards), (all([2; 5]), all([2; 5])));
        // Windows overlap; what a step before had is not read again.
        assert_eq!(
            counts("sum(sum_over_time(x_total[2m]))", shards),
            (all([2, 4, 4, 4, 4]), all([2; 5]))
        );
        assert_eq!(
            counts("sum_over_time(x_total[2m:1m])", shards),
            (all([2, 4, 4, 4, 14]), all([0, 0, 0, 0, 10]))
        );
        assert_eq!(
            counts("x_total @ 0", shards),
            (all([2, 0, 0, 0, 0]), all([2, 0, 0, 0, 0]))
        );
        assert_eq!(counts("time()", shards), (all([0; 5]), all([0; 5])));
    }
    let store = three_jobs(1);
    let request = QueryRequest::range("x_total", 0, 4 * MINUTE, MINUTE);
    let stats = run(&Engine::default(), &store, &request).unwrap().stats;
    assert_eq!((stats.samples_total, stats.samples_read), (10, 10));
    assert!(stats.steps.is_empty());
}

#[test]
fn windows_are_open_on_the_left() {
    let store = three_jobs(2);
    assert_eq!(
        instant(&store, "count_over_time(y[2m])", 4).unwrap(),
        "{job=\"a\"} 2"
    );
    assert_eq!(
        instant(&store, "y[2m]", 4).unwrap(),
        "{__name__=\"y\", job=\"a\"} 10@180000 10@240000"
    );
    assert_eq!(
        instant(&store, "y", 8).unwrap(),
        "{__name__=\"y\", job=\"a\"} 10"
    );
    assert_eq!(instant(&store, "y", 9).unwrap(), "");
}

#[test]
fn a_stale_marker_ends_a_series_at_once_and_is_invisible_to_windows() {
    let stale = f64::from_bits(STALE_NAN_BITS);
    let store = store(1, &[(&[("__name__", "y")], &[1.0, 2.0, stale])]);
    assert_eq!(instant(&store, "y", 1).unwrap(), "{__name__=\"y\"} 2");
    assert_eq!(instant(&store, "y", 2).unwrap(), "");
    assert_eq!(instant(&store, "sum_over_time(y[5m])", 2).unwrap(), "{} 3");
}

#[test]
fn offsets_apply_after_at_whatever_the_order() {
    let store = three_jobs(2);
    for query in [
        "x_total{job=\"b\"} @ 180 offset 1m",
        "x_total{job=\"b\"} offset 1m @ 180",
    ] {
        assert_eq!(
            instant(&store, query, 0).unwrap(),
            "{__name__=\"x_total\", job=\"b\"} 4"
        );
    }
}

#[test]
fn start_and_end_mean_the_query_even_inside_subqueries() {
    let store = three_jobs(1);
    let request = QueryRequest::range(
        "sum_over_time((x_total{job=\"a\"} @ end())[2m:1m])",
        2 * MINUTE,
        4 * MINUTE,
        MINUTE,
    );
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(
        show(&output.value),
        "{job=\"a\"} 8@120000 8@180000 8@240000"
    );
}

#[test]
fn subqueries_run_on_absolute_multiples_of_their_step() {
    let store = store(1, &[]);
    let request = QueryRequest::instant("sum_over_time(vector(time())[30s:10s])", 65_000);
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(show(&output.value), "{} 150");
}

#[test]
fn timestamp_of_a_selector_is_the_time_of_the_sample() {
    let store = three_jobs(1);
    let time = 4 * MINUTE + 7_000;
    for (query, expected) in [
        ("timestamp(y)", "{job=\"a\"} 240"),
        ("timestamp((y))", "{job=\"a\"} 240"),
        ("timestamp(abs(y))", "{job=\"a\"} 247"),
        ("timestamp(y @ 61)", "{job=\"a\"} 60"),
    ] {
        let output = run(
            &Engine::default(),
            &store,
            &QueryRequest::instant(query, time),
        )
        .unwrap();
        assert_eq!(show(&output.value), expected, "{query}");
    }
}

#[test]
fn names_go_at_once_or_at_the_end() {
    let store = three_jobs(1);
    let query =
        "label_replace(rate(x_total{job=\"a\"}[3m]), \"was\", \"$1\", \"__name__\", \"(.*)\")";
    let now = Engine::default();
    let request = QueryRequest::instant(query, 4 * MINUTE);
    let value = |engine: &Engine| match run(engine, &store, &request).unwrap().value {
        QueryValue::Vector(all) => all[0].0.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(&now), "{job=\"a\"}");
    let delayed = Engine::new(EngineOptions {
        delayed_name_removal: true,
        ..EngineOptions::default()
    });
    assert_eq!(value(&delayed), "{job=\"a\", was=\"x_total\"}");
}

#[test]
fn results_with_equal_labels_are_refused() {
    let store = three_jobs(3);
    let error = instant(&store, "abs({job=\"a\"})", 1).unwrap_err();
    let text = "vector cannot contain metrics with the same labelset";
    assert_eq!(error, QueryError::Execution(text.to_owned()));
    let error = instant(&store, "rate({job=\"a\"}[3m])", 4).unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[test]
fn ambiguous_matches_are_refused_in_prometheus_words() {
    let store = three_jobs(2);
    assert_eq!(
        instant(&store, "y * on() x_total", 1)
            .unwrap_err()
            .to_string(),
        "found duplicate series for the match group {} on the right hand-side of the operation: \
         [{__name__=\"x_total\", job=\"a\"}, {__name__=\"x_total\", job=\"b\"}]\
         ;many-to-many matching not allowed: matching labels must be unique on one side"
    );
    assert_eq!(
        instant(&store, "x_total * on() y", 1)
            .unwrap_err()
            .to_string(),
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    );
    assert_eq!(
        instant(&store, "{job=\"a\"} * on(job) group_left y", 1)
            .unwrap_err()
            .to_string(),
        "multiple matches for labels: grouping labels must ensure unique matches"
    );
    assert_eq!(instant(&store, "y * on() x_total", 20).unwrap(), "");
}

#[test]
fn scalars_on_the_left_of_a_comparison_keep_the_vectors_value() {
    let store = three_jobs(1);
    assert_eq!(
        instant(&store, "5 < x_total", 4).unwrap(),
        "{__name__=\"x_total\", job=\"b\"} 8"
    );
    assert_eq!(
        instant(&store, "5 < bool x_total", 4).unwrap(),
        "{job=\"a\"} 0\n{job=\"b\"} 1"
    );
}

#[test]
fn absent_over_time_decides_step_by_step_over_all_series() {
    let store = three_jobs(3);
    let request = QueryRequest::range(
        "absent_over_time({job=\"a\", z=~\".*\"}[1m])",
        4 * MINUTE,
        6 * MINUTE,
        MINUTE,
    );
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(show(&output.value), "{job=\"a\"} 1@300000 1@360000");
}

#[test]
fn annotations_point_into_the_query() {
    let store = three_jobs(2);
    let request = QueryRequest::instant("sum(\n  rate(y[3m]))", 4 * MINUTE);
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(
        output.infos,
        [
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"y\" (2:8)"
        ]
    );
    let request = QueryRequest::instant("quantile(1.5, y)", 4 * MINUTE);
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(
        output.warnings,
        ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)"]
    );
}

#[test]
fn limits_stop_a_query() {
    let store = three_jobs(2);
    let engine = Engine::new(EngineOptions {
        max_samples: 5,
        query_bytes_max: 30,
        ..EngineOptions::default()
    });
    let request = QueryRequest::range("x_total", 0, 4 * MINUTE, MINUTE);
    let refused = run(&engine, &store, &request).map(|_| ());
    assert_eq!(refused, Err(QueryError::TooManySamples));
    let request = QueryRequest::instant("sum(x_total) + sum(x_total) + 1", 0);
    assert!(matches!(
        run(&engine, &store, &request),
        Err(QueryError::Invalid(_))
    ));
    let request = QueryRequest::instant("sum_over_time(vector(1)[100y:1ms])", 0);
    let refused = run(&Engine::default(), &store, &request).map(|_| ());
    assert_eq!(refused, Err(QueryError::TooManySamples));
    let engine = Engine::new(EngineOptions {
        max_memory: 2_000,
        ..EngineOptions::default()
    });
    for query in ["x_total", "1 + time()", "sum by (job) (rate(x_total[1m]))"] {
        let request = QueryRequest::range(query, 0, 400 * MINUTE, MINUTE);
        let refused = run(&engine, &store, &request).map(|_| ());
        assert_eq!(refused, Err(QueryError::MemoryOfQuery(2_000)), "{query}");
    }
    assert_eq!(
        QueryError::MemoryOfQuery(2_000).to_string(),
        "query processing would load too many bytes into memory in query execution: the limit of one query is 2000 bytes"
    );
}

#[test]
fn a_flipped_token_stops_a_query_with_its_reason() {
    let store = three_jobs(2);
    let request = QueryRequest::instant("x_total", 0);
    request.cancel.time_out();
    let error = run(&Engine::default(), &store, &request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "query timed out in expression evaluation"
    );
    let request = QueryRequest::instant("x_total", 0);
    request.cancel.cancel();
    let error = run(&Engine::default(), &store, &request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "query was canceled in expression evaluation"
    );
}

#[test]
fn range_queries_have_a_value_at_every_step_or_are_refused() {
    let store = three_jobs(1);
    for (query, found) in [("x_total[1m]", "range vector"), ("\"text\"", "string")] {
        let request = QueryRequest::range(query, 0, MINUTE, MINUTE);
        let error = run(&Engine::default(), &store, &request).unwrap_err();
        let text = format!(
            "invalid expression type \"{found}\" for range query, must be Scalar or instant Vector"
        );
        assert_eq!(error, QueryError::Invalid(text));
    }
    let request = QueryRequest::range("1 + 1", 10, 70_000, MINUTE);
    let output = run(&Engine::default(), &store, &request).unwrap();
    assert_eq!(show(&output.value), "{} 2@10 2@60010");
}

#[test]
fn a_long_chain_of_operators_needs_no_deep_stack() {
    let store = store(1, &[]);
    let text = vec!["1"; 5_000].join(" + ");
    let engine = Engine::new(EngineOptions::default());
    let request = QueryRequest::instant(&text, 0);
    match run(&engine, &store, &request) {
        Ok(output) => assert_eq!(output.value, QueryValue::Scalar(0, 5_000.0)),
        // A parser may bound the depth of the tree.
        Err(error) => assert!(matches!(error, QueryError::Parse(_)), "{error}"),
    }
}
