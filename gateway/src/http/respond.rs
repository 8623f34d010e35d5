//! Answers: plain text, JSON, and Prometheus's envelope with its error types.
//!
//! This is the one place where an error type becomes an HTTP status.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

/// An answer with its whole body.
pub type Response = http::Response<Bytes>;

/// Prometheus's `errorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query cannot be evaluated.
    Execution,
    /// The client went away.
    Canceled,
    /// The query took too long.
    Timeout,
    /// Our fault.
    Internal,
    /// No such thing.
    NotFound,
    /// Not to be had in this state or configuration.
    Unavailable,
}

impl ErrorType {
    /// The word in the envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Canceled => "canceled",
            ErrorType::Timeout => "timeout",
            ErrorType::Internal => "internal",
            ErrorType::NotFound => "not_found",
            ErrorType::Unavailable => "unavailable",
        }
    }

    /// The HTTP status, as Prometheus's `getDefaultErrorCode` maps it.
    pub fn status(self) -> u16 {
        match self {
            ErrorType::BadData => 400,
            ErrorType::Execution => 422,
            ErrorType::Canceled => 499,
            ErrorType::Timeout => 503,
            ErrorType::NotFound => 404,
            ErrorType::Internal | ErrorType::Unavailable => 500,
        }
    }
}

/// An error on its way into the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Which kind.
    pub kind: ErrorType,
    /// Text for a person.
    pub text: String,
}

impl ApiError {
    /// Any kind.
    pub fn new(kind: ErrorType, text: impl Into<String>) -> Self {
        ApiError {
            kind,
            text: text.into(),
        }
    }

    /// `bad_data`.
    pub fn bad_data(text: impl Into<String>) -> Self {
        ApiError::new(ErrorType::BadData, text)
    }

    /// `invalid parameter "name": …`, as Prometheus words it.
    pub fn parameter(name: &str, text: impl std::fmt::Display) -> Self {
        ApiError::bad_data(format!("invalid parameter \"{name}\": {text}"))
    }
}

/// Data that goes into the envelope: finished JSON, and what rides beside it.
#[derive(Debug, Clone, Default)]
pub struct ApiData {
    /// The `data` member, as JSON text.
    pub json: String,
    /// `warnings`.
    pub warnings: Vec<String>,
    /// `infos`.
    pub infos: Vec<String>,
    /// Further members beside `data`, as JSON text.
    pub members: Vec<(&'static str, String)>,
}

impl ApiData {
    /// Data without warnings.
    pub fn json(json: String) -> Self {
        ApiData {
            json,
            ..ApiData::default()
        }
    }
}

/// Most warnings and most infos in one answer; the rest is counted in a last line.
const ANNOTATIONS_MAX: usize = 10;

fn push_texts(out: &mut String, member: &str, kind: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    out.push_str(",\"");
    out.push_str(member);
    out.push_str("\":[");
    for (i, text) in texts.iter().take(ANNOTATIONS_MAX).enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, text);
    }
    if let Some(more) = texts.len().checked_sub(ANNOTATIONS_MAX).filter(|n| *n > 0) {
        out.push(',');
        push_json_string(out, &format!("{more} more {kind} annotations omitted"));
    }
    out.push(']');
}

/// A JSON string with Go's escaping (`encoding/json` without HTML escaping beyond `<`, `>`, `&`, as jsoniter's compatible mode).
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape: &str = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            b'<' => "\\u003c",
            b'>' => "\\u003e",
            b'&' => "\\u0026",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = i + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

fn with_type(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub fn text(status: u16, body: impl Into<String>) -> Response {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// Plain text for an error: one line and no guessing of its type, as Go's `http.Error` sends it.
pub fn error_text(status: u16, body: &str) -> Response {
    without_sniffing(text(status, format!("{body}\n")))
}

/// Forbids browsers to guess another type than the one we name.
pub fn without_sniffing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// No body.
pub fn empty(status: u16) -> Response {
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// JSON without the envelope.
pub fn json(status: u16, body: String) -> Response {
    with_type(status, "application/json", body)
}

/// Any other body.
pub fn content(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    with_type(status, content_type, body)
}

/// A redirect, with the short page that Go's `http.Redirect` adds to the answer of a GET.
pub fn redirect(status: u16, location: &str) -> Response {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Found");
    let mut link = String::new();
    for c in location.chars() {
        match c {
            '&' => link.push_str("&amp;"),
            '<' => link.push_str("&lt;"),
            '>' => link.push_str("&gt;"),
            '"' => link.push_str("&#34;"),
            '\'' => link.push_str("&#39;"),
            c => link.push(c),
        }
    }
    let page = format!("<a href=\"{link}\">{reason}</a>.\n\n");
    let mut response = content(status, "text/html; charset=utf-8", page);
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    response
}

/// What `OPTIONS` gets on a path outside the API: the methods, and nothing else.
pub fn allowed_methods(allow: &str) -> Response {
    let mut response = empty(200);
    if let Ok(value) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// 405 with the methods that would do.
pub fn method_not_allowed(allow: &str) -> Response {
    let mut response = error_text(405, "Method Not Allowed");
    if let Ok(value) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Prometheus's envelope around an outcome.
pub fn envelope(outcome: Result<ApiData, ApiError>) -> Response {
    match outcome {
        Ok(data) => {
            let mut body = String::with_capacity(data.json.len() + 64);
            body.push_str("{\"status\":\"success\",\"data\":");
            body.push_str(&data.json);
            for (name, json) in &data.members {
                body.push_str(",\"");
                body.push_str(name);
                body.push_str("\":");
                body.push_str(json);
            }
            push_texts(&mut body, "warnings", "warning", &data.warnings);
            push_texts(&mut body, "infos", "info", &data.infos);
            body.push('}');
            json(200, body)
        }
        Err(error) => {
            let mut body = String::from("{\"status\":\"error\",\"errorType\":\"");
            body.push_str(error.kind.as_str());
            body.push_str("\",\"error\":");
            push_json_string(&mut body, &error.text);
            body.push('}');
            json(error.kind.status(), body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope_shapes() {
        let ok = envelope(Ok(ApiData {
            json: "[]".into(),
            warnings: (0..12).map(|i| format!("w{i}")).collect(),
            infos: vec![],
            members: vec![("beside", "{}".into())],
        }));
        let text = String::from_utf8(ok.body().to_vec()).unwrap();
        assert!(
            text.starts_with(r#"{"status":"success","data":[],"beside":{},"warnings":["w0","#),
            "{text}"
        );
        assert!(
            text.ends_with(r#","2 more warning annotations omitted"]}"#),
            "{text}"
        );
        let bad = envelope(Err(ApiError::parameter("time", "cannot parse \"x\"")));
        assert_eq!(bad.status(), 400);
        assert_eq!(
            &bad.body()[..],
            br#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"time\": cannot parse \"x\""}"#
        );
    }

    #[test]
    fn json_strings_escape_what_must_be() {
        let mut out = String::new();
        push_json_string(&mut out, "a\"b\\c\n\u{1}<é>");
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\u0001\\u003cé\\u003e\"");
    }
}
