//! Range queries that are asked again: answered from what is kept, and rightly when samples have come meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use support::{Ferula, now_ms};

fn counter(server: &Ferula, found: &str) -> f64 {
    let page = server.get("/metrics").text();
    let name = format!("ferula_query_cache_requests_total{{found=\"{found}\"}} ");
    let line = page.lines().find_map(|l| l.strip_prefix(&name)).unwrap();
    line.parse().unwrap()
}

#[test]
fn what_is_asked_again_is_not_computed_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let start = now_ms() / 15_000 * 15_000 - 900_000;
    let write = |minute: i64| {
        let line = format!("x,host=a v={minute} {}\n", start + minute * 60_000);
        let answer = server.post("/write?precision=ms", "", line.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    (0..10).for_each(write);
    let ask = |extra: &str| {
        let (from, to) = (start / 1000, start / 1000 + 840);
        let path = format!("/api/v1/query_range?query=sum(x_v)&start={from}&end={to}&step=15");
        let answer = server.get(&format!("{path}{extra}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let first = ask("");
    assert_eq!(counter(&server, "none"), 1.0);
    assert_eq!(ask(""), first);
    assert_eq!(ask("&nocache=1"), first);
    assert_eq!(
        (counter(&server, "all"), counter(&server, "none")),
        (1.0, 1.0)
    );
    // A sample where the answer had only what was before it: the steps from there on are computed again.
    std::thread::sleep(std::time::Duration::from_millis(600));
    write(11);
    let later = ask("");
    assert_ne!(later, first);
    assert_eq!(later, ask("&nocache=1"));
    assert_eq!(
        (counter(&server, "part"), counter(&server, "none")),
        (1.0, 1.0)
    );
}
