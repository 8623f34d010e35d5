//! One GET: credentials, keep-alive, redirects, status, body; everything within a deadline and a size.
//!
//! Promise: on success the body buffer holds the whole decompressed page; on any error the connection is closed.
//! Texts follow Go's `net/http` and Prometheus's scrape errors.

use super::config::HttpClientConfig;
use super::connection::{Connection, OpenConnection, Origin, open};
use super::tls::TlsFactory;
use super::{body, credentials};
use crate::limits::{SCRAPE_BODY_BYTES_MAX, SCRAPE_REDIRECTS_MAX};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue,
    LOCATION, PROXY_AUTHORIZATION, REFERER,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use std::error::Error;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// Why a page could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Credentials, TLS or proxy settings cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The connection cannot be made or broke before an answer.
    #[error("{0}")]
    Dial(String),
    /// As above, with the request it belongs to.
    #[error("Get {url:?}: {reason}")]
    Request {
        /// The URL asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer other than 200.
    #[error("server returned HTTP status {0}")]
    Status(String),
    /// The body is as long as the limit, or longer.
    #[error("body size limit exceeded")]
    BodySizeLimit,
    /// The deadline passed while the body was coming in.
    #[error("context deadline exceeded")]
    Timeout,
    /// The body cannot be read.
    #[error("{0}")]
    Body(String),
}

/// What to ask for.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// Absolute URL.
    pub url: &'a str,
    /// Headers besides credentials.
    pub headers: &'a HeaderMap,
    /// Most decompressed bytes; 0 means only the safety cap of [`SCRAPE_BODY_BYTES_MAX`].
    pub body_bytes_max: u64,
    /// When to give up.
    pub deadline: Instant,
}

/// Fetches pages with one job's settings. Shared by all targets of the job; each has its own [`Connection`].
#[derive(Debug)]
pub struct HttpClient {
    config: HttpClientConfig,
    tls: TlsFactory,
}

impl HttpClient {
    /// A client; nothing is read or connected yet.
    pub fn new(config: HttpClientConfig) -> Self {
        let tls = TlsFactory::new(config.tls.clone());
        HttpClient { config, tls }
    }

