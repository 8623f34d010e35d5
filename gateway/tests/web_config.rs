//! `--web.config.file` against the real binary: TLS, client certificates, passwords, tokens, headers, HTTP/2, reloads.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use base64::Engine;
use std::path::Path;
use std::process::Command;
use support::tls::{Authority, Http, Pair, client, fetch, get, request};
use support::{Answer, Ferula};

const READER: &str = "reader-0123456789";
const PUSHER: &str = "pusher-0123456789";

fn basic(user: &str, password: &str) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    format!("Basic {}", engine.encode(format!("{user}:{password}")))
}

fn write(directory: &Path, text: &str) {
    std::fs::write(directory.join("web.yml"), text).unwrap();
}

fn start(directory: &Path, more: &[&str]) -> Ferula {
    let mut flags = vec!["--web.config.file=web.yml"];
    flags.extend(more);
    Ferula::start_unasked(directory, &flags)
}

fn tls_yaml() -> &'static str {
    "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
}

fn plain(server: &Ferula, request: http::Request<bytes::Bytes>) -> Answer {
    fetch(&server.address, None, Http::One, request).unwrap()
}

#[test]
fn tls_with_both_versions_of_http() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.server().write(directory.path(), "server");
    write(
        directory.path(),
        &format!(
            "{}http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
            tls_yaml()
        ),
    );
    let server = start(directory.path(), &[]);
    let over = |http| {
        fetch(
            &server.address,
            Some(client(&authority, None, http)),
            http,
            get("/-/ready", ""),
        )
    };
    for http in [Http::One, Http::Two] {
        let answer = over(http).unwrap();
        assert_eq!(answer.status, 200, "{http:?}");
        assert_eq!(answer.header("x-frame-options"), Some("deny"));
    }
    let refused = server.get("/-/ready");
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.text(),
        "Client sent an HTTP request to an HTTPS server.\n"
    );

    // The server still sees itself, and under its public address.
    let up = |s: &Ferula| {
        let config = client(&authority, None, Http::Two);
        let query = get("/api/v1/query?query=up", "");
        fetch(&s.address, Some(config), Http::Two, query)
            .unwrap()
            .json()["data"]["result"]
            .clone()
    };
    server.eventually("scraped itself", |s| up(s)[0]["value"][1] == "1");
    let port = server.address.rsplit(':').next().unwrap();
    assert_eq!(
        up(&server)[0]["metric"]["instance"],
        format!("127.0.0.1:{port}")
    );
}

#[test]
fn a_new_certificate_counts_and_a_broken_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    first.server().write(directory.path(), "server");
    write(directory.path(), tls_yaml());
    let server = start(directory.path(), &[]);
    let trusts = |authority: &Authority| {
        let config = client(authority, None, Http::Two);
        fetch(
            &server.address,
            Some(config),
            Http::Two,
            get("/-/ready", ""),
        )
        .is_ok()
    };
    assert!(trusts(&first) && !trusts(&second));
    std::fs::write(directory.path().join("server.crt"), "nonsense").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(trusts(&first), "the old one stays");
    second.server().write(directory.path(), "server");
    server.eventually("the new certificate", |_| trusts(&second));
    assert!(!trusts(&first));
}

#[test]
fn client_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.server().write(directory.path(), "server");
    std::fs::write(directory.path().join("ca.crt"), &ours.pem).unwrap();
    let (good, other_name, foreign) = (
        ours.client("agent.example"),
        ours.client("other.example"),
        theirs.client("agent.example"),
    );
    let gets_in = |server: &Ferula, own: Option<&Pair>| {
        let config = client(&ours, own, Http::One);
        fetch(
            &server.address,
            Some(config),
            Http::One,
            get("/-/ready", ""),
        )
        .is_ok()
    };
    // Nobody, ours, ours with another name, somebody else's.
    let callers = [None, Some(&good), Some(&other_name), Some(&foreign)];
    for (settings, expected) in [
        ("RequestClientCert", [true, true, true, true]),
        ("RequireAnyClientCert", [false, true, true, true]),
        (
            "VerifyClientCertIfGiven\n  client_ca_file: ca.crt",
            [true, true, true, false],
        ),
        (
            "RequireAndVerifyClientCert\n  client_ca_file: ca.crt",
            [false, true, true, false],
        ),
        (
            "RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [agent.example]",
            [false, true, false, false],
        ),
    ] {
        write(
            directory.path(),
            &format!("{}  client_auth_type: {settings}\n", tls_yaml()),
        );
        let data = tempfile::tempdir_in(directory.path()).unwrap();
        let path = format!("--storage.tsdb.path={}", data.path().display());
        let server = start(directory.path(), &[&path]);
        let got = callers.map(|own| gets_in(&server, own));
        assert_eq!(got, expected, "{settings}");
    }
}

