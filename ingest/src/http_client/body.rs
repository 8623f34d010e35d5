//! Receiving a response body into a reused buffer, decompressed, never beyond a limit.
//!
//! Promise: at most `limit` bytes are kept, and a compressed body is inflated in steps that stop at the limit, so that a
//! small body that unpacks to gigabytes costs no more than the limit.

use super::fetch::FetchError;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::{self, Write};

/// A buffer that refuses to grow beyond its limit.
struct BoundedBuffer<'a> {
    out: &'a mut Vec<u8>,
    bytes_max: u64,
    exceeded: bool,
}

impl Write for BoundedBuffer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() as u64 + bytes.len() as u64 >= self.bytes_max {
            self.exceeded = true;
            return Err(io::Error::other("body size limit exceeded"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads all of `body` into `out`. A body of `bytes_max` bytes or more is an error, as in Prometheus.
pub(super) async fn receive(
    body: Incoming,
    gzip: bool,
    bytes_max: u64,
    out: &mut Vec<u8>,
) -> Result<(), FetchError> {
    out.clear();
    let sink = BoundedBuffer {
        out,
        bytes_max,
        exceeded: false,
    };
    if !gzip {
        return receive_plain(body, sink).await;
    }
    let mut inflater = MultiGzDecoder::new(sink);
    let mut body = body;
    while let Some(data) = next_data(&mut body).await? {
        if let Err(error) = inflater.write_all(&data) {
            return Err(gzip_error(&inflater, &error));
        }
    }
    match inflater.try_finish() {
        Ok(()) => Ok(()),
        // Here nothing is left to read: the stream is cut short, or its checksum is wrong.
        Err(_) if !inflater.get_ref().exceeded => Err(FetchError::Body(
            "gzip: unexpected EOF or invalid checksum".to_owned(),
        )),
        Err(error) => Err(gzip_error(&inflater, &error)),
    }
}

async fn receive_plain(mut body: Incoming, mut sink: BoundedBuffer<'_>) -> Result<(), FetchError> {
    while let Some(data) = next_data(&mut body).await? {
        if sink.write_all(&data).is_err() {
            return Err(FetchError::BodySizeLimit);
        }
    }
    Ok(())
}

pub(super) async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, FetchError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            FetchError::Body(if e.is_incomplete_message() || e.is_body_write_aborted() {
                "unexpected EOF".to_owned()
            } else {
                super::fetch::error_chain(&e)
            })
        })?;
        // Trailers carry no page bytes.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn gzip_error(inflater: &MultiGzDecoder<BoundedBuffer<'_>>, error: &io::Error) -> FetchError {
    if inflater.get_ref().exceeded {
        FetchError::BodySizeLimit
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        FetchError::Body("unexpected EOF".to_owned())
    } else {
        FetchError::Body(format!("gzip: {error}"))
    }
}
