//! Random queries over random data: what must hold whatever the query is.
//!
//! An answer does not depend on the number of shards; a range query is the instant queries of its steps; an instant query's answer is that of a
//! slow evaluator; what prints parses to the same; nothing panics. The seed is printed with a failure; `FERULA_MODEL_SEED` and
//! `FERULA_MODEL_QUERIES` choose others.

#![expect(clippy::unwrap_used, reason = "a test may fail on what cannot be")]

mod reference;

use ferula_query_engine::engine::{Engine, EngineOptions, QueryRequest};
use ferula_query_engine::local::LocalShards;
use ferula_query_engine::parse::{ParserOptions, parse, prettify};
use ferula_query_engine::result::{QueryError, QueryOutput, QueryValue};
use reference::{Answer, LabelMap, Reference, Refusal};
use std::collections::BTreeMap;
use storage_engine::model::{Labels, STALE_NAN_BITS, SampleColumns};

const SECOND: i64 = 1000;
const START: i64 = 300 * SECOND;
const STEP: i64 = 37 * SECOND;
const STEPS: i64 = 9;

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

fn data(random: &mut Random) -> Vec<(Labels, SampleColumns)> {
    let mut all = Vec::new();
    for name in ["a_total", "b", "c_total"] {
        for job in ["x", "y"] {
            for instance in ["1", "2", "3"] {
                if random.below(5) == 0 {
                    continue;
                }
                let pairs = [("__name__", name), ("job", job), ("instance", instance)];
                let mut samples = SampleColumns::default();
                let mut t = random.below(100) as i64 * SECOND;
                let mut value = random.below(10) as f64;
                while t < START + STEP * STEPS {
                    let v = match random.below(40) {
                        0 => f64::NAN,
                        1 => f64::INFINITY,
                        2 => f64::from_bits(STALE_NAN_BITS),
                        3 => 0.0,
                        _ => value,
                    };
                    samples.push(t, v);
                    value = match random.below(12) {
                        0 => 0.0,
                        n => value + n as f64 * 0.5,
                    };
                    t += (5 + random.below(40) as i64) * SECOND;
                    if random.below(20) == 0 {
                        t += 400 * SECOND;
                    }
                }
                all.push((Labels::from_pairs(pairs).unwrap(), samples));
            }
        }
    }
    all
}

fn selector(random: &mut Random) -> String {
    let name = random.pick(&[
        "a_total",
        "b",
        "c_total",
        "{__name__=~\"a_total|b\"}",
        "missing",
    ]);
    if name.starts_with('{') {
        name.to_owned()
    } else {
        let matcher = random.pick(&["", "", "{job=\"x\"}", "{instance!=\"1\"}", "{job=~\"x|y\"}"]);
        format!("{name}{matcher}")
    }
}

fn modifiers(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "",
        "",
        "",
        " offset 30s",
        " offset -1m",
        " @ 350",
        " @ end()",
        " @ start() offset 10s",
    ])
}

fn range(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.below(3) == 0 {
        let inner = vector(random, depth - 1);
        let window = random.pick(&["[2m:30s]", "[90s:]", "[1m:7s]"]);
        return format!("({inner}){window}{}", modifiers(random));
    }
    let window = random.pick(&["[30s]", "[2m]", "[5m]", "[1s]"]);
    format!("{}{window}{}", selector(random), modifiers(random))
}

fn scalar(random: &mut Random, depth: usize) -> String {
    match random.below(6) {
        0 if depth > 0 => format!("scalar({})", vector(random, depth - 1)),
        1 => "time()".to_owned(),
        2 if depth > 0 => format!("({} + {})", scalar(random, depth - 1), scalar(random, 0)),
        _ => random
            .pick(&["0", "1", "2.5", "-3", "0.5", "NaN", "Inf"])
            .to_owned(),
    }
}

