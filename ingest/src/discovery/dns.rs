//! `dns_sd_configs`: addresses in DNS records, asked of the servers in `/etc/resolv.conf`.
//!
//! Promise: a name that its servers say does not exist has no targets; a name that no server could answer for keeps
//! those it had. Not here: the timer (`updates`), talking DNS (hickory).

use super::config::{DnsRecordKind, DnsSdConfig};
use super::group::TargetGroup;
use super::labels::{join_host_port, pair};
use super::updates::{Discoverer, Updates};
use futures_util::future::{BoxFuture, join_all};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
#[cfg(test)]
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Which servers are asked.
#[derive(Debug, Clone)]
pub(super) enum Servers {
    /// Those of this file, read again at every refresh.
    File(PathBuf),
    /// These, for tests.
    #[cfg(test)]
    Fixed(Box<(ResolverConfig, ResolverOpts)>),
}

/// One `dns_sd_configs` entry at work.
#[derive(Debug)]
pub(super) struct DnsDiscovery {
    config: DnsSdConfig,
    servers: Servers,
}

impl DnsDiscovery {
    pub(super) fn new(config: DnsSdConfig) -> Self {
        Self::with_servers(config, Servers::File(RESOLV_CONF.into()))
    }

    pub(super) fn with_servers(config: DnsSdConfig, servers: Servers) -> Self {
        DnsDiscovery { config, servers }
    }

    fn record_type(&self) -> RecordType {
        match self.config.kind {
            DnsRecordKind::Srv => RecordType::SRV,
            DnsRecordKind::A => RecordType::A,
            DnsRecordKind::Aaaa => RecordType::AAAA,
            DnsRecordKind::Mx => RecordType::MX,
            DnsRecordKind::Ns => RecordType::NS,
        }
    }

    async fn resolver(&self) -> Result<TokioResolver, String> {
        let refuse = |e: &dyn std::fmt::Display| format!("could not load resolv.conf: {e}");
        let (config, mut options) = match &self.servers {
            Servers::File(path) => {
                let path = path.clone();
                let text = tokio::task::spawn_blocking(move || std::fs::read(path))
                    .await
                    .map_err(|e| refuse(&e))?
                    .map_err(|e| refuse(&e))?;
                hickory_resolver::system_conf::parse_resolv_conf(text).map_err(|e| refuse(&e))?
            }
            #[cfg(test)]
            Servers::Fixed(fixed) => (**fixed).clone(),
        };
        // Every refresh asks anew, and only the servers.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|e| refuse(&e))
    }

    async fn look_up(&self, resolver: &TokioResolver, name: &str) -> Result<TargetGroup, String> {
        let found = match resolver.lookup(name, self.record_type()).await {
            Ok(found) => found,
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => {
                return Ok(TargetGroup {
                    source: name.to_owned(),
                    ..TargetGroup::default()
                });
            }
            Err(error) => return Err(format!("could not resolve {name:?}: {error}")),
        };
        let port = self.config.port;
        let targets = found.answers().iter().filter_map(|record| {
            let mut labels = vec![pair("__meta_dns_name", name)];
            let address = match &record.data {
                RData::SRV(srv) => {
                    let target = srv.target.to_ascii();
                    let address = join_host_port(target.trim_end_matches('.'), srv.port);
                    labels.push(pair("__meta_dns_srv_record_target", target));
                    labels.push(pair("__meta_dns_srv_record_port", srv.port.to_string()));
                    address
                }
                RData::MX(mx) => {
                    let target = mx.exchange.to_ascii();
                    let address = join_host_port(target.trim_end_matches('.'), port);
                    labels.push(pair("__meta_dns_mx_record_target", target));
                    address
                }
                RData::NS(ns) => {
                    let target = ns.0.to_ascii();
                    let address = join_host_port(target.trim_end_matches('.'), port);
                    labels.push(pair("__meta_dns_ns_record_target", target));
                    address
                }
                RData::A(a) => join_host_port(&a.0.to_string(), port),
                RData::AAAA(a) => join_host_port(&a.0.to_string(), port),
                // Aliases on the way to an address.
                RData::CNAME(_) => return None,
                other => {
                    tracing::warn!(record = %other, "Invalid record");
                    return None;
                }
            };
            labels.push(pair("__address__", address));
            Some(labels)
        });
        Ok(TargetGroup {
            source: name.to_owned(),
            targets: targets.collect(),
            labels: Vec::new(),
        })
    }

    /// Asks for all names; the groups of those that were answered.
    async fn refresh(&self, updates: &Updates) -> Vec<TargetGroup> {
        let counters = &updates.context.counters;
        let resolver = self.resolver().await;
        let answers = match &resolver {
            Ok(resolver) => {
                let names = self.config.names.iter();
                join_all(names.map(|name| self.look_up(resolver, name))).await
            }
            Err(error) => self
                .config
                .names
                .iter()
                .map(|_| Err(error.clone()))
                .collect(),
        };
        let mut groups = BTreeMap::new();
        for answer in answers {
            counters.count("prometheus_sd_dns_lookups_total");
            match answer {
                Ok(group) => {
                    groups.insert(group.source.clone(), group);
                }
                Err(error) => {
                    counters.count("prometheus_sd_dns_lookup_failures_total");
                    updates.log_failure("Error refreshing DNS targets", &error);
                }
            }
        }
        groups.into_values().collect()
    }
}

impl Discoverer for DnsDiscovery {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut tick = interval(self.config.refresh_interval.max(Duration::from_millis(1)));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let start = Instant::now();
                let groups = self.refresh(&updates).await;
                let context = &updates.context;
                context.counters.observe_refresh(
                    context.mechanism,
                    &context.job,
                    start.elapsed(),
                    false,
                );
                updates.update(groups);
            }
        })
    }
}
