//! Plain data of the service discoveries that are active.
//!
//! Not here: YAML of `prometheus.yml` (the gateway converts into these), the providers themselves.

use crate::http_client::config::{HttpClientConfig, Secret};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One entry of `static_configs`: addresses that share labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaticConfig {
    /// `targets`: each becomes `__address__`.
    pub targets: Vec<String>,
    /// `labels`, in order of name.
    pub labels: Vec<(String, String)>,
}

/// One entry of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSdConfig {
    /// `files`: absolute paths or relative to the working directory; the last element may hold a `*`.
    pub files: Vec<PathBuf>,
    /// `refresh_interval`, 5 minutes by default.
    pub refresh_interval: Duration,
}

impl FileSdConfig {
    /// Watches these files, read again every 5 minutes at the latest.
    pub fn new(files: Vec<PathBuf>) -> Self {
        FileSdConfig {
            files,
            refresh_interval: Duration::from_secs(300),
        }
    }
}

/// One entry of `http_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSdConfig {
    /// Where the list of groups is.
    pub url: String,
    /// `refresh_interval`; also the longest that one request may take.
    pub refresh_interval: Duration,
    /// How to connect.
    pub http: HttpClientConfig,
}

/// Kinds of records that `dns_sd_configs` can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecordKind {
    /// Host and port.
    Srv,
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Mail exchanger.
    Mx,
    /// Name server.
    Ns,
}

/// One entry of `dns_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsSdConfig {
    /// `names`
    pub names: Vec<String>,
    /// `type`
    pub kind: DnsRecordKind,
    /// `port` of the targets; SRV records bring their own.
    pub port: u16,
    /// `refresh_interval`
    pub refresh_interval: Duration,
}

/// One entry of `consul_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsulSdConfig {
    /// `server`: host and port.
    pub server: String,
    /// `scheme`
    pub scheme: String,
    /// `path_prefix`
    pub path_prefix: String,
    /// `token`
    pub token: Secret,
    /// `datacenter`; empty means the agent's.
    pub datacenter: String,
    /// `namespace` (Consul Enterprise).
    pub namespace: String,
    /// `partition` (Consul Enterprise).
    pub partition: String,
    /// `tag_separator`
    pub tag_separator: String,
    /// `allow_stale`
    pub allow_stale: bool,
    /// `refresh_interval`: least time between two questions.
    pub refresh_interval: Duration,
    /// `services`; none means all.
    pub services: Vec<String>,
    /// `tags` that a service must have.
    pub tags: Vec<String>,
    /// `node_meta` that a node must have.
    pub node_meta: BTreeMap<String, String>,
    /// `filter` of the catalog.
    pub filter: String,
    /// `health_filter` of a service's instances.
    pub health_filter: String,
    /// How to connect.
    pub http: HttpClientConfig,
}

/// A filter of the provider's own API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFilter {
    /// What to look at.
    pub name: String,
    /// Any of these will do.
    pub values: Vec<String>,
}

/// One entry of `docker_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerSdConfig {
    /// `host`: `unix:///path`, `tcp://host:port`, or a URL.
    pub host: String,
    /// `port` of containers that expose none.
    pub port: u16,
    /// `filters` of containers.
    pub filters: Vec<ApiFilter>,
    /// `host_networking_host`: address of containers in the host's network.
    pub host_networking_host: String,
    /// `match_first_network`: one target a port, not one a network.
    pub match_first_network: bool,
    /// `refresh_interval`
    pub refresh_interval: Duration,
    /// How to connect.
    pub http: HttpClientConfig,
}

/// Where credentials and the region for AWS come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// `region`; empty means the environment's or the machine's own.
    pub region: String,
    /// `access_key`; empty means the environment's, the profile's, or the machine's own.
    pub access_key: String,
    /// `secret_key`
    pub secret_key: Secret,
    /// `profile` of the shared credentials file.
    pub profile: String,
    /// `role_arn` to assume.
    pub role_arn: String,
    /// `external_id` for that role.
    pub external_id: String,
}

/// One entry of `ec2_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ec2SdConfig {
    /// Region and credentials.
    pub aws: AwsConfig,
    /// `endpoint`; empty means the region's.
    pub endpoint: String,
    /// `port` of the targets.
    pub port: u16,
    /// `filters` of instances.
    pub filters: Vec<ApiFilter>,
    /// `refresh_interval`
    pub refresh_interval: Duration,
    /// How to connect.
    pub http: HttpClientConfig,
}
