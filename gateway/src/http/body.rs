//! Bodies, read to the end or to their bound.

use crate::limits::{BODY_DRAINED_BYTES_MAX, BODY_RESERVED_BYTES_MAX};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;

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
