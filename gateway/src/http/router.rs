//! The table of routes, and the way from a request to its handler.
//!
//! The table is data: whoever must say something about every route (metrics, tests, access rules) walks [`ROUTES`].

use super::access;
use super::request::Request;
use super::respond::{self, Response, envelope};
use super::server::not_ready;
use crate::api::{
    active_queries, admin, alertmanagers, alerts, exemplars, export, features, federate, labels,
    lifecycle, notifications, openapi, otlp, push, query, relabel_steps, remote_read, rows, rules,
    status, targets, write,
};
use crate::ui;
use crate::web_config::Roles;
use crate::worker::Worker;
use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

/// Whether a route answers before the log has been replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Answers at any time.
    Nothing,
    /// 503 until the store is ready, and again while it stops.
    Ready,
}

/// Which handler serves a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Handler {
    UiHome,
    UiGraph,
    UiPage,
    UiFile,
    Metrics,
    Version,
    Healthy,
    Ready,
    Reload,
    Quit,
    Query,
    QueryRange,
    FormatQuery,
    ParseQuery,
    Labels,
    LabelValues,
    Series,
    Metadata,
    Targets,
    TargetsMetadata,
    RelabelSteps,
    ScrapePools,
    Alertmanagers,
    Rules,
    Alerts,
    StatusConfig,
    StatusFlags,
    StatusRuntimeInfo,
    StatusBuildInfo,
    StatusTsdb,
    StatusWalReplay,
    Write,
    QueryExemplars,
    Notifications,
    NotificationsLive,
    ActiveQueries,
    CancelQuery,
    TopQueries,
    OpenApi,
    Features,
    Federate,
    RemoteRead,
    StatusBlocks,
    DeleteSeries,
    CleanTombstones,
    Snapshot,
    Push,
    PushBase64,
    PushPage,
    PushGroups,
    PushStatus,
    PushWipe,
    PushHealthy,
    PushReady,
    InfluxWrite,
    InfluxWrite2,
    OtlpMetrics,
    Import,
    Export,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Pattern, `{name}` for one segment.
    pub path: &'static str,
    /// Methods it takes, by name in ascending order.
    pub methods: &'static [Method],
    /// State it needs.
    pub needs: Needs,
    /// Who serves it.
    pub handler: Handler,
}

const GET: &[Method] = &[Method::GET];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::PUT];
const DELETE_POST_PUT: &[Method] = &[Method::DELETE, Method::POST, Method::PUT];
const POST_PUT: &[Method] = &[Method::POST, Method::PUT];

const fn route(
    path: &'static str,
    methods: &'static [Method],
    needs: Needs,
    handler: Handler,
) -> Route {
    Route {
        path,
        methods,
        needs,
        handler,
    }
}

