//! Listing and watching one collection of the Kubernetes API.
//!
//! Promise: the receiver sees the whole list first, then every change in order; after a broken connection the watch goes
//! on where it was, and when the server has forgotten that place (410) the list is told anew, so that nothing that went
//! meanwhile stays. Failures are counted, logged and waited out. Not here: what objects mean (`role`).

use super::super::updates::Updates;
use super::objects::{Key, Kind, Object};
use crate::http_client::{Connection, HttpClient, HttpRequest};
use crate::limits::{DISCOVERY_ANSWER_BYTES_MAX, KUBERNETES_EVENT_BYTES_MAX};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use url::form_urlencoded;

const FAILURES: &str = "prometheus_sd_kubernetes_failures_total";

/// Objects a page of a list.
const PAGE_OBJECTS: &str = "500";

/// Times of a watch.
#[derive(Debug, Clone, Copy)]
pub(in crate::discovery) struct Pace {
    /// How long the server is asked to keep a watch open.
    pub(in crate::discovery) watch: Duration,
    /// How long a list, or the head of a watch's answer, may take.
    pub(in crate::discovery) answer: Duration,
    /// First pause after a failure; doubled up to [`Pace::pause_max`].
    pub(in crate::discovery) pause: Duration,
    /// Longest pause.
    pub(in crate::discovery) pause_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            watch: Duration::from_secs(420),
            answer: Duration::from_secs(60),
            pause: Duration::from_millis(800),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// What happened to a collection.
#[derive(Debug)]
pub(super) enum Change {
    /// These are all objects.
    Listed(Vec<Object>),
    /// It is new or changed.
    Set(Object),
    /// It is gone.
    Gone(Key),
}

/// A watched collection.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) kind: Kind,
    /// Empty for all.
    pub(super) namespace: String,
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    pub(super) base: Arc<str>,
    pub(super) client: Arc<HttpClient>,
    pub(super) pace: Pace,
}

#[derive(Deserialize)]
struct EventType {
    r#type: String,
}

#[derive(Deserialize)]
struct ErrorEvent {
    #[serde(default)]
    object: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

/// How a watch ended.
enum Ended {
    /// Nothing is wrong: go on from the last version.
    Resume,
    /// The server does not know our version any more.
    Expired,
    /// It cannot go on like this.
    Failed(String),
}

impl Watch {
    /// Tells the receiver until it is gone.
    pub(super) async fn run(self, changes: mpsc::Sender<(Kind, Change)>, updates: Updates) {
        let mut connection = Connection::new();
        let mut pause = self.pace.pause;
        // The first list may come from the server's cache; after an expiry it must be new.
        let mut from_cache = true;
        loop {
            let mut version = match self.list(&mut connection, from_cache).await {
                Ok((objects, version)) => {
                    if changes
                        .send((self.kind, Change::Listed(objects)))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    version
                }
                Err(error) => {
                    self.failed(
                        &updates,
                        &format!("failed to list {}: {error}", self.name()),
                    );
                    pause = self.rest(pause).await;
                    continue;
                }
            };
            loop {
                let start = Instant::now();
                let mut events = 0;
                let ended = self.follow(&mut version, &mut events, &changes).await;
                if changes.is_closed() {
                    return;
                }
                if events > 0 || start.elapsed() > self.pace.pause_max {
                    pause = self.pace.pause;
                }
                match ended {
                    Ended::Resume if events > 0 => {}
                    // A server that ends its watches at once is not asked without end.
                    Ended::Resume if start.elapsed() < Duration::from_secs(1) => {
                        pause = self.rest(pause).await;
                    }
                    Ended::Resume => {}
                    Ended::Expired => {
                        from_cache = false;
                        break;
                    }
                    Ended::Failed(error) => {
                        let text = format!("failed to watch {}: {error}", self.name());
                        self.failed(&updates, &text);
                        pause = self.rest(pause).await;
                        from_cache = false;
                        break;
                    }
                }
            }
        }
    }

    fn name(&self) -> String {
        match self.namespace.as_str() {
            "" => self.kind.role().to_owned(),
            namespace => format!("{} in {namespace}", self.kind.role()),
        }
    }

    fn failed(&self, updates: &Updates, error: &str) {
        updates.context.counters.count(FAILURES);
        updates.log_failure("Kubernetes discovery", error);
    }

