//! The HTTP API of a real process, shape by shape, and its life: reload, refusal, end.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use support::proto::{series_v1, snappy};
use support::{Ferula, V1, now_ms};

fn filled(directory: &std::path::Path, flags: &[&str]) -> (Ferula, i64) {
    std::fs::write(directory.join("prometheus.yml"), "global: {}\n").unwrap();
    let ferula = Ferula::start(directory, flags);
    let at = now_ms() / 1000 * 1000;
    let mut body = Vec::new();
    for i in 0..3u8 {
        let instance = format!("host-{i}");
        let labels: &[(&[u8], &[u8])] = &[
            (b"__name__", b"m_total"),
            (b"instance", instance.as_bytes()),
            (b"job", b"j"),
        ];
        let samples: Vec<(f64, i64)> = (0..5)
            .map(|k| {
                (
                    f64::from(k) * 10.0 * f64::from(i + 1),
                    at - 60_000 + 15_000 * i64::from(k),
                )
            })
            .collect();
        body.extend(series_v1(labels, &samples));
    }
    assert_eq!(ferula.post("/api/v1/write", V1, &snappy(&body)).status, 204);
    (ferula, at)
}

#[test]
fn samples_of_each_step_are_told_when_the_feature_is_on() {
    let directory = tempfile::tempdir().unwrap();
    let (ferula, at) = filled(
        directory.path(),
        &["--enable-feature=promql-per-step-stats"],
    );
    let seconds = at / 1000;
    let samples = |stats: &str| {
        let path = format!(
            "/api/v1/query_range?query=m_total&start={}&end={seconds}&step=15&stats={stats}",
            seconds - 15
        );
        ferula.get(&path).json()["data"]["stats"]["samples"].clone()
    };
    let all = samples("all");
    let steps = serde_json::json!([[seconds - 15, 3], [seconds, 3]]);
    assert_eq!(all["totalQueryableSamplesPerStep"], steps, "{all}");
    assert_eq!(all["samplesReadPerStep"], steps, "{all}");
    assert_eq!(all["totalQueryableSamples"], 6, "{all}");
    assert!(samples("true").get("samplesReadPerStep").is_none());
}

