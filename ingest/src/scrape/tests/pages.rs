//! What pages become: series, staleness markers, report series, failures.

use super::target_server::{Reply, text};
use super::*;
use crate::relabel::{Action, Rule, RuleConfig};
use crate::scrape::active::Health;
use crate::scrape::config::{NameValidation, ScrapeProtocol};
use crate::text::MetricType;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::atomic::Ordering;
use storage_engine::model::is_stale_nan;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_page_becomes_series_with_target_labels_and_report_series() {
    Bench::run(async |b: Bench| {
        b.server.reply(text(
            "# HELP a_total Counted things.\n# TYPE a_total counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4.5\nnan NaN\nhard -1.5e-3\n",
        ));
        b.apply(b.job());
        b.wait_for("three scrapes", || b.store.samples(&b.series("up")).len() >= 3).await;
        assert_eq!(b.last("up"), Some(1.0));
        assert_eq!(b.last("a_total{x=\"1\"}"), Some(3.0));
        assert_eq!(b.last("a_total{x=\"2\"}"), Some(4.5));
        assert_eq!(b.last("hard"), Some(-0.0015));
        assert!(b.last("nan").is_some_and(|v| v.is_nan() && !is_stale_nan(v)));
        assert_eq!(b.last("scrape_samples_scraped"), Some(4.0));
        assert_eq!(b.last("scrape_samples_post_metric_relabeling"), Some(4.0));
        let added = b.store.values(&b.series("scrape_series_added"));
        assert_eq!(added.get(..3), Some(&[4.0, 0.0, 0.0][..]));
        assert!(b.last("scrape_duration_seconds").is_some_and(|d| d > 0.0 && d < 0.2));
        assert!(b.last("scrape_timeout_seconds").is_none());
        assert_eq!(b.store.labels_sent(), 9, "labels are sent once");
        // All samples of a scrape have one timestamp; scrapes are an interval apart.
        let up = b.store.samples(&b.series("up"));
        let a = b.store.samples(&b.series("a_total{x=\"1\"}"));
        assert_eq!(up.iter().map(|s| s.0).collect::<Vec<_>>(), a.iter().map(|s| s.0).collect::<Vec<_>>());

        let target = b.target().unwrap();
        assert_eq!(target.health, Health::Up);
        assert_eq!(target.last_error, "");
        assert_eq!(target.scrape_url, format!("http://{}/metrics", b.server.address()));
        assert_eq!((target.scrape_interval.as_str(), target.scrape_timeout.as_str()), ("200ms", "200ms"));
        let metadata = b.manager.metadata().remove(0);
        assert_eq!(metadata.metadata.len(), 1);
        assert_eq!(metadata.metadata[0].metric_type, MetricType::Counter);
        assert_eq!(metadata.metadata[0].help, "Counted things.");
        assert_eq!(b.manager.scrape_pools(), ["j"]);
        let stats = b.manager.pool_stats().remove(0);
        assert_eq!((stats.targets, stats.discovered_targets, stats.metadata_entries), (1, 1, 1));
        assert_eq!(b.server.connections(), 1, "the connection is kept");
        assert!(b.manager.counters().interval_lengths()["200ms"].count >= 2);
    })
    .await;
}

#[tokio::test]
async fn requests_look_like_prometheus() {
    Bench::run(async |b: Bench| {
        b.server.reply_on("/m?a=b", text("x 1\n"));
        b.apply(ScrapeConfig {
            metrics_path: "/m".into(),
            params: vec![("a".into(), vec!["b".into()])],
            ..b.job()
        });
        b.wait_for("a scrape", || b.last("up") == Some(1.0)).await;
        let head = b.server.requests().remove(0).to_ascii_lowercase();
        for line in [
            "get /m?a=b http/1.1\r\n".to_owned(),
            format!("\r\nhost: {}\r\n", b.server.address()),
            "\r\naccept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n".to_owned(),
            "\r\naccept-encoding: gzip\r\n".to_owned(),
            "\r\nx-prometheus-scrape-timeout-seconds: 0.2\r\n".to_owned(),
            format!("\r\nuser-agent: ferula/{}\r\n", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(head.contains(&line), "{line:?} is not in {head}");
        }
    })
    .await;
}

#[tokio::test]
async fn vanished_series_go_stale_and_come_back() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\nb 2\n"));
        b.apply(b.job());
        b.wait_for("b", || b.last("b") == Some(2.0)).await;
        b.server.reply(text("a 1\n"));
        b.wait_for("a marker", || b.last("b").is_some_and(is_stale_nan))
            .await;
        b.wait_for("more scrapes", || {
            b.store.samples(&b.series("up")).len() >= 6
        })
        .await;
        let markers = b
            .store
            .values(&b.series("b"))
            .into_iter()
            .filter(|v| is_stale_nan(*v));
        assert_eq!(markers.count(), 1, "one marker, not one per scrape");
        assert!(b.store.values(&b.series("a")).iter().all(|v| *v == 1.0));
        b.server.reply(text("a 1\nb 3\n"));
        b.wait_for("b again", || b.last("b") == Some(3.0)).await;
    })
    .await;
}

