//! `ferula tsdb` on small data directories: what a server stored is what the commands print, in promtool's shapes; the exit codes; and the
//! way to Prometheus's format and back.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::proto::{series_v1, snappy};
use support::{Ferula, V1};

/// Multiples of two hours, so that blocks can be told.
const START: i64 = 1_700_006_400_000;
const HOUR: i64 = 3_600_000;

/// Exit code, standard output, standard error.
fn tsdb(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .arg("tsdb")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// What a command prints that has to succeed.
fn said(arguments: &[&str]) -> String {
    let (code, out, err) = tsdb(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// Series `a` and `b` of three hours, one of them with values that are hard to print, and a late sample.
fn write(ferula: &Ferula) {
    let odd = [
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0002),
        -0.0,
        f64::INFINITY,
        1e21,
    ];
    let mut body = Vec::new();
    for step in 0..18 {
        let t = START + step * HOUR / 6;
        let a: [(&[u8], &[u8]); 2] = [(b"__name__", b"a"), (b"job", b"x \"y\" \\z")];
        body.extend(series_v1(&a, &[(odd[step as usize % 5], t)]));
        body.extend(series_v1(&[(b"__name__", b"b")], &[(step as f64, t)]));
    }
    let answer = ferula.post("/api/v1/write", V1, &snappy(&body));
    assert_eq!(answer.status, 204, "{}", answer.text());
    let late = series_v1(&[(b"__name__", b"b")], &[(0.5, START + 60_000)]);
    let answer = ferula.post("/api/v1/write", V1, &snappy(&late));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// A data directory with these samples that no server runs on.
fn data_directory(directory: &Path) -> PathBuf {
    let config = "storage:\n  tsdb:\n    out_of_order_time_window: 1d\n";
    std::fs::write(directory.join("prometheus.yml"), config).unwrap();
    let ferula = Ferula::start(directory, &[]);
    write(&ferula);
    let data = directory.join("data");
    let text = data.to_str().unwrap();
    let (code, out, err) = tsdb(&["dump", text]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("a server runs on this directory"), "{err}");
    assert!(said(&["list", text]).starts_with("BLOCK ULID"));
    assert_eq!(ferula.terminate(), Some(0));
    data
}

#[test]
fn what_is_stored_is_printed_and_goes_to_prometheus_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = data_directory(directory.path());
    let data = data.to_str().unwrap();
    let dump = said(&["dump", data]);
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), 37);
    let t = |step: i64| START + step * HOUR / 6;
    let a = r#"{__name__="a", job="x \"y\" \\z"}"#;
    for (step, value) in [(0, "NaN"), (1, "NaN"), (2, "-0"), (3, "+Inf"), (4, "1e+21")] {
        assert_eq!(lines[step], format!("{a} {value} {}", t(step as i64)));
    }
    assert_eq!(lines[18], format!("{{__name__=\"b\"}} 0 {}", t(0)));
    let late = format!("{{__name__=\"b\"}} 0.5 {}", START + 60_000);
    assert_eq!(lines[19], late);
    let narrow = [
        "dump",
        "--match=b",
        &format!("--min-time={}", START + 1),
        &format!("--max-time={}", START + 60_000),
        data,
    ];
    assert_eq!(said(&narrow), format!("{late}\n"));
    assert_eq!(
        said(&["dump", "--format=seriesjson", data]),
        "{\"__name__\":\"a\",\"job\":\"x \\\"y\\\" \\\\z\"}\n{\"__name__\":\"b\"}\n"
    );
    let open = said(&["dump-openmetrics", "--match={__name__=~'a|b'}", data]);
    // Four staleness markers fewer, and the end.
    assert_eq!(open.lines().count(), 37 - 4 + 1);
    assert!(open.starts_with("a{job=\"x \\\"y\\\" \\\\z\"} NaN 1700006400.000\n"));
    assert!(open.ends_with("\n# EOF\n"));

    let blocks = directory.path().join("blocks");
    let blocks = blocks.to_str().unwrap();
    let exported = said(&["export-prometheus-block", blocks, data]);
    assert!(exported.contains("2 blocks, 37 samples"), "{exported}");
    assert_eq!(said(&["dump", blocks]), dump);
    let listed = said(&["list", blocks]);
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][1], START.to_string());
    // Time, duration, samples, chunks, series.
    assert_eq!(rows[0][3..7], ["1h50m0.001s", "25", "2", "2"]);
    assert!(said(&["list", "-r", blocks]).contains("2023-11-15 00:00:00 +0000 UTC"));
    let analysis = said(&["analyze", blocks, rows[0][0]]);
    let wanted = format!(
        "Block ID: {}\nDuration: 1h50m0.001s\nTotal Series: 2\nLabel names: 2\nPostings (unique label pairs): 3\n\
         Postings entries (total label pairs): 3\n\nLabel pairs most involved in churning:\n",
        rows[0][0]
    );
    assert!(analysis.starts_with(&wanted), "{analysis}");
    let matched = said(&["analyze", "--match=a{job=~'x.*'}", blocks]);
    assert!(
        matched.contains("\nMatcher: [job=~\"x.*\" __name__=\"a\"]\n"),
        "{matched}"
    );
    assert!(matched.contains("\nMatched series: 1\n"), "{matched}");
    assert!(said(&["verify", blocks]).ends_with("2 series, 37 samples read\n"));

    let back = directory.path().join("back");
    let back = back.to_str().unwrap();
    let imported = said(&["import", blocks, back, "--shards=3"]);
    assert!(imported.starts_with("imported 2 and skipped 0 of 2: 37 samples"));
    assert_eq!(said(&["dump", back]), dump);
    let again = said(&["import", blocks, back]);
    assert!(
        again.starts_with("imported 0 and skipped 2 of 2"),
        "{again}"
    );
    let verified = said(&["verify", back]);
    assert!(verified.contains("2 of 2 blocks are sound"), "{verified}");
    let listed = said(&["list", back]);
    assert_eq!(listed.lines().count(), 3);
    assert!(
        listed
            .lines()
            .all(|line| line.split_whitespace().count() >= 9)
    );
    let id = listed.lines().nth(1).unwrap();
    let id = id.split_whitespace().next().unwrap();
    assert!(said(&["analyze", back, id]).starts_with(&format!("Block ID: {id}\n")));
    let one = directory.path().join("one");
    let one = one.to_str().unwrap();
    let exported = said(&["export-prometheus-block", "--block", id, one, back]);
    assert!(exported.contains("1 blocks, "), "{exported}");

    // Narrow ranges: each block by itself, in a form that a second look leaves alone. Wide ones: all of a shard.
    let compacted = said(&["compact", "--block-duration=2h", back]);
    assert!(compacted.starts_with("2 blocks became 2, "), "{compacted}");
    let again = said(&["compact", "--block-duration=2h", back]);
    assert!(again.starts_with("0 blocks became 0, "), "{again}");
    let wide = said(&["compact", back]);
    assert!(wide.starts_with("2 blocks became 1, "), "{wide}");
    assert_eq!(said(&["dump", back]), dump);
    let verified = said(&["verify", back]);
    assert!(verified.contains("1 of 1 blocks are sound"), "{verified}");
}

