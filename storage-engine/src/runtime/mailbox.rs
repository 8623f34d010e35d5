//! A shard's mailbox: the only way into a shard's thread.
//!
//! Promise: bounded, lock-free, works from any thread into any executor; a sender pays for a wake only when the shard sleeps.
//! Full means refused, at once: waiting or giving up is the sender's choice.

use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ShardChange, ShardTask,
};
use crossbeam::queue::{ArrayQueue, SegQueue};
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::Waker;
use tokio::sync::oneshot;

/// Where an append's answer goes.
pub(crate) type ReplySender = oneshot::Sender<Result<AppendOutcome, AppendError>>;

/// A message to a shard.
pub(crate) enum Mail {
    /// A batch to store or check.
    Append {
        batch: Box<AppendBatch>,
        mode: AppendMode,
        reply: ReplySender,
    },
    /// A piece of a query.
    Task(Box<dyn ShardTask>),
    /// A change other than an append.
    Change {
        change: Box<dyn ShardChange>,
        reply: ReplySender,
    },
}

/// What a shard asks of its log. Requests are worked off in order.
pub(crate) enum LogRequest {
    /// Write these records as one unit; answered by [`LogReport::Done`].
    Commit { lsn: u64, bytes: Vec<u8> },
    /// Make durable all that is written; answered by [`LogReport::Synced`].
    Sync { request: u64 },
    /// Give up the segments whose records are all older than record `before`. Not answered: what cannot be given up today can be
    /// tomorrow.
    Release { before: u64 },
}

/// What a log says.
pub(crate) enum LogReport {
    /// A commit is done (the number of the last record written so far), or has failed.
    Done {
        lsn: u64,
        result: Result<u64, String>,
    },
    /// A [`LogRequest::Sync`] is done, or has failed.
    Synced {
        request: u64,
        result: Result<(), String>,
    },
    /// Commits are taken again.
    Reopened,
}

/// Why mail was not taken; it comes back.
pub(crate) enum Refused {
    Full(Mail),
    Closed(Mail),
}

/// The mailbox of one shard.
pub(crate) struct Mailbox {
    mail: ArrayQueue<Mail>,
    /// At most one for each request that the shard has given out, so it needs no bound of its own.
    reports: SegQueue<LogReport>,
    waker: AtomicWaker,
    parked: AtomicBool,
    stop: AtomicBool,
    closed: AtomicBool,
    turns: AtomicU64,
}

impl Mailbox {
    pub(crate) fn new() -> Mailbox {
        Mailbox::with_capacity(MAILBOX_MESSAGES_MAX)
    }

    pub(crate) fn with_capacity(messages: usize) -> Mailbox {
        Mailbox {
            mail: ArrayQueue::new(messages),
            reports: SegQueue::new(),
            waker: AtomicWaker::new(),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            turns: AtomicU64::new(0),
        }
    }

    /// Puts mail in, or gives it back.
    pub(crate) fn push(&self, mail: Mail) -> Result<(), Refused> {
        // Mail behind a stop would keep a busy shard from ever ending.
        if self.closed.load(Ordering::Acquire) || self.stop_requested() {
            return Err(Refused::Closed(mail));
        }
        self.mail.push(mail).map_err(Refused::Full)?;
        self.wake();
        // The shard may have ended between the look and the push; nobody else would drop the mail then.
        if self.closed.load(Ordering::Acquire) {
            self.drain();
        }
        Ok(())
    }

    /// Puts a log's report in.
    pub(crate) fn report(&self, report: LogReport) {
        self.reports.push(report);
        self.wake();
    }

    /// Asks the shard to finish what it has promised and end.
    pub(crate) fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// The fence pairs with the one in [`Mailbox::arm`]: either the shard sees what was put in, or this sees that it sleeps.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.parked.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    pub(crate) fn take(&self) -> Option<Mail> {
        self.mail.pop()
    }

    pub(crate) fn take_report(&self) -> Option<LogReport> {
        self.reports.pop()
    }

    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mail.is_empty()
    }

    /// Before sleeping: true if there is something to do after all, else `waker` will be called when there is.
    pub(crate) fn arm(&self, waker: &Waker, stop_seen: bool) -> bool {
        self.waker.register(waker);
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        !self.mail.is_empty()
            || !self.reports.is_empty()
            || (!stop_seen && self.stop.load(Ordering::SeqCst))
    }

    /// Counts a turn of the loop, for the watchdog.
    pub(crate) fn count_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Refuses all mail from now on; what is inside is dropped, and its senders see that.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.drain();
    }

    fn drain(&self) {
        while self.mail.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    fn mail() -> (Mail, oneshot::Receiver<Result<AppendOutcome, AppendError>>) {
        let (reply, answer) = oneshot::channel();
        let batch = Box::new(AppendBatch::default());
        (
            Mail::Append {
                batch,
                mode: AppendMode::Check,
                reply,
            },
            answer,
        )
    }

    #[test]
    fn a_full_mailbox_gives_the_mail_back_and_a_closed_one_drops_it() {
        let mailbox = Mailbox::with_capacity(2);
        let (first, mut first_answer) = mail();
        assert!(mailbox.push(first).is_ok());
        assert!(mailbox.push(mail().0).is_ok());
        assert!(matches!(mailbox.push(mail().0), Err(Refused::Full(_))));
        assert!(mailbox.take().is_some());
        assert!(mailbox.push(mail().0).is_ok(), "room again");
        assert!(first_answer.try_recv().is_err());
        mailbox.close();
        assert!(mailbox.is_empty());
        assert!(matches!(mailbox.push(mail().0), Err(Refused::Closed(_))));
    }

    #[test]
    fn arming_sees_what_came_before() {
        let mailbox = Mailbox::with_capacity(2);
        let waker = noop_waker();
        assert!(!mailbox.arm(&waker, false));
        mailbox.report(LogReport::Reopened);
        assert!(mailbox.arm(&waker, false));
        assert!(mailbox.take_report().is_some());
        mailbox.request_stop();
        assert!(mailbox.arm(&waker, false) && !mailbox.arm(&waker, true));
    }
}
