//! Group commit: one log write in flight, everything that comes meanwhile goes with the next.
//!
//! Promise: a request is answered only after the log holds all that the answer relies on: its own samples and series,
//! and samples of others that it merely repeats. A series is defined in two commits, so that one damaged record cannot
//! take the meaning of all samples after it; one that a replay has seen once only is written again with the first commit.
//!
//! When a write fails, everyone waiting is told, and appends are refused until [`Commits::on_reopened`]. What the
//! failed commits hold is in memory already, so their bytes are kept and written first when the log is back; a replay
//! that finds a commit twice changes nothing. Not here: files, syncing.

use super::slots::Mentions;
use super::{Action, Data};
use crate::model::SeriesRef;
use crate::shard_api::{AppendError, AppendOutcome};
use crate::wal::format::encode_series_record;

/// How long new series wait for another commit to take their second definition along, in nanoseconds.
const ECHO_AFTER_NANOS: u64 = 1_000_000_000;

/// What an answer relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reliance {
    /// Nothing that is not on disk.
    Nothing,
    /// Something an earlier request brought, which may not be on disk yet.
    Earlier,
    /// Records of its own in the pending commit.
    OwnRecords,
}

/// A request and what it will be told.
type Waiter = (u64, AppendOutcome);

struct InFlight {
    lsn: u64,
    /// Kept in case the write fails.
    bytes: Vec<u8>,
    waiters: Vec<Waiter>,
}

/// The commits of one shard.
pub(super) struct Commits {
    next_lsn: u64,
    pending: Vec<u8>,
    pending_waiters: Vec<Waiter>,
    /// Series that the pending commit defines for the first time.
    defined: Vec<u32>,
    /// Series that the next commit must define again.
    echo: Vec<u32>,
    echo_at: Option<u64>,
    /// By slot, while the log is replayed: it has defined this series once so far.
    defined_once: Vec<bool>,
    in_flight: Option<InFlight>,
    /// A commit that failed and waits for the log to be reopened.
    retry: Option<(u64, Vec<u8>)>,
    failure: Option<String>,
    pending_bytes_max: usize,
    tick: bool,
    exited: bool,
    done: u64,
    logged_bytes: u64,
    /// The log's number of the last record that it has taken.
    logged: u64,
    /// Exemplars that had arrived when the newest commit was handed out.
    arrivals_sent: u64,
    /// Exemplars that had arrived with what the log has taken.
    arrivals_logged: u64,
}

impl Commits {
    pub(super) fn new(pending_bytes_max: usize) -> Self {
        Commits {
            next_lsn: 1,
            pending: Vec::new(),
            pending_waiters: Vec::new(),
            defined: Vec::new(),
            echo: Vec::new(),
            echo_at: None,
            defined_once: Vec::new(),
            in_flight: None,
            retry: None,
            failure: None,
            pending_bytes_max,
            tick: false,
            exited: false,
            done: 0,
            logged_bytes: 0,
            logged: 0,
            arrivals_sent: 0,
            arrivals_logged: 0,
        }
    }

    /// The log's number of the last record that it has taken.
    pub(super) fn logged(&self) -> u64 {
        self.logged
    }

    /// Number of the first exemplar that is behind [`Commits::logged`], or will be.
    pub(super) fn arrivals_logged(&self) -> u64 {
        self.arrivals_logged
    }

    /// Notes a definition that the replay has found in the log: the first of its series, or one more.
    pub(super) fn replayed_definition(&mut self, slot: u32, is_first: bool) {
        let slot = slot as usize;
        if is_first && self.defined_once.len() <= slot {
            self.defined_once.resize(slot + 1, false);
        }
        if let Some(once) = self.defined_once.get_mut(slot) {
            *once = is_first;
        }
    }

    /// Commits after replay start above `last`, the log's number of the last record in it. Series that the log defines
    /// only once, because the process died before the second time or damage took one, are defined again without delay.
    /// So many exemplars have arrived.
    pub(super) fn start_after(&mut self, last: u64, arrivals: u64) {
        (self.arrivals_sent, self.arrivals_logged) = (arrivals, arrivals);
        self.logged = self.logged.max(last);
        self.next_lsn = self.next_lsn.max(last.saturating_add(1));
        let defined_once = std::mem::take(&mut self.defined_once);
        let once = (0..).zip(defined_once).filter(|(_, once)| *once);
        self.echo.extend(once.map(|(slot, _)| slot));
        self.tick = !self.echo.is_empty();
    }

