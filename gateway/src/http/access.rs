//! Which role a route needs, and the answers to callers who may not.
//!
//! Promise: every handler has its line in [`required`], checked by the compiler: a route without a decision does not build. Refusals are
//! worded as exporter-toolkit's.

use super::request::Request;
use super::respond::{self, Response};
use super::router::{self, Handler};
use crate::web_config::{Admission, Role, Roles, WebConfig};
use crate::worker::Worker;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use std::rc::Rc;

/// The role that a request of this handler needs; `None`: any caller who was admitted.
pub fn required(handler: Handler, _method: &Method) -> Option<Role> {
    match handler {
        Handler::UiHome
        | Handler::UiGraph
        | Handler::UiPage
        | Handler::UiFile
        | Handler::Version
        | Handler::Healthy
        | Handler::Ready
        | Handler::PushHealthy
        | Handler::PushReady => None,
        Handler::Metrics
        | Handler::Query
        | Handler::Export
        | Handler::QueryRange
        | Handler::FormatQuery
        | Handler::ParseQuery
        | Handler::Labels
        | Handler::LabelValues
        | Handler::Series
        | Handler::Metadata
        | Handler::Targets
        | Handler::TargetsMetadata
        | Handler::RelabelSteps
        | Handler::ScrapePools
        | Handler::Alertmanagers
        | Handler::Rules
        | Handler::Alerts
        | Handler::StatusConfig
        | Handler::StatusFlags
        | Handler::StatusRuntimeInfo
        | Handler::StatusBuildInfo
        | Handler::StatusTsdb
        | Handler::StatusBlocks
        | Handler::StatusWalReplay
        | Handler::QueryExemplars
        | Handler::Notifications
        | Handler::Features
        | Handler::NotificationsLive
        | Handler::ActiveQueries
        | Handler::TopQueries
        | Handler::OpenApi
        | Handler::Federate
        | Handler::RemoteRead
        | Handler::PushPage
        | Handler::PushGroups
        | Handler::PushStatus => Some(Role::Read),
        Handler::Write
        | Handler::InfluxWrite
        | Handler::InfluxWrite2
        | Handler::OtlpMetrics
        | Handler::Import => Some(Role::Write),
        Handler::Push | Handler::PushBase64 => Some(Role::Push),
        Handler::Reload
        | Handler::Quit
        | Handler::CancelQuery
        | Handler::DeleteSeries
        | Handler::CleanTombstones
        | Handler::Snapshot
        | Handler::PushWipe => Some(Role::Admin),
    }
}

/// Answers a request where a web configuration is in force: rate limit, credentials, then the route, and the file's headers on all of it.
pub(super) async fn guarded(
    worker: &Rc<Worker>,
    web: &WebConfig,
    own_door: bool,
    request: Request,
) -> Response {
    let current = web.snapshot();
    if !current.has_room() {
        return with_headers(
            &current.headers,
            respond::error_text(429, "Too Many Requests"),
        );
    }
    let admission = match own_door {
        true => web.judge_own(&request.headers),
        false => web.judge(&request.headers).await,
    };
    let response = match admission {
        Admission::Admitted(roles) => router::dispatch(worker, request, roles).await,
        Admission::Refused => {
            web.refused.inc();
            let mut response = respond::error_text(401, "Unauthorized");
            let challenges = current.guard.iter().flat_map(|guard| guard.challenges());
            for challenge in challenges {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
            response
        }
        Admission::Busy => {
            let mut response = respond::error_text(503, "Service Unavailable");
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    };
    with_headers(&current.headers, response)
}

/// The refusal of a caller whose roles do not do.
pub(super) fn refused(
    worker: &Worker,
    handler: Handler,
    method: &Method,
    roles: Roles,
) -> Option<Response> {
    let needed = required(handler, method)?;
    if roles.has(needed) {
        return None;
    }
    if let Some(web) = &worker.services.web {
        web.forbidden.inc();
    }
    Some(respond::error_text(403, "Forbidden"))
}

fn with_headers(headers: &[(http::HeaderName, HeaderValue)], mut response: Response) -> Response {
    for (name, value) in headers {
        // What a handler says about its own answer stands.
        if !response.headers().contains_key(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
