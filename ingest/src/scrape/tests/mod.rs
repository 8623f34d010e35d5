//! End-to-end tests of scraping: a real HTTP target on loopback, the real loops, and a store that records.

mod client;
mod pages;
mod recorder;
mod reload;
mod target_server;

use super::config::ScrapeConfig;
use super::manager::{ActiveTargetSnapshot, ScrapeManager};
use crate::clock::SystemClock;
use crate::discovery::config::StaticConfig;
use recorder::Recorder;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use storage_engine::model::Labels;
use target_server::TargetServer;
use tokio::runtime::Handle;
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Everything a test needs: a target, a store, a manager with two workers.
struct Bench {
    server: TargetServer,
    store: Recorder,
    manager: ScrapeManager,
}

impl Bench {
    /// Runs `test` with workers alive around it.
    async fn run<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
        LocalSet::new()
            .run_until(async {
                let clock = Arc::new(SystemClock::new());
                let (manager, workers) = ScrapeManager::new(2, Handle::current(), clock, "here");
                manager.set_discovery_throttle(Duration::from_millis(20));
                let store = Recorder::new(3);
                for worker in workers {
                    tokio::task::spawn_local(worker.run(store.clone()));
                }
                let server = TargetServer::start().await;
                let bench = Bench {
                    server,
                    store,
                    manager: manager.clone(),
                };
                test(bench).await;
                manager.shut_down();
            })
            .await;
    }

    /// A job with the test's target, scraped five times a second.
    fn job(&self) -> ScrapeConfig {
        ScrapeConfig {
            interval: Duration::from_millis(200),
            timeout: Duration::from_millis(200),
            static_configs: vec![StaticConfig {
                targets: vec![self.server.address()],
                labels: Vec::new(),
            }],
            ..ScrapeConfig::new("j")
        }
    }

    fn apply(&self, config: ScrapeConfig) {
        self.manager.apply(vec![config], &Labels::empty());
    }

    fn target(&self) -> Option<ActiveTargetSnapshot> {
        self.manager.targets().active.into_iter().next()
    }

    /// Labels of a stored series, with the target's own.
    fn series(&self, text: &str) -> String {
        let (name, labels) = text.split_once('{').unwrap_or((text, "}"));
        let mut pairs: Vec<(String, String)> = vec![
            ("__name__".into(), name.into()),
            ("instance".into(), self.server.address()),
            ("job".into(), "j".into()),
        ];
        for pair in labels
            .trim_end_matches('}')
            .split(',')
            .filter(|p| !p.is_empty())
        {
            let (n, v) = pair.split_once('=').unwrap();
            pairs.push((n.into(), v.trim_matches('"').into()));
        }
        Labels::from_pairs(pairs).unwrap().to_string()
    }

    fn last(&self, series: &str) -> Option<f64> {
        self.store.values(&self.series(series)).last().copied()
    }

    async fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..1000 {
            if condition() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{what} never happened; target: {:?}; store: {:?}",
            self.target(),
            self.store.all()
        );
    }

    /// Waits for a failed scrape and returns its error.
    async fn failure(&self) -> String {
        self.wait_for("a failed scrape", || self.last("up") == Some(0.0))
            .await;
        self.wait_for("an error text", || {
            self.target().is_some_and(|t| !t.last_error.is_empty())
        })
        .await;
        self.target().unwrap().last_error
    }
}
