//! One `scrape_configs` entry as plain data, after defaults and checks.
//!
//! Promise: two equal values scrape alike, so that a reload can leave unchanged jobs alone.
//! Not here: YAML, defaults from `global` (both are the gateway's).

use crate::discovery::ProviderConfig;
use crate::discovery::config::StaticConfig;
use crate::http_client::config::HttpClientConfig;
use crate::relabel::Rule;
use std::time::Duration;

pub use crate::text::{EscapingScheme as NameEscaping, ScrapeProtocol};

/// `metric_name_validation_scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameValidation {
    /// Any UTF-8 text.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    Legacy,
}

/// `scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The name in URLs and in `__scheme__`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// One job. Every limit: 0 means none, as in Prometheus (hard safety caps of [`crate::limits`] always hold).
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeConfig {
    /// `job_name`, unique.
    pub job_name: String,
    /// `honor_labels`
    pub honor_labels: bool,
    /// `honor_timestamps`
    pub honor_timestamps: bool,
    /// `track_timestamps_staleness`
    pub track_timestamps_staleness: bool,
    /// `params`: query parameters in order of name, each with its values.
    pub params: Vec<(String, Vec<String>)>,
    /// `scrape_interval`
    pub interval: Duration,
    /// `scrape_timeout`, at most the interval.
    pub timeout: Duration,
    /// `scrape_protocols`, most wanted first.
    pub protocols: Vec<ScrapeProtocol>,
    /// `fallback_scrape_protocol`
    pub fallback_protocol: Option<ScrapeProtocol>,
    /// `metrics_path`
    pub metrics_path: String,
    /// `scheme`
    pub scheme: Scheme,
    /// `enable_compression`
    pub enable_compression: bool,
    /// `body_size_limit` in bytes after decompression.
    pub body_size_limit: u64,
    /// `sample_limit`
    pub sample_limit: u64,
    /// `target_limit`
    pub target_limit: u64,
    /// `label_limit`
    pub label_limit: u64,
    /// `label_name_length_limit` in bytes.
    pub label_name_length_limit: u64,
    /// `label_value_length_limit` in bytes.
    pub label_value_length_limit: u64,
    /// `keep_dropped_targets`
    pub keep_dropped_targets: u64,
    /// `extra_scrape_metrics`
    pub extra_scrape_metrics: bool,
    /// `_created` lines of OpenMetrics pages say since when a metric counts, and are no samples (a feature of the whole process).
    pub created_lines_are_starts: bool,
    /// `scrape_native_histograms`
    pub native_histograms: bool,
    /// `always_scrape_classic_histograms`: the classic series of a histogram that is stored as a native one, too.
    pub classic_histograms: bool,
    /// `native_histogram_bucket_limit`: finer histograms are made coarser; one that cannot be fails the scrape.
    pub native_histogram_bucket_limit: u64,
    /// `native_histogram_min_bucket_factor`: least growth from one bucket to the next.
    pub native_histogram_min_bucket_factor: f64,
    /// `metric_name_validation_scheme`
    pub name_validation: NameValidation,
    /// `metric_name_escaping_scheme`
    pub name_escaping: NameEscaping,
    /// How to connect.
    pub http: HttpClientConfig,
    /// `static_configs`
    pub static_configs: Vec<StaticConfig>,
    /// All other discoveries.
    pub discovery: Vec<ProviderConfig>,
    /// `relabel_configs`
    pub relabel_configs: Vec<Rule>,
    /// `metric_relabel_configs`
    pub metric_relabel_configs: Vec<Rule>,
}

impl ScrapeConfig {
    /// A job with Prometheus's global defaults and no targets.
    pub fn new(job_name: impl Into<String>) -> Self {
        ScrapeConfig {
            job_name: job_name.into(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            params: Vec::new(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            protocols: ScrapeProtocol::DEFAULT.to_vec(),
            fallback_protocol: None,
            metrics_path: "/metrics".to_owned(),
            scheme: Scheme::Http,
            enable_compression: true,
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            extra_scrape_metrics: false,
            created_lines_are_starts: false,
            native_histograms: false,
            classic_histograms: false,
            native_histogram_bucket_limit: 0,
            native_histogram_min_bucket_factor: 0.0,
            name_validation: NameValidation::Utf8,
            name_escaping: NameEscaping::AllowUtf8,
            http: HttpClientConfig::default(),
            static_configs: Vec::new(),
            discovery: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
        }
    }

    /// All discoveries of the job, the static ones first.
    pub fn providers(&self) -> Vec<ProviderConfig> {
        let fixed = ProviderConfig::Static(self.static_configs.clone());
        std::iter::once(fixed)
            .chain(self.discovery.iter().cloned())
            .collect()
    }
}
