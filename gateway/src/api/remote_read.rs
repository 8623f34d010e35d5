//! `POST /api/v1/read`: Prometheus's remote read, as samples or as streamed chunks.
//!
//! Promise: negotiation, limits, external labels, framing and error texts are Prometheus's. An answer of chunks is held encoded, counted
//! against the memory of queries until the last frame has gone to the client; an error is known before the status is.
//! Hints are accepted and not needed: what they would save is left out of the read anyway.

use super::remote_read_format::{ChunkFrames, Query, ReadRequest, ResponseType, samples_response};
use super::series_read::{Found, Reading, Want};
use crate::cli::Flags;
use crate::http::body::Streamed;
use crate::http::request::Request;
use crate::http::respond::{Response, content, error_text};
use crate::limits::{READ_BODY_BYTES_MAX, READ_FRAMES_WAITING_MAX};
use crate::self_metrics::Exposition;
use crate::worker::Worker;
use http::HeaderValue;
use http::header::CONTENT_ENCODING;
use query_engine::eval::error::EvalError;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage_engine::model::{Labels, Matcher};
use storage_engine::shard_api::TimeRange;
use tokio::sync::{Semaphore, mpsc};

/// Slots and bounds of remote read: `--storage.remote.read-…`.
pub struct RemoteReads {
    slots: Arc<Semaphore>,
    samples_max: usize,
    frame_bytes_max: usize,
    running: AtomicUsize,
}

/// Counts a read as running or waiting while it lives.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RemoteReads {
    /// As the flags say; 0 means no limit.
    pub fn new(flags: &Flags) -> Self {
        let or_none = |given: usize| if given == 0 { usize::MAX } else { given };
        let slots = or_none(flags.remote_reads_max).min(Semaphore::MAX_PERMITS);
        RemoteReads {
            slots: Arc::new(Semaphore::new(slots)),
            samples_max: or_none(flags.remote_read_samples_max),
            frame_bytes_max: flags.remote_read_frame_bytes_max,
            running: AtomicUsize::new(0),
        }
    }

    /// Adds the metric.
    pub fn write(&self, page: &mut Exposition) {
        page.one_gauge(
            "prometheus_remote_read_handler_queries",
            "The current number of remote read queries that are either in execution or queued on the handler.",
            self.running.load(Ordering::Relaxed) as f64,
        );
    }
}

/// Answers a remote read.
pub async fn read(worker: &Rc<Worker>, mut request: Request) -> Response {
    let reads = &worker.services.reads;
    reads.running.fetch_add(1, Ordering::Relaxed);
    let _running = Running(&reads.running);
    let Ok(permit) = Arc::clone(&reads.slots).acquire_owned().await else {
        return error_text(500, "the server is stopping");
    };
    let mut body = Vec::new();
    if let Err(error) = request.read_body(READ_BODY_BYTES_MAX, &mut body).await {
        return error_text(400, &error.to_string());
    }
    let read = match ReadRequest::decode(&body) {
        Ok(read) => read,
        Err(error) => return error_text(400, &error),
    };
    let kind = match read.response_type() {
        Ok(kind) => kind,
        Err(error) => return error_text(400, &error),
    };
    let jobs = worker.services.jobs.load_full();
    let external = &jobs.external_labels;
    match kind {
        ResponseType::Samples => {
            let mut results = Vec::new();
            for query in &read.queries {
                match gather(worker, query, external, Want::Samples, reads.samples_max).await {
                    Ok(found) => results.push(found),
                    Err(EvalError::TooManySamples) => {
                        let text = format!("exceeded sample limit ({})", reads.samples_max);
                        return error_text(400, &text);
                    }
                    Err(error) => return error_text(500, &error.to_string()),
                }
            }
            // Many samples take a while to write; the worker serves others meanwhile.
            let external = external.clone();
            let write = move || samples_response(&results, &external);
            let Ok(Some(body)) = tokio::task::spawn_blocking(write).await else {
                return error_text(500, "the answer is too long for snappy");
            };
            let mut response = content(200, "application/x-protobuf", body);
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            response
        }
        ResponseType::StreamedXorChunks => {
            let mut results = Vec::new();
            for query in &read.queries {
                match gather(worker, query, external, Want::Chunks, usize::MAX).await {
                    Ok(found) => results.push(found),
                    Err(error) => return error_text(500, &error.to_string()),
                }
            }
            let mut frames = ChunkFrames::new(results, external.clone(), reads.frame_bytes_max);
            let (sender, receiver) = mpsc::channel(READ_FRAMES_WAITING_MAX);
            tokio::task::spawn_local(async move {
                let _permit = permit;
                while let Some(frame) = frames.next_frame() {
                    // Without a receiver the client has gone.
                    if sender.send(frame.into()).await.is_err() {
                        return;
                    }
                }
            });
            let media = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
            Streamed::attach(content(200, media, Vec::new()), receiver)
        }
    }
}

async fn gather(
    worker: &Worker,
    query: &Query,
    external: &Labels,
    want: Want,
    samples_max: usize,
) -> Result<Found, EvalError> {
    let engine = worker.services.engine.load_full();
    let reading = Reading::new(samples_max, engine.options());
    let range = TimeRange {
        min: query.start,
        max: query.end,
    };
    let matchers = query
        .matchers
        .iter()
        .map(|matcher| without_external(matcher, external))
        .collect::<Result<Vec<_>, _>>()
        .map_err(EvalError::Storage)?;
    let store = &*worker.services.store;
    let found = reading.gather(store, vec![matchers], range, want).await?;
    for warning in &found.notes.damage {
        tracing::warn!(warning, "Warnings on remote read query");
    }
    Ok(found)
}

/// An equality with an external label's value asks for series without the label: that is how they are stored here.
fn without_external(
    (op, name, value): &(storage_engine::model::MatchOp, String, String),
    external: &Labels,
) -> Result<Matcher, String> {
    use storage_engine::model::MatchOp;
    let is_external = *op == MatchOp::Equal && external.value(name) == value;
    let value = if is_external { "" } else { value };
    Matcher::new(*op, name.clone(), value).map_err(|e| e.to_string())
}
