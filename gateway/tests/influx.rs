//! InfluxDB's line protocol into the running server.

mod support;

use support::{Answer, Ferula, now_ms};

/// The text of an error.
fn error(answer: &Answer) -> String {
    answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn lines_are_stored_and_bad_ones_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let now = now_ms();
    let lines = format!(
        "cpu,host=a usage=1.5,cores=4i,name=\"x\" {now}\ncpu,host=b usage=2 {now}\nup ok=t\n"
    );
    let answer = server.post("/write?precision=ms&db=d", "", lines.as_bytes());
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    let found = server.query("{__name__=~\"cpu_.*\"}");
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
            r#"{"__name__":"cpu_cores","db":"d","host":"a"} "4""#,
            r#"{"__name__":"cpu_usage","db":"d","host":"a"} "1.5""#,
            r#"{"__name__":"cpu_usage","db":"d","host":"b"} "2""#,
        ]
    );
    assert_eq!(server.query("up_ok")[0]["value"][1], "1");

    // What can be stored is; the rest is told.
    let later = now + 1;
    let lines = format!("cpu,host=a usage=3 {later}\ncpu,host=a usage=x {later}\n");
    let answer = server.post("/write?precision=ms&db=d", "", lines.as_bytes());
    assert_eq!(answer.status, 400);
    let text = error(&answer);
    assert!(text.starts_with("partial write: unable to parse"), "{text}");
    assert!(
        text.ends_with("invalid field value \"x\" dropped=1"),
        "{text}"
    );
    assert_eq!(server.query("cpu_usage{host=\"a\"}")[0]["value"][1], "3");

    let late = format!("cpu,host=a usage=9 {}\n", now - 1);
    let answer = server.post("/write?precision=ms&db=d", "", late.as_bytes());
    assert_eq!(answer.status, 400);
    assert!(error(&answer).contains("out of order"), "{}", answer.text());

    let answer = server.post("/write?precision=y", "", b"m v=1\n");
    assert_eq!(
        (answer.status, error(&answer)),
        (400, "invalid precision \"y\"".to_owned())
    );
    assert_eq!(server.post("/write", "", b"# nothing\n").status, 204);
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("ferula_rows_stored_total 5\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("ferula_rows_unreadable_total 1\n"),
        "{metrics}"
    );
}

#[test]
fn the_second_api_and_compression() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"m,zone=z v=7\n").unwrap();
    let packed = packed.finish().unwrap();
    let path = "/api/v2/write?org=o&bucket=b&precision=s";
    let answer = server.post(path, "content-encoding: gzip\r\n", &packed);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        server.query("m_v")[0]["metric"],
        serde_json::json!({"__name__": "m_v", "db": "b", "zone": "z"})
    );
    let answer = server.post(path, "", b"m v\n");
    assert_eq!(answer.status, 400);
    let json = answer.json();
    assert_eq!(json["code"], "invalid");
    assert!(
        json["message"]
            .as_str()
            .unwrap()
            .contains("missing field value"),
        "{json}"
    );
    server.kill();
    let server = Ferula::start(dir.path(), &["--no-web.enable-influx-receiver"]);
    assert_eq!(server.query("m_v")[0]["value"][1], "7");
    assert_eq!(server.post(path, "", b"m v=1\n").status, 404);
}
