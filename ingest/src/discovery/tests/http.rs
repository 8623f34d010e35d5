//! `http_sd_configs` against a small server.

use super::*;
use crate::discovery::config::HttpSdConfig;
use crate::discovery::http::HttpDiscovery;
use crate::discovery::{Refresher, Refreshing};
use crate::http_client::config::HttpClientConfig;
use crate::test_http::{Server, answer, json};

fn config(url: String, interval: Duration) -> HttpSdConfig {
    HttpSdConfig {
        url,
        refresh_interval: interval,
        http: HttpClientConfig::default(),
    }
}

#[tokio::test]
async fn lists_become_groups_and_failures_keep_the_last_one() {
    let step: Arc<Mutex<usize>> = Arc::default();
    let at = Arc::clone(&step);
    let server = Server::start(move |_| match *at.lock().unwrap() {
        0 => json(r#"[{"targets":["a:1","b:2"],"labels":{"x":"y","__meta_url":"no"}},{"targets":["c:3"]}]"#),
        1 => answer(500, "application/json", "[]"),
        _ => json(r#"[{"targets":["d:4"]}]"#),
    })
    .await;
    let url = server.url("/list");
    let counters = Arc::<DiscoveryCounters>::default();
    let discovery = HttpDiscovery::new(
        config(url.clone(), Duration::from_millis(200)),
        Arc::clone(&counters),
    );
    let refreshing = Refreshing::new(discovery, Duration::from_millis(50));
    let running = Running::start("http", counters, Box::new(refreshing));
    running.wait_for_addresses(&["a:1", "b:2", "c:3"]).await;
    assert_labels(
        &running.targets()[0],
        &format!("__address__ a:1\n__meta_url {url}\nx y"),
    );
    let groups = running
        .groups
        .lock()
        .unwrap()
        .keys()
        .cloned()
        .collect::<Vec<_>>();
    assert_eq!(groups, [format!("{url}:0"), format!("{url}:1")]);
    let seen = server.seen();
    assert_eq!(
        seen[0].header("x-prometheus-refresh-interval-seconds"),
        "0.2"
    );
    assert_eq!(seen[0].header("accept"), "application/json");
    *step.lock().unwrap() = 1;
    running
        .wait_for("failures", |r| {
            r.counters.value("prometheus_sd_http_failures_total") >= 2.0
        })
        .await;
    assert_eq!(running.addresses(), ["a:1", "b:2", "c:3"]);
    *step.lock().unwrap() = 2;
    running.wait_for_addresses(&["d:4"]).await;
    let refreshes = running.counters.refreshes();
    assert_eq!(refreshes[0].0, ("http", "j".to_owned()));
    assert!(refreshes[0].1.failures >= 2);
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    for (status, kind, body, reason) in [
        (
            404,
            "application/json",
            "[]",
            "server returned HTTP status 404 Not Found",
        ),
        (
            200,
            "text/html",
            "[]",
            "unsupported content type \"text/html\"",
        ),
        (
            200,
            "application/json; charset=latin1",
            "[]",
            "unsupported content type \"application/json; charset=latin1\"",
        ),
        (
            200,
            "application/json",
            "[null]",
            "nil target group item found",
        ),
        (
            200,
            "application/json",
            "[",
            "EOF while parsing a list at line 1 column 1",
        ),
        (200, "application/JSON; charset=\"utf-8\"", "[]", ""),
        (200, "application/json;charset=UTF-8", "null", ""),
    ] {
        let server = Server::start(move |_| answer(status, kind, body)).await;
        let config = config(server.url("/"), Duration::from_secs(5));
        let mut discovery = HttpDiscovery::new(config, Arc::default());
        match discovery.refresh().await {
            Ok(groups) => assert!(groups.is_empty() && reason.is_empty(), "{kind} {body}"),
            Err(error) => assert_eq!(error, reason),
        }
    }
}
