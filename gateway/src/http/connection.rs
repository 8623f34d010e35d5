//! One connection from its first byte to its last: TLS or not, HTTP/1.1 or HTTP/2, requests to answers.
//!
//! Promise: which protocol it is shows in the handshake (ALPN) or, without TLS, in the first bytes (prior knowledge); nothing is guessed
//! later. Certificates and settings are those in force when the connection came; credentials those when the request came.

use super::access;
use super::body::AnswerBody;
use super::connections::{Activity, Order, Seat};
use super::request::Request;
use super::respond::Response;
use super::{compress, router};
use crate::limits::{
    HEAD_BYTES_MAX, HEAD_SECONDS_MAX, HEADER_LIST_BYTES_MAX, STREAMS_PER_CONNECTION_MAX,
};
use crate::web_config::Roles;
use crate::worker::Worker;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What every connection of a listener needs.
pub(super) struct Door {
    pub(super) worker: Rc<Worker>,
    pub(super) read_timeout: Duration,
    /// The listener on loopback through which this process scrapes itself.
    pub(super) own: bool,
}

/// The beginning of every HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So much of it is no beginning of an HTTP/1.1 request.
const PREFACE_TELLS: usize = 4;
/// Pause between looks at a beginning that is too short to tell.
const PEEK_AGAIN_AFTER: Duration = Duration::from_millis(5);
/// First byte of a TLS record with a handshake.
const TLS_HANDSHAKE: u8 = 22;
/// What Go answers to a plain request on a TLS port.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, door: Rc<Door>, seat: Seat) -> io::Result<()> {
    let activity = Rc::clone(&seat.activity);
    let web = door
        .worker
        .services
        .web
        .as_ref()
        .filter(|_| !door.own)
        .map(|web| web.snapshot());
    let may_http2 = web.as_ref().is_none_or(|web| web.http2);
    let Some(config) = web.and_then(|web| web.tls.clone()) else {
        let sniffed = activity
            .until_ordered(speaks_http2(&stream, &activity))
            .await;
        let Some(http2) = sniffed else { return Ok(()) };
        return serve_http(stream, http2? && may_http2, door, activity).await;
    };
    let opening = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            let mut stream = stream;
            stream.write_all(NOT_TLS).await?;
            return Ok(None);
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        acceptor.accept(stream).await.map(Some)
    };
    let patient = tokio::time::timeout(HEAD_SECONDS_MAX.min(door.read_timeout), opening);
    let Some(opened) = activity.until_ordered(patient).await else {
        return Ok(());
    };
    let Some(stream) = opened.map_err(|_| io::ErrorKind::TimedOut)?? else {
        return Ok(());
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    serve_http(stream, http2, door, activity).await
}

/// Does the connection begin as HTTP/2? Looks without taking anything; an idle connection waits here for its first byte.
async fn speaks_http2(stream: &TcpStream, activity: &Activity) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        activity.received();
        if count == 0 || !PREFACE.starts_with(&seen[..count]) {
            return Ok(false);
        }
        if count >= PREFACE_TELLS {
            return Ok(true);
        }
        tokio::time::sleep(PEEK_AGAIN_AFTER).await;
    }
}

async fn serve_http<S>(
    stream: S,
    http2: bool,
    door: Rc<Door>,
    activity: Rc<Activity>,
) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let peer = activity.peer();
    let io = Watched {
        stream: TokioIo::new(stream),
        activity: Rc::clone(&activity),
    };
    let read_timeout = door.read_timeout;
    let of_request = Rc::clone(&activity);
    let service = service_fn(move |request| {
        let in_request = of_request.begin();
        let door = Rc::clone(&door);
        async move {
            let response = answer(&door, peer, request).await;
            Ok::<_, Infallible>(AnswerBody::of(response, in_request))
        }
    });
    let ended = if http2 {
        activity.is_multiplexed();
        let connection = http2::Builder::new(OnThisThread)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        drive(&activity, |context, finish| {
            if finish {
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(context)
        })
        .await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        drive(&activity, |context, finish| {
            if finish {
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(context)
        })
        .await
    };
    ended.map_err(io::Error::other)
}

/// Polls a connection until it ends or is told to close; passes the order to finish on to it, once.
async fn drive(
    activity: &Activity,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
) -> hyper::Result<()> {
    let mut told = false;
    poll_fn(|context| {
        activity.listen(context);
        let finish = match activity.order() {
            Order::None => false,
            Order::Finish => !std::mem::replace(&mut told, true),
            Order::Close => return Poll::Ready(Ok(())),
        };
        poll(context, finish)
    })
    .await
}

async fn answer(door: &Door, peer: SocketAddr, request: hyper::Request<Incoming>) -> Response {
    let coding = compress::accepted(hyper::Request::headers(&request));
    let mut request = Request::new(request, door.read_timeout);
    request.peer = Some(peer);
    let worker = &door.worker;
    let response: http::Response<Bytes> = match &worker.services.web {
        None => router::dispatch(worker, request, Roles::ALL).await,
        Some(web) => access::guarded(worker, web, door.own, request).await,
    };
    compress::packed(coding, response)
}

/// Runs the requests of an HTTP/2 connection as tasks of the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A stream that tells when bytes come.
struct Watched<S> {
    stream: TokioIo<S>,
    activity: Rc<Activity>,
}

impl<S: tokio::io::AsyncRead + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if outcome.is_ready() {
            self.activity.received();
        }
        outcome
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        if outcome.is_ready() {
            self.activity.sent();
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        if outcome.is_ready() {
            self.activity.sent();
        }
        outcome
    }
}
