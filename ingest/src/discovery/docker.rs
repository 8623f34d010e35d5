//! `docker_sd_configs`: containers of a Docker daemon, over TCP or its unix socket.
//!
//! Not here: swarm services, the timer (`updates`).

use super::config::{ApiFilter, DockerSdConfig};
use super::group::TargetGroup;
use super::labels::{Pairs, join_host_port, pair, sanitize};
use super::updates::Refresher;
use crate::http_client::{Connection, HttpClient, HttpRequest};
use crate::limits::DISCOVERY_ANSWER_BYTES_MAX;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::time::Instant;
use url::form_urlencoded;

/// Spoken with daemons that do not say what they speak.
const OLDEST_API: &str = "1.24";

/// A client of a Docker daemon.
#[derive(Debug)]
pub(super) struct Docker {
    client: HttpClient,
    connection: Connection,
    base: String,
    /// What the daemon said at first contact.
    api: Option<String>,
}

/// A network as the daemon lists it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    id: String,
    name: String,
    scope: String,
    internal: bool,
    ingress: bool,
    labels: Option<BTreeMap<String, String>>,
}

impl Docker {
    /// A client of the daemon at `unix:///path`, `tcp://host:port`, or a URL.
    pub(super) fn new(host: &str, http: &crate::http_client::config::HttpClientConfig) -> Self {
        let (connection, base) = match host.split_once("://") {
            Some(("unix", path)) => (
                Connection::to_socket(PathBuf::from(path)),
                "http://localhost".to_owned(),
            ),
            Some(("tcp", rest)) => (Connection::new(), format!("http://{rest}")),
            _ => (Connection::new(), host.to_owned()),
        };
        Docker {
            client: HttpClient::new(http.clone()),
            connection,
            base: base.trim_end_matches('/').to_owned(),
            api: None,
        }
    }

    async fn get(&mut self, path: &str, deadline: Instant) -> Result<Vec<u8>, String> {
        let url = format!("{}{path}", self.base);
        let request = HttpRequest::get(url, DISCOVERY_ANSWER_BYTES_MAX, deadline);
        let answer = self.client.request(&mut self.connection, &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if !answer.status.is_success() {
            return Err(format!(
                "Error response from daemon: {}: {}",
                answer.status_text,
                String::from_utf8_lossy(&answer.body).trim()
            ));
        }
        if self.api.is_none() {
            let told = answer.header("api-version");
            self.api = Some(match told.is_empty() {
                true => OLDEST_API.to_owned(),
                false => told,
            });
        }
        Ok(answer.body)
    }

    /// Asks the daemon for a list.
    pub(super) async fn list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        deadline: Instant,
    ) -> Result<T, String> {
        if self.api.is_none() {
            self.get("/_ping", deadline).await?;
        }
        let api = self.api.as_deref().unwrap_or(OLDEST_API).to_owned();
        let body = self.get(&format!("/v{api}{path}"), deadline).await?;
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    }

    /// Labels of each network, by its id, their names beginning with `prefix`.
    pub(super) async fn networks(
        &mut self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<BTreeMap<String, Pairs>, String> {
        let networks: Vec<Network> = self
            .list("/networks", deadline)
            .await
            .map_err(|e| format!("error while computing network labels: {e}"))?;
        let labelled = |network: Network| {
            let mut labels = vec![
                pair(format!("{prefix}network_id"), &network.id),
                pair(format!("{prefix}network_name"), network.name),
                pair(format!("{prefix}network_scope"), network.scope),
                pair(
                    format!("{prefix}network_internal"),
                    network.internal.to_string(),
                ),
                pair(
                    format!("{prefix}network_ingress"),
                    network.ingress.to_string(),
                ),
            ];
            for (name, value) in network.labels.iter().flatten() {
                let name = format!("{prefix}network_label_{}", sanitize(name));
                labels.push(pair(name, value));
            }
            (network.id, labels)
        };
        Ok(networks.into_iter().map(labelled).collect())
    }
}

/// `?filters=` as the daemon reads it; empty without filters.
pub(super) fn filters_query(filters: &[ApiFilter]) -> String {
    if filters.is_empty() {
        return String::new();
    }
    let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for filter in filters {
        let values = filter.values.iter().map(|v| (v.as_str(), true));
        all.entry(&filter.name).or_default().extend(values);
    }
    let text = serde_json::to_string(&all).unwrap_or_default();
    let escaped: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    format!("?filters={escaped}")
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    labels: Option<BTreeMap<String, String>>,
    ports: Option<Vec<Port>>,
    host_config: HostConfig,
    network_settings: Option<NetworkSettings>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    #[serde(rename = "IP")]
    ip: String,
    private_port: u16,
    public_port: u16,
    r#type: String,
}

/// One `docker_sd_configs` entry at work.
#[derive(Debug)]
pub(super) struct DockerDiscovery {
    config: DockerSdConfig,
    docker: Docker,
}

impl DockerDiscovery {
    pub(super) fn new(config: DockerSdConfig) -> Self {
        DockerDiscovery {
            docker: Docker::new(&config.host, &config.http),
            config,
        }
    }

