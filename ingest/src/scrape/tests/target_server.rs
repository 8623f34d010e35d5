//! A target for tests: speaks just enough HTTP/1.1 by hand to misbehave in every way that a test wants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// What the server does on a path.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// 200 with headers (lines with `\r\n`) and a body.
    Page(String, Vec<u8>),
    /// Everything as given; the connection is closed behind it.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// Headers as given, then the bytes again and again.
    Endless(String, Vec<u8>),
}

pub(super) fn text(body: &str) -> Reply {
    Reply::Page(
        "Content-Type: text/plain; version=0.0.4\r\n".into(),
        body.into(),
    )
}

pub(super) fn status(line: &str, headers: &str) -> Reply {
    Reply::Raw(
        format!("HTTP/1.1 {line}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
            .into(),
    )
}

#[derive(Debug, Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

#[derive(Debug)]
pub(super) struct TargetServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for TargetServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TargetServer {
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(super) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::start_with(Some(acceptor)).await
    }

    async fn start_with(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *state.connections.lock().unwrap() += 1;
                let state = Arc::clone(&state);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &state).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        TargetServer {
            address,
            shared,
            task,
        }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `/metrics` answers from now on.
    pub(super) fn reply(&self, reply: Reply) {
        self.reply_on("/metrics", reply);
    }

    pub(super) fn reply_on(&self, path: &str, reply: Reply) {
        self.shared
            .replies
            .lock()
            .unwrap()
            .insert(path.to_owned(), reply);
    }

    /// Heads of all requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Shared) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        state.requests.lock().unwrap().push(head);
        let reply = state.replies.lock().unwrap().get(&path).cloned();
        let done = match reply {
            None => {
                let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(missing).await
            }
            Some(Reply::Page(headers, body)) => {
                let length = body.len();
                let mut out =
                    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n")
                        .into_bytes();
                out.extend(body);
                stream.write_all(&out).await
            }
            Some(Reply::Raw(bytes)) => {
                // Whether the peer still listens is its own affair.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Some(Reply::Hang) => {
                sleep(Duration::from_secs(30)).await;
                return;
            }
            Some(Reply::Endless(headers, piece)) => {
                let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
                let mut sent = stream.write_all(head.as_bytes()).await;
                if piece.is_empty() {
                    sleep(Duration::from_secs(30)).await;
                    return;
                }
                while sent.is_ok() {
                    sent = stream.write_all(&piece).await;
                }
                sent
            }
        };
        if done.is_err() {
            return;
        }
    }
}
