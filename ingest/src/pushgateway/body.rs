//! From a request's body to a push: decompression, choice of the format, and the preparation for the group it goes to.

use super::encode::{PreparedPush, prepare};
use super::key::Grouping;
use super::{protobuf_body, text_body};
use std::borrow::Cow;
use std::io::Read;

/// `Content-Encoding` of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushEncoding {
    /// As it is.
    Identity,
    /// `gzip`
    Gzip,
    /// `snappy`, in frames.
    Snappy,
}

impl PushEncoding {
    /// Reads the header. One that is not known means nothing, as for the Pushgateway.
    pub fn from_header(value: &str) -> PushEncoding {
        if value.eq_ignore_ascii_case("gzip") {
            PushEncoding::Gzip
        } else if value.eq_ignore_ascii_case("snappy") {
            PushEncoding::Snappy
        } else {
            PushEncoding::Identity
        }
    }
}

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not the compression that it claims, or not whole.
    #[error("{0}")]
    Compression(String),
    /// Decompressed, it is longer than allowed.
    #[error("the decompressed body exceeds the limit of {0} bytes")]
    TooLarge(usize),
    /// Not a page of metrics; the text is the Pushgateway's.
    #[error("{0}")]
    Format(String),
    /// More metrics than one push may have.
    #[error("the push has more than {0} metrics")]
    TooMany(usize),
}

/// Decompresses a body; nothing beyond `limit` bytes is kept.
pub fn decode_body(
    body: &[u8],
    encoding: PushEncoding,
    limit: usize,
) -> Result<Cow<'_, [u8]>, BodyError> {
    let mut out = Vec::new();
    let room = limit as u64 + 1;
    let read = match encoding {
        PushEncoding::Identity => return Ok(Cow::Borrowed(body)),
        PushEncoding::Gzip => {
            if body.len() < 10 {
                let text = if body.is_empty() {
                    "EOF"
                } else {
                    "unexpected EOF"
                };
                return Err(BodyError::Compression(text.to_owned()));
            }
            if !body.starts_with(&[0x1f, 0x8b, 8]) {
                return Err(BodyError::Compression("gzip: invalid header".to_owned()));
            }
            flate2::read::MultiGzDecoder::new(body)
                .take(room)
                .read_to_end(&mut out)
        }
        PushEncoding::Snappy => snap::read::FrameDecoder::new(body)
            .take(room)
            .read_to_end(&mut out),
    };
    read.map_err(|error| {
        BodyError::Compression(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        })
    })?;
    if out.len() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    Ok(Cow::Owned(out))
}

/// Reads a body of this `Content-Type` that goes to this group. `seed` is that of the [`super::Groups`] it goes to.
pub fn parse_push(
    body: &[u8],
    content_type: &str,
    grouping: &Grouping,
    seed: u64,
) -> Result<PreparedPush, BodyError> {
    let parsed = match is_protobuf(content_type) {
        true => protobuf_body::parse(body)?,
        false => text_body::parse(body)?,
    };
    Ok(prepare(&parsed, grouping, seed))
}

/// Is this the type of delimited `MetricFamily` messages? Everything else is text.
fn is_protobuf(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !media.eq_ignore_ascii_case("application/vnd.google.protobuf") {
        return false;
    }
    let (mut delimited, mut family) = (false, false);
    for part in parts {
        let Some((name, value)) = part.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "encoding" => delimited = value == "delimited",
            "proto" => family = value == "io.prometheus.client.MetricFamily",
            _ => {}
        }
    }
    delimited && family
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn content_types() {
        for (header, expected) in [
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                true,
            ),
            (
                "Application/vnd.google.protobuf;encoding=\"delimited\";PROTO=io.prometheus.client.MetricFamily",
                true,
            ),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily",
                false,
            ),
            (
                "application/vnd.google.protobuf; encoding=text; proto=io.prometheus.client.MetricFamily",
                false,
            ),
            ("text/plain; version=0.0.4", false),
            ("", false),
        ] {
            assert_eq!(is_protobuf(header), expected, "{header}");
        }
    }

    #[test]
    fn bodies_are_unpacked_up_to_the_limit() {
        let plain = b"x 1\n".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut snappy = snap::write::FrameEncoder::new(Vec::new());
        snappy.write_all(&plain).unwrap();
        let snappy = snappy.into_inner().unwrap();
        for (body, encoding) in [(&gzip, PushEncoding::Gzip), (&snappy, PushEncoding::Snappy)] {
            assert_eq!(&*decode_body(body, encoding, 400).unwrap(), plain);
            assert_eq!(
                decode_body(body, encoding, 399),
                Err(BodyError::TooLarge(399))
            );
            assert!(decode_body(&body[..body.len() - 5], encoding, 400).is_err());
        }
        let error = |body: &[u8]| {
            decode_body(body, PushEncoding::Gzip, 10)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error(b""), "EOF");
        assert_eq!(error(b"x 1\n"), "unexpected EOF");
        assert_eq!(error(b"xxxxxxxxxx 1\n"), "gzip: invalid header");
    }
}
