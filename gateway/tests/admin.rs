//! The administration of stored data in a real process: deletions, snapshots, the list of blocks, retention; and that none of it is
//! there unless asked for. Codes and texts are those of a real Prometheus.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::proto::{series_v1, snappy};
use support::{Ferula, V1, now_ms};

const CONFIG: &str = "global: {}\n";
const DELETE: &str = "/api/v1/admin/tsdb/delete_series";
const CLEAN: &str = "/api/v1/admin/tsdb/clean_tombstones";
const SNAPSHOT: &str = "/api/v1/admin/tsdb/snapshot";

fn server(directory: &Path, flags: &[&str]) -> Ferula {
    std::fs::write(directory.join("prometheus.yml"), CONFIG).unwrap();
    Ferula::start(directory, flags)
}

/// Writes one sample to each of the series `name{i="0"}` to `name{i="9"}`.
fn write(ferula: &Ferula, name: &str, value: f64, at: i64) {
    let mut body = Vec::new();
    for i in 0..10 {
        let i = i.to_string();
        let labels: [(&[u8], &[u8]); 2] = [(b"__name__", name.as_bytes()), (b"i", i.as_bytes())];
        body.extend(series_v1(&labels, &[(value, at)]));
    }
    let answer = ferula.post("/api/v1/write", V1, &snappy(&body));
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}

fn count(ferula: &Ferula, query: &str) -> u64 {
    let result = ferula.query(query);
    let count = result[0]["value"][1].as_str().unwrap_or("0");
    count.parse().unwrap()
}

/// The status, the type and the text of an error.
fn refusal(ferula: &Ferula, path: &str) -> (u16, Value, Value) {
    let answer = ferula.post(path, "", b"");
    let body = answer.json();
    (
        answer.status,
        body["errorType"].clone(),
        body["error"].clone(),
    )
}

#[test]
fn it_is_off_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path(), &[]);
    for path in [DELETE, CLEAN, SNAPSHOT] {
        let wanted = (500, json!("unavailable"), json!("admin APIs disabled"));
        assert_eq!(refusal(&ferula, path), wanted, "{path}");
        assert_eq!(ferula.get(path).status, 405, "{path}");
    }
    assert!(!directory.path().join("data/snapshots").exists());
}

#[test]
fn bad_requests_are_refused_in_prometheuss_words() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = server(directory.path(), &["--web.enable-admin-api"]);
    let bad = |text: &str| (400, json!("bad_data"), json!(text));
    for (path, text) in [
        (DELETE.to_owned(), "no match[] parameter provided"),
        (
            format!("{DELETE}?match[]=up&start=x"),
            "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
        ),
        (
            format!("{SNAPSHOT}?skip_head=maybe"),
            "invalid parameter \"skip_head\": unable to parse boolean: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
    ] {
        assert_eq!(refusal(&ferula, &path), bad(text), "{path}");
    }
    let (status, kind, text) = refusal(&ferula, &format!("{DELETE}?match[]=up%7B"));
    assert_eq!((status, kind), (400, json!("bad_data")));
    let text = text.as_str().unwrap();
    assert!(
        text.starts_with("invalid parameter \"match[]\": "),
        "{text}"
    );
    // A selector that matches the empty string, and an empty range, are fine here.
    for path in ["?match[]=%7Ba=%22%22%7D", "?match[]=up&start=10&end=5"] {
        let answer = ferula.post(&format!("{DELETE}{path}"), "", b"");
        assert_eq!(
            (answer.status, answer.text()),
            (204, String::new()),
            "{path}"
        );
    }
}

