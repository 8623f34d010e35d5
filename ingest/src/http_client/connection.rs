//! One kept-alive connection, HTTP/1.1 or (where TLS agrees on it) HTTP/2: dialling, unix sockets, TLS, proxies.
//!
//! Promise: at most one connection is held; dropping the value closes it. Error texts follow Go's, because users search
//! for them. Not here: requests (`fetch`).

use super::config::{HttpClientConfig, ProxyConfig};
use super::fetch::{FetchError, error_chain};
use super::proxy::{self, Proxy, ProxyKind};
use super::socks5;
use super::tls::TlsFactory;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest answer to a proxy's `CONNECT` that is read.
const CONNECT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Result<Self, FetchError> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => {
                return Err(FetchError::Dial(format!(
                    "unsupported protocol scheme {:?}",
                    other.unwrap_or_default()
                )));
            }
        };
        let host = uri
            .host()
            .filter(|h| !h.is_empty())
            .ok_or_else(|| FetchError::Dial("http: no Host in request URL".to_owned()))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Origin {
            tls,
            host: host.to_owned(),
            port,
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What requests carry.
pub(super) type RequestBody = Full<Bytes>;

/// The way to send requests over a connection.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Sender::Http2(_))
    }

    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Sender::Http1(sender) => sender.ready().await,
            Sender::Http2(sender) => sender.ready().await,
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// A slot for one connection to one origin.
#[derive(Debug, Default)]
pub struct Connection {
    open: Option<OpenConnection>,
    socket: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct OpenConnection {
    pub(super) origin: Origin,
    pub(super) sender: Sender,
    /// Requests go to a plain HTTP proxy and must carry the whole URL.
    pub(super) absolute_form: bool,
    /// `Proxy-Authorization` for such requests.
    pub(super) proxy_authorization: Option<HeaderValue>,
}

impl Connection {
    /// No connection yet.
    pub fn new() -> Self {
        Connection::default()
    }

    /// No connection yet; all will lead to this unix socket, whatever the URL's host is.
    pub fn to_socket(path: PathBuf) -> Self {
        Connection {
            open: None,
            socket: Some(path),
        }
    }

    /// Closes the connection, if one is open.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Takes the open connection if it leads to `origin` and still looks alive.
    pub(super) fn take_alive(&mut self, origin: &Origin) -> Option<OpenConnection> {
        self.open
            .take()
            .filter(|open| open.origin == *origin && !open.sender.is_closed())
    }

