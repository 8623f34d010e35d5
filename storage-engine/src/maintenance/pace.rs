//! The pace of background work: it works a little, then lets others have the cores and the disk.
//!
//! Promise: while the shard has mail, background work takes at most a quarter of its thread's time (`MAINTENANCE_BUSY_PERCENT`), otherwise at most
//! three quarters (`MAINTENANCE_IDLE_PERCENT`); when somebody waits for it (an order, the end of the process) it does not pause.

use super::world::World;
use crate::limits::{
    MAINTENANCE_BUSY_PERCENT, MAINTENANCE_IDLE_PERCENT, MAINTENANCE_PAUSE_NANOS_MAX,
};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Work shorter than this is not worth a pause of its own.
const WORK_NANOS_MIN: u64 = 2_000_000;

/// What others want of the maintenance threads; shared between them and the store.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The store stops: leave everything as it is.
    pub(crate) stop: AtomicBool,
    /// Orders that wait for background work to get out of their way.
    pub(crate) orders: AtomicUsize,
}

impl Wishes {
    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The pace of one keeper.
pub(crate) struct Pace {
    world: Rc<dyn World>,
    wishes: Arc<Wishes>,
    worked_since: Cell<u64>,
    /// Nanoseconds worked before that.
    worked_before: Cell<u64>,
}

/// The store stops; whoever hears this leaves what it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopping;

impl Pace {
    pub(crate) fn new(world: Rc<dyn World>, wishes: Arc<Wishes>) -> Pace {
        let worked_since = Cell::new(world.monotonic_nanos());
        Pace {
            world,
            wishes,
            worked_since,
            worked_before: Cell::new(0),
        }
    }

    /// From now on it counts as work.
    pub(crate) fn begin(&self) {
        self.worked_since.set(self.world.monotonic_nanos());
    }

    /// Nanoseconds that counted as work until now, waiting for the shard's answers among them. Only differences mean something.
    pub(crate) fn worked_nanos(&self) -> u64 {
        let now = self.world.monotonic_nanos();
        self.worked_before.get() + now.saturating_sub(self.worked_since.get())
    }

    /// Call between pieces of work: pauses if it is time to. `busy` says whether the shard has mail.
    pub(crate) async fn breathe(&self, busy: bool) -> Result<(), Stopping> {
        if self.wishes.stopping() {
            return Err(Stopping);
        }
        let now = self.world.monotonic_nanos();
        let worked = now.saturating_sub(self.worked_since.get());
        if worked < WORK_NANOS_MIN {
            return Ok(());
        }
        self.worked_before.set(self.worked_before.get() + worked);
        if self.wishes.orders.load(Ordering::Acquire) == 0 {
            self.world.sleep(pause_nanos(worked, busy)).await;
        }
        self.begin();
        Ok(())
    }
}

/// The pause that keeps so much work within its share.
fn pause_nanos(worked: u64, busy: bool) -> u64 {
    let percent = match busy {
        true => MAINTENANCE_BUSY_PERCENT,
        false => MAINTENANCE_IDLE_PERCENT,
    };
    (worked.saturating_mul(100) / percent)
        .saturating_sub(worked)
        .min(MAINTENANCE_PAUSE_NANOS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimestampMs;
    use futures_util::FutureExt;

    #[derive(Default)]
    struct Clock {
        now: Cell<u64>,
        slept: Cell<u64>,
    }

    impl World for Clock {
        fn wall_ms(&self) -> TimestampMs {
            0
        }
        fn monotonic_nanos(&self) -> u64 {
            self.now.get()
        }
        fn sleep(&self, nanos: u64) -> super::super::world::Waiting<'_> {
            self.slept.set(self.slept.get() + nanos);
            self.now.set(self.now.get() + nanos);
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> [u8; 10] {
            [0; 10]
        }
    }

    #[test]
    fn work_keeps_to_its_share_and_does_not_pause_when_waited_for() {
        let clock = Rc::new(Clock::default());
        let wishes = Arc::new(Wishes::default());
        let pace = Pace::new(clock.clone(), Arc::clone(&wishes));
        let work = |nanos: u64, busy: bool| {
            clock.now.set(clock.now.get() + nanos);
            let before = clock.slept.get();
            let outcome = pace.breathe(busy).now_or_never().unwrap();
            (outcome, clock.slept.get() - before)
        };
        assert_eq!(work(1_000, true), (Ok(()), 0), "too little to pause for");
        let (_, busy) = work(10_000_000, true);
        let share = 10_001_000 * 100 / (10_001_000 + busy);
        assert_eq!(share, MAINTENANCE_BUSY_PERCENT);
        let (_, idle) = work(10_000_000, false);
        assert!(idle < busy);
        assert_eq!(work(u64::MAX / 200, true).1, MAINTENANCE_PAUSE_NANOS_MAX);
        wishes.orders.store(1, Ordering::Release);
        assert_eq!(work(10_000_000, true), (Ok(()), 0));
        wishes.stop.store(true, Ordering::Release);
        assert_eq!(work(10_000_000, true), (Err(Stopping), 0));
    }
}
