//! All scrape jobs of the process: reloads, discovery, the list of targets, and the answers that the API needs.
//!
//! Promise: every method may be called from any thread and returns at once. A reload leaves unchanged jobs and
//! unchanged targets alone: their loops, schedules and caches go on. Not here: the scraping itself (`target_loop`).

use super::active::{ActiveTarget, Health, PoolSettings};
use super::config::ScrapeConfig;
use super::counters::{ScrapeCounters, SummaryTotals};
use super::target::{Relabeled, Target, targets_of_group};
use super::worker::{Assignment, ScrapeWorker};
use crate::clock::Clock;
use crate::discovery::{DiscoveryManager, THROTTLE_DEFAULT};
use crate::metadata::MetricMetadata;
use crate::relabel::Rule;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage_engine::model::Labels;
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The scrape side of the server. Cheap to clone.
#[derive(Clone)]
pub struct ScrapeManager {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    workers: Vec<Arc<Assignment>>,
    discovery: DiscoveryManager,
    clock: Arc<dyn Clock>,
    counters: Arc<ScrapeCounters>,
    hostname: String,
}

#[derive(Default)]
struct State {
    pools: BTreeMap<String, Pool>,
    next_target: u64,
    stopped: bool,
}

struct Pool {
    settings: Arc<PoolSettings>,
    active: HashMap<TargetKey, Arc<ActiveTarget>>,
    /// Keys in the order of discovery, as the API lists them.
    order: Vec<TargetKey>,
    dropped: Vec<Labels>,
    dropped_count: u64,
    sync: SummaryTotals,
    sync_failed: u64,
    discovered: u64,
}

/// Two targets with the same labels and URL are one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TargetKey {
    labels: Labels,
    url: String,
}

/// A target as `/api/v1/targets` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveTargetSnapshot {
    /// Labels before relabeling.
    pub discovered_labels: Labels,
    /// Labels of its series.
    pub labels: Labels,
    /// Job name.
    pub scrape_pool: String,
    /// What is fetched; see [`super::target::global_url`] for `globalUrl`.
    pub scrape_url: String,
    /// Empty when the last scrape went well.
    pub last_error: String,
    /// Nanoseconds since the epoch; none before the first scrape.
    pub last_scrape_ns: Option<i64>,
    /// Time that the last scrape took.
    pub last_scrape_duration: Duration,
    /// Outcome of the last scrape.
    pub health: Health,
    /// As in the label `__scrape_interval__`.
    pub scrape_interval: String,
    /// As in the label `__scrape_timeout__`.
    pub scrape_timeout: String,
}

/// A target that relabeling dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedTargetSnapshot {
    /// Labels before relabeling.
    pub discovered_labels: Labels,
    /// Job name.
    pub scrape_pool: String,
}

/// All targets at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetsSnapshot {
    /// In order of job name, then of discovery.
    pub active: Vec<ActiveTargetSnapshot>,
    /// At most `keep_dropped_targets` of each job.
    pub dropped: Vec<DroppedTargetSnapshot>,
    /// All that were dropped, by job name.
    pub dropped_counts: BTreeMap<String, u64>,
}

/// Metadata of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMetadataSnapshot {
    /// The target's labels.
    pub target: Labels,
    /// Job name.
    pub scrape_pool: String,
    /// Its families, in order of name.
    pub metadata: Vec<MetricMetadata>,
}

/// Self metrics that have a label `scrape_job`.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStats {
    /// Job name.
    pub scrape_job: String,
    /// `prometheus_sd_discovered_targets`
    pub discovered_targets: u64,
    /// `prometheus_target_scrape_pool_targets`
    pub targets: u64,
    /// `prometheus_target_scrape_pool_target_limit`
    pub target_limit: u64,
    /// `prometheus_target_sync_length_seconds`; its count is `prometheus_target_scrape_pool_sync_total`.
    pub sync: SummaryTotals,
    /// `prometheus_target_sync_failed_total`
    pub sync_failed: u64,
    /// `prometheus_target_metadata_cache_entries`
    pub metadata_entries: u64,
    /// `prometheus_target_metadata_cache_bytes`
    pub metadata_bytes: u64,
}

impl std::fmt::Debug for ScrapeManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrapeManager").finish_non_exhaustive()
    }
}

impl ScrapeManager {
    /// A manager and its workers; each worker is to be run on a thread of its own. Discovery runs on `runtime`.
    /// `hostname` goes into the schedule's seed, so that two servers do not hit a target at the same moment.
    pub fn new(
        worker_count: usize,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        hostname: impl Into<String>,
    ) -> (Self, Vec<ScrapeWorker>) {
        let counters = Arc::new(ScrapeCounters::default());
        let workers: Vec<Arc<Assignment>> =
            (0..worker_count.max(1)).map(|_| Arc::default()).collect();
        let seats = workers
            .iter()
            .map(|assignment| ScrapeWorker {
                assignment: Arc::clone(assignment),
                clock: Arc::clone(&clock),
                counters: Arc::clone(&counters),
            })
            .collect();
        let shared = Shared {
            state: Mutex::default(),
            workers,
            discovery: DiscoveryManager::new(runtime, Arc::default()),
            clock,
            counters,
            hostname: hostname.into(),
        };
        let manager = ScrapeManager {
            shared: Arc::new(shared),
        };
        manager.set_discovery_throttle(THROTTLE_DEFAULT);
        (manager, seats)
    }

