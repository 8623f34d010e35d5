//! One request: credentials, keep-alive, redirects, status, body; everything within a deadline and a size.
//!
//! Promise: on success the body is whole and decompressed; on any error the connection is closed.
//! Texts follow Go's `net/http` and Prometheus's scrape errors.

use super::config::HttpClientConfig;
use super::connection::{Connection, OpenConnection, Origin, RequestBody, open};
use super::tls::TlsFactory;
use super::{body, credentials, oauth2};
use crate::limits::{SCRAPE_BODY_BYTES_MAX, SCRAPE_REDIRECTS_MAX};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, REFERER, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use std::error::Error;
use std::sync::Arc;
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
    #[error("{method} {url:?}: {reason}")]
    Request {
        /// As Go writes it: `Get`, `Post` …
        method: String,
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

/// Any request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// GET, POST …
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers besides credentials; a user agent and `Accept-Encoding: gzip` are added where none is given.
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Bytes,
    /// Most decompressed bytes of the answer.
    pub body_bytes_max: u64,
    /// When to give up.
    pub deadline: Instant,
}

impl HttpRequest {
    /// A GET of this URL.
    pub fn get(url: impl Into<String>, body_bytes_max: u64, deadline: Instant) -> Self {
        HttpRequest {
            method: Method::GET,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            body_bytes_max,
            deadline,
        }
    }
}

/// What came back, whatever the status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The status line's code and phrase: `404 Not Found`.
    pub status_text: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> String {
        text_of(&self.headers, name)
    }
}

/// An answer whose body comes in piece by piece.
#[derive(Debug)]
pub struct HttpStream {
    /// The status.
    pub status: StatusCode,
    /// The status line's code and phrase.
    pub status_text: String,
    body: Incoming,
    /// Held so that the connection lives as long as the body.
    _open: OpenConnection,
}

impl HttpStream {
    /// The next piece, not decompressed; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        body::next_data(&mut self.body).await
    }
}

/// What is sent at each hop.
struct Outgoing<'a> {
    method: Method,
    url: &'a str,
    headers: &'a HeaderMap,
    body: Bytes,
    deadline: Instant,
}

/// Sends requests with one job's settings. Shared by all targets of the job; each has its own [`Connection`].
#[derive(Debug)]
pub struct HttpClient {
    config: HttpClientConfig,
    tls: TlsFactory,
    tokens: Option<Arc<oauth2::TokenSource>>,
}

impl HttpClient {
    /// A client; nothing is read or connected yet.
    pub fn new(config: HttpClientConfig) -> Self {
        let tls = TlsFactory::new(config.tls.clone(), config.enable_http2);
        let tokens = oauth2::source(&config);
        HttpClient {
            config,
            tls,
            tokens,
        }
    }

