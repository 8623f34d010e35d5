//! Which format a page is in, and which formats to ask for.
//!
//! Promise: Prometheus's own choice for every Content-Type and fallback, with its texts; Accept headers equal to
//! Prometheus's byte for byte.
//! Not here: the request itself, content encodings.

use super::parser::Dialect;
use super::quote::go_quote;
use std::fmt::Write;

/// A scrape protocol as `scrape_protocols` and `fallback_scrape_protocol` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`
    PrometheusText1_0_0,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// What Prometheus asks for when a configuration names nothing.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// All protocols, in the order of their names.
    pub const ALL: [ScrapeProtocol; 5] = [
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText0_0_4,
        ScrapeProtocol::PrometheusText1_0_0,
    ];

    /// The protocol of that configuration name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// The configuration name.
    pub fn name(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media type that a page of this protocol has.
    pub fn media_type(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "application/vnd.google.protobuf",
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => {
                "text/plain"
            }
            ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => {
                "application/openmetrics-text"
            }
        }
    }

    fn accept_value(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            ScrapeProtocol::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// How a target should write names that are not legacy names (`metric_name_escaping_scheme`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EscapingScheme {
    /// `allow-utf-8`: as they are, in quotes.
    #[default]
    AllowUtf8,
    /// `underscores`
    Underscores,
    /// `dots`
    Dots,
    /// `values`
    Values,
}

impl EscapingScheme {
    /// The word in headers and configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            EscapingScheme::AllowUtf8 => "allow-utf-8",
            EscapingScheme::Underscores => "underscores",
            EscapingScheme::Dots => "dots",
            EscapingScheme::Values => "values",
        }
    }

    /// The scheme of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|s| s.as_str() == name)
    }
}

/// The `Accept` header for these protocols, best first.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut out = String::new();
    // Prometheus starts one above the number of protocols that it knows.
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for &protocol in protocols {
        out.push_str(protocol.accept_value());
        if matches!(
            protocol,
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0
        ) {
            let _ = write!(out, ";escaping={}", escaping.as_str());
        }
        let _ = write!(out, ";q=0.{weight},");
        weight = weight.saturating_sub(1);
    }
    let _ = write!(out, "*/*;q=0.{weight}");
    out
}

/// What a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFormat {
    /// One of the grammars of text.
    Text(Dialect),
    /// Delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

/// A page's format, and what to warn about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatChoice {
    /// How to read the page.
    pub format: PageFormat,
    /// Set when the fallback had to be used.
    pub warning: Option<String>,
}

/// Why a page's format is not known: the scrape fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// No Content-Type, and no fallback.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// A Content-Type that cannot be read, and no fallback.
    #[error(
        "cannot parse Content-Type {header} and no fallback_scrape_protocol for target\n{reason}"
    )]
    Malformed {
        /// As sent, quoted.
        header: String,
        /// Go's text.
        reason: &'static str,
    },
    /// Another media type, and no fallback.
    #[error(
        "received unsupported Content-Type {header} and no fallback_scrape_protocol specified for target"
    )]
    Unsupported {
        /// As sent, quoted.
        header: String,
    },
}

/// The grammar for a page with this Content-Type (`""` when there was none).
pub fn select_format(
    content_type: &str,
    fallback: Option<ScrapeProtocol>,
) -> Result<FormatChoice, ContentTypeError> {
    let header = go_quote(content_type.as_bytes());
    let (refusal, warning) = if content_type.is_empty() {
        (
            ContentTypeError::Blank,
            "non-compliant scrape target sending blank Content-Type".to_owned(),
        )
    } else {
        match parse_media_type(content_type) {
            Ok(media_type) => {
                if let Some(format) = known(&media_type) {
                    let warning = None;
                    return Ok(FormatChoice { format, warning });
                }
                let warning = format!("received unsupported Content-Type {header}");
                (ContentTypeError::Unsupported { header }, warning)
            }
            Err(reason) => {
                let warning = format!("could not parse received Content-Type {header}");
                (ContentTypeError::Malformed { header, reason }, warning)
            }
        }
    };
    let Some(protocol) = fallback else {
        return Err(refusal);
    };
    let media_type = protocol.media_type();
    let quoted = go_quote(media_type.as_bytes());
    let mut warning = format!("{warning}, using fallback_scrape_protocol {quoted}");
    if let ContentTypeError::Malformed { reason, .. } = refusal {
        let _ = write!(warning, "\n{reason}");
    }
    let format = known(media_type).expect("BUG: every protocol has a format that is known");
    Ok(FormatChoice {
        format,
        warning: Some(warning),
    })
}

