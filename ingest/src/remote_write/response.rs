//! The answer to a remote write request, as plain data.
//!
//! Promise: status, text and counts are Prometheus's. Not here: writing it to a connection.

use super::batch::{FamilyMetadata, RequestCounts};

/// What the `X-Prometheus-Remote-Write-*-Written` headers say; they belong on every answer, whatever its status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// `X-Prometheus-Remote-Write-Samples-Written`
    pub samples: u64,
    /// `X-Prometheus-Remote-Write-Histograms-Written`
    pub histograms: u64,
    /// `X-Prometheus-Remote-Write-Exemplars-Written`
    pub exemplars: u64,
}

/// An HTTP answer: to be copied as it is, text as `text/plain; charset=utf-8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteResponse {
    /// 204, 400, 415 or 503.
    pub status: u16,
    /// Empty with 204; ends with a line feed otherwise.
    pub body: String,
    /// For the headers.
    pub written: Written,
}

impl WriteResponse {
    /// An answer with a text and nothing written.
    pub fn error(status: u16, text: impl Into<String>) -> Self {
        let mut body = text.into();
        body.push('\n');
        WriteResponse {
            status,
            body,
            written: Written::default(),
        }
    }

    /// 204.
    pub(crate) fn success(written: Written) -> Self {
        WriteResponse {
            status: 204,
            body: String::new(),
            written,
        }
    }
}

/// The answer, and what the receiver's own metrics and metadata store want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteResult {
    /// The answer.
    pub response: WriteResponse,
    /// What the request contained (zero when it could not be decoded).
    pub counts: RequestCounts,
    /// Float samples stored, or already there bit for bit.
    pub samples_stored: u64,
    /// Native histogram samples stored, or already there bit for bit.
    pub histograms_stored: u64,
    /// Samples of both kinds refused by the shards, and histograms that are not valid.
    pub samples_rejected: u64,
    /// Series that did not exist before.
    pub series_added: u64,
    /// Metadata to keep.
    pub metadata: Vec<FamilyMetadata>,
}
