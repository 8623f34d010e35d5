//! `/api/v1/export`: samples as they are stored, in VictoriaMetrics's JSON lines.
//!
//! Promise: what comes out goes in again through `/api/v1/import`, here and there. Marks of staleness and native histograms are left out, as the
//! format has no place for them. The answer is bounded by what a query may hold. Not here: reading lines (`ingest::rows`).

use super::json::push_labels;
use super::params::{TIME_MAX_MS, TIME_MIN_MS, matchers_param, time_param};
use super::query::{form_of, now_ms};
use crate::http::request::Request;
use crate::http::respond::{ApiError, ErrorType, Response, content, envelope};
use crate::worker::Worker;
use query_engine::engine::QueryRequest;
use query_engine::result::{QueryValue, Series};
use std::fmt::Write;
use std::rc::Rc;
use storage_engine::shard_api::TimeRange;

/// Later than now: a sample of a clock that is ahead is a sample.
const AHEAD_MS: i64 = 24 * 3_600_000;

/// Answers with one line a series.
pub async fn export(worker: &Rc<Worker>, request: Request) -> Response {
    match lines(worker, request).await {
        Ok(lines) => content(200, "application/stream+json; charset=utf-8", lines),
        Err(error) => envelope(Err(error)),
    }
}

async fn lines(worker: &Rc<Worker>, mut request: Request) -> Result<String, ApiError> {
    let form = form_of(&mut request).await?;
    let range = TimeRange {
        min: time_param(&form, "start", 0)?.clamp(TIME_MIN_MS, TIME_MAX_MS),
        max: time_param(&form, "end", now_ms() + AHEAD_MS)?.clamp(TIME_MIN_MS, TIME_MAX_MS),
    };
    matchers_param(&form).map_err(ApiError::bad_data)?;
    let selectors: Vec<&str> = form.values("match[]").collect();
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let mut out = String::new();
    let length = range.max.saturating_sub(range.min).saturating_add(1);
    if length <= 0 {
        return Ok(out);
    }
    let _slot = worker.services.queries.slot().await;
    let engine = worker.services.engine.load_full();
    for selector in selectors {
        // A window is open at its beginning.
        let text = format!("{selector}[{length}ms]");
        let request = QueryRequest::instant(&text, range.max);
        let answer = engine.query(&*worker.services.store, &request).await;
        let output = answer.map_err(|e| ApiError::new(ErrorType::Execution, e.to_string()))?;
        if let QueryValue::Matrix(all) = &output.value {
            all.iter().for_each(|series| push_line(&mut out, series));
        }
    }
    Ok(out)
}

fn push_line(out: &mut String, series: &Series) {
    if series.values.is_empty() {
        return;
    }
    out.push_str("{\"metric\":");
    push_labels(out, &series.labels);
    out.push_str(",\"values\":[");
    for (i, value) in series.values.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        // Writing to a string cannot fail.
        let _ = match *value {
            v if v.is_nan() => write!(out, "null"),
            f64::INFINITY => write!(out, "\"Infinity\""),
            f64::NEG_INFINITY => write!(out, "\"-Infinity\""),
            v => write!(out, "{v}"),
        };
    }
    out.push_str("],\"timestamps\":[");
    for (i, t) in series.timestamps.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{t}");
    }
    out.push_str("]}\n");
}
