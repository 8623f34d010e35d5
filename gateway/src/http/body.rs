//! Bodies, read to the end or to their bound.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

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
}

/// Appends the body to `out`; refuses as soon as the declared or received length is over `limit`.
pub(super) async fn read_limited(
    mut body: Incoming,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    out.reserve(declared as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| BodyError::Read(e.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if out.len() + data.len() > limit {
                return Err(BodyError::TooLarge { limit });
            }
            out.extend_from_slice(data);
        }
    }
    Ok(())
}
