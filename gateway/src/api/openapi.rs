//! `openapi.yaml`: the document of the API, made from the table of routes.
//!
//! Promise: every route is in it with its methods, parameters and answers: [`operation`] has a line for each handler, checked by the
//! compiler, and paths and methods come from the table itself. OpenAPI 3.1; `openapi_version=3.2` changes the version only.

use crate::config::yaml::{Out, write};
use crate::http::access::required;
use crate::http::request::Form;
use crate::http::respond::{Response, content, error_text};
use crate::http::router::{Handler, ROUTES, Route};
use crate::worker::Worker;
use http::Method;

/// A parameter of the query, or of a form.
struct Param {
    name: &'static str,
    needed: bool,
    many: bool,
    about: &'static str,
}

const fn opt(name: &'static str, about: &'static str) -> Param {
    Param {
        name,
        needed: false,
        many: false,
        about,
    }
}

const fn must(name: &'static str, about: &'static str) -> Param {
    Param {
        needed: true,
        ..opt(name, about)
    }
}

const MATCH: Param = Param {
    many: true,
    ..opt("match[]", "Series selector; several are a union.")
};
const MATCH_NEEDED: Param = Param {
    needed: true,
    ..MATCH
};
const START: Param = opt("start", "Unix seconds or RFC 3339.");
const END: Param = opt("end", "Unix seconds or RFC 3339.");
const LIMIT: Param = opt("limit", "Most items; 0 for all.");
const QUERY: Param = must("query", "PromQL.");
const TIMEOUT: Param = opt("timeout", "Shortens --query.timeout.");
const LOOKBACK: Param = opt("lookback_delta", "How old a sample may be.");
const STATS: Param = opt("stats", "true or all.");
const EXPLAIN: Param = opt(
    "explain",
    "1: tells what it took, as an explain member; ours.",
);

/// What a body or an answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    /// Nothing.
    None,
    /// The envelope.
    Json,
    /// Other JSON.
    PlainJson,
    Text,
    Html,
    File,
    Protobuf,
    Page,
    Events,
    Yaml,
}

impl Media {
    fn types(self) -> &'static [&'static str] {
        match self {
            Media::None => &[],
            Media::Json | Media::PlainJson => &["application/json"],
            Media::Text => &["text/plain"],
            Media::Html => &["text/html"],
            Media::File => &["*/*"],
            Media::Protobuf => &["application/x-protobuf"],
            Media::Page => &["text/plain", "application/vnd.google.protobuf"],
            Media::Events => &["text/event-stream"],
            Media::Yaml => &["application/yaml"],
        }
    }
}

/// What the document says of a handler.
struct Operation {
    about: &'static str,
    params: Vec<Param>,
    body: Media,
    answer: Media,
    /// Status of success.
    code: &'static str,
    /// Further answers.
    others: &'static [(&'static str, &'static str)],
}

fn json(about: &'static str, params: Vec<Param>) -> Operation {
    Operation {
        about,
        params,
        body: Media::None,
        answer: Media::Json,
        code: "200",
        others: &[
            ("400", "The request is wrong."),
            ("422", "It cannot be executed."),
        ],
    }
}

fn plain(about: &'static str, answer: Media) -> Operation {
    Operation {
        answer,
        others: &[],
        ..json(about, vec![])
    }
}

fn action(about: &'static str, params: Vec<Param>, code: &'static str) -> Operation {
    Operation {
        answer: Media::None,
        code,
        ..json(about, params)
    }
}

fn taking(about: &'static str, body: Media, code: &'static str) -> Operation {
    Operation {
        body,
        answer: Media::None,
        code,
        others: &[
            ("400", "The body cannot be taken."),
            ("404", "Switched off."),
            ("413", "The body is too long."),
            ("415", "Not a type that is taken."),
            ("429", "A limit is reached."),
        ],
        ..json(about, vec![])
    }
}

