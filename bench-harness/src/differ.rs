//! Holds two servers' answers against each other, value for value, text for text.

use anyhow::{Context, Result};
use bytes::Bytes;
use loadgen::http_client::{Connection, split_url};
use serde_json::Value;
use std::collections::BTreeMap;

/// A client of one server's query API.
pub(crate) struct Client {
    connection: Connection,
}

impl Client {
    /// For `http://host:port`.
    pub(crate) fn new(base_url: &str) -> Result<Self> {
        Ok(Client {
            connection: Connection::new(split_url(base_url)?.0),
        })
    }

    /// GET of an API path; the parsed body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Value> {
        let (status, body) = self.text(path).await?;
        serde_json::from_str(&body)
            .with_context(|| format!("{path}: status {status}, not JSON: {body:.200}"))
    }

    /// GET of any path.
    pub(crate) async fn text(&mut self, path: &str) -> Result<(u16, String)> {
        let (status, body) = self
            .connection
            .send(http::Request::get(path), Bytes::new())
            .await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// POST without a body.
    pub(crate) async fn post(&mut self, path: &str) -> Result<(u16, String)> {
        let (status, body) = self
            .connection
            .send(http::Request::post(path), Bytes::new())
            .await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Percent-encodes a parameter value.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// The answer without what carries no meaning: series order of vectors and matrices is by labels, annotations are dropped.
fn canonical(answer: &Value) -> Value {
    let data = &answer["data"];
    let kind = data["resultType"].as_str().unwrap_or("");
    if kind == "vector" || kind == "matrix" {
        let mut rows = BTreeMap::new();
        for row in data["result"].as_array().into_iter().flatten() {
            rows.insert(row["metric"].to_string(), row.clone());
        }
        return serde_json::json!({"type": kind, "rows": rows.into_values().collect::<Vec<_>>()});
    }
    if answer["status"] == "error" {
        return serde_json::json!({"error": answer["error"], "type": answer["errorType"]});
    }
    data.clone()
}

/// `None` when both answers say the same, else the first difference in words.
pub(crate) fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    let (ours, theirs) = (canonical(ours), canonical(theirs));
    if ours == theirs {
        return None;
    }
    let (empty, none) = (Vec::new(), Vec::new());
    let left = ours["rows"].as_array().unwrap_or(&empty);
    let right = theirs["rows"].as_array().unwrap_or(&none);
    if left.len() != right.len() {
        return Some(format!("{} series against {}", left.len(), right.len()));
    }
    for (l, r) in left.iter().zip(right) {
        if l["metric"] != r["metric"] {
            return Some(format!("series {} against {}", l["metric"], r["metric"]));
        }
        if l["value"] != r["value"] {
            return Some(format!(
                "{}: {} against {}",
                l["metric"], l["value"], r["value"]
            ));
        }
        let (a, b) = (l["values"].as_array(), r["values"].as_array());
        if a.map(Vec::len) != b.map(Vec::len) {
            let n = |v: Option<&Vec<Value>>| v.map_or(0, Vec::len);
            return Some(format!("{}: {} values against {}", l["metric"], n(a), n(b)));
        }
        for (x, y) in a.into_iter().flatten().zip(b.into_iter().flatten()) {
            if x != y {
                return Some(format!("{}: {x} against {y}", l["metric"]));
            }
        }
    }
    Some(format!("{ours:.200} against {theirs:.200}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(rows: &str) -> Value {
        serde_json::from_str(&format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{rows}]}}}}"
        ))
        .unwrap()
    }

    #[test]
    fn order_does_not_matter_values_do() {
        let a = r#"{"metric":{"a":"1"},"value":[1,"2"]}"#;
        let b = r#"{"metric":{"a":"2"},"value":[1,"3"]}"#;
        let c = r#"{"metric":{"a":"2"},"value":[1,"4"]}"#;
        assert_eq!(
            difference(&vector(&format!("{a},{b}")), &vector(&format!("{b},{a}"))),
            None
        );
        assert!(difference(&vector(&format!("{a},{b}")), &vector(&format!("{a},{c}"))).is_some());
        assert!(difference(&vector(a), &vector(&format!("{a},{b}"))).is_some());
    }
}
