//! What a query may use of the server: time, memory, and whether anybody still waits for it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::Ferula;

/// Works for minutes, needs no data.
const ENDLESS: &str = "max_over_time(max_over_time(max_over_time(vector(1)[8w:1m])[8w:1m])[8w:1m])";
/// From being told to being over; what the process beside it may take is in it.
const SOON: Duration = Duration::from_millis(50);
/// Attempts on a machine that has other work.
const ATTEMPTS: usize = 20;

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn gauge(server: &Ferula, name: &str) -> f64 {
    let page = server.get("/metrics").text();
    let line = page
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{name} ")));
    line.unwrap().parse().unwrap()
}

fn at_rest(server: &Ferula) -> bool {
    gauge(server, "prometheus_engine_queries") == 0.0
        && gauge(server, "ferula_query_memory_bytes") == 0.0
}

#[test]
fn a_query_ends_with_its_time_and_with_its_client() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &["--web.workers=1"]);
    let path = format!("/api/v1/query?query={}", encoded(ENDLESS));

    let limit = Duration::from_millis(300);
    let mut late = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let began = Instant::now();
        let answer = server.get(&format!("{path}&timeout=300ms"));
        late = late.min(began.elapsed().saturating_sub(limit));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["errorType"], "timeout");
        assert_eq!(
            answer.json()["error"],
            "query timed out in expression evaluation"
        );
        if late < SOON {
            break;
        }
    }
    assert!(late < SOON, "{late:?} after the time limit");
    server.eventually("all given back", at_rest);

    let mut late = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let mut client = TcpStream::connect(&server.address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        // The only worker goes on serving others meanwhile.
        server.eventually("it runs", |s| gauge(s, "ferula_query_memory_bytes") > 0.0);
        drop(client);
        let gone = Instant::now();
        server.eventually("it stops", at_rest);
        late = late.min(gone.elapsed());
        if late < SOON {
            break;
        }
    }
    assert!(late < SOON, "{late:?} after the client went away");
}

#[test]
fn memory_of_one_query_and_of_all_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--query.max-memory=3MB", "--query.max-memory-per-query=2MB"];
    let server = Ferula::start(directory.path(), &flags);
    let wide = encoded("vector(1) + vector(time())");
    let path = format!("/api/v1/query_range?query={wide}&start=0&end=10000&step=1");
    let answer = server.get(&path);
    assert_eq!(answer.status, 200);
    let narrow = encoded("sum_over_time(vector(1)[100d:10s])");
    let answer = server.get(&format!("/api/v1/query?query={narrow}"));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["errorType"], "execution");
    assert_eq!(
        answer.json()["error"],
        "query processing would load too many bytes into memory in query execution: the limit of one query is 2097152 bytes"
    );
    assert_eq!(
        gauge(&server, "ferula_query_memory_max_bytes"),
        f64::from(3 << 20)
    );
    server.eventually("all given back", at_rest);
}
