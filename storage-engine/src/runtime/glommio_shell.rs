//! The glommio shell: shard and log on one io_uring executor.
//!
//! glommio 0.9 can park an executor that has runnable work, for ever, when preemption hits at the wrong moment. The rules that keep
//! us away from it: one task queue, no latency classes, a preemption timer so long that it never fires between two awaits, and
//! yielding by a timer of a microsecond, which reaches the reactor where `yield_now` would not. The watchdog guards the rest.

use super::drive::drive;
use super::log_pump::{LocalLogQueue, LogNext, LogSource, run_log};
use super::thread::ShardThread;
use super::{LogRequest, Rt, monotonic_nanos};
use crate::io::DmaDisk;
use crate::shard::Shard;
use crate::wal::{LogPosition, WalWriter};
use glommio::{LocalExecutorBuilder, Placement};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Long enough never to fire between two yields.
const PREEMPT_TIMER: Duration = Duration::from_secs(10);
/// Registered buffers of one executor; several executors must fit the usual 8 MiB of locked memory, and each registers up to three times.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// The shortest timer; zero would be ready at once and never reach the reactor.
const YIELD: Duration = Duration::from_micros(1);

struct Glommio {
    log: Rc<LocalLogQueue>,
}

impl Rt for Glommio {
    fn now(&self) -> u64 {
        monotonic_nanos()
    }

    async fn sleep(&self, nanos: u64) {
        glommio::timer::sleep(Duration::from_nanos(nanos).max(YIELD)).await;
    }

    async fn yield_to_reactor(&self) {
        glommio::timer::sleep(YIELD).await;
    }

    fn log(&self, request: LogRequest) {
        self.log.push(request);
    }
}

struct LocalSource(Rc<LocalLogQueue>);

impl LogSource for LocalSource {
    fn now(&self) -> u64 {
        monotonic_nanos()
    }

    async fn next(&self, deadline: Option<u64>) -> LogNext {
        let timer = async {
            match deadline {
                Some(deadline) => {
                    let nanos = deadline.saturating_sub(monotonic_nanos());
                    glommio::timer::sleep(Duration::from_nanos(nanos).max(YIELD)).await;
                }
                None => std::future::pending().await,
            }
        };
        self.0.next(timer).await
    }
}

/// Runs the shard to its end on this thread. Call it only after a good probe.
pub(super) fn run(
    thread: &ShardThread,
    shard: &mut Shard,
    position: LogPosition,
) -> io::Result<()> {
    let placement = match thread.core {
        Some(core) => Placement::Fixed(core.id),
        None => Placement::Unbound,
    };
    let executor = LocalExecutorBuilder::new(placement)
        .preempt_timer(PREEMPT_TIMER)
        .io_memory(IO_MEMORY_BYTES)
        .make()
        .map_err(|error| io::Error::other(error.to_string()))?;
    let writer = WalWriter::new(DmaDisk, thread.wal.clone(), position);
    executor.run(async {
        let queue = Rc::new(LocalLogQueue::default());
        let source = LocalSource(Rc::clone(&queue));
        let mailbox = std::sync::Arc::clone(&thread.mailbox);
        let sync_interval_nanos = thread.sync_interval_nanos;
        let log = glommio::spawn_local(async move {
            run_log(writer, &source, &mailbox, sync_interval_nanos).await;
        })
        .detach();
        let rt = Glommio {
            log: Rc::clone(&queue),
        };
        drive(&rt, shard, &thread.mailbox, &thread.stats).await;
        queue.close();
        log.await;
    });
    Ok(())
}