/// Every route of the server.
pub const ROUTES: &[Route] = &[
    // The web UI: each of its pages is the same document. The names are those of Prometheus's UI, then our own.
    route("/", GET_HEAD, Needs::Nothing, Handler::UiHome),
    route("/graph", GET_HEAD, Needs::Nothing, Handler::UiGraph),
    ui_page("/query"),
    ui_page("/alerts"),
    ui_page("/rules"),
    ui_page("/targets"),
    ui_page("/service-discovery"),
    ui_page("/alertmanager-discovery"),
    ui_page("/status"),
    ui_page("/tsdb-status"),
    ui_page("/flags"),
    ui_page("/config"),
    ui_page("/metrics-explorer"),
    ui_page("/active-queries"),
    ui_page("/top-queries"),
    ui_page("/push"),
    route("/favicon.svg", GET_HEAD, Needs::Nothing, Handler::UiFile),
    route("/assets/{*file}", GET_HEAD, Needs::Nothing, Handler::UiFile),
    route("/metrics", GET, Needs::Nothing, Handler::Metrics),
    route("/federate", GET, Needs::Ready, Handler::Federate),
    route("/version", GET, Needs::Nothing, Handler::Version),
    route("/-/healthy", GET_HEAD, Needs::Nothing, Handler::Healthy),
    route("/-/ready", GET_HEAD, Needs::Ready, Handler::Ready),
    route("/-/reload", POST_PUT, Needs::Nothing, Handler::Reload),
    route("/-/quit", POST_PUT, Needs::Nothing, Handler::Quit),
    route("/api/v1/query", GET_POST, Needs::Ready, Handler::Query),
    route(
        "/api/v1/query_range",
        GET_POST,
        Needs::Ready,
        Handler::QueryRange,
    ),
    route(
        "/api/v1/format_query",
        GET_POST,
        Needs::Ready,
        Handler::FormatQuery,
    ),
    route(
        "/api/v1/parse_query",
        GET_POST,
        Needs::Ready,
        Handler::ParseQuery,
    ),
    route("/api/v1/labels", GET_POST, Needs::Ready, Handler::Labels),
    route(
        "/api/v1/label/{name}/values",
        GET,
        Needs::Ready,
        Handler::LabelValues,
    ),
    route("/api/v1/series", GET_POST, Needs::Ready, Handler::Series),
    route("/api/v1/metadata", GET, Needs::Ready, Handler::Metadata),
    route("/api/v1/targets", GET, Needs::Ready, Handler::Targets),
    route(
        "/api/v1/targets/relabel_steps",
        GET,
        Needs::Ready,
        Handler::RelabelSteps,
    ),
    route(
        "/api/v1/targets/metadata",
        GET,
        Needs::Ready,
        Handler::TargetsMetadata,
    ),
    route(
        "/api/v1/scrape_pools",
        GET,
        Needs::Ready,
        Handler::ScrapePools,
    ),
    route(
        "/api/v1/alertmanagers",
        GET,
        Needs::Ready,
        Handler::Alertmanagers,
    ),
    route("/api/v1/rules", GET, Needs::Ready, Handler::Rules),
    route("/api/v1/alerts", GET, Needs::Ready, Handler::Alerts),
    route(
        "/api/v1/status/config",
        GET,
        Needs::Ready,
        Handler::StatusConfig,
    ),
    route(
        "/api/v1/status/flags",
        GET,
        Needs::Ready,
        Handler::StatusFlags,
    ),
    route(
        "/api/v1/status/runtimeinfo",
        GET,
        Needs::Ready,
        Handler::StatusRuntimeInfo,
    ),
    route(
        "/api/v1/status/buildinfo",
        GET,
        Needs::Ready,
        Handler::StatusBuildInfo,
    ),
    route(
        "/api/v1/status/tsdb",
        GET,
        Needs::Ready,
        Handler::StatusTsdb,
    ),
    route(
        "/api/v1/status/tsdb/blocks",
        GET,
        Needs::Ready,
        Handler::StatusBlocks,
    ),
    route(
        "/api/v1/status/walreplay",
        GET,
        Needs::Nothing,
        Handler::StatusWalReplay,
    ),
    route("/api/v1/read", POST, Needs::Ready, Handler::RemoteRead),
    route("/api/v1/write", POST, Needs::Ready, Handler::Write),
    route(
        "/api/v1/query_exemplars",
        GET_POST,
        Needs::Ready,
        Handler::QueryExemplars,
    ),
    route(
        "/api/v1/notifications",
        GET,
        Needs::Nothing,
        Handler::Notifications,
    ),
    route(
        "/api/v1/notifications/live",
        GET,
        Needs::Nothing,
        Handler::NotificationsLive,
    ),
    route(
        "/api/v1/status/active_queries",
        GET,
        Needs::Ready,
        Handler::ActiveQueries,
    ),
    route(
        "/api/v1/status/active_queries/cancel",
        POST,
        Needs::Ready,
        Handler::CancelQuery,
    ),
    route(
        "/api/v1/status/top_queries",
        GET,
        Needs::Ready,
        Handler::TopQueries,
    ),
    route(
        "/api/v1/openapi.yaml",
        GET,
        Needs::Nothing,
        Handler::OpenApi,
    ),
    route("/api/v1/features", GET, Needs::Ready, Handler::Features),
    route(
        "/api/v1/admin/tsdb/delete_series",
        POST_PUT,
        Needs::Ready,
        Handler::DeleteSeries,
    ),
    route(
        "/api/v1/admin/tsdb/clean_tombstones",
        POST_PUT,
        Needs::Ready,
        Handler::CleanTombstones,
    ),
    route(
        "/api/v1/admin/tsdb/snapshot",
        POST_PUT,
        Needs::Ready,
        Handler::Snapshot,
    ),
    route(
        "/api/v1/otlp/v1/metrics",
        POST,
        Needs::Ready,
        Handler::OtlpMetrics,
    ),
    route("/api/v1/import", POST, Needs::Ready, Handler::Import),
    route("/api/v1/export", GET_POST, Needs::Ready, Handler::Export),
    route("/write", POST, Needs::Ready, Handler::InfluxWrite),
    route("/api/v2/write", POST, Needs::Ready, Handler::InfluxWrite2),
    // The push gateway: where clients of a Pushgateway look for it, and all of it once more below a path of its own, where its paths
    // do not meet Prometheus's.
    push_route("/metrics/job/{*group}", Handler::Push),
    push_route("/metrics/job@base64/{*group}", Handler::PushBase64),
    route("/api/v1/metrics", GET, Needs::Ready, Handler::PushGroups),
    route("/api/v1/status", GET, Needs::Nothing, Handler::PushStatus),
    route("/api/v1/admin/wipe", PUT, Needs::Ready, Handler::PushWipe),
    route("/pushgateway/metrics", GET, Needs::Ready, Handler::PushPage),
    push_route("/pushgateway/metrics/job/{*group}", Handler::Push),
    push_route(
        "/pushgateway/metrics/job@base64/{*group}",
        Handler::PushBase64,
    ),
    route(
        "/pushgateway/api/v1/metrics",
        GET,
        Needs::Ready,
        Handler::PushGroups,
    ),
    route(
        "/pushgateway/api/v1/status",
        GET,
        Needs::Nothing,
        Handler::PushStatus,
    ),
    route(
        "/pushgateway/api/v1/admin/wipe",
        PUT,
        Needs::Ready,
        Handler::PushWipe,
    ),
    route(
        "/pushgateway/-/healthy",
        GET,
        Needs::Nothing,
        Handler::PushHealthy,
    ),
    route(
        "/pushgateway/-/ready",
        GET,
        Needs::Ready,
        Handler::PushReady,
    ),
];

