//! Which message a remote write request carries, from its headers.
//!
//! Promise: Prometheus's choice and its texts. Not here: reading headers from a connection.

use super::response::WriteResponse;

const MEDIA_TYPE: &str = "application/x-protobuf";

/// The versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

impl Version {
    /// The message's full name, as flags and Content-Type write it.
    pub fn message(self) -> &'static str {
        match self {
            Version::V1 => "prometheus.WriteRequest",
            Version::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// The version of that message name.
    pub fn from_message(name: &str) -> Option<Self> {
        [Version::V1, Version::V2]
            .into_iter()
            .find(|v| v.message() == name)
    }
}

/// The message of a request with these headers (`""` when absent); the answer is a 415.
pub fn negotiate(
    content_type: &str,
    content_encoding: &str,
    accepted: &[Version],
) -> Result<Version, WriteResponse> {
    let refuse = |text: String| WriteResponse::error(415, text);
    let version = version_of(content_type).map_err(refuse)?;
    if !accepted.contains(&version) {
        let names: Vec<&str> = accepted.iter().map(|v| v.message()).collect();
        return Err(refuse(format!(
            "{} protobuf message is not accepted by this server; accepted [{}]",
            version.message(),
            names.join(" ")
        )));
    }
    if !content_encoding.is_empty() && !content_encoding.eq_ignore_ascii_case("snappy") {
        return Err(refuse(format!(
            "{content_encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )));
    }
    Ok(version)
}

fn version_of(content_type: &str) -> Result<Version, String> {
    let content_type = match content_type.trim() {
        "" => MEDIA_TYPE,
        given => given,
    };
    let mut parts = content_type.split(';');
    if parts.next() != Some(MEDIA_TYPE) {
        return Err(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        ));
    }
    for parameter in parts {
        let pair: Vec<&str> = parameter.split('=').collect();
        let &[name, value] = pair.as_slice() else {
            return Err(format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {parameter} in {content_type} content-type"
            ));
        };
        if name == "proto" {
            return Version::from_message(value).ok_or_else(|| {
                format!(
                    "got {content_type} content type; unknown remote write protobuf message {value}, supported: {}, {}",
                    Version::V1.message(),
                    Version::V2.message()
                )
            });
        }
    }
    Ok(Version::V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_choose_the_message() {
        let both = [Version::V1, Version::V2];
        let ok = |t: &str, e: &str| negotiate(t, e, &both).ok();
        assert_eq!(ok("", ""), Some(Version::V1));
        assert_eq!(ok("application/x-protobuf", "snappy"), Some(Version::V1));
        assert_eq!(
            ok(
                "application/x-protobuf;proto=prometheus.WriteRequest",
                "Snappy"
            ),
            Some(Version::V1)
        );
        assert_eq!(
            ok(
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "snappy"
            ),
            Some(Version::V2)
        );
        let text = |t: &str, e: &str, accepted: &[Version]| {
            let answer = negotiate(t, e, accepted).unwrap_err();
            assert_eq!(answer.status, 415);
            answer.body
        };
        assert_eq!(
            text("text/plain", "", &both),
            "expected application/x-protobuf as the first (media) part, got text/plain content-type\n"
        );
        assert_eq!(
            text("", "gzip", &both),
            "gzip encoding (compression) is not accepted by this server; only snappy is acceptable\n"
        );
        assert_eq!(
            text(
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "",
                &[Version::V1]
            ),
            "io.prometheus.write.v2.Request protobuf message is not accepted by this server; accepted [prometheus.WriteRequest]\n"
        );
        assert!(
            text("application/x-protobuf;proto=x", "", &both)
                .contains("unknown remote write protobuf message x")
        );
        assert!(
            text("application/x-protobuf;x", "", &both)
                .contains("expected parameters to be key-values, got x in")
        );
    }
}
