//! `consul_sd_configs`: services and their instances from a Consul agent, by blocking queries.
//!
//! Promise: the catalog is watched for services to come and go, and each service that is wanted is watched by a task of
//! its own; a failure is counted, waited out, and changes nothing. Not here: HTTP.

use super::config::ConsulSdConfig;
use super::group::TargetGroup;
use super::labels::{enclosed, join_host_port, pair, sanitize};
use super::updates::{Discoverer, Updates};
use crate::http_client::{Connection, HttpClient, HttpRequest};
use crate::limits::DISCOVERY_ANSWER_BYTES_MAX;
use futures_util::future::BoxFuture;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use url::form_urlencoded;

/// How long the agent may hold a question back until something changes.
const WAIT: Duration = Duration::from_secs(120);

/// What the agent may take beyond [`WAIT`].
const WAIT_MARGIN: Duration = Duration::from_secs(15);

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(15);

const FAILURES: &str = "prometheus_sd_consul_rpc_failures_total";
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-consul-token");

/// One `consul_sd_configs` entry at work.
#[derive(Debug, Clone)]
pub(super) struct ConsulDiscovery {
    config: Arc<ConsulSdConfig>,
    client: Arc<HttpClient>,
    retry: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Entry {
    node: Node,
    service: Service,
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    node: String,
    address: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    tags: Option<Vec<String>>,
    address: String,
    port: i64,
    meta: Option<BTreeMap<String, String>>,
    namespace: String,
    partition: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    #[serde(rename = "CheckID")]
    check_id: String,
    status: String,
}

/// The worst of all checks; maintenance is worse than any.
fn aggregated_status(checks: &[Check]) -> &'static str {
    let is = |status: &str| checks.iter().any(|c| c.status == status);
    let maintained = |c: &Check| {
        c.check_id == "_node_maintenance" || c.check_id.starts_with("_service_maintenance:")
    };
    if checks.iter().any(maintained) {
        "maintenance"
    } else if is("critical") {
        "critical"
    } else if is("warning") {
        "warning"
    } else if checks.iter().all(|c| c.status == "passing") {
        "passing"
    } else {
        ""
    }
}

#[derive(Deserialize)]
struct AgentSelf {
    #[serde(rename = "Config")]
    config: AgentConfig,
}

#[derive(Deserialize)]
struct AgentConfig {
    #[serde(rename = "Datacenter")]
    datacenter: String,
}

/// Services and their tags.
type Catalog = BTreeMap<String, Option<Vec<String>>>;

/// Where a blocking query continues.
#[derive(Debug, Default)]
struct Cursor {
    connection: Connection,
    index: u64,
}

impl ConsulDiscovery {
    pub(super) fn new(config: ConsulSdConfig) -> Self {
        ConsulDiscovery {
            client: Arc::new(HttpClient::new(config.http.clone())),
            config: Arc::new(config),
            retry: RETRY,
        }
    }

