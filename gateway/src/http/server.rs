//! Listeners and connections: one accept loop per worker and address, one task per connection.
//!
//! Every worker listens on its own socket with `SO_REUSEPORT`, so the kernel spreads connections and no accept lock exists.

use super::request::Request;
use super::{compress, respond, router};
use crate::worker::Worker;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Connections the kernel may hold for us before `accept`.
const LISTEN_BACKLOG: i32 = 1024;
/// How long open connections may finish their request after shutdown begins.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed `accept` (out of descriptors), so that the loop does not spin.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// What all accept loops share.
#[derive(Clone)]
pub struct ServerLimits {
    /// Open connections over all workers (`--web.max-connections`); further ones wait in the backlog.
    pub connections: Arc<Semaphore>,
    /// Longest wait for a request head, also of an idle connection (`--web.read-timeout`).
    pub read_timeout: Duration,
}

fn socket(addr: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Opens one listener per worker on `addr`. Port 0 picks a free port, the same for all workers.
///
/// An address that another process listens on is refused, although `SO_REUSEPORT` would let us join it.
pub fn bind(addr: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    if addr.port() != 0 {
        drop(socket(addr, false)?);
    }
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(workers);
    let mut addr = addr;
    for _ in 0..workers {
        let socket = socket(addr, true)?;
        socket.listen(LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener: TcpListener = socket.into();
        addr = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Accepts and serves until `shutdown` turns true, then drains. Runs on the worker's own `LocalSet`.
pub async fn serve(
    listener: TcpListener,
    worker: Rc<Worker>,
    limits: ServerLimits,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            permit = limits.connections.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        // Finished connections leave the set as new ones come.
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (worker, mut shutdown, read_timeout) =
            (worker.clone(), shutdown.clone(), limits.read_timeout);
        connections.spawn_local(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let worker = worker.clone();
                async move {
                    let coding = compress::accepted(hyper::Request::headers(&request));
                    let request = Request::new(request, read_timeout);
                    let response = router::dispatch(&worker, request).await;
                    let response = compress::packed(coding, response);
                    Ok::<_, Infallible>(response.map(Full::new))
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(read_timeout)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                _ = shutdown.wait_for(|stop| *stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%peer, err = %error, "connection ended with an error");
            }
        });
    }
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
        tracing::warn!("closing connections that did not finish within the drain time");
    }
    Ok(())
}

/// The answer to a request that came before the store can answer, or after it stopped.
pub(super) fn not_ready(stopping: bool) -> respond::Response {
    let mut response = respond::text(503, "Service Unavailable");
    let value = http::HeaderValue::from_static(if stopping { "true" } else { "false" });
    response
        .headers_mut()
        .insert("x-prometheus-stopping", value);
    response
}
