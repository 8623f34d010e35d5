//! The life of a maintenance thread: the keepers of some shards in turn, and orders between their rounds.
//!
//! Promise: orders are carried out between rounds, in the order in which they came, and hurry up what is in their way; when the orders'
//! channel closes, the thread leaves what it does and ends. [`keep`] is that life as a future, so that the simulator can run it as one of
//! its tasks.
//! Not here: the thread itself (`runtime`).

use super::keeper::{Keeper, KeeperError};
use super::pace::Wishes;
use super::world::World;
use crate::limits::{CHECKPOINT_LOOK_NANOS_MAX, MAINTENANCE_ORDERS_MAX};
use crate::model::Matcher;
use crate::shard_api::TimeRange;
use futures_util::future::{Either, select};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};

/// What a keeper is asked to do.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// See [`Keeper::delete`].
    Delete {
        matchers: Vec<Matcher>,
        range: TimeRange,
    },
    /// See [`Keeper::clean_tombstones`].
    CleanTombstones,
    /// See [`Keeper::snapshot`].
    Snapshot { dir: PathBuf, with_head: bool },
    /// Does what is due now instead of with the next round.
    Round,
}

/// A task for the keeper of one shard, and where its outcome goes.
pub(crate) struct Order {
    pub(crate) shard: usize,
    pub(crate) task: Task,
    pub(crate) outcome: oneshot::Sender<Result<(), KeeperError>>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Too many orders wait already.
    #[error("too many maintenance orders are waiting")]
    Crowded,
    /// The store stops, or has not opened.
    #[error("the store is stopping")]
    Stopped,
    /// It was tried.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

/// The way to the keepers of some shards.
#[derive(Clone)]
pub(crate) struct Desk {
    orders: mpsc::Sender<Order>,
    wishes: Arc<Wishes>,
}

/// A desk and the end at which its orders arrive.
pub(crate) fn desk(wishes: Arc<Wishes>) -> (Desk, mpsc::Receiver<Order>) {
    let (orders, arriving) = mpsc::channel(MAINTENANCE_ORDERS_MAX);
    (Desk { orders, wishes }, arriving)
}

impl Desk {
    /// Hands in a task for a shard and waits for its outcome.
    pub(crate) async fn order(&self, shard: usize, task: Task) -> Result<(), OrderError> {
        let (outcome, answer) = oneshot::channel();
        let order = Order {
            shard,
            task,
            outcome,
        };
        self.wishes.orders.fetch_add(1, Ordering::AcqRel);
        self.orders.try_send(order).map_err(|error| {
            self.wishes.orders.fetch_sub(1, Ordering::AcqRel);
            match error {
                mpsc::error::TrySendError::Full(_) => OrderError::Crowded,
                mpsc::error::TrySendError::Closed(_) => OrderError::Stopped,
            }
        })?;
        match answer.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(OrderError::Stopped),
        }
    }
}

/// Keeps some shards until the last desk is gone or the store stops.
pub(crate) async fn keep(
    mut keepers: Vec<Keeper>,
    mut orders: mpsc::Receiver<Order>,
    world: Rc<dyn World>,
    wishes: Arc<Wishes>,
) {
    let interval = keepers.iter().map(Keeper::look_interval_nanos).min();
    let Some(interval) = interval else { return };
    let checkpoint_interval = interval.min(CHECKPOINT_LOOK_NANOS_MAX);
    let mut round_at = world.monotonic_nanos() + interval;
    let mut checkpoint_at = world.monotonic_nanos() + checkpoint_interval;
    loop {
        let next_at = round_at.min(checkpoint_at);
        let rest = next_at.saturating_sub(world.monotonic_nanos());
        let next = {
            let arrival = pin!(orders.recv());
            match select(arrival, world.sleep(rest)).await {
                Either::Left((None, _)) => return,
                Either::Left((Some(order), _)) => Some(order),
                Either::Right(_) => None,
            }
        };
        if wishes.stopping() {
            return;
        }
        if let Some(order) = next {
            obey(&mut keepers, order, &wishes).await;
        }
        // Orders that never end do not keep rounds away.
        let now = world.monotonic_nanos();
        if now < round_at.min(checkpoint_at) {
            continue;
        }
        let whole_round = now >= round_at;
        for index in 0..keepers.len() {
            match whole_round {
                true => keepers[index].round().await,
                false => keepers[index].checkpoint_between_rounds().await,
            }
            while let Ok(order) = orders.try_recv() {
                obey(&mut keepers, order, &wishes).await;
            }
        }
        checkpoint_at = world.monotonic_nanos() + checkpoint_interval;
        if whole_round {
            round_at = world.monotonic_nanos() + interval;
        }
    }
}

async fn obey(keepers: &mut [Keeper], order: Order, wishes: &Wishes) {
    let keeper = keepers.iter_mut().find(|k| k.shard == order.shard);
    let keeper = keeper.expect("BUG: an order comes to the thread that keeps its shard");
    // A shard that has not opened yet has nothing on its shelf.
    let result = match keeper.wait_open().await {
        Ok(()) => carry_out(keeper, order.task).await,
        Err(error) => Err(error),
    };
    wishes.orders.fetch_sub(1, Ordering::AcqRel);
    // Whoever asked may have gone.
    let _ = order.outcome.send(result);
}

async fn carry_out(keeper: &mut Keeper, task: Task) -> Result<(), KeeperError> {
    match task {
        Task::Delete { matchers, range } => keeper.delete(&matchers, range).await,
        Task::CleanTombstones => keeper.clean_tombstones().await,
        Task::Snapshot { dir, with_head } => keeper.snapshot(&dir, with_head).await,
        Task::Round => {
            keeper.round().await;
            Ok(())
        }
    }
}
