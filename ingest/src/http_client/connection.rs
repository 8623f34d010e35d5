//! One kept-alive HTTP/1.1 connection: dialling, TLS, proxies.
//!
//! Promise: at most one connection is held; dropping the value closes it. Error texts follow Go's, because users search
//! for them. Not here: requests (`fetch`).

use super::config::HttpClientConfig;
use super::fetch::{FetchError, error_chain};
use super::proxy::{Proxy, bypasses};
use super::tls::TlsFactory;
use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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

pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// A slot for one connection to one origin.
#[derive(Debug, Default)]
pub struct Connection {
    open: Option<OpenConnection>,
}

#[derive(Debug)]
pub(super) struct OpenConnection {
    pub(super) origin: Origin,
    pub(super) sender: Sender,
    /// Requests go to a plain HTTP proxy and must carry the whole URL.
    pub(super) absolute_form: bool,
    /// `Proxy-Authorization` for such requests.
    pub(super) proxy: Option<Proxy>,
}

impl Connection {
    /// No connection yet.
    pub fn new() -> Self {
        Connection::default()
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
}

/// Connects to `origin`, through the proxy if one is set.
pub(super) async fn open(
    origin: &Origin,
    config: &HttpClientConfig,
    tls: &TlsFactory,
) -> Result<OpenConnection, FetchError> {
    let proxy = match &config.proxy_url {
        Some(url) if !bypasses(&config.no_proxy, &origin.host, origin.port) => {
            Some(Proxy::parse(url)?)
        }
        _ => None,
    };
    let mut stream = match &proxy {
        Some(proxy) => dial(&proxy.host, proxy.port).await?,
        None => dial(&origin.host, origin.port).await?,
    };
    let stream: Box<dyn Stream> = if origin.tls {
        if let Some(proxy) = &proxy {
            tunnel(&mut stream, origin, proxy, config).await?;
        }
        let connector = TlsConnector::from(tls.client_config().await?);
        let name = tls.server_name(&origin.host)?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|e| FetchError::Dial(tls_text(&e)))?;
        Box::new(stream)
    } else {
        Box::new(stream)
    };
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| FetchError::Dial(error_chain(&e)))?;
    // The task ends when the sender is dropped or the peer closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "scrape connection ended");
        }
    });
    Ok(OpenConnection {
        origin: origin.clone(),
        sender,
        absolute_form: proxy.is_some() && !origin.tls,
        proxy,
    })
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
    stream: &mut TcpStream,
    origin: &Origin,
    proxy: &Proxy,
    config: &HttpClientConfig,
) -> Result<(), FetchError> {
    let failed = |reason: String| FetchError::Dial(format!("proxyconnect tcp: {reason}"));
    let authority = format!("{}:{}", origin.host, origin.port);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(Ok(value)) = proxy.authorization.as_ref().map(|v| v.to_str()) {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    for (name, values) in &config.proxy_connect_headers {
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