    /// Why appends are refused, if they are.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// May more be added to the pending commit?
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < self.pending_bytes_max
    }

    /// Commits that the log has taken, and their bytes.
    pub(super) fn done(&self) -> (u64, u64) {
        (self.done, self.logged_bytes)
    }

    /// Bytes that wait for the commit in flight.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Number and buffer of the commit that records go to now.
    pub(super) fn pending_records(&mut self) -> (u64, &mut Vec<u8>) {
        (self.next_lsn, &mut self.pending)
    }

    /// Until when records may name a series that is gone now.
    pub(super) fn newest_mention(&self) -> Mentions {
        if !self.pending.is_empty() {
            return Mentions::Commit(self.next_lsn);
        }
        match (&self.in_flight, &self.retry) {
            (Some(flight), _) => Mentions::Commit(flight.lsn),
            (None, Some((lsn, _))) => Mentions::Commit(*lsn),
            (None, None) => Mentions::Record(self.logged()),
        }
    }

    /// Notes series whose definition was just added to the pending commit.
    pub(super) fn define(&mut self, series: impl Iterator<Item = SeriesRef>) {
        self.defined.extend(series.map(|s| s.index));
    }

    /// Answers a request now or when what it relies on is on disk.
    pub(super) fn add_waiter(
        &mut self,
        request: u64,
        outcome: AppendOutcome,
        reliance: Reliance,
        actions: &mut Vec<Action>,
    ) {
        let waiters = match reliance {
            Reliance::OwnRecords => Some(&mut self.pending_waiters),
            Reliance::Earlier if !self.pending.is_empty() => Some(&mut self.pending_waiters),
            Reliance::Earlier => self.in_flight.as_mut().map(|f| &mut f.waiters),
            Reliance::Nothing => None,
        };
        match waiters {
            Some(waiters) => waiters.push((request, outcome)),
            None => actions.push(Action::Reply {
                request,
                result: Ok(outcome),
            }),
        }
    }

    /// Answers a request that is no append when the log has taken all that is in memory now; at once if it has failed.
    pub(super) fn answer_when_logged(&mut self, request: u64, actions: &mut Vec<Action>) {
        match &self.failure {
            Some(error) => actions.push(Action::Reply {
                request,
                result: Err(AppendError::Log(error.clone())),
            }),
            None => {
                let outcome = AppendOutcome::default();
                self.add_waiter(request, outcome, Reliance::Earlier, actions);
            }
        }
    }

    /// The log has answered.
    pub(super) fn on_done(
        &mut self,
        lsn: u64,
        result: Result<u64, String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(flight) = self.in_flight.take() else {
            unreachable!("BUG: the log answered commit {lsn}, none is in flight");
        };
        assert!(
            flight.lsn == lsn,
            "BUG: the log answered commit {lsn}, {} is in flight",
            flight.lsn
        );
        match result {
            Ok(last_record) => {
                self.logged = self.logged.max(last_record);
                self.arrivals_logged = self.arrivals_sent;
                self.done += 1;
                self.logged_bytes += flight.bytes.len() as u64;
                for (request, outcome) in flight.waiters {
                    actions.push(Action::Reply {
                        request,
                        result: Ok(outcome),
                    });
                }
            }
            Err(error) => {
                let waiters = flight.waiters.into_iter();
                for (request, _) in waiters.chain(self.pending_waiters.drain(..)) {
                    actions.push(Action::Reply {
                        request,
                        result: Err(AppendError::Log(error.clone())),
                    });
                }
                self.retry = Some((lsn, flight.bytes));
                self.failure = Some(error);
            }
        }
    }

    /// The log can be written again: the failed commit goes first, under its own number.
    pub(super) fn on_reopened(&mut self, actions: &mut Vec<Action>) {
        self.failure = None;
        if let Some((lsn, bytes)) = self.retry.take() {
            self.send(lsn, bytes, Vec::new(), actions);
        }
    }

    pub(super) fn on_tick(&mut self, now: u64, actions: &mut Vec<Action>) {
        match self.echo_at {
            Some(at) if now >= at => self.tick = true,
            // A timer that fired early: ask again, or nothing would.
            Some(at) => actions.push(Action::WakeAt(at)),
            None => {}
        }
    }

    /// Starts the next commit if the log is free and there is something to write.
    pub(super) fn advance(
        &mut self,
        now: u64,
        stopping: bool,
        data: &Data,
        actions: &mut Vec<Action>,
    ) {
        if self.in_flight.is_some() || self.failure.is_some() {
            return;
        }
        let echo_now = !self.echo.is_empty() && (self.tick || stopping);
        if self.pending.is_empty() && !echo_now {
            if !self.echo.is_empty() && self.echo_at.is_none() {
                let at = now.saturating_add(ECHO_AFTER_NANOS);
                self.echo_at = Some(at);
                actions.push(Action::WakeAt(at));
            }
            return;
        }
        self.tick = false;
        self.echo_at = None;
        // A series may be gone since; the log need not know it any more.
        self.echo
            .retain(|slot| data.head.reference(*slot).generation != 0);
        if self.pending.is_empty() && self.echo.is_empty() {
            return;
        }
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        self.arrivals_sent = data.exemplars.arrivals_end();
        if !self.echo.is_empty() {
            encode_definitions(&mut self.pending, lsn, &self.echo, data);
        }
        self.echo.clear();
        std::mem::swap(&mut self.echo, &mut self.defined);
        let capacity = self.pending.len();
        let bytes = std::mem::replace(&mut self.pending, Vec::with_capacity(capacity));
        let waiters = std::mem::take(&mut self.pending_waiters);
        self.send(lsn, bytes, waiters, actions);
    }

    fn send(&mut self, lsn: u64, bytes: Vec<u8>, waiters: Vec<Waiter>, actions: &mut Vec<Action>) {
        actions.push(Action::Log {
            lsn,
            bytes: bytes.clone(),
        });
        self.in_flight = Some(InFlight {
            lsn,
            bytes,
            waiters,
        });
    }

    /// True once, when nothing is left that a stopping shard has promised. After a failure there is nothing more to
    /// be had from the log.
    pub(super) fn take_exit(&mut self) -> bool {
        let idle = self.in_flight.is_none()
            && (self.failure.is_some() || (self.pending.is_empty() && self.echo.is_empty()));
        let exit = idle && !self.exited;
        self.exited |= idle;
        exit
    }
}

/// Adds definitions of series that are in memory.
fn encode_definitions(out: &mut Vec<u8>, lsn: u64, slots: &[u32], data: &Data) {
    let mut bytes = Vec::with_capacity(slots.len() * 128);
    let mut ends = Vec::with_capacity(slots.len());
    for &slot in slots {
        data.index.identity.put_canonical(slot, &mut bytes);
        ends.push(bytes.len());
    }
    let mut start = 0;
    let mut definitions = slots.iter().zip(ends).map(|(&slot, end)| {
        let canonical = &bytes[start..end];
        start = end;
        (data.head.reference(slot), canonical)
    });
    encode_series_record(out, lsn, &mut definitions);
}
