//! Queries that mean harm, over a small store with small budgets: each is answered or refused in words, and none takes more memory than its
//! budget and a stated slack.
//!
//! The allocator of this test counts, so it is alone in its file.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a failed unwrap is a failed test; what was counted is worth a look; how long is measured"
)]

use ferula_query_engine::engine::{Engine, EngineOptions, QueryRequest};
use ferula_query_engine::eval::memory::MemoryPool;
use ferula_query_engine::local::LocalShards;
use ferula_query_engine::parse::ParserOptions;
use ferula_query_engine::result::QueryError;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use storage_engine::model::{BucketSpan, FloatHistogram, Labels, SampleColumns};

/// Bytes that a query may hold here.
const BUDGET: usize = 8 << 20;
/// What the regular expressions of a query may take, about.
const REGEX_BUDGET: usize = 4 << 20;
/// What may come on top: twice the regular expressions (while they are compiled, trees and text of them are there too), the samples of the one series that a shard is at, tables that grow by doubling, what errors and notes take.
const SLACK: usize = 12 << 20;
/// What each byte of text may cost as tree and program.
const BYTES_PER_TEXT_BYTE: usize = 400;
/// Far more than any of them takes, so that only a runaway fails on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let now = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is handed to the system's allocator unchanged; beside it only counters move.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `at` came from the same allocator with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While the bytes are copied both are there.
        grow(size);
        // SAFETY: `at` came from the same allocator with this layout; the size is the caller's promise.
        let moved = unsafe { System.realloc(at, layout, size) };
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const YEAR: i64 = 365 * DAY;

fn store() -> LocalShards {
    let store = LocalShards::new(2);
    let times: Vec<i64> = (0..60).map(|i| i * MINUTE).collect();
    let put = |pairs: &[(&str, &str)], value: &dyn Fn(usize) -> f64| {
        let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
        let samples = SampleColumns {
            timestamps: times.clone(),
            values: (0..times.len()).map(value).collect(),
        };
        store.append(&labels, &samples).unwrap();
    };
    for i in 0..600 {
        let (instance, job) = (format!("host-{i}:9100"), format!("job{}", i % 7));
        let pairs = |name| {
            [
                ("__name__", name),
                ("instance", instance.as_str()),
                ("job", job.as_str()),
            ]
        };
        put(&pairs("requests_total"), &|k| (k * (i + 1)) as f64);
        put(&pairs("temperature"), &|k| {
            (k as f64 * 0.7 + i as f64).sin()
        });
        for le in ["0.1", "1", "+Inf"] {
            let bound = le.parse().unwrap_or(9.0);
            let pairs = [
                ("__name__", "lat_bucket"),
                ("instance", &instance),
                ("le", le),
            ];
            if i < 200 {
                put(&pairs, &|k| bound * (k * i) as f64);
            }
        }
    }
    for i in 0..20_i64 {
        let labels = Labels::from_pairs([("__name__", "sizes"), ("i", &i.to_string())]).unwrap();
        let at = |k: i64| {
            let histogram = FloatHistogram {
                count: (4 * k) as f64,
                sum: (k * i) as f64,
                schema: 3,
                zero_threshold: 0.001,
                positive_spans: vec![BucketSpan {
                    offset: i as i32,
                    length: 4,
                }],
                positive_buckets: vec![k as f64; 4],
                ..FloatHistogram::default()
            };
            (k * MINUTE, Arc::new(histogram))
        };
        let samples: Vec<_> = (0..60).map(at).collect();
        store
            .append_mixed(&labels, &SampleColumns::default(), &samples)
            .unwrap();
    }
    store
}

/// `open`, `count` times, around `inside`.
fn nested(open: &str, inside: &str, close: &str, count: usize) -> String {
    format!("{}{inside}{}", open.repeat(count), close.repeat(count))
}

