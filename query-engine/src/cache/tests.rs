//! Queries with a cache against the same without, while samples come in order and late, series appear, and some are deleted.

use super::*;
use crate::engine::EngineOptions;
use crate::local::LocalShards;
use crate::parse::ParserOptions;
use storage_engine::model::{Labels, Matcher, SampleColumns};
use storage_engine::shard::{Event, Shard};
use storage_engine::shard_api::TimeRange;

const SHARDS: usize = 3;
const STEP: i64 = 15_000;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Shards and what the test does to them.
struct World {
    shards: LocalShards,
    random: Random,
    now: i64,
    counters: Vec<f64>,
}

impl World {
    fn new(seed: u64) -> World {
        let shards = LocalShards::new(SHARDS);
        for shard in 0..SHARDS {
            shards.with_shard(shard, |s| s.set_out_of_order_window(3_600_000));
        }
        World {
            shards,
            random: Random(seed),
            now: 1_000_000_000,
            counters: vec![0.0; 12],
        }
    }

    fn labels(series: usize) -> Labels {
        let (name, job, instance) = (
            ["requests_total", "temperature"][series % 2],
            ["a", "b", "c"][series / 2 % 3],
            ["x", "y"][series / 6],
        );
        Labels::from_pairs([("__name__", name), ("job", job), ("instance", instance)]).unwrap()
    }

    fn append(&self, series: usize, t: i64, value: f64) {
        let samples = SampleColumns {
            timestamps: vec![t],
            values: vec![value],
        };
        // A late one may be refused: it is there already.
        let _ = self.shards.append(&World::labels(series), &samples);
    }

    /// Time goes on, samples come.
    fn go_on(&mut self) {
        for _ in 0..1 + self.random.below(4) {
            self.now += STEP;
            for shard in 0..SHARDS {
                let now_ns = self.now as u64 * 1_000_000;
                let tick = |s: &mut Shard| s.on(now_ns, Event::Tick, &mut Vec::new());
                self.shards.with_shard(shard, tick);
            }
            for series in 0..self.counters.len() {
                if self.random.below(12) == 0 || (series == 11 && self.random.below(3) > 0) {
                    continue;
                }
                self.counters[series] = match self.random.below(40) {
                    0 => 0.0,
                    _ => self.counters[series] + self.random.below(1000) as f64 / 7.0,
                };
                let t = self.now - self.random.below(2_000) as i64;
                self.append(series, t, self.counters[series]);
            }
        }
        match self.random.below(10) {
            0 => {
                let series = self.random.below(12) as usize;
                let late = self.random.below(40 * STEP as u64) as i64;
                self.append(series, self.now - STEP - late, self.random.0 as f64);
            }
            1 => {
                let max = self.now - self.random.below(30 * STEP as u64) as i64;
                let range = TimeRange {
                    min: max - self.random.below(10 * STEP as u64) as i64,
                    max,
                };
                let job = ["a", "b", "c"][self.random.below(3) as usize];
                let matcher = Matcher::equal("job", job);
                for shard in 0..SHARDS {
                    let mut actions = Vec::new();
                    let matchers = std::slice::from_ref(&matcher);
                    self.shards.with_shard(shard, |s| {
                        s.delete_from_head(matchers, range, 0, &mut actions);
                    });
                }
            }
            _ => {}
        }
    }
}

const QUERIES: [&str; 16] = [
    "requests_total",
    "temperature{job!=\"a\"} > 100",
    "sum by (job) (rate(requests_total[2m]))",
    "avg(temperature)",
    "sum_over_time(temperature[90s])",
    "topk(2, requests_total)",
    "quantile(0.7, requests_total) or absent(temperature)",
    "sum(rate(requests_total[1m])) / sum(rate(requests_total[5m]))",
    "temperature / on (job, instance) requests_total",
    "max_over_time(rate(requests_total[1m])[5m:30s])",
    "requests_total offset 2m",
    "count_values(\"v\", temperature > bool 200)",
    "-temperature or requests_total",
    "scalar(sum(temperature)) + requests_total",
    "timestamp(requests_total)",
    "stddev_over_time(temperature[3m]) * time()",
];