#[test]
fn queries_answer_in_prometheuss_shape() {
    let directory = tempfile::tempdir().unwrap();
    let (ferula, at) = filled(directory.path(), &[]);
    let seconds = at / 1000;
    let get = |path: &str| ferula.get(path);
    let answer = get(&format!("/api/v1/query?query=m_total&time={seconds}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    assert_eq!(json["status"], "success");
    assert_eq!(json["data"]["resultType"], "vector");
    assert_eq!(json["data"]["result"].as_array().unwrap().len(), 3);
    assert_eq!(json["data"]["result"][0]["value"][0], seconds);
    let json = get(&format!(
        "/api/v1/query_range?query=sum(rate(m_total[1m]))&start={}&end={seconds}&step=15",
        seconds - 30
    ))
    .json();
    assert_eq!(json["data"]["resultType"], "matrix");
    assert_eq!(
        json["data"]["result"][0]["values"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        get("/api/v1/query?query=1%2B1&time=4").text(),
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
    );
    assert_eq!(
        get("/api/v1/query?query=%22x%22&time=4").text(),
        r#"{"status":"success","data":{"resultType":"string","result":[4,"x"]}}"#
    );
    let stats = get(&format!(
        "/api/v1/query?query=m_total&time={seconds}&stats=all"
    ))
    .json();
    let stats = &stats["data"]["stats"];
    assert!(
        stats["timings"]["innerEvalTime"].as_f64().unwrap() > 0.0,
        "{stats}"
    );
    assert!(
        stats["timings"]["queryPreparationTime"].as_f64().unwrap() > 0.0,
        "{stats}"
    );
    assert_eq!(stats["samples"]["totalQueryableSamples"], 3, "{stats}");
    assert_eq!(stats["samples"]["samplesRead"], 3, "{stats}");
    assert_eq!(stats["samples"]["pagesDecoded"], 3, "{stats}");
    assert!(stats["samples"].get("samplesReadPerStep").is_none());
    let odd = get(&format!(
        "/api/v1/query?query=m_total&time={seconds}&stats=foo"
    ))
    .json();
    assert!(odd["data"]["stats"]["samples"].is_object(), "{odd}");
    assert_eq!(
        odd["warnings"][0],
        "value \"foo\" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""
    );
    assert_eq!(stats["samples"]["pagesSkipped"], 0, "{stats}");
    let posted = ferula.post(
        "/api/v1/query",
        "content-type: application/x-www-form-urlencoded\r\n",
        format!("query=count(m_total)&time={seconds}").as_bytes(),
    );
    assert_eq!(posted.json()["data"]["result"][0]["value"][1], "3");
}

#[test]
fn mistakes_get_prometheuss_texts() {
    let directory = tempfile::tempdir().unwrap();
    let (ferula, at) = filled(directory.path(), &[]);
    for (path, code, kind, text) in [
        (
            "/api/v1/query?query=",
            400,
            "bad_data",
            "invalid parameter \"query\": unknown position: parse error: no expression found in input",
        ),
        (
            "/api/v1/query?query=up%7B",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces",
        ),
        (
            "/api/v1/query?query=up&time=x",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=0&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=1&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=100000&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/series",
            400,
            "bad_data",
            "no match[] parameter provided",
        ),
        (
            "/api/v1/series?match[]=%7B%7D",
            400,
            "bad_data",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        (
            "/api/v1/query?query=up&limit=-1",
            400,
            "bad_data",
            "invalid parameter \"limit\": limit must be non-negative",
        ),
    ] {
        let answer = ferula.get(path);
        assert_eq!(answer.status, code, "{path}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["errorType"], kind, "{path}");
        assert_eq!(json["error"], text, "{path}");
    }
    let clash = format!(
        "/api/v1/query?time={}&query=m_total%20%2B%20on(job)%20m_total",
        at / 1000
    );
    let answer = ferula.get(&clash);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["errorType"], "execution");
    assert_eq!(ferula.get("/nope").status, 404);
    assert_eq!(ferula.post("/api/v1/labels", "", b"").status, 200);
    assert_eq!(ferula.post("/api/v1/label/job/values", "", b"").status, 405);
}

#[test]
fn metadata_and_status_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (ferula, _) = filled(directory.path(), &[]);
    let data = |path: &str| {
        let answer = ferula.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["data"].clone()
    };
    assert_eq!(
        data("/api/v1/labels"),
        serde_json::json!(["__name__", "instance", "job"])
    );
    assert_eq!(
        data("/api/v1/label/instance/values?match[]=m_total"),
        serde_json::json!(["host-0", "host-1", "host-2"])
    );
    let limited = ferula.get("/api/v1/label/instance/values?limit=2").json();
    assert_eq!(limited["data"], serde_json::json!(["host-0", "host-1"]));
    assert_eq!(
        limited["warnings"],
        serde_json::json!(["results truncated due to limit"])
    );
    let series = data("/api/v1/series?match[]=m_total%7Binstance%3D%22host-1%22%7D");
    assert_eq!(
        series,
        serde_json::json!([{"__name__": "m_total", "instance": "host-1", "job": "j"}])
    );
    assert_eq!(
        data("/api/v1/format_query?query=sum(up)by(job)"),
        "sum by (job) (up)"
    );
    assert_eq!(
        data("/api/v1/parse_query?query=up")["type"],
        "vectorSelector"
    );
    let tsdb = data("/api/v1/status/tsdb");
    assert_eq!(tsdb["headStats"]["numSeries"], 3);
    assert_eq!(
        tsdb["seriesCountByMetricName"][0],
        serde_json::json!({"name": "m_total", "value": 3})
    );
    assert!(
        data("/api/v1/status/config")["yaml"]
            .as_str()
            .unwrap()
            .contains("global:")
    );
    assert_eq!(
        data("/api/v1/status/flags")["web.enable-lifecycle"],
        "false"
    );
    assert!(
        data("/api/v1/status/buildinfo")["version"]
            .as_str()
            .unwrap()
            .starts_with("3.")
    );
    assert!(data("/api/v1/status/buildinfo").get("features").is_none());
    assert!(data("/api/v1/status/runtimeinfo")["startTime"].is_string());
    assert!(data("/api/v1/status/walreplay")["max"].is_number());
    assert_eq!(
        data("/api/v1/scrape_pools"),
        serde_json::json!({"scrapePools": []})
    );
    assert_eq!(
        data("/api/v1/targets")["activeTargets"],
        serde_json::json!([])
    );
    // The numbers of a shard are published once a second.
    ferula.eventually("the shards' numbers are there", |f| {
        f.get("/metrics")
            .text()
            .contains("prometheus_tsdb_head_series 3\n")
    });
    let metrics = ferula.get("/metrics").text();
    for name in [
        "prometheus_build_info",
        "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 15\n",
        "prometheus_config_last_reload_successful 1\n",
        "prometheus_engine_query_duration_seconds{slice=\"inner_eval\",quantile=\"0.9\"}",
        "prometheus_http_requests_total{code=\"204\",handler=\"/api/v1/write\"} 1\n",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
    }
    let zipped = ferula.send(
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept-encoding: gzip\r\n\r\n",
        b"",
    );
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let cors = ferula.send(
        "GET /api/v1/labels HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: http://g\r\n\r\n",
        b"",
    );
    assert_eq!(cors.header("access-control-allow-origin"), Some("http://g"));
}

#[test]
fn lifecycle_is_off_until_asked_for_and_a_bad_reload_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (ferula, _) = filled(directory.path(), &[]);
    let refused = ferula.post("/-/reload", "", b"");
    assert_eq!(
        (refused.status, refused.text().trim()),
        (403, "Lifecycle API is not enabled.")
    );
    assert_eq!(ferula.get("/-/reload").status, 405);
    assert_eq!(ferula.terminate(), Some(0));

    let ferula = Ferula::start(directory.path(), &["--web.enable-lifecycle"]);
    let config = directory.path().join("prometheus.yml");
    std::fs::write(&config, "global:\n  scrape_intervall: 5s\n").unwrap();
    let answer = ferula.post("/-/reload", "", b"");
    assert_eq!(answer.status, 500);
    let text = answer.text();
    assert!(
        text.contains("scrape_intervall") && text.contains("prometheus.yml"),
        "{text}"
    );
    assert!(
        ferula
            .get("/metrics")
            .text()
            .contains("prometheus_config_last_reload_successful 0")
    );
    assert_eq!(ferula.query("vector(1)")[0]["value"][1], "1");
    std::fs::write(&config, "global:\n  scrape_interval: 7s\n").unwrap();
    ferula.hang_up();
    ferula.eventually("the good file is in force", |f| {
        f.get("/api/v1/status/config")
            .text()
            .contains("scrape_interval: 7s")
    });
    // Said when all of it is in force, a moment after the text has changed.
    ferula.eventually("the reload is called successful", |f| {
        f.get("/metrics")
            .text()
            .contains("prometheus_config_last_reload_successful 1")
    });
    let answer = ferula.post("/-/quit", "", b"");
    assert_eq!(
        (answer.status, answer.text().trim()),
        (200, "Requesting termination... Goodbye!")
    );
}
