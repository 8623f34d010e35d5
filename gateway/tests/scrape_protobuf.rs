//! Pages in protobuf, scraped by a real process: negotiation, native histograms, classic series beside them, exemplars, starts.
#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use support::proto::{bytes, varint};
use support::{Ferula, now_ms};

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(mut self, field: u8, body: &[u8]) -> Self {
        // Fields above 15 need two bytes of tag.
        if field < 16 {
            bytes(&mut self.0, field, body);
            return self;
        }
        varint(&mut self.0, u64::from(field) << 3 | 2);
        varint(&mut self.0, body.len() as u64);
        self.0.extend_from_slice(body);
        self
    }

    fn message(self, field: u8, message: Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn number(mut self, field: u8, value: u64) -> Self {
        varint(&mut self.0, u64::from(field) << 3);
        varint(&mut self.0, value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn label(self, name: &str, value: &str) -> Self {
        let pair = m().bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
        self.message(1, pair)
    }
}

fn m() -> Message {
    Message::default()
}

fn time(ms: i64) -> Message {
    m().number(1, (ms / 1000) as u64)
        .number(2, (ms % 1000) as u64 * 1_000_000)
}

fn delimited(family: Message) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, family.0.len() as u64);
    out.extend_from_slice(&family.0);
    out
}

/// A counter that began at `start`, and a histogram with native and classic buckets.
fn page(start: i64) -> Vec<u8> {
    let counter = m()
        .label("odd.name", "é")
        .message(3, m().double(1, 7.0).message(3, time(start)));
    let counters = m()
        .bytes(1, "jobs.done".as_bytes())
        .bytes(2, b"Jobs.")
        .number(3, 0)
        .message(4, counter);
    let exemplar = m()
        .label("trace_id", "t")
        .double(2, 0.75)
        .message(3, time(1_600_000_000_500));
    let bucket = |bound: f64, count: u64| m().number(1, count).double(2, bound);
    let histogram = m()
        .number(1, 3)
        .double(2, 2.5)
        .message(3, bucket(1.0, 2).message(3, exemplar))
        .message(3, bucket(f64::INFINITY, 3))
        .number(5, 0)
        .double(6, 0.001)
        .number(7, 0)
        // Buckets (0.5,1] and (1,2]: two and one.
        .message(12, m().number(1, 0).number(2, 2))
        .bytes(13, &[4, 1]);
    let histograms = m()
        .bytes(1, b"latency_seconds")
        .number(3, 4)
        .message(4, m().message(7, histogram));
    let mut out = delimited(counters);
    out.extend(delimited(histograms));
    out
}

/// Answers every request with the page; notes what was asked for.
fn serve(page: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            notes.lock().unwrap().push(text);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&page);
        }
    });
    (address, asked)
}

fn launch(directory: &std::path::Path, target: &str, job: &str, flags: &[&str]) -> Ferula {
    let config = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n{job}  static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(directory.join("prometheus.yml"), config).unwrap();
    Ferula::start(directory, flags)
}

fn start(directory: &std::path::Path, target: &str, job: &str, flags: &[&str]) -> Ferula {
    let ferula = launch(directory, target, job, flags);
    ferula.eventually("a scrape", |f| {
        f.query("up")[0]["value"][1].as_str() == Some("1")
    });
    ferula
}

const NATIVE: &str = "  scrape_native_histograms: true\n";
const NAMES: &str = "group by (__name__) ({job=\"j\",__name__!~\"up|scrape_.*\"})";

