//! Answers of range queries that are kept: a query that was asked before is evaluated only at the steps that are new or may have changed.
//!
//! Promise: the answer is byte for byte what an evaluation now would give. A kept answer is used only for the same expression, step and phase of
//! the steps (times are never moved), only before the oldest time that a shard says has changed since the answer was computed, and only where
//! each step stands for itself. Answers with warnings, infos or native histograms are not kept. Bytes are bounded; what was not used for the
//! longest time goes first.
//! Not here: knowing what has changed (the shards).

mod local;
mod store;
#[cfg(test)]
mod tests;

pub use store::{CacheCounts, ResultCache};

use crate::engine::{Engine, QueryRequest};
use crate::eval::budget::Budget;
use crate::eval::error::EvalError;
use crate::eval::memory::Held;
use crate::fragment::exchange::{stopped, submit};
use crate::parse::ast::Expr;
use crate::result::{QueryError, QueryOutput, QueryStats, QueryValue, Series};
use local::is_local;
use std::cmp::Ordering;
use std::sync::Arc;
use storage_engine::model::TimestampMs;
use storage_engine::shard::ShardReader;
use storage_engine::shard_api::{ShardRunner, ShardTask, TaskState};
use store::{Answer, Key};
use tokio::sync::oneshot;

/// What the shards say of their changes.
struct Moment {
    /// The number of each shard's newest change.
    numbers: Vec<u64>,
    /// Answers before this time are what they were; `None` where nothing has changed.
    changed_from: Option<TimestampMs>,
}

/// Asks one shard.
struct Probe {
    since: u64,
    reply: Option<oneshot::Sender<(u64, Option<TimestampMs>)>>,
}

impl ShardTask for Probe {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if let Some(reply) = self.reply.take() {
            // Nobody listens any more: the query has gone.
            let _ = reply.send(shard.changes_since(self.since));
        }
        TaskState::Done
    }
}

/// Asks all shards what has changed since `numbers` (all, if there are none).
async fn ask(
    shards: &dyn ShardRunner,
    numbers: Option<&[u64]>,
    budget: &Budget,
) -> Result<Moment, EvalError> {
    let mut replies = Vec::with_capacity(shards.shard_count());
    for shard in 0..shards.shard_count() {
        let since = numbers.and_then(|all| all.get(shard)).copied();
        let (sender, reply) = oneshot::channel();
        let probe = Probe {
            since: since.unwrap_or(0),
            reply: Some(sender),
        };
        submit(shards, shard, Box::new(probe), budget).await?;
        replies.push(reply);
    }
    let mut moment = Moment {
        numbers: Vec::with_capacity(replies.len()),
        changed_from: None,
    };
    for (shard, reply) in replies.into_iter().enumerate() {
        let (number, oldest) = reply.await.map_err(|_| stopped(shard))?;
        moment.numbers.push(number);
        let known = moment.changed_from.into_iter().chain(oldest);
        moment.changed_from = known.min();
    }
    Ok(moment)
}

/// The steps of a range query.
#[derive(Debug, Clone, Copy)]
struct Steps {
    first: TimestampMs,
    last: TimestampMs,
    step: i64,
}

impl Steps {
    fn of(request: &QueryRequest<'_>) -> Option<Steps> {
        let span = request.end_ms.checked_sub(request.start_ms)?;
        (request.step_ms > 0 && span >= 0).then(|| Steps {
            first: request.start_ms,
            last: request.end_ms - span % request.step_ms,
            step: request.step_ms,
        })
    }

    /// The last of these steps for which `answer` still holds; `None` if the first does not.
    fn known_until(
        &self,
        answer: &Answer,
        changed_from: Option<TimestampMs>,
    ) -> Option<TimestampMs> {
        let mut until = answer.last.min(self.last);
        if let Some(changed) = changed_from {
            until = until.min(changed.checked_sub(1)?);
        }
        if answer.first > self.first || until < self.first {
            return None;
        }
        // Both begin at the same phase.
        Some(until - (until - self.first) % self.step)
    }
}

