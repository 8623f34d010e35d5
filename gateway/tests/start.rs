//! The life of the process as a user and a service manager see it: exit codes, the first line, reloads, the end.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::Ferula;

fn run(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn questions_are_answered_without_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let version = run(dir.path(), &["--version"]);
    assert!(version.status.success());
    assert!(text(&version.stdout).starts_with("ferula, version 0."));
    let help = run(dir.path(), &["-h"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("--storage.tsdb.path"));
    let config = run(dir.path(), &["--print-default-config"]);
    assert!(config.status.success());
    assert!(text(&config.stdout).contains("job_name: prometheus"));
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for (args, want) in [
        (
            &["--foo"][..],
            "ferula: error: unknown long flag '--foo', try --help\n",
        ),
        (&["serve"], "ferula: error: unexpected serve, try --help\n"),
        (
            &["--log.level=loud"],
            "ferula: error: invalid value for flag '--log.level': enum value must be one of debug,info,warn,error, got 'loud', try --help\n",
        ),
    ] {
        let out = run(dir.path(), args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&out.stderr), want);
    }
    let agent = run(dir.path(), &["--storage.agent.path=x"]);
    assert_eq!(agent.status.code(), Some(3));
}

#[test]
fn a_wrong_configuration_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("bad.yml"),
        "global:\n  scrape_intervall: 5s\n",
    )
    .unwrap();
    let out = run(
        dir.path(),
        &["--config.file=bad.yml", "--web.listen-address=127.0.0.1:0"],
    );
    assert_eq!(out.status.code(), Some(1));
    let log = text(&out.stderr);
    assert!(
        log.contains("Error loading config (--config.file=bad.yml)"),
        "{log}"
    );
    assert!(
        log.contains("line 2, column 3: field scrape_intervall not found"),
        "{log}"
    );
    assert!(
        !dir.path().join("data").exists(),
        "the store was not touched"
    );

    let missing = run(
        dir.path(),
        &["--config.file=none.yml", "--web.listen-address=127.0.0.1:0"],
    );
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("no such file or directory"));
}

#[test]
fn warnings_are_said_once_at_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("prometheus.yml"),
        "rule_files: [a.yml]\nscrape_configs:\n- job_name: x\n  linode_sd_configs: [{}]\n",
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--storage.shards=1",
            "--web.console.templates=x",
        ])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    assert!(line.starts_with("Listening on 127.0.0.1:"), "{line}");
    let log = text(&out.stderr);
    for want in [
        "--web.console.templates is accepted for compatibility and has no effect",
        "linode_sd_configs (jobs: x)",
        "Server is ready to receive web requests.",
        "See you next time!",
    ] {
        assert_eq!(log.matches(want).count(), 1, "{want} in {log}");
    }
    for line in log.lines() {
        assert!(
            line.starts_with("time=2") && line.contains(" level="),
            "{line}"
        );
    }
}

#[test]
fn reload_by_signal_and_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    let job = |name: &str| format!("scrape_configs:\n- job_name: {name}\n");
    std::fs::write(&path, job("one")).unwrap();
    let server = Ferula::start(dir.path(), &["--web.enable-lifecycle"]);
    let has = |s: &Ferula, name: &str| {
        s.get("/api/v1/status/config")
            .text()
            .contains(&format!("job_name: {name}"))
    };
    let successful = |s: &Ferula, value: &str| {
        let page = s.get("/metrics").text();
        page.contains(&format!(
            "\nprometheus_config_last_reload_successful {value}\n"
        ))
    };
    assert!(has(&server, "one") && successful(&server, "1"));

    std::fs::write(&path, job("two")).unwrap();
    server.hang_up();
    server.eventually("the second configuration", |s| has(s, "two"));

    std::fs::write(&path, "scrape_configs:\n- job_nam: three\n").unwrap();
    let answer = server.post("/-/reload", "", b"");
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .text()
            .contains("line 2, column 3: field job_nam not found"),
        "{}",
        answer.text()
    );
    assert!(has(&server, "two") && successful(&server, "0"));

    std::fs::write(&path, job("four")).unwrap();
    assert_eq!(server.post("/-/reload", "", b"").status, 200);
    assert!(has(&server, "four") && successful(&server, "1"));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_changed_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    std::fs::write(&path, "scrape_configs:\n- job_name: one\n").unwrap();
    let server = Ferula::start(
        dir.path(),
        &["--config.auto-reload", "--config.auto-reload-interval=1s"],
    );
    std::fs::write(&path, "scrape_configs:\n- job_name: two\n").unwrap();
    server.eventually("the changed file", |s| {
        s.get("/api/v1/status/config")
            .text()
            .contains("job_name: two")
    });
}

#[test]
fn without_a_file_it_scrapes_itself() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let started = Instant::now();
    server.eventually("up", |s| {
        let result = s.query("up");
        result[0]["value"][1] == "1"
    });
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(server.post("/-/reload", "", b"").status, 403);
    assert_eq!(server.terminate(), Some(0));
}