    /// Fetches a page into `out` and returns its Content-Type (`""` when there is none).
    pub async fn get(
        &self,
        connection: &mut Connection,
        request: &PageRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<String, FetchError> {
        out.clear();
        let with_url = |url: &str, reason: String| FetchError::Request {
            url: url.to_owned(),
            reason,
        };
        let answer = timeout_at(request.deadline, self.follow(connection, request)).await;
        let (response, open) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err((_, error @ (FetchError::Status(_) | FetchError::Request { .. })))) => {
                return Err(error);
            }
            Ok(Err((url, error))) => return Err(with_url(&url, error.to_string())),
            Err(_) => {
                return Err(with_url(
                    request.url,
                    "context deadline exceeded".to_owned(),
                ));
            }
        };
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(status_text(&response)));
        }
        let header = |name| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |v: &HeaderValue| {
                String::from_utf8_lossy(v.as_bytes()).into_owned()
            })
        };
        let content_type = header(CONTENT_TYPE);
        let gzip = header(CONTENT_ENCODING) == "gzip";
        let bytes_max = match request.body_bytes_max {
            0 => SCRAPE_BODY_BYTES_MAX,
            limit => limit.min(SCRAPE_BODY_BYTES_MAX),
        };
        let received = body::receive(response.into_body(), gzip, bytes_max, out);
        match timeout_at(request.deadline, received).await {
            Ok(Ok(())) => {
                connection.put_back(open);
                Ok(content_type)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(FetchError::Timeout),
        }
    }

    /// Sends the request and follows redirects; errors carry the URL at which they happened.
    async fn follow(
        &self,
        connection: &mut Connection,
        request: &PageRequest<'_>,
    ) -> Result<(Response<Incoming>, OpenConnection), (String, FetchError)> {
        let mut url = request.url.to_owned();
        let at = |url: &str, error: FetchError| (url.to_owned(), error);
        let secrets = credentials::headers(&self.config)
            .await
            .map_err(|e| at(&url, e))?;
        let mut first_origin: Option<Origin> = None;
        let mut referer: Option<String> = None;
        for hop in 0.. {
            let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| {
                at(&url, FetchError::Dial(format!("parse {url:?}: {e}")))
            })?;
            let origin = Origin::of(&uri).map_err(|e| at(&url, e))?;
            let first = first_origin.get_or_insert_with(|| origin.clone());
            let mut headers = request.headers.clone();
            // Credentials and custom headers stay with the host that they were configured for.
            if same_site(first, &origin) {
                for (name, value) in &secrets {
                    headers.append(name.clone(), value.clone());
                }
            } else {
                headers.remove(AUTHORIZATION);
            }
            if let Some(text) = &referer
                && let Ok(value) = HeaderValue::from_str(text)
            {
                headers.insert(REFERER, value);
            }
            let (response, open) = self
                .send(connection, &uri, &origin, &headers)
                .await
                .map_err(|e| at(&url, e))?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response
                .headers()
                .get(LOCATION)
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
            let Some(location) = location.filter(|_| redirected && self.config.follow_redirects)
            else {
                return Ok((response, open));
            };
            if hop >= SCRAPE_REDIRECTS_MAX - 1 {
                let text = format!("stopped after {SCRAPE_REDIRECTS_MAX} redirects");
                return Err(at(&location, FetchError::Dial(text)));
            }
            let next = Url::parse(&url)
                .and_then(|base| base.join(&location))
                .map_err(|e| {
                    let text = format!("failed to parse Location header {location:?}: {e}");
                    at(&url, FetchError::Dial(text))
                })?;
            // Go sends no referer from https to http.
            referer =
                (!(url.starts_with("https:") && next.scheme() == "http")).then(|| url.clone());
            url = next.into();
        }
        unreachable!("the loop ends by return: its counter is bounded by the redirect limit")
    }

    async fn send(
        &self,
        connection: &mut Connection,
        uri: &Uri,
        origin: &Origin,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, OpenConnection), FetchError> {
        if let Some(mut open) = connection.take_alive(origin)
            && open.sender.ready().await.is_ok()
        {
            let request = build_request(uri, &open, headers)?;
            match open.sender.send_request(request).await {
                Ok(response) => return Ok((response, open)),
                // The server closed the idle connection: a GET may be sent again on a new one.
                Err(e) if e.is_canceled() || e.is_closed() || e.is_incomplete_message() => {}
                Err(e) if io_cause(&e) => {}
                Err(e) => return Err(FetchError::Dial(error_chain(&e))),
            }
        }
        let mut open = open(origin, &self.config, &self.tls).await?;
        let request = build_request(uri, &open, headers)?;
        match open.sender.send_request(request).await {
            Ok(response) => Ok((response, open)),
            Err(e) if e.is_incomplete_message() || e.is_canceled() => {
                Err(FetchError::Dial("EOF".to_owned()))
            }
            Err(e) => Err(FetchError::Dial(error_chain(&e))),
        }
    }
}

fn build_request(
    uri: &Uri,
    open: &OpenConnection,
    headers: &HeaderMap,
) -> Result<Request<Empty<Bytes>>, FetchError> {
    let refuse = |e: http::Error| FetchError::Dial(e.to_string());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let target = if open.absolute_form {
        uri.to_string()
    } else {
        path.to_owned()
    };
    let mut request = Request::get(target).body(Empty::new()).map_err(refuse)?;
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::from_str(host).map_err(|e| refuse(e.into()))?;
    let out = request.headers_mut();
    out.insert(HOST, host);
    out.extend(headers.clone());
    if !out.contains_key(ACCEPT_ENCODING) {
        out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if open.absolute_form
        && let Some(value) = open.proxy.as_ref().and_then(|p| p.authorization.clone())
    {
        out.insert(PROXY_AUTHORIZATION, value);
    }
    Ok(request)
}

/// As Go: the same host, or a subdomain of it.
fn same_site(first: &Origin, now: &Origin) -> bool {
    let (first, now) = (
        first.host.to_ascii_lowercase(),
        now.host.to_ascii_lowercase(),
    );
    first == now
        || now
            .strip_suffix(&first)
            .is_some_and(|head| head.ends_with('.'))
}

fn status_text(response: &Response<Incoming>) -> String {
    let code = response.status();
    let sent = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    let phrase = sent.unwrap_or_else(|| code.canonical_reason().unwrap_or_default().to_owned());
    format!("{} {phrase}", code.as_u16())
}

fn io_cause(error: &hyper::Error) -> bool {
    error
        .source()
        .is_some_and(|cause| cause.is::<std::io::Error>())
}

/// The innermost cause says most: hyper's own text is only "error reading a body from connection".
pub(super) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => super::connection::os_text(io),
        None => cause.to_string(),
    }
}
