//! Who gets where: the table of routes against every kind of credentials, and secrets that must not come out.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use base64::Engine;
use bytes::Bytes;
use gateway::http::access::required;
use gateway::http::router::{Handler, ROUTES};
use gateway::web_config::Role;
use http::Method;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::tls::{Http, fetch, request};
use support::{Answer, Ferula};

const TOKENS: [(Role, &str); 4] = [
    (Role::Read, "read-0123456789abcdef"),
    (Role::Write, "write-0123456789abcdef"),
    (Role::Push, "push-0123456789abcdef"),
    (Role::Admin, "admin-0123456789abcdef"),
];

fn basic(user: &str, password: &str) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    format!("Basic {}", engine.encode(format!("{user}:{password}")))
}

fn ask(server: &Ferula, method: &Method, path: &str, authorization: &str) -> Answer {
    let request = request(method.as_str(), path, authorization, Bytes::new());
    let answer = fetch(&server.address, None, Http::One, request);
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn concrete(path: &str) -> String {
    let path = path.replace("{name}", "job").replace("{*group}", "x/y/z");
    // Parts that other routes have.
    let (mut out, mut rest) = (String::new(), path.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push('x');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    out + rest
}

fn start(directory: &Path) -> Ferula {
    let hash = bcrypt::hash("sesame", 4).unwrap();
    let mut text = format!("basic_auth_users:\n  alice: {hash}\nbearer_tokens:\n");
    for (role, token) in TOKENS {
        let role = role.as_str();
        text.push_str(&format!(
            "- {{name: {role}, token: {token}, roles: [{role}]}}\n"
        ));
    }
    std::fs::write(directory.join("web.yml"), text).unwrap();
    let flags = [
        "--web.config.file=web.yml",
        "--web.enable-lifecycle",
        "--web.enable-admin-api",
    ];
    Ferula::start_unasked(directory, &flags)
}

/// A stream without an end, and what would end the server.
fn is_left_out(handler: Handler) -> bool {
    matches!(handler, Handler::Quit | Handler::NotificationsLive)
}

#[test]
fn no_route_lets_in_whom_it_should_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path());
    let strangers = [
        String::new(),
        "Basic".to_owned(),
        basic("alice", "wrong"),
        basic("nobody", "sesame"),
        "Bearer wrong-0123456789abcdef".to_owned(),
        format!("bearer {}x", TOKENS[3].1),
        format!("Token {}", TOKENS[3].1),
        format!("Basic {}", TOKENS[3].1),
    ];
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ];
    let mut checked = 0;
    for route in ROUTES {
        let path = concrete(route.path);
        for method in &methods {
            // All of the strangers try the route's own methods.
            let tried = match route.methods.contains(method) {
                true => &strangers[..],
                false => &strangers[..1],
            };
            for stranger in tried {
                let answer = ask(&server, method, &path, stranger);
                assert_eq!(answer.status, 401, "{method} {path} {stranger:?}");
                checked += 1;
            }
        }
        for method in route.methods {
            let needed = required(route.handler, method);
            for (role, token) in TOKENS {
                let may = needed.is_none_or(|needed| needed == role || role == Role::Admin);
                if may && is_left_out(route.handler) {
                    continue;
                }
                let status = ask(&server, method, &path, &format!("Bearer {token}")).status;
                match may {
                    true => assert!(
                        !matches!(status, 401 | 403),
                        "{method} {path} {role:?}: {status}"
                    ),
                    false => assert_eq!(status, 403, "{method} {path} {role:?}"),
                }
                checked += 1;
            }
            if !is_left_out(route.handler) {
                let status = ask(&server, method, &path, &basic("alice", "sesame")).status;
                assert!(
                    !matches!(status, 401 | 403),
                    "{method} {path}: alice: {status}"
                );
            }
        }
    }
    assert!(checked > ROUTES.len() * 15, "{checked}");
    for path in [
        "/nowhere",
        "/api/v1/nowhere",
        "/../etc/passwd",
        "//api/v1/query",
        "/%2e%2e/",
    ] {
        assert_eq!(ask(&server, &Method::GET, path, "").status, 401, "{path}");
    }
}

#[test]
fn what_changes_something_is_neither_a_get_nor_open_to_readers() {
    for route in ROUTES {
        for method in route.methods {
            if matches!(
                required(route.handler, method),
                Some(Role::Admin | Role::Write | Role::Push)
            ) {
                assert!(
                    !matches!(*method, Method::GET | Method::HEAD),
                    "{method} {}",
                    route.path
                );
            }
        }
    }
}

