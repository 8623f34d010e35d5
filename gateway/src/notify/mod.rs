//! Alerts on their way to Alertmanagers.
//!
//! Promise: what a rule tells is in the queue of every Alertmanager before its evaluation goes on, the newest always; a slow or absent receiver
//! costs the others nothing. As in Prometheus a batch is sent once: an alert that still fires is told again after the resend delay. At the end of
//! the process queues are emptied first.
//! Not here: which alerts there are (`rules`), finding Alertmanagers (`ingest::discovery`).

mod message;
mod metrics;
mod queue;
mod set;

pub use message::Message;
pub use metrics::write_metrics;
pub use set::SetSettings;

use crate::limits::NOTIFY_DRAIN_MAX;
use ::rules::alert::Alert;
use ::rules::link::table_link;
use ::rules::source::{External, Notify};
use ingest::discovery::{DiscoveryCounters, DiscoveryManager, THROTTLE_DEFAULT};
use ingest::relabel::{Rule, Verdict, process};
use set::AlertmanagerSet;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage_engine::model::LabelsBuilder;
use tokio::runtime::Handle;

/// The flags of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotifyFlags {
    /// `--alertmanager.notification-queue-capacity`
    pub queue_capacity: usize,
    /// `--alertmanager.notification-batch-size`
    pub batch_size: usize,
    /// `--alertmanager.drain-notification-queue-on-shutdown`
    pub drain: bool,
}

/// What of a configuration concerns notifications.
#[derive(Debug, Clone, Default)]
pub struct NotifySettings {
    /// Labels and URL of this server.
    pub external: External,
    /// `alerting.alert_relabel_configs`
    pub relabel: Vec<Rule>,
    /// `alerting.alertmanagers`
    pub sets: Vec<SetSettings>,
}

/// Sends alerts. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    flags: NotifyFlags,
    runtime: Handle,
    discovery: DiscoveryManager,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    external: External,
    relabel: Vec<Rule>,
    /// By the name under which discovery knows them.
    sets: BTreeMap<String, AlertmanagerSet>,
    stopped: bool,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    /// A notifier without receivers; it works on `runtime`, and counts what its discovery does where others count theirs.
    pub fn new(flags: NotifyFlags, counters: Arc<DiscoveryCounters>, runtime: Handle) -> Self {
        let discovery = DiscoveryManager::new(runtime.clone(), counters);
        let inner = Arc::new(Inner {
            flags,
            runtime,
            discovery,
            state: Mutex::default(),
        });
        let weak = Arc::downgrade(&inner);
        inner.discovery.tell(THROTTLE_DEFAULT, move |names| {
            if let Some(inner) = weak.upgrade() {
                inner.sync(&names);
            }
        });
        Notifier { inner }
    }

    /// Who finds Alertmanagers.
    pub fn discovery(&self) -> &DiscoveryManager {
        &self.inner.discovery
    }

    /// Puts settings in force. Receivers of an unchanged section keep their queues.
    pub fn apply(&self, settings: NotifySettings) {
        let inner = &self.inner;
        let mut state = inner.state();
        if state.stopped {
            return;
        }
        state.external = settings.external;
        state.relabel = settings.relabel;
        let mut old = std::mem::take(&mut state.sets);
        let mut providers = BTreeMap::new();
        for (index, settings) in settings.sets.into_iter().enumerate() {
            // The name that Prometheus gives the section.
            let name = format!("config-{index}");
            providers.insert(name.clone(), settings.discovery.clone());
            let same = old
                .iter()
                .find(|(_, set)| *set.settings() == settings)
                .map(|(name, _)| name.clone());
            let set = match same.and_then(|name| old.remove(&name)) {
                Some(set) => set,
                None => AlertmanagerSet::new(settings),
            };
            state.sets.insert(name, set);
        }
        drop(old);
        drop(state);
        inner.discovery.apply(&providers);
        let names: Vec<String> = providers.into_keys().collect();
        inner.sync(&names);
    }

    /// URLs of the Alertmanagers that hear of alerts, and of those that relabeling dropped.
    pub fn alertmanagers(&self) -> (Vec<String>, Vec<String>) {
        let state = self.inner.state();
        let mut active = Vec::new();
        let mut dropped = Vec::new();
        for set in state.sets.values() {
            active.extend(set.queues().map(|queue| queue.url().to_owned()));
            dropped.extend_from_slice(set.dropped());
        }
        (active, dropped)
    }

    /// Takes no more alerts, sends what waits (unless `--alertmanager.drain-notification-queue-on-shutdown` is off), and ends.
    pub async fn shut_down(&self) {
        let sets = {
            let mut state = self.inner.state();
            state.stopped = true;
            std::mem::take(&mut state.sets)
        };
        self.inner.discovery.shut_down();
        let ends = sets.into_values().flat_map(AlertmanagerSet::into_ends);
        let all = futures_util::future::join_all(ends);
        if tokio::time::timeout(NOTIFY_DRAIN_MAX, all).await.is_err() {
            tracing::warn!(
                component = "notifier",
                "Alert notification queues could not be drained in time"
            );
        }
    }
}

impl Inner {
    /// Looks anew at what discovery has found for these sections.
    fn sync(self: &Arc<Self>, names: &[String]) {
        let mut state = self.state();
        for name in names {
            let groups = self.discovery.groups(name);
            if let Some(set) = state.sets.get_mut(name) {
                set.sync(&groups, self.flags, &self.runtime);
            }
        }
    }
}

impl Notify for Notifier {
    fn notify(&self, expr: &str, alerts: &[Alert]) {
        if alerts.is_empty() {
            return;
        }
        let state = self.inner.state();
        let generator_url = format!("{}{}", state.external.url, table_link(expr));
        let mut messages = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let mut labels = LabelsBuilder::new(&alert.labels);
            for (name, value) in &state.external.labels {
                if labels.get(name).is_empty() {
                    labels.set(name, value);
                }
            }
            if process(&mut labels, &state.relabel) == Verdict::Keep {
                messages.push(Arc::new(Message::new(
                    alert,
                    labels.build(),
                    &generator_url,
                )));
            }
        }
        if messages.is_empty() {
            return;
        }
        for set in state.sets.values() {
            set.send(&messages);
        }
    }
}
