//! Scraping by a real process: itself, and targets that mean harm.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use support::Ferula;

/// A target that answers every connection with what `answer` writes; the thread ends with the process.
fn target(
    answer: impl Fn(&mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut request = [0u8; 4096];
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.read(&mut request);
                let _ = answer(&mut stream);
            });
        }
    });
    address
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";

#[test]
fn scrapes_itself_without_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let ferula = Ferula::start(directory.path(), &[]);
    ferula.eventually("up for itself", |f| {
        let result = f.query("up");
        result.as_array().is_some_and(|r| r.len() == 1) && result[0]["value"][1] == "1"
    });
    for name in [
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "process_cpu_seconds_total",
    ] {
        assert_eq!(ferula.query(name).as_array().unwrap().len(), 1, "{name}");
    }
    let targets = ferula.get("/api/v1/targets").json();
    let active = &targets["data"]["activeTargets"][0];
    assert_eq!(active["health"], "up", "{targets}");
    assert_eq!(active["lastError"], "");
    assert!(active["scrapeUrl"].as_str().unwrap().ends_with("/metrics"));
    assert!(active["discoveredLabels"]["__address__"].is_string());
    let metadata = ferula
        .get("/api/v1/metadata?metric=process_cpu_seconds_total")
        .json();
    assert_eq!(
        metadata["data"]["process_cpu_seconds_total"][0]["type"],
        "counter"
    );
}

#[test]
fn bad_targets_fail_alone() {
    let good = target(|w| {
        let page = "# TYPE fine gauge\nfine{le=\"1\"} 42\n";
        write!(w, "{HEAD}content-length: {}\r\n\r\n{page}", page.len())
    });
    let binary = target(|w| {
        write!(w, "{HEAD}content-length: 512\r\n\r\n")?;
        w.write_all(
            &(0..512)
                .map(|i| ((i * 7 + 0x89) % 256) as u8)
                .collect::<Vec<_>>(),
        )
    });
    let endless = target(|w| {
        write!(w, "{HEAD}\r\n")?;
        loop {
            w.write_all(b"drip 1\n")?;
            w.flush()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let five_gigabytes = target(|w| {
        write!(w, "{HEAD}content-length: 5368709120\r\n\r\n")?;
        let page = b"flood_total 1\n".repeat(4096);
        loop {
            w.write_all(&page)?;
        }
    });
    let undeclared_flood = target(|w| {
        write!(w, "{HEAD}\r\n")?;
        let page = b"flood_total 1\n".repeat(4096);
        loop {
            w.write_all(&page)?;
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: mixed\n  static_configs:\n  - targets: ['{good}', '{binary}', '{endless}', '{five_gigabytes}', '{undeclared_flood}']\n"
    );
    std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
    let ferula = Ferula::start(directory.path(), &[]);
    ferula.eventually("five targets with a verdict", |f| {
        f.query("up").as_array().is_some_and(|r| r.len() == 5)
    });
    let up = |address: &str| {
        ferula.query(&format!("up{{instance=\"{address}\"}}"))[0]["value"][1].clone()
    };
    assert_eq!(up(&good), "1");
    for bad in [&binary, &endless, &five_gigabytes, &undeclared_flood] {
        let state = ferula.get("/api/v1/targets").text();
        assert_eq!(up(bad), "0", "{bad} in {state}");
    }
    assert_eq!(ferula.query("fine{le=\"1\"}")[0]["value"][1], "42");
    let stored = ferula.query("{__name__=~\"drip|flood_total\"}");
    assert_eq!(
        stored,
        serde_json::json!([]),
        "a failed scrape stores nothing but its report"
    );
    let resident = std::fs::read_to_string(format!("/proc/{}/status", ferula.id())).unwrap();
    let resident = resident
        .lines()
        .find(|l| l.starts_with("VmRSS"))
        .unwrap()
        .to_owned();
    let kib: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 1 << 20, "the flood must not be kept: {resident}");
}

#[test]
fn a_vanished_series_goes_stale_and_a_dead_target_too() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static SCRAPES: AtomicUsize = AtomicUsize::new(0);
    let address = target(|w| {
        let n = SCRAPES.fetch_add(1, Ordering::SeqCst);
        let page = match n {
            0..2 => "stays 1\nleaves 2\n",
            2..4 => "stays 1\n",
            _ => return write!(w, "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
        };
        write!(w, "{HEAD}content-length: {}\r\n\r\n{page}", page.len())
    });
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: j\n  static_configs:\n  - targets: ['{address}']\n"
    );
    std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
    let ferula = Ferula::start(directory.path(), &[]);
    let count = |f: &Ferula, query: &str| f.query(query).as_array().map_or(0, Vec::len);
    ferula.eventually("both series", |f| {
        count(f, "stays") == 1 && count(f, "leaves") == 1
    });
    ferula.eventually("one is gone", |f| {
        count(f, "leaves") == 0 && count(f, "stays") == 1
    });
    ferula.eventually("the target failed", |f| {
        count(f, "stays") == 0 && count(f, "up == 0") == 1
    });
    // The samples of a scrape are stored before its status is shown.
    ferula.eventually("the reason", |f| {
        let targets = f.get("/api/v1/targets").json();
        targets["data"]["activeTargets"][0]["lastError"] == "server returned HTTP status 500 Oops"
    });
}
