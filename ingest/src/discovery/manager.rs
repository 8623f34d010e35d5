//! All providers of one consumer (scraping, alerting): who shares which, what they have found, and when that is told.
//!
//! Promise: jobs with equal configurations share one provider; a reload leaves providers alone that are still wanted,
//! and a new job of a running provider has its targets at once. The consumer is told at most once per throttle interval,
//! and without delay after a quiet time. Not here: how targets are found (the mechanisms), relabeling (`scrape::target`).

use super::counters::DiscoveryCounters;
use super::group::TargetGroup;
use super::provider::{ProviderConfig, Start};
use super::updates::{ProviderContext, Update, Updates};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long the consumer has peace after it was told, unless the user says otherwise.
pub const THROTTLE_DEFAULT: Duration = Duration::from_secs(5);

/// Runs providers. Cheap to clone.
#[derive(Clone)]
pub struct DiscoveryManager {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    counters: Arc<DiscoveryCounters>,
    state: Mutex<State>,
    /// Something changed since the consumer was told.
    changed: Notify,
    received: AtomicU64,
    sent: AtomicU64,
    failed_configs: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Providers of each job, in the order of its configuration.
    jobs: BTreeMap<String, Vec<u64>>,
    providers: BTreeMap<u64, Provider>,
    next_provider: u64,
    /// Jobs whose groups changed since the consumer was told.
    dirty: BTreeSet<String>,
    sender: Option<JoinHandle<()>>,
    stopped: bool,
}

struct Provider {
    config: ProviderConfig,
    groups: BTreeMap<SourceKey, Arc<TargetGroup>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Orders sources as people would: `file:2` before `file:10`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SourceKey {
    prefix: String,
    number: Option<u64>,
    source: String,
}

impl SourceKey {
    fn of(source: &str) -> Self {
        let prefix = source.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = source.get(prefix.len()..).unwrap_or_default();
        SourceKey {
            prefix: prefix.to_owned(),
            number: digits.parse().ok(),
            source: source.to_owned(),
        }
    }
}

/// Self metrics of one manager; its label `name` is the consumer's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerStats {
    /// `prometheus_sd_received_updates_total`
    pub received_updates: u64,
    /// `prometheus_sd_updates_total`
    pub sent_updates: u64,
    /// `prometheus_sd_failed_configs`
    pub failed_configs: u64,
    /// `prometheus_sd_discovered_targets` by job.
    pub discovered_targets: BTreeMap<String, u64>,
}

impl std::fmt::Debug for DiscoveryManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscoveryManager").finish_non_exhaustive()
    }
}