    /// `--scrape.discovery-reload-interval`: how long found targets may wait while others were just taken.
    pub fn set_discovery_throttle(&self, throttle: Duration) {
        let weak = Arc::downgrade(&self.shared);
        self.shared.discovery.tell(throttle, move |jobs| {
            let Some(shared) = weak.upgrade() else {
                return;
            };
            let manager = ScrapeManager { shared };
            let mut state = manager.state();
            for job in jobs {
                manager.sync(&mut state, &job);
            }
        });
    }

    /// What finds the targets, for its self metrics.
    pub fn discovery(&self) -> &DiscoveryManager {
        &self.shared.discovery
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes these the jobs. Job names are unique: the configuration's reader has checked that.
    pub fn apply(&self, configs: Vec<ScrapeConfig>, external_labels: &Labels) {
        let seed = xxh3_64_with_seed(
            self.shared.hostname.as_bytes(),
            external_labels.prometheus_hash(),
        );
        for worker in &self.shared.workers {
            worker.set_offset_seed(seed);
        }
        let mut state = self.state();
        if state.stopped {
            return;
        }
        let names: HashSet<&str> = configs.iter().map(|c| c.job_name.as_str()).collect();
        let gone: Vec<String> = state
            .pools
            .keys()
            .filter(|name| !names.contains(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            if let Some(pool) = state.pools.remove(&name) {
                for target in pool.active.values() {
                    self.unassign(target);
                }
            }
        }
        let providers = configs
            .iter()
            .map(|config| (config.job_name.clone(), config.providers()))
            .collect();
        self.shared.discovery.apply(&providers);
        for config in configs {
            let name = config.job_name.clone();
            match state.pools.get_mut(&name) {
                Some(pool) if pool.settings.config == config => continue,
                Some(pool) => {
                    ScrapeCounters::add(&self.shared.counters.pool_reloads, 1);
                    pool.settings = Arc::new(PoolSettings::new(config));
                }
                None => {
                    ScrapeCounters::add(&self.shared.counters.pools, 1);
                    let pool = Pool::new(Arc::new(PoolSettings::new(config)));
                    state.pools.insert(name.clone(), pool);
                }
            }
            self.sync(&mut state, &name);
        }
    }

    /// Turns the groups of a job into targets; starts what is new, stops what is gone.
    fn sync(&self, state: &mut State, name: &str) {
        let start = self.shared.clock.monotonic();
        let mut next_id = state.next_target;
        let Some(pool) = state.pools.get_mut(name) else {
            return;
        };
        let settings = Arc::clone(&pool.settings);
        let config = &settings.config;
        pool.dropped.clear();
        pool.dropped_count = 0;
        pool.discovered = 0;
        let mut wanted: Vec<Target> = Vec::new();
        for group in &self.shared.discovery.groups(name) {
            pool.discovered += group.targets.len() as u64;
            let (targets, failures) = targets_of_group(config, group);
            pool.sync_failed += failures.len() as u64;
            for failure in failures {
                tracing::error!(
                    component = "scrape manager",
                    scrape_pool = name,
                    err = failure,
                    "Creating target failed"
                );
            }
            for target in targets {
                match target {
                    Relabeled::Kept(target) => wanted.push(*target),
                    Relabeled::Dropped(labels) => {
                        let keep = config.keep_dropped_targets;
                        if keep == 0 || (pool.dropped.len() as u64) < keep {
                            pool.dropped.push(labels);
                        }
                        pool.dropped_count += 1;
                    }
                }
            }
        }
        let mut old = std::mem::take(&mut pool.active);
        pool.order.clear();
        for target in wanted {
            let key = TargetKey {
                labels: target.all_labels.clone(),
                url: target.url.clone(),
            };
            if let Some(same) = pool.active.get(&key) {
                // As Prometheus: of targets that relabeling made one, the last one's discovered labels are shown.
                same.refresh(&settings, &target.discovered);
                continue;
            }
            let active = match old.remove(&key) {
                Some(active) => {
                    active.refresh(&settings, &target.discovered);
                    active
                }
                None => {
                    let active =
                        Arc::new(ActiveTarget::new(next_id, target, Arc::clone(&settings)));
                    next_id += 1;
                    self.worker_of(&active).add(Arc::clone(&active));
                    active
                }
            };
            pool.order.push(key.clone());
            pool.active.insert(key, active);
        }
        for target in old.values() {
            self.unassign(target);
        }
        let count = pool.active.len() as u64;
        let limit = config.target_limit;
        let forced = (limit > 0 && count > limit).then(|| {
            ScrapeCounters::add(&self.shared.counters.exceeded_target_limit, 1);
            format!("target_limit exceeded (number of targets: {count}, limit: {limit})")
        });
        for target in pool.active.values() {
            target.set_forced_error(forced.clone());
        }
        let took = self.shared.clock.monotonic().saturating_sub(start);
        pool.sync.observe(took);
        state.next_target = next_id;
    }

    fn worker_of(&self, target: &ActiveTarget) -> &Assignment {
        let workers = &self.shared.workers;
        let index = target.id as usize % workers.len();
        match workers.get(index) {
            Some(worker) => worker,
            None => unreachable!("the index is taken modulo the number of workers"),
        }
    }

    fn unassign(&self, target: &ActiveTarget) {
        self.worker_of(target).remove(target.id);
    }

    /// Ends discovery and all loops, without staleness markers: after a restart the series go on.
    pub fn shut_down(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.pools.clear();
        self.shared.discovery.shut_down();
        for worker in &self.shared.workers {
            worker.shut_down();
        }
    }

    /// Names of the jobs, in order: `/api/v1/scrape_pools`.
    pub fn scrape_pools(&self) -> Vec<String> {
        self.state().pools.keys().cloned().collect()
    }

    /// The relabeling rules of a job; none when there is no such job. `/api/v1/targets/relabel_steps`.
    pub fn relabel_rules(&self, pool: &str) -> Option<Vec<Rule>> {
        let state = self.state();
        let pool = state.pools.get(pool)?;
        Some(pool.settings.config.relabel_configs.clone())
    }

    /// All targets: `/api/v1/targets`.
    pub fn targets(&self) -> TargetsSnapshot {
        let state = self.state();
        let mut out = TargetsSnapshot::default();
        for (name, pool) in &state.pools {
            for active in pool.in_order() {
                let status = active.status();
                let target = &active.target;
                out.active.push(ActiveTargetSnapshot {
                    discovered_labels: active.discovered(),
                    labels: target.labels.clone(),
                    scrape_pool: name.clone(),
                    scrape_url: target.url.clone(),
                    last_error: status.last_error,
                    last_scrape_ns: status.last_scrape_ns,
                    last_scrape_duration: status.last_duration,
                    health: status.health,
                    scrape_interval: target.interval_text().to_owned(),
                    scrape_timeout: target.timeout_text().to_owned(),
                });
            }
            let dropped = pool.dropped.iter().map(|labels| DroppedTargetSnapshot {
                discovered_labels: labels.clone(),
                scrape_pool: name.clone(),
            });
            out.dropped.extend(dropped);
            out.dropped_counts.insert(name.clone(), pool.dropped_count);
        }
        out
    }

    /// Metadata by target: `/api/v1/targets/metadata`, and merged by the caller `/api/v1/metadata`.
    pub fn metadata(&self) -> Vec<TargetMetadataSnapshot> {
        let targets: Vec<(String, Arc<ActiveTarget>)> = {
            let state = self.state();
            let named = |(name, pool): (&String, &Pool)| -> Vec<(String, Arc<ActiveTarget>)> {
                pool.in_order()
                    .map(|t| (name.clone(), Arc::clone(t)))
                    .collect()
            };
            state.pools.iter().flat_map(named).collect()
        };
        targets
            .into_iter()
            .map(|(scrape_pool, active)| {
                let mut metadata: Vec<MetricMetadata> = active.metadata().entries().collect();
                metadata.sort_by(|a, b| a.metric.cmp(&b.metric));
                TargetMetadataSnapshot {
                    target: active.target.labels.clone(),
                    scrape_pool,
                    metadata,
                }
            })
            .collect()
    }

    /// Self metrics by job.
    pub fn pool_stats(&self) -> Vec<PoolStats> {
        let state = self.state();
        state
            .pools
            .iter()
            .map(|(name, pool)| {
                let (mut entries, mut bytes) = (0, 0);
                for active in pool.active.values() {
                    let metadata = active.metadata();
                    entries += metadata.len() as u64;
                    bytes += metadata.text_bytes() as u64;
                }
                PoolStats {
                    scrape_job: name.clone(),
                    discovered_targets: pool.discovered,
                    targets: pool.active.len() as u64,
                    target_limit: pool.settings.config.target_limit,
                    sync: pool.sync,
                    sync_failed: pool.sync_failed,
                    metadata_entries: entries,
                    metadata_bytes: bytes,
                }
            })
            .collect()
    }

    /// Self metrics without a job label.
    pub fn counters(&self) -> &ScrapeCounters {
        &self.shared.counters
    }
}

impl Pool {
    fn new(settings: Arc<PoolSettings>) -> Self {
        Pool {
            settings,
            active: HashMap::new(),
            order: Vec::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            sync: SummaryTotals::default(),
            sync_failed: 0,
            discovered: 0,
        }
    }

    fn in_order(&self) -> impl Iterator<Item = &Arc<ActiveTarget>> {
        self.order.iter().filter_map(|key| self.active.get(key))
    }
}
