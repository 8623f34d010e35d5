//! Receivers of rows: InfluxDB's line protocol on `/write` and `/api/v2/write`, VictoriaMetrics's JSON lines on `/api/v1/import`.
//!
//! Promise: 204 when every row is stored, as durable as a remote write; 400 with the reasons when some are not, the others being stored; 503
//! when the request should be sent again.
//! Not here: what lines mean (`ingest::rows`).

use super::query::now_ms;
use crate::http::body::BodyError;
use crate::http::request::{Form, Request};
use crate::http::respond::{Response, empty, error_text, json, push_json_string};
use crate::limits::{WRITE_BODY_BYTES_MAX, WRITE_DECODED_BYTES_MAX};
use crate::services::StoreTarget;
use crate::worker::Worker;
use http::HeaderValue;
use ingest::remote_write::{Version, WriteRequest, WriteSession, write};
use ingest::rows::{InfluxLines, JsonLines, Precision, RowProtocol, Rows};
use ingest::unpack::{BodyEncoding, UnpackError, unpack};
use std::cell::RefCell;
use std::rc::Rc;

/// Which of InfluxDB's two APIs a client speaks; they tell errors differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfluxApi {
    /// `/write`
    One,
    /// `/api/v2/write`
    Two,
}

/// Why not everything was stored.
struct Refusal {
    status: u16,
    text: String,
}

impl Refusal {
    fn new(status: u16, text: impl ToString) -> Refusal {
        Refusal {
            status,
            text: text.to_string(),
        }
    }

    fn answer(&self, api: InfluxApi) -> Response {
        let mut body = String::from("{");
        match api {
            InfluxApi::One => body.push_str("\"error\":"),
            InfluxApi::Two => {
                body.push_str("\"code\":");
                push_json_string(
                    &mut body,
                    match self.status {
                        413 => "request too large",
                        503 => "unavailable",
                        _ => "invalid",
                    },
                );
                body.push_str(",\"message\":");
            }
        }
        push_json_string(&mut body, &self.text);
        body.push('}');
        let mut response = json(self.status, body);
        if self.status == 503 {
            response
                .headers_mut()
                .insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }
}

/// What one worker remembers of senders of rows.
pub struct RowState(RefCell<WriteSession>);

impl RowState {
    /// Empty; the seed keeps senders from choosing labels that collide.
    pub fn new(seed: u64) -> RowState {
        RowState(RefCell::new(WriteSession::new(seed)))
    }

    pub(super) fn session(&self) -> &RefCell<WriteSession> {
        &self.0
    }
}

/// Takes lines.
pub async fn influx(worker: &Rc<Worker>, request: Request, api: InfluxApi) -> Response {
    if !worker.app.flags().influx_receiver {
        return error_text(
            404,
            "the receiver of InfluxDB's line protocol needs to be enabled with --web.enable-influx-receiver",
        );
    }
    match receive(worker, request).await {
        Ok(()) => empty(204),
        Err(refusal) => refusal.answer(api),
    }
}

async fn receive(worker: &Rc<Worker>, mut request: Request) -> Result<(), Refusal> {
    let form = Form::from_query(&request.query);
    let precision = form.value("precision");
    let lines = InfluxLines {
        precision: Precision::from_name(precision)
            .ok_or_else(|| Refusal::new(400, format!("invalid precision {precision:?}")))?,
        db: [form.value("db"), form.value("bucket")]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default()
            .to_owned(),
    };
    let body = read_body(&mut request).await;
    let body = body.map_err(|(status, text)| Refusal::new(status, text))?;
    store(worker, &lines, &body).await
}

/// `/api/v1/import`: VictoriaMetrics's JSON lines.
pub async fn import(worker: &Rc<Worker>, mut request: Request) -> Response {
    let stored = match read_body(&mut request).await {
        Ok(body) => store(worker, &JsonLines, &body).await,
        Err((status, text)) => Err(Refusal::new(status, text)),
    };
    match stored {
        Ok(()) => empty(204),
        Err(refusal) => refusal.answer(InfluxApi::One),
    }
}

/// The body, decompressed; a status and a text where it cannot be had.
pub(super) async fn read_body(request: &mut Request) -> Result<Vec<u8>, (u16, String)> {
    let encoding = BodyEncoding::from_header(request.header("content-encoding").unwrap_or(""));
    let mut body = Vec::new();
    request
        .read_body(WRITE_BODY_BYTES_MAX, &mut body)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => (413, error.to_string()),
            _ => (400, error.to_string()),
        })?;
    let body = unpack(&body, encoding, WRITE_DECODED_BYTES_MAX).map_err(|error| match error {
        UnpackError::TooLarge(_) => (413, error.to_string()),
        _ => (400, error.to_string()),
    })?;
    Ok(body.into_owned())
}

/// Reads rows and stores those that can be read.
async fn store(
    worker: &Rc<Worker>,
    protocol: &impl RowProtocol,
    body: &[u8],
) -> Result<(), Refusal> {
    let now = now_ms();
    let mut rows = Rows::new();
    protocol.read(body, now, &mut rows);
    let (count, unreadable) = (rows.count(), rows.faulty());
    let mut faults = rows.faults().to_vec();
    let message = rows.into_message();
    let target = StoreTarget(worker.services.store.clone());
    let request = WriteRequest {
        version: Version::V2,
        body: &message,
        now,
    };
    let result = write(&worker.rows.0, &target, request).await;
    let counters = &worker.services.rows;
    counters.stored.add(result.samples_stored);
    counters.refused.add(result.samples_rejected);
    counters.unreadable.add(unreadable as u64);
    match result.response.status {
        200..=299 => {}
        400 => faults.push(result.response.body.trim_end().to_owned()),
        status => return Err(Refusal::new(status, result.response.body.trim_end())),
    }
    if faults.is_empty() {
        return Ok(());
    }
    let dropped = (count as u64).saturating_sub(result.samples_stored) + unreadable as u64;
    let start = if result.samples_stored > 0 {
        "partial write: "
    } else {
        ""
    };
    let text = format!("{start}{} dropped={dropped}", faults.join("; "));
    Err(Refusal::new(400, text))
}
