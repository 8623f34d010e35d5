//! A query stops soon after it is told to, whatever its coordinator is doing: sorting, joining, counting values, running over subqueries.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed unwrap is a failed test; how soon is measured"
)]

use ferula_query_engine::engine::{Engine, EngineOptions, QueryRequest};
use ferula_query_engine::local::LocalShards;
use ferula_query_engine::parse::ParserOptions;
use ferula_query_engine::result::QueryError;
use std::path::Path;
use std::time::{Duration, Instant};
use storage_engine::model::{Labels, SampleColumns};

/// How soon, in a program that is not optimised and on a machine that may be slow: in this much, or in this part of what the whole query
/// takes. What a user waits is shown on the real program (`ferula-gateway`, `query_limits`).
const SOON: Duration = Duration::from_millis(50);
const SOON_PART: u32 = 5;
/// Attempts on a machine that has other work.
const ATTEMPTS: usize = 5;
const SERIES: usize = 12_000;
const STEPS: i64 = 60;

fn store() -> LocalShards {
    let store = LocalShards::new(2);
    for i in 0..SERIES {
        let instance = format!("host-{:05}", (i * 7919) % SERIES);
        let group = (i % 10).to_string();
        let pairs = [
            ("__name__", "m"),
            ("instance", &instance),
            ("group", &group),
        ];
        let samples = SampleColumns {
            timestamps: vec![0, 30_000],
            values: vec![i as f64, (i * 31 % 1000) as f64 / 7.0],
        };
        store
            .append(&Labels::from_pairs(pairs).unwrap(), &samples)
            .unwrap();
    }
    store
}

/// A moment, on the clock and in the processor time of one thread, where the system tells it: other work of the machine is not in that.
#[derive(Clone, Copy)]
struct Moment {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Moment {
    /// Now, in the thread of this path under `/proc`.
    fn now(thread: &Path) -> Moment {
        let text = std::fs::read_to_string(thread.join("schedstat")).ok();
        let nanoseconds = text.and_then(|t| t.split(' ').next()?.parse().ok());
        Moment {
            wall: Instant::now(),
            cpu: nanoseconds.map(Duration::from_nanos),
        }
    }

    fn since(self, before: Moment) -> Duration {
        match (self.cpu, before.cpu) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => self.wall.saturating_duration_since(before.wall),
        }
    }
}

/// Runs a query that is told to stop after `after`; how long it worked then, or in all, and whether it stopped.
fn stopped_after(
    engine: &Engine,
    store: &LocalShards,
    text: &str,
    after: Option<Duration>,
) -> (Duration, bool) {
    let request = QueryRequest::range(text, 0, (STEPS - 1) * 1000, 1000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let cancel = request.cancel.clone();
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let thread = &Path::new("/proc").join(link);
    let began = Moment::now(thread);
    std::thread::scope(|scope| {
        let teller = after.map(|after| {
            scope.spawn(move || {
                std::thread::sleep(after);
                let told = Moment::now(thread);
                cancel.time_out();
                told
            })
        });
        let outcome = runtime.block_on(engine.query(store, &request)).map(drop);
        let ended = Moment::now(thread);
        let told = teller.map_or(began, |teller| teller.join().unwrap());
        assert!(
            matches!(outcome, Ok(()) | Err(QueryError::Timeout)),
            "{text}: {outcome:?}"
        );
        (ended.since(told), outcome.is_err())
    })
}

#[test]
fn heavy_work_of_the_coordinator_stops_soon() {
    let store = store();
    let engine = Engine::new(EngineOptions {
        max_memory: 4 << 30,
        parser: ParserOptions::all(),
        ..EngineOptions::default()
    });
    let mut stopped_midway = 0;
    for text in [
        "count_values(\"v\", m * time())",
        "quantile by (group) (0.9, m)",
        "topk by (group) (1000, m)",
        "m * on (instance) group_left m",
        "m * on (instance, group) m",
        "m * on (group) group_left () (max by (group) (m)) or m",
        "m and on (instance) m unless on (nothing) vector(1)",
        "label_replace(m, \"x\", \"$1-$1\", \"instance\", \"(h.*)-(.*)\")",
        "label_join(m, \"x\", \"-\", \"instance\", \"group\", \"instance\")",
        "stddev without (instance) (m ^ 2) + on (group) group_right () m",
        "scalar(m) + time()",
        "max_over_time(m[1m:1s])",
        "quantile_over_time(0.5, m[1m:1s])",
        "max_over_time(max_over_time(max_over_time(vector(1)[2w:1m])[2w:1m])[2w:1m])",
        "abs(-m) % 7 > bool 3",
        "limit_ratio(0.5, m)",
        "sum(count_values by (instance) (\"v\", m))",
    ] {
        let whole = match text.contains("2w") {
            true => Duration::from_millis(400),
            false => stopped_after(&engine, &store, text, None).0,
        };
        if whole < SOON {
            // Over before anybody could tell it to stop.
            continue;
        }
        stopped_midway += 1;
        let soon = SOON.max(whole / SOON_PART);
        let mut slowest = Duration::MAX;
        for attempt in 0..ATTEMPTS {
            // Late enough to be in the midst of it, another moment in each attempt.
            let after = whole * (attempt as u32 + 4) / 10;
            let (delay, stopped) = stopped_after(&engine, &store, text, Some(after));
            if stopped {
                slowest = slowest.min(delay);
            }
            if slowest < soon {
                break;
            }
        }
        assert!(slowest < soon, "{slowest:?} of {whole:?}: {text}");
    }
    assert!(stopped_midway > 5, "{stopped_midway}");
}