    /// Fetches a page into `out` and returns its Content-Type (`""` when there is none).
    pub async fn get(
        &self,
        connection: &mut Connection,
        request: &PageRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<String, FetchError> {
        out.clear();
        let outgoing = Outgoing {
            method: Method::GET,
            url: request.url,
            headers: request.headers,
            body: Bytes::new(),
            deadline: request.deadline,
        };
        let (response, open) = self.exchange(connection, outgoing).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(status_text(&response)));
        }
        let content_type = text_of(response.headers(), CONTENT_TYPE.as_str());
        let bytes_max = match request.body_bytes_max {
            0 => SCRAPE_BODY_BYTES_MAX,
            limit => limit.min(SCRAPE_BODY_BYTES_MAX),
        };
        receive(response, bytes_max, request.deadline, out).await?;
        connection.put_back(open);
        Ok(content_type)
    }

    /// Sends any request and receives the whole answer; a status that says failure is an answer too.
    pub async fn request(
        &self,
        connection: &mut Connection,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, FetchError> {
        let mut headers = request.headers.clone();
        if !headers.contains_key(ACCEPT_ENCODING) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let outgoing = request.outgoing(&mut headers);
        let (response, open) = self.exchange(connection, outgoing).await?;
        let status_text = status_text(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        receive(
            response,
            request.body_bytes_max,
            request.deadline,
            &mut body,
        )
        .await?;
        connection.put_back(open);
        Ok(HttpAnswer {
            status,
            status_text,
            headers,
            body,
        })
    }

    /// Sends any request on a connection of its own; the deadline is that of the answer's head, and the body may
    /// take as long as it likes.
    pub async fn stream(&self, request: &HttpRequest) -> Result<HttpStream, FetchError> {
        let mut headers = request.headers.clone();
        let outgoing = request.outgoing(&mut headers);
        let (response, open) = self.exchange(&mut Connection::new(), outgoing).await?;
        Ok(HttpStream {
            status: response.status(),
            status_text: status_text(&response),
            body: response.into_body(),
            _open: open,
        })
    }

    /// [`HttpClient::follow`] within the deadline, with Go's error texts.
    async fn exchange(
        &self,
        connection: &mut Connection,
        outgoing: Outgoing<'_>,
    ) -> Result<(Response<Incoming>, OpenConnection), FetchError> {
        let with_url = |method: &Method, url: &str, reason: String| FetchError::Request {
            method: go_method(method),
            url: url.to_owned(),
            reason,
        };
        match timeout_at(outgoing.deadline, self.follow(connection, &outgoing)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((_, error @ FetchError::Status(_)))) => Err(error),
            Ok(Err((url, error))) => Err(with_url(&outgoing.method, &url, error.to_string())),
            Err(_) => Err(with_url(
                &outgoing.method,
                outgoing.url,
                "context deadline exceeded".to_owned(),
            )),
        }
    }

    /// Credentials of one request.
    async fn secrets(&self, deadline: Instant) -> Result<HeaderMap, FetchError> {
        let mut secrets = credentials::headers(&self.config).await?;
        if let Some(tokens) = &self.tokens {
            secrets.insert(AUTHORIZATION, tokens.authorization(deadline).await?);
        }
        Ok(secrets)
    }

    /// Sends the request and follows redirects; errors carry the URL at which they happened.
    async fn follow(
        &self,
        connection: &mut Connection,
        request: &Outgoing<'_>,
    ) -> Result<(Response<Incoming>, OpenConnection), (String, FetchError)> {
        let mut method = request.method.clone();
        let mut body = request.body.clone();
        let mut url = request.url.to_owned();
        let at = |url: &str, error: FetchError| (url.to_owned(), error);
        let secrets = self
            .secrets(request.deadline)
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
            if !body.is_empty() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            if let Some(text) = &referer
                && let Ok(value) = HeaderValue::from_str(text)
            {
                headers.insert(REFERER, value);
            }
            let (response, open) = self
                .send(connection, &uri, &origin, (&method, &headers, &body))
                .await
                .map_err(|e| at(&url, e))?;
            let status = response.status().as_u16();
            let redirected = matches!(status, 301 | 302 | 303 | 307 | 308);
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
            // The older redirects turn everything but HEAD into a GET.
            if matches!(status, 301..=303) && method != Method::GET && method != Method::HEAD {
                method = Method::GET;
                body = Bytes::new();
            }
        }
        unreachable!("the loop ends by return: its counter is bounded by the redirect limit")
    }

    async fn send(
        &self,
        connection: &mut Connection,
        uri: &Uri,
        origin: &Origin,
        message: (&Method, &HeaderMap, &Bytes),
    ) -> Result<(Response<Incoming>, OpenConnection), FetchError> {
        let may_repeat = matches!(*message.0, Method::GET | Method::HEAD);
        if let Some(mut open) = connection.take_alive(origin)
            && open.sender.ready().await.is_ok()
        {
            let request = build_request(uri, &open, message)?;
            match open.sender.send(request).await {
                Ok(response) => return Ok((response, open)),
                // Nothing was sent, or the server closed the idle connection: a GET may be sent again on a new one.
                Err(e) if e.is_canceled() => {}
                Err(e) if may_repeat && (e.is_closed() || e.is_incomplete_message()) => {}
                Err(e) if may_repeat && io_cause(&e) => {}
                Err(e) => return Err(FetchError::Dial(error_chain(&e))),
            }
        }
        let socket = connection.socket();
        let mut open = open(origin, socket, &self.config, &self.tls).await?;
        let request = build_request(uri, &open, message)?;
        match open.sender.send(request).await {
            Ok(response) => Ok((response, open)),
            Err(e) if e.is_incomplete_message() || e.is_canceled() => {
                Err(FetchError::Dial("EOF".to_owned()))
            }
            Err(e) => Err(FetchError::Dial(error_chain(&e))),
        }
    }
}

impl HttpRequest {
    fn outgoing<'a>(&'a self, headers: &'a mut HeaderMap) -> Outgoing<'a> {
        if !headers.contains_key(USER_AGENT) {
            let agent = concat!("ferula/", env!("CARGO_PKG_VERSION"));
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        }
        Outgoing {
            method: self.method.clone(),
            url: &self.url,
            headers,
            body: self.body.clone(),
            deadline: self.deadline,
        }
    }
}

/// Receives the body within its bounds.
async fn receive(
    response: Response<Incoming>,
    bytes_max: u64,
    deadline: Instant,
    out: &mut Vec<u8>,
) -> Result<(), FetchError> {
    let gzip = text_of(response.headers(), CONTENT_ENCODING.as_str()) == "gzip";
    let received = body::receive(response.into_body(), gzip, bytes_max, out);
    timeout_at(deadline, received)
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

/// `GET` as Go's errors say it: `Get`.
fn go_method(method: &Method) -> String {
    let text = method.as_str();
    let (first, rest) = text.split_at_checked(1).unwrap_or((text, ""));
    format!("{first}{}", rest.to_ascii_lowercase())
}

fn build_request(
    uri: &Uri,
    open: &OpenConnection,
    (method, headers, body): (&Method, &HeaderMap, &Bytes),
) -> Result<Request<RequestBody>, FetchError> {
    let refuse = |e: http::Error| FetchError::Dial(e.to_string());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let target = if open.sender.is_http2() {
        format!("{}://{host}{path}", uri.scheme_str().unwrap_or("https"))
    } else if open.absolute_form {
        uri.to_string()
    } else {
        path.to_owned()
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(Full::new(body.clone()))
        .map_err(refuse)?;
    let out = request.headers_mut();
    // HTTP/2 says the host in the target.
    if !open.sender.is_http2() {
        let host = HeaderValue::from_str(host).map_err(|e| refuse(e.into()))?;
        out.insert(HOST, host);
    }
    out.extend(headers.clone());
    if !out.contains_key(ACCEPT_ENCODING) {
        out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if open.absolute_form
        && let Some(value) = open.proxy_authorization.clone()
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
