//! `query_exemplars`: the exemplars of the series that a query names.

use super::json::{push_labels, push_timestamp};
use super::params::{TIME_MAX_MS, TIME_MIN_MS, time_param};
use super::query::form_of;
use crate::http::request::Request;
use crate::http::respond::{self, ApiData, ApiError, ErrorType, Response};
use crate::worker::Worker;
use query_engine::eval::budget::CancelToken;
use query_engine::number_text::format_value;
use query_engine::{exemplars, parse};
use std::rc::Rc;
use storage_engine::shard_api::{SeriesExemplars, TimeRange};

/// `/api/v1/query_exemplars`. A query without a selector is answered with 204 and no body, as Prometheus does.
pub async fn query(worker: &Rc<Worker>, request: Request) -> Response {
    match found(worker, request).await {
        Ok(None) => respond::empty(204),
        Ok(Some(all)) => respond::envelope(Ok(ApiData::json(json(&all)))),
        Err(error) => respond::envelope(Err(error)),
    }
}

async fn found(
    worker: &Rc<Worker>,
    mut request: Request,
) -> Result<Option<Vec<SeriesExemplars>>, ApiError> {
    let form = form_of(&mut request).await?;
    let min = time_param(&form, "start", TIME_MIN_MS)?;
    let max = time_param(&form, "end", TIME_MAX_MS)?;
    if max < min {
        let text = "end timestamp must not be before start timestamp";
        return Err(ApiError::bad_data(text));
    }
    let engine = worker.services.engine.load_full();
    let expr = parse::parse(form.value("query"), &engine.options().parser)
        .map_err(|e| ApiError::bad_data(e.to_string()))?;
    let selectors = exemplars::selectors(&expr);
    if selectors.is_empty() {
        return Ok(None);
    }
    let store = &*worker.services.store;
    let range = TimeRange { min, max };
    let all = exemplars::query(store, selectors, range, &CancelToken::new()).await;
    all.map(Some)
        .map_err(|e| ApiError::new(ErrorType::Execution, e.to_string()))
}

fn json(all: &[SeriesExemplars]) -> String {
    let mut out = String::from("[");
    for (i, series) in all.iter().enumerate() {
        out.push_str(if i > 0 { ",{" } else { "{" });
        out.push_str("\"seriesLabels\":");
        push_labels(&mut out, &series.labels);
        out.push_str(",\"exemplars\":[");
        for (k, exemplar) in series.exemplars.iter().enumerate() {
            out.push_str(if k > 0 { ",{" } else { "{" });
            out.push_str("\"labels\":");
            push_labels(&mut out, &exemplar.labels);
            out.push_str(",\"value\":\"");
            format_value(exemplar.value, &mut out);
            out.push_str("\",\"timestamp\":");
            push_timestamp(&mut out, exemplar.timestamp);
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push(']');
    out
}
