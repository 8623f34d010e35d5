//! The tokio shell: a current-thread runtime for the shard, a plain thread for its log.
//!
//! Promise: needs nothing from the kernel that a seccomp profile could take away; the shard's thread never waits for the disk.

use super::drive::drive;
use super::log_pump::{LogNext, LogSource, run_log};
use super::thread::ShardThread;
use super::{LogRequest, Rt, monotonic_nanos};
use crate::io::{Access, BlockingDisk, StandardDisk};
use crate::shard::Shard;
use crate::wal::{AckMode, LogPosition, WalWriter};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use futures_util::FutureExt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

struct Tokio {
    /// Never holds more than the requests that the shard has in flight.
    log: Sender<LogRequest>,
}

impl Rt for Tokio {
    fn now(&self) -> u64 {
        monotonic_nanos()
    }

    async fn sleep(&self, nanos: u64) {
        tokio::time::sleep(Duration::from_nanos(nanos)).await;
    }

    async fn yield_to_reactor(&self) {
        tokio::task::yield_now().await;
    }

    fn log(&self, request: LogRequest) {
        self.log
            .send(request)
            .expect("BUG: the log's thread outlives the shard");
    }
}

struct Channel(Receiver<LogRequest>);

impl LogSource for Channel {
    fn now(&self) -> u64 {
        monotonic_nanos()
    }

    async fn next(&self, deadline: Option<u64>) -> LogNext {
        let received = match deadline {
            Some(deadline) => {
                let nanos = deadline.saturating_sub(monotonic_nanos());
                self.0.recv_timeout(Duration::from_nanos(nanos))
            }
            None => self.0.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(request) => LogNext::Request(request),
            Err(RecvTimeoutError::Timeout) => LogNext::TimedOut,
            Err(RecvTimeoutError::Disconnected) => LogNext::Closed,
        }
    }
}

/// Runs the shard to its end on this thread.
pub(super) fn run(
    thread: &ShardThread,
    shard: &mut Shard,
    position: LogPosition,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (sender, receiver) = unbounded();
    let access = match thread.wal.ack {
        // Syncing after every commit, the page cache would only cost copies.
        AckMode::Durable => Access::Direct,
        AckMode::Fast => Access::Buffered,
    };
    let options = thread.wal.clone();
    let mailbox = Arc::clone(&thread.mailbox);
    let sync_interval_nanos = thread.sync_interval_nanos;
    let log = std::thread::Builder::new()
        .name(format!("wal-{}", thread.index))
        .spawn(move || {
            let disk = BlockingDisk::new(Arc::new(StandardDisk), access);
            let writer = WalWriter::new(disk, options, position);
            let source = Channel(receiver);
            super::thread::fatal_if_panics("log", || {
                run_log(writer, &source, &mailbox, sync_interval_nanos)
                    .now_or_never()
                    .expect("BUG: a log on blocking calls never waits as a future");
            });
        })?;
    let rt = Tokio { log: sender };
    runtime.block_on(drive(&rt, shard, &thread.mailbox, &thread.stats));
    drop(rt);
    log.join()
        .map_err(|_| io::Error::other("the log's thread panicked"))
}
