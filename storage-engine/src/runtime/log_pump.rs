//! The loop that runs a log: commits as they come, syncs and marks when they are due, retries when the disk was full.
//!
//! Promise: reports every commit once. In fast mode no byte stays unsynced for longer than the sync interval plus one sync.
//! One loop for a thread that blocks and for tasks that wait; they differ in the [`LogSource`] and the disk.

use super::mailbox::{LogReport, Mailbox};
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
    Commit { lsn: u64, bytes: Vec<u8> },
    TimedOut,
    Closed,
}

/// Where a log's commits come from.
pub(super) trait LogSource {
    /// Monotonic nanoseconds.
    fn now(&self) -> u64;
    /// Waits for a commit, until `deadline` if there is one.
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
            LogNext::Commit { lsn, bytes } => {
                let result = writer.commit(&bytes).await;
                if let Err(error) = &result {
                    tracing::error!(%error, "a commit was not logged; appends are refused");
                }
                let result = result.map_err(|error| error.to_string());
                mailbox.report(LogReport::Done { lsn, result });
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
                Some(WalError::Full { .. }) => {
                    Some(now + WAL_FULL_RETRY_NANOS.min(sync_interval_nanos))
                }
                Some(_) => None,
                None if writer.needs_mark() => Some(now + sync_interval_nanos),
                None => None,
            };
        }
    }
    writer.close().await;
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
        Some(_) => {}
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
    commits: RefCell<VecDeque<(u64, Vec<u8>)>>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl LocalLogQueue {
    pub(super) fn push(&self, lsn: u64, bytes: Vec<u8>) {
        self.commits.borrow_mut().push_back((lsn, bytes));
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

    /// Waits for a commit, or until `timer` is ready.
    pub(super) async fn next(&self, timer: impl Future<Output = ()>) -> LogNext {
        let mut timer = pin!(timer);
        poll_fn(|context| {
            if let Some((lsn, bytes)) = self.commits.borrow_mut().pop_front() {
                return Poll::Ready(LogNext::Commit { lsn, bytes });
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
