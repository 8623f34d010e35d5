//! `/federate` and remote read of the real binary.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{Ferula, V1, now_ms, proto};

fn write(server: &Ferula, name: &str, job: &str, samples: &[(f64, i64)]) {
    let labels: &[(&[u8], &[u8])] = &[(b"__name__", name.as_bytes()), (b"job", job.as_bytes())];
    let body = proto::snappy(&proto::series_v1(labels, samples));
    let answer = server.post("/api/v1/write", V1, &body);
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn start(directory: &std::path::Path, flags: &[&str]) -> Ferula {
    let config = "global:\n  external_labels: {region: eu}\n";
    std::fs::write(directory.join("f.yml"), config).unwrap();
    let mut all = vec!["--config.file=f.yml"];
    all.extend(flags);
    Ferula::start(directory, &all)
}

#[test]
fn the_newest_samples_with_external_labels() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[]);
    let now = now_ms();
    write(
        &server,
        "b",
        "x",
        &[(1.0, now - 20_000), (2.0, now - 10_000)],
    );
    write(&server, "a", "y", &[(7.5, now - 5_000)]);
    write(&server, "old", "y", &[(7.5, now - 400_000)]);
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    write(
        &server,
        "gone",
        "y",
        &[(1.0, now - 20_000), (stale, now - 10_000)],
    );
    let page = server.get("/federate?match[]=%7Bjob=~%22x%7Cy%22%7D&match[]=a");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
    );
    let expected = format!(
        "# TYPE a untyped\na{{job=\"y\",instance=\"\",region=\"eu\"}} 7.5 {}\n# TYPE b untyped\nb{{job=\"x\",instance=\"\",region=\"eu\"}} 2 {}\n",
        now - 5_000,
        now - 10_000
    );
    assert_eq!(page.text(), expected);
    assert_eq!(server.get("/federate").text(), "");
    let bad = server.get("/federate?match[]=up%7B");
    assert_eq!(
        (bad.status, bad.text().as_str()),
        (
            400,
            "1:4: parse error: unexpected end of input inside braces\n"
        )
    );
    assert_eq!(server.post("/federate", "", b"").status, 405);
}

/// A `ReadRequest` for one metric and a range.
fn read_request(name: &str, region: &str, range: (i64, i64), kind: u64) -> Vec<u8> {
    let mut query = vec![0x08];
    proto::varint(&mut query, range.0 as u64);
    query.push(0x10);
    proto::varint(&mut query, range.1 as u64);
    for (label, value) in [("__name__", name), ("region", region)] {
        let mut matcher = Vec::new();
        proto::bytes(&mut matcher, 2, label.as_bytes());
        proto::bytes(&mut matcher, 3, value.as_bytes());
        proto::bytes(&mut query, 3, &matcher);
    }
    let mut request = Vec::new();
    proto::bytes(&mut request, 1, &query);
    request.extend([0x10, kind as u8]);
    proto::snappy(&request)
}

#[test]
fn samples_and_frames_of_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--storage.remote.read-sample-limit=500",
        "--storage.remote.read-max-bytes-in-frame=200",
    ];
    let server = start(directory.path(), &flags);
    let now = now_ms();
    let samples: Vec<(f64, i64)> = (0..400)
        .map(|i| (f64::from(i), now - 400_000 + i64::from(i) * 1000))
        .collect();
    write(&server, "m", "x", &samples);
    let read = |name: &str, region: &str, kind| {
        let request = read_request(name, region, (now - 300_500, now), kind);
        server.post(
            "/api/v1/read",
            "content-type: application/x-protobuf\r\n",
            &request,
        )
    };
    let answer = read("m", "eu", 0);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    assert_eq!(answer.header("content-encoding"), Some("snappy"));
    let plain = snap::raw::Decoder::new()
        .decompress_vec(&answer.body)
        .unwrap();
    // Each sample is a field of 18 bytes: a double and a time of six bytes.
    let count = plain
        .windows(3)
        .filter(|w| *w == [0x12, 0x10, 0x09])
        .count();
    assert_eq!(count, 300);
    assert!(plain.windows(6).any(|w| w == b"region"));
    // Another region's series are not here.
    let other = read("m", "us", 0);
    let plain = snap::raw::Decoder::new()
        .decompress_vec(&other.body)
        .unwrap();
    assert_eq!(plain, [0x0a, 0]);

    let frames = read("m", "eu", 1);
    assert_eq!(
        frames.header("content-type"),
        Some("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
    );
    assert!(frames.header("transfer-encoding").is_some());
    let unknown = read("m", "eu", 7);
    assert_eq!(unknown.status, 400);
    assert!(
        unknown
            .text()
            .contains("does not support any of the requested response types")
    );
    write(&server, "n", "x", &samples);
    write(&server, "n", "y", &samples);
    let many = read("n", "eu", 0);
    assert_eq!(
        (many.status, many.text().as_str()),
        (400, "exceeded sample limit (500)\n")
    );
    assert_eq!(server.post("/api/v1/read", "", b"nonsense").status, 400);
}
