//! The web UI as a browser gets it: the document on every page, its files, old links, prefixes.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use support::{Answer, Ferula};

const PAGES: &[&str] = &[
    "/query",
    "/alerts",
    "/rules",
    "/targets",
    "/service-discovery",
    "/alertmanager-discovery",
    "/status",
    "/tsdb-status",
    "/flags",
    "/config",
    "/metrics-explorer",
    "/active-queries",
    "/top-queries",
    "/push",
];

fn get(server: &Ferula, path: &str, headers: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    server.send(&head, b"")
}

/// The first file that the document names with this ending.
fn named(document: &str, ending: &str) -> String {
    let mut parts = document.split('"');
    let found = parts.find(|part| part.starts_with("./assets/") && part.ends_with(ending));
    found.unwrap().trim_start_matches('.').to_owned()
}

#[test]
fn every_page_is_the_document_and_its_files_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let mut nonces = std::collections::BTreeSet::new();
    for page in PAGES {
        let answer = server.get(page);
        assert_eq!(answer.status, 200, "{page}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"));
        let text = answer.text();
        assert!(text.contains("<title>Ferula</title>"), "{text}");
        let policy = answer.header("content-security-policy").unwrap().to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap().to_owned();
        assert!(text.contains(&format!("nonce=\"{nonce}\"")));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(nonces.insert(nonce), "a nonce is used once");
    }
    let document = server.get("/query").text();
    for (ending, content_type) in [
        (".js", "text/javascript; charset=utf-8"),
        (".css", "text/css; charset=utf-8"),
    ] {
        let path = named(&document, ending);
        let plain = server.get(&path);
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(plain.header("content-type"), Some(content_type));
        assert_eq!(
            plain.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        assert_eq!(plain.header("content-encoding"), None);
        let packed = get(&server, &path, "accept-encoding: gzip\r\n");
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(packed.body.len() < plain.body.len() / 2);
        let tag = packed.header("etag").unwrap().to_owned();
        assert_ne!(Some(tag.as_str()), plain.header("etag"));
        let again = get(
            &server,
            &path,
            &format!("accept-encoding: gzip\r\nif-none-match: W/{tag}\r\n"),
        );
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    let icon = server.get("/favicon.svg");
    assert_eq!(icon.header("content-type"), Some("image/svg+xml"));
    assert_eq!(icon.header("cache-control"), Some("no-cache"));
    let licences = server.get("/assets/third-party-licenses.txt").text();
    assert!(licences.contains("preact ") && licences.contains("Apache License"));
    for gone in [
        "/assets/none.js",
        "/assets/../index.html",
        "/classic/graph",
        "/assets/",
    ] {
        let status = server.get(gone).status;
        assert!(status == 404 || status == 301, "{gone}: {status}");
    }
}

#[test]
fn a_head_has_the_length_and_no_body() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let path = named(&server.get("/query").text(), ".js");
    let whole = server.get(&path);
    let head = server.send(
        &format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        b"",
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = head.header("content-length").unwrap().parse::<usize>();
    assert_eq!(length, Ok(whole.body.len()));
    assert_eq!(head.header("etag"), whole.header("etag"));
    assert_eq!(server.post("/query", "", b"").status, 405);
}

#[test]
fn old_links_lead_to_the_page_of_queries() {
    let dir = tempfile::tempdir().unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let home = server.get("/");
    assert_eq!(
        (home.status, home.header("location")),
        (302, Some("/query"))
    );
    let graph = server.get("/graph?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=0");
    assert_eq!(graph.status, 302);
    assert_eq!(
        graph.header("location"),
        Some("/query?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=0")
    );
}

#[test]
fn prefixes_and_the_title_are_respected() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--web.route-prefix=/in", "--web.page-title=Shop <1>"];
    let server = Ferula::start_under(dir.path(), "/in", &flags);
    assert_eq!(server.get("/in/").header("location"), Some("/in/query"));
    let page = server.get("/in/query").text();
    assert!(page.contains("<title>Shop &lt;1&gt;</title>"), "{page}");
    assert_eq!(
        server.get(&format!("/in{}", named(&page, ".js"))).status,
        200
    );
    assert_eq!(server.get("/query").status, 404);
    drop(server);

    // A proxy that takes the path of the external address off before it asks us.
    let flags = [
        "--web.external-url=http://x.example/shop/",
        "--web.route-prefix=/",
    ];
    let server = Ferula::start(dir.path(), &flags);
    assert_eq!(server.get("/").header("location"), Some("/shop/query"));
    assert_eq!(
        server.get("/graph?g0.expr=1").header("location"),
        Some("/shop/query?g0.expr=1")
    );
}

#[test]
fn relabeling_is_told_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("prometheus.yml"),
        "scrape_configs:\n- job_name: shop\n  relabel_configs:\n  - {source_labels: [env], regex: retired, action: drop}\n  - {source_labels: [team], target_label: owner}\n",
    )
    .unwrap();
    let server = Ferula::start(dir.path(), &[]);
    let ask = |pool: &str, labels: &str| {
        let labels: String = labels.bytes().map(|b| format!("%{b:02X}")).collect();
        server.get(&format!(
            "/api/v1/targets/relabel_steps?scrapePool={pool}&labels={labels}"
        ))
    };
    let steps = ask("shop", r#"{"env":"live","team":"web"}"#).json();
    assert_eq!(steps["data"]["steps"][0]["rule"]["action"], "drop");
    assert_eq!(steps["data"]["steps"][1]["output"]["owner"], "web");
    let steps = ask("shop", r#"{"env":"retired"}"#).json();
    assert_eq!(steps["data"]["steps"][0]["keep"], false);
    for (answer, error) in [
        (
            ask("none", "{}"),
            "error retrieving scrape config: scrape pool \"none\" not found",
        ),
        (ask("", "{}"), "no scrapePool parameter provided"),
        (ask("shop", ""), "no labels parameter provided"),
    ] {
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"], error);
    }
}