/// One text of an answer, bits and all.
fn text(output: &QueryOutput) -> String {
    let QueryValue::Matrix(series) = &output.value else {
        panic!("a range query has a matrix");
    };
    let line = |s: &Series| {
        let bits: Vec<u64> = s
            .values
            .iter()
            .map(|v| if v.is_nan() { 1 } else { v.to_bits() })
            .collect();
        format!("{} {:?} {bits:?}", s.labels, s.timestamps)
    };
    let lines: Vec<String> = series.iter().map(line).collect();
    format!(
        "{}\n{:?}{:?}",
        lines.join("\n"),
        output.warnings,
        output.infos
    )
}

#[test]
fn answers_are_those_without_a_cache() {
    let mut hits = CacheCounts::default();
    for seed in 1..=30 {
        let mut world = World::new(seed);
        let cache = ResultCache::new(1 << 20);
        let engine = Engine::new(EngineOptions {
            parser: ParserOptions::default(),
            delayed_name_removal: seed % 5 == 0,
            ..EngineOptions::default()
        });
        for _ in 0..30 {
            world.go_on();
        }
        for round in 0..120 {
            if world.random.below(2) > 0 {
                world.go_on();
            }
            let query =
                QUERIES[(seed as usize * 3 + world.random.below(4) as usize) % QUERIES.len()];
            let step = [STEP, 4 * STEP][world.random.below(2) as usize];
            let length = [10, 40, 41][world.random.below(3) as usize] * STEP;
            let end = match world.random.below(4) {
                // As a dashboard asks.
                0..=2 => world.now - world.now % step,
                _ => world.now - world.random.below(20 * STEP as u64) as i64,
            };
            let request = QueryRequest::range(query, end - length, end, step);
            let expr = engine.parse(query).unwrap();
            let cached = block_on(engine.evaluate_cached(&cache, &world.shards, &expr, &request));
            let fresh = block_on(engine.evaluate(&world.shards, &expr, &request));
            let what = format!(
                "seed {seed}, round {round}: {query} {} {end} {step}",
                end - length
            );
            match (cached, fresh) {
                (Ok(cached), Ok(fresh)) => assert_eq!(text(&cached), text(&fresh), "{what}"),
                (cached, fresh) => assert_eq!(cached.err(), fresh.err(), "{what}"),
            }
        }
        let counts = cache.counts();
        hits.hits += counts.hits;
        hits.partial_hits += counts.partial_hits;
    }
    assert!(hits.hits > 100 && hits.partial_hits > 500, "{hits:?}");
}

#[test]
fn a_repeated_query_reads_nothing_and_bytes_are_bounded() {
    let mut world = World::new(7);
    for _ in 0..60 {
        world.go_on();
    }
    let engine = Engine::default();
    let cache = ResultCache::new(64 << 10);
    let end = world.now;
    for query in QUERIES {
        let request = QueryRequest::range(query, end - 40 * STEP, end, STEP);
        let expr = engine.parse(query).unwrap();
        let ask =
            || block_on(engine.evaluate_cached(&cache, &world.shards, &expr, &request)).unwrap();
        let first = ask();
        assert!(first.stats.samples_total > 0, "{query}");
        let again = ask();
        assert_eq!(text(&again), text(&first));
        if first.infos.is_empty() {
            assert_eq!(again.stats.samples_total, 0, "{query}");
        }
        assert!(again.held.bytes() > 0);
    }
    let counts = cache.counts();
    assert!(counts.bytes <= 64 << 10 && counts.answers > 1, "{counts:?}");
    let off = ResultCache::new(0);
    let expr = engine.parse("requests_total").unwrap();
    let request = QueryRequest::range("requests_total", end - 40 * STEP, end, STEP);
    for _ in 0..2 {
        let output =
            block_on(engine.evaluate_cached(&off, &world.shards, &expr, &request)).unwrap();
        assert!(output.stats.samples_total > 0);
    }
}