fn names(ferula: &Ferula) -> Vec<String> {
    let found = ferula.query(NAMES);
    let names = found.as_array().unwrap().iter();
    let mut names: Vec<String> = names
        .map(|row| row["metric"]["__name__"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn native_histograms_are_asked_for_and_stored() {
    let start_ms = now_ms() - 60_000;
    let (target, asked) = serve(page(start_ms));
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--enable-feature=exemplar-storage,created-timestamp-zero-ingestion"];
    let ferula = start(directory.path(), &target, NATIVE, &flags);
    let accept = "accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n";
    let request = asked.lock().unwrap()[0].to_ascii_lowercase();
    assert!(request.contains(&accept.to_ascii_lowercase()), "{request}");
    assert_eq!(names(&ferula), ["jobs.done", "latency_seconds"]);
    let counter = ferula.query("{\"jobs.done\",\"odd.name\"=\"é\"}");
    assert_eq!(counter[0]["value"][1], "7");
    let histogram = ferula.query("latency_seconds");
    assert_eq!(
        histogram[0]["histogram"][1],
        serde_json::json!({
            "count": "3",
            "sum": "2.5",
            "buckets": [[0, "0.5", "1", "2"], [0, "1", "2", "1"]],
        })
    );
    let exemplars = ferula
        .get("/api/v1/query_exemplars?query=latency_seconds")
        .json();
    assert_eq!(
        exemplars["data"][0]["exemplars"],
        serde_json::json!([{"labels": {"trace_id": "t"}, "value": "0.75", "timestamp": 1600000000.5}])
    );
    // The counter began with a zero at its start, once.
    let first = ferula.query("{\"jobs.done\"}[5m]");
    let values = first[0]["values"].as_array().unwrap();
    assert_eq!(values[0][1], "0");
    assert_eq!(values[0][0].as_f64(), Some(start_ms as f64 / 1000.0));
    assert!(values[1..].iter().all(|v| v[1] == "7"), "{values:?}");
    let metadata = ferula.get("/api/v1/metadata?metric=jobs.done").json();
    assert_eq!(
        metadata["data"]["jobs.done"],
        serde_json::json!([{"type": "counter", "help": "Jobs.", "unit": ""}])
    );
}

#[test]
fn classic_series_come_alone_or_beside() {
    let (target, _) = serve(page(1));
    let classic = [
        "jobs.done",
        "latency_seconds_bucket",
        "latency_seconds_count",
        "latency_seconds_sum",
    ];
    let directory = tempfile::tempdir().unwrap();
    // A target that answers in protobuf although nobody asked.
    let ferula = start(directory.path(), &target, "", &[]);
    assert_eq!(names(&ferula), classic);
    let buckets = ferula.query("sort(latency_seconds_bucket)");
    let shown: Vec<(&str, &str)> = buckets
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["metric"]["le"].as_str().unwrap(),
                row["value"][1].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("1.0", "2"), ("+Inf", "3")]);
    drop(ferula);
    let directory = tempfile::tempdir().unwrap();
    let both = format!("{NATIVE}  always_scrape_classic_histograms: true\n");
    let ferula = start(directory.path(), &target, &both, &[]);
    let mut all = classic.to_vec();
    all.insert(1, "latency_seconds");
    assert_eq!(names(&ferula), all);
}

#[test]
fn too_many_buckets_fail_the_scrape_when_they_cannot_be_made_fewer() {
    let (target, _) = serve(page(1));
    let directory = tempfile::tempdir().unwrap();
    // One is a bound in every schema, so that two buckets on its sides never become one.
    let limit = format!("{NATIVE}  native_histogram_bucket_limit: 1\n");
    let ferula = launch(directory.path(), &target, &limit, &[]);
    let error = |f: &Ferula| {
        let targets = f.get("/api/v1/targets").json();
        targets["data"]["activeTargets"][0]["lastError"].clone()
    };
    ferula.eventually("a failure", |f| {
        error(f) == "histogram bucket limit exceeded"
    });
    assert_eq!(ferula.query("up")[0]["value"][1], "0");
    assert_eq!(names(&ferula), Vec::<String>::new());
    let page = ferula.get("/metrics").text();
    let counter = "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total";
    let line = page.lines().find(|l| l.starts_with(counter)).unwrap();
    assert_ne!(line.rsplit(' ').next(), Some("0"));
}
