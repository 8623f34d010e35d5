//! The queue of one Alertmanager, and the task that empties it.
//!
//! Promise: bounded; when it is full the oldest alerts go, and are counted. A batch is sent once.

use super::NotifyFlags;
use super::message::{Message, body};
use crate::limits::NOTIFY_ANSWER_BYTES_MAX;
use crate::self_metrics::{Counter, Summary};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use ingest::http_client::{Connection, HttpClient, HttpRequest};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A receiver.
pub(super) struct Queue {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the queue and its task share.
pub(super) struct Shared {
    url: String,
    flags: NotifyFlags,
    waiting: Mutex<VecDeque<Arc<Message>>>,
    wake: Notify,
    stopped: AtomicBool,
    /// Alerts that were taken.
    pub(super) sent: Counter,
    /// Alerts in requests that failed.
    pub(super) errors: Counter,
    /// Alerts that were given up.
    pub(super) dropped: Counter,
    /// Seconds of a request that went well.
    pub(super) latency: Summary,
}

impl Queue {
    pub(super) fn start(
        url: String,
        client: Arc<HttpClient>,
        timeout: Duration,
        flags: NotifyFlags,
        runtime: &Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            url,
            flags,
            waiting: Mutex::default(),
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
            sent: Counter::default(),
            errors: Counter::default(),
            dropped: Counter::default(),
            latency: Summary::default(),
        });
        let task = runtime.spawn(run(Arc::clone(&shared), client, timeout));
        Queue { shared, task }
    }

    pub(super) fn url(&self) -> &str {
        &self.shared.url
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Puts alerts behind those that wait.
    pub(super) fn add(&self, messages: &[Arc<Message>]) {
        self.shared.add(messages);
    }

    /// Takes nothing more; the task ends when it has sent what waits, or dropped it.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
        self.task
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alerts that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn add(&self, messages: &[Arc<Message>]) {
        if self.stopped.load(Ordering::Relaxed) {
            return;
        }
        let capacity = self.flags.queue_capacity;
        let mut waiting = self.waiting();
        let too_many = messages.len().saturating_sub(capacity);
        if too_many > 0 {
            self.warn(
                "Alert batch larger than queue capacity, dropping alerts",
                too_many,
            );
        }
        waiting.extend(messages.iter().skip(too_many).cloned());
        let over = waiting.len().saturating_sub(capacity);
        if over > 0 {
            self.warn("Alert notification queue full, dropping alerts", over);
            waiting.drain(..over);
        }
        self.dropped.add((too_many + over) as u64);
        drop(waiting);
        self.wake.notify_one();
    }

    fn warn(&self, text: &'static str, count: usize) {
        tracing::warn!(
            component = "notifier",
            alertmanager = self.url,
            count,
            "{text}"
        );
    }

    fn next_batch(&self) -> Vec<Arc<Message>> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(self.flags.batch_size);
        waiting.drain(..count).collect()
    }
}

async fn run(shared: Arc<Shared>, client: Arc<HttpClient>, timeout: Duration) {
    let mut connection = Connection::new();
    loop {
        let stopped = shared.stopped.load(Ordering::Relaxed);
        if stopped && !shared.flags.drain {
            let left = shared.next_all();
            if left > 0 {
                shared.warn(
                    "Alert notification queue not drained on shutdown, dropping alerts",
                    left,
                );
                shared.dropped.add(left as u64);
            }
            return;
        }
        let batch = shared.next_batch();
        if !batch.is_empty() {
            send(&shared, &client, &mut connection, timeout, &batch).await;
        } else if stopped {
            return;
        } else {
            shared.wake.notified().await;
        }
    }
}

impl Shared {
    fn next_all(&self) -> usize {
        std::mem::take(&mut *self.waiting()).len()
    }
}

async fn send(
    shared: &Shared,
    client: &HttpClient,
    connection: &mut Connection,
    timeout: Duration,
    batch: &[Arc<Message>],
) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let began = tokio::time::Instant::now();
    let request = HttpRequest {
        method: http::Method::POST,
        url: shared.url.clone(),
        headers,
        body: Bytes::from(body(batch)),
        body_bytes_max: NOTIFY_ANSWER_BYTES_MAX,
        deadline: began + timeout,
    };
    let count = batch.len();
    let failure = match client.request(connection, &request).await {
        Ok(answer) if answer.status.is_success() => None,
        Ok(answer) => Some(format!("bad response status {}", answer.status_text)),
        Err(error) => Some(error.to_string()),
    };
    match failure {
        None => {
            shared.sent.add(count as u64);
            shared.latency.observe(began.elapsed().as_secs_f64());
        }
        Some(error) => {
            shared.errors.add(count as u64);
            shared.dropped.add(count as u64);
            tracing::error!(
                component = "notifier",
                alertmanager = shared.url,
                count,
                err = error,
                "Error sending alerts"
            );
        }
    }
}
