//! Compressed bodies of requests, unpacked up to a bound.
//!
//! Promise: nothing beyond the bound is kept, whatever a body claims. Not here: snappy blocks (`crate::snappy`), as remote write has them.

use std::borrow::Cow;
use std::io::Read;

/// `Content-Encoding` of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoding {
    /// As it is.
    Identity,
    /// `gzip`
    Gzip,
    /// `snappy`, in frames.
    SnappyFrames,
}

impl BodyEncoding {
    /// Reads the header. One that is not known means nothing, as for the Pushgateway.
    pub fn from_header(value: &str) -> BodyEncoding {
        if value.eq_ignore_ascii_case("gzip") {
            BodyEncoding::Gzip
        } else if value.eq_ignore_ascii_case("snappy") {
            BodyEncoding::SnappyFrames
        } else {
            BodyEncoding::Identity
        }
    }
}

/// Why a body cannot be unpacked; texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// Not the compression that it claims, or not whole.
    #[error("{0}")]
    Compression(String),
    /// Decompressed, it is longer than allowed.
    #[error("the decompressed body exceeds the limit of {0} bytes")]
    TooLarge(usize),
}

/// Decompresses a body; nothing beyond `limit` bytes is kept.
pub fn unpack(
    body: &[u8],
    encoding: BodyEncoding,
    limit: usize,
) -> Result<Cow<'_, [u8]>, UnpackError> {
    let mut out = Vec::new();
    let room = limit as u64 + 1;
    let read = match encoding {
        BodyEncoding::Identity => return Ok(Cow::Borrowed(body)),
        BodyEncoding::Gzip => {
            if body.len() < 10 {
                let text = if body.is_empty() {
                    "EOF"
                } else {
                    "unexpected EOF"
                };
                return Err(UnpackError::Compression(text.to_owned()));
            }
            if !body.starts_with(&[0x1f, 0x8b, 8]) {
                return Err(UnpackError::Compression("gzip: invalid header".to_owned()));
            }
            flate2::read::MultiGzDecoder::new(body)
                .take(room)
                .read_to_end(&mut out)
        }
        BodyEncoding::SnappyFrames => snap::read::FrameDecoder::new(body)
            .take(room)
            .read_to_end(&mut out),
    };
    read.map_err(|error| {
        UnpackError::Compression(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        })
    })?;
    if out.len() > limit {
        return Err(UnpackError::TooLarge(limit));
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn bodies_are_unpacked_up_to_the_limit() {
        let plain = b"x 1\n".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut snappy = snap::write::FrameEncoder::new(Vec::new());
        snappy.write_all(&plain).unwrap();
        let snappy = snappy.into_inner().unwrap();
        for (body, encoding) in [
            (&gzip, BodyEncoding::Gzip),
            (&snappy, BodyEncoding::SnappyFrames),
        ] {
            assert_eq!(&*unpack(body, encoding, 400).unwrap(), plain);
            assert_eq!(unpack(body, encoding, 399), Err(UnpackError::TooLarge(399)));
            assert!(unpack(&body[..body.len() - 5], encoding, 400).is_err());
        }
        let error = |body: &[u8]| {
            unpack(body, BodyEncoding::Gzip, 10)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error(b""), "EOF");
        assert_eq!(error(b"x 1\n"), "unexpected EOF");
        assert_eq!(error(b"xxxxxxxxxx 1\n"), "gzip: invalid header");
    }
}
