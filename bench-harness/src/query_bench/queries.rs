//! The queries of `ferula-bench query`.

/// The steps of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// The last hour, every 15 s.
    Fine,
    /// The last hour, every minute.
    Coarse,
    Instant,
}

/// What ferula is held to, as a part of Prometheus's CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Tenth,
    Third,
}

/// A query of the mix.
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) grid: Grid,
    pub(super) goal: Goal,
    pub(super) query: &'static str,
}

const fn question(name: &'static str, grid: Grid, goal: Goal, query: &'static str) -> Question {
    Question {
        name,
        grid,
        goal,
        query,
    }
}

/// The query whose scanned samples per second are told, and how many it scans: an hour and five minutes of 20,000 series.
pub(super) const SCAN: (&str, f64) = ("rate_sum_20k_by_instance", 20_000.0 * 260.0);

/// The mix.
pub(super) const MIX: &[Question] = &[
    question(
        "rate_sum_1k",
        Grid::Fine,
        Goal::Tenth,
        r#"sum(rate(bench_requests_total{group="g1"}[5m]))"#,
    ),
    question(
        "rate_sum_10k",
        Grid::Fine,
        Goal::Tenth,
        r#"sum(rate(bench_requests_total{group=~"g[0-9]"}[5m]))"#,
    ),
    question(
        "rate_sum_20k",
        Grid::Fine,
        Goal::Tenth,
        "sum(rate(bench_requests_total[5m]))",
    ),
    question(
        "rate_sum_20k_by_instance",
        Grid::Fine,
        Goal::Tenth,
        "sum by (instance) (rate(bench_requests_total[5m]))",
    ),
    question(
        "hist_quantile_6k",
        Grid::Fine,
        Goal::Tenth,
        "histogram_quantile(0.99, sum by (le) (rate(bench_latency_seconds_bucket[5m])))",
    ),
    question(
        "hist_quantile_noagg",
        Grid::Coarse,
        Goal::Tenth,
        r#"histogram_quantile(0.99, rate(bench_latency_seconds_bucket{handler=~"h[0-7]"}[5m]))"#,
    ),
    question(
        "topk_20k",
        Grid::Coarse,
        Goal::Tenth,
        "topk(5, rate(bench_requests_total[5m]))",
    ),
    question(
        "error_ratio_join",
        Grid::Fine,
        Goal::Tenth,
        r#"sum by (instance) (rate(bench_requests_total{code=~"5.."}[5m])) / sum by (instance) (rate(bench_requests_total[5m]))"#,
    ),
    question(
        "group_left_10k",
        Grid::Coarse,
        Goal::Tenth,
        r#"sum by (version) (rate(bench_requests_total{group=~"g[0-9]"}[5m]) * on (instance) group_left (version) bench_info)"#,
    ),
    question(
        "subquery_1k",
        Grid::Coarse,
        Goal::Tenth,
        r#"max_over_time(sum(rate(bench_requests_total{group="g1"}[5m]))[10m:1m])"#,
    ),
    question(
        "avg_over_time_1h_1k",
        Grid::Coarse,
        Goal::Tenth,
        "avg_over_time(bench_temperature[1h])",
    ),
    question(
        "increase_1h_sum_10k",
        Grid::Coarse,
        Goal::Tenth,
        r#"sum(increase(bench_requests_total{group=~"g[0-9]"}[1h]))"#,
    ),
    question(
        "quantile_over_time_1k",
        Grid::Coarse,
        Goal::Tenth,
        "quantile_over_time(0.9, bench_temperature[1h])",
    ),
    question(
        "regex_match",
        Grid::Fine,
        Goal::Tenth,
        r#"sum(rate(bench_requests_total{instance=~"i[12].?"}[5m]))"#,
    ),
    question(
        "count_by_20k",
        Grid::Fine,
        Goal::Tenth,
        "count by (instance) (bench_requests_total)",
    ),
    question("raw_1k", Grid::Fine, Goal::Third, "bench_temperature"),
    question(
        "absent",
        Grid::Fine,
        Goal::Third,
        r#"absent(bench_requests_total{group="none"})"#,
    ),
    question(
        "inst_sum_rate_20k",
        Grid::Instant,
        Goal::Third,
        "sum(rate(bench_requests_total[5m]))",
    ),
    question(
        "inst_raw_20k",
        Grid::Instant,
        Goal::Third,
        "bench_requests_total",
    ),
    question(
        "inst_raw_1",
        Grid::Instant,
        Goal::Third,
        r#"bench_requests_total{group="g1", instance="i1", code="200"}"#,
    ),
    question(
        "inst_topk_20k",
        Grid::Instant,
        Goal::Third,
        "topk(5, bench_requests_total)",
    ),
];
