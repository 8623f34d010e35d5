//! The web UI: its built files, which are part of the binary, and the one document that all of its pages are.
//!
//! Promise: a file whose name carries the hash of its content may be kept for ever, everything else is asked for again; scripts and styles
//! of the document run only from here (content security policy); links work below any prefix, because the document has relative ones only.
//! Not here: the UI itself (`gateway/ui`), the addresses (`http::router`).

mod files;

use crate::cli::Flags;
use crate::http::compress::takes_gzip;
use crate::http::request::Request;
use crate::http::respond::{self, Response};
use bytes::Bytes;
use files::{Asset, FILES};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method};
use storage_engine::io::random_bytes;

/// The document, with `@TITLE@` and `@NONCE@` in it.
const DOCUMENT: &str = include_str!("../../ui/dist/index.html");
/// Prometheus's default of `--web.page-title`, which names another server; ours stands in its place.
const TITLE_OF_PROMETHEUS: &str = "Prometheus Time Series Collection and Processing Server";
const TITLE: &str = "Ferula";
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// `/` leads to the page of queries.
pub fn home(flags: &Flags) -> Response {
    respond::redirect(302, &format!("{}/query", outside(flags)))
}

/// `/graph`, where the page of queries was before Prometheus 3, leads to the new address with the same parameters.
pub fn graph(flags: &Flags, request: &Request) -> Response {
    let mut location = format!("{}/query", outside(flags));
    if !request.query.is_empty() {
        location.push('?');
        location.push_str(&request.query);
    }
    respond::redirect(302, &location)
}

/// The path of `--web.external-url`, under which browsers see us; the prefix of our own routes when there is none.
fn outside(flags: &Flags) -> String {
    match url::Url::parse(&flags.external_url) {
        Ok(url) => url.path().trim_end_matches('/').to_owned(),
        Err(_) => flags.route_prefix.clone(),
    }
}

/// Any page of the UI.
pub fn page(flags: &Flags) -> Response {
    let Ok(nonce) = random_bytes::<16>().map(hex) else {
        return respond::error_text(500, "no random numbers from the system");
    };
    let given = flags.map.get("web.page-title").map_or("", String::as_str);
    let title = if given == TITLE_OF_PROMETHEUS {
        TITLE
    } else {
        given
    };
    let mut response = respond::content(
        200,
        "text/html; charset=utf-8",
        document(&escaped(title), &nonce),
    );
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CACHE_CONTROL, ASK_AGAIN);
    for (name, value) in [
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    respond::without_sniffing(response)
}

/// The title comes last: it may hold anything.
fn document(title: &str, nonce: &str) -> String {
    DOCUMENT
        .replace("@NONCE@", nonce)
        .replacen("@TITLE@", title, 1)
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// A file of the UI: a script, a style sheet, the icon, the licences.
pub fn file(request: &Request) -> Response {
    let path = request.path.trim_start_matches('/');
    match FILES.iter().find(|asset| asset.path == path) {
        Some(asset) => respond::without_sniffing(answer(asset, request)),
        None => respond::error_text(404, "404 page not found"),
    }
}

fn answer(asset: &'static Asset, request: &Request) -> Response {
    let packed = asset.packed().filter(|_| takes_gzip(&request.headers));
    let tag = match packed {
        Some(_) => format!("\"{}-gzip\"", asset.hash),
        None => format!("\"{}\"", asset.hash),
    };
    let body = packed.unwrap_or(asset.content);
    let mut response = if known(request, &tag) {
        respond::empty(304)
    } else {
        respond::content(200, asset.content_type(), Bytes::from_static(body))
    };
    let fresh = response.status() == 200;
    let headers = response.headers_mut();
    if fresh && packed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if fresh && request.method == Method::HEAD {
        // The body is taken off later; its length stays.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let keep = if asset.is_named_by_content() {
        FOR_EVER
    } else {
        ASK_AGAIN
    };
    headers.insert(CACHE_CONTROL, keep);
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// Does the client have this content already?
fn known(request: &Request, tag: &str) -> bool {
    let listed = request
        .headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().trim_start_matches("W/"));
    listed.into_iter().any(|value| value == tag || value == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_only_files_that_are_there() {
        let mut named = 0;
        for part in DOCUMENT.split(['"', '\'']) {
            if let Some(path) = part.strip_prefix("./").filter(|p| p.contains("assets/")) {
                assert!(FILES.iter().any(|asset| asset.path == path), "{path}");
                named += 1;
            }
        }
        assert!(named >= 2, "a script and a style sheet");
    }

    #[test]
    fn a_title_is_text() {
        let page = document(&escaped("a <b> & @NONCE@ @TITLE@"), "0f");
        assert!(
            page.contains("<title>a &lt;b&gt; &amp; @NONCE@ @TITLE@</title>"),
            "{page}"
        );
        assert!(page.contains("<script nonce=\"0f\">"));
        assert_eq!(hex([0xab; 16]), "ab".repeat(16));
    }
}
