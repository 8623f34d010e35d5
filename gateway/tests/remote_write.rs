//! The remote-write receiver of a real process: what is stored, what is refused and how, and that bad input breaks nothing.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use support::proto::{bytes, request_v2, series_v1, snappy, varint};
use support::{Ferula, V1, V2, now_ms};

const NO_SCRAPE: &str = "global: {}\n";

fn server(directory: &std::path::Path) -> Ferula {
    std::fs::write(directory.join("prometheus.yml"), NO_SCRAPE).unwrap();
    Ferula::start(directory, &[])
}

fn good(name: &[u8], value: f64, at: i64) -> Vec<u8> {
    series_v1(&[(b"__name__", name), (b"job", b"t")], &[(value, at)])
}

#[test]
fn both_versions_store_and_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path());
    let now = now_ms();
    let mut body = good(b"one", 1.5, now);
    body.extend(good(b"two", f64::NAN, now));
    let answer = ferula.post("/api/v1/write", V1, &snappy(&body));
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    let counts = answer.header("x-prometheus-remote-write-samples-written");
    assert_eq!(
        counts, None,
        "a 1.0 sender would count missing samples as failed"
    );
    let body = request_v2(
        &["", "__name__", "three"],
        &[(&[1, 2], &[(3.0, now - 5), (4.0, now)])],
    );
    let answer = ferula.post("/api/v1/write", V2, &snappy(&body));
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        answer.header("x-prometheus-remote-write-samples-written"),
        Some("2")
    );
    assert_eq!(
        answer.header("x-prometheus-remote-write-histograms-written"),
        Some("0")
    );
    assert_eq!(
        answer.header("x-prometheus-remote-write-exemplars-written"),
        Some("0")
    );
    let check = |ferula: &Ferula| {
        assert_eq!(ferula.query("one{job=\"t\"}")[0]["value"][1], "1.5");
        assert_eq!(ferula.query("two")[0]["value"][1], "NaN");
        let three = ferula.query("three[1m]");
        let values = three[0]["values"].as_array().unwrap();
        assert_eq!(
            values
                .iter()
                .map(|v| v[1].as_str().unwrap())
                .collect::<Vec<_>>(),
            ["3", "4"]
        );
    };
    check(&ferula);
    ferula.kill();
    let ferula = Ferula::start(directory.path(), &[]);
    check(&ferula);
    assert_eq!(ferula.terminate(), Some(0));
}

#[test]
fn order_rules_are_prometheuss() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path());
    let now = now_ms();
    let write = |body: Vec<u8>| {
        let answer = ferula.post("/api/v1/write", V1, &snappy(&body));
        (answer.status, answer.text())
    };
    assert_eq!(write(good(b"m", 1.0, now)).0, 204);
    assert_eq!(
        write(good(b"m", 1.0, now)).0,
        204,
        "the same sample again is no error"
    );
    let (status, text) = write(good(b"m", 2.0, now));
    assert_eq!(status, 400);
    assert!(text.contains("duplicate sample for timestamp"), "{text}");
    let mut both = good(b"other", 7.0, now);
    both.extend(good(b"m", 3.0, now - 1000));
    let (status, text) = write(both);
    assert_eq!(status, 400);
    assert!(text.contains("out of order sample"), "{text}");
    assert_eq!(
        ferula.query("other"),
        serde_json::json!([]),
        "1.0 requests are refused whole"
    );
    let (status, text) = write(good(b"far", 1.0, now + 3_600_000));
    assert_eq!(status, 400);
    assert!(text.contains("out of bounds"), "{text}");
    let body = request_v2(
        &["", "__name__", "m", "fresh", "job", "t"],
        &[
            (&[1, 2, 4, 5], &[(9.0, now - 1000)]),
            (&[1, 3, 4, 5], &[(5.0, now)]),
        ],
    );
    let answer = ferula.post("/api/v1/write", V2, &snappy(&body));
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("out of order sample"),
        "{}",
        answer.text()
    );
    assert_eq!(
        answer.header("x-prometheus-remote-write-samples-written"),
        Some("1")
    );
    assert_eq!(
        ferula.query("fresh")[0]["value"][1],
        "5",
        "2.0 requests are stored in part"
    );
    assert_eq!(ferula.query("m")[0]["value"][1], "1");
}