fn vector(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return format!("{}{}", selector(random), modifiers(random));
    }
    let d = depth - 1;
    match random.below(12) {
        0 | 1 => {
            let f = random.pick(&[
                "rate",
                "increase",
                "delta",
                "irate",
                "sum_over_time",
                "avg_over_time",
                "last_over_time",
                "max_over_time",
                "changes",
                "resets",
                "count_over_time",
                "absent_over_time",
                "stddev_over_time",
                "deriv",
            ]);
            format!("{f}({})", range(random, d))
        }
        2 => format!(
            "quantile_over_time({}, {})",
            scalar(random, d),
            range(random, d)
        ),
        3 | 4 => {
            let op = random.pick(&[
                "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar",
            ]);
            let by = random.pick(&[
                "",
                " by (job)",
                " without (instance)",
                " by (instance, job)",
            ]);
            format!("{op}{by} ({})", vector(random, d))
        }
        5 => {
            let op = random.pick(&["topk", "bottomk", "quantile"]);
            let by = random.pick(&["", " by (job)"]);
            format!("{op}{by} ({}, {})", scalar(random, d), vector(random, d))
        }
        6 | 7 => {
            let op = random.pick(&[
                "+", "-", "*", "/", "%", "^", "==", "> bool", "<=", "and", "or", "unless",
            ]);
            let set = matches!(op, "and" | "or" | "unless");
            let on = if set {
                random.pick(&["", " on(job)", " ignoring(instance)"])
            } else {
                random.pick(&[
                    "",
                    " on(job, instance)",
                    " on(instance) group_left()",
                    " on(job) group_right(instance)",
                    " ignoring(job)",
                ])
            };
            format!("({} {op}{on} {})", vector(random, d), vector(random, d))
        }
        8 => {
            let op = random.pick(&["+", "*", "> bool", "<", "!="]);
            format!("({} {op} {})", vector(random, d), scalar(random, d))
        }
        9 => format!("({} < {})", scalar(random, d), vector(random, d)),
        10 => {
            let f = random.pick(&["abs", "timestamp", "absent", "-", "ceil", "minute"]);
            format!("{f}({})", vector(random, d))
        }
        _ => format!(
            "label_replace({}, \"job\", \"z$1\", \"instance\", \"(.*)\")",
            vector(random, d)
        ),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Series to (time, value).
type Points = BTreeMap<Labels, Vec<(i64, f64)>>;

fn points(output: &QueryOutput) -> Points {
    match &output.value {
        QueryValue::Vector(all) => {
            let point = |(l, t, v): &(Labels, i64, f64)| (l.clone(), vec![(*t, *v)]);
            let points: Points = all.iter().map(point).collect();
            assert_eq!(
                points.len(),
                all.len(),
                "labels repeat in an instant vector"
            );
            points
        }
        QueryValue::Matrix(all) => {
            assert!(
                all.windows(2).all(|w| w[0].labels < w[1].labels),
                "not sorted"
            );
            let line = |s: &ferula_query_engine::result::Series| {
                let pairs = s.timestamps.iter().copied().zip(s.values.iter().copied());
                (s.labels.clone(), pairs.collect())
            };
            all.iter().map(line).collect()
        }
        other => panic!("no vector: {other:?}"),
    }
}

fn is_close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Where they differ, if they do.
fn difference(a: &Points, b: &Points) -> Option<String> {
    if a.keys().ne(b.keys()) {
        return Some(format!("series {:?} and {:?}", a.keys(), b.keys()));
    }
    a.iter().zip(b.values()).find_map(|((labels, a), b)| {
        let same = a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| a.0 == b.0 && is_close(a.1, b.1));
        (!same).then(|| format!("{labels}: {a:?} and {b:?}"))
    })
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn shards_and_steps_do_not_change_answers() {
    let seed = from_environment("FERULA_MODEL_SEED", 7);
    let queries = from_environment("FERULA_MODEL_QUERIES", 400);
    let mut random = Random(seed);
    let data = data(&mut random);
    let stores: Vec<LocalShards> = [1, 3].into_iter().map(LocalShards::new).collect();
    for store in &stores {
        for (labels, samples) in &data {
            store.append(labels, samples).unwrap();
        }
    }
    let mut answered = 0;
    for number in 0..queries {
        let engine = Engine::new(EngineOptions {
            delayed_name_removal: number % 2 == 1,
            parser: ParserOptions::all(),
            ..EngineOptions::default()
        });
        let depth = 1 + number as usize % 4;
        let query = vector(&mut random, depth);
        let context = format!("seed {seed}, query {number}: {query}");
        let end = START + STEP * (STEPS - 1);
        let request = QueryRequest::range(&query, START, end, STEP);
        let answers: Vec<Result<Points, QueryError>> = stores
            .iter()
            .map(|store| block_on(engine.query(store, &request)).map(|o| points(&o)))
            .collect();
        let range = match (&answers[0], &answers[1]) {
            (Ok(one), Ok(three)) => {
                assert_eq!(difference(one, three), None, "{context}");
                one
            }
            (Err(one), Err(three)) => {
                assert!(!matches!(one, QueryError::Parse(_)), "{context}: {one}");
                assert_eq!(one.to_string(), three.to_string(), "{context}");
                continue;
            }
            (one, three) => panic!("{context}: {one:?} and {three:?}"),
        };
        answered += usize::from(!range.is_empty());
        // `start()` is another time in an instant query. Which of equal values a ranking takes depends on what else there is; samples are
        // seldom equal, what is computed from them often. A name that goes at the end goes from a whole series of an `or`.
        let has = |word: &str| query.contains(word);
        let ranks = has("topk") || has("bottomk");
        let late = engine.options().delayed_name_removal && has(" or ");
        if has("start()") || has("end()") || late || ranks && depth > 1 {
            continue;
        }
        for step in 0..STEPS {
            let t = START + STEP * step;
            let instant = block_on(engine.query(&stores[0], &QueryRequest::instant(&query, t)));
            let instant = points(&instant.unwrap_or_else(|e| panic!("{context} at {t}: {e}")));
            let at = |(labels, points): (&Labels, &Vec<(i64, f64)>)| {
                let point = points.iter().find(|p| p.0 == t)?;
                Some((labels.clone(), vec![*point]))
            };
            let expected: Points = range.iter().filter_map(at).collect();
            assert_eq!(difference(&expected, &instant), None, "{context} at {t}");
        }
    }
    assert!(
        answered * 4 > queries as usize,
        "only {answered} queries found something"
    );
}

/// The slow evaluator's answer as the engine's would be.
fn points_of(answer: Answer, t: i64) -> Points {
    let Answer::Vector(all) = answer else {
        panic!("no vector: {answer:?}");
    };
    let point = |e: reference::Element| {
        let labels = e.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        (Labels::from_pairs(labels).unwrap(), vec![(t, e.value)])
    };
    all.into_iter().map(point).collect()
}

#[test]
fn answers_are_those_of_a_slow_evaluator() {
    let seed = from_environment("FERULA_MODEL_SEED", 11);
    let queries = from_environment("FERULA_MODEL_QUERIES", 1_000);
    let mut random = Random(seed);
    let data = data(&mut random);
    let store = LocalShards::new(2);
    let mut plain: Vec<(LabelMap, Vec<(i64, f64)>)> = Vec::new();
    for (labels, samples) in &data {
        store.append(labels, samples).unwrap();
        let pairs = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
        let points = samples.timestamps.iter().copied();
        let points = points.zip(samples.values.iter().copied());
        plain.push((pairs.collect(), points.collect()));
    }
    let options = EngineOptions {
        parser: ParserOptions::all(),
        ..EngineOptions::default()
    };
    let (lookback, subquery_step) = (options.lookback_delta_ms, options.default_subquery_step_ms);
    let engine = Engine::new(options);
    let (mut compared, mut refused) = (0, 0);
    for number in 0..queries {
        let query = vector(&mut random, 1 + number as usize % 4);
        let expr = parse(&query, &ParserOptions::all()).unwrap();
        for step in 0..STEPS {
            let t = START + STEP * step;
            let context = format!("seed {seed}, query {number} at {t}: {query}");
            let reference = Reference {
                data: &plain,
                query: (t, t),
                lookback,
                subquery_step,
            };
            let expected = reference.at(&expr, t);
            let found = block_on(engine.query(&store, &QueryRequest::instant(&query, t)));
            match (found, expected) {
                (_, Err(Refusal::NotCovered(_))) => break,
                (Ok(found), Ok(expected)) => {
                    compared += usize::from(!points(&found).is_empty());
                    let difference = difference(&points_of(expected, t), &points(&found));
                    assert_eq!(difference, None, "{context}");
                }
                (Err(found), Err(Refusal::Failed(expected))) => {
                    refused += 1;
                    let found = found.to_string();
                    // Of two mistakes either may be told.
                    let same = ["same labelset", "duplicate series", "multiple matches"];
                    let known = same.iter().any(|text| found.contains(text));
                    assert!(known, "{context}: {found}, not {expected}");
                }
                // A subquery's series must not meet at any of its steps; the slow evaluator looks at one.
                (Err(found), Ok(_)) if found.to_string().contains("same labelset") => {
                    assert!(query.contains(':'), "{context}: {found}");
                }
                (found, expected) => panic!("{context}: {found:?}, not {expected:?}"),
            }
        }
    }
    assert!(
        compared > queries as usize && refused > 0,
        "only {compared} answers with something in them and {refused} refusals"
    );
}

#[test]
fn what_prints_parses_to_the_same() {
    let seed = from_environment("FERULA_MODEL_SEED", 13);
    let queries = from_environment("FERULA_MODEL_QUERIES", 3_000);
    let mut random = Random(seed);
    let options = ParserOptions::all();
    let mut parsed = 0;
    for number in 0..queries {
        let query = spelled(&mut random, 1 + number as usize % 5);
        let context = format!("seed {seed}, query {number}: {query}");
        // Not every pair of pieces fits: an offset's arithmetic swallows the operator behind it.
        let Ok(expr) = parse(&query, &options) else {
            continue;
        };
        parsed += 1;
        let printed = expr.to_string();
        let again = parse(&printed, &options);
        let again = again.unwrap_or_else(|e| panic!("{context}: {printed}: {e}"));
        assert_eq!(again.to_string(), printed, "{context}");
        let pretty = prettify(&expr);
        let again = parse(&pretty, &options);
        let again = again.unwrap_or_else(|e| panic!("{context}: {pretty}: {e}"));
        assert_eq!(again.to_string(), printed, "{context}: {pretty}");
    }
    assert!(parsed * 4 > queries * 3, "only {parsed} queries parse");
}

/// A query with everything that only has to be spelled right.
fn spelled(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        let name = random.pick(&[
            "up",
            "a:b",
            "{\"a.b\"}",
            "{\"up\", \"l.x\"!~\"y|z\"}",
            "up{job='it\\'s'}",
            "{__name__=~`a\\.b`, x!=\"\"}",
            "(by)",
            "(offset)",
        ]);
        if name.starts_with('(') {
            return name.to_owned();
        }
        let smoothed = random.pick(&["", "", "", " smoothed"]);
        return format!("{name}{smoothed}{}", moved(random));
    }
    let d = depth - 1;
    match random.below(14) {
        0 => format!("-{}", spelled(random, d)),
        1 => format!("({})", spelled(random, d)),
        2 | 3 => {
            let op = random.pick(&[
                "+", "-", "*", "/", "%", "^", "atan2", "== bool", "<", ">=", "!=", "</", ">/",
            ]);
            let matching = random.pick(&[
                "",
                "on(a, \"b.c\")",
                "ignoring()",
                "on(a) group_left",
                "ignoring(a) group_right(b)",
                "fill(0)",
                "on(a) group_left(b) fill_left(-1.5) fill_right(2)",
            ]);
            format!(
                "{} {op} {matching} {}",
                spelled(random, d),
                spelled(random, d)
            )
        }
        4 => {
            let op = random.pick(&["and", "or", "unless"]);
            let on = random.pick(&["", "on(a)", "ignoring(b, c)"]);
            format!("{} {op} {on} {}", spelled(random, d), spelled(random, d))
        }
        5 => {
            let op = random.pick(&["sum", "avg", "group", "stdvar"]);
            let by = random.pick(&["", "by (a)", "without (a, \"b.c\")", "by ()"]);
            format!("{op} {by} ({})", spelled(random, d))
        }
        6 => {
            let op = random.pick(&["topk", "quantile", "limitk", "limit_ratio"]);
            let by = random.pick(&["", "by (a)", "without ()"]);
            format!("{op}(0x1F, {}) {by}", spelled(random, d))
        }
        7 => format!("count_values(\"l\\n\", {})", spelled(random, d)),
        8 => {
            let window = random.pick(&[
                "[5m]",
                "[90]",
                "[1h30m]",
                "[step() * 2]",
                "[max_of(1m, step())]",
            ]);
            let edges = random.pick(&["", "", " anchored", " smoothed"]);
            format!("rate(up{{a=~\"b.*\"}}{window}{edges}{})", moved(random))
        }
        9 => {
            let window = random.pick(&["[5m:]", "[1h:30s]", "[range() + 1m:step()]"]);
            format!(
                "max_over_time(({}){window}{})",
                spelled(random, d),
                moved(random)
            )
        }
        10 => format!(
            "label_replace({}, \"a\", \"$1\", \"b\", \"(.*)\\\\d\")",
            spelled(random, d)
        ),
        11 => {
            let numbers = ["1e-7", "0755", "1_000", "Inf", "NaN", "5m30s", "-0.5", ".5"];
            let number = random.pick(&numbers);
            format!("{} * {number}", spelled(random, d))
        }
        12 => format!("info({}, {{version=~\".+\"}})", spelled(random, d)),
        _ => format!("histogram_quantile(0.9, {})", spelled(random, d)),
    }
}

fn moved(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "",
        "",
        " offset 5m",
        " offset -1h30m",
        " @ 12.5 offset 3",
        " @ end()",
        " offset 1m @ start()",
        " offset (step() + 1m)",
        " offset -step()",
        " @ -100",
    ])
}