impl Engine {
    /// As [`Engine::evaluate`], using answers in `cache` and leaving this one there.
    pub async fn evaluate_cached(
        &self,
        cache: &ResultCache,
        shards: &dyn ShardRunner,
        expr: &Expr,
        request: &QueryRequest<'_>,
    ) -> Result<QueryOutput, QueryError> {
        let steps =
            Steps::of(request).filter(|_| cache.is_on() && self.is_cacheable(expr, request));
        let Some(steps) = steps else {
            return self.evaluate(shards, expr, request).await;
        };
        let key = self.cache_key(expr, request);
        let known = cache.get(&key);
        let budget = self.budget(request);
        let numbers = known.as_ref().map(|answer| answer.numbers.as_slice());
        // Before the evaluation: what changes meanwhile counts as changed.
        let moment = ask(shards, numbers, &budget).await?;
        let until = known
            .as_ref()
            .and_then(|answer| steps.known_until(answer, moment.changed_from));
        let (Some(answer), Some(until)) = (&known, until) else {
            cache.note(false, 0);
            let output = self.evaluate(shards, expr, request).await?;
            cache.keep(key, steps.first, steps.last, &moment.numbers, &output);
            return Ok(output);
        };
        let reused = (until - steps.first) / steps.step + 1;
        cache.note(until == steps.last, reused as u64);
        if until == steps.last {
            let mut held = Held::of(&budget);
            let value = answer.part(steps.first, until, &mut held)?;
            return Ok(QueryOutput {
                value: QueryValue::Matrix(value),
                histograms: Vec::new(),
                warnings: Vec::new(),
                infos: Vec::new(),
                stats: QueryStats::default(),
                explanation: None,
                held,
            });
        }
        let rest = QueryRequest {
            start_ms: until + steps.step,
            ..request.clone()
        };
        let mut output = self.evaluate(shards, expr, &rest).await?;
        if let QueryValue::Matrix(new) = &mut output.value {
            let old = answer.part(steps.first, until, &mut output.held)?;
            *new = join(old, std::mem::take(new));
        }
        // A longer answer is worth more than one that ends later.
        let kept_ms = answer.valid_length(moment.changed_from);
        if kept_ms <= steps.last - steps.first {
            cache.keep(key, steps.first, steps.last, &moment.numbers, &output);
        }
        Ok(output)
    }

    fn is_cacheable(&self, expr: &Expr, request: &QueryRequest<'_>) -> bool {
        !request.step_stats
            && request.explain.is_none()
            && !self.options().use_start_timestamps
            && is_local(expr)
    }

    fn cache_key(&self, expr: &Expr, request: &QueryRequest<'_>) -> Key {
        let options = self.options();
        Key {
            text: expr.to_string(),
            step: request.step_ms,
            phase: request.start_ms.rem_euclid(request.step_ms),
            lookback_delta: request
                .lookback_delta_ms
                .unwrap_or(options.lookback_delta_ms),
            default_subquery_step: options.default_subquery_step_ms,
            delayed_name_removal: options.delayed_name_removal,
        }
    }

    fn budget(&self, request: &QueryRequest<'_>) -> Arc<Budget> {
        let options = self.options();
        Arc::new(
            Budget::new(options.max_samples, request.cancel.clone())
                .with_memory(options.max_memory, Arc::clone(&options.memory)),
        )
    }
}

/// Series of earlier steps and series of later ones, both in the order of their labels, as one.
fn join(old: Vec<Series>, new: Vec<Series>) -> Vec<Series> {
    let mut joined = Vec::with_capacity(old.len().max(new.len()));
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) => a.labels.cmp(&b.labels),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return joined,
        };
        let first = match order {
            Ordering::Less => old.next(),
            Ordering::Greater => new.next(),
            Ordering::Equal => old.next().zip(new.next()).map(|(mut a, b)| {
                a.timestamps.extend(b.timestamps);
                a.values.extend(b.values);
                a.histograms = b.histograms;
                a
            }),
        };
        joined.extend(first);
    }
}
