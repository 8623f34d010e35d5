//! A target at work, as the manager, its loop and the API see it together.
//!
//! The locks here are taken a few times per scrape, never per sample, and never across an await.

use super::config::ScrapeConfig;
use super::target::Target;
use crate::http_client::HttpClient;
use crate::metadata::TargetMetadata;
use crate::text::accept_header;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage_engine::model::Labels;

/// Tells the target how long we are willing to wait.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// `health` of the targets API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape went well.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// Outcome of the last scrape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TargetStatus {
    pub(super) health: Health,
    pub(super) last_error: String,
    /// Nanoseconds since the epoch.
    pub(super) last_scrape_ns: Option<i64>,
    pub(super) last_duration: Duration,
}

/// What all targets of a job share; replaced as a whole by a reload.
#[derive(Debug)]
pub(super) struct PoolSettings {
    pub(super) config: ScrapeConfig,
    pub(super) client: HttpClient,
}

impl PoolSettings {
    pub(super) fn new(config: ScrapeConfig) -> Self {
        let client = HttpClient::new(config.http.clone());
        PoolSettings { config, client }
    }

    /// Headers of a scrape with this timeout.
    pub(super) fn headers(&self, timeout: Duration) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let accept = accept_header(&self.config.protocols, self.config.name_escaping);
        if let Ok(value) = HeaderValue::from_str(&accept) {
            headers.insert(ACCEPT, value);
        }
        let encoding = if self.config.enable_compression {
            "gzip"
        } else {
            "identity"
        };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("ferula/", env!("CARGO_PKG_VERSION"))),
        );
        if let Ok(value) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
            headers.insert(TIMEOUT_HEADER, value);
        }
        headers
    }

    /// May cached lines of `other` be used with these settings?
    pub(super) fn labels_alike(&self, other: &PoolSettings) -> bool {
        let (a, b) = (&self.config, &other.config);
        a.honor_labels == b.honor_labels
            && a.metric_relabel_configs == b.metric_relabel_configs
            && a.label_limit == b.label_limit
            && a.label_name_length_limit == b.label_name_length_limit
            && a.label_value_length_limit == b.label_value_length_limit
            && a.name_validation == b.name_validation
    }
}

/// A target that has a loop.
#[derive(Debug)]
pub(super) struct ActiveTarget {
    pub(super) id: u64,
    pub(super) target: Target,
    shared: Mutex<Shared>,
    metadata: Mutex<TargetMetadata>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<PoolSettings>,
    /// Labels before relabeling may change without the target changing.
    discovered: Labels,
    status: TargetStatus,
    /// Fails every scrape with this text: the job is over its target limit.
    forced_error: Option<String>,
}

impl ActiveTarget {
    pub(super) fn new(id: u64, target: Target, settings: Arc<PoolSettings>) -> Self {
        ActiveTarget {
            id,
            shared: Mutex::new(Shared {
                settings,
                discovered: target.discovered.clone(),
                status: TargetStatus::default(),
                forced_error: None,
            }),
            metadata: Mutex::new(TargetMetadata::default()),
            target,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<PoolSettings> {
        Arc::clone(&self.shared().settings)
    }

    pub(super) fn refresh(&self, settings: &Arc<PoolSettings>, discovered: &Labels) {
        let mut shared = self.shared();
        if !Arc::ptr_eq(&shared.settings, settings) {
            shared.settings = Arc::clone(settings);
        }
        if shared.discovered != *discovered {
            shared.discovered = discovered.clone();
        }
    }

    pub(super) fn discovered(&self) -> Labels {
        self.shared().discovered.clone()
    }

    pub(super) fn status(&self) -> TargetStatus {
        self.shared().status.clone()
    }

    pub(super) fn set_status(&self, status: TargetStatus) {
        self.shared().status = status;
    }

    pub(super) fn forced_error(&self) -> Option<String> {
        self.shared().forced_error.clone()
    }

    pub(super) fn set_forced_error(&self, error: Option<String>) {
        self.shared().forced_error = error;
    }

    pub(super) fn metadata(&self) -> MutexGuard<'_, TargetMetadata> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
