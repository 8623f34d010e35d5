//! The open connections of one worker: what each is doing, and who has to go.
//!
//! Promise: a connection that lets us wait for the rest of a request's head, or that has been idle too long, is closed by one sweep for all
//! connections, so that a busy one pays for no timer. Closing is an order that the connection follows when it is next polled.

use crate::limits::{CONNECTIONS_LOOK_EVERY, HEAD_SECONDS_MAX};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a connection has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    None,
    /// Finish the requests at hand, take no further ones.
    Finish,
    /// End now.
    Close,
}

/// What one connection is doing. The busy side only sets flags; the sweep puts times to them.
#[derive(Debug)]
pub(super) struct Activity {
    peer: SocketAddr,
    /// Bytes went in or out since the last sweep.
    moved: Cell<bool>,
    moved_at: Cell<Instant>,
    /// Bytes of a head have come that is not whole yet.
    in_head: Cell<bool>,
    /// When the sweep first saw that.
    head_since: Cell<Option<Instant>>,
    multiplexed: Cell<bool>,
    requests: Cell<u32>,
    /// Of these, the ones whose answer is on its way.
    sending: Cell<u32>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Activity {
    fn new(peer: SocketAddr, now: Instant) -> Self {
        Activity {
            peer,
            moved: Cell::new(false),
            moved_at: Cell::new(now),
            in_head: Cell::new(false),
            head_since: Cell::new(None),
            multiplexed: Cell::new(false),
            requests: Cell::new(0),
            sending: Cell::new(0),
            order: Cell::new(Order::None),
            waker: RefCell::new(None),
        }
    }

    /// The other end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Bytes have come.
    #[inline]
    pub(super) fn received(&self) {
        self.moved.set(true);
        if self.requests.get() == 0 && !self.multiplexed.get() {
            self.in_head.set(true);
        }
    }

    /// It is HTTP/2: between requests there are frames that begin none.
    pub(super) fn is_multiplexed(&self) {
        self.multiplexed.set(true);
        self.in_head.set(false);
    }

    /// Bytes have gone.
    #[inline]
    pub(super) fn sent(&self) {
        self.moved.set(true);
    }

    /// A request's head is whole.
    pub(super) fn begin(self: &Rc<Self>) -> InRequest {
        self.in_head.set(false);
        self.requests.set(self.requests.get() + 1);
        InRequest {
            activity: Rc::clone(self),
            sends: Cell::new(false),
        }
    }

    /// What it has been told.
    pub(super) fn order(&self) -> Order {
        self.order.get()
    }

    fn give(&self, order: Order) {
        if self.order.get() != Order::Close {
            self.order.set(order);
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Makes an order reach the task that polls with this context.
    pub(super) fn listen(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
    }

    /// Runs what comes before the first request; `None` when the connection was told to end meanwhile.
    pub(super) async fn until_ordered<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        poll_fn(|context| {
            if self.order() != Order::None {
                return Poll::Ready(None);
            }
            self.listen(context);
            Pin::as_mut(&mut work).poll(context).map(Some)
        })
        .await
    }

    /// Looks at the flags, and whether the connection has to go.
    fn is_overdue(&self, now: Instant, idle_max: Duration) -> bool {
        if self.moved.replace(false) {
            self.moved_at.set(now);
        }
        let is_still = now.saturating_duration_since(self.moved_at.get()) > idle_max;
        if self.requests.get() > 0 {
            self.head_since.set(None);
            // A handler may take its time; a client that does not take its answer may not.
            return self.sending.get() > 0 && is_still;
        }
        if !self.in_head.get() {
            self.head_since.set(None);
            return is_still;
        }
        let since = self.head_since.get().unwrap_or(now);
        self.head_since.set(Some(since));
        now.saturating_duration_since(since) > HEAD_SECONDS_MAX.min(idle_max)
    }
}

/// A request at hand, while it lives.
#[derive(Debug)]
pub(super) struct InRequest {
    activity: Rc<Activity>,
    sends: Cell<bool>,
}

impl InRequest {
    /// The answer is on its way.
    pub(super) fn sends(&self) {
        if !self.sends.replace(true) {
            self.activity.sending.set(self.activity.sending.get() + 1);
        }
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.activity.requests.set(self.activity.requests.get() - 1);
        if self.sends.get() {
            self.activity.sending.set(self.activity.sending.get() - 1);
        }
    }
}

/// All connections of one listener on one worker.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: RefCell<HashMap<u64, Rc<Activity>>>,
    next: Cell<u64>,
}

/// A connection's place among the others, while it lives.
#[derive(Debug)]
pub(super) struct Seat {
    all: Rc<Connections>,
    number: u64,
    pub(super) activity: Rc<Activity>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.all.open.borrow_mut().remove(&self.number);
    }
}

