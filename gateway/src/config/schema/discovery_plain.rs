//! The discoveries of a job as the scraper takes them.

use super::discovery::{ConsulSd, Discovery, DnsSd, DockerSd, Ec2Sd, FileSd, Filter, HttpSd};
use super::kubernetes::KubernetesSd;
use ingest::discovery::ProviderConfig;
use ingest::discovery::config::{
    ApiFilter, AwsConfig, ConsulSdConfig, DnsRecordKind, DnsSdConfig, DockerSdConfig, Ec2SdConfig,
    FileSdConfig, HttpSdConfig,
};
use ingest::http_client::config::{BasicAuth, SecretSource, TextSource};
use std::path::PathBuf;

/// A port; what is no port was refused when the file was read.
fn port(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

fn filters(list: &[Filter]) -> Vec<ApiFilter> {
    let plain = |f: &Filter| ApiFilter {
        name: f.name.clone(),
        values: f.values.clone(),
    };
    list.iter().map(plain).collect()
}

impl Discovery {
    /// All discoveries that are active, but for the static ones.
    pub fn plain(&self) -> Vec<ProviderConfig> {
        let mut all: Vec<ProviderConfig> = Vec::new();
        all.extend(self.file_sd_configs.iter().map(FileSd::plain));
        all.extend(self.http_sd_configs.iter().map(HttpSd::plain));
        all.extend(self.dns_sd_configs.iter().map(DnsSd::plain));
        all.extend(self.consul_sd_configs.iter().map(ConsulSd::plain));
        all.extend(self.docker_sd_configs.iter().map(DockerSd::plain));
        all.extend(self.ec2_sd_configs.iter().map(Ec2Sd::plain));
        all.extend(self.kubernetes_sd_configs.iter().map(KubernetesSd::plain));
        all
    }
}

impl FileSd {
    fn plain(&self) -> ProviderConfig {
        ProviderConfig::File(FileSdConfig {
            files: self.files.iter().map(|f| PathBuf::from(&f.0)).collect(),
            refresh_interval: self.refresh_interval.std(),
        })
    }
}

impl HttpSd {
    fn plain(&self) -> ProviderConfig {
        ProviderConfig::Http(Box::new(HttpSdConfig {
            url: self.url.clone(),
            refresh_interval: self.refresh_interval.std(),
            http: self.client.plain(),
        }))
    }
}

impl DnsSd {
    fn plain(&self) -> ProviderConfig {
        ProviderConfig::Dns(DnsSdConfig {
            names: self.names.clone(),
            kind: match self.kind.to_ascii_uppercase().as_str() {
                "A" => DnsRecordKind::A,
                "AAAA" => DnsRecordKind::Aaaa,
                "MX" => DnsRecordKind::Mx,
                "NS" => DnsRecordKind::Ns,
                _ => DnsRecordKind::Srv,
            },
            port: port(self.port),
            refresh_interval: self.refresh_interval.std(),
        })
    }
}

impl ConsulSd {
    fn plain(&self) -> ProviderConfig {
        let mut http = self.client.plain();
        if !self.username.is_empty() || !self.password.is_empty() {
            http.basic_auth = Some(BasicAuth {
                username: Some(TextSource::Inline(self.username.clone())),
                password: Some(SecretSource::Inline(self.password.clone())),
            });
        }
        ProviderConfig::Consul(Box::new(ConsulSdConfig {
            server: self.server.clone(),
            scheme: self.scheme.clone(),
            path_prefix: self.path_prefix.clone(),
            token: self.token.clone(),
            datacenter: self.datacenter.clone(),
            namespace: self.namespace.clone(),
            partition: self.partition.clone(),
            tag_separator: self.tag_separator.clone(),
            allow_stale: self.allow_stale,
            refresh_interval: self.refresh_interval.std(),
            services: self.services.clone(),
            tags: self.tags.clone(),
            node_meta: self.node_meta.clone(),
            filter: self.filter.clone(),
            health_filter: self.health_filter.clone(),
            http,
        }))
    }
}

impl DockerSd {
    fn plain(&self) -> ProviderConfig {
        ProviderConfig::Docker(Box::new(DockerSdConfig {
            host: self.host.clone(),
            port: port(self.port),
            filters: filters(&self.filters),
            host_networking_host: self.host_networking_host.clone(),
            match_first_network: self.match_first_network,
            refresh_interval: self.refresh_interval.std(),
            http: self.client.plain(),
        }))
    }
}

impl Ec2Sd {
    fn plain(&self) -> ProviderConfig {
        ProviderConfig::Ec2(Box::new(Ec2SdConfig {
            aws: AwsConfig {
                region: self.region.clone(),
                access_key: self.access_key.clone(),
                secret_key: self.secret_key.clone(),
                profile: self.profile.clone(),
                role_arn: self.role_arn.clone(),
                external_id: self.external_id.clone(),
            },
            endpoint: self.endpoint.clone(),
            port: port(self.port),
            filters: filters(&self.filters),
            refresh_interval: self.refresh_interval.std(),
            http: self.client.plain(),
        }))
    }
}
