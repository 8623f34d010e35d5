//! One HTTP/1.1 connection that reconnects when it must.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A keep-alive connection to one server.
pub struct Connection {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// `host:port` and path of an `http://` URL.
pub fn split_url(url: &str) -> Result<(String, String)> {
    let uri: http::Uri = url.parse().with_context(|| format!("bad URL {url:?}"))?;
    if uri.scheme_str() != Some("http") {
        bail!("only http:// URLs are supported, got {url:?}");
    }
    let host = uri.host().context("the URL has no host")?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    Ok((format!("{host}:{}", uri.port_u16().unwrap_or(80)), path))
}

impl Connection {
    /// Names the server; connects with the first request.
    pub fn new(authority: String) -> Self {
        Connection {
            authority,
            sender: None,
        }
    }

    /// Sends one request, returns status and body. After an error the next call connects anew.
    pub async fn send(
        &mut self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let outcome = tokio::time::timeout(ANSWER_MAX, self.try_send(request, body)).await;
        let outcome = outcome.context("no answer in time").and_then(|r| r);
        if outcome.is_err() {
            self.sender = None;
        }
        outcome
    }

    async fn try_send(
        &mut self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let request = request
            .header("host", &self.authority)
            .body(Full::new(body))?;
        let sender = match &mut self.sender {
            Some(sender) if !sender.is_closed() => sender,
            slot => {
                let stream = TcpStream::connect(&self.authority).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                slot.insert(sender)
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }
}
