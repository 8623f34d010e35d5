//! `/api/v1/otlp/v1/metrics`: OpenTelemetry's protocol for metrics over HTTP.
//!
//! Promise: 200 when every point is stored, as durable as a remote write; 200 with a partial success, as the protocol has it, when some could
//! not be translated; 400 when the storage refused some; 503 when the request should be sent again.
//! Not here: what the points mean (`ingest::otlp`).

use super::query::now_ms;
use super::rows::read_body;
use crate::http::request::Request;
use crate::http::respond::{Response, content, error_text, json, push_json_string};
use crate::services::StoreTarget;
use crate::worker::Worker;
use http::HeaderValue;
use ingest::otlp::{OtlpEncoding, Translated, translate};
use ingest::remote_write::{Version, WriteRequest, write};
use std::rc::Rc;

/// Takes a request from an exporter or a collector.
pub async fn otlp(worker: &Rc<Worker>, mut request: Request) -> Response {
    if !worker.app.flags().otlp_receiver {
        return error_text(
            404,
            "otlp write receiver needs to be enabled with --web.enable-otlp-receiver",
        );
    }
    let content_type = request.header("content-type").unwrap_or("");
    let content_type = content_type.split(';').next().unwrap_or("").trim();
    let encoding = match content_type {
        "application/x-protobuf" => OtlpEncoding::Protobuf,
        "application/json" => OtlpEncoding::Json,
        other => {
            let text = format!(
                "unsupported content type: {other}, supported: [application/json, application/x-protobuf]"
            );
            return error_text(400, &text);
        }
    };
    let mut body = match read_body(&mut request).await {
        Ok(body) => body,
        Err((status, text)) => return error_text(status, &text),
    };
    let settings = worker.services.otlp.load();
    let translated = match translate(&mut body, encoding, &settings) {
        Ok(translated) => translated,
        Err(error) => return error_text(400, &error),
    };
    drop(body);
    let target = StoreTarget(worker.services.store.clone());
    let request = WriteRequest {
        version: Version::V2,
        body: &translated.message,
        now: now_ms(),
    };
    let result = write(worker.rows.session(), &target, request).await;
    let counters = &worker.services.rows;
    counters
        .stored
        .add(result.samples_stored + result.histograms_stored);
    counters.refused.add(result.samples_rejected);
    counters.unreadable.add(translated.lost);
    match result.response.status {
        200..=299 => success(encoding, &translated),
        503 => {
            let mut response = error_text(503, result.response.body.trim_end());
            let headers = response.headers_mut();
            headers.insert("retry-after", HeaderValue::from_static("1"));
            response
        }
        status => error_text(status, result.response.body.trim_end()),
    }
}

/// `ExportMetricsServiceResponse`, with what was not taken.
fn success(encoding: OtlpEncoding, translated: &Translated) -> Response {
    let reasons = translated.faults.join("; ");
    match encoding {
        OtlpEncoding::Protobuf => {
            let mut partial = Vec::new();
            if !reasons.is_empty() {
                put_varint(&mut partial, 1 << 3);
                put_varint(&mut partial, translated.lost);
                put_varint(&mut partial, 2 << 3 | 2);
                put_varint(&mut partial, reasons.len() as u64);
                partial.extend_from_slice(reasons.as_bytes());
            }
            let mut body = Vec::new();
            if !partial.is_empty() {
                put_varint(&mut body, 1 << 3 | 2);
                put_varint(&mut body, partial.len() as u64);
                body.append(&mut partial);
            }
            content(200, "application/x-protobuf", body)
        }
        OtlpEncoding::Json if reasons.is_empty() => json(200, "{}".to_owned()),
        OtlpEncoding::Json => {
            let mut body = format!(
                "{{\"partialSuccess\":{{\"rejectedDataPoints\":\"{}\",\"errorMessage\":",
                translated.lost
            );
            push_json_string(&mut body, &reasons);
            body.push_str("}}");
            json(200, body)
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
