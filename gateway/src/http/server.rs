//! Listeners: one accept loop per worker and address, one task per connection, and the drain at the end.
//!
//! Every worker listens on its own socket with `SO_REUSEPORT`, so the kernel spreads connections and no accept lock exists.

use super::connection::{self, Door};
use super::connections::Connections;
use super::respond;
use crate::worker::Worker;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
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
    if addr.is_ipv6() {
        // An address without a host takes callers of both families, as in Go.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// May this be the refusal of a system without IPv6?
fn has_no_ipv6(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

/// Opens one listener per worker on `addr`. Port 0 picks a free port, the same for all workers.
///
/// An address that another process listens on is refused, although `SO_REUSEPORT` would let us join it.
pub fn bind(addr: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let mut addr = addr;
    match socket(addr, false) {
        Ok(probe) => drop(probe),
        Err(error) if has_no_ipv6(&error) && addr.ip() == Ipv6Addr::UNSPECIFIED => {
            addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
            drop(socket(addr, false)?);
        }
        Err(error) => return Err(error),
    }
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(workers);
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

/// Accepts and serves until `shutdown` turns true, then drains. Runs on the worker's own `LocalSet`. The `own` door is the one on loopback
/// through which this process scrapes itself: it takes no share of the connections and only the process's own token.
pub async fn serve(
    listener: TcpListener,
    worker: Rc<Worker>,
    limits: ServerLimits,
    own: bool,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut tasks = tokio::task::JoinSet::new();
    let connections = Rc::new(Connections::default());
    let sweeping = {
        let (connections, read_timeout) = (Rc::clone(&connections), limits.read_timeout);
        tokio::task::spawn_local(async move { connections.sweep(read_timeout).await })
    };
    let door = Rc::new(Door {
        worker,
        read_timeout: limits.read_timeout,
        own,
    });
    loop {
        let permit = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            permit = limits.connections.clone().acquire_owned(), if !own => permit.ok(),
            () = std::future::ready(()), if own => None,
        };
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        // Finished connections leave the set as new ones come.
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (door, seat) = (Rc::clone(&door), connections.enter(peer));
        tasks.spawn_local(async move {
            let _permit = permit;
            if let Err(error) = connection::serve(stream, door, seat).await {
                tracing::debug!(%peer, err = %error, "connection ended with an error");
            }
        });
    }
    drop(listener);
    connections.finish();
    let drain = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
        tracing::warn!("closing connections that did not finish within the drain time");
    }
    sweeping.abort();
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
