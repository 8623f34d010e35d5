//! One request as handlers see it: method, path, parameters, headers, and a body not yet read.

use super::body::{BodyError, read_limited};
use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::time::Duration;

/// A request whose path has been matched.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path without query, still percent-encoded.
    pub path: String,
    /// Query string without the question mark.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// Values of `{name}` parts of the route, percent-decoded; not always UTF-8.
    pub path_values: Vec<(String, Vec<u8>)>,
    body: Option<Incoming>,
    read_timeout: Duration,
}

impl Request {
    /// Takes hyper's request apart; its body must be whole within `read_timeout`.
    pub fn new(request: hyper::Request<Incoming>, read_timeout: Duration) -> Self {
        let (head, body) = request.into_parts();
        Request {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or("").to_owned(),
            headers: head.headers,
            peer: None,
            path_values: Vec::new(),
            body: Some(body),
            read_timeout,
        }
    }

    /// A header as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The value of a `{name}` part of the route.
    pub fn path_value(&self, name: &str) -> &[u8] {
        self.path_values
            .iter()
            .find(|(n, _)| n == name)
            .map_or(&[], |(_, v)| v)
    }

    /// Reads the whole body into `buffer` (cleared first), at most `limit` bytes.
    pub async fn read_body(&mut self, limit: usize, buffer: &mut Vec<u8>) -> Result<(), BodyError> {
        buffer.clear();
        let Some(body) = self.body.take() else {
            return Ok(());
        };
        tokio::time::timeout(self.read_timeout, read_limited(body, limit, buffer))
            .await
            .unwrap_or(Err(BodyError::Slow(self.read_timeout)))
    }

    /// Parameters of the query string and, for a form POST, of the body: Go's `Request.Form` (body values first).
    pub async fn form(&mut self, limit: usize) -> Result<Form, BodyError> {
        let mut form = Form::default();
        let is_form = self
            .header("content-type")
            .map(|t| t.split(';').next().unwrap_or("").trim())
            .is_some_and(|t| t.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        if is_form && (self.method == Method::POST || self.method == Method::PUT) {
            let mut body = Vec::new();
            self.read_body(limit, &mut body).await?;
            form.extend(&Bytes::from(body));
        }
        form.extend(self.query.as_bytes());
        Ok(form)
    }
}

/// Decoded parameters in the order they came.
#[derive(Debug, Clone, Default)]
pub struct Form {
    pairs: Vec<(String, String)>,
    fault: Option<String>,
}

impl Form {
    fn extend(&mut self, encoded: &[u8]) {
        for pair in encoded.split(|byte| *byte == b'&') {
            match pair_fault(pair) {
                None => self
                    .pairs
                    .extend(url::form_urlencoded::parse(pair).into_owned()),
                Some(fault) => {
                    self.fault.get_or_insert(fault);
                }
            }
        }
    }

    /// What was wrong with the first pair that could not be read and was left out, in Go's words. Some routes refuse such a request.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Parameters of a query string alone.
    pub fn from_query(query: &str) -> Self {
        let mut form = Form::default();
        form.extend(query.as_bytes());
        form
    }

    /// The first value of `name`, `""` when absent (Go's `FormValue`).
    pub fn value(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v)
    }

    /// Every value of `name`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Is the parameter there at all?
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(n, _)| n == name)
    }
}

/// Why Go's `url.ParseQuery` leaves out a `name=value` pair: a semicolon, or a percent sign without two hex digits.
fn pair_fault(pair: &[u8]) -> Option<String> {
    if pair.contains(&b';') {
        return Some("invalid semicolon separator in query".to_owned());
    }
    let mut rest = pair;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let escape = &rest[at..rest.len().min(at + 3)];
        if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
            // Name and value are unescaped one by one: an escape does not reach over the sign between them.
            let until = escape
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(escape.len());
            let escape = String::from_utf8_lossy(&escape[..until]);
            return Some(format!("invalid URL escape \"{escape}\""));
        }
        rest = &rest[at + 3..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_decode_like_go() {
        let form = Form::from_query("match[]=up&match%5B%5D=%7Ba%3D%22b+c%22%7D&x=");
        assert_eq!(
            form.values("match[]").collect::<Vec<_>>(),
            ["up", "{a=\"b c\"}"]
        );
        assert!(form.has("x"));
        assert_eq!(form.value("y"), "");
        assert_eq!(form.fault(), None);
    }

    #[test]
    fn pairs_that_go_cannot_read_are_left_out() {
        let form = Form::from_query("query=%zz&time=1&a;b&end=%4");
        assert!(!form.has("query") && !form.has("a;b") && !form.has("end"));
        assert_eq!(form.value("time"), "1");
        assert_eq!(form.fault(), Some("invalid URL escape \"%zz\""));
        assert_eq!(
            Form::from_query("a;b").fault(),
            Some("invalid semicolon separator in query")
        );
    }
}
