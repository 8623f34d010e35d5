//! Between the coordinator and the shards: tasks out, answers in.

use super::FragmentOutput;
use super::task::{FragmentReply, FragmentTask};
use crate::eval::budget::Budget;
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::ordering::sort_by;
use crate::limits::{HEAVY_ROWS, SUBMIT_ATTEMPTS_MAX};
use std::sync::Arc;
use storage_engine::shard_api::{ShardRunner, ShardTask};
use tokio::sync::oneshot;

pub(crate) use super::task::FragmentWork;

/// Answers under way, one from each shard.
pub(crate) struct Exchange {
    work: Arc<FragmentWork>,
    replies: Vec<oneshot::Receiver<FragmentReply>>,
}

impl Exchange {
    /// Sends the fragment to every shard.
    pub(crate) async fn open(
        work: FragmentWork,
        shards: &dyn ShardRunner,
    ) -> Result<Exchange, EvalError> {
        let work = Arc::new(work);
        let mut replies = Vec::with_capacity(shards.shard_count());
        for shard in 0..shards.shard_count() {
            let (task, reply) = FragmentTask::new(Arc::clone(&work));
            submit(shards, shard, Box::new(task), &work.budget).await?;
            replies.push(reply);
        }
        Ok(Exchange { work, replies })
    }

    /// Waits for all answers and puts them together, series in the order of their labels: results do not depend on the number of shards.
    pub(crate) async fn gather(self) -> Result<FragmentOutput, EvalError> {
        let mut all = FragmentOutput::default();
        let budget = &self.work.budget;
        for (shard, reply) in self.replies.into_iter().enumerate() {
            let output = reply.await.map_err(|_| stopped(shard))??;
            if output.rows.len() + output.partials.len() > HEAVY_ROWS {
                budget.announce_heavy().await;
            }
            all.rows.extend(output.rows);
            all.columns.extend(output.columns);
            all.notes.merge(output.notes);
            all.reads.merge(output.reads);
            all.effort.merge(output.effort);
            all.held.absorb(output.held);
            if let Some(fold) = &self.work.spec.fold {
                all.partials.merge(fold, output.partials, budget);
            }
        }
        let work = &mut Work::of(budget);
        all.rows = sort_by(all.rows, work, |a, b| a.labels.cmp(&b.labels))?;
        all.columns = sort_by(all.columns, work, |a, b| a.labels.cmp(&b.labels))?;
        all.held.settle(all.cost())?;
        Ok(all)
    }
}

/// Hands a task to a shard; a full mailbox is offered the task again while others run.
pub(crate) async fn submit(
    shards: &dyn ShardRunner,
    shard: usize,
    mut task: Box<dyn ShardTask>,
    budget: &Budget,
) -> Result<(), EvalError> {
    for _ in 0..SUBMIT_ATTEMPTS_MAX {
        match shards.submit(shard, task) {
            Ok(()) => return Ok(()),
            Err(refused) => task = refused,
        }
        budget.check()?;
        tokio::task::yield_now().await;
    }
    Err(EvalError::Storage(format!(
        "shard {shard} is overloaded, try again"
    )))
}

/// The shard dropped the task: it is stopping.
pub(crate) fn stopped(shard: usize) -> EvalError {
    EvalError::Storage(format!("shard {shard} stopped before it answered"))
}
