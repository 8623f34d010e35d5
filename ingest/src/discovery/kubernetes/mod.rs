//! `kubernetes_sd_configs`: targets from the Kubernetes API, by listing and watching.
//!
//! Promise: what the API says is what is scraped, a moment later; while the API is away, what it said last stays.
//! The client is our own: `docs/decisions/0016-kubernetes-client.md` says why.

mod access;
pub mod config;
mod endpoints;
mod meta;
mod objects;
mod plain;
mod pods;
mod role;
mod watch;

use super::updates::{Discoverer, ProviderContext, Updates};
use crate::http_client::HttpClient;
use access::{Access, SERVICE_ACCOUNT, access};
use config::{KubernetesSdConfig, Role};
use futures_util::future::BoxFuture;
use objects::Kind;
use role::RoleLoop;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
pub(in crate::discovery) use watch::Pace;
use watch::Watch;

/// Changes that may wait for a role; beyond them the watches wait.
const CHANGES_QUEUED_MAX: usize = 1024;

impl Role {
    fn kind(self) -> Kind {
        match self {
            Role::Node => Kind::Node,
            Role::Pod => Kind::Pod,
            Role::Service => Kind::Service,
            Role::Endpoints => Kind::Endpoints,
            Role::EndpointSlice => Kind::EndpointSlice,
            Role::Ingress => Kind::Ingress,
        }
    }
}

/// One `kubernetes_sd_configs` entry at work.
#[derive(Debug)]
pub(super) struct KubernetesDiscovery {
    config: KubernetesSdConfig,
    base: Arc<str>,
    client: Arc<HttpClient>,
    namespaces: Vec<String>,
    pace: Pace,
}

impl KubernetesDiscovery {
    /// Reads how to reach the API; fails when that cannot be known.
    pub(super) fn new(
        config: KubernetesSdConfig,
        context: &ProviderContext,
    ) -> Result<Self, String> {
        let Access { base, http } = access(&config.api)?;
        let mut namespaces = config.namespaces.clone();
        if config.own_namespace {
            let path = Path::new(SERVICE_ACCOUNT).join("namespace");
            let own = std::fs::read_to_string(&path)
                .map_err(|e| format!("could not determine the pod's namespace: {e}"))?;
            namespaces.push(own.trim().to_owned());
        }
        if namespaces.is_empty() || config.role == Role::Node {
            namespaces = vec![String::new()];
        }
        namespaces.sort();
        namespaces.dedup();
        for event in ["add", "delete", "update"] {
            let labels = [("event", event), ("role", config.role.kind().role())];
            context
                .counters
                .show("prometheus_sd_kubernetes_events_total", &labels);
        }
        context
            .counters
            .show("prometheus_sd_kubernetes_failures_total", &[]);
        Ok(KubernetesDiscovery {
            client: Arc::new(HttpClient::new(http)),
            base: base.into(),
            namespaces,
            config,
            pace: Pace::default(),
        })
    }

    /// With other times, for tests.
    #[cfg(test)]
    pub(super) fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// What has to be watched for the role.
    fn kinds(&self) -> Vec<Kind> {
        let attach = self.config.attach;
        let mut kinds = vec![self.config.role.kind()];
        if matches!(self.config.role, Role::Endpoints | Role::EndpointSlice) {
            kinds.extend([Kind::Service, Kind::Pod]);
        }
        if attach.node
            && matches!(
                self.config.role,
                Role::Pod | Role::Endpoints | Role::EndpointSlice
            )
        {
            kinds.push(Kind::Node);
        }
        if attach.namespace && self.config.role != Role::Node {
            kinds.push(Kind::Namespace);
        }
        kinds
    }

    fn watch(&self, kind: Kind, namespace: &str) -> Watch {
        let selectors = self.config.selectors.iter();
        let selector = selectors.rev().find(|s| s.role.kind() == kind);
        Watch {
            kind,
            namespace: namespace.to_owned(),
            label_selector: selector.map_or_else(String::new, |s| s.label.clone()),
            field_selector: selector.map_or_else(String::new, |s| s.field.clone()),
            base: Arc::clone(&self.base),
            client: Arc::clone(&self.client),
            pace: self.pace,
        }
    }
}

impl Discoverer for KubernetesDiscovery {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let kinds = self.kinds();
            // Dropping the set ends its tasks.
            let mut tasks = JoinSet::new();
            for namespace in &self.namespaces {
                let (sender, receiver) = mpsc::channel(CHANGES_QUEUED_MAX);
                for kind in &kinds {
                    let watch = self.watch(*kind, namespace);
                    tasks.spawn(watch.run(sender.clone(), updates.clone()));
                }
                let role = RoleLoop::new(self.config.role.kind(), &kinds, self.config.attach);
                tasks.spawn(role.run(receiver, updates.clone()));
            }
            while tasks.join_next().await.is_some() {}
        })
    }
}
