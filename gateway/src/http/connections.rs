//! The open connections of one worker: what each is doing, and who has to go.
//!
//! Promise: a connection that lets us wait for the rest of a request's head, or that has been idle too long, is closed by one sweep for all
//! connections, so that a busy one pays for no timer. Closing is an order that the connection follows when it is next polled.

use crate::limits::{CONNECTIONS_LOOK_EVERY, HEAD_SECONDS_MAX};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
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

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    /// When the first byte of a head came that is not whole yet.
    head_since: Cell<Option<Instant>>,
    requests: Cell<u32>,
    idle_since: Cell<Instant>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Activity {
    fn new(now: Instant) -> Self {
        Activity {
            head_since: Cell::new(None),
            requests: Cell::new(0),
            idle_since: Cell::new(now),
            order: Cell::new(Order::None),
            waker: RefCell::new(None),
        }
    }

    /// Bytes have come.
    pub(super) fn received(&self) {
        if self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// A request's head is whole.
    pub(super) fn begin(self: &Rc<Self>) -> InRequest {
        self.head_since.set(None);
        self.requests.set(self.requests.get() + 1);
        InRequest(Rc::clone(self))
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

    fn is_overdue(&self, now: Instant, idle_max: Duration) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        if self.requests.get() > 0 {
            return false;
        }
        match self.head_since.get() {
            Some(begun) => since(begun) > HEAD_SECONDS_MAX.min(idle_max),
            None => since(self.idle_since.get()) > idle_max,
        }
    }
}

/// A request at hand, while it lives.
#[derive(Debug)]
pub(super) struct InRequest(Rc<Activity>);

impl Drop for InRequest {
    fn drop(&mut self) {
        let left = self.0.requests.get() - 1;
        self.0.requests.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
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
    pub(super) fn enter(self: &Rc<Self>) -> Seat {
        let activity = Rc::new(Activity::new(Instant::now()));
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

    const IDLE: Duration = Duration::from_secs(300);

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn slow_heads_go_after_seconds_and_idle_ones_after_minutes() {
        let all = Rc::new(Connections::default());
        let (slow, idle, busy) = (all.enter(), all.enter(), all.enter());
        slow.activity.received();
        busy.activity.received();
        let request = busy.activity.begin();
        all.close_overdue(after(31), IDLE);
        let orders = || [&slow, &idle, &busy].map(|seat| seat.activity.order());
        assert_eq!(orders(), [Order::Close, Order::None, Order::None]);
        all.close_overdue(after(301), IDLE);
        assert_eq!(orders(), [Order::Close, Order::Close, Order::None]);
        drop(request);
        all.close_overdue(after(302), IDLE);
        assert_eq!(orders()[2], Order::Close);
        drop((slow, idle, busy));
        assert!(all.open.borrow().is_empty());
    }

    #[test]
    fn a_short_read_timeout_holds_for_heads_too() {
        let all = Rc::new(Connections::default());
        let slow = all.enter();
        slow.activity.received();
        all.close_overdue(after(3), Duration::from_secs(2));
        assert_eq!(slow.activity.order(), Order::Close);
    }

    #[test]
    fn an_order_reaches_who_waits_before_the_first_request() {
        let all = Rc::new(Connections::default());
        let seat = all.enter();
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
