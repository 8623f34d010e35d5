//! The table of routes, and the way from a request to its handler.
//!
//! The table is data: whoever must say something about every route (metrics, tests, access rules) walks [`ROUTES`].

use super::request::Request;
use super::respond::{self, Response, envelope};
use super::server::not_ready;
use crate::api::{labels, lifecycle, query, status, targets, write};
use crate::worker::Worker;
use http::{HeaderValue, Method};
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
    Root,
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
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Pattern, `{name}` for one segment.
    pub path: &'static str,
    /// Methods it takes; GET brings HEAD along.
    pub methods: &'static [Method],
    /// State it needs.
    pub needs: Needs,
    /// Who serves it.
    pub handler: Handler,
}

const GET: &[Method] = &[Method::GET];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const POST: &[Method] = &[Method::POST];
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
    route("/", GET, Needs::Nothing, Handler::Root),
    route("/metrics", GET, Needs::Nothing, Handler::Metrics),
    route("/version", GET, Needs::Nothing, Handler::Version),
    route("/-/healthy", GET, Needs::Nothing, Handler::Healthy),
    route("/-/ready", GET, Needs::Ready, Handler::Ready),
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
        "/api/v1/status/walreplay",
        GET,
        Needs::Nothing,
        Handler::StatusWalReplay,
    ),
    route("/api/v1/write", POST, Needs::Ready, Handler::Write),
];

static TABLE: LazyLock<matchit::Router<usize>> = LazyLock::new(|| {
    let mut table = matchit::Router::new();
    for (index, route) in ROUTES.iter().enumerate() {
        if let Err(error) = table.insert(route.path, index) {
            unreachable!("BUG: route {} clashes: {error}", route.path);
        }
    }
    table
});

/// Answers one request.
pub async fn dispatch(worker: &Rc<Worker>, mut request: Request) -> Response {
    let started = Instant::now();
    let api = request.path.starts_with("/api/");
    let origin = request.headers.get(http::header::ORIGIN).cloned();
    let matched = TABLE.at(&request.path).ok().map(|found| {
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let values = found
            .params
            .iter()
            .map(|(n, v)| (n.to_owned(), decode(v)))
            .collect();
        (*found.value, values)
    });
    let Some((index, path_values)) = matched else {
        return if request.method == Method::OPTIONS && api {
            with_cors(worker, origin, respond::empty(204))
        } else {
            respond::error_text(404, "404 page not found")
        };
    };
    request.path_values = path_values;
    let route = &ROUTES[index];
    let head = request.method == Method::HEAD;
    let mut response = if request.method == Method::OPTIONS && api {
        respond::empty(204)
    } else if !(route.methods.contains(&request.method)
        || head && route.methods.contains(&Method::GET))
    {
        let allow: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        respond::method_not_allowed(&allow.join(", "))
    } else if route.needs == Needs::Ready && !worker.app.is_ready() {
        not_ready(worker.app.is_stopping())
    } else {
        call(worker, route.handler, request).await
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
    if api {
        with_cors(worker, origin, response)
    } else {
        response
    }
}

async fn call(worker: &Rc<Worker>, handler: Handler, request: Request) -> Response {
    match handler {
        Handler::Root => respond::content(200, "text/html; charset=utf-8", status::root_page()),
        Handler::Metrics => status::metrics(worker),
        Handler::Version => respond::json(200, status::build_info_json()),
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
        Handler::ScrapePools => envelope(targets::scrape_pools(worker)),
        Handler::Alertmanagers => envelope(status::no_alertmanagers()),
        Handler::Rules => envelope(status::no_rules()),
        Handler::Alerts => envelope(status::no_alerts()),
        Handler::StatusConfig => envelope(status::config(worker)),
        Handler::StatusFlags => envelope(status::flags(worker)),
        Handler::StatusRuntimeInfo => envelope(status::runtime_info(worker)),
        Handler::StatusBuildInfo => envelope(status::build_info()),
        Handler::StatusTsdb => envelope(status::tsdb(worker, &request).await),
        Handler::StatusWalReplay => envelope(status::wal_replay(worker)),
        Handler::Write => write::remote_write(worker, request).await,
    }
}

/// Cross-origin headers as Prometheus sets them on its API.
fn with_cors(worker: &Worker, origin: Option<HeaderValue>, mut response: Response) -> Response {
    let Some(origin) = origin else {
        return response;
    };
    let headers = response.headers_mut();
    headers.insert("vary", HeaderValue::from_static("Origin"));
    let allow = match worker.app.cors_origin() {
        None => HeaderValue::from_static("*"),
        Some(pattern) if origin.to_str().is_ok_and(|o| pattern.is_match(o)) => origin,
        Some(_) => return response,
    };
    headers.insert("access-control-allow-origin", allow);
    headers.insert(
        "access-control-allow-headers",
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    );
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(
        "access-control-expose-headers",
        HeaderValue::from_static("Date"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_reachable_and_unique() {
        for (index, route) in ROUTES.iter().enumerate() {
            let path = route.path.replace("{name}", "job");
            assert_eq!(*TABLE.at(&path).unwrap().value, index, "{path}");
            assert!(!route.methods.is_empty());
        }
    }

    #[test]
    fn nothing_that_changes_state_answers_to_get() {
        for route in ROUTES {
            if matches!(
                route.handler,
                Handler::Reload | Handler::Quit | Handler::Write
            ) {
                assert!(!route.methods.contains(&Method::GET), "{}", route.path);
            }
        }
    }
}