impl DiscoveryManager {
    /// A manager without jobs; its providers run on `runtime`.
    pub fn new(runtime: Handle, counters: Arc<DiscoveryCounters>) -> Self {
        let shared = Shared {
            runtime,
            counters,
            state: Mutex::default(),
            changed: Notify::new(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            failed_configs: AtomicU64::new(0),
        };
        DiscoveryManager {
            shared: Arc::new(shared),
        }
    }

    /// Calls `told` with the names of the jobs whose groups changed, at most once per `throttle`. A second call
    /// replaces the first one's listener.
    pub fn tell(&self, throttle: Duration, told: impl Fn(Vec<String>) + Send + Sync + 'static) {
        let weak = Arc::downgrade(&self.shared);
        let sender = self
            .shared
            .runtime
            .spawn(send_changes(weak, throttle, told));
        if let Some(old) = self.shared.state().sender.replace(sender) {
            old.abort();
        }
    }

    /// Makes these the jobs and their providers.
    pub fn apply(&self, jobs: &BTreeMap<String, Vec<ProviderConfig>>) {
        let mut state = self.shared.state();
        if state.stopped {
            return;
        }
        let mut failed = 0;
        let mut next_jobs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (job, configs) in jobs {
            let mut ids: Vec<u64> = Vec::new();
            for config in configs {
                let known = state
                    .providers
                    .iter()
                    .find(|(_, provider)| provider.config == *config)
                    .map(|(id, _)| *id);
                let id = match known {
                    Some(id) => id,
                    None => match self.start(&mut state, job, config) {
                        Some(id) => id,
                        None => {
                            failed += 1;
                            continue;
                        }
                    },
                };
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            next_jobs.insert(job.clone(), ids);
        }
        let wanted: BTreeSet<u64> = next_jobs.values().flatten().copied().collect();
        state.providers.retain(|id, _| wanted.contains(id));
        state.dirty.retain(|job| next_jobs.contains_key(job));
        state.jobs = next_jobs;
        self.shared.failed_configs.store(failed, Ordering::Relaxed);
    }

    fn start(&self, state: &mut State, job: &str, config: &ProviderConfig) -> Option<u64> {
        let id = state.next_provider;
        let mut provider = Provider {
            config: config.clone(),
            groups: BTreeMap::new(),
            task: None,
        };
        let mechanism = config.mechanism();
        let context = ProviderContext {
            job: job.to_owned(),
            mechanism,
            counters: Arc::clone(&self.shared.counters),
        };
        match config.start(&context) {
            Ok(Start::Ready(groups)) => {
                provider.set(Update::All(groups));
            }
            Ok(Start::Run(discoverer)) => {
                let weak = Arc::downgrade(&self.shared);
                let updates = Updates::new(context, move |update| {
                    if let Some(shared) = weak.upgrade() {
                        shared.receive(id, update);
                    }
                });
                provider.task = Some(self.shared.runtime.spawn(discoverer.run(updates)));
            }
            Err(error) => {
                tracing::error!(
                    component = "discovery manager",
                    err = error,
                    r#type = mechanism,
                    config = job,
                    "Cannot create service discovery"
                );
                return None;
            }
        }
        state.providers.insert(id, provider);
        state.next_provider += 1;
        Some(id)
    }

    /// The groups of a job: provider by provider, then by source.
    pub fn groups(&self, job: &str) -> Vec<Arc<TargetGroup>> {
        let state = self.shared.state();
        let ids = state.jobs.get(job).into_iter().flatten();
        ids.filter_map(|id| state.providers.get(id))
            .flat_map(|provider| provider.groups.values().cloned())
            .collect()
    }

    /// Ends all providers.
    pub fn shut_down(&self) {
        let mut state = self.shared.state();
        state.stopped = true;
        state.jobs.clear();
        state.providers.clear();
        if let Some(sender) = state.sender.take() {
            sender.abort();
        }
    }

    /// Self metrics of this manager.
    pub fn stats(&self) -> ManagerStats {
        let state = self.shared.state();
        let targets_of = |ids: &Vec<u64>| -> u64 {
            let groups = ids
                .iter()
                .filter_map(|id| state.providers.get(id))
                .flat_map(|p| p.groups.values());
            groups.map(|g| g.targets.len() as u64).sum()
        };
        ManagerStats {
            received_updates: self.shared.received.load(Ordering::Relaxed),
            sent_updates: self.shared.sent.load(Ordering::Relaxed),
            failed_configs: self.shared.failed_configs.load(Ordering::Relaxed),
            discovered_targets: state
                .jobs
                .iter()
                .map(|(job, ids)| (job.clone(), targets_of(ids)))
                .collect(),
        }
    }

    /// Self metrics of the mechanisms.
    pub fn counters(&self) -> &Arc<DiscoveryCounters> {
        &self.shared.counters
    }
}

/// Tells the consumer, then gives it peace; ends with the manager.
async fn send_changes(shared: Weak<Shared>, throttle: Duration, told: impl Fn(Vec<String>)) {
    loop {
        let names = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            // Bounded, so that the manager may go while this waits.
            let _ = tokio::time::timeout(Duration::from_secs(1), shared.changed.notified()).await;
            let mut state = shared.state();
            std::mem::take(&mut state.dirty)
        };
        if names.is_empty() {
            continue;
        }
        if let Some(shared) = shared.upgrade() {
            shared.sent.fetch_add(1, Ordering::Relaxed);
        }
        told(names.into_iter().collect());
        tokio::time::sleep(throttle).await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, id: u64, update: Update) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let Some(provider) = state.providers.get_mut(&id) else {
            return;
        };
        if !provider.set(update) {
            return;
        }
        let jobs: Vec<String> = state
            .jobs
            .iter()
            .filter(|(_, ids)| ids.contains(&id))
            .map(|(job, _)| job.clone())
            .collect();
        state.dirty.extend(jobs);
        drop(state);
        self.changed.notify_one();
    }
}

impl Provider {
    /// Takes an update; false when nothing changed by it.
    fn set(&mut self, update: Update) -> bool {
        match update {
            Update::All(groups) => {
                let next: BTreeMap<SourceKey, Arc<TargetGroup>> = groups
                    .into_iter()
                    .filter(|group| !group.targets.is_empty())
                    .map(|group| (SourceKey::of(&group.source), Arc::new(group)))
                    .collect();
                let changed = next != self.groups;
                self.groups = next;
                changed
            }
            Update::Some(groups) => {
                let mut changed = false;
                for group in groups {
                    let key = SourceKey::of(&group.source);
                    if group.targets.is_empty() {
                        changed |= self.groups.remove(&key).is_some();
                    } else if self.groups.get(&key).is_none_or(|old| **old != group) {
                        self.groups.insert(key, Arc::new(group));
                        changed = true;
                    }
                }
                changed
            }
        }
    }
}