#[test]
fn deletions_and_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--web.enable-admin-api"];
    let ferula = server(directory.path(), &flags);
    let now = now_ms();
    for back in [2, 1, 0] {
        write(&ferula, "kept", 1.0, now - back);
        write(&ferula, "gone", 2.0, now - back);
    }
    let all =
        |ferula: &Ferula, name: &str| count(ferula, &format!("sum(count_over_time({name}[1h]))"));
    assert_eq!((all(&ferula, "kept"), all(&ferula, "gone")), (30, 30));

    let answer = ferula.post(SNAPSHOT, "", b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let name = answer.json()["data"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name.len(), "20261121T152211Z-6497d8d8429b7cfb".len());
    let answer = ferula.post(&format!("{SNAPSHOT}?skip_head=true"), "", b"");
    let without_head = answer.json()["data"]["name"].as_str().unwrap().to_owned();

    // One series, one moment of another, then the rest in a body.
    let path = format!("{DELETE}?match[]=gone%7Bi=%220%22%7D");
    assert_eq!(ferula.post(&path, "", b"").status, 204);
    assert_eq!(all(&ferula, "gone"), 27);
    let at = format!("{}.{:03}", (now - 1) / 1000, (now - 1) % 1000);
    let path = format!("{DELETE}?match[]=gone%7Bi=%221%22%7D&start={at}&end={at}");
    assert_eq!(ferula.post(&path, "", b"").status, 204);
    assert_eq!(all(&ferula, "gone"), 26);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let body = b"match[]=gone%7Bi=~%22[5-9]%22%7D&match[]=nothing";
    assert_eq!(ferula.post(DELETE, form, body).status, 204);
    assert_eq!((all(&ferula, "kept"), all(&ferula, "gone")), (30, 11));
    assert_eq!(ferula.post(CLEAN, "", b"").status, 204);
    assert_eq!(all(&ferula, "gone"), 11);
    ferula.kill();

    let ferula = server(directory.path(), &flags);
    assert_eq!(
        (all(&ferula, "kept"), all(&ferula, "gone")),
        (30, 11),
        "after a kill"
    );
    drop(ferula);

    let of_snapshot = |name: &str| format!("--storage.tsdb.path=data/snapshots/{name}");
    let ferula = server(directory.path(), &[&of_snapshot(&name)]);
    assert_eq!(
        (all(&ferula, "kept"), all(&ferula, "gone")),
        (30, 30),
        "the snapshot"
    );
    let blocks = ferula.get("/api/v1/status/tsdb/blocks").json();
    let blocks = blocks["data"]["blocks"].as_array().unwrap();
    let samples: u64 = blocks
        .iter()
        .map(|b| b["stats"]["numSamples"].as_u64().unwrap())
        .sum();
    assert_eq!(samples, 60);
    for block in blocks {
        assert_eq!(block["compaction"]["level"], 1);
        assert_eq!(block["compaction"]["sources"], json!([block["ulid"]]));
        assert!(block["minTime"].as_i64().unwrap() >= now - 2);
        assert_eq!(block["maxTime"], now + 1, "exclusive");
    }
    drop(ferula);
    let ferula = server(directory.path(), &[&of_snapshot(&without_head)]);
    assert_eq!(all(&ferula, "kept"), 0, "nothing was in blocks");
}

#[test]
fn retention_follows_flags_and_file() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--storage.tsdb.retention.size=1GB",
        "--web.enable-lifecycle",
    ];
    let ferula = server(directory.path(), &flags);
    let shown = |ferula: &Ferula| {
        let info = ferula.get("/api/v1/status/runtimeinfo").json();
        info["data"]["storageRetention"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let metric = |ferula: &Ferula, name: &str| {
        let page = ferula.get("/metrics").text();
        let line = page
            .lines()
            .find(|l| l.starts_with(&format!("{name} ")))
            .unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(shown(&ferula), "1GiB");
    assert_eq!(
        metric(&ferula, "prometheus_tsdb_retention_limit_bytes"),
        "1073741824"
    );
    assert_eq!(
        metric(&ferula, "prometheus_tsdb_retention_limit_seconds"),
        "0"
    );
    assert_eq!(metric(&ferula, "prometheus_tsdb_blocks_loaded"), "0");
    let reload = |text: &str| {
        std::fs::write(directory.path().join("prometheus.yml"), text).unwrap();
        ferula.post("/-/reload", "", b"").status
    };
    assert_eq!(
        reload("storage: {tsdb: {retention: {time: 30d, percentage: 12.5}}}\n"),
        200
    );
    assert_eq!(shown(&ferula), "30d or 1GiB or 12.5%");
    assert_eq!(
        metric(&ferula, "prometheus_tsdb_retention_limit_seconds"),
        "2592000"
    );
    assert_eq!(
        metric(&ferula, "prometheus_tsdb_retention_limit_percentage"),
        "12.5"
    );
    assert_eq!(
        reload("storage: {tsdb: {retention: {percentage: 101}}}\n"),
        500
    );
    assert_eq!(shown(&ferula), "30d or 1GiB or 12.5%", "the old one stays");
    assert_eq!(reload(CONFIG), 200);
    assert_eq!(shown(&ferula), "1GiB");
    drop(ferula);
    let ferula = server(directory.path(), &[]);
    assert_eq!(shown(&ferula), "15d");
}