fn operation(handler: Handler) -> Operation {
    match handler {
        Handler::UiHome | Handler::UiGraph => Operation {
            code: "302",
            ..plain("Leads to the web UI.", Media::Html)
        },
        Handler::UiPage => plain("A page of the web UI.", Media::Html),
        Handler::UiFile => Operation {
            others: &[("304", "It has not changed."), ("404", "No such file.")],
            ..plain("A file of the web UI.", Media::File)
        },
        Handler::Metrics => plain("The server's own metrics.", Media::Text),
        Handler::Federate => Operation {
            params: vec![MATCH],
            answer: Media::Page,
            ..json(
                "The newest samples of chosen series, for another Prometheus.",
                vec![],
            )
        },
        Handler::Version => plain("Build information.", Media::PlainJson),
        Handler::Healthy | Handler::PushHealthy => plain("Is the process there?", Media::Text),
        Handler::Ready | Handler::PushReady => plain("Can it answer?", Media::Text),
        Handler::Reload => Operation {
            others: &[
                ("403", "Off without --web.enable-lifecycle."),
                ("500", "The configuration is bad; the old one stays."),
            ],
            ..action("Loads the configuration again.", vec![], "200")
        },
        Handler::Quit => Operation {
            others: &[("403", "Off without --web.enable-lifecycle.")],
            ..plain("Ends the process.", Media::Text)
        },
        Handler::Query => json(
            "Evaluates a query at one moment.",
            vec![
                QUERY,
                opt("time", "Unix seconds or RFC 3339; now by default."),
                TIMEOUT,
                LOOKBACK,
                STATS,
                LIMIT,
                EXPLAIN,
            ],
        ),
        Handler::QueryRange => json(
            "Evaluates a query at many moments.",
            vec![
                QUERY,
                must("start", "Unix seconds or RFC 3339."),
                must("end", "Unix seconds or RFC 3339."),
                must("step", "Seconds, or a duration."),
                TIMEOUT,
                LOOKBACK,
                STATS,
                LIMIT,
                EXPLAIN,
                opt("nocache", "1: uses no kept answer; ours."),
            ],
        ),
        Handler::QueryExemplars => Operation {
            others: &[
                ("204", "The query has no selector."),
                ("400", "The request is wrong."),
                ("422", "It cannot be executed."),
            ],
            ..json(
                "Exemplars of the series that a query names.",
                vec![QUERY, START, END],
            )
        },
        Handler::FormatQuery => json("A query, formatted.", vec![QUERY]),
        Handler::ParseQuery => json("A query's syntax tree.", vec![QUERY]),
        Handler::Labels => json("Label names.", vec![MATCH, START, END, LIMIT]),
        Handler::LabelValues => json("Values of a label.", vec![MATCH, START, END, LIMIT]),
        Handler::Series => json(
            "Label sets of series.",
            vec![MATCH_NEEDED, START, END, LIMIT],
        ),
        Handler::Metadata => json(
            "Types, helps and units of metrics.",
            vec![
                opt("metric", "Only this one."),
                LIMIT,
                opt("limit_per_metric", "Most entries of each."),
            ],
        ),
        Handler::Targets => json(
            "Targets of the scrape jobs.",
            vec![
                opt("state", "active, dropped or any."),
                opt("scrapePool", "Only this job."),
            ],
        ),
        Handler::TargetsMetadata => json(
            "Metadata by target.",
            vec![
                opt("match_target", "Selector of targets."),
                opt("metric", "Only this one."),
                LIMIT,
            ],
        ),
        Handler::RelabelSteps => json(
            "What each relabeling rule of a job does to labels.",
            vec![
                must("scrapePool", "The job."),
                must("labels", "A JSON object."),
            ],
        ),
        Handler::ScrapePools => json("Names of the scrape jobs.", vec![]),
        Handler::Alertmanagers => json("Alertmanagers that are sent to.", vec![]),
        Handler::Rules => json(
            "Rules and their state.",
            vec![
                opt("type", "alert or record."),
                opt("exclude_alerts", "true: without alerts."),
                MATCH,
            ],
        ),
        Handler::Alerts => json("Active alerts.", vec![]),
        Handler::StatusConfig => json("The configuration in force, without its secrets.", vec![]),
        Handler::StatusFlags => json("Values of the flags.", vec![]),
        Handler::StatusRuntimeInfo => json("The running process.", vec![]),
        Handler::StatusBuildInfo => json("Build information.", vec![]),
        Handler::StatusTsdb => json(
            "The storage, and counts of series.",
            vec![opt("limit", "Lines in each list.")],
        ),
        Handler::StatusBlocks => json("Blocks on disk.", vec![]),
        Handler::StatusWalReplay => json("How far the start is.", vec![]),
        Handler::Notifications => json("What operators should know now.", vec![]),
        Handler::NotificationsLive => Operation {
            others: &[("204", "Too many listen.")],
            ..plain("The same as server-sent events.", Media::Events)
        },
        Handler::Features => json("What is switched on.", vec![]),
        Handler::ActiveQueries => plain("Queries that run now.", Media::PlainJson),
        Handler::CancelQuery => Operation {
            others: &[("400", "The id is wrong."), ("404", "No such query runs.")],
            ..action(
                "Ends a query.",
                vec![must("id", "As active_queries shows it.")],
                "204",
            )
        },
        Handler::TopQueries => Operation {
            params: vec![
                opt("topN", "Lines in each list."),
                opt("maxLifetime", "How far back."),
            ],
            others: &[("400", "The request is wrong.")],
            ..plain(
                "Queries that ran lately, by number, time and memory.",
                Media::PlainJson,
            )
        },
        Handler::OpenApi => Operation {
            params: vec![opt("openapi_version", "3.1 or 3.2.")],
            others: &[("400", "Another version.")],
            ..plain("This document.", Media::Yaml)
        },
        Handler::RemoteRead => Operation {
            body: Media::Protobuf,
            answer: Media::Protobuf,
            others: &[
                (
                    "400",
                    "The request cannot be read or asks for too many samples.",
                ),
                ("500", "It cannot be executed."),
            ],
            ..json("Prometheus's remote read.", vec![])
        },
        Handler::Write => taking(
            "Prometheus's remote write, 1.0 and 2.0.",
            Media::Protobuf,
            "204",
        ),
        Handler::InfluxWrite => taking("InfluxDB's line protocol, version 1.", Media::Text, "204"),
        Handler::InfluxWrite2 => taking("InfluxDB's line protocol, version 2.", Media::Text, "204"),
        Handler::OtlpMetrics => Operation {
            answer: Media::Protobuf,
            ..taking("OpenTelemetry's metrics.", Media::Protobuf, "200")
        },
        Handler::Import => taking("VictoriaMetrics's JSON lines, in.", Media::Text, "204"),
        Handler::Export => Operation {
            answer: Media::Text,
            ..json(
                "VictoriaMetrics's JSON lines, out.",
                vec![MATCH_NEEDED, START, END],
            )
        },
        Handler::DeleteSeries => Operation {
            others: &[
                ("400", "The request is wrong."),
                ("500", "Off without --web.enable-admin-api."),
            ],
            ..action("Deletes samples.", vec![MATCH_NEEDED, START, END], "204")
        },
        Handler::CleanTombstones => Operation {
            others: &[("500", "Off without --web.enable-admin-api.")],
            ..action("Frees the disk of what was deleted.", vec![], "204")
        },
        Handler::Snapshot => Operation {
            others: &[
                ("400", "The request is wrong."),
                ("500", "Off without --web.enable-admin-api."),
            ],
            ..json(
                "Makes a snapshot.",
                vec![opt("skip_head", "true: blocks only.")],
            )
        },
        Handler::Push | Handler::PushBase64 => taking(
            "Replaces, adds to or deletes a group of pushed metrics.",
            Media::Page,
            "200",
        ),
        Handler::PushPage => plain("All pushed metrics.", Media::Page),
        Handler::PushGroups => json("Groups of pushed metrics.", vec![]),
        Handler::PushStatus => json("The push gateway.", vec![]),
        Handler::PushWipe => Operation {
            others: &[("404", "Off without --web.enable-admin-api.")],
            ..action("Deletes all groups of pushed metrics.", vec![], "202")
        },
    }
}