const fn ui_page(path: &'static str) -> Route {
    route(path, GET_HEAD, Needs::Nothing, Handler::UiPage)
}

const fn push_route(path: &'static str, handler: Handler) -> Route {
    route(path, DELETE_POST_PUT, Needs::Ready, handler)
}

static TABLE: LazyLock<matchit::Router<usize>> = LazyLock::new(|| {
    let mut table = matchit::Router::new();
    for (index, route) in ROUTES.iter().enumerate() {
        if let Err(error) = table.insert(route.path, index) {
            unreachable!("BUG: route {} clashes: {error}", route.path);
        }
    }
    table
});

/// Answers one request of a caller with these roles: takes the prefix off, finds the route, checks role, method and state.
pub async fn dispatch(worker: &Rc<Worker>, mut request: Request, roles: Roles) -> Response {
    let started = Instant::now();
    match without_prefix(&worker.app.flags().route_prefix, &request) {
        Ok(None) => {}
        Ok(Some(path)) => request.path = path,
        Err(response) => return response,
    }
    let origin = request.headers.get(http::header::ORIGIN).cloned();
    let matched = TABLE.at(&request.path).ok().map(|found| {
        let values = found
            .params
            .iter()
            .map(|(n, v)| (n.to_owned(), percent_decode_str(v).collect()))
            .collect();
        (*found.value, values)
    });
    let options = request.method == Method::OPTIONS;
    if options && request.path.starts_with("/api/v1/") {
        return with_cors(worker, origin, respond::empty(204));
    }
    let Some((index, path_values)) = matched else {
        return elsewhere(&worker.app.flags().route_prefix, &request);
    };
    request.path_values = path_values;
    let route = &ROUTES[index];
    let head = request.method == Method::HEAD;
    let mut response = if options {
        respond::allowed_methods(&allow(route))
    } else if let Some(refusal) = access::refused(worker, route.handler, &request.method, roles) {
        refusal
    } else if !route.methods.contains(&request.method) {
        if request.method == Method::GET && acts_on_the_process(route.handler) {
            respond::text(405, "Only POST or PUT requests allowed")
        } else {
            respond::method_not_allowed(&allow(route))
        }
    } else if route.needs == Needs::Ready && !worker.app.is_ready() {
        not_ready(worker.app.is_stopping())
    } else {
        let response = call(worker, route.handler, request).await;
        if route.path.starts_with("/api/v1/")
            && !matches!(route.handler, Handler::Write | Handler::RemoteRead)
        {
            with_cors(worker, origin, response)
        } else {
            response
        }
    };
    if head {
        *response.body_mut() = bytes::Bytes::new();
    }
    worker.http.observe(
        index,
        response.status().as_u16(),
        started.elapsed(),
        response.body().len(),
    );
    response
}

