//! Exemplars of the series that a query names, gathered from all shards.
//!
//! Promise: series come in the order of their labels, each once, its exemplars ascending by time; nothing is evaluated, only the
//! selectors of the query count. Not here: which exemplars are kept (the shards).

use crate::eval::budget::{Budget, CancelToken};
use crate::eval::error::EvalError;
use crate::fragment::exchange::{stopped, submit};
use crate::limits::{EXEMPLAR_SERIES_PER_SLICE, QUERY_SAMPLES_MAX};
use crate::parse::ast::Expr;
use crate::result::QueryError;
use std::sync::Arc;
use storage_engine::model::Matcher;
use storage_engine::shard::ShardReader;
use storage_engine::shard_api::{SeriesExemplars, ShardRunner, ShardTask, TaskState, TimeRange};
use tokio::sync::oneshot;

/// The matchers of every selector in an expression, in the order written.
pub fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    expr.walk(&mut |node| match node {
        Expr::Vector(selector) => found.push(selector.matchers.clone()),
        Expr::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
        _ => {}
    });
    found
}

/// The exemplars in `range` of all series that one of the selectors names.
pub async fn query(
    shards: &dyn ShardRunner,
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    cancel: &CancelToken,
) -> Result<Vec<SeriesExemplars>, QueryError> {
    let budget = Budget::new(QUERY_SAMPLES_MAX, cancel.clone());
    let selectors = Arc::new(selectors);
    let mut replies = Vec::new();
    for shard in 0..shards.shard_count() {
        let (reply, receiver) = oneshot::channel();
        let task = ExemplarTask {
            selectors: Arc::clone(&selectors),
            range,
            cancel: cancel.clone(),
            next: 0,
            found: Vec::new(),
            reply: Some(reply),
        };
        submit(shards, shard, Box::new(task), &budget).await?;
        replies.push(receiver);
    }
    let mut all: Vec<SeriesExemplars> = Vec::new();
    for (shard, reply) in replies.into_iter().enumerate() {
        all.extend(reply.await.map_err(|_| stopped(shard))??);
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(all)
}

/// A walk over one shard's series with exemplars, some of them a slice.
struct ExemplarTask {
    selectors: Arc<Vec<Vec<Matcher>>>,
    range: TimeRange,
    cancel: CancelToken,
    next: usize,
    found: Vec<SeriesExemplars>,
    reply: Option<oneshot::Sender<Result<Vec<SeriesExemplars>, EvalError>>>,
}

impl ShardTask for ExemplarTask {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let result = match self.cancel.check() {
            Err(error) => Err(error),
            Ok(()) => {
                let part = (self.next, EXEMPLAR_SERIES_PER_SLICE);
                let (selectors, found) = (&self.selectors, &mut self.found);
                if let Some(next) = shard.read_exemplars(selectors, self.range, part, found) {
                    self.next = next;
                    return TaskState::More;
                }
                Ok(std::mem::take(&mut self.found))
            }
        };
        if let Some(reply) = self.reply.take() {
            // A receiver that is gone is a request that was given up.
            drop(reply.send(result));
        }
        TaskState::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParserOptions, parse};

    #[test]
    fn selectors_of_every_kind_are_found() {
        let text =
            "sum(rate(a{x=\"1\"}[5m])) + on() (b offset 1m or max_over_time(c[1h:1m])) > bool 3";
        let expr = parse(text, &ParserOptions::default()).unwrap();
        let names: Vec<Vec<String>> = selectors(&expr)
            .iter()
            .map(|set| {
                set.iter()
                    .map(|m| format!("{}={}", m.name, m.value))
                    .collect()
            })
            .collect();
        assert_eq!(
            names,
            [
                vec!["x=1".to_owned(), "__name__=a".to_owned()],
                vec!["__name__=b".to_owned()],
                vec!["__name__=c".to_owned()],
            ]
        );
        let none = parse("1 + time()", &ParserOptions::default()).unwrap();
        assert_eq!(selectors(&none).len(), 0);
    }
}