    async fn rest(&self, pause: Duration) -> Duration {
        sleep(pause).await;
        (pause * 2).min(self.pace.pause_max)
    }

    fn url(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("labelSelector", self.label_selector.as_str()),
            ("fieldSelector", self.field_selector.as_str()),
        ]
        .iter()
        .chain(parameters)
        {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let path = self.kind.path(&self.namespace);
        format!("{}{path}?{}", self.base, query.finish())
    }

    /// All objects and the version of the list.
    async fn list(
        &self,
        connection: &mut Connection,
        from_cache: bool,
    ) -> Result<(Vec<Object>, String), String> {
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let url = match from_cache {
                true => self.url(&[("resourceVersion", "0")]),
                false => self.url(&[("limit", PAGE_OBJECTS), ("continue", &next)]),
            };
            let deadline = Instant::now() + self.pace.answer;
            let request = HttpRequest::get(url, DISCOVERY_ANSWER_BYTES_MAX, deadline);
            let answer = self.client.request(connection, &request).await;
            let answer = answer.map_err(|e| e.to_string())?;
            if answer.status != http::StatusCode::OK {
                return Err(refusal(&answer.status_text, &answer.body));
            }
            let (page, meta) =
                Object::read_page(self.kind, &answer.body).map_err(|e| e.to_string())?;
            objects.extend(page);
            if meta.r#continue.is_empty() {
                return Ok((objects, meta.resource_version));
            }
            next = meta.r#continue;
        }
    }

    /// One watch, from `version` on, which it moves along.
    async fn follow(
        &self,
        version: &mut String,
        events: &mut usize,
        changes: &mpsc::Sender<(Kind, Change)>,
    ) -> Ended {
        let seconds = self.pace.watch.as_secs().max(1).to_string();
        let url = self.url(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ]);
        let request = HttpRequest::get(url, 0, Instant::now() + self.pace.answer);
        let mut stream = match self.client.stream(&request).await {
            Ok(stream) => stream,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        if stream.status == http::StatusCode::GONE {
            return Ended::Expired;
        }
        if stream.status != http::StatusCode::OK {
            return Ended::Failed(stream.status_text);
        }
        // The server ends the watch by itself; a connection that is dead without a word ends here.
        let until = Instant::now() + self.pace.watch + self.pace.answer;
        let mut buffer = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let chunk = match timeout(left, stream.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                // Broken, ended, or silent for too long: the version says where to go on.
                Ok(Ok(None) | Err(_)) | Err(_) => return Ended::Resume,
            };
            buffer.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &buffer) {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                match self.take(&line, version) {
                    Ok(Some(change)) => {
                        *events += 1;
                        if changes.send((self.kind, change)).await.is_err() {
                            return Ended::Resume;
                        }
                    }
                    Ok(None) => *events += 1,
                    Err(ended) => return ended,
                }
            }
            if buffer.len() > KUBERNETES_EVENT_BYTES_MAX {
                return Ended::Failed(format!(
                    "an event has more than {KUBERNETES_EVENT_BYTES_MAX} bytes"
                ));
            }
        }
    }

    /// One line of a watch.
    fn take(&self, line: &[u8], version: &mut String) -> Result<Option<Change>, Ended> {
        let broken = |e: &dyn std::fmt::Display| Ended::Failed(format!("unreadable event: {e}"));
        let event: EventType = serde_json::from_slice(line).map_err(|e| broken(&e))?;
        if event.r#type == "ERROR" {
            let error: ErrorEvent = serde_json::from_slice(line).map_err(|e| broken(&e))?;
            return Err(match error.object.code {
                410 => Ended::Expired,
                _ => Ended::Failed(error.object.message),
            });
        }
        let object = Object::read_event(self.kind, line).map_err(|e| broken(&e))?;
        version.clone_from(&object.meta().resource_version);
        match event.r#type.as_str() {
            "BOOKMARK" => Ok(None),
            "ADDED" | "MODIFIED" => Ok(Some(Change::Set(object))),
            "DELETED" => Ok(Some(Change::Gone(object.key()))),
            other => Err(broken(&format_args!("type {other:?}"))),
        }
    }
}

/// What the server says beside its status.
fn refusal(status_text: &str, body: &[u8]) -> String {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => status_text.to_owned(),
    }
}
