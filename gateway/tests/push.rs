//! The push gateway in the running server: pushes in, pages, JSON, stored series, and what survives `kill -9`.

mod support;

use std::time::Duration;
use support::Ferula;

fn send(server: &Ferula, method: &str, path: &str, body: &str) -> (u16, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = server.send(&head, body.as_bytes());
    (answer.status, answer.text())
}

#[track_caller]
fn ok(server: &Ferula, method: &str, path: &str, body: &str) {
    assert_eq!(
        send(server, method, path, body),
        (200, String::new()),
        "{path}"
    );
}

fn page(server: &Ferula) -> String {
    let answer = server.get("/pushgateway/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let own = |line: &&str| !line.contains("push_");
    text.lines()
        .filter(own)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn pushes_change_groups() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    ok(&server, "PUT", "/metrics/job/a", "x 1\ny 2\n");
    ok(
        &server,
        "POST",
        "/pushgateway/metrics/job@base64/YQ/",
        "y 3\n",
    );
    ok(&server, "PUT", "/metrics/job/b/l@base64/YS9i", "x 4\n");
    let expected = "# TYPE x untyped\nx{instance=\"\",job=\"a\"} 1\nx{instance=\"\",job=\"b\",l=\"a/b\"} 4\n\
        # TYPE y untyped\ny{instance=\"\",job=\"a\"} 3\n";
    assert_eq!(page(&server), expected);
    let (status, text) = send(&server, "PUT", "/metrics/job/c", "# TYPE x gauge\nx 1\n");
    assert_eq!(status, 400);
    assert!(
        text.ends_with("gauge:{value:1}} is not a UNTYPED\n"),
        "{text}"
    );
    let (status, text) = send(&server, "PUT", "/metrics/job/a/b", "x 1\n");
    assert_eq!(
        (status, text.as_str()),
        (400, "odd number of components in label string \"/b\"\n")
    );
    assert_eq!(send(&server, "GET", "/metrics/job/a", "").0, 405);
    assert_eq!(send(&server, "PUT", "/metrics/job//a", "").0, 301);
    assert_eq!(send(&server, "PUT", "/metrics/job/a?ttl=x", "").0, 400);
    assert_eq!(send(&server, "PUT", "/api/v1/admin/wipe", "").0, 404);

    let json = server.get("/api/v1/metrics").json();
    let groups = json["data"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    let a = &groups[0];
    assert_eq!(a["labels"], serde_json::json!({"job": "a"}));
    assert_eq!(a["last_push_successful"], true);
    assert_eq!(a["y"]["type"], "UNTYPED");
    assert_eq!(a["y"]["metrics"][0]["value"], "3");
    let c = groups.iter().find(|g| g["labels"]["job"] == "c").unwrap();
    assert_eq!(c["last_push_successful"], false);
    assert_eq!(c["push_time_seconds"]["metrics"][0]["value"], "0");

    assert_eq!(
        send(&server, "DELETE", "/metrics/job/a", ""),
        (202, String::new())
    );
    assert_eq!(
        send(&server, "DELETE", "/metrics/job/nobody", ""),
        (202, String::new())
    );
    assert!(!page(&server).contains("job=\"a\""));
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("ferula_push_groups 2\n"), "{metrics}");
    assert!(
        metrics.contains("ferula_push_requests_total{outcome=\"accepted\"} 3\n"),
        "{metrics}"
    );
}

#[test]
fn acknowledged_pushes_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--web.enable-admin-api"];
    let server = Ferula::start(dir.path(), &flags);
    for i in 0..50 {
        ok(
            &server,
            "PUT",
            &format!("/metrics/job/j/i/{}", i % 20),
            &format!("x {i}\n"),
        );
    }
    assert_eq!(send(&server, "DELETE", "/metrics/job/j/i/3", "").0, 202);
    let before = server.get("/pushgateway/metrics").text();
    server.kill();
    let server = Ferula::start(dir.path(), &flags);
    assert_eq!(server.get("/pushgateway/metrics").text(), before);
    assert_eq!(send(&server, "PUT", "/api/v1/admin/wipe", "").0, 202);
    server.kill();
    let server = Ferula::start(dir.path(), &flags);
    assert_eq!(server.get("/pushgateway/metrics").text(), "");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn groups_end_when_their_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &["--push.ttl=300ms"]);
    ok(&server, "PUT", "/metrics/job/short", "x 1\n");
    ok(&server, "PUT", "/metrics/job/long?ttl=1h", "x 1\n");
    server.eventually("one group", |s| !page(s).contains("short"));
    assert!(page(&server).contains("job=\"long\""));
    std::thread::sleep(Duration::from_millis(50));
    server.kill();
    let server = Ferula::start(dir.path(), &[]);
    let page = page(&server);
    assert!(
        page.contains("job=\"long\"") && !page.contains("short"),
        "{page}"
    );
}

#[test]
fn pushed_series_are_stored_and_end_with_their_group() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &["--push.scrape-interval=200ms"]);
    let pools = |s: &Ferula| s.get("/api/v1/scrape_pools").text();
    assert!(!pools(&server).contains("ferula_push"));
    ok(
        &server,
        "PUT",
        "/metrics/job/batch/instance/i",
        "x{l=\"1\"} 7\n",
    );
    ok(
        &server,
        "PUT",
        "/metrics/job/bare",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\nh_count 4\n",
    );
    server.eventually("x is stored", |s| {
        s.query("x").as_array().is_some_and(|a| a.len() == 1)
    });
    assert!(pools(&server).contains("ferula_push"));
    let x = server.query("x");
    assert_eq!(
        x[0]["metric"],
        serde_json::json!({"__name__": "x", "instance": "i", "job": "batch", "l": "1"})
    );
    assert_eq!(x[0]["value"][1], "7");
    assert_eq!(
        server.query("h_count")[0]["metric"],
        serde_json::json!({"__name__": "h_count", "job": "bare"})
    );
    assert_eq!(
        server
            .query("push_time_seconds > 0")
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        send(&server, "DELETE", "/metrics/job/batch/instance/i", "").0,
        202
    );
    server.eventually("x is stale", |s| {
        s.query("x").as_array().is_some_and(Vec::is_empty)
    });
    server.eventually("h stays", |s| {
        s.query("h_count").as_array().is_some_and(|a| a.len() == 1)
    });
    assert_eq!(server.query("up{job=\"ferula_push\"}")[0]["value"][1], "1");
}

#[test]
fn it_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &["--no-push.enable"]);
    let (status, text) = send(&server, "PUT", "/metrics/job/a", "x 1\n");
    assert_eq!(status, 404);
    assert!(text.contains("--push.enable"), "{text}");
    assert!(!dir.path().join("data/push").exists());
}
