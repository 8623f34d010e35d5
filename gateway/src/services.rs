//! The rooms behind the handlers: store, query engine, scraping, and the configuration in force.
//!
//! Built once at start and shared by all workers; only the configuration's parts change, as a whole, by a reload.

use crate::api::remote_read::RemoteReads;
use crate::notify::Notifier;
use crate::push::PushGateway;
use crate::query_slots::QuerySlots;
use crate::rules::RuleManager;
use crate::self_metrics::Counter;
use crate::web_config::WebConfig;
use arc_swap::ArcSwap;
use ingest::append::AppendTarget;
use ingest::otlp::OtlpSettings;
use ingest::remote_write::Version;
use ingest::scrape::ScrapeManager;
use ingest::scrape::config::ScrapeConfig;
use ingest::scrape::target::GlobalUrlOptions;
use query_engine::cache::ResultCache;
use query_engine::engine::Engine;
use std::sync::Arc;
use storage_engine::model::Labels;
use storage_engine::shard_api::{AppendBatch, AppendError, AppendMode, AppendOutcome};
use storage_engine::store::Store;

/// What every handler may reach.
pub struct Services {
    /// The shards.
    pub store: Arc<Store>,
    /// The engine with the settings in force.
    pub engine: Arc<ArcSwap<Engine>>,
    /// Slots and timings of queries.
    pub queries: Arc<QuerySlots>,
    /// Answers of range queries that are kept.
    pub results: ResultCache,
    /// Recording and alerting rules.
    pub rules: RuleManager,
    /// Where alerts go.
    pub notify: Notifier,
    /// Slots of remote read.
    pub reads: RemoteReads,
    /// Targets and their state.
    pub scrape: ScrapeManager,
    /// How others reach this server.
    pub global_url: GlobalUrlOptions,
    /// The configuration in force as YAML, secrets redacted.
    pub config_yaml: ArcSwap<String>,
    /// Remote-write messages that are taken; empty when the receiver is off.
    pub write_messages: Vec<Version>,
    /// What remote write brought.
    pub writes: WriteCounters,
    /// How OpenTelemetry's metrics become ours.
    pub otlp: ArcSwap<OtlpSettings>,
    /// What receivers of rows brought.
    pub rows: RowCounters,
    /// `--web.config.file`
    pub web: Option<Arc<WebConfig>>,
    /// Where this process scrapes itself when there is a web configuration.
    pub own_door: Option<std::net::SocketAddr>,
    /// The push gateway, unless it is switched off.
    pub push: Option<PushGateway>,
    /// The jobs of the configuration in force, without our own.
    pub jobs: ArcSwap<ConfiguredJobs>,
}

/// What the configuration in force says about scraping.
#[derive(Debug)]
pub struct ConfiguredJobs {
    /// Its jobs.
    pub jobs: Vec<ScrapeConfig>,
    /// `global.external_labels`
    pub external_labels: Labels,
    /// `global.scrape_interval`
    pub interval: std::time::Duration,
}

impl Default for ConfiguredJobs {
    fn default() -> Self {
        ConfiguredJobs {
            jobs: Vec::new(),
            external_labels: Labels::empty(),
            interval: std::time::Duration::from_secs(60),
        }
    }
}

/// Counters of the receivers of rows.
#[derive(Debug, Default)]
pub struct RowCounters {
    /// Rows stored.
    pub stored: Counter,
    /// Rows that the storage refused.
    pub refused: Counter,
    /// Rows that could not be read.
    pub unreadable: Counter,
}

/// Counters of the remote-write receiver.
#[derive(Debug, Default)]
pub struct WriteCounters {
    /// Samples stored.
    pub samples: Counter,
    /// Samples refused.
    pub samples_rejected: Counter,
    /// Series made.
    pub series_added: Counter,
    /// Native histogram samples stored.
    pub histograms: Counter,
    /// Requests with a body that could not be decoded.
    pub bad_requests: Counter,
    /// Compressed bytes received.
    pub bytes: Counter,
}

/// The running store as protocol rooms see it.
#[derive(Clone)]
pub struct StoreTarget(pub Arc<Store>);

impl AppendTarget for StoreTarget {
    fn shard_count(&self) -> usize {
        self.0.shard_count()
    }

    fn shard_of(&self, route_hash: u64) -> usize {
        self.0.shard_of(route_hash)
    }

    async fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<AppendOutcome, AppendError> {
        self.0.append(shard, batch, mode).await
    }
}
