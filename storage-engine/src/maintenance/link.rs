//! The keeper's way to its shard: looks and changes through the mailbox, answered by futures.
//!
//! Promise: what is asked for happens on the shard's thread, a slice at a time, behind whatever was in the mailbox before; a full mailbox
//! is waited for, a closed one says that the store stops.
//! Not here: what is looked at or changed.

use super::pace::{Stopping, Wishes};
use super::world::World;
use crate::limits::MAINTENANCE_MAILBOX_RETRY_NANOS;
use crate::runtime::{Mail, Mailbox, Refused};
use crate::shard::{Action, Shard, ShardReader};
use crate::shard_api::{AppendError, AppendOutcome, ShardChange, ShardTask, TaskState};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One shard as its keeper reaches it.
pub(crate) struct ShardLink {
    mailbox: Arc<Mailbox>,
    world: Rc<dyn World>,
    wishes: Arc<Wishes>,
}

/// Why a request to a shard came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The store stops.
    #[error("the store is stopping")]
    Stopped,
    /// The shard has too many tasks; try again later.
    #[error("the shard has too many tasks waiting")]
    Crowded,
    /// The shard has refused: its log has failed.
    #[error(transparent)]
    Refused(AppendError),
}

impl From<Stopping> for LinkError {
    fn from(_: Stopping) -> LinkError {
        LinkError::Stopped
    }
}

/// A look in slices: gives the value when it has it.
struct Look<T, F> {
    look: F,
    answer: Option<oneshot::Sender<T>>,
}

impl<T, F> ShardTask for Look<T, F>
where
    T: Send,
    F: FnMut(&ShardReader<'_>) -> Option<T> + Send,
{
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if self.answer.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return TaskState::Done;
        }
        match (self.look)(shard) {
            None => TaskState::More,
            Some(value) => {
                if let Some(answer) = self.answer.take() {
                    // Nobody waits any more: the value is of no use.
                    let _ = answer.send(value);
                }
                TaskState::Done
            }
        }
    }
}

/// A change that is answered as soon as it is made.
struct Now<F>(F);

impl<F: FnOnce(&mut Shard) + Send> ShardChange for Now<F> {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        (self.0)(shard);
        actions.push(Action::Reply {
            request,
            result: Ok(AppendOutcome::default()),
        });
    }
}

impl ShardLink {
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        world: Rc<dyn World>,
        wishes: Arc<Wishes>,
    ) -> ShardLink {
        ShardLink {
            mailbox,
            world,
            wishes,
        }
    }

    /// Has the shard mail waiting?
    pub(crate) fn is_busy(&self) -> bool {
        !self.mailbox.is_empty()
    }

    /// Calls `look` once a slice until it gives a value.
    pub(crate) async fn look<T, F>(&self, look: F) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: FnMut(&ShardReader<'_>) -> Option<T> + Send + 'static,
    {
        let (answer, value) = oneshot::channel();
        let answer = Some(answer);
        self.push(Mail::Task(Box::new(Look { look, answer })))
            .await?;
        match value.await {
            Ok(value) => Ok(value),
            Err(_) if self.mailbox.stop_requested() => Err(LinkError::Stopped),
            Err(_) => Err(LinkError::Crowded),
        }
    }

    /// Makes a change and waits until it is made.
    pub(crate) async fn change<T, F>(&self, change: F) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        let (answer, value) = oneshot::channel();
        self.submit(Box::new(Now(move |shard: &mut Shard| {
            let _ = answer.send(change(shard));
        })))
        .await?;
        value.await.map_err(|_| LinkError::Stopped)
    }

    /// Hands in a change of any kind and waits for its answer.
    pub(crate) async fn submit(
        &self,
        change: Box<dyn ShardChange>,
    ) -> Result<AppendOutcome, LinkError> {
        let (reply, answer) = oneshot::channel();
        self.push(Mail::Change { change, reply }).await?;
        match answer.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(AppendError::Stopped)) | Err(_) => Err(LinkError::Stopped),
            Ok(Err(error)) => Err(LinkError::Refused(error)),
        }
    }

    async fn push(&self, mut mail: Mail) -> Result<(), LinkError> {
        loop {
            mail = match self.mailbox.push(mail) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(_)) => return Err(LinkError::Stopped),
                Err(Refused::Full(mail)) => mail,
            };
            if self.wishes.stopping() {
                return Err(LinkError::Stopped);
            }
            self.world.sleep(MAINTENANCE_MAILBOX_RETRY_NANOS).await;
        }
    }
}
