//! Label names, label values and series that match, gathered from all shards: what the API's metadata endpoints ask.
//!
//! Promise: results are sorted and free of repetition; `limit` 0 means none, otherwise at most `limit` items come back and the answer says
//! that it was cut.

use crate::eval::budget::{Budget, CancelToken};
use crate::eval::error::EvalError;
use crate::fragment::exchange::{stopped, submit};
use crate::limits::{
    METADATA_ITEMS_MAX, QUERY_SAMPLES_MAX, SLICE_SAMPLES, SLICE_SAMPLES_PER_SERIES,
};
use crate::result::QueryError;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage_engine::model::{Labels, Matcher};
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, ShardRunner, ShardTask, TaskState, TimeRange};
use tokio::sync::oneshot;

/// What to look for.
#[derive(Debug, Clone)]
pub struct MetadataRequest {
    /// Selectors; a series counts when it passes all matchers of any of them. None: all series.
    pub selectors: Vec<Vec<Matcher>>,
    /// Times that matter, both ends inclusive.
    pub range: TimeRange,
    /// Most items wanted; 0 for all.
    pub limit: usize,
    /// Stops the request from outside.
    pub cancel: CancelToken,
}

/// Sorted items, and whether the limit cut some off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataOutput<T> {
    /// The items, ascending.
    pub items: Vec<T>,
    /// There were more.
    pub truncated: bool,
    /// What was damaged and could not be looked at.
    pub warnings: Vec<String>,
}

/// Distinct label names.
pub async fn label_names(
    shards: &dyn ShardRunner,
    request: &MetadataRequest,
) -> Result<MetadataOutput<String>, QueryError> {
    gather(shards, request, |shard, matchers, range, notes| {
        shard.label_names(matchers, range, notes)
    })
    .await
}

/// Distinct values of the label `name`.
pub async fn label_values(
    shards: &dyn ShardRunner,
    name: &str,
    request: &MetadataRequest,
) -> Result<MetadataOutput<String>, QueryError> {
    let name = name.to_owned();
    gather(shards, request, move |shard, matchers, range, notes| {
        shard.label_values(&name, matchers, range, notes)
    })
    .await
}

/// Label sets of the series.
pub async fn series(
    shards: &dyn ShardRunner,
    request: &MetadataRequest,
) -> Result<MetadataOutput<Labels>, QueryError> {
    let budget = Budget::new(QUERY_SAMPLES_MAX, request.cancel.clone());
    let most = most(request);
    let mut replies = Vec::new();
    for shard in 0..shards.shard_count() {
        let (reply, receiver) = oneshot::channel();
        let task = SeriesTask {
            selectors: selectors(request),
            next_selector: 0,
            range: request.range,
            cancel: request.cancel.clone(),
            selection: None,
            next_series: 0,
            found: BTreeSet::new(),
            notes: ReadNotes::default(),
            most,
            reply: Some(reply),
        };
        submit(shards, shard, Box::new(task), &budget).await?;
        replies.push(receiver);
    }
    merge(replies, request.limit).await
}

type Reply<T> = Result<(Vec<T>, ReadNotes), EvalError>;

/// One look at a shard with one selector's matchers.
type Look<T> =
    dyn Fn(&ShardReader<'_>, &[Matcher], TimeRange, &mut ReadNotes) -> Vec<T> + Send + Sync;

async fn gather<T: Ord + Send + 'static>(
    shards: &dyn ShardRunner,
    request: &MetadataRequest,
    look: impl Fn(&ShardReader<'_>, &[Matcher], TimeRange, &mut ReadNotes) -> Vec<T>
    + Send
    + Sync
    + 'static,
) -> Result<MetadataOutput<T>, QueryError> {
    let budget = Budget::new(QUERY_SAMPLES_MAX, request.cancel.clone());
    let look: Arc<Look<T>> = Arc::new(look);
    let mut replies = Vec::new();
    for shard in 0..shards.shard_count() {
        let (reply, receiver) = oneshot::channel();
        let task = LookTask {
            look: Arc::clone(&look),
            selectors: selectors(request),
            next_selector: 0,
            range: request.range,
            cancel: request.cancel.clone(),
            found: Vec::new(),
            notes: ReadNotes::default(),
            most: most(request),
            reply: Some(reply),
        };
        submit(shards, shard, Box::new(task), &budget).await?;
        replies.push(receiver);
    }
    merge(replies, request.limit).await
}

fn selectors(request: &MetadataRequest) -> Vec<Vec<Matcher>> {
    if request.selectors.is_empty() {
        vec![Vec::new()]
    } else {
        request.selectors.clone()
    }
}

/// Items that one shard needs to find at most: one more than wanted tells that something was cut off.
fn most(request: &MetadataRequest) -> usize {
    match request.limit {
        0 => METADATA_ITEMS_MAX,
        limit => limit.saturating_add(1),
    }
}

async fn merge<T: Ord>(
    replies: Vec<oneshot::Receiver<Reply<T>>>,
    limit: usize,
) -> Result<MetadataOutput<T>, QueryError> {
    let mut items = Vec::new();
    let mut notes = ReadNotes::default();
    for (shard, reply) in replies.into_iter().enumerate() {
        let (found, noted) = reply.await.map_err(|_| stopped(shard))??;
        items.extend(found);
        notes.merge(noted);
    }
    items.sort_unstable();
    items.dedup();
    let truncated = limit > 0 && items.len() > limit;
    if truncated {
        items.truncate(limit);
    }
    Ok(MetadataOutput {
        items,
        truncated,
        warnings: notes.damage,
    })
}

/// Names or values: one selector a slice.
struct LookTask<T> {
    look: Arc<Look<T>>,
    selectors: Vec<Vec<Matcher>>,
    next_selector: usize,
    range: TimeRange,
    cancel: CancelToken,
    found: Vec<T>,
    notes: ReadNotes,
    most: usize,
    reply: Option<oneshot::Sender<Reply<T>>>,
}

impl<T: Ord + Send> ShardTask for LookTask<T> {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if let Err(e) = self.cancel.check() {
            return answer(&mut self.reply, Err(e));
        }
        if let Some(matchers) = self.selectors.get(self.next_selector) {
            self.next_selector += 1;
            let notes = &mut self.notes;
            let found = (self.look)(shard, matchers, self.range, notes);
            self.found.extend(found);
            return TaskState::More;
        }
        self.found.sort_unstable();
        self.found.dedup();
        self.found.truncate(self.most);
        let found = std::mem::take(&mut self.found);
        let notes = std::mem::take(&mut self.notes);
        answer(&mut self.reply, Ok((found, notes)))
    }
}

