//! Counts of series by label over all shards, for `status/tsdb`.

use storage_engine::shard::{Cardinality, ShardReader};
use storage_engine::shard_api::{ShardRunner, ShardTask, TaskState};
use tokio::sync::oneshot;

struct Count {
    reply: Option<oneshot::Sender<Cardinality>>,
}

impl ShardTask for Count {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if let Some(reply) = self.reply.take() {
            // A receiver that is gone is a request that was given up.
            drop(reply.send(shard.cardinality()));
        }
        TaskState::Done
    }
}

/// The counts of all shards as one; the error is text for the client.
pub(super) async fn gather(shards: &dyn ShardRunner) -> Result<Cardinality, String> {
    let mut replies = Vec::new();
    for shard in 0..shards.shard_count() {
        let (reply, receiver) = oneshot::channel();
        let task = Box::new(Count { reply: Some(reply) });
        if shards.submit(shard, task).is_err() {
            return Err(format!("shard {shard} is overloaded, try again"));
        }
        replies.push(receiver);
    }
    let mut all = Cardinality::default();
    for (shard, reply) in replies.into_iter().enumerate() {
        all.merge(
            reply
                .await
                .map_err(|_| format!("shard {shard} has stopped"))?,
        );
    }
    Ok(all)
}