#[test]
fn damage_is_said_and_the_rest_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = data_directory(directory.path());
    let data = data.to_str().unwrap();
    let blocks = directory.path().join("blocks");
    let blocks = blocks.to_str().unwrap();
    said(&["export-prometheus-block", blocks, data]);
    let back = directory.path().join("back");
    let text = back.to_str().unwrap();
    said(&["import", blocks, text, "--shards=1"]);
    let stored = back.join("shard-000/blocks");
    let listed = said(&["list", text]);
    let first: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(first[4], "25", "samples of the older block");
    let path = stored.join(format!("{}.block", first[0]));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, err) = tsdb(&["verify", text]);
    assert_eq!(code, Some(1));
    assert!(out.contains("1 of 2 blocks are sound"), "{out}");
    assert!(err.contains("damaged: "), "{err}");
    let (code, out, err) = tsdb(&["dump", text]);
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(out.lines().count(), 12, "the other block");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "left where it was");
}

#[test]
fn mistakes_are_refused_with_promtool_s_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().to_str().unwrap();
    for (arguments, code, wanted) in [
        (&["dump", "/nowhere/at/all"][..], 1, "No such file"),
        (&["dump", empty], 1, "neither blocks nor a write-ahead log"),
        (&["analyze", empty], 1, "not found"),
        (
            &["export-prometheus-block", empty, empty],
            1,
            "not a data directory",
        ),
        (&["dump", "--match={", empty], 1, "{"),
        (&["dump", "--min-time=soon", empty], 1, "not a whole number"),
        (&["dump", "--format=xml", empty], 2, "xml"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["import"], 2, "prometheus path"),
    ] {
        let (got, out, err) = tsdb(arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {out}{err}");
        assert!(err.contains(wanted), "{arguments:?}: {err}");
    }
    assert!(said(&["--help"]).contains("export-prometheus-block"));
    assert_eq!(said(&["list", empty]).lines().count(), 1);
    assert_eq!(std::fs::read_dir(empty).unwrap().count(), 0);
}