#[test]
fn bad_input_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path());
    let now = now_ms();
    let sane = snappy(&good(b"sane", 1.0, now));
    assert_eq!(ferula.post("/api/v1/write", V1, &sane).status, 204);

    let refused = |what: &str, headers: &str, body: &[u8], code: u16| {
        let answer = ferula.post("/api/v1/write", headers, body);
        assert_eq!(answer.status, code, "{what}: {}", answer.text());
        assert!(!answer.text().trim().is_empty(), "{what}: no text");
    };
    let fine = snappy(&good(b"hidden", 1.0, now));
    refused("truncated snappy", V1, &fine[..fine.len() - 3], 400);
    let mut lying = Vec::new();
    varint(&mut lying, 1_000_000);
    lying.extend_from_slice(&fine[1..]);
    refused("lying snappy", V1, &lying, 400);
    let mut huge = Vec::new();
    varint(&mut huge, 4 << 30);
    huge.extend_from_slice(&[0; 64]);
    refused("4 GiB snappy length", V1, &huge, 400);
    refused("garbage protobuf", V1, &snappy(&[0xff; 300]), 400);
    refused("garbage protobuf 2.0", V2, &snappy(&[0xff; 300]), 400);
    refused("empty body", V1, b"", 400);
    refused("100 MB body", V1, &vec![0x55; 100 << 20], 413);
    let plain = V1.replace("snappy", "gzip");
    refused("other encoding", &plain, &fine, 415);
    let other = V1.replace("application/x-protobuf", "application/json");
    refused("other type", &other, &fine, 415);
    assert_eq!(ferula.get("/api/v1/write").status, 405);

    for (what, symbols, refs) in [
        (
            "unknown symbol",
            &["", "__name__", "hidden"][..],
            &[1u64, 99][..],
        ),
        ("odd references", &["", "__name__", "hidden"], &[1]),
        (
            "first symbol not empty",
            &["x", "__name__", "hidden"],
            &[1, 2],
        ),
        ("without a name", &["", "job", "hidden"], &[1, 2]),
        ("name twice", &["", "__name__", "hidden"], &[1, 2, 1, 2]),
    ] {
        let body = request_v2(symbols, &[(refs, &[(1.0, now)])]);
        refused(what, V2, &snappy(&body), 400);
    }
    let labels: [&[(&[u8], &[u8])]; 4] = [
        &[(b"job", b"hidden")],
        &[(b"__name__", b"hidden"), (b"a", b"1"), (b"a", b"2")],
        &[(b"__name__", b"hidden\xff\xfe")],
        &[(b"__name__", b"hidden"), (b"", b"x")],
    ];
    for labels in labels {
        let body = series_v1(labels, &[(1.0, now)]);
        let answer = ferula.post("/api/v1/write", V1, &snappy(&body));
        // A 1.0 receiver leaves out a series with invalid labels and takes the rest, as Prometheus 3.5.3 was seen to do.
        assert_eq!(answer.status, 204, "{labels:?}: {}", answer.text());
    }
    let found = ferula.query("{__name__=~\"hidden.*\"} or {job=\"hidden\"}");
    assert_eq!(
        found,
        serde_json::json!([]),
        "something of the bad input was stored"
    );
    assert_eq!(ferula.query("sane")[0]["value"][1], "1");
    let unsorted = series_v1(&[(b"job", b"t"), (b"__name__", b"unsorted")], &[(2.0, now)]);
    let answer = ferula.post("/api/v1/write", V1, &snappy(&unsorted));
    assert_eq!(answer.status, 204, "{}", answer.text());
    let stored = ferula.query("unsorted");
    assert_eq!(
        stored[0]["metric"]["job"], "t",
        "labels are sorted before they are kept"
    );
    assert_eq!(ferula.post("/api/v1/write", V1, &sane).status, 204);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("prometheus.yml"), NO_SCRAPE).unwrap();
    let ferula = Ferula::start(directory.path(), &["--web.read-timeout=1s"]);
    let head =
        format!("POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n{V1}\r\n");
    let answer = ferula.send(&head, b"only this");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("not complete after 1s"),
        "{}",
        answer.text()
    );
}