#[test]
fn passwords_and_tokens_open_what_they_should() {
    let directory = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash("sesame", 4).unwrap();
    let users = format!(
        "basic_auth_users:\n  alice: {hash}\nbearer_tokens:\n\
         - {{name: reader, token: {READER}, roles: [read]}}\n\
         - {{name: pusher, token: {PUSHER}, roles: [push]}}\n"
    );
    write(directory.path(), &users);
    let server = start(directory.path(), &["--web.enable-lifecycle"]);
    let status = |method: &str, path: &str, authorization: &str| {
        plain(
            &server,
            request(method, path, authorization, bytes::Bytes::new()),
        )
        .status
    };
    let nobody = plain(&server, get("/-/healthy", ""));
    assert_eq!(
        (nobody.status, nobody.text().as_str()),
        (401, "Unauthorized\n")
    );
    let challenges: Vec<&str> = nobody
        .headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(challenges, ["Basic", "Bearer"]);
    let alice = basic("alice", "sesame");
    let (reader, pusher) = (format!("Bearer {READER}"), format!("Bearer {PUSHER}"));
    for (method, path, caller, expected) in [
        ("GET", "/-/healthy", &alice, 200),
        ("GET", "/-/healthy", &pusher, 200),
        ("GET", "/api/v1/query?query=1", &alice, 200),
        ("GET", "/api/v1/query?query=1", &reader, 200),
        ("GET", "/api/v1/query?query=1", &pusher, 403),
        ("POST", "/-/reload", &reader, 403),
        ("POST", "/-/reload", &alice, 200),
        ("PUT", "/metrics/job/x", &reader, 403),
        ("PUT", "/metrics/job/x", &pusher, 200),
        ("POST", "/api/v1/write", &pusher, 403),
        ("POST", "/api/v1/write", &alice, 400),
        ("GET", "/nowhere", &pusher, 404),
        ("GET", "/nowhere", &"Bearer wrong".to_owned(), 401),
        ("GET", "/-/healthy", &basic("alice", "wrong"), 401),
        ("GET", "/-/healthy", &basic("bob", "sesame"), 401),
    ] {
        assert_eq!(
            status(method, path, caller),
            expected,
            "{method} {path} {caller}"
        );
    }
    // A role that is taken away is gone within seconds; a file that asks for nobody's password is not believed.
    write(directory.path(), &users.replace("[read]", "[push]"));
    server.eventually("the reader became a pusher", |_| {
        status("GET", "/api/v1/query?query=1", &reader) == 403
    });
    write(directory.path(), "");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(status("GET", "/-/healthy", ""), 401);
    // What was pushed is scraped although the door is locked.
    let body = bytes::Bytes::from_static(b"pushed 3\n");
    assert_eq!(
        plain(&server, request("PUT", "/metrics/job/x", &pusher, body)).status,
        200
    );
    server.eventually("the pushed sample", |s| {
        let query = plain(s, get("/api/v1/query?query=pushed", &alice));
        query.json()["data"]["result"][0]["value"][1] == "3"
    });
}

#[test]
fn http2_without_tls_by_prior_knowledge() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let answer = fetch(&server.address, None, Http::Two, get("/-/ready", "")).unwrap();
    assert_eq!(answer.status, 200);
    drop(server);
    write(directory.path(), "http_server_config:\n  http2: false\n");
    let server = start(directory.path(), &[]);
    assert!(fetch(&server.address, None, Http::Two, get("/-/ready", "")).is_err());
    assert_eq!(server.get("/-/ready").status, 200);
}

#[test]
fn a_rate_limit_over_all() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "rate_limit:\n  burst: 3\n  interval: 1h\n",
    );
    let server = {
        std::fs::write(directory.path().join("empty.yml"), "").unwrap();
        start(directory.path(), &["--config.file=empty.yml"])
    };
    let statuses: Vec<u16> = (0..5).map(|_| server.get("/-/healthy").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn a_broken_file_is_no_start_and_check_says_why() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "tls_server_config:\n  cert_file: server.crt\n",
    );
    let ferula = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_ferula"))
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .unwrap()
    };
    let started = ferula(&[
        "--web.config.file=web.yml",
        "--web.listen-address=127.0.0.1:0",
    ]);
    assert_eq!(started.status.code(), Some(1));
    let log = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(
        log.contains("Unable to validate web configuration file"),
        "{log}"
    );
    assert!(log.contains("missing one of key or key_file"), "{log}");

    let checked = ferula(&["check", "web-config", "web.yml"]);
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(text, "web.yml FAILED: missing one of key or key_file\n");
    write(directory.path(), "http_server_config:\n  http2: false\n");
    let checked = ferula(&["check", "web-config", "web.yml"]);
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&checked.stdout),
        "web.yml SUCCESS\n"
    );
}
