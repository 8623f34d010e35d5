//! A worker's whole receiver: headers, decompression, decoding, appending, answer.
//!
//! Promise: requests of one worker overlap while shards work; each has its own buffer, and the buffers are used again.
//! Not here: HTTP, limits on the compressed body, authentication.

use super::batch::RequestCounts;
use super::headers::{Version, negotiate};
use super::response::{WriteResponse, WriteResult};
use super::session::{WriteRequest, WriteSession, write};
use crate::append::AppendTarget;
use crate::limits::SNAPPY_DECODERS_POOLED_MAX;
use crate::snappy::SnappyDecoder;
use std::cell::RefCell;
use storage_engine::model::TimestampMs;

/// A request as it came, its body read whole.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    /// `Content-Type`, `""` when absent.
    pub content_type: &'a str,
    /// `Content-Encoding`, `""` when absent.
    pub content_encoding: &'a str,
    /// The compressed body.
    pub body: &'a [u8],
    /// Bound on the decompressed body, by default [`crate::limits::REMOTE_WRITE_BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// The messages that the server accepts.
    pub accepted: &'a [Version],
    /// The time of arrival.
    pub now: TimestampMs,
}

/// What one worker thread needs to receive remote write.
#[derive(Debug)]
pub struct WriteReceiver {
    session: RefCell<WriteSession>,
    decoders: RefCell<Vec<SnappyDecoder>>,
}

impl WriteReceiver {
    /// A receiver that knows no series yet; see [`WriteSession::new`] for `seed`.
    pub fn new(seed: u64) -> Self {
        WriteReceiver {
            session: RefCell::new(WriteSession::new(seed)),
            decoders: RefCell::default(),
        }
    }

    /// The worker's session.
    pub fn session(&self) -> &RefCell<WriteSession> {
        &self.session
    }

    /// Takes a request to its answer. Not `Send`: it stays on its worker's thread.
    pub async fn receive<T: AppendTarget>(
        &self,
        target: &T,
        request: RawRequest<'_>,
    ) -> WriteResult {
        let chosen = negotiate(
            request.content_type,
            request.content_encoding,
            request.accepted,
        );
        let version = match chosen {
            Ok(version) => version,
            Err(response) => return refused(response),
        };
        let mut decoder = self.decoders.borrow_mut().pop().unwrap_or_default();
        let result = match decoder.decode(request.body, request.body_bytes_max) {
            Ok(body) => {
                let request = WriteRequest {
                    version,
                    body,
                    now: request.now,
                };
                write(&self.session, target, request).await
            }
            Err(error) => refused(WriteResponse::error(400, error.to_string())),
        };
        let mut decoders = self.decoders.borrow_mut();
        if decoders.len() < SNAPPY_DECODERS_POOLED_MAX {
            decoders.push(decoder);
        }
        result
    }
}

/// An answer to a request that was not decoded.
pub(super) fn refused(response: WriteResponse) -> WriteResult {
    WriteResult {
        response,
        counts: RequestCounts::default(),
        samples_stored: 0,
        histograms_stored: 0,
        samples_rejected: 0,
        series_added: 0,
        metadata: Vec::new(),
    }
}
