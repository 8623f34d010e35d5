//! The push gateway over HTTP: `/metrics/job/…`, its page, its API, its admin call.
//!
//! Promise: paths, methods, codes, texts and JSON are those of Pushgateway 1.11. All of it is below `/pushgateway`, so that a client with
//! that address as its base finds everything; what does not meet a path of Prometheus's is at the root, too.
//! Not here: what a push means (`ingest::pushgateway`), its log (`crate::push`).

use super::push_json::groups_json;
use super::status::metrics_type;
use crate::http::body::BodyError as ReadError;
use crate::http::request::{Form, Request};
use crate::http::respond::{
    Response, content, empty, error_text, json, push_json_string, redirect,
};
use crate::http::router::clean_path;
use crate::limits::PUSH_BODY_BYTES_MAX;
use crate::push::{PushError, PushGateway};
use crate::worker::Worker;
use http::{HeaderValue, Method};
use ingest::clock::{Clock, SystemClock};
use ingest::pushgateway::{Grouping, GroupsError, PreparedPush, parse_push};
use ingest::unpack::{BodyEncoding, UnpackError, unpack};
use std::rc::Rc;

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";

#[expect(
    clippy::result_large_err,
    reason = "the other way out is the finished answer itself"
)]
fn gateway(worker: &Worker) -> Result<&PushGateway, Response> {
    let off = || {
        error_text(
            404,
            "the push gateway needs to be enabled with --push.enable",
        )
    };
    worker.services.push.as_ref().ok_or_else(off)
}

/// PUT, POST and DELETE of a group.
pub async fn change(worker: &Rc<Worker>, request: Request, job_is_base64: bool) -> Response {
    try_change(worker, request, job_is_base64)
        .await
        .unwrap_or_else(|answer| answer)
}

async fn try_change(
    worker: &Rc<Worker>,
    mut request: Request,
    job_is_base64: bool,
) -> Result<Response, Response> {
    let push = gateway(worker)?;
    redirect_to_clean(worker, &request)?;
    let grouping = Grouping::from_path(request.path_value("group"), job_is_base64)
        .map_err(|error| error_text(400, &error.to_string()))?;
    if request.method == Method::DELETE {
        push.delete(grouping)
            .await
            .map_err(|error| refusal(&error))?;
        return Ok(empty(202));
    }
    let ttl_ms = ttl_ms(worker, &request)?;
    let replace = request.method == Method::PUT;
    let prepared = read(push, &mut request, &grouping).await.inspect_err(|_| {
        push.note_unreadable();
    })?;
    let time_ns = SystemClock::new().wall_ns();
    push.push(grouping, replace, ttl_ms, time_ns, prepared)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(empty(200))
}

/// A path with `//`, `.` or `..` in it is led to the one that was meant, as Go's server does.
#[expect(
    clippy::result_large_err,
    reason = "the other way out is the finished answer itself"
)]
fn redirect_to_clean(worker: &Worker, request: &Request) -> Result<(), Response> {
    let mut clean = clean_path(&request.path);
    if request.path.ends_with('/') {
        clean.push('/');
    }
    if clean == request.path {
        return Ok(());
    }
    let prefix = &worker.app.flags().route_prefix;
    let mut location = format!("{prefix}{clean}");
    if !request.query.is_empty() {
        location.push('?');
        location.push_str(&request.query);
    }
    let mut answer = redirect(301, &location);
    *answer.body_mut() = bytes::Bytes::new();
    answer.headers_mut().remove(http::header::CONTENT_TYPE);
    Err(answer)
}

