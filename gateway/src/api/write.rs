//! `/api/v1/write`: remote write 1.0 and 2.0.

use crate::http::body::BodyError;
use crate::http::request::Request;
use crate::http::respond::{Response, empty, error_text, text, without_sniffing};
use crate::limits::{WRITE_BODY_BYTES_MAX, WRITE_DECODED_BYTES_MAX};
use crate::services::StoreTarget;
use crate::worker::Worker;
use http::HeaderValue;
use ingest::remote_write::{WriteRequest, WriteResponse, WriteSession, negotiate, write};
use ingest::snappy::SnappyDecoder;
use std::cell::RefCell;
use std::rc::Rc;

/// Buffers kept for reuse per worker; more requests at once allocate their own.
const BUFFERS_KEPT: usize = 8;
/// A buffer that grew beyond this is not kept.
const BUFFER_KEPT_BYTES_MAX: usize = 8 << 20;

/// What one worker keeps between remote-write requests.
pub struct WriteState {
    session: RefCell<WriteSession>,
    buffers: RefCell<Vec<Buffers>>,
}

#[derive(Default)]
struct Buffers {
    body: Vec<u8>,
    decoder: SnappyDecoder,
}

impl WriteState {
    /// Empty; the seed keeps senders from choosing labels that collide.
    pub fn new(seed: u64) -> Self {
        let session = RefCell::new(WriteSession::new(seed));
        WriteState {
            session,
            buffers: RefCell::default(),
        }
    }

    fn take(&self) -> Buffers {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, buffers: Buffers) {
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < BUFFERS_KEPT && buffers.body.capacity() <= BUFFER_KEPT_BYTES_MAX {
            kept.push(buffers);
        }
    }
}

/// Takes a request from a sender.
pub async fn remote_write(worker: &Rc<Worker>, request: Request) -> Response {
    if worker.services.write_messages.is_empty() {
        return error_text(
            404,
            "remote write receiver needs to be enabled with --web.enable-remote-write-receiver",
        );
    }
    // Version 1.0 knows no such headers, and Prometheus's 1.0 sender takes a count in them at its word.
    let counts_written = request
        .header("content-type")
        .is_some_and(|t| t.contains("io.prometheus.write.v2.Request"));
    let mut buffers = worker.write.take();
    let answer = receive(worker, request, &mut buffers).await;
    worker.write.give_back(buffers);
    let mut response = if answer.status == 204 {
        empty(204)
    } else {
        without_sniffing(text(answer.status, answer.body))
    };
    let headers = response.headers_mut();
    for (name, count) in [
        (
            "x-prometheus-remote-write-samples-written",
            answer.written.samples,
        ),
        (
            "x-prometheus-remote-write-histograms-written",
            answer.written.histograms,
        ),
        (
            "x-prometheus-remote-write-exemplars-written",
            answer.written.exemplars,
        ),
    ] {
        if counts_written {
            headers.insert(name, HeaderValue::from(count));
        }
    }
    if answer.status == 503 {
        headers.insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

async fn receive(
    worker: &Rc<Worker>,
    mut request: Request,
    buffers: &mut Buffers,
) -> WriteResponse {
    let header = |name| request.header(name).unwrap_or("").to_owned();
    let (content_type, encoding) = (header("content-type"), header("content-encoding"));
    let version = match negotiate(&content_type, &encoding, &worker.services.write_messages) {
        Ok(version) => version,
        Err(refusal) => return refusal,
    };
    let counters = &worker.services.writes;
    match request
        .read_body(WRITE_BODY_BYTES_MAX, &mut buffers.body)
        .await
    {
        Ok(()) => counters.bytes.add(buffers.body.len() as u64),
        Err(error) => {
            counters.bad_requests.inc();
            let status = if matches!(error, BodyError::TooLarge { .. }) {
                413
            } else {
                400
            };
            return WriteResponse::error(status, error.to_string());
        }
    }
    let body = match buffers
        .decoder
        .decode(&buffers.body, WRITE_DECODED_BYTES_MAX)
    {
        Ok(body) => body,
        Err(error) => {
            counters.bad_requests.inc();
            return WriteResponse::error(400, error.to_string());
        }
    };
    let target = StoreTarget(worker.services.store.clone());
    let request = WriteRequest {
        version,
        body,
        now: super::query::now_ms(),
    };
    let result = write(&worker.write.session, &target, request).await;
    counters.samples.add(result.samples_stored);
    counters.samples_rejected.add(result.samples_rejected);
    counters.series_added.add(result.series_added);
    counters.histograms.add(result.histograms_stored);
    result.response
}