fn text(text: impl Into<String>) -> Out {
    Out::Text(text.into())
}

fn bare(text: &str) -> Out {
    Out::Bare(text.to_owned())
}

fn map(entries: Vec<(&str, Out)>) -> Out {
    let named = |(name, value): (&str, Out)| (name.to_owned(), value);
    Out::Map(entries.into_iter().map(named).collect())
}

fn schema_of(param: &Param) -> Out {
    let one = map(vec![("type", text("string"))]);
    match param.many {
        true => map(vec![("type", text("array")), ("items", one)]),
        false => one,
    }
}

fn parameters(route: &Route, operation: &Operation) -> Vec<Out> {
    let in_path = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(map(vec![
            ("name", text(name.trim_start_matches('*'))),
            ("in", text("path")),
            ("required", bare("true")),
            ("schema", map(vec![("type", text("string"))])),
        ]))
    });
    let in_query = operation.params.iter().map(|param| {
        map(vec![
            ("name", text(param.name)),
            ("in", text("query")),
            (
                "required",
                bare(if param.needed { "true" } else { "false" }),
            ),
            ("description", text(param.about)),
            ("schema", schema_of(param)),
        ])
    });
    in_path.chain(in_query).collect()
}

fn media(of: Media, schema: impl Fn() -> Out) -> Out {
    Out::Map(
        of.types()
            .iter()
            .map(|media| ((*media).to_owned(), map(vec![("schema", schema())])))
            .collect(),
    )
}

