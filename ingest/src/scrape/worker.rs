//! Where loops run: a worker keeps the loops of its targets on one thread, as the manager assigns them.
//!
//! Promise: the wish list is state, not a queue, so it is bounded by the number of targets. A worker that ends (its future
//! is dropped, or the manager shuts down) aborts its loops without writing staleness markers.

use super::active::ActiveTarget;
use super::counters::ScrapeCounters;
use super::target_loop::{BufferPool, LoopContext, TargetLoop};
use crate::append::AppendTarget;
use crate::clock::Clock;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// The targets that a worker should be scraping.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    targets: BTreeMap<u64, Arc<ActiveTarget>>,
    offset_seed: u64,
    shutdown: bool,
}

impl Assignment {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, target: Arc<ActiveTarget>) {
        self.wanted().targets.insert(target.id, target);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, id: u64) {
        self.wanted().targets.remove(&id);
        self.changed.notify_one();
    }

    pub(super) fn set_offset_seed(&self, seed: u64) {
        self.wanted().offset_seed = seed;
    }

    pub(super) fn shut_down(&self) {
        self.wanted().shutdown = true;
        self.changed.notify_one();
    }
}

/// A seat for scrape loops on one gateway thread.
pub struct ScrapeWorker {
    pub(super) assignment: Arc<Assignment>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<ScrapeCounters>,
}

impl std::fmt::Debug for ScrapeWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrapeWorker").finish_non_exhaustive()
    }
}

impl ScrapeWorker {
    /// Runs the loops until the manager shuts down. To be awaited inside a tokio `LocalSet`.
    pub async fn run<A: AppendTarget + 'static>(self, store: A) {
        let store = Rc::new(store);
        let buffers = Rc::new(BufferPool::default());
        let mut loops = JoinSet::new();
        let mut running: HashMap<u64, watch::Sender<bool>> = HashMap::new();
        loop {
            let offset_seed = {
                let wanted = self.assignment.wanted();
                if wanted.shutdown {
                    return;
                }
                running.retain(|id, stop| {
                    let keep = wanted.targets.contains_key(id);
                    if !keep {
                        stop.send_replace(true);
                    }
                    keep
                });
                wanted.offset_seed
            };
            let missing: Vec<Arc<ActiveTarget>> = {
                let wanted = self.assignment.wanted();
                let new = wanted.targets.values();
                new.filter(|t| !running.contains_key(&t.id))
                    .cloned()
                    .collect()
            };
            for target in missing {
                let (stop, stopped) = watch::channel(false);
                running.insert(target.id, stop);
                let context = LoopContext {
                    store: Rc::clone(&store),
                    clock: Arc::clone(&self.clock),
                    counters: Arc::clone(&self.counters),
                    buffers: Rc::clone(&buffers),
                    offset_seed,
                };
                loops.spawn_local(TargetLoop::new(context, target).run(stopped));
            }
            tokio::select! {
                () = self.assignment.changed.notified() => {}
                Some(ended) = loops.join_next(), if !loops.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "BUG: a scrape loop ended by a panic");
                    }
                }
            }
        }
    }
}