/// The path behind `--web.route-prefix`; `None` when there is no prefix. The root and the bare prefix lead to the prefix's own root.
#[expect(
    clippy::result_large_err,
    reason = "the other way out is the finished answer itself"
)]
fn without_prefix(prefix: &str, request: &Request) -> Result<Option<String>, Response> {
    if prefix.is_empty() {
        return Ok(None);
    }
    let found = |status: u16, location: &str| Err(respond::redirect(status, location));
    match request.path.strip_prefix(prefix) {
        Some("") => found(moved(&request.method), &format!("{prefix}/")),
        Some(rest) if rest.starts_with('/') => Ok(Some(rest.to_owned())),
        _ if request.path == "/" && request.method == Method::GET => found(302, prefix),
        _ => Err(respond::error_text(404, "404 page not found")),
    }
}

/// The status of a redirect that must not change the method.
fn moved(method: &Method) -> u16 {
    if *method == Method::GET { 301 } else { 307 }
}

/// A path that is no route: when it only has a slash or a dot too much, the way to the route that was meant; else 404.
fn elsewhere(prefix: &str, request: &Request) -> Response {
    let clean = clean_path(&request.path);
    if clean == request.path || TABLE.at(&clean).is_err() {
        return respond::error_text(404, "404 page not found");
    }
    let mut location = format!("{prefix}{clean}");
    if !request.query.is_empty() {
        location.push('?');
        location.push_str(&request.query);
    }
    respond::redirect(moved(&request.method), &location)
}

/// The path without empty, `.` and `..` segments and without a slash at its end.
pub(crate) fn clean_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// `/-/reload` and `/-/quit`: a GET of theirs is answered with a hint of its own, and so counts as allowed.
fn acts_on_the_process(handler: Handler) -> bool {
    matches!(handler, Handler::Reload | Handler::Quit)
}

/// The methods of a route for `Allow`, in alphabetic order, OPTIONS among them.
fn allow(route: &Route) -> String {
    let mut names: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    names.push("OPTIONS");
    if acts_on_the_process(route.handler) {
        names.push("GET");
    }
    names.sort_unstable();
    names.join(", ")
}