/// The format of a media type; `None` for one that is no exposition format.
fn known(media_type: &str) -> Option<PageFormat> {
    Some(match media_type {
        "text/plain" => PageFormat::Text(Dialect::Prometheus),
        "application/openmetrics-text" => PageFormat::Text(Dialect::OpenMetrics),
        "application/vnd.google.protobuf" => PageFormat::Protobuf,
        _ => return None,
    })
}

/// The media type in lower case; texts of Go's `mime.ParseMediaType`.
fn parse_media_type(header: &str) -> Result<String, &'static str> {
    let mut parts = header.splitn(2, ';');
    let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.split_once('/') {
        None if media_type.is_empty() => return Err("mime: no media type"),
        None if !is_token(&media_type) => {
            return Err("mime: expected slash after first token");
        }
        None => {}
        Some((main, _)) if !is_token(main) => return Err("mime: no media type"),
        Some((_, "")) => {
            return Err("mime: expected token after slash");
        }
        Some((_, sub)) if !is_token(sub) => {
            return Err("mime: unexpected content after media subtype");
        }
        Some(_) => {}
    }
    let mut rest = parts.next().unwrap_or_default().trim();
    let malformed = "mime: invalid media parameter";
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=').ok_or(malformed)?;
        if !is_token(name.trim()) {
            return Err(malformed);
        }
        let tail = tail.trim_start();
        rest = match tail.strip_prefix('"') {
            Some(quoted) => quoted_tail(quoted).ok_or(malformed)?,
            None => {
                let end = tail.find(';').unwrap_or(tail.len());
                let (value, tail) = tail.split_at(end);
                if !is_token(value.trim_end()) {
                    return Err(malformed);
                }
                tail
            }
        };
        rest = rest.trim();
        if !rest.is_empty() {
            rest = rest.strip_prefix(';').ok_or(malformed)?.trim_start();
        }
    }
    Ok(media_type)
}

/// What follows a quoted string whose opening quote is already gone.
fn quoted_tail(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(index + 1..),
            _ => {}
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_are_prometheus_own() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, EscapingScheme::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept_header(
                &[
                    ScrapeProtocol::PrometheusProto,
                    ScrapeProtocol::PrometheusText1_0_0
                ],
                EscapingScheme::Underscores
            ),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             text/plain;version=1.0.0;escaping=underscores;q=0.5,*/*;q=0.4"
        );
    }

    #[test]
    fn formats_are_chosen_as_prometheus_does() {
        let dialect = |header: &str| match select_format(header, None)?.format {
            PageFormat::Text(dialect) => Ok::<_, ContentTypeError>(dialect),
            PageFormat::Protobuf => panic!("{header} is text"),
        };
        assert_eq!(
            dialect("text/plain; version=0.0.4; charset=utf-8"),
            Ok(Dialect::Prometheus)
        );
        assert_eq!(dialect("TEXT/plain"), Ok(Dialect::Prometheus));
        assert_eq!(dialect("text/plain;"), Ok(Dialect::Prometheus));
        assert_eq!(
            dialect(
                "application/openmetrics-text; version=1.0.0; charset=\"utf-8\"; escaping=allow-utf-8"
            ),
            Ok(Dialect::OpenMetrics)
        );
        let text = |header: &str, fallback| match select_format(header, fallback) {
            Ok(choice) => choice.warning.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            text("", None),
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
        );
        assert_eq!(
            text("", Some(ScrapeProtocol::PrometheusText0_0_4)),
            "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol \"text/plain\""
        );
        assert_eq!(
            text("text/html", None),
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target"
        );
        assert_eq!(
            text("text/html", Some(ScrapeProtocol::OpenMetricsText1_0_0)),
            "received unsupported Content-Type \"text/html\", using fallback_scrape_protocol \"application/openmetrics-text\""
        );
        assert!(
            text("text/plain; x", None).starts_with("cannot parse Content-Type \"text/plain; x\"")
        );
        let delimited = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        let choice = select_format(delimited, None).unwrap();
        assert_eq!(choice.format, PageFormat::Protobuf);
        let choice = select_format("", Some(ScrapeProtocol::PrometheusProto)).unwrap();
        assert_eq!(choice.format, PageFormat::Protobuf);
    }
}
