//! Answers compressed with gzip for clients that ask for it.

use super::respond::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};
use std::io::Write;

/// Bodies below this stay as they are: the header would cost more than it saves.
const GZIP_BODY_BYTES_MIN: usize = 1024;

/// Does the client take gzip? (`q=0` refuses.)
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| {
            v.split(',').any(|part| {
                let mut fields = part.split(';').map(str::trim);
                let coding = fields.next().unwrap_or("");
                let refused = fields.any(|f| {
                    f.strip_prefix("q=")
                        .and_then(|q| q.parse::<f32>().ok())
                        .is_some_and(|q| q <= 0.0)
                });
                (coding.eq_ignore_ascii_case("gzip") || coding == "*") && !refused
            })
        })
}

/// Compresses the body where the client takes gzip and it is worth it.
pub(super) fn gzip_if_accepted(request: &HeaderMap, mut response: Response) -> Response {
    let worth = response.body().len() >= GZIP_BODY_BYTES_MIN
        && !response.headers().contains_key(CONTENT_ENCODING);
    if !worth || !accepts_gzip(request) {
        return response;
    }
    let plain = response.body().clone();
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    if let Ok(packed) = packed {
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
            .headers_mut()
            .append(VARY, HeaderValue::from_static("Accept-Encoding"));
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
        assert!(accepts_gzip(&headers("deflate, gzip;q=0.5")));
        assert!(!accepts_gzip(&headers("gzip;q=0")));
        assert!(!accepts_gzip(&headers("identity")));
        let body = "x".repeat(5000);
        let response = http::Response::new(Bytes::from(body.clone()));
        let packed = gzip_if_accepted(&headers("gzip"), response);
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&packed.body()[..])
            .read_to_string(&mut plain)
            .unwrap();
        assert_eq!(plain, body);
    }
}