#[tokio::test]
async fn failed_scrapes_mark_everything_stale() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        b.apply(b.job());
        b.wait_for("a", || b.last("a") == Some(1.0)).await;
        b.server
            .reply_on("/metrics", target_server::status("503 Out Of Order", ""));
        assert_eq!(
            b.failure().await,
            "server returned HTTP status 503 Out Of Order"
        );
        assert!(b.last("a").is_some_and(is_stale_nan));
        assert_eq!(b.last("scrape_samples_scraped"), Some(0.0));
        assert_eq!(b.target().unwrap().health, Health::Down);
        b.server.reply(text("a 1\nbroken{ 1\n"));
        b.wait_for("a parse error", || {
            b.target()
                .is_some_and(|t| t.last_error.contains("while parsing"))
        })
        .await;
        b.server.reply(text("a 5\n"));
        b.wait_for("recovery", || b.last("a") == Some(5.0)).await;
        assert_eq!(b.last("up"), Some(1.0));
        assert_eq!(b.store.labels_sent(), 6, "references outlive failures");
        b.server.reply(text(""));
        b.wait_for("an empty page", || b.last("a").is_some_and(is_stale_nan))
            .await;
        assert_eq!(b.last("up"), Some(1.0), "an empty page is no failure");
    })
    .await;
}

#[tokio::test]
async fn open_metrics_in_gzip_with_timestamps_and_exemplars() {
    Bench::run(async |b: Bench| {
        let page = "# TYPE c counter\n# UNIT c_seconds seconds\nc_total{x=\"1\"} 7 1500.5 # {trace_id=\"t\"} 0.5\nplain 2\n# EOF\n";
        let headers = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Encoding: gzip\r\n";
        b.server.reply(Reply::Page(headers.into(), gzip(page.as_bytes())));
        b.apply(b.job());
        b.wait_for("two scrapes", || b.store.samples(&b.series("plain")).len() >= 2).await;
        assert_eq!(b.store.samples(&b.series("c_total{x=\"1\"}")), [(1_500_500, 7.0)]);
        assert!(b.manager.counters().exemplars.load(Ordering::Relaxed) >= 2);
        // Explicit timestamps are not tracked for staleness.
        b.server.reply(Reply::Page(headers.into(), gzip(b"# EOF\n")));
        b.wait_for("a marker", || b.last("plain").is_some_and(is_stale_nan)).await;
        assert_eq!(b.store.samples(&b.series("c_total{x=\"1\"}")).len(), 1);
        // Cut behind a whole line, the page is still incomplete.
        b.server.reply(Reply::Page(headers.into(), gzip(b"plain 2\n")));
        assert_eq!(b.failure().await, "data does not end with # EOF");
        let mut torn = gzip(page.as_bytes());
        torn.truncate(torn.len() / 2);
        b.server.reply(Reply::Page(headers.into(), torn));
        b.wait_for("torn gzip", || b.target().is_some_and(|t| t.last_error == "gzip: unexpected EOF or invalid checksum")).await;
    })
    .await;
}

