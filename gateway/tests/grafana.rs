//! What Grafana's Prometheus data source asks, in its own words: "save & test", the query editor's completion and label browser, dashboards,
//! exemplars, the list of alert rules. The requests are those of `pkg/promlib` and `packages/grafana-prometheus`.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use serde_json::{Value, json};
use support::proto::{series_v1, snappy};
use support::{Answer, Ferula, V1, now_ms};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\nx-grafana-org-id: 1\r\nx-dashboard-uid: abc\r\nx-panel-id: 2\r\nuser-agent: Grafana/12.3.0\r\n";

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    fields.join("&")
}

fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["status"], "success");
    body["data"].clone()
}

fn post(server: &Ferula, path: &str, fields: &[(&str, &str)]) -> Value {
    data(&server.post(path, FORM, form(fields).as_bytes()))
}

fn get(server: &Ferula, path: &str, fields: &[(&str, &str)]) -> Value {
    data(&server.get(&format!("{path}?{}", form(fields))))
}

/// Two series of a counter, one metric whose names need escaping, one bucket of a classic histogram; the newest at `now`.
fn shop(server: &Ferula, now: i64) {
    let samples: Vec<(f64, i64)> = (0..20)
        .map(|i| (i as f64, now - (19 - i) * 15_000))
        .collect();
    let mut body = Vec::new();
    for labels in [
        &[
            ("__name__", "orders_total"),
            ("job", "shop"),
            ("shop", "north"),
        ][..],
        &[
            ("__name__", "orders_total"),
            ("job", "shop"),
            ("shop", "south"),
        ],
        &[
            ("__name__", "http.requests"),
            ("job", "shop"),
            ("service.name", "till"),
        ],
        &[
            ("__name__", "latency_seconds_bucket"),
            ("job", "shop"),
            ("le", "0.5"),
        ],
    ] {
        let labels: Vec<(&[u8], &[u8])> = labels
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        body.extend(series_v1(&labels, &samples));
    }
    let written = server.post("/api/v1/write", V1, &snappy(&body));
    assert!(written.status < 300, "{}", written.text());
}

fn server(directory: &std::path::Path) -> Ferula {
    let config = directory.join("prometheus.yml");
    std::fs::write(config, "global: {scrape_interval: 1h}\n").unwrap();
    Ferula::start(directory, &["--enable-feature=exemplar-storage"])
}

#[test]
fn save_and_test() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    // The health check asks at a time long before any data.
    for answer in [
        post(&server, "/api/v1/query", &[("query", "1+1"), ("time", "4")]),
        get(&server, "/api/v1/query", &[("query", "1+1"), ("time", "4")]),
    ] {
        assert_eq!(answer, json!({"resultType": "scalar", "result": [4, "2"]}));
    }
    let build = get(&server, "/api/v1/status/buildinfo", &[]);
    let version = build["version"].as_str().unwrap();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
    assert!(
        (parts.next(), parts.next()) >= (Some(2), Some(24)),
        "{version}: below 2.24 Grafana asks for labels without matchers"
    );
    // With this member Grafana takes the server for a Mimir and asks for a ruler.
    assert!(build.get("features").is_none());
}

#[test]
fn the_editor_and_the_label_browser() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let now = now_ms();
    shop(&server, now);
    let (start, end) = (
        (now / 1000 - 3600).to_string(),
        (now / 1000 + 1).to_string(),
    );
    let range = [("start", start.as_str()), ("end", end.as_str())];
    let in_range = |more: &[(&'static str, &'static str)]| {
        let mut fields: Vec<(&str, &str)> = range.to_vec();
        fields.extend_from_slice(more);
        fields
    };

    let names = json!(["http.requests", "latency_seconds_bucket", "orders_total"]);
    let path = "/api/v1/label/__name__/values";
    assert_eq!(get(&server, path, &in_range(&[("limit", "40000")])), names);
    // No limit, as the editor's setting "0" asks for.
    assert_eq!(get(&server, path, &in_range(&[("limit", "0")])), names);
    let one = server.get(&format!("{path}?{}", form(&in_range(&[("limit", "1")]))));
    assert_eq!(data(&one), json!(["http.requests"]));
    assert_eq!(
        one.json()["warnings"],
        json!(["results truncated due to limit"])
    );
    // Completion inside a name asks with a regular expression.
    let typed = in_range(&[
        ("match[]", r#"{__name__=~".*orders.*"}"#),
        ("limit", "40000"),
    ]);
    assert_eq!(get(&server, path, &typed), json!(["orders_total"]));

    let of_metric = in_range(&[
        ("match[]", r#"{__name__="orders_total"}"#),
        ("limit", "40000"),
    ]);
    let labels = json!(["__name__", "job", "shop"]);
    assert_eq!(post(&server, "/api/v1/labels", &of_metric), labels);
    assert_eq!(get(&server, "/api/v1/labels", &of_metric), labels);
    let values = get(&server, "/api/v1/label/shop/values", &of_metric);
    assert_eq!(values, json!(["north", "south"]));
    // Names beyond the classic letters come escaped in the path.
    let escaped = "/api/v1/label/U__service_2e_name/values";
    assert_eq!(get(&server, escaped, &in_range(&[])), json!(["till"]));

    let everything = in_range(&[("match[]", r#"{__name__!=""}"#), ("limit", "40000")]);
    let series = post(&server, "/api/v1/series", &everything);
    assert_eq!(series.as_array().unwrap().len(), 4);
    assert!(
        series
            .as_array()
            .unwrap()
            .contains(&json!({"__name__": "orders_total", "job": "shop", "shop": "north"}))
    );
    let metadata = get(&server, "/api/v1/metadata", &[("limit", "40000")]);
    assert!(metadata.is_object());
}

#[test]
fn panels_exemplars_and_alert_rules() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let now = now_ms();
    shop(&server, now);
    let end = now / 15_000 * 15;
    let (start, end) = ((end - 240).to_string(), end.to_string());
    let panel = [
        (
            "query",
            r#"sum by (shop) (rate(orders_total{job="shop"}[1m]))"#,
        ),
        ("start", &start),
        ("end", &end),
        ("step", "15"),
        ("timeout", "30s"),
    ];
    let answer = post(&server, "/api/v1/query_range", &panel);
    assert_eq!(answer["resultType"], "matrix");
    assert_eq!(answer["result"].as_array().unwrap().len(), 2);
    assert_eq!(answer["result"][0]["metric"], json!({"shop": "north"}));
    // Grafana sends times with fractions and steps with a unit, too.
    let fields = [
        ("query", r#"{"http.requests"}"#),
        ("start", "1700000000.5"),
        ("end", "1700000060.5"),
        ("step", "15s"),
    ];
    let answer = get(&server, "/api/v1/query_range", &fields);
    assert_eq!(answer, json!({"resultType": "matrix", "result": []}));
    // A mistake in a panel: 400 in the envelope, with a text that Grafana shows.
    let wrong = server.post(
        "/api/v1/query_range",
        FORM,
        b"query=rate(&start=1&end=2&step=1",
    );
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json()["errorType"], "bad_data");
    assert!(
        wrong.json()["error"]
            .as_str()
            .unwrap()
            .contains("parse error")
    );

    let fields = [("query", "orders_total"), ("start", &start), ("end", &end)];
    assert_eq!(post(&server, "/api/v1/query_exemplars", &fields), json!([]));
    let fields = [("type", "alert"), ("group_limit", "40")];
    assert_eq!(get(&server, "/api/v1/rules", &fields)["groups"], json!([]));
    assert_eq!(get(&server, "/api/v1/alerts", &[])["alerts"], json!([]));
}
