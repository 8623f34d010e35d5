//! The loop that runs a log: requests as they come, syncs and marks when they are due, retries when the disk was full.
//!
//! Promise: reports every commit once. In fast mode no byte stays unsynced for longer than the sync interval plus one sync.
//! One loop for a thread that blocks and for tasks that wait; they differ in the [`LogSource`] and the disk.

use super::mailbox::{LogReport, LogRequest, Mailbox};
use crate::io::LogDisk;
use crate::limits::WAL_FULL_RETRY_NANOS;
use crate::wal::{WalError, WalWriter};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

/// What comes next for a log.
pub(super) enum LogNext {
    Request(LogRequest),
    TimedOut,
    Closed,
}

/// Where a log's requests come from.
pub(super) trait LogSource {
    /// Monotonic nanoseconds.
    fn now(&self) -> u64;
    /// Waits for a request, until `deadline` if there is one.
    fn next(&self, deadline: Option<u64>) -> impl Future<Output = LogNext>;
}

/// Runs a log until its source is closed.
pub(super) async fn run_log<D: LogDisk, S: LogSource>(
    mut writer: WalWriter<D>,
    source: &S,
    mailbox: &Mailbox,
    sync_interval_nanos: u64,
) {
    let mut due: Option<u64> = None;
    loop {
        let idle = match source.next(due).await {
            LogNext::Request(request) => {
                serve(&mut writer, mailbox, request).await;
                false
            }
            LogNext::TimedOut => true,
            LogNext::Closed => break,
        };
        let now = source.now();
        if due.is_some_and(|due| due <= now) {
            maintain(&mut writer, mailbox, idle).await;
            due = None;
        }
        if due.is_none() {
            due = match writer.error() {
                Some(_) => Some(now + WAL_FULL_RETRY_NANOS.min(sync_interval_nanos)),
                None if writer.needs_mark() => Some(now + sync_interval_nanos),
                None => None,
            };
        }
    }
    writer.close().await;
}

async fn serve<D: LogDisk>(writer: &mut WalWriter<D>, mailbox: &Mailbox, request: LogRequest) {
    match request {
        LogRequest::Commit { lsn, bytes } => {
            let result = writer.commit(&bytes).await;
            if let Err(error) = &result {
                tracing::error!(%error, "a commit was not logged; appends are refused");
            }
            let result = match result {
                Ok(()) => Ok(writer.written_lsn()),
                Err(error) => Err(error.to_string()),
            };
            mailbox.report(LogReport::Done { lsn, result });
        }
        LogRequest::Sync { request } => {
            let result = writer.sync().await.map_err(|error| error.to_string());
            mailbox.report(LogReport::Synced { request, result });
        }
        LogRequest::Release { before } => {
            if let Err(error) = writer.release_before(before).await {
                tracing::warn!(%error, "log segments that nobody needs are kept for now");
            }
        }
    }
}

async fn maintain<D: LogDisk>(writer: &mut WalWriter<D>, mailbox: &Mailbox, idle: bool) {
    match writer.error() {
        Some(WalError::Full { .. }) => {
            // What was acknowledged before is still owed its sync.
            if writer.sync().await.is_ok() && writer.try_reopen().await {
                tracing::info!("there is room for the log again; appends are taken");
                mailbox.report(LogReport::Reopened);
            }
        }
        Some(_) => {
            if writer.try_reopen().await {
                tracing::info!("the log goes on in a new segment; appends are taken");
                mailbox.report(LogReport::Reopened);
            }
        }
        None => {
            if let Err(error) = writer.sync().await {
                tracing::error!(%error, "the log failed; appends are refused");
            } else if idle {
                writer.mark().await;
            }
        }
    }
}

/// A [`LogSource`] for a log that shares its executor with the shard.
#[derive(Default)]
pub(super) struct LocalLogQueue {
    requests: RefCell<VecDeque<LogRequest>>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl LocalLogQueue {
    pub(super) fn push(&self, request: LogRequest) {
        self.requests.borrow_mut().push_back(request);
        self.wake();
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for a request, or until `timer` is ready.
    pub(super) async fn next(&self, timer: impl Future<Output = ()>) -> LogNext {
        let mut timer = pin!(timer);
        poll_fn(|context| {
            if let Some(request) = self.requests.borrow_mut().pop_front() {
                return Poll::Ready(LogNext::Request(request));
            }
            if self.closed.get() {
                return Poll::Ready(LogNext::Closed);
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            timer.as_mut().poll(context).map(|()| LogNext::TimedOut)
        })
        .await
    }
}