fn reference(name: &str) -> Out {
    map(vec![("$ref", text(format!("#/components/schemas/{name}")))])
}

fn responses(route: &Route, method: &Method, operation: &Operation) -> Out {
    let mut all: Vec<(String, Out)> = Vec::new();
    let mut add = |code: &str, about: &str, content: Option<Out>| {
        let mut entry = vec![("description", text(about))];
        entry.extend(content.map(|content| ("content", content)));
        if all.iter().all(|(known, _)| known != code) {
            all.push((code.to_owned(), map(entry)));
        }
    };
    let body = match operation.answer {
        Media::None => None,
        Media::Json => Some(media(Media::Json, || reference("Success"))),
        other => Some(media(other, || map(vec![]))),
    };
    let deletes = *method == Method::DELETE;
    add(if deletes { "202" } else { operation.code }, "Done.", body);
    let failure = || match route.path.starts_with("/api/v1/") {
        true => Some(media(Media::Json, || reference("Failure"))),
        false => None,
    };
    for (code, about) in operation.others {
        add(code, about, if *code == "204" { None } else { failure() });
    }
    add(
        "401",
        "No credentials, or wrong ones, where the web configuration asks for them.",
        None,
    );
    add("403", "The credentials do not allow it.", None);
    add("503", "Not ready yet, or stopping, or too busy.", None);
    add("500", "An error of the server.", None);
    Out::Map(all)
}

fn operation_id(route: &Route, method: &Method) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!(
        "{}_{}",
        method.as_str().to_ascii_lowercase(),
        words.join("_")
    )
}

fn path_item(route: &Route) -> Out {
    let operation = operation(route.handler);
    let of_method = |method: &Method| {
        let mut entry = vec![
            ("operationId", text(operation_id(route, method))),
            ("summary", text(operation.about)),
        ];
        if let Some(role) = required(route.handler, method) {
            entry.push(("x-role", text(role.as_str())));
        }
        let parameters = parameters(route, &operation);
        if !parameters.is_empty() {
            entry.push(("parameters", Out::Seq(parameters)));
        }
        if operation.body != Media::None && *method != Method::DELETE {
            let body = media(operation.body, || map(vec![]));
            entry.push(("requestBody", map(vec![("content", body)])));
        }
        entry.push(("responses", responses(route, method, &operation)));
        (method.as_str().to_ascii_lowercase(), map(entry))
    };
    Out::Map(route.methods.iter().map(of_method).collect())
}