    async fn ask(&mut self) -> Result<Vec<TargetGroup>, String> {
        let deadline = Instant::now() + self.config.refresh_interval;
        let path = format!("/containers/json{}", filters_query(&self.config.filters));
        let containers: Vec<Container> = self
            .docker
            .list(&path, deadline)
            .await
            .map_err(|e| format!("error while listing containers: {e}"))?;
        let networks = self.docker.networks("__meta_docker_", deadline).await?;
        let targets = containers
            .iter()
            .flat_map(|c| self.targets(c, &containers, &networks))
            .collect();
        Ok(vec![TargetGroup {
            source: "Docker".to_owned(),
            targets,
            labels: Vec::new(),
        }])
    }

    fn targets(
        &self,
        container: &Container,
        all: &[Container],
        networks: &BTreeMap<String, Pairs>,
    ) -> Vec<Pairs> {
        let Some(name) = container.names.iter().flatten().next() else {
            return Vec::new();
        };
        let mode = &container.host_config.network_mode;
        let mut common = vec![
            pair("__meta_docker_container_id", &container.id),
            pair("__meta_docker_container_name", name),
            pair("__meta_docker_container_network_mode", mode),
            pair("__meta_docker_container_image", &container.image),
            pair("__meta_docker_container_image_id", &container.image_id),
        ];
        for (name, value) in container.labels.iter().flatten() {
            let name = format!("__meta_docker_container_label_{}", sanitize(name));
            common.push(pair(name, value));
        }
        let mut endpoints = endpoints_of(container, all);
        if self.config.match_first_network {
            endpoints.truncate(1);
        }
        let mut targets = Vec::new();
        for endpoint in endpoints {
            let ip = &endpoint.ip_address;
            let network = networks.get(&endpoint.network_id);
            let target = |own: Pairs| -> Pairs {
                let mut labels = own;
                labels.push(pair("__meta_docker_network_ip", ip));
                labels.extend(common.iter().cloned());
                labels.extend(network.into_iter().flatten().cloned());
                labels
            };
            let ports = container.ports.iter().flatten();
            let before = targets.len();
            for port in ports.filter(|p| p.r#type == "tcp") {
                let mut own = vec![
                    pair("__address__", join_host_port(ip, port.private_port)),
                    pair("__meta_docker_port_private", port.private_port.to_string()),
                ];
                if port.public_port > 0 {
                    own.push(pair(
                        "__meta_docker_port_public",
                        port.public_port.to_string(),
                    ));
                    own.push(pair("__meta_docker_port_public_ip", &port.ip));
                }
                targets.push(target(own));
            }
            if targets.len() == before {
                // No port is exposed, or the container lives in the host's network.
                let address = match mode.as_str() {
                    "host" => self.config.host_networking_host.clone(),
                    _ => join_host_port(ip, self.config.port),
                };
                targets.push(target(vec![pair("__address__", address)]));
            }
        }
        targets
    }
}

/// A container's networks in order of name; those of the container whose network it shares, if it has none.
fn endpoints_of<'a>(container: &'a Container, all: &'a [Container]) -> Vec<&'a Endpoint> {
    let own = |c: &'a Container| -> Vec<&'a Endpoint> {
        let settings = c.network_settings.as_ref();
        let networks = settings.and_then(|s| s.networks.as_ref());
        networks
            .into_iter()
            .flat_map(|n| n.values().flatten())
            .collect()
    };
    let mut at = container;
    // Bounded by the number of containers: they could name each other in a circle.
    for _ in 0..=all.len() {
        let endpoints = own(at);
        if !endpoints.is_empty() {
            return endpoints;
        }
        let other = at.host_config.network_mode.strip_prefix("container:");
        match other.and_then(|id| all.iter().find(|c| c.id == id)) {
            Some(next) => at = next,
            None => break,
        }
    }
    Vec::new()
}

impl Refresher for DockerDiscovery {
    fn refresh(&mut self) -> BoxFuture<'_, Result<Vec<TargetGroup>, String>> {
        Box::pin(self.ask())
    }
}
