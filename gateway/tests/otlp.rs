//! OpenTelemetry's metrics into the running server.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write;
use support::{Ferula, now_ms};

const PATH: &str = "/api/v1/otlp/v1/metrics";

/// A counter and a metric that cannot be stored.
fn request(now: i64) -> String {
    format!(
        r#"{{"resourceMetrics": [{{
        "resource": {{"attributes": [
          {{"key": "service.name", "value": {{"stringValue": "shop"}}}},
          {{"key": "host.name", "value": {{"stringValue": "h"}}}}]}},
        "scopeMetrics": [{{"metrics": [
          {{"name": "orders", "unit": "1", "sum": {{"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
            {{"asInt": "42", "timeUnixNano": "{now}000000", "attributes": [{{"key": "store.id", "value": {{"intValue": 3}}}}]}}]}}}},
          {{"name": "changes", "sum": {{"aggregationTemporality": 1, "dataPoints": [{{"asInt": 1, "timeUnixNano": "{now}000000"}}]}}}}]}}]}}]}}"#
    )
}

#[test]
fn metrics_are_stored_and_what_is_not_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    std::fs::write(
        &config,
        "otlp: {promote_resource_attributes: [host.name]}\n",
    )
    .unwrap();
    let flag = format!("--config.file={}", config.display());
    let server = Ferula::start(directory.path(), &[&flag]);
    let now = now_ms();
    let body = request(now);
    let json = "content-type: application/json; charset=utf-8\r\n";
    let answer = server.post(PATH, json, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "1");
    assert_eq!(
        partial["errorMessage"],
        "invalid temporality and type combination for metric \"changes\""
    );
    let found = server.query("{__name__!=\"\",job=\"shop\"}");
    let mut found: Vec<String> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["metric"], row["value"][1]))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            r#"{"__name__":"orders_total","host_name":"h","job":"shop","store_id":"3"} "42""#,
            r#"{"__name__":"target_info","host_name":"h","job":"shop"} "1""#,
        ]
    );

    // The same again, compressed, is what is there already; an older sample is refused.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body.as_bytes()).unwrap();
    let gzip = format!("{json}content-encoding: gzip\r\n");
    let answer = server.post(PATH, &gzip, &packed.finish().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = server.post(PATH, json, request(now - 1000).as_bytes());
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("out of order"), "{}", answer.text());

    let answer = server.post(PATH, "content-type: text/plain\r\n", b"x");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("unsupported content type"));
    let protobuf = "content-type: application/x-protobuf\r\n";
    assert_eq!(server.post(PATH, protobuf, b"").text(), "");
    assert_eq!(server.post(PATH, protobuf, b"\xff").status, 400);
}

#[test]
fn the_receiver_can_be_off() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &["--no-web.enable-otlp-receiver"]);
    let answer = server.post(PATH, "content-type: application/json\r\n", b"{}");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("--web.enable-otlp-receiver"));
}
