//! `admin/tsdb/*`: deletions, their cleaning, snapshots. Off unless `--web.enable-admin-api`.
//!
//! Promise: paths, parameters, texts and codes are Prometheus's: 204 without a body where there is nothing to tell.

use super::params::{TIME_MAX_MS, TIME_MIN_MS, go_quote, time_param};
use super::query::form_of;
use crate::http::request::Request;
use crate::http::respond::{ApiData, ApiError, ErrorType, Response, empty, envelope};
use crate::worker::Worker;
use jiff::Timestamp;
use query_engine::parse::parse_metric_selector;
use std::rc::Rc;
use storage_engine::io::random_bytes;
use storage_engine::maintenance::OrderError;
use storage_engine::model::Matcher;
use storage_engine::shard_api::TimeRange;

/// 204 when it is done, else the error in its envelope.
fn done(outcome: Result<(), ApiError>) -> Response {
    match outcome {
        Ok(()) => empty(204),
        Err(error) => envelope(Err(error)),
    }
}

fn check_enabled(worker: &Worker) -> Result<(), ApiError> {
    match worker.app.flags().admin_api {
        true => Ok(()),
        false => Err(ApiError::new(ErrorType::Unavailable, "admin APIs disabled")),
    }
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorType::Internal, error.to_string())
}

/// `admin/tsdb/delete_series`.
pub async fn delete_series(worker: &Rc<Worker>, request: Request) -> Response {
    done(try_delete(worker, request).await)
}

async fn try_delete(worker: &Rc<Worker>, mut request: Request) -> Result<(), ApiError> {
    check_enabled(worker)?;
    let form = form_of(&mut request).await?;
    if let Some(fault) = form.fault() {
        let text = format!("error parsing form values: {fault}");
        return Err(ApiError::bad_data(text));
    }
    if !form.has("match[]") {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = TimeRange {
        min: time_param(&form, "start", TIME_MIN_MS)?,
        max: time_param(&form, "end", TIME_MAX_MS)?,
    };
    // All are read before anything is deleted.
    let mut selectors: Vec<Vec<Matcher>> = Vec::new();
    for text in form.values("match[]") {
        let selector =
            parse_metric_selector(text).map_err(|error| ApiError::parameter("match[]", error))?;
        selectors.push(selector);
    }
    for matchers in selectors {
        let deleted = worker.services.store.delete_series(matchers, range).await;
        deleted.map_err(internal)?;
    }
    Ok(())
}

/// `admin/tsdb/clean_tombstones`.
pub async fn clean_tombstones(worker: &Rc<Worker>) -> Response {
    let outcome = match check_enabled(worker) {
        Ok(()) => worker
            .services
            .store
            .clean_tombstones()
            .await
            .map_err(internal),
        Err(error) => Err(error),
    };
    done(outcome)
}

/// `admin/tsdb/snapshot`.
pub async fn snapshot(worker: &Rc<Worker>, request: Request) -> Response {
    envelope(try_snapshot(worker, request).await)
}

async fn try_snapshot(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    check_enabled(worker)?;
    let form = form_of(&mut request).await?;
    let skip_head = match form.value("skip_head") {
        "" => false,
        text => parse_bool(text).ok_or_else(|| {
            let quoted = go_quote(text);
            let reason = format!(
                "unable to parse boolean: strconv.ParseBool: parsing {quoted}: invalid syntax"
            );
            ApiError::parameter("skip_head", reason)
        })?,
    };
    let random: [u8; 8] = random_bytes().map_err(internal)?;
    let name = snapshot_name(super::query::now_ms(), u64::from_le_bytes(random));
    let store = &worker.services.store;
    store
        .snapshot(&name, !skip_head)
        .await
        .map_err(|error: OrderError| internal(format!("create snapshot: {error}")))?;
    Ok(ApiData::json(format!("{{\"name\":\"{name}\"}}")))
}

/// Time to the second and 63 random bits, as Prometheus names snapshots.
fn snapshot_name(now_ms: i64, random: u64) -> String {
    let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
    format!("{}-{:016x}", now.strftime("%Y%m%dT%H%M%SZ"), random >> 1)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_as_prometheus_names_them() {
        assert_eq!(
            snapshot_name(1_795_274_531_999, u64::MAX),
            "20261121T152211Z-7fffffffffffffff"
        );
    }
}
