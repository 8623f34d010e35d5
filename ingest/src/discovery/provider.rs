//! The settings of one provider, whatever its mechanism, and how it is started.
//!
//! Promise: equal settings are the same provider, so jobs can share it.

use super::aws::ec2::Ec2Discovery;
use super::config::{
    ConsulSdConfig, DnsSdConfig, DockerSdConfig, Ec2SdConfig, FileSdConfig, HttpSdConfig,
    StaticConfig,
};
use super::consul::ConsulDiscovery;
use super::dns::DnsDiscovery;
use super::docker::DockerDiscovery;
use super::file::FileDiscovery;
use super::group::{TargetGroup, static_groups};
use super::http::HttpDiscovery;
use super::kubernetes::KubernetesDiscovery;
use super::kubernetes::config::KubernetesSdConfig;
use super::updates::{Discoverer, ProviderContext, Refresher, Refreshing};
use std::sync::Arc;
use std::time::Duration;

/// Settings of a provider.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProviderConfig {
    /// All `static_configs` of a job.
    Static(Vec<StaticConfig>),
    /// One of `file_sd_configs`.
    File(FileSdConfig),
    /// One of `http_sd_configs`.
    Http(Box<HttpSdConfig>),
    /// One of `dns_sd_configs`.
    Dns(DnsSdConfig),
    /// One of `consul_sd_configs`.
    Consul(Box<ConsulSdConfig>),
    /// One of `docker_sd_configs`.
    Docker(Box<DockerSdConfig>),
    /// One of `ec2_sd_configs`.
    Ec2(Box<Ec2SdConfig>),
    /// One of `kubernetes_sd_configs`.
    Kubernetes(Box<KubernetesSdConfig>),
}

/// What starting a provider yields.
pub(super) enum Start {
    /// Groups that never change.
    Ready(Vec<TargetGroup>),
    /// Something to run.
    Run(Box<dyn Discoverer>),
}

impl ProviderConfig {
    /// The mechanism's name in logs and self metrics.
    pub fn mechanism(&self) -> &'static str {
        match self {
            ProviderConfig::Static(_) => "static",
            ProviderConfig::File(_) => "file",
            ProviderConfig::Http(_) => "http",
            ProviderConfig::Dns(_) => "dns",
            ProviderConfig::Consul(_) => "consul",
            ProviderConfig::Docker(_) => "docker",
            ProviderConfig::Ec2(_) => "ec2",
            ProviderConfig::Kubernetes(_) => "kubernetes",
        }
    }

    /// Makes the provider; nothing is read or connected yet. The error says what the settings lack.
    pub(super) fn start(&self, context: &ProviderContext) -> Result<Start, String> {
        let counters = &context.counters;
        Ok(match self {
            ProviderConfig::Static(configs) => Start::Ready(static_groups(configs)),
            ProviderConfig::File(config) => Start::Run(Box::new(FileDiscovery::new(
                config.clone(),
                Arc::clone(counters),
            ))),
            ProviderConfig::Http(config) => {
                let counters = Arc::clone(counters);
                let discovery = HttpDiscovery::new((**config).clone(), counters);
                at_intervals(discovery, config.refresh_interval)
            }
            ProviderConfig::Dns(config) => Start::Run(Box::new(DnsDiscovery::new(config.clone()))),
            ProviderConfig::Consul(config) => {
                Start::Run(Box::new(ConsulDiscovery::new((**config).clone())))
            }
            ProviderConfig::Docker(config) => at_intervals(
                DockerDiscovery::new((**config).clone()),
                config.refresh_interval,
            ),
            ProviderConfig::Ec2(config) => at_intervals(
                Ec2Discovery::new((**config).clone()),
                config.refresh_interval,
            ),
            ProviderConfig::Kubernetes(config) => {
                let discovery = KubernetesDiscovery::new((**config).clone(), context)?;
                Start::Run(Box::new(discovery))
            }
        })
    }
}

fn at_intervals(refresher: impl Refresher, interval: Duration) -> Start {
    Start::Run(Box::new(Refreshing::new(refresher, interval)))
}
