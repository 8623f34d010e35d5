//! Small print of Prometheus's HTTP surface, as a real Prometheus 3.5.3 answered the same requests: methods, redirects, cross-origin
//! headers, forms, compressions, and routes under a prefix.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use std::io::Read;
use support::{Answer, Ferula};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

fn idle(flags: &[&str]) -> (tempfile::TempDir, Ferula) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let ferula = Ferula::start(directory.path(), flags);
    (directory, ferula)
}

fn ask(ferula: &Ferula, method: &str, path: &str, headers: &str) -> Answer {
    ferula.send(
        &format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"),
        b"",
    )
}

#[test]
fn methods_that_do_not_fit_are_told_what_does() {
    let (_directory, ferula) = idle(&["--web.enable-lifecycle"]);
    for (method, path, status, allow) in [
        ("PUT", "/api/v1/query", 405, Some("GET, OPTIONS, POST")),
        (
            "HEAD",
            "/api/v1/query?query=1",
            405,
            Some("GET, OPTIONS, POST"),
        ),
        ("GET", "/api/v1/write", 405, Some("OPTIONS, POST")),
        ("POST", "/-/healthy", 405, Some("GET, HEAD, OPTIONS")),
        ("DELETE", "/-/reload", 405, Some("GET, OPTIONS, POST, PUT")),
        ("HEAD", "/metrics", 405, Some("GET, OPTIONS")),
        ("OPTIONS", "/metrics", 200, Some("GET, OPTIONS")),
        ("OPTIONS", "/api/v1/query", 204, None),
        ("OPTIONS", "/api/v1/no-such-thing", 204, None),
        ("OPTIONS", "/api/v2/x", 404, None),
        ("HEAD", "/-/healthy", 200, None),
    ] {
        let answer = ask(&ferula, method, path, "");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        if status == 405 {
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
    let hint = ferula.get("/-/quit");
    assert_eq!((hint.status, hint.header("allow")), (405, None));
    assert_eq!(hint.text(), "Only POST or PUT requests allowed");
    let gone = ferula.get("/nope");
    assert_eq!(
        (gone.status, gone.text().as_str()),
        (404, "404 page not found\n")
    );
    assert_eq!(gone.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn paths_with_a_slash_too_much_lead_to_the_route() {
    let (_directory, ferula) = idle(&[]);
    for (path, location) in [
        ("/-/healthy/", "/-/healthy"),
        ("//api/v1/query?query=1", "/api/v1/query?query=1"),
        ("/api/v1/../v1/query", "/api/v1/query"),
    ] {
        let answer = ferula.get(path);
        assert_eq!(answer.status, 301, "{path}");
        assert_eq!(answer.header("location"), Some(location));
        let page = format!("<a href=\"{location}\">Moved Permanently</a>.\n\n");
        assert_eq!(answer.text(), page);
    }
    assert_eq!(ask(&ferula, "HEAD", "/-/healthy/", "").status, 307);
}

#[test]
fn other_origins_get_their_headers_on_the_api_alone() {
    let (_directory, ferula) = idle(&["--web.cors.origin=https?://good\\.example"]);
    let from =
        |origin: &str, path: &str| ask(&ferula, "GET", path, &format!("origin: {origin}\r\n"));
    let good = from("http://good.example", "/api/v1/query?query=1");
    assert_eq!(
        good.header("access-control-allow-origin"),
        Some("http://good.example")
    );
    assert_eq!(
        good.header("access-control-allow-methods"),
        Some("GET, POST, OPTIONS")
    );
    let other = from("http://other.example", "/api/v1/query?query=1");
    assert_eq!(other.header("access-control-allow-origin"), None);
    assert_eq!(
        from("http://good.example", "/metrics").header("access-control-allow-origin"),
        None
    );
    assert_eq!(
        ferula.get("/api/v1/query?query=1").header("vary"),
        Some("Origin")
    );
}

#[test]
fn forms_are_read_as_go_reads_them() {
    let (_directory, ferula) = idle(&[]);
    let upper = "content-type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n";
    let answer = ferula.post("/api/v1/query", upper, b"query=1&time=1");
    assert_eq!(answer.json()["data"]["result"][1], "1");
    // The body comes before the query string.
    let answer = ferula.post("/api/v1/query?query=2", FORM, b"query=3&time=1");
    assert_eq!(answer.json()["data"]["result"][1], "3");
    let answer = ferula.get("/api/v1/query?query=%zz");
    assert_eq!(
        answer.json()["error"],
        "invalid parameter \"query\": unknown position: parse error: no expression found in input"
    );
    let answer = ferula.get("/api/v1/series?match[]=%zz");
    assert_eq!(
        answer.json()["error"],
        "error parsing form values: invalid URL escape \"%zz\""
    );
    let answer = ferula.get("/api/v1/label/%ff/values");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid label name: \"\\xff\"");
}

#[test]
fn numbers_and_limits_have_prometheuss_texts() {
    let (_directory, ferula) = idle(&[]);
    let result = |query: &str| {
        ferula
            .get(&format!("/api/v1/query?time=1&query={query}"))
            .json()
    };
    assert_eq!(
        result("1e21")["data"]["result"][1],
        "1000000000000000000000"
    );
    assert_eq!(result("1e-7")["data"]["result"][1], "0.0000001");
    assert_eq!(
        result("vector(1e21)")["data"]["result"][0]["value"][1],
        "1e+21"
    );
    for (path, text) in [
        (
            "/api/v1/query?query=1&limit=99999999999999999999",
            "invalid parameter \"limit\": strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=60&step=0.0001",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=1&start=2015-07-01+20:10:51Z&end=60&step=1",
            "invalid parameter \"start\": cannot parse \"2015-07-01 20:10:51Z\" to a valid timestamp",
        ),
        (
            "/api/v1/rules?type=x",
            "invalid parameter \"type\": not supported value \"x\"",
        ),
        (
            "/api/v1/query_exemplars?query=",
            "unknown position: parse error: no expression found in input",
        ),
    ] {
        let answer = ferula.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.json()["error"], text, "{path}");
    }
    assert_eq!(ferula.get("/api/v1/query?query=1&timeout=0").status, 503);
    assert_eq!(
        ferula.get("/api/v1/query_exemplars?query=up").json()["data"],
        serde_json::json!([])
    );
    let admin = ferula.post("/api/v1/admin/tsdb/snapshot", "", b"");
    assert_eq!(
        (admin.status, &admin.json()["errorType"]),
        (500, &"unavailable".into())
    );
}

#[test]
fn answers_are_packed_as_the_client_likes_best() {
    let (_directory, ferula) = idle(&[]);
    let answer = ask(
        &ferula,
        "GET",
        "/metrics",
        "accept-encoding: deflate, gzip\r\n",
    );
    assert_eq!(answer.header("content-encoding"), Some("deflate"));
    let mut plain = String::new();
    flate2::read::ZlibDecoder::new(&answer.body[..])
        .read_to_string(&mut plain)
        .unwrap();
    assert!(plain.contains("prometheus_build_info{"));
    let answer = ask(
        &ferula,
        "GET",
        "/metrics",
        "accept: text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1\r\n",
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8")
    );
}

#[test]
fn features_tell_what_acts() {
    let (_directory, ferula) = idle(&["--enable-feature=promql-binop-fill-modifiers"]);
    let features = ferula.get("/api/v1/features").json();
    assert_eq!(features["data"]["promql"]["fill"], true);
    assert_eq!(features["data"]["api"]["admin"], false);
    let filled = ferula.get(
        "/api/v1/query?time=1&query=vector(1)%20%2B%20fill(5)%20label_replace(vector(2),%22a%22,%22b%22,%22%22,%22%22)",
    );
    assert_eq!(filled.status, 200, "{}", filled.text());
    assert_eq!(filled.json()["data"]["result"].as_array().unwrap().len(), 2);
}

#[test]
fn a_prefix_is_served_and_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = Ferula::start_under(
        directory.path(),
        "/metrics-engine",
        &["--web.external-url=http://proxy.example/metrics-engine/"],
    );
    let root = ferula.get("/");
    assert_eq!(root.status, 302);
    assert_eq!(root.header("location"), Some("/metrics-engine"));
    let bare = ferula.get("/metrics-engine");
    assert_eq!(bare.header("location"), Some("/metrics-engine/"));
    let home = ferula.get("/metrics-engine/");
    assert_eq!(home.header("location"), Some("/metrics-engine/query"));
    assert_eq!(ferula.get("/metrics-engine/query").status, 200);
    assert_eq!(ferula.get("/api/v1/query?query=1").status, 404);
    assert_eq!(ferula.get("/metrics-enginex/metrics").status, 404);
    let query = ferula.get("/metrics-engine/api/v1/query?query=1&time=1");
    assert_eq!(query.json()["data"]["result"][1], "1");
    let flags = ferula.get("/metrics-engine/api/v1/status/flags").json();
    assert_eq!(flags["data"]["web.route-prefix"], "/metrics-engine");
    // The built-in configuration finds the server's own metrics behind the prefix.
    ferula.eventually("scrapes itself under the prefix", |f| {
        let all = f.get("/metrics-engine/api/v1/targets?state=active").json();
        all["data"]["activeTargets"][0]["health"] == "up"
    });
    let all = ferula
        .get("/metrics-engine/api/v1/targets?state=active")
        .json();
    assert_eq!(all["data"]["droppedTargetCounts"], serde_json::Value::Null);
}