fn hostile() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |text: &str| all.push(text.to_owned());
    // Everything, in every shape.
    let selectors = [
        "{__name__=~\".+\"}",
        "{__name__=~\".*\",instance!=\"x\"}",
        "{instance=~\"(h|H)(o|O)(s|S)t-.*|job.*|.*9\"}",
        "{__name__!~\"(a|b|c)*x\"}",
    ];
    for s in selectors {
        for shape in [
            "$",
            "$[60d]",
            "$[1y:1s]",
            "count($)",
            "sum($)",
            "avg without () ($)",
            "stddev by (instance) ($)",
            "count_values(\"v\", $)",
            "count_values without (job) (\"v\", $)",
            "topk(1e9, $)",
            "bottomk(scalar(count($)), $)",
            "quantile by (instance, job, __name__) (0.9, $)",
            "limitk(1e6, $)",
            "limit_ratio(1, $)",
            "sort_desc($)",
            "sort_by_label($, \"instance\")",
            "$ and $",
            "$ or ($ offset 1m)",
            "$ unless on (nothing) $",
            "$ * on (instance, __name__, le, i) $",
            "$ + on () group_left $",
            "absent($)",
            "scalar($)",
            "timestamp($)",
            "-$",
            "$ > bool 0",
            "changes($[1d])",
            "quantile_over_time(0.5, $[1d])",
            "max_over_time(count_over_time($[1h])[1d:1m])",
            "label_replace($, \"x\", \"$0$0$0$0\", \"instance\", \".*\")",
            "label_join($, \"x\", \",\", \"instance\", \"instance\", \"instance\")",
            "histogram_quantile(0.9, $)",
            "predict_linear($[1h], 1e18)",
            "holt_winters($[1h], 0.5, 0.5)",
            "info($)",
        ] {
            add(&shape.replace('$', s));
        }
    }
    // Numbers without end.
    for text in [
        "sum_over_time(vector(1)[100y:1ms])",
        "sum_over_time(time()[1y:1s])",
        "max_over_time(max_over_time(max_over_time(vector(1)[1y:1h])[1y:1h])[1y:1h])",
        "avg_over_time((1 + time())[1y:1m])",
        "rate(requests_total[1y:1s])",
        "last_over_time(requests_total[290y])",
        "requests_total offset 290y",
        "requests_total @ 9223372036854775",
        "requests_total @ -9223372036854775",
        "count_over_time(requests_total[1y:1ms] @ 0)",
        "vector(1) or vector(2) or vector(3)",
        "histogram_quantiles(lat_bucket, \"q\", time() / 1e9, time() / 2e9)",
        "histogram_quantile(time(), sum by (le) (rate(lat_bucket[5m])))",
        "sum(sizes) + avg(sizes)",
        "sizes * 2 - sizes / 3",
        "rate(sizes[10m])",
        "sum_over_time(sizes[1d])",
        "histogram_fraction(-Inf, +Inf, sizes)",
        "count_values(\"h\", sizes)",
        "max_over_time(sizes[1d:1s])",
        "requests_total ^ 1e308 ^ 1e308",
        "1 % 0 % 0 ^ 0",
        "round(requests_total, 0)",
        "clamp(requests_total, NaN, NaN)",
        "topk(NaN, requests_total)",
        "topk(1e300, requests_total)",
        "quantile(NaN, requests_total)",
        "label_replace(requests_total, \"__name__\", \"same\", \"\", \"\")",
        "label_replace(requests_total, \"instance\", \"one\", \"\", \"\")",
        "label_replace(requests_total, \"x\", \"y\", \"instance\", \"(((((a*)*)*)*)*)*b\")",
        "requests_total{instance=~\"(((((.*)*)*)*)*)*x\"}",
        "requests_total{instance=~\"(.{0,30}){0,30}x\"}",
        "requests_total{instance=~\"\\\\p{L}{1000}\"}",
        "requests_total{instance=~\"(?i)[\\\\pL\\\\pN]{500}\"}",
        "requests_total{instance=~\"((a{1,100}){1,100}){1,100}\"}",
        "requests_total{instance=~\"[^a]{900}\"}",
        "day_of_year(requests_total * 1e300)",
        "start_timestamp(requests_total)",
        "deriv(requests_total[1y])",
        "double_exponential_smoothing(requests_total[1y], 0.1, 0.1)",
        "mad_over_time({__name__=~\".+\"}[1y])",
        "requests_total[1y:1s] anchored",
        "rate(requests_total[1y] smoothed)",
        "(requests_total and on () vector(time() % 2)) or requests_total",
        "a + fill (1) requests_total",
        "requests_total + on () group_left () fill (0) requests_total",
    ] {
        add(text);
    }
    // Depth and length.
    for count in [100, 10_000, 100_000] {
        add(&nested("(", "1", ")", count));
        add(&nested("sum(", "requests_total", ")", count));
        add(&nested("-", "requests_total", "", count));
        add(&nested("abs(", "temperature", ")", count));
        add(&nested("1 ^ ", "requests_total", "", count));
        add(&nested("", "requests_total", "[1m:1m]", count));
        add(&nested("max_over_time(", "temperature", "[5m:1m])", count));
        add(&nested(
            "last_over_time(",
            "temperature",
            "[1d:1s])",
            count.min(10_000),
        ));
        add(&format!(
            "requests_total{}",
            " + requests_total".repeat(count)
        ));
        add(&format!("1{}", " or vector(1)".repeat(count)));
        add(&format!(
            "requests_total{}",
            " or requests_total".repeat(count.min(10_000))
        ));
        let list = |separator: &str| {
            let words: Vec<String> = (0..count).map(|i| format!("host-{i}")).collect();
            words.join(separator)
        };
        add(&format!("requests_total{{instance=~\"{}\"}}", list("|")));
        add(&format!(
            "requests_total{{instance=~\".*({}).*\"}}",
            list("|")
        ));
        add(&format!(
            "requests_total{{instance!~\"(?i){}\"}}",
            list("|")
        ));
        add(&format!(
            "sum by ({}) (requests_total)",
            list("_x,").replace("host-", "l")
        ));
        add(&format!(
            "requests_total{{{}}}",
            "instance!=\"a\",".repeat(count)
        ));
        add(&format!(
            "requests_total{{{}}}",
            "instance=~\"h.*9.*\",".repeat(count.min(20_000))
        ));
        add(&format!(
            "requests_total{{{}}}",
            "instance=~\"\\\\pL{20}\",".repeat(count.min(10_000))
        ));
        add(&format!(
            "requests_total{{instance=~\"{}\"}}",
            "\\\\pL".repeat(count)
        ));
        add(&format!(
            "requests_total{{instance=~\"{}\"}}",
            "(a|b?)*".repeat(count)
        ));
        add(&format!(
            "label_join(temperature, \"x\", \"-\"{})",
            ", \"instance\"".repeat(count)
        ));
        add(&format!(
            "label_replace(temperature, \"x\", \"{}\", \"instance\", \".*\")",
            "$0".repeat(count)
        ));
        add(&format!("\"{}\"", "x".repeat(count)));
        add(&format!("{}1", "# a remark\n".repeat(count)));
        add(&"(".repeat(count));
        add(&"{a=".repeat(count));
        add(&"sum by (".repeat(count));
        add(&"[1m:".repeat(count));
        add(&"\"\\".repeat(count));
    }
    all
}

