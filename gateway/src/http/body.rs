//! Bodies: those of requests, read to the end or to their bound, and those of answers, whole or in pieces.

use super::connections::InRequest;
use crate::limits::{BODY_DRAINED_BYTES_MAX, BODY_RESERVED_BYTES_MAX};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Longer than allowed.
    #[error("request body exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The connection broke or the framing is wrong.
    #[error("reading the request body: {0}")]
    Read(String),
    /// Not whole within `--web.read-timeout`.
    #[error("reading the request body: not complete after {0:?}")]
    Slow(Duration),
}

/// Appends the body to `out`; refuses as soon as the declared or received length is over `limit`.
pub(super) async fn read_limited(
    mut body: Incoming,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        drain(body).await;
        return Err(BodyError::TooLarge { limit });
    }
    out.reserve(declared.min(BODY_RESERVED_BYTES_MAX) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| BodyError::Read(e.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if out.len() + data.len() > limit {
                drain(body).await;
                return Err(BodyError::TooLarge { limit });
            }
            out.extend_from_slice(data);
        }
    }
    Ok(())
}

/// Reads on without keeping anything, up to a bound: a connection closed over unread bytes would take the answer with it.
async fn drain(mut body: Incoming) {
    let mut left = BODY_DRAINED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Pieces of an answer that is written while it is sent; it travels with the head.
#[derive(Debug, Clone)]
pub(crate) struct Streamed(Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>);

impl Streamed {
    /// Makes the pieces the answer's body.
    pub(crate) fn attach(
        mut response: super::respond::Response,
        pieces: mpsc::Receiver<Bytes>,
    ) -> super::respond::Response {
        let streamed = Streamed(Arc::new(Mutex::new(Some(pieces))));
        response.extensions_mut().insert(streamed);
        response
    }
}

/// The body of an answer on its way to the client.
pub(super) struct AnswerBody {
    content: Sending,
    /// The connection counts as busy as long as the body is on its way.
    _in_request: InRequest,
}

enum Sending {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl AnswerBody {
    /// The body of an answer, taken from it.
    pub(super) fn of(
        mut response: super::respond::Response,
        in_request: InRequest,
    ) -> http::Response<AnswerBody> {
        let pieces = response.extensions_mut().remove::<Streamed>();
        let pieces = pieces.and_then(|streamed| {
            let mut pieces = streamed.0.lock().unwrap_or_else(PoisonError::into_inner);
            pieces.take()
        });
        in_request.sends();
        response.map(|whole| AnswerBody {
            content: match pieces {
                Some(pieces) => Sending::Pieces(pieces),
                None => Sending::Whole(Some(whole).filter(|bytes| !bytes.is_empty())),
            },
            _in_request: in_request,
        })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Sending::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Sending::Pieces(pieces) => pieces
                .poll_recv(context)
                .map(|piece| piece.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Sending::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Sending::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Sending::Pieces(_) => SizeHint::default(),
        }
    }
}