#[tokio::test]
async fn timestamps_can_be_ignored_or_tracked() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("t 1 1000\n"));
        b.apply(ScrapeConfig {
            honor_timestamps: false,
            ..b.job()
        });
        b.wait_for("samples", || b.store.samples(&b.series("t")).len() >= 2)
            .await;
        assert!(
            b.store
                .samples(&b.series("t"))
                .iter()
                .all(|s| s.0 > 1_000_000)
        );
    })
    .await;
    Bench::run(async |b: Bench| {
        b.server.reply(text("t 1 1000\nu 1\n"));
        b.apply(ScrapeConfig {
            track_timestamps_staleness: true,
            ..b.job()
        });
        b.wait_for("samples", || b.last("t") == Some(1.0)).await;
        b.server.reply(text("u 1\n"));
        b.wait_for("a marker", || b.last("t").is_some_and(is_stale_nan))
            .await;
    })
    .await;
}

#[tokio::test]
async fn duplicates_out_of_order_and_out_of_bounds_are_counted_and_the_rest_is_stored() {
    Bench::run(async |b: Bench| {
        b.server.reply(text(
            "t 1 2000\nt 2 1000\nt 3 2000\nd 1\nd 2\nfar 1 99999999999999\nok 1\n",
        ));
        b.apply(b.job());
        b.wait_for("two scrapes", || {
            b.store.samples(&b.series("ok")).len() >= 2
        })
        .await;
        let counters = b.manager.counters();
        let at_least = |c: &std::sync::atomic::AtomicU64, n| c.load(Ordering::Relaxed) >= n;
        assert!(at_least(&counters.out_of_order, 1));
        assert!(at_least(&counters.duplicate_timestamp, 2));
        assert!(at_least(&counters.out_of_bounds, 1));
        assert_eq!(b.store.samples(&b.series("t")), [(2000, 1.0)]);
        assert_eq!(b.last("d"), Some(1.0));
        assert_eq!(b.last("up"), Some(1.0));
        assert_eq!(b.last("scrape_samples_scraped"), Some(7.0));
        assert_eq!(b.last("scrape_samples_post_metric_relabeling"), Some(7.0));
    })
    .await;
}

#[tokio::test]
async fn sample_limit_fails_the_scrape_and_counts_all_samples() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\nb 2\nc 3\ndropped 4\n"));
        let drop = RuleConfig {
            action: Action::Drop,
            source_labels: vec!["__name__".into()],
            regex: "dropped".into(),
            ..RuleConfig::default()
        };
        let rules = vec![Rule::new(drop, NameValidation::Utf8).unwrap()];
        let job = ScrapeConfig {
            sample_limit: 2,
            extra_scrape_metrics: true,
            metric_relabel_configs: rules,
            ..b.job()
        };
        b.apply(job.clone());
        assert_eq!(b.failure().await, "sample limit exceeded");
        assert!(b.last("a").is_none());
        assert_eq!(b.last("scrape_samples_scraped"), Some(4.0));
        assert_eq!(b.last("scrape_samples_post_metric_relabeling"), Some(3.0));
        assert_eq!(b.last("scrape_sample_limit"), Some(2.0));
        assert_eq!(b.last("scrape_timeout_seconds"), Some(0.2));
        assert_eq!(b.last("scrape_body_size_bytes"), Some(22.0));
        assert!(
            b.manager
                .counters()
                .exceeded_sample_limit
                .load(Ordering::Relaxed)
                >= 1
        );
        b.apply(ScrapeConfig {
            sample_limit: 3,
            ..job
        });
        b.wait_for("success", || b.last("c") == Some(3.0)).await;
        assert!(b.last("dropped").is_none());
    })
    .await;
}

