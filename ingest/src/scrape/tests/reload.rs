//! Reloads and the end of targets.

use super::target_server::text;
use super::*;
use crate::discovery::ProviderConfig;
use crate::discovery::config::FileSdConfig;
use crate::relabel::{Action, Rule, RuleConfig};
use crate::scrape::config::NameValidation;
use storage_engine::model::is_stale_nan;

fn rule(action: Action, source: &str, regex: &str) -> Rule {
    let config = RuleConfig {
        action,
        source_labels: vec![source.into()],
        regex: regex.into(),
        ..RuleConfig::default()
    };
    Rule::new(config, NameValidation::Utf8).unwrap()
}

#[tokio::test]
async fn removed_targets_go_stale_after_two_slots() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        b.apply(b.job());
        b.wait_for("samples", || b.last("a") == Some(1.0)).await;
        b.manager.apply(Vec::new(), &Labels::empty());
        assert!(b.target().is_none() && b.manager.scrape_pools().is_empty());
        b.wait_for("markers", || b.last("a").is_some_and(is_stale_nan))
            .await;
        b.wait_for("markers", || b.last("up").is_some_and(is_stale_nan))
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_target_that_returns_in_time_stays_fresh() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        b.apply(b.job());
        b.wait_for("samples", || b.last("a") == Some(1.0)).await;
        b.manager.apply(Vec::new(), &Labels::empty());
        b.apply(b.job());
        let before = b.store.samples(&b.series("a")).len();
        b.wait_for("more samples", || {
            b.store.samples(&b.series("a")).len() >= before + 8
        })
        .await;
        assert_eq!(b.last("up"), Some(1.0));
        assert!(b.store.values(&b.series("a")).iter().all(|v| *v == 1.0));
    })
    .await;
}

#[tokio::test]
async fn reloads_keep_loops_and_new_rules_count_from_the_next_scrape() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\nb 2\n"));
        b.apply(b.job());
        b.wait_for("samples", || b.last("b") == Some(2.0)).await;
        b.apply(b.job());
        let with_rule = ScrapeConfig {
            metric_relabel_configs: vec![rule(Action::Drop, "__name__", "b")],
            ..b.job()
        };
        b.apply(with_rule.clone());
        b.wait_for("a marker", || b.last("b").is_some_and(is_stale_nan))
            .await;
        assert_eq!(
            b.server.connections(),
            1,
            "the loop and its connection went on"
        );
        assert_eq!(b.last("a"), Some(1.0));
        let times: Vec<i64> = b
            .store
            .samples(&b.series("up"))
            .iter()
            .map(|s| s.0)
            .collect();
        assert!(
            times.windows(2).all(|w| matches!(w, [x, y] if y - x >= 90)),
            "{times:?}"
        );
        // Another target label is another target.
        let mut labelled = with_rule;
        labelled.static_configs[0]
            .labels
            .push(("env".into(), "prod".into()));
        b.apply(labelled);
        b.wait_for("the new series", || b.last("up{env=\"prod\"}") == Some(1.0))
            .await;
        b.wait_for("the old one's end", || {
            b.last("up").is_some_and(is_stale_nan)
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn dropped_duplicate_and_surplus_targets() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        let mut job = ScrapeConfig {
            relabel_configs: vec![rule(Action::Drop, "__address__", "drop.*")],
            keep_dropped_targets: 1,
            ..b.job()
        };
        let twice = [
            b.server.address(),
            b.server.address(),
            "drop1".into(),
            "drop2".into(),
            "bad/x".into(),
        ];
        job.static_configs[0].targets = twice.to_vec();
        b.apply(job.clone());
        let targets = b.manager.targets();
        assert_eq!(targets.active.len(), 1);
        assert_eq!(targets.dropped.len(), 1);
        assert_eq!(
            targets.dropped[0].discovered_labels.get("__address__"),
            Some("drop1")
        );
        assert_eq!(targets.dropped_counts["j"], 2);
        assert_eq!(b.manager.pool_stats()[0].sync_failed, 1);
        job.static_configs[0].targets.push("127.0.0.1:1".into());
        job.target_limit = 1;
        b.apply(job);
        b.wait_for("the limit", || {
            b.target().is_some_and(|t| {
                t.last_error == "target_limit exceeded (number of targets: 2, limit: 1)"
            })
        })
        .await;
        assert_eq!(b.last("up"), Some(0.0));
    })
    .await;
}

#[tokio::test]
async fn file_targets_come_and_go() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.json");
        let write = |list: &str| {
            // Written aside and moved, as the documentation of file discovery asks for.
            let aside = folder.path().join("aside");
            std::fs::write(&aside, list).unwrap();
            std::fs::rename(&aside, &file).unwrap();
        };
        write(&format!(r#"[{{"targets":["{}"]}}]"#, b.server.address()));
        let job = ScrapeConfig {
            static_configs: Vec::new(),
            discovery: vec![ProviderConfig::File(FileSdConfig::new(vec![file.clone()]))],
            ..b.job()
        };
        b.apply(job.clone());
        b.wait_for("a sample", || b.last("a") == Some(1.0)).await;
        let meta = b.target().unwrap().discovered_labels;
        assert_eq!(meta.get("__meta_filepath"), file.to_str());
        b.apply(job);
        write("[]");
        b.wait_for("the end", || b.target().is_none()).await;
        b.wait_for("markers", || b.last("a").is_some_and(is_stale_nan))
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_shut_down_writes_no_markers() {
    Bench::run(async |b: Bench| {
        b.server.reply(text("a 1\n"));
        b.apply(b.job());
        b.wait_for("samples", || b.last("a") == Some(1.0)).await;
        b.manager.shut_down();
        sleep(Duration::from_millis(900)).await;
        assert_eq!(b.last("a"), Some(1.0));
        assert_eq!(b.last("up"), Some(1.0));
    })
    .await;
}
