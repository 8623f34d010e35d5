//! What turns the crank of a shard: threads, executors, mailboxes.
//!
//! A shard is a synchronous state machine; `drive` is the one loop that feeds it, over the small trait `Rt`; a shell implements
//! `Rt` for an executor: tokio, glommio, and the simulator of the tests. All three reach the same state from the same input.
//!
//! Only this module names an executor. Not here: files (`io`), what a message means (the shard).

mod drive;
mod glommio_shell;
mod keeper_shell;
mod log_pump;
mod mailbox;
mod probe;
pub mod simulator;
mod thread;
mod tokio_shell;
mod watchdog;

pub(crate) use drive::PublishedStats;
pub(crate) use keeper_shell::{pause, start_keeper_thread};
pub(crate) use mailbox::{LogRequest, Mail, Mailbox, Refused};
pub use probe::{RingUnavailable, probe_ring};
pub(crate) use thread::{ShardStart, ShardThread, StartState, open_shard_blocks, replay_shard};
pub(crate) use watchdog::Watchdog;

/// Where the answer to an append comes out.
pub type ReplyReceiver = tokio::sync::oneshot::Receiver<
    Result<crate::shard_api::AppendOutcome, crate::shard_api::AppendError>,
>;

/// Which executor runs the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// The one that docs/decisions/0003-shell-choice.md prefers: tokio.
    #[default]
    Auto,
    /// glommio over io_uring; opening fails where the kernel does not give it.
    Glommio,
    /// tokio, with a thread of its own for each log.
    Tokio,
}

/// What a shell gives the loop that drives a shard.
pub(crate) trait Rt {
    /// Monotonic nanoseconds.
    fn now(&self) -> u64;
    /// Waits.
    fn sleep(&self, nanos: u64) -> impl Future<Output = ()>;
    /// Lets the executor look at timers and completions, then comes back.
    fn yield_to_reactor(&self) -> impl Future<Output = ()>;
    /// Hands a request to the log, whose report comes to the mailbox.
    fn log(&self, request: LogRequest);
}

/// Nanoseconds since the first call in this process.
fn monotonic_nanos() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START
        .get_or_init(std::time::Instant::now)
        .elapsed()
        .as_nanos() as u64
}