async fn call(worker: &Rc<Worker>, handler: Handler, request: Request) -> Response {
    match handler {
        Handler::UiHome => ui::home(worker.app.flags()),
        Handler::UiGraph => ui::graph(worker.app.flags(), &request),
        Handler::UiPage => ui::page(worker.app.flags()),
        Handler::UiFile => ui::file(&request),
        Handler::Metrics => status::metrics(worker, &request),
        // Prometheus leaves the type of this answer to Go, which sees text.
        Handler::Version => respond::text(200, format!("{}\n", status::build_info_json())),
        Handler::Healthy => respond::text(200, "Prometheus Server is Healthy.\n"),
        Handler::Ready => respond::text(200, "Prometheus Server is Ready.\n"),
        Handler::Reload => lifecycle::reload(worker).await,
        Handler::Quit => lifecycle::quit(worker),
        Handler::Query => envelope(query::instant(worker, request).await),
        Handler::QueryRange => envelope(query::range(worker, request).await),
        Handler::FormatQuery => envelope(query::format(worker, request).await),
        Handler::ParseQuery => envelope(query::parse(worker, request).await),
        Handler::Labels => envelope(labels::names(worker, request).await),
        Handler::LabelValues => envelope(labels::values(worker, request).await),
        Handler::Series => envelope(labels::series(worker, request).await),
        Handler::Metadata => envelope(targets::metadata(worker, &request)),
        Handler::Targets => envelope(targets::targets(worker, &request)),
        Handler::TargetsMetadata => envelope(targets::targets_metadata(worker, &request)),
        Handler::RelabelSteps => envelope(relabel_steps::relabel_steps(worker, &request)),
        Handler::ScrapePools => envelope(targets::scrape_pools(worker)),
        Handler::Alertmanagers => envelope(alertmanagers::alertmanagers(worker)),
        Handler::Rules => envelope(rules::rules(worker, &request)),
        Handler::Alerts => envelope(alerts::alerts(worker)),
        Handler::StatusConfig => envelope(status::config(worker)),
        Handler::StatusFlags => envelope(status::flags(worker)),
        Handler::StatusRuntimeInfo => envelope(status::runtime_info(worker)),
        Handler::StatusBuildInfo => envelope(status::build_info()),
        Handler::StatusTsdb => envelope(status::tsdb(worker, &request).await),
        Handler::StatusWalReplay => envelope(status::wal_replay(worker)),
        Handler::Write => write::remote_write(worker, request).await,
        Handler::QueryExemplars => exemplars::query(worker, request).await,
        Handler::Notifications => envelope(notifications::list(worker)),
        Handler::NotificationsLive => notifications::live(worker),
        Handler::ActiveQueries => active_queries::active(worker),
        Handler::CancelQuery => active_queries::cancel(worker, request).await,
        Handler::TopQueries => active_queries::top(worker, request).await,
        Handler::OpenApi => openapi::openapi(worker, &request.query),
        Handler::Features => envelope(features::features(worker)),
        Handler::Federate => federate::federate(worker, request).await,
        Handler::RemoteRead => remote_read::read(worker, request).await,
        Handler::StatusBlocks => envelope(status::blocks(worker)),
        Handler::DeleteSeries => admin::delete_series(worker, request).await,
        Handler::CleanTombstones => admin::clean_tombstones(worker).await,
        Handler::Snapshot => admin::snapshot(worker, request).await,
        Handler::Push => push::change(worker, request, false).await,
        Handler::PushBase64 => push::change(worker, request, true).await,
        Handler::PushPage => push::page(worker, &request).await,
        Handler::PushGroups => push::groups(worker).await,
        Handler::PushStatus => push::status(worker),
        Handler::PushWipe => push::wipe(worker).await,
        Handler::InfluxWrite => rows::influx(worker, request, rows::InfluxApi::One).await,
        Handler::InfluxWrite2 => rows::influx(worker, request, rows::InfluxApi::Two).await,
        Handler::Import => rows::import(worker, request).await,
        Handler::Export => export::export(worker, request).await,
        Handler::OtlpMetrics => otlp::otlp(worker, request).await,
        Handler::PushHealthy | Handler::PushReady => respond::text(200, "OK"),
    }
}

/// Cross-origin headers as Prometheus sets them on its API.
fn with_cors(worker: &Worker, origin: Option<HeaderValue>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("vary", HeaderValue::from_static("Origin"));
    let Some(origin) = origin else {
        return response;
    };
    for (name, value) in [
        (
            "access-control-allow-headers",
            "Accept, Authorization, Content-Type, Origin",
        ),
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-expose-headers", "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let allowed = match worker.app.cors_origin() {
        None => true,
        Some(pattern) => origin.to_str().is_ok_and(|o| pattern.is_match(o)),
    };
    if allowed {
        headers.insert("access-control-allow-origin", origin);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_reachable_and_unique() {
        for (index, route) in ROUTES.iter().enumerate() {
            let path = route
                .path
                .replace("{name}", "job")
                .replace("{*group}", "a/b/c");
            assert_eq!(*TABLE.at(&path).unwrap().value, index, "{path}");
            assert!(!route.methods.is_empty());
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean) in [
            ("//api/v1/query", "/api/v1/query"),
            ("/-/healthy/", "/-/healthy"),
            ("/api/v1/../v1/./query", "/api/v1/query"),
            ("/../..", "/"),
        ] {
            assert_eq!(clean_path(path), clean);
        }
    }

    #[test]
    fn methods_are_named_in_order() {
        let of = |handler| allow(ROUTES.iter().find(|r| r.handler == handler).unwrap());
        assert_eq!(of(Handler::Query), "GET, OPTIONS, POST");
        assert_eq!(of(Handler::Healthy), "GET, HEAD, OPTIONS");
        assert_eq!(of(Handler::Reload), "GET, OPTIONS, POST, PUT");
    }

    #[test]
    fn nothing_that_changes_state_answers_to_get() {
        for route in ROUTES {
            if matches!(
                route.handler,
                Handler::Reload
                    | Handler::Quit
                    | Handler::Write
                    | Handler::DeleteSeries
                    | Handler::CleanTombstones
                    | Handler::Snapshot
                    | Handler::CancelQuery
                    | Handler::Push
                    | Handler::PushWipe
            ) {
                assert!(!route.methods.contains(&Method::GET), "{}", route.path);
            }
        }
    }
}