impl Connections {
    /// A new one.
    pub(super) fn enter(self: &Rc<Self>, peer: SocketAddr) -> Seat {
        let activity = Rc::new(Activity::new(peer, Instant::now()));
        let number = self.next.get();
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, Rc::clone(&activity));
        Seat {
            all: Rc::clone(self),
            number,
            activity,
        }
    }

    /// Tells all to finish.
    pub(super) fn finish(&self) {
        self.open
            .borrow()
            .values()
            .for_each(|a| a.give(Order::Finish));
    }

    /// Closes what is overdue, for ever. `idle_max` is `--web.read-timeout`.
    pub(super) async fn sweep(&self, idle_max: Duration) {
        loop {
            tokio::time::sleep(CONNECTIONS_LOOK_EVERY.min(idle_max)).await;
            self.close_overdue(Instant::now(), idle_max);
        }
    }

    fn close_overdue(&self, now: Instant, idle_max: Duration) {
        for activity in self.open.borrow().values() {
            if activity.is_overdue(now, idle_max) {
                activity.give(Order::Close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    const IDLE: Duration = Duration::from_secs(300);

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn slow_heads_go_after_seconds_and_idle_ones_after_minutes() {
        let all = Rc::new(Connections::default());
        let (slow, idle, busy) = (all.enter(PEER), all.enter(PEER), all.enter(PEER));
        slow.activity.received();
        busy.activity.received();
        let request = busy.activity.begin();
        let orders = || [&slow, &idle, &busy].map(|seat| seat.activity.order());
        all.close_overdue(after(1), IDLE);
        assert_eq!(orders(), [Order::None; 3]);
        // A byte now and then does not help.
        slow.activity.received();
        all.close_overdue(after(32), IDLE);
        assert_eq!(orders(), [Order::Close, Order::None, Order::None]);
        all.close_overdue(after(305), IDLE);
        assert_eq!(orders(), [Order::Close, Order::Close, Order::None]);
        // An answer that is taken may last; one that is not may not.
        request.sends();
        busy.activity.sent();
        all.close_overdue(after(310), IDLE);
        all.close_overdue(after(600), IDLE);
        assert_eq!(orders()[2], Order::None);
        all.close_overdue(after(620), IDLE);
        assert_eq!(orders()[2], Order::Close);
        drop((request, slow, idle, busy));
        assert!(all.open.borrow().is_empty());
    }

    #[test]
    fn a_request_after_another_is_no_slow_head() {
        let all = Rc::new(Connections::default());
        let seat = all.enter(PEER);
        for second in 0..100 {
            seat.activity.received();
            let request = seat.activity.begin();
            request.sends();
            seat.activity.sent();
            drop(request);
            all.close_overdue(after(second * 10), IDLE);
            assert_eq!(seat.activity.order(), Order::None);
        }
    }

    #[test]
    fn frames_between_requests_are_no_head() {
        let all = Rc::new(Connections::default());
        let seat = all.enter(PEER);
        seat.activity.received();
        seat.activity.is_multiplexed();
        seat.activity.received();
        all.close_overdue(after(0), IDLE);
        all.close_overdue(after(200), IDLE);
        assert_eq!(seat.activity.order(), Order::None);
        all.close_overdue(after(400), IDLE);
        assert_eq!(seat.activity.order(), Order::Close);
    }

    #[test]
    fn a_short_read_timeout_holds_for_heads_too() {
        let all = Rc::new(Connections::default());
        let slow = all.enter(PEER);
        slow.activity.received();
        all.close_overdue(after(0), Duration::from_secs(2));
        all.close_overdue(after(3), Duration::from_secs(2));
        assert_eq!(slow.activity.order(), Order::Close);
    }

    #[test]
    fn an_order_reaches_who_waits_before_the_first_request() {
        let all = Rc::new(Connections::default());
        let seat = all.enter(PEER);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let outcome = runtime.block_on(async {
            tokio::join!(
                seat.activity.until_ordered(std::future::pending::<()>()),
                async { all.finish() }
            )
        });
        assert_eq!(outcome.0, None);
        // Close is the last word.
        seat.activity.give(Order::Close);
        all.finish();
        assert_eq!(seat.activity.order(), Order::Close);
    }
}
