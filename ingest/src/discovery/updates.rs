//! The word of a discovery mechanism: what runs, and where it puts what it has found.
//!
//! Promise: what a provider has sent stays in force until it sends something else; failing is silence.
//! Not here: which providers run for whom (`manager`).

use super::counters::DiscoveryCounters;
use super::group::TargetGroup;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A mechanism at work. The manager runs it as a task of its own and drops that task when nobody wants it any more.
pub trait Discoverer: Send + 'static {
    /// Finds targets until dropped.
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()>;
}

/// One change of a provider's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// These are all groups; others of the provider are gone.
    All(Vec<TargetGroup>),
    /// These groups replace those with the same source; one without targets removes it.
    Some(Vec<TargetGroup>),
}

/// Where a provider puts what it has found.
#[derive(Clone)]
pub struct Updates {
    sink: Arc<dyn Fn(Update) + Send + Sync>,
    /// For self metrics and log lines.
    pub context: ProviderContext,
}

/// Who a provider works for.
#[derive(Debug, Clone)]
pub struct ProviderContext {
    /// The job that asked first: label `config` of self metrics.
    pub job: String,
    /// The mechanism: `http`, `dns` …
    pub mechanism: &'static str,
    /// Self metrics of all providers.
    pub counters: Arc<DiscoveryCounters>,
}

impl std::fmt::Debug for Updates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updates")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Updates {
    /// Sends every update to `sink`.
    pub fn new(context: ProviderContext, sink: impl Fn(Update) + Send + Sync + 'static) -> Self {
        Updates {
            sink: Arc::new(sink),
            context,
        }
    }

    /// These are all groups now.
    pub fn replace(&self, groups: Vec<TargetGroup>) {
        (self.sink)(Update::All(groups));
    }

    /// These groups changed; one without targets is gone.
    pub fn update(&self, groups: Vec<TargetGroup>) {
        (self.sink)(Update::Some(groups));
    }

    /// Logs a failure as Prometheus's discoveries do.
    pub fn log_failure(&self, message: &str, error: &str) {
        tracing::error!(
            component = "discovery manager",
            discovery = self.context.mechanism,
            config = self.context.job,
            err = error,
            "{message}"
        );
    }
}

/// A mechanism that asks anew at every interval.
pub trait Refresher: Send + 'static {
    /// All groups as of now.
    fn refresh(&mut self) -> BoxFuture<'_, Result<Vec<TargetGroup>, String>>;
}

/// Runs a [`Refresher`] at an interval.
#[derive(Debug)]
pub struct Refreshing<R> {
    refresher: R,
    interval: Duration,
}

impl<R: Refresher> Refreshing<R> {
    /// Asks at once, then at every interval.
    pub fn new(refresher: R, interval: Duration) -> Self {
        Refreshing {
            refresher,
            interval: interval.max(Duration::from_millis(1)),
        }
    }
}

impl<R: Refresher> Discoverer for Refreshing<R> {
    fn run(mut self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut tick = interval(self.interval);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let context = updates.context.clone();
            loop {
                tick.tick().await;
                let start = Instant::now();
                let found = self.refresher.refresh().await;
                let failed = found.is_err();
                context.counters.observe_refresh(
                    context.mechanism,
                    &context.job,
                    start.elapsed(),
                    failed,
                );
                match found {
                    Ok(groups) => updates.replace(groups),
                    Err(error) => updates.log_failure("Unable to refresh target groups", &error),
                }
            }
        })
    }
}