/// A configuration with a canary wherever a secret can stand.
fn canary_config(c: &dyn Fn(&str) -> String) -> String {
    let target = "static_configs: [{targets: [\"127.0.0.1:1\"]}]";
    format!(
        r#"
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: a
  basic_auth: {{username: u, password: {a1}}}
  proxy_url: http://user:{a2}@127.0.0.1:1/
  proxy_connect_header: {{X-Proxy: [{a3}]}}
  http_headers: {{X-Key: {{secrets: [{a4}]}}}}
  {target}
- job_name: b
  authorization: {{credentials: {b1}}}
  {target}
- job_name: c
  oauth2: {{client_id: i, client_secret: {c1}, token_url: "http://127.0.0.1:1/t"}}
  {target}
remote_write:
- url: http://user:{w1}@127.0.0.1:1/w
  basic_auth: {{username: u, password: {w2}}}
- url: http://127.0.0.1:1/w
  authorization: {{credentials: {w3}}}
remote_read:
- url: http://127.0.0.1:1/r
  basic_auth: {{username: u, password: {r1}}}
alerting:
  alertmanagers:
  - basic_auth: {{username: u, password: {m1}}}
    {target}
"#,
        a1 = c("a1"),
        a2 = c("a2"),
        a3 = c("a3"),
        a4 = c("a4"),
        b1 = c("b1"),
        c1 = c("c1"),
        w1 = c("w1"),
        w2 = c("w2"),
        w3 = c("w3"),
        r1 = c("r1"),
        m1 = c("m1"),
    )
}

#[test]
fn secrets_come_out_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let canary = |name: &str| format!("KANARIENVOGEL{name}");
    let token = canary("token-0123456789");
    let config = canary_config(&canary);
    std::fs::write(file("p.yml"), &config).unwrap();
    let hash = bcrypt::hash(canary("password"), 4).unwrap();
    let web = format!(
        "basic_auth_users:\n  alice: {hash}\nbearer_tokens:\n- {{name: t, token: {token}, roles: [admin]}}\n"
    );
    std::fs::write(file("web.yml"), &web).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--storage.shards=1",
            "--config.file=p.yml",
            "--web.config.file=web.yml",
            "--web.enable-lifecycle",
            "--log.level=debug",
        ])
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(file("log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .split_whitespace()
        .find_map(|word| word.trim_end_matches(',').strip_prefix("127.0.0.1:"))
        .map(|port| format!("127.0.0.1:{port}"))
        .unwrap_or_else(|| {
            panic!(
                "no start: {}",
                std::fs::read_to_string(file("log")).unwrap()
            )
        });
    let authorization = format!("Bearer {token}");
    let ask = |method: &str, path: &str, authorization: &str| {
        let request = request(method, path, authorization, Bytes::new());
        let answer = fetch(&address, None, Http::One, request).unwrap();
        (
            answer.status,
            format!("{:?}{}", answer.headers, answer.text()),
        )
    };
    let secret_free = |what: &str, text: &str| {
        for secret in ["KANARIENVOGEL", &hash, "$2b$"] {
            assert!(!text.contains(secret), "{what} shows {secret}: {text}");
        }
    };
    let mut seen_config = false;
    for route in ROUTES {
        if !route.methods.contains(&Method::GET) || is_left_out(route.handler) {
            continue;
        }
        let path = concrete(route.path);
        for authorization in [authorization.as_str(), "", &basic("alice", "KANARIENVOGEL")] {
            let (_, text) = ask("GET", &path, authorization);
            secret_free(&path, &text);
            seen_config |= text.contains("secret\\u003e") || text.contains("<secret>");
        }
    }
    assert!(seen_config, "the configuration was not shown at all");
    // Errors name places, not values.
    for broken in [
        config.replace("password:", "pasword:"),
        config.replace("scrape_interval: 1s", "scrape_interval: 1x"),
        format!("{config}\n  broken: ["),
    ] {
        std::fs::write(file("p.yml"), &broken).unwrap();
        let (status, text) = ask("POST", "/-/reload", &authorization);
        assert_eq!(status, 500, "{text}");
        secret_free("/-/reload", &text);
    }
    for broken in [
        web.replace("token:", "tokn:"),
        web.replace(&hash, &canary("plain")),
        web.replace("[admin]", "[root]"),
    ] {
        std::fs::write(file("web.yml"), &broken).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1200));
        let checked = Command::new(env!("CARGO_BIN_EXE_ferula"))
            .args(["check", "web-config", "web.yml"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(checked.status.code(), Some(1));
        secret_free("check", &String::from_utf8_lossy(&checked.stderr));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(file("log")).unwrap();
    assert!(
        log.contains("the changed web configuration is refused"),
        "{log}"
    );
    secret_free("the log", &log);
}
