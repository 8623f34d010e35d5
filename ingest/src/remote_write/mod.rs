//! Remote write, receiving end: versions 1.0 and 2.0.
//!
//! `WriteReceiver` takes a request from headers and body to the answer. Its parts: `negotiate` reads the headers,
//! [`crate::snappy`] decompresses, `write` decodes, appends and answers. A `WriteSession` holds what a worker remembers
//! between requests; it is borrowed only between waits, so that requests of one worker overlap. No I/O and no clock here: bodies, `now` and the store come from outside.
//! Not here: HTTP, authentication, metrics of the receiver.

mod batch;
mod exemplar;
mod headers;
mod histogram;
mod receiver;
mod response;
mod session;
mod staging;
mod v1;
mod v2;

pub use crate::wire::WireError;
pub use batch::{FamilyMetadata, Prepared, RequestCounts, Router};
pub use headers::{Version, negotiate};
pub use receiver::{RawRequest, WriteReceiver};
pub use response::{WriteResponse, WriteResult, Written};
pub use session::{WriteRequest, WriteSession, write};

/// Why a body is refused whole, with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Not the protobuf message it should be.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// Remote write 2.0: the first symbol is not the empty string.
    #[error("invalid symbols: the first symbol must be the empty string")]
    FirstSymbol,
    /// Labels of new series beyond the limit.
    #[error(
        "the labels of the request's new series are larger than {} bytes",
        crate::limits::NEW_SERIES_BYTES_MAX
    )]
    LabelsTooLarge,
    /// Native histograms beyond the limit.
    #[error(
        "the native histograms of the request have more than {} buckets",
        crate::limits::HISTOGRAM_PARTS_PER_REQUEST_MAX
    )]
    HistogramsTooLarge,
    /// A body that offsets of four bytes cannot reach into.
    #[error("the body of {bytes} bytes is too large")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests;

/// A histogram message alone.
#[cfg(test)]
pub(crate) fn histogram_of(
    message: &[u8],
) -> Option<std::sync::Arc<storage_engine::model::FloatHistogram>> {
    histogram::histogram(message).ok()?.value.ok()
}
