//! The loop that drives a shard, the same under every executor.
//!
//! Each turn: reports of the log, some mail, the clock, one slice of a query; then sleep until something comes, or let the executor
//! have a look around. Promise: mail never waits for more than one slice, queries never for more than one handful of mail.

use super::Rt;
use super::mailbox::{LogReport, LogRequest, Mail, Mailbox, ReplySender};
use crate::limits::MAIL_PER_TURN_MAX;
use crate::shard::{Action, Event, Shard, ShardStats};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

/// Least time between two publications of a shard's numbers.
const PUBLISH_INTERVAL_NANOS: u64 = 1_000_000_000;
/// Publishing takes at most one part in this many of a shard's time.
const PUBLISH_COST_SHARE: u64 = 100;

/// A shard's numbers for other threads to read, a second old at most while something happens.
#[derive(Default)]
pub(crate) struct PublishedStats(Mutex<ShardStats>);

impl PublishedStats {
    pub(crate) fn read(&self) -> ShardStats {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn write(&self, stats: ShardStats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// Answers that are owed, by request number.
#[derive(Default)]
struct Replies {
    senders: Vec<Option<ReplySender>>,
    free: Vec<usize>,
}

impl Replies {
    fn add(&mut self, sender: ReplySender) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.senders.push(None);
            self.senders.len() - 1
        });
        self.senders[index] = Some(sender);
        index as u64
    }

    fn take(&mut self, request: u64) -> ReplySender {
        let sender = self
            .senders
            .get_mut(request as usize)
            .and_then(Option::take);
        self.free.push(request as usize);
        sender.expect("BUG: the shard answers a request once")
    }
}

struct Driver<'a, R: Rt> {
    rt: &'a R,
    shard: &'a mut Shard,
    mailbox: &'a Mailbox,
    stats: &'a PublishedStats,
    actions: Vec<Action>,
    replies: Replies,
    wake_at: Option<u64>,
    /// When to publish, if something has happened since the last time.
    publish_at: Option<u64>,
    published_at: u64,
    publish_cost: u64,
    stopping: bool,
    exited: bool,
}

/// Feeds `shard` from `mailbox` until it is told to stop and has kept its promises.
pub(crate) async fn drive<R: Rt>(
    rt: &R,
    shard: &mut Shard,
    mailbox: &Mailbox,
    stats: &PublishedStats,
) {
    let mut driver = Driver {
        rt,
        shard,
        mailbox,
        stats,
        actions: Vec::new(),
        replies: Replies::default(),
        // What the replay has left to be written need not wait for mail.
        wake_at: Some(rt.now()),
        publish_at: None,
        published_at: 0,
        publish_cost: 0,
        stopping: false,
        exited: false,
    };
    driver.publish();
    while !driver.exited {
        driver.turn().await;
    }
    driver.publish();
}

impl<R: Rt> Driver<'_, R> {
    async fn turn(&mut self) {
        self.mailbox.count_turn();
        while let Some(report) = self.mailbox.take_report() {
            self.feed(match report {
                LogReport::Done { lsn, result } => Event::LogDone { lsn, result },
                LogReport::Synced { request, result } => Event::LogSynced { request, result },
                LogReport::Reopened => Event::LogReopened,
            });
        }
        for _ in 0..MAIL_PER_TURN_MAX {
            let event = match self.mailbox.take() {
                Some(Mail::Append { batch, mode, reply }) => Event::Append {
                    request: self.replies.add(reply),
                    batch,
                    mode,
                },
                Some(Mail::Task(task)) => Event::Task(task),
                Some(Mail::Change { change, reply }) => Event::Change {
                    request: self.replies.add(reply),
                    change,
                },
                None => break,
            };
            self.feed(event);
        }
        if self.mailbox.stop_requested() && !self.stopping && self.mailbox.is_empty() {
            self.stopping = true;
            self.feed(Event::Stop);
        }
        self.look_at_clock();
        if self.exited {
            return;
        }
        let more = self.shard.slice();
        if more || !self.mailbox.is_empty() {
            self.rt.yield_to_reactor().await;
        } else {
            self.park().await;
        }
    }

    fn feed(&mut self, event: Event) {
        let now = self.rt.now();
        if self.publish_at.is_none() {
            let pause = PUBLISH_INTERVAL_NANOS.max(self.publish_cost * PUBLISH_COST_SHARE);
            self.publish_at = Some(self.published_at + pause);
        }
        self.shard.on(now, event, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Log { lsn, bytes } => self.rt.log(LogRequest::Commit { lsn, bytes }),
                Action::SyncLog { request } => self.rt.log(LogRequest::Sync { request }),
                Action::ReleaseLog { before } => self.rt.log(LogRequest::Release { before }),
                Action::Reply { request, result } => {
                    // A sender that no longer waits has gone away; the batch is stored all the same.
                    let _ = self.replies.take(request).send(result);
                }
                Action::WakeAt(at) => {
                    self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at)));
                }
                Action::Exit => self.exited = true,
            }
        }
    }

    fn look_at_clock(&mut self) {
        let now = self.rt.now();
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            self.feed(Event::Tick);
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let begun = self.rt.now();
        self.stats.write(self.shard.stats());
        self.published_at = self.rt.now();
        self.publish_cost = self.published_at - begun;
        self.publish_at = None;
    }

    /// Sleeps until mail, a report, or the next thing on the clock.
    async fn park(&self) {
        let next = self.wake_at.into_iter().chain(self.publish_at).min();
        let nanos = next.map(|at| at.saturating_sub(self.rt.now()));
        let timer = async {
            match nanos {
                Some(nanos) => self.rt.sleep(nanos).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = pin!(timer);
        poll_fn(|context| {
            if self.mailbox.arm(context.waker(), self.stopping) {
                return Poll::Ready(());
            }
            timer.as_mut().poll(context)
        })
        .await;
    }
}