/// The document for servers whose routes lie below `prefix`.
fn document(prefix: &str, version: &str) -> String {
    let paths = ROUTES
        .iter()
        .map(|route| (route.path.replace("{*", "{"), path_item(route)))
        .collect();
    let word = |word: &str| {
        map(vec![
            ("type", text("string")),
            ("enum", Out::Seq(vec![text(word)])),
        ])
    };
    let texts = || {
        let of = map(vec![("type", text("string"))]);
        map(vec![("type", text("array")), ("items", of)])
    };
    let schemas = map(vec![
        (
            "Success",
            map(vec![
                ("type", text("object")),
                ("required", Out::Seq(vec![text("status")])),
                (
                    "properties",
                    map(vec![
                        ("status", word("success")),
                        ("data", map(vec![])),
                        ("warnings", texts()),
                        ("infos", texts()),
                    ]),
                ),
            ]),
        ),
        (
            "Failure",
            map(vec![
                ("type", text("object")),
                (
                    "required",
                    Out::Seq(["status", "errorType", "error"].map(text).into()),
                ),
                (
                    "properties",
                    map(vec![
                        ("status", word("error")),
                        ("errorType", map(vec![("type", text("string"))])),
                        ("error", map(vec![("type", text("string"))])),
                    ]),
                ),
            ]),
        ),
    ]);
    let scheme = |name: &str| map(vec![("type", text("http")), ("scheme", text(name))]);
    let root = if prefix.is_empty() { "/" } else { prefix };
    write(&map(vec![
        ("openapi", text(version)),
        (
            "info",
            map(vec![
                ("title", text("Ferula")),
                ("description", text("Prometheus's HTTP API, and ours.")),
                ("version", text(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
        ("servers", Out::Seq(vec![map(vec![("url", text(root))])])),
        (
            "security",
            Out::Seq(vec![
                map(vec![]),
                map(vec![("basic", Out::Seq(vec![]))]),
                map(vec![("bearer", Out::Seq(vec![]))]),
            ]),
        ),
        ("paths", Out::Map(paths)),
        (
            "components",
            map(vec![
                ("schemas", schemas),
                (
                    "securitySchemes",
                    map(vec![
                        ("basic", scheme("basic")),
                        ("bearer", scheme("bearer")),
                    ]),
                ),
            ]),
        ),
    ]))
}

/// GET `/api/v1/openapi.yaml`.
pub fn openapi(worker: &Worker, query: &str) -> Response {
    let form = Form::from_query(query);
    let version = match form.value("openapi_version") {
        "" | "3.1" => "3.1.0",
        "3.2" => "3.2.0",
        other => {
            return error_text(
                400,
                &format!("unsupported openapi_version {other:?}: it is 3.1 or 3.2"),
            );
        }
    };
    let text = document(&worker.app.flags().route_prefix, version);
    content(200, "application/yaml; charset=utf-8", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{Node, Value, parse};
    use std::collections::BTreeSet;

    fn keys(node: &Node) -> Vec<String> {
        match &node.value {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_route_and_method_is_in_the_document_once() {
        let document = parse(&document("", "3.1.0")).unwrap();
        let paths = document.get("paths").unwrap();
        assert_eq!(keys(paths).len(), ROUTES.len());
        let mut ids = BTreeSet::new();
        for route in ROUTES {
            let item = paths.get(&route.path.replace("{*", "{")).unwrap();
            assert_eq!(keys(item).len(), route.methods.len(), "{}", route.path);
            for method in route.methods {
                let operation = item.get(&method.as_str().to_ascii_lowercase()).unwrap();
                assert!(keys(operation).contains(&"responses".to_owned()));
                let id = operation_id(route, method);
                assert!(ids.insert(id.clone()), "{id} twice");
                let in_path = route.path.matches('{').count();
                let count = parameters(route, &super::operation(route.handler)).len();
                assert!(count >= in_path, "{}", route.path);
            }
        }
    }
}