#[tokio::test]
async fn label_limits_and_honored_labels() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a{job=\"own\",x=\"1\"} 1\n"));
        let job = ScrapeConfig {
            label_limit: 4,
            ..b.job()
        };
        b.apply(job.clone());
        assert_eq!(
            b.failure().await,
            "label_limit exceeded (metric: a, number of labels: 5, limit: 4)"
        );
        assert!(
            b.manager
                .counters()
                .exceeded_label_limits
                .load(Ordering::Relaxed)
                >= 1
        );
        b.apply(ScrapeConfig {
            honor_labels: true,
            ..job
        });
        let stored = format!(
            r#"{{__name__="a", instance="{}", job="own", x="1"}}"#,
            b.server.address()
        );
        b.wait_for("the honored label", || {
            b.store.values(&stored).last() == Some(&1.0)
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn content_types_decide_or_fall_back() {
    Bench::run(async |b: Bench| {
        b.server.reply(Reply::Page("Content-Type: text/html\r\n".into(), b"a 1\n".to_vec()));
        b.apply(b.job());
        assert_eq!(
            b.failure().await,
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target"
        );
        b.apply(ScrapeConfig {
            fallback_protocol: Some(ScrapeProtocol::PrometheusText0_0_4),
            ..b.job()
        });
        b.wait_for("a", || b.last("a") == Some(1.0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_hanging_target_times_out() {
    Bench::run(async |b: Bench| {
        b.server.reply(Reply::Hang);
        b.apply(b.job());
        let expected = format!(
            "Get \"http://{}/metrics\": context deadline exceeded",
            b.server.address()
        );
        assert_eq!(b.failure().await, expected);
        // Headers, and then nothing.
        b.server.reply(Reply::Endless(
            "Content-Type: text/plain\r\nContent-Length: 1000\r\n".into(),
            Vec::new(),
        ));
        b.wait_for("the other text", || {
            b.target()
                .is_some_and(|t| t.last_error == "context deadline exceeded")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn endless_bodies_and_gzip_bombs_stop_at_the_limit() {
    Bench::run(async |b: Bench| {
        let piece = "a_long_enough_name 1\n".repeat(1000).into_bytes();
        b.server
            .reply(Reply::Endless("Content-Type: text/plain\r\n".into(), piece));
        let job = ScrapeConfig {
            body_size_limit: 1 << 20,
            extra_scrape_metrics: true,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(500),
            ..b.job()
        };
        b.apply(job);
        assert_eq!(b.failure().await, "body size limit exceeded");
        assert_eq!(b.last("scrape_body_size_bytes"), Some(-1.0));
        let failures = || {
            b.manager
                .counters()
                .exceeded_body_size_limit
                .load(Ordering::Relaxed)
        };
        let before = failures();
        let bomb = gzip(&vec![b'#'; 64 << 20]);
        let headers = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n";
        b.server.reply(Reply::Page(headers.into(), bomb));
        b.wait_for("the bomb", || failures() > before + 1).await;
        assert_eq!(b.last("up"), Some(0.0));
    })
    .await;
}

#[tokio::test]
async fn binary_garbage_is_a_parse_error() {
    Bench::run(async |b: Bench| {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..5 {
            let garbage: Vec<u8> = (0..20_000)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed as u8
                })
                .collect();
            let kind = if round % 2 == 0 {
                "text/plain"
            } else {
                "application/openmetrics-text"
            };
            b.server
                .reply(Reply::Page(format!("Content-Type: {kind}\r\n"), garbage));
            if round == 0 {
                b.apply(b.job());
            }
            assert!(!b.failure().await.is_empty());
        }
        // Not even HTTP.
        b.server.reply(Reply::Raw(vec![0, 1, 2, 3, 255, 254]));
        b.wait_for("a broken answer", || {
            b.target()
                .is_some_and(|t| t.last_error.starts_with("Get \"http://"))
        })
        .await;
        b.server.reply(text("ok 1\n"));
        b.wait_for("recovery", || b.last("ok") == Some(1.0)).await;
        assert!(b.store.all().len() == 6, "{:?}", b.store.all().keys());
    })
    .await;
}

#[tokio::test]
async fn references_that_a_shard_forgot_are_renewed_within_the_scrape() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\nb{x=\"y\"} 2\n"));
        b.apply(b.job());
        b.wait_for("samples", || b.store.samples(&b.series("a")).len() >= 2)
            .await;
        b.store.forget_references();
        let before = b.store.samples(&b.series("a")).len();
        b.wait_for("more", || {
            b.store.samples(&b.series("a")).len() >= before + 3
        })
        .await;
        assert_eq!(b.store.labels_sent(), 14, "seven series, each sent twice");
        let times = |s: &str| {
            b.store
                .samples(&b.series(s))
                .into_iter()
                .map(|s| s.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(times("a"), times("up"), "no scrape is lost");
        assert_eq!(times("a"), times("b{x=\"y\"}"));
    })
    .await;
}
