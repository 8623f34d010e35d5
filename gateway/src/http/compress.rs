//! Answers compressed with gzip or deflate for clients that ask for it.

use super::respond::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};
use std::io::Write;

/// Bodies below this stay as they are: the header would cost more than it saves.
const PACKED_BODY_BYTES_MIN: usize = 1024;

/// How an answer can be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// The zlib format, as HTTP means `deflate`.
    Deflate,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    fn pack(self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let room = Vec::with_capacity(plain.len() / 4);
        match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(room, Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(room, Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
        }
    }
}

/// The first coding in the client's list that we have. (`q=0` refuses.)
pub(super) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .find_map(|part| {
            let mut fields = part.split(';').map(str::trim);
            let coding = match fields.next().unwrap_or("") {
                c if c.eq_ignore_ascii_case("gzip") || c == "*" => Coding::Gzip,
                c if c.eq_ignore_ascii_case("deflate") => Coding::Deflate,
                _ => return None,
            };
            let refused = fields.any(|f| {
                f.strip_prefix("q=")
                    .and_then(|q| q.parse::<f32>().ok())
                    .is_some_and(|q| q <= 0.0)
            });
            (!refused).then_some(coding)
        })
}

/// Would the client get gzip?
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    accepted(headers) == Some(Coding::Gzip)
}

/// Compresses the body where the client takes it and it is worth it.
pub(super) fn packed(coding: Option<Coding>, mut response: Response) -> Response {
    let worth = response.body().len() >= PACKED_BODY_BYTES_MIN
        && !response.headers().contains_key(CONTENT_ENCODING);
    let Some(coding) = coding.filter(|_| worth) else {
        return response;
    };
    if let Ok(packed) = coding.pack(response.body()) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        *response.body_mut() = Bytes::from(packed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn headers(value: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        map
    }

    #[test]
    fn negotiates_and_round_trips() {
        for (value, coding) in [
            ("deflate, gzip;q=0.5", Some(Coding::Deflate)),
            ("br, gzip, deflate", Some(Coding::Gzip)),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("gzip;q=0", None),
            ("identity", None),
        ] {
            assert_eq!(accepted(&headers(value)), coding, "{value}");
        }
        let body = "x".repeat(5000);
        for coding in [Coding::Gzip, Coding::Deflate] {
            let response = http::Response::new(Bytes::from(body.clone()));
            let packed = packed(accepted(&headers(coding.name())), response);
            assert_eq!(packed.headers()[CONTENT_ENCODING], coding.name());
            let mut plain = String::new();
            match coding {
                Coding::Gzip => {
                    flate2::read::GzDecoder::new(&packed.body()[..]).read_to_string(&mut plain)
                }
                Coding::Deflate => {
                    flate2::read::ZlibDecoder::new(&packed.body()[..]).read_to_string(&mut plain)
                }
            }
            .unwrap();
            assert_eq!(plain, body);
        }
    }
}