/// Label sets: one selector after another, so many series a slice.
struct SeriesTask {
    selectors: Vec<Vec<Matcher>>,
    next_selector: usize,
    range: TimeRange,
    cancel: CancelToken,
    selection: Option<Selection>,
    next_series: usize,
    found: BTreeSet<Labels>,
    notes: ReadNotes,
    most: usize,
    reply: Option<oneshot::Sender<Reply<Labels>>>,
}

impl ShardTask for SeriesTask {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if let Err(e) = self.cancel.check() {
            return answer(&mut self.reply, Err(e));
        }
        for _ in 0..SLICE_SAMPLES / SLICE_SAMPLES_PER_SERIES {
            let Some(selection) = &self.selection else {
                let matchers = self.selectors.get(self.next_selector);
                let Some(matchers) = matchers.filter(|_| self.found.len() < self.most) else {
                    let found = std::mem::take(&mut self.found).into_iter().collect();
                    let notes = std::mem::take(&mut self.notes);
                    return answer(&mut self.reply, Ok((found, notes)));
                };
                self.next_selector += 1;
                self.next_series = 0;
                let selection = shard.select(matchers, self.range);
                for text in selection.damage() {
                    self.notes.note_damage(text.clone());
                }
                self.selection = Some(selection);
                return TaskState::More;
            };
            if self.next_series == selection.len() || self.found.len() >= self.most {
                self.selection = None;
                continue;
            }
            let labels = shard.labels(selection, self.next_series);
            if labels.is_empty() {
                let text = "the labels of a series cannot be read: a block's index is damaged";
                self.notes.note_damage(text.to_owned());
            } else {
                self.found.insert(labels);
            }
            self.next_series += 1;
        }
        TaskState::More
    }
}

fn answer<T>(reply: &mut Option<oneshot::Sender<Reply<T>>>, result: Reply<T>) -> TaskState {
    if let Some(sender) = reply.take() {
        // A receiver that is gone is a request that was given up.
        drop(sender.send(result));
    }
    TaskState::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalShards;
    use storage_engine::model::SampleColumns;

    fn store(shards: usize) -> LocalShards {
        let store = LocalShards::new(shards);
        for (name, job) in [("up", "a"), ("up", "b"), ("load", "b"), ("load", "c")] {
            let labels = Labels::from_pairs([("__name__", name), ("job", job)]).unwrap();
            let samples = SampleColumns {
                timestamps: vec![1000],
                values: vec![1.0],
            };
            store.append(&labels, &samples).unwrap();
        }
        store
    }

    fn request(selectors: &[&[(&str, &str)]], limit: usize) -> MetadataRequest {
        let selector = |pairs: &&[(&str, &str)]| {
            pairs
                .iter()
                .map(|(n, v)| Matcher::equal(*n, *v))
                .collect::<Vec<_>>()
        };
        MetadataRequest {
            selectors: selectors.iter().map(selector).collect(),
            range: TimeRange { min: 0, max: 2000 },
            limit,
            cancel: CancelToken::new(),
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn shards_are_merged_without_repetition() {
        for shards in [1, 2, 7] {
            let store = store(shards);
            let names = block_on(label_names(&store, &request(&[], 0))).unwrap();
            assert_eq!(names.items, ["__name__", "job"]);
            let jobs = block_on(label_values(&store, "job", &request(&[], 0))).unwrap();
            assert_eq!(jobs.items, ["a", "b", "c"]);
            let up = request(&[&[("__name__", "up")], &[("job", "b")]], 0);
            let found = block_on(series(&store, &up)).unwrap();
            let texts: Vec<String> = found.items.iter().map(Labels::to_string).collect();
            assert_eq!(
                texts,
                [
                    "{__name__=\"load\", job=\"b\"}",
                    "{__name__=\"up\", job=\"a\"}",
                    "{__name__=\"up\", job=\"b\"}"
                ]
            );
        }
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let store = store(2);
        let two = block_on(label_values(&store, "job", &request(&[], 2))).unwrap();
        assert_eq!(two.items.len(), 2);
        assert!(two.truncated);
        let three = block_on(label_values(&store, "job", &request(&[], 3))).unwrap();
        assert!(!three.truncated);
        let all = block_on(series(&store, &request(&[], 4))).unwrap();
        assert_eq!((all.items.len(), all.truncated), (4, false));
        assert!(
            block_on(series(&store, &request(&[], 1)))
                .unwrap()
                .truncated
        );
    }

    #[test]
    fn a_canceled_request_says_why() {
        let request = request(&[], 0);
        request.cancel.cancel();
        let error = block_on(series(&store(1), &request)).unwrap_err();
        assert_eq!(error, QueryError::Canceled);
    }
}
