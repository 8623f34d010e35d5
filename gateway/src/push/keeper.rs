//! The keeper: the thread that owns groups and log.
//!
//! It takes what has come, applies it, writes all of it with one write and one sync, then answers; what comes meanwhile waits for the next
//! turn. So many small pushes cost few syncs, and the log has the order in which the groups changed.

use super::log::PushLog;
use super::{Answer, Command, PushError, Shared, SyncMode};
use crate::limits::PUSH_COMMIT_BYTES_MAX;
use ingest::clock::Clock;
use ingest::pushgateway::{Change, Grouping, Groups, GroupsError, encode_change};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Longest sleep; a clock that was set back does not keep groups alive much longer.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Shortest wait for a group's end, so that many ends share a write.
const SLEEP_MIN: Duration = Duration::from_millis(50);

pub(super) struct Keeper {
    groups: Groups,
    log: PushLog,
    sync: SyncMode,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// Encoded changes that wait for their write, one after the other.
    pending: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    answers: Vec<(Answer, Result<(), PushError>)>,
    /// When what was written must be synced, in the clock's monotonic time.
    sync_at: Option<Duration>,
}

impl Keeper {
    pub(super) fn new(
        groups: Groups,
        log: PushLog,
        sync: SyncMode,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
    ) -> Keeper {
        let keeper = Keeper {
            groups,
            log,
            sync,
            clock,
            shared,
            pending: Vec::new(),
            ends: Vec::new(),
            answers: Vec::new(),
            sync_at: None,
        };
        keeper.publish();
        keeper
    }

    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let mut go_on = match queue.recv_timeout(self.sleep()) {
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            while go_on && self.pending.len() < PUSH_COMMIT_BYTES_MAX {
                match queue.try_recv() {
                    Ok(command) => go_on = self.handle(command),
                    Err(_) => break,
                }
            }
            self.expire();
            self.commit(!go_on);
            if !go_on {
                return;
            }
        }
    }

    /// How long until there is something to do without being asked.
    fn sleep(&self) -> Duration {
        let mut sleep = SLEEP_MAX;
        if let Some(deadline) = self.groups.next_deadline_ms() {
            let left = deadline.saturating_sub(self.clock.wall_ms()).max(0);
            let left = Duration::from_millis(left.unsigned_abs());
            sleep = sleep.min(left.max(SLEEP_MIN));
        }
        if let Some(at) = self.sync_at {
            sleep = sleep.min(at.saturating_sub(self.clock.monotonic()));
        }
        sleep
    }

    /// Does what is asked, up to the write; false when it is the end.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Stop => return false,
            Command::Page(answer) => {
                let _ = answer.send(self.groups.page());
            }
            Command::Describe(answer) => {
                let _ = answer.send(self.groups.describe());
            }
            Command::Wipe { answer } => {
                self.shared.deleted.inc();
                self.change(Change::Wipe);
                self.answers.push((answer, Ok(())));
            }
            Command::Delete { grouping, answer } => {
                self.shared.deleted.inc();
                self.change(Change::Delete(grouping));
                self.answers.push((answer, Ok(())));
            }
            Command::Push {
                grouping,
                replace,
                ttl_ms,
                time_ns,
                push,
                answer,
            } => {
                let outcome = self.groups.check(&grouping, replace, &push);
                match &outcome {
                    Ok(()) => self.change(Change::Push {
                        grouping,
                        time_ns,
                        replace,
                        ttl_ms,
                        families: push.families,
                    }),
                    Err(GroupsError::Inconsistent(_)) => self.change(Change::Failure {
                        grouping,
                        time_ns,
                        ttl_ms,
                    }),
                    Err(_) => {}
                }
                self.answers
                    .push((answer, outcome.map_err(PushError::from)));
            }
        }
        true
    }

    fn change(&mut self, change: Change) {
        encode_change(&change, &mut self.pending);
        self.ends.push(self.pending.len());
        self.groups.apply(change);
    }

    fn expire(&mut self) {
        if self.groups.next_deadline_ms().is_none() {
            return;
        }
        let expired: Vec<Grouping> = self.groups.expired(self.clock.wall_ms());
        for grouping in expired {
            tracing::info!(group = ?grouping.labels(), "the time to live of a group of pushed metrics has ended");
            self.shared.expired.inc();
            self.change(Change::Delete(grouping));
        }
    }

    /// Writes the changes and answers those who wait for them.
    fn commit(&mut self, is_last: bool) {
        if !self.ends.is_empty() {
            let written = self.write();
            if let Err(error) = &written {
                tracing::error!(err = %error, "the push log cannot be written");
            }
            for (_, outcome) in &mut self.answers {
                if let Err(error) = &written {
                    *outcome = Err(PushError::Log(error.to_string()));
                }
            }
            self.pending.clear();
            self.pending.shrink_to(PUSH_COMMIT_BYTES_MAX);
            self.ends.clear();
            self.publish();
        }
        for (answer, outcome) in self.answers.drain(..) {
            // One that does not wait any more has gone.
            let _ = answer.send(outcome);
        }
        let due = self.sync_at.is_some_and(|at| at <= self.clock.monotonic());
        if (due || is_last)
            && self.sync_at.take().is_some()
            && let Err(error) = self.log.sync()
        {
            tracing::error!(err = %error, "the push log cannot be synced");
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.shared.commits.inc();
        let records = self.ends.iter().scan(0, |start, end| {
            let record = self.pending.get(*start..*end);
            *start = *end;
            record
        });
        let before_answer = self.sync == SyncMode::BeforeAnswer;
        let rewritten =
            self.log
                .append(records, &self.groups, before_answer, self.clock.monotonic())?;
        if rewritten {
            self.shared.rewrites.inc();
        }
        if let SyncMode::Within(interval) = self.sync {
            let at = self.clock.monotonic().saturating_add(interval);
            self.sync_at.get_or_insert(at);
        }
        Ok(())
    }

    /// Makes the numbers known.
    fn publish(&self) {
        let totals = self.groups.totals();
        self.shared.groups.store(totals.groups, Ordering::Relaxed);
        self.shared.metrics.store(totals.metrics, Ordering::Relaxed);
        self.shared.bytes.store(totals.bytes, Ordering::Relaxed);
        self.shared
            .log_bytes
            .store(self.log.size(), Ordering::Relaxed);
        if totals.groups > 0 && !self.shared.used.swap(true, Ordering::AcqRel) {
            self.shared.first_use.notify_waiters();
        }
    }
}
