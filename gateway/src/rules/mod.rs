//! Rules at work: the groups of the configuration in force, each with a task of its own that evaluates it in its slots.
//!
//! Promise: a reload leaves unchanged groups alone, and a changed one keeps the alerts and series of every rule that keeps its name and labels.
//! A group is evaluated on a thread of its own, never on a worker's; at most [`GROUPS_EVALUATING_MAX`] at once.
//! Not here: what an evaluation does (`rules`), where alerts go (`notify`).
//!
//! [`GROUPS_EVALUATING_MAX`]: crate::limits::GROUPS_EVALUATING_MAX

mod load;
mod metrics;
mod runner;
mod world;

pub use load::{LoadedRules, check_text, expand_globs, load};
pub use metrics::write_metrics;
pub use world::{external_url, vector};

use crate::query_slots::QuerySlots;
use crate::self_metrics::Summary;
use ::rules::group::{Group, RestoreOptions};
use ::rules::schedule::NS_PER_MS;
use ::rules::source::{External, Notify};
use arc_swap::ArcSwap;
use query_engine::engine::Engine;
use query_engine::parse::ParserOptions;
use runner::Order;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage_engine::store::Store;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// The flags of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleFlags {
    /// `--rules.alert.for-outage-tolerance`
    pub outage_tolerance: Duration,
    /// `--rules.alert.for-grace-period`
    pub grace_period: Duration,
    /// `--rules.alert.resend-delay`
    pub resend_delay: Duration,
    /// `--rules.max-concurrent-evals`; 0 unless `concurrent-rule-eval` is on.
    pub concurrent_max: usize,
    /// `--query.timeout`
    pub query_timeout: Duration,
}

/// What of a configuration concerns rules.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    /// The files, read and checked.
    pub files: LoadedRules,
    /// `global.evaluation_interval`, milliseconds.
    pub interval_ms: i64,
    /// `global.rule_query_offset`, milliseconds.
    pub query_offset_ms: i64,
    /// Labels and URL of this server.
    pub external: External,
    /// What the language has switched on.
    pub parser: ParserOptions,
}

/// Runs the groups. Cheap to clone.
#[derive(Clone)]
pub struct RuleManager {
    inner: Arc<Inner>,
}

/// What all groups share.
pub(crate) struct Inner {
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Arc<ArcSwap<Engine>>,
    pub(crate) queries: Arc<QuerySlots>,
    pub(crate) notify: Arc<dyn Notify>,
    pub(crate) flags: RuleFlags,
    pub(crate) runtime: Handle,
    pub(crate) shared: ArcSwap<Shared>,
    /// Rules that run beside others, over all groups.
    pub(crate) beside: Semaphore,
    /// Groups that are evaluated at once.
    pub(crate) evaluating: Arc<Semaphore>,
    pub(crate) rule_time: Summary,
    pub(crate) group_time: Summary,
    running: Mutex<Vec<Running>>,
}

/// What a reload changes for all groups.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) external: Arc<External>,
    pub(crate) query_offset_ms: i64,
}

struct Running {
    group: Arc<Group>,
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// Quantiles of `prometheus_rule_group_duration_seconds`.
const GROUP_QUANTILES: &[f64] = &[0.01, 0.05, 0.5, 0.9, 0.99];

impl RuleManager {
    /// A manager without groups; its tasks run on `runtime`.
    pub fn new(
        store: Arc<Store>,
        engine: Arc<ArcSwap<Engine>>,
        queries: Arc<QuerySlots>,
        notify: Arc<dyn Notify>,
        flags: RuleFlags,
        runtime: Handle,
    ) -> Self {
        let inner = Inner {
            store,
            engine,
            queries,
            notify,
            flags,
            runtime,
            shared: ArcSwap::default(),
            beside: Semaphore::new(flags.concurrent_max.min(Semaphore::MAX_PERMITS)),
            evaluating: Arc::new(Semaphore::new(crate::limits::GROUPS_EVALUATING_MAX)),
            rule_time: Summary::default(),
            group_time: Summary::with_quantiles(GROUP_QUANTILES),
            running: Mutex::default(),
        };
        RuleManager {
            inner: Arc::new(inner),
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// All groups in order of file and name.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.running()
            .iter()
            .map(|r| Arc::clone(&r.group))
            .collect()
    }

    /// Puts settings in force. `first` at the start of the process: then alerts are restored.
    pub async fn apply(&self, settings: &RuleSettings, first: bool) {
        self.inner.shared.store(Arc::new(Shared {
            external: Arc::new(settings.external.clone()),
            query_offset_ms: settings.query_offset_ms,
        }));
        let mut old = std::mem::take(&mut *self.running());
        let mut next = Vec::new();
        for (file, spec) in settings.files.groups() {
            let made = Group::new(spec, file, settings.interval_ms, &settings.parser, !first);
            let mut group = match made {
                Ok(group) => group,
                Err(error) => {
                    // The files were checked with the same parser.
                    tracing::error!(
                        component = "rule manager",
                        file,
                        group = spec.name,
                        err = error,
                        "Rule group cannot be made"
                    );
                    continue;
                }
            };
            let before = old
                .iter()
                .position(|r| r.group.file() == group.file() && r.group.name() == group.name());
            match before.map(|index| old.swap_remove(index)) {
                Some(before) if before.group.is_same(&group) => next.push(before),
                Some(before) => {
                    before.order.send_replace(Order::Stop);
                    // Its last evaluation is awaited, so that its state is whole.
                    let _ = before.task.await;
                    group.take_over(&before.group);
                    next.push(self.start(group, first));
                }
                None => next.push(self.start(group, first)),
            }
        }
        for gone in old {
            gone.order.send_replace(Order::End);
        }
        next.sort_by(|a, b| {
            let key = |r: &Running| (r.group.file().to_owned(), r.group.name().to_owned());
            key(a).cmp(&key(b))
        });
        *self.running() = next;
    }

    fn start(&self, group: Group, restore: bool) -> Running {
        let group = Arc::new(group);
        let (order, orders) = watch::channel(Order::Go);
        let work = runner::run(Arc::clone(&self.inner), Arc::clone(&group), orders, restore);
        Running {
            group,
            order,
            task: self.inner.runtime.spawn(work),
        }
    }

    /// Stops all groups without staleness markers, and waits for evaluations under way.
    pub async fn shut_down(&self) {
        let running = std::mem::take(&mut *self.running());
        for one in &running {
            one.order.send_replace(Order::Stop);
        }
        for one in running {
            let _ = one.task.await;
        }
    }
}

impl RuleFlags {
    pub(crate) fn restore(&self) -> RestoreOptions {
        RestoreOptions {
            outage_tolerance_ns: nanos(self.outage_tolerance),
            grace_period_ns: nanos(self.grace_period),
        }
    }
}

/// A duration as rules count it.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .saturating_mul(NS_PER_MS)
}