    pub(super) fn put_back(&mut self, open: OpenConnection) {
        self.open = Some(open);
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

/// Connects to `origin`: through the unix socket if one is given, else through the proxy if one is set.
pub(super) async fn open(
    origin: &Origin,
    socket: Option<&Path>,
    config: &HttpClientConfig,
    tls: &TlsFactory,
) -> Result<OpenConnection, FetchError> {
    let proxy = match socket {
        Some(_) => None,
        None => proxy::choose(&config.proxy, origin)?,
    };
    let mut stream: Box<dyn Stream> = match (&proxy, socket) {
        (_, Some(path)) => {
            let connected = UnixStream::connect(path).await;
            Box::new(connected.map_err(|e| {
                let reason = format!("dial unix {}: connect: {}", path.display(), os_text(&e));
                FetchError::Dial(reason)
            })?)
        }
        (Some(proxy), None) => to_proxy(proxy, tls).await?,
        (None, None) => Box::new(dial(&origin.host, origin.port).await?),
    };
    if let Some(proxy) = &proxy {
        if proxy.kind == ProxyKind::Socks5 {
            socks5::connect(&mut stream, origin, proxy).await?;
        } else if origin.tls {
            tunnel(&mut stream, origin, proxy, &config.proxy).await?;
        }
    }
    let mut http2 = false;
    if origin.tls {
        let secured = secure(stream, &origin.host, tls).await?;
        http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
        stream = Box::new(secured);
    }
    let absolute_form = !origin.tls
        && proxy
            .as_ref()
            .is_some_and(|proxy| proxy.kind != ProxyKind::Socks5);
    Ok(OpenConnection {
        origin: origin.clone(),
        sender: shake_hands(stream, http2).await?,
        absolute_form,
        proxy_authorization: proxy.as_ref().and_then(Proxy::authorization),
    })
}

async fn shake_hands(stream: Box<dyn Stream>, http2: bool) -> Result<Sender, FetchError> {
    let failed = |e: hyper::Error| FetchError::Dial(error_chain(&e));
    // The tasks end when the sender is dropped or the peer closes.
    let ended = |result: hyper::Result<()>| {
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        }
    };
    if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        tokio::spawn(async move { ended(connection.await) });
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    tokio::spawn(async move { ended(connection.await) });
    Ok(Sender::Http1(sender))
}

async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    tls: &TlsFactory,
) -> Result<TlsStream<S>, FetchError> {
    let connector = TlsConnector::from(tls.client_config().await?);
    let name = tls.server_name(host)?;
    connector
        .connect(name, stream)
        .await
        .map_err(|e| FetchError::Dial(tls_text(&e)))
}

async fn to_proxy(proxy: &Proxy, tls: &TlsFactory) -> Result<Box<dyn Stream>, FetchError> {
    let stream = dial(&proxy.host, proxy.port).await?;
    if proxy.kind != ProxyKind::Https {
        return Ok(Box::new(stream));
    }
    let mut config = (*tls.client_config().await?).clone();
    // What we say to a proxy is HTTP/1.1.
    config.alpn_protocols.clear();
    let name = tls.server_name(&proxy.host)?;
    let secured = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|e| FetchError::Dial(format!("proxyconnect tcp: {}", tls_text(&e))))?;
    Ok(Box::new(secured))
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, FetchError> {
    let host = host.trim_matches(['[', ']']);
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| FetchError::Dial(format!("dial tcp: lookup {host}: no such host")))?;
    let mut first_error = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are one small segment: waiting for more only adds delay.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY refused");
                }
                return Ok(stream);
            }
            Err(error) => {
                let text = format!("dial tcp {address}: connect: {}", os_text(&error));
                first_error.get_or_insert(text);
            }
        }
    }
    Err(FetchError::Dial(first_error.unwrap_or_else(|| {
        format!("dial tcp: lookup {host}: no such host")
    })))
}

/// Asks an HTTP proxy for a tunnel.
async fn tunnel(
    stream: &mut Box<dyn Stream>,
    origin: &Origin,
    proxy: &Proxy,
    config: &ProxyConfig,
) -> Result<(), FetchError> {
    let failed = |reason: String| FetchError::Dial(format!("proxyconnect tcp: {reason}"));
    let authority = format!("{}:{}", origin.host, origin.port);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(Ok(value)) = proxy.authorization().as_ref().map(HeaderValue::to_str) {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    for (name, values) in &config.connect_headers {
        for value in values {
            let line_ends = |text: &str| text.contains(['\r', '\n']);
            if line_ends(name) || line_ends(value.expose()) {
                return Err(failed("invalid proxy_connect_header".to_owned()));
            }
            request.push_str(&format!("{name}: {}\r\n", value.expose()));
        }
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| failed(os_text(&e)))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= CONNECT_ANSWER_BYTES_MAX {
            return Err(failed("the proxy's answer is too long".to_owned()));
        }
        // Byte by byte, so that nothing behind the answer is swallowed.
        let byte = stream.read_u8().await.map_err(|e| failed(os_text(&e)))?;
        answer.push(byte);
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or_default();
    match status.split_once(' ') {
        Some((version, rest)) if version.starts_with("HTTP/1.") => {
            if rest.starts_with("200") {
                Ok(())
            } else {
                Err(failed(rest.to_owned()))
            }
        }
        _ => Err(failed(format!("malformed HTTP response {status:?}"))),
    }
}

/// An operating system error in Go's words: lower case, without the number.
pub(super) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn tls_text(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) => format!("tls: {inner}"),
        None => os_text(error),
    }
}