/// How long the group is to live: as the push says, else as the flag says.
#[expect(
    clippy::result_large_err,
    reason = "the other way out is the finished answer itself"
)]
fn ttl_ms(worker: &Worker, request: &Request) -> Result<u64, Response> {
    let form = Form::from_query(&request.query);
    if !form.has("ttl") {
        let ttl = worker.app.flags().push_ttl;
        return Ok(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }
    let ttl = super::params::parse_duration(form.value("ttl")).and_then(|ms| {
        u64::try_from(ms).map_err(|_| "a time to live cannot be negative".to_owned())
    });
    ttl.map_err(|error| error_text(400, &format!("invalid parameter \"ttl\": {error}")))
}

async fn read(
    push: &PushGateway,
    request: &mut Request,
    grouping: &Grouping,
) -> Result<PreparedPush, Response> {
    let header = |name| request.header(name).unwrap_or("").to_owned();
    let (content_type, encoding) = (header("content-type"), header("content-encoding"));
    let mut body = Vec::new();
    request
        .read_body(PUSH_BODY_BYTES_MAX, &mut body)
        .await
        .map_err(|error| {
            let status = if matches!(error, ReadError::TooLarge { .. }) {
                413
            } else {
                400
            };
            error_text(status, &error.to_string())
        })?;
    let body = unpack(
        &body,
        BodyEncoding::from_header(&encoding),
        PUSH_BODY_BYTES_MAX,
    );
    let body = body.map_err(|error| {
        let status = if matches!(error, UnpackError::TooLarge(_)) {
            413
        } else {
            400
        };
        error_text(status, &error.to_string())
    })?;
    parse_push(&body, &content_type, grouping, push.seed())
        .map_err(|error| error_text(400, &error.to_string()))
}

fn refusal(error: &PushError) -> Response {
    let status = match error {
        PushError::Groups(GroupsError::Inconsistent(_)) => 400,
        PushError::Groups(_) => 429,
        _ => 503,
    };
    let mut answer = error_text(status, &error.to_string());
    if status == 503 {
        answer
            .headers_mut()
            .insert("retry-after", HeaderValue::from_static("1"));
    }
    answer
}

/// All groups as one page, for a Prometheus that scrapes us, and for our own scrape.
pub async fn page(worker: &Rc<Worker>, request: &Request) -> Response {
    let push = match gateway(worker) {
        Ok(push) => push,
        Err(answer) => return answer,
    };
    match push.page().await {
        Err(error) => refusal(&error),
        Ok(page) if wants_protobuf(request) => content(200, PROTOBUF, page.protobuf()),
        Ok(page) => content(200, metrics_type(request), page.text()),
    }
}

/// Is delimited protobuf the first format in the list that we have?
fn wants_protobuf(request: &Request) -> bool {
    let accept = request.header("accept").unwrap_or("");
    let first = accept.split(',').map(str::trim).find(|part| {
        let media = part.split(';').next().unwrap_or("").trim();
        media == "text/plain"
            || (media == "application/vnd.google.protobuf" && part.contains("encoding=delimited"))
    });
    first.is_some_and(|part| part.starts_with("application/"))
}

/// `/api/v1/metrics`: all groups as JSON.
pub async fn groups(worker: &Rc<Worker>) -> Response {
    let push = match gateway(worker) {
        Ok(push) => push,
        Err(answer) => return answer,
    };
    match push.describe().await {
        Err(error) => refusal(&error),
        Ok(groups) => with_cors(json(200, groups_json(&groups))),
    }
}

/// `/api/v1/status`: flags, build and start.
pub fn status(worker: &Worker) -> Response {
    if let Err(answer) = gateway(worker) {
        return answer;
    }
    let mut out = String::from("{\"status\":\"success\",\"data\":{\"build_information\":");
    out.push_str(&super::status::build_info_json());
    out.push_str(",\"flags\":{");
    for (i, (name, value)) in worker.app.flags().map.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(&mut out, name);
        out.push(':');
        push_json_string(&mut out, value);
    }
    out.push_str("},\"start_time\":");
    let start = jiff::Timestamp::try_from(worker.app.start_time()).unwrap_or_default();
    push_json_string(&mut out, &start.to_string());
    out.push_str("}}");
    with_cors(json(200, out))
}

/// `/api/v1/admin/wipe`: the end of all groups.
pub async fn wipe(worker: &Rc<Worker>) -> Response {
    let push = match gateway(worker) {
        Ok(push) => push,
        Err(answer) => return answer,
    };
    if !worker.app.flags().admin_api {
        return error_text(404, "404 page not found");
    }
    match push.wipe().await {
        Ok(()) => empty(202),
        Err(error) => refusal(&error),
    }
}

/// The headers that the Pushgateway puts on its API.
fn with_cors(mut response: Response) -> Response {
    for (name, value) in [
        (
            "access-control-allow-headers",
            "Accept, Authorization, Content-Type, Origin",
        ),
        ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "Date"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