/// An integer histogram with `count` observations in the bucket up to 1, or with a count that does not fit them.
fn histogram(count: u64, claimed: u64, at: i64) -> Vec<u8> {
    let mut out = vec![0x08];
    varint(&mut out, claimed);
    out.push(0x19);
    out.extend_from_slice(&2.5_f64.to_le_bytes());
    bytes(&mut out, 11, &[0x10, 0x01]);
    let mut delta = Vec::new();
    varint(&mut delta, count << 1);
    bytes(&mut out, 12, &delta);
    out.push(15 << 3);
    varint(&mut out, at as u64);
    out
}

#[test]
fn native_histograms_are_stored_and_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path());
    let now = now_ms();
    let v1 = |name: &[u8], message: &[u8]| {
        let (mut label, mut row, mut out) = (Vec::new(), Vec::new(), Vec::new());
        bytes(&mut label, 1, b"__name__");
        bytes(&mut label, 2, name);
        bytes(&mut row, 1, &label);
        bytes(&mut row, 4, message);
        bytes(&mut out, 1, &row);
        snappy(&out)
    };
    let answer = ferula.post("/api/v1/write", V1, &v1(b"first", &histogram(3, 3, now)));
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    let answer = ferula.post("/api/v1/write", V1, &v1(b"bad", &histogram(3, 4, now)));
    assert_eq!(answer.status, 400);
    let text = answer.text();
    let expected = "3 observations found in buckets, but the Count field is 4: ";
    assert!(text.starts_with(expected), "{text}");
    let mut body = Vec::new();
    for symbol in ["", "__name__", "second"] {
        bytes(&mut body, 4, symbol.as_bytes());
    }
    let mut row = Vec::new();
    bytes(&mut row, 1, &[1, 2]);
    bytes(&mut row, 3, &histogram(7, 7, now));
    bytes(&mut row, 3, &histogram(9, 9, now + 1));
    bytes(&mut body, 5, &row);
    let answer = ferula.post("/api/v1/write", V2, &snappy(&body));
    assert_eq!(answer.status, 204, "{}", answer.text());
    let written = |header| answer.header(header).map(str::to_owned);
    assert_eq!(
        (
            written("x-prometheus-remote-write-samples-written").as_deref(),
            written("x-prometheus-remote-write-histograms-written").as_deref()
        ),
        (Some("0"), Some("2"))
    );
    let check = |ferula: &Ferula| {
        let path =
            "/api/v1/label/__name__/values?match[]=%7B__name__%3D~%22first%7Csecond%7Cbad%22%7D";
        let names = ferula.get(path).json();
        assert_eq!(names["data"], serde_json::json!(["first", "second"]));
        let at = format!("{}.{:03}", (now + 1) / 1000, (now + 1) % 1000);
        let value = |query: &str| ferula.query_at(query, &at)[0]["value"][1].clone();
        assert_eq!(value("histogram_count(first)"), "3");
        assert_eq!(value("histogram_sum(second)"), "2.5");
        assert_eq!(value("histogram_quantile(1, second)"), "1");
        assert_eq!(value("count_over_time(second[1m])"), "2");
        let whole = ferula.query_at("second", &at);
        assert_eq!(whole[0]["histogram"][1]["count"], "9", "{whole}");
        let bucket = serde_json::json!([[0, "0.5", "1", "9"]]);
        assert_eq!(whole[0]["histogram"][1]["buckets"], bucket);
        ferula.eventually("the memory of histograms", |ferula| {
            let metrics = ferula.get("/metrics").text();
            let mut lines = metrics.lines();
            let bytes =
                lines.find_map(|l| l.strip_prefix("ferula_memory_bytes{part=\"histograms\"} "));
            bytes.is_some_and(|bytes| bytes.parse::<f64>().unwrap() > 500.0)
        });
    };
    check(&ferula);
    let metrics = ferula.get("/metrics").text();
    assert!(
        metrics.contains("\nferula_remote_write_histograms_total 3\n"),
        "{metrics}"
    );
    ferula.kill();
    let ferula = Ferula::start(directory.path(), &[]);
    check(&ferula);
    // What is stored counts after the restart: the same again is no error, another value at its time is one.
    let answer = ferula.post("/api/v1/write", V1, &v1(b"first", &histogram(3, 3, now)));
    assert_eq!(answer.status, 204);
    let answer = ferula.post("/api/v1/write", V1, &v1(b"first", &histogram(4, 4, now)));
    assert_eq!(answer.text(), "duplicate sample for timestamp\n");
    assert_eq!(ferula.terminate(), Some(0));
}