    #[cfg(test)]
    pub(super) fn retry_after(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// Asks the agent; the answer and its index.
    async fn ask<T: DeserializeOwned>(
        &self,
        connection: &mut Connection,
        path: &str,
        query: &str,
    ) -> Result<(T, u64), String> {
        let config = &self.config;
        let prefix = config.path_prefix.trim_end_matches('/');
        let url = format!(
            "{}://{}{prefix}{path}?{query}",
            config.scheme, config.server
        );
        let deadline = Instant::now() + WAIT + WAIT_MARGIN;
        let mut request = HttpRequest::get(url, DISCOVERY_ANSWER_BYTES_MAX, deadline);
        if !config.token.is_empty() {
            let mut value =
                HeaderValue::from_str(config.token.expose()).map_err(|e| e.to_string())?;
            value.set_sensitive(true);
            request.headers.insert(TOKEN_HEADER, value);
        }
        let answer = self.client.request(connection, &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status != http::StatusCode::OK {
            return Err(format!(
                "Unexpected response code: {} ({})",
                answer.status.as_u16(),
                String::from_utf8_lossy(&answer.body).trim()
            ));
        }
        let index = answer.header("x-consul-index").parse().unwrap_or(0);
        let value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        Ok((value, index))
    }

    fn query(&self, datacenter: &str, cursor: &Cursor, filter: &str, tags: &[String]) -> String {
        let config = &self.config;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("dc", datacenter),
            ("ns", &config.namespace),
            ("partition", &config.partition),
            ("filter", filter),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if config.allow_stale {
            query.append_pair("stale", "");
        }
        if cursor.index > 0 {
            query.append_pair("index", &cursor.index.to_string());
        }
        query.append_pair("wait", &format!("{}ms", WAIT.as_millis()));
        for (name, value) in &config.node_meta {
            query.append_pair("node-meta", &format!("{name}:{value}"));
        }
        for tag in tags {
            query.append_pair("tag", tag);
        }
        query.finish()
    }

    /// A blocking query: none when nothing changed.
    async fn watch<T: DeserializeOwned>(
        &self,
        updates: &Updates,
        call: &'static str,
        cursor: &mut Cursor,
        path: &str,
        query: &str,
    ) -> Result<Option<T>, String> {
        let start = Instant::now();
        let answer = self.ask(&mut cursor.connection, path, query).await;
        let counters = &updates.context.counters;
        counters.observe(
            "prometheus_sd_consul_rpc_duration_seconds",
            &[("call", call), ("endpoint", "catalog")],
            start.elapsed(),
        );
        let (value, index) = answer?;
        if index == cursor.index && index != 0 {
            return Ok(None);
        }
        // An index that goes back means that the agent has begun anew.
        cursor.index = if index < cursor.index { 0 } else { index };
        Ok(Some(value))
    }

    async fn failed(&self, updates: &Updates, message: &str, error: &str) {
        updates.context.counters.count(FAILURES);
        updates.log_failure(message, error);
        sleep(self.retry).await;
    }

    async fn datacenter(&self, updates: &Updates) -> String {
        if !self.config.datacenter.is_empty() {
            return self.config.datacenter.clone();
        }
        loop {
            let mut connection = Connection::new();
            match self
                .ask::<AgentSelf>(&mut connection, "/v1/agent/self", "")
                .await
            {
                Ok((agent, _)) => return agent.config.datacenter,
                Err(error) => {
                    self.failed(updates, "Error retrieving datacenter name", &error)
                        .await;
                }
            }
        }
    }

    fn wants(&self, name: &str, tags: &[String]) -> bool {
        let config = &self.config;
        (config.services.is_empty() || config.services.iter().any(|s| s == name))
            && config.tags.iter().all(|tag| tags.contains(tag))
    }

    /// Watches the catalog and, by tasks of their own, the services in it that are wanted.
    async fn watch_catalog(self, datacenter: String, updates: Updates) {
        let mut tick = pace(self.config.refresh_interval);
        let mut cursor = Cursor::default();
        let mut tasks = JoinSet::new();
        let mut watched: HashMap<String, AbortHandle> = HashMap::new();
        loop {
            tick.tick().await;
            let query = self.query(&datacenter, &cursor, &self.config.filter, &[]);
            let path = "/v1/catalog/services";
            let answer: Result<Option<Catalog>, String> = self
                .watch(&updates, "services", &mut cursor, path, &query)
                .await;
            let services = match answer {
                Ok(Some(services)) => services,
                Ok(None) => continue,
                Err(error) => {
                    self.failed(&updates, "Error refreshing service list", &error)
                        .await;
                    continue;
                }
            };
            watched.retain(|name, task| {
                let stays = services.contains_key(name);
                if !stays {
                    task.abort();
                    updates.update(vec![TargetGroup {
                        source: name.clone(),
                        ..TargetGroup::default()
                    }]);
                }
                stays
            });
            for (name, tags) in &services {
                if watched.contains_key(name) || !self.wants(name, tags.as_deref().unwrap_or(&[])) {
                    continue;
                }
                let watch =
                    self.clone()
                        .watch_service(name.clone(), datacenter.clone(), updates.clone());
                watched.insert(name.clone(), tasks.spawn(watch));
            }
        }
    }

    async fn watch_service(self, name: String, datacenter: String, updates: Updates) {
        let mut tick = pace(self.config.refresh_interval);
        let mut cursor = Cursor::default();
        let escaped: String =
            percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        let path = format!("/v1/health/service/{escaped}");
        loop {
            tick.tick().await;
            let filter = &self.config.health_filter;
            let query = self.query(&datacenter, &cursor, filter, &self.config.tags);
            let answer: Result<Option<Vec<Entry>>, String> = self
                .watch(&updates, "service", &mut cursor, &path, &query)
                .await;
            match answer {
                Ok(Some(entries)) => updates.update(vec![TargetGroup {
                    source: name.clone(),
                    targets: entries.iter().map(|e| self.labels(e)).collect(),
                    labels: vec![
                        pair("__meta_consul_service", name.clone()),
                        pair("__meta_consul_dc", datacenter.clone()),
                    ],
                }]),
                Ok(None) => {}
                Err(error) => {
                    self.failed(&updates, "Error refreshing service", &error)
                        .await;
                }
            }
        }
    }

    fn labels(&self, entry: &Entry) -> Vec<(String, String)> {
        let (node, service) = (&entry.node, &entry.service);
        // A service may be registered through another node than its own.
        let host = match service.address.is_empty() {
            true => &node.address,
            false => &service.address,
        };
        let tags = service.tags.as_deref().unwrap_or_default();
        let checks = entry.checks.as_deref().unwrap_or_default();
        let mut labels = vec![
            pair("__address__", join_host_port(host, service.port)),
            pair("__meta_consul_address", &node.address),
            pair("__meta_consul_node", &node.node),
            pair("__meta_consul_namespace", &service.namespace),
            pair("__meta_consul_partition", &service.partition),
            pair(
                "__meta_consul_tags",
                enclosed(tags, &self.config.tag_separator),
            ),
            pair("__meta_consul_service_address", &service.address),
            pair("__meta_consul_service_port", service.port.to_string()),
            pair("__meta_consul_service_id", &service.id),
            pair("__meta_consul_health", aggregated_status(checks)),
        ];
        for (prefix, values) in [
            ("__meta_consul_metadata_", &node.meta),
            ("__meta_consul_service_metadata_", &service.meta),
            ("__meta_consul_tagged_address_", &node.tagged_addresses),
        ] {
            for (name, value) in values.iter().flatten() {
                labels.push(pair(format!("{prefix}{}", sanitize(name)), value));
            }
        }
        labels
    }
}

fn pace(least: Duration) -> tokio::time::Interval {
    let mut tick = interval(least.max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

impl Discoverer for ConsulDiscovery {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let datacenter = self.datacenter(&updates).await;
            if self.config.services.is_empty() || !self.config.tags.is_empty() {
                return self.watch_catalog(datacenter, updates).await;
            }
            // Dropping the set ends its tasks.
            let mut tasks = JoinSet::new();
            for name in &self.config.services {
                let watch = (*self).clone().watch_service(
                    name.clone(),
                    datacenter.clone(),
                    updates.clone(),
                );
                tasks.spawn(watch);
            }
            while tasks.join_next().await.is_some() {}
        })
    }
}