fn engine(pool: &Arc<MemoryPool>) -> Engine {
    Engine::new(EngineOptions {
        max_samples: 2_000_000,
        max_memory: BUDGET,
        memory: Arc::clone(pool),
        parser: ParserOptions {
            regex_bytes_max: REGEX_BUDGET,
            ..ParserOptions::all()
        },
        ..EngineOptions::default()
    })
}

#[test]
fn hostile_queries_are_answered_or_refused_within_their_budget() {
    let store = store();
    let pool = Arc::new(MemoryPool::new(2 * BUDGET));
    let engine = engine(&pool);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let queries = hostile();
    assert!(queries.len() >= 200, "{}", queries.len());
    let (mut answered, mut refused, mut out_of_memory, mut worst) = (0, 0, 0, (0, String::new()));
    let mut slowest = (Duration::ZERO, String::new());
    for text in &queries {
        let shown: String = text.chars().take(120).collect();
        for request in [
            QueryRequest::instant(text, 59 * MINUTE),
            QueryRequest::range(text, 0, 59 * MINUTE, 10_000),
            QueryRequest::range(text, 59 * MINUTE - YEAR, 59 * MINUTE, YEAR / 10_000),
        ] {
            let before = LIVE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let began = Instant::now();
            let outcome = runtime.block_on(engine.query(&store, &request));
            let took = began.elapsed();
            match &outcome {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty(), "{shown}");
                    let memory = matches!(error, QueryError::MemoryOfQuery(_));
                    *(if memory {
                        &mut out_of_memory
                    } else {
                        &mut refused
                    }) += 1;
                }
            }
            drop(outcome);
            let peak = PEAK.load(Ordering::Relaxed) - before;
            if peak > worst.0 {
                worst = (peak, shown.clone());
            }
            if took > slowest.0 {
                slowest = (took, shown.clone());
            }
            let allowed = BUDGET + SLACK + BYTES_PER_TEXT_BYTE * text.len();
            assert!(peak <= allowed, "{peak} of {allowed} bytes for {shown}");
            assert!(took < TIME_MAX, "{took:?} for {shown}");
            assert_eq!(pool.held(), 0, "{shown}");
        }
    }
    println!(
        "{} queries: {answered} answered, {out_of_memory} out of memory, {refused} refused otherwise; most memory {worst:?}, longest {slowest:?}",
        queries.len()
    );
    assert!(answered > 100 && out_of_memory > 50 && refused > 100);
}
