//! JSON lines out of a server and into another.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use support::{Ferula, now_ms};

#[test]
fn what_is_exported_can_be_imported() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let now = now_ms();
    let line = format!(
        "{{\"metric\":{{\"__name__\":\"x\",\"a\":\"b\"}},\"values\":[1,2.5,null,\"Infinity\"],\"timestamps\":[{},{},{},{now}]}}\n",
        now - 3000,
        now - 2000,
        now - 1000
    );
    let other =
        format!("{{\"metric\":{{\"__name__\":\"y\"}},\"values\":[7],\"timestamps\":[{now}]}}\n");
    let body = format!("{line}not json\n{other}");
    let answer = server.post("/api/v1/import", "", body.as_bytes());
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        error.starts_with("partial write: unable to parse \"not json\""),
        "{error}"
    );
    let exported = server.get("/api/v1/export?match[]=x&match[]=y").text();
    assert_eq!(exported, format!("{line}{other}"));

    let second = tempfile::tempdir().unwrap();
    let copy = Ferula::start(second.path(), &[]);
    let answer = copy.post("/api/v1/import", "", exported.as_bytes());
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    assert_eq!(
        copy.get("/api/v1/export?match[]=%7B__name__%3D~%22x%7Cy%22%7D")
            .text(),
        exported
    );
    let (start, end) = ((now - 2000) as f64 / 1000.0, (now - 1000) as f64 / 1000.0);
    let part = copy.get(&format!("/api/v1/export?match[]=x&start={start}&end={end}"));
    assert!(
        part.text().contains("\"values\":[2.5,null]"),
        "{}",
        part.text()
    );
    assert_eq!(copy.get("/api/v1/export").status, 400);
}
