//! One request as handlers see it: method, path, parameters, headers, and a body not yet read.

use super::body::{BodyError, read_limited};
use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::Incoming;

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
    /// Values of `{name}` parts of the route, percent-decoded.
    pub path_values: Vec<(String, String)>,
    body: Option<Incoming>,
}

impl Request {
    /// Takes hyper's request apart.
    pub fn new(request: hyper::Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        Request {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or("").to_owned(),
            headers: head.headers,
            path_values: Vec::new(),
            body: Some(body),
        }
    }

    /// A header as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The value of a `{name}` part of the route.
    pub fn path_value(&self, name: &str) -> &str {
        self.path_values
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v)
    }

    /// Reads the whole body into `buffer` (cleared first), at most `limit` bytes.
    pub async fn read_body(&mut self, limit: usize, buffer: &mut Vec<u8>) -> Result<(), BodyError> {
        buffer.clear();
        match self.body.take() {
            Some(body) => read_limited(body, limit, buffer).await,
            None => Ok(()),
        }
    }

    /// Parameters of the query string and, for a form POST, of the body: Go's `Request.Form` (body values first).
    pub async fn form(&mut self, limit: usize) -> Result<Form, BodyError> {
        let mut form = Form::default();
        let is_form = self
            .header("content-type")
            .is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
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
}

impl Form {
    fn extend(&mut self, encoded: &[u8]) {
        self.pairs
            .extend(url::form_urlencoded::parse(encoded).into_owned());
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
    }
}
