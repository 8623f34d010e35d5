//! From a request's body to a push: choice of the format, and the preparation for the group it goes to.

use super::encode::{PreparedPush, prepare};
use super::key::Grouping;
use super::{protobuf_body, text_body};

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not a page of metrics; the text is the Pushgateway's.
    #[error("{0}")]
    Format(String),
    /// More metrics than one push may have.
    #[error("the push has more than {0} metrics")]
    TooMany(usize),
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
}
