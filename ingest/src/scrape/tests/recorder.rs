//! A store for tests: keeps every sample in memory, with the order rules of a real shard.

use crate::append::AppendTarget;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use storage_engine::model::{Labels, SeriesRef};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, RejectReason, Rejection, SampleSeries,
};

#[derive(Debug, Default)]
struct Shard {
    series: Vec<(Labels, Vec<(i64, f64)>)>,
    generation: u32,
    /// Series of earlier generations: kept for the test to look at, unknown to senders.
    retired: Vec<(Labels, Vec<(i64, f64)>)>,
}

/// Shared by the workers of a test.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    shards: Rc<RefCell<Vec<Shard>>>,
    batches: Rc<Cell<usize>>,
    labels_sent: Rc<Cell<usize>>,
}

impl Recorder {
    pub(super) fn new(shard_count: usize) -> Self {
        Recorder {
            shards: Rc::new(RefCell::new(
                (0..shard_count).map(|_| Shard::default()).collect(),
            )),
            batches: Rc::default(),
            labels_sent: Rc::default(),
        }
    }

    /// All samples by label set.
    pub(super) fn all(&self) -> BTreeMap<String, Vec<(i64, f64)>> {
        let mut out: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
        for shard in self.shards.borrow().iter() {
            for (labels, samples) in shard.retired.iter().chain(&shard.series) {
                out.entry(labels.to_string()).or_default().extend(samples);
            }
        }
        out
    }

    pub(super) fn samples(&self, series: &str) -> Vec<(i64, f64)> {
        self.all().remove(series).unwrap_or_default()
    }

    pub(super) fn values(&self, series: &str) -> Vec<f64> {
        self.samples(series).into_iter().map(|(_, v)| v).collect()
    }

    /// Label sets that came with batches.
    pub(super) fn labels_sent(&self) -> usize {
        self.labels_sent.get()
    }

    /// Forgets all references, as shards do when they drop old series.
    pub(super) fn forget_references(&self) {
        for shard in self.shards.borrow_mut().iter_mut() {
            shard.generation += 1;
            let old = std::mem::take(&mut shard.series);
            shard.retired.extend(old);
        }
    }
}

impl AppendTarget for Recorder {
    fn shard_count(&self) -> usize {
        self.shards.borrow().len()
    }

    fn shard_of(&self, route_hash: u64) -> usize {
        (route_hash % self.shard_count() as u64) as usize
    }

    async fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<AppendOutcome, AppendError> {
        assert_eq!(mode, AppendMode::Partial);
        tokio::task::yield_now().await;
        self.batches.set(self.batches.get() + 1);
        self.labels_sent
            .set(self.labels_sent.get() + batch.new_series.len());
        let mut shards = self.shards.borrow_mut();
        let shard = shards.get_mut(shard).unwrap();
        let mut outcome = AppendOutcome::default();
        for i in 0..batch.new_series.len() {
            let labels = Labels::from_canonical(batch.new_series.get(i).unwrap()).unwrap();
            let at = shard.series.iter().position(|(l, _)| *l == labels);
            let index = at.unwrap_or_else(|| {
                shard.series.push((labels, Vec::new()));
                outcome.series_added += 1;
                shard.series.len() - 1
            });
            outcome.created.push(Some(SeriesRef {
                index: index as u32,
                generation: shard.generation,
            }));
        }
        for (i, series) in batch.series.iter().enumerate() {
            let reference = match series {
                SampleSeries::Known(reference) => *reference,
                SampleSeries::New(index) => outcome.created[*index as usize].unwrap(),
            };
            let (time, value) = (batch.timestamps[i], batch.values[i]);
            let known = reference.generation == shard.generation;
            let slot = shard
                .series
                .get_mut(reference.index as usize)
                .filter(|_| known);
            let reason = match slot {
                None => RejectReason::UnknownSeries,
                Some(_) if batch.timestamp_max.is_some_and(|max| time > max) => {
                    RejectReason::OutOfBounds
                }
                Some((_, samples)) => match samples.last() {
                    Some((last, _)) if *last > time => RejectReason::OutOfOrder,
                    Some((last, old)) if *last == time => {
                        if old.to_bits() == value.to_bits() {
                            outcome.accepted += 1;
                            continue;
                        }
                        RejectReason::DuplicateTimestamp
                    }
                    _ => {
                        samples.push((time, value));
                        outcome.accepted += 1;
                        continue;
                    }
                },
            };
            outcome.rejections.push(Rejection {
                sample: i as u32,
                reason,
            });
        }
        Ok(outcome)
    }
}
