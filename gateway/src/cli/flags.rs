//! Typed values of the flags, and the checks that need more than one of them.
//!
//! Promise: a `Flags` holds only values that the rest of the process can use without looking at text again.

use super::parse::{Given, flags_map};
use super::table::{FEATURES, FLAGS, Kind, Mode, Status, find};
use crate::config::{format_duration_ms, parse_bytes, parse_duration_ms};
use crate::notify::NotifyFlags;
use crate::rules::RuleFlags;
use regex::Regex;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use storage_engine::maintenance::{BLOCK_RANGE_MAX_MS, RETENTION_DEFAULT_MS, RetentionSettings};
use storage_engine::shard::SeriesLimits;

/// `--storage.ack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// After the write is on the disk.
    Durable,
    /// After the write was handed to the kernel.
    Fast,
}

/// `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Probe, then choose.
    Auto,
    /// io_uring.
    Glommio,
    /// epoll.
    Tokio,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What may need a look.
    Warn,
    /// What is broken.
    Error,
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Why a well-formed command line still cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagsError {
    /// Server-only flags with `--agent`.
    #[error("The following flag(s) can not be used in agent mode: {0:?}")]
    ServerOnly(Vec<String>),
    /// Agent-only flags without `--agent`.
    #[error("The following flag(s) can only be used in agent mode: {0:?}")]
    AgentOnly(Vec<String>),
    /// An address that is none.
    #[error("invalid value for flag '--web.listen-address': {address:?}: {reason}")]
    ListenAddress {
        /// What was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// A pattern that does not compile.
    #[error("invalid value for flag '--web.cors.origin': {0}")]
    CorsOrigin(String),
    /// A URL that is none.
    #[error("parse external URL {url:?}: {reason}")]
    ExternalUrl {
        /// What was given.
        url: String,
        /// Why.
        reason: String,
    },
    /// A remote-write message that does not exist.
    #[error(
        "unknown type for remote write protobuf message {0}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
    )]
    ProtobufMessage(String),
}

impl FlagsError {
    /// The exit code that Prometheus gives this.
    pub fn exit_code(&self) -> u8 {
        match self {
            FlagsError::ServerOnly(_) | FlagsError::AgentOnly(_) => 3,
            _ => 2,
        }
    }
}

/// Everything that was said on the command line, defaults filled in.
#[derive(Debug, Clone)]
pub struct Flags {
    /// `--config.file`; `None` when it was not given.
    pub config_file: Option<PathBuf>,
    /// `--config.auto-reload`, or the feature of that name: how often to look for a changed file.
    pub auto_reload_interval: Option<Duration>,
    /// `--print-default-config`
    pub print_default_config: bool,
    /// `--web.listen-address`, resolved.
    pub listen_addresses: Vec<SocketAddr>,
    /// `--web.workers`, 0 replaced by the number of cores.
    pub workers: usize,
    /// `--web.config.file`
    pub web_config_file: Option<PathBuf>,
    /// `--web.read-timeout`
    pub read_timeout: Duration,
    /// `--web.max-connections`
    pub connections_max: usize,
    /// `--web.max-notifications-subscribers`
    pub notification_listeners_max: usize,
    /// `--web.external-url` as given; empty means derived.
    pub external_url: String,
    /// `--web.route-prefix`: empty, or begins with a slash and does not end with one.
    pub route_prefix: String,
    /// `--web.enable-lifecycle`
    pub lifecycle: bool,
    /// `--web.enable-admin-api`
    pub admin_api: bool,
    /// `--web.enable-remote-write-receiver`
    pub remote_write_receiver: bool,
    /// `--web.enable-otlp-receiver`
    pub otlp_receiver: bool,
    /// `--web.enable-influx-receiver`
    pub influx_receiver: bool,
    /// `--web.remote-write-receiver.accepted-protobuf-messages`
    pub remote_write_messages: Vec<String>,
    /// `--web.cors.origin`, anchored; `None` means any.
    pub cors_origin: Option<Regex>,
    /// `--storage.tsdb.path`
    pub data_dir: PathBuf,
    /// `--storage.tsdb.retention.time`, or the older `--storage.tsdb.retention`; `None` when neither was given.
    pub retention_time: Option<Duration>,
    /// `--storage.tsdb.retention.size` in bytes; `None` when it was not given.
    pub retention_size: Option<u64>,
    /// `--storage.tsdb.min-block-duration`
    pub block_duration_min: Duration,
    /// `--storage.tsdb.max-block-duration`; `None`: by the retention.
    pub block_duration_max: Option<Duration>,
    /// `--storage.tsdb.allow-overlapping-compaction`
    pub compact_overlapping: bool,
    /// `--storage.ack`
    pub ack: Ack,
    /// `--storage.wal-sync-interval`
    pub wal_sync_interval: Duration,
    /// `--storage.memory-limit`, bytes; 0 means a share of what there is.
    pub memory_limit: u64,
    /// `--storage.max-series-per-shard`
    pub series_per_shard_max: u32,
    /// `--storage.max-new-series-per-minute`, `--storage.max-labels-per-series`, `--storage.max-label-…-length`.
    pub series_limits: SeriesLimits,
    /// `--storage.shards`; `None` means the store decides.
    pub shards: Option<usize>,
    /// `--push.enable`
    pub push: bool,
    /// `--push.scrape-interval`; `None`: as the configuration's global one. Zero: not at all.
    pub push_scrape_interval: Option<Duration>,
    /// `--push.ttl`; zero: for ever.
    pub push_ttl: Duration,
    /// `--push.max-groups`
    pub push_groups_max: usize,
    /// `--push.max-bytes`
    pub push_bytes_max: usize,
    /// `--runtime`
    pub runtime: Runtime,
    /// `--scrape.discovery-reload-interval`: how long found targets may wait while others were just taken.
    pub discovery_throttle: Duration,
    /// `--storage.remote.read-sample-limit`; 0: none.
    pub remote_read_samples_max: usize,
    /// `--storage.remote.read-concurrent-limit`; 0: none.
    pub remote_reads_max: usize,
    /// `--storage.remote.read-max-bytes-in-frame`
    pub remote_read_frame_bytes_max: usize,
    /// `--query.lookback-delta`
    pub lookback_delta: Duration,
    /// `--query.timeout`
    pub query_timeout: Duration,
    /// `--query.max-concurrency`
    pub query_concurrency_max: usize,
    /// `--query.max-samples`
    pub query_samples_max: u64,
    /// `--query.max-memory`, bytes; 0 means a share of what there is.
    pub query_memory_max: u64,
    /// `--query.max-memory-per-query`, bytes; 0 means a share of the former.
    pub query_memory_each_max: u64,
    /// `--query.cache-memory`, bytes; 0 keeps no answers.
    pub query_cache_max: u64,
    /// `--rules.*`
    pub rules: RuleFlags,
    /// `--alertmanager.*`
    pub notify: NotifyFlags,
    /// `--enable-feature`, split at commas.
    pub features: Vec<String>,
    /// `--log.level`
    pub log_level: LogLevel,
    /// `--log.format`
    pub log_format: LogFormat,
    /// Value texts by name, for `/api/v1/status/flags`.
    pub map: BTreeMap<String, String>,
    /// What to say once at start.
    pub warnings: Vec<String>,
}

impl Flags {
    /// Checks and types what was given.
    pub fn new(given: &Given) -> Result<Self, FlagsError> {
        let map = flags_map(given);
        let text = |name: &str| map.get(name).map_or("", String::as_str);
        let is_on = |name: &str| text(name) == "true";
        let number = |name: &str| text(name).parse::<u64>().unwrap_or(u64::MAX);
        let count = |name: &str| usize::try_from(number(name)).unwrap_or(usize::MAX);
        let small = |name: &str| u32::try_from(number(name)).unwrap_or(u32::MAX);
        let duration = |name: &str| {
            Duration::from_millis(
                u64::try_from(parse_duration_ms(text(name)).unwrap_or(0)).unwrap_or(0),
            )
        };
        check_mode(given, is_on("agent"))?;

        let mut warnings = inert_warnings(given);
        let features = features(text("enable-feature"), &mut warnings);
        let has = |feature: &str| features.iter().any(|f| f == feature);

        let config_file = given
            .values
            .contains_key("config.file")
            .then(|| PathBuf::from(text("config.file")));
        let auto_reload = is_on("config.auto-reload") || has("auto-reload-config");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = match count("web.workers") {
            0 => cores,
            n => n.min(cores * 8),
        };
        let external_url = text("web.external-url").to_owned();
        let prefix = route_prefix(text("web.route-prefix"), &external_url)?;
        Ok(Flags {
            config_file,
            auto_reload_interval: auto_reload
                .then(|| duration("config.auto-reload-interval").max(Duration::from_secs(1))),
            print_default_config: is_on("print-default-config"),
            listen_addresses: listen_addresses(given, text("web.listen-address"))?,
            workers,
            web_config_file: Some(text("web.config.file"))
                .filter(|given| !given.is_empty())
                .map(PathBuf::from),
            read_timeout: duration("web.read-timeout"),
            connections_max: count("web.max-connections").max(1),
            notification_listeners_max: count("web.max-notifications-subscribers"),
            route_prefix: prefix.clone(),
            external_url,
            lifecycle: is_on("web.enable-lifecycle"),
            admin_api: is_on("web.enable-admin-api"),
            remote_write_receiver: is_on("web.enable-remote-write-receiver"),
            otlp_receiver: is_on("web.enable-otlp-receiver"),
            influx_receiver: is_on("web.enable-influx-receiver"),
            remote_write_messages: protobuf_messages(text(
                "web.remote-write-receiver.accepted-protobuf-messages",
            ))?,
            cors_origin: cors_origin(text("web.cors.origin"))?,
            data_dir: PathBuf::from(text("storage.tsdb.path")),
            retention_time: ["storage.tsdb.retention.time", "storage.tsdb.retention"]
                .map(duration)
                .into_iter()
                .find(|given| !given.is_zero()),
            retention_size: parse_bytes(text("storage.tsdb.retention.size"))
                .ok()
                .filter(|bytes| *bytes > 0),
            block_duration_min: duration("storage.tsdb.min-block-duration")
                .max(Duration::from_millis(1)),
            block_duration_max: Some(duration("storage.tsdb.max-block-duration"))
                .filter(|given| !given.is_zero()),
            compact_overlapping: is_on("storage.tsdb.allow-overlapping-compaction"),
            ack: match text("storage.ack") {
                "fast" => Ack::Fast,
                _ => Ack::Durable,
            },
            wal_sync_interval: duration("storage.wal-sync-interval"),
            memory_limit: parse_bytes(text("storage.memory-limit")).unwrap_or(0),
            series_per_shard_max: small("storage.max-series-per-shard"),
            series_limits: SeriesLimits {
                new_per_minute_max: small("storage.max-new-series-per-minute"),
                labels_max: small("storage.max-labels-per-series"),
                label_name_bytes_max: small("storage.max-label-name-length"),
                label_value_bytes_max: small("storage.max-label-value-length"),
            },
            shards: Some(count("storage.shards")).filter(|n| *n > 0),
            push: is_on("push.enable"),
            push_scrape_interval: Some(text("push.scrape-interval"))
                .filter(|given| !given.is_empty())
                .map(|_| duration("push.scrape-interval")),
            push_ttl: duration("push.ttl"),
            push_groups_max: count("push.max-groups").max(1),
            push_bytes_max: parse_bytes(text("push.max-bytes")).map_or(usize::MAX, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }),
            runtime: match text("runtime") {
                "glommio" => Runtime::Glommio,
                "tokio" => Runtime::Tokio,
                _ => Runtime::Auto,
            },
            discovery_throttle: duration("scrape.discovery-reload-interval"),
            remote_read_samples_max: text("storage.remote.read-sample-limit")
                .parse::<f64>()
                .map_or(0, |limit| limit as usize),
            remote_reads_max: count("storage.remote.read-concurrent-limit"),
            remote_read_frame_bytes_max: count("storage.remote.read-max-bytes-in-frame"),
            lookback_delta: duration("query.lookback-delta"),
            query_timeout: duration("query.timeout"),
            query_concurrency_max: count("query.max-concurrency").max(1),
            query_samples_max: number("query.max-samples"),
            query_memory_max: parse_bytes(text("query.max-memory")).unwrap_or(0),
            query_memory_each_max: parse_bytes(text("query.max-memory-per-query")).unwrap_or(0),
            query_cache_max: parse_bytes(text("query.cache-memory")).unwrap_or(0),
            rules: RuleFlags {
                outage_tolerance: duration("rules.alert.for-outage-tolerance"),
                grace_period: duration("rules.alert.for-grace-period"),
                resend_delay: duration("rules.alert.resend-delay"),
                concurrent_max: match has("concurrent-rule-eval") {
                    true => count("rules.max-concurrent-evals").max(1),
                    false => 0,
                },
                query_timeout: duration("query.timeout"),
            },
            notify: NotifyFlags {
                queue_capacity: count("alertmanager.notification-queue-capacity"),
                batch_size: count("alertmanager.notification-batch-size").max(1),
                drain: is_on("alertmanager.drain-notification-queue-on-shutdown"),
            },
            features,
            log_level: match text("log.level") {
                "debug" => LogLevel::Debug,
                "warn" => LogLevel::Warn,
                "error" => LogLevel::Error,
                _ => LogLevel::Info,
            },
            log_format: match text("log.format") {
                "json" => LogFormat::Json,
                _ => LogFormat::Logfmt,
            },
            map: shown(map, &prefix),
            warnings,
        }
        .with_retention_shown())
    }

    /// What the command line asks to be kept; 15 days when it asks for nothing.
    pub fn retention(&self) -> RetentionSettings {
        retention_of(self.retention_time, self.retention_size, None)
    }

    /// Shows what follows from the flags' absence in their place, as Prometheus does: Thanos reads it there.
    fn with_retention_shown(mut self) -> Flags {
        let time_ms = self.retention().time_ms;
        let widest = match (self.block_duration_max, time_ms) {
            (Some(given), _) => ms(given),
            (None, Some(kept)) => (kept / 10).min(BLOCK_RANGE_MAX_MS),
            (None, None) => BLOCK_RANGE_MAX_MS,
        };
        let widest = widest.max(ms(self.block_duration_min));
        let mut show = |name: &str, ms: i64| {
            self.map.insert(name.to_owned(), format_duration_ms(ms));
        };
        show("storage.tsdb.retention.time", time_ms.unwrap_or(0));
        show("storage.tsdb.max-block-duration", widest);
        self
    }

    /// The file to load now; `None` when none was given and the default one does not exist: the built-in configuration. Asked
    /// again at each reload, so that a `prometheus.yml` written later counts.
    pub fn config_path(&self) -> Option<PathBuf> {
        let default = || find("config.file").map(|spec| PathBuf::from(spec.default));
        let found = || default().filter(|path| path.exists());
        self.config_file.clone().or_else(found)
    }

    /// Is any feature on that wants start timestamps?
    pub fn reads_starts(&self) -> bool {
        self.has_feature("st-storage") || self.has_feature("created-timestamp-zero-ingestion")
    }

    /// Was this value of `--enable-feature` given?
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|f| f == name)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Retention from what was asked for; without any wish 15 days.
pub fn retention_of(
    time: Option<Duration>,
    size_bytes: Option<u64>,
    size_percent: Option<f64>,
) -> RetentionSettings {
    let time_ms = time.map(ms);
    let nothing = time_ms.is_none() && size_bytes.is_none() && size_percent.is_none();
    RetentionSettings {
        time_ms: time_ms.or_else(|| nothing.then_some(RETENTION_DEFAULT_MS)),
        size_bytes,
        size_percent,
    }
}

/// The values as `status/flags` shows them: what was left out by its meaning, as Prometheus does after it has read the command line.
fn shown(mut map: BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    for spec in FLAGS {
        let Some(value) = map.get_mut(spec.name) else {
            continue;
        };
        match spec.kind {
            Kind::Duration | Kind::GoDuration if value.is_empty() => "0s".clone_into(value),
            Kind::Bytes if value.is_empty() => "0B".clone_into(value),
            Kind::Float => {
                if let Ok(number) = value.parse::<f64>() {
                    *value = number.to_string();
                }
            }
            _ => {}
        }
    }
    let prefix = if prefix.is_empty() { "/" } else { prefix };
    map.insert("web.route-prefix".to_owned(), prefix.to_owned());
    map
}

fn check_mode(given: &Given, agent: bool) -> Result<(), FlagsError> {
    let wrong: Vec<String> = given
        .values
        .keys()
        .filter(|name| {
            find(name).is_some_and(|spec| match spec.mode {
                Mode::Any => false,
                Mode::Server => agent,
                Mode::Agent => !agent,
            })
        })
        .map(|name| format!("--{name}"))
        .collect();
    match (wrong.is_empty(), agent) {
        (true, _) => Ok(()),
        (false, true) => Err(FlagsError::ServerOnly(wrong)),
        (false, false) => Err(FlagsError::AgentOnly(wrong)),
    }
}

fn inert_warnings(given: &Given) -> Vec<String> {
    FLAGS
        .iter()
        .filter(|spec| spec.status == Status::Inert && given.values.contains_key(spec.name))
        .map(|spec| match spec.name {
            "agent" => "--agent is accepted, but agent mode is not active: the server runs with its storage".to_owned(),
            name => format!("--{name} is accepted for compatibility and has no effect"),
        })
        .collect()
}

fn features(text: &str, warnings: &mut Vec<String>) -> Vec<String> {
    let all: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|f| !f.is_empty())
        .map(str::to_owned)
        .collect();
    for feature in &all {
        match FEATURES.iter().find(|(name, _)| name == feature) {
            Some((_, Status::Works)) => {}
            Some((_, Status::Inert)) => warnings.push(format!(
                "--enable-feature={feature} is accepted for compatibility and has no effect"
            )),
            None => warnings.push(format!("Unknown option for --enable-feature: {feature}")),
        }
    }
    all
}

/// `:9090` means all interfaces and both families, a name is resolved, everything else is an address with a port.
fn listen_addresses(given: &Given, default: &str) -> Result<Vec<SocketAddr>, FlagsError> {
    let default = [default.to_owned()];
    let texts: &[String] = given
        .values
        .get("web.listen-address")
        .map_or(&default, Vec::as_slice);
    let mut out = Vec::new();
    for text in texts {
        let refuse = |reason: String| FlagsError::ListenAddress {
            address: text.clone(),
            reason,
        };
        let full = match text.strip_prefix(':') {
            Some(port) => format!("[::]:{port}"),
            None => text.clone(),
        };
        let mut found = full.to_socket_addrs().map_err(|e| refuse(e.to_string()))?;
        let address = found
            .next()
            .ok_or_else(|| refuse("the name has no address".to_owned()))?;
        if !out.contains(&address) {
            out.push(address);
        }
    }
    Ok(out)
}

fn route_prefix(prefix: &str, external_url: &str) -> Result<String, FlagsError> {
    let refuse = |reason: String| FlagsError::ExternalUrl {
        url: external_url.to_owned(),
        reason,
    };
    let path = if external_url.is_empty() {
        String::new()
    } else {
        if external_url.contains('\'') || external_url.contains('"') {
            return Err(refuse("URL must not begin or end with quotes".to_owned()));
        }
        let with_scheme = if external_url.contains("://") {
            external_url.to_owned()
        } else {
            format!("http://{external_url}")
        };
        url::Url::parse(&with_scheme)
            .map_err(|e| refuse(e.to_string()))?
            .path()
            .to_owned()
    };
    let chosen = if prefix.is_empty() { &path } else { prefix };
    let trimmed = chosen.trim_matches('/');
    Ok(if trimmed.is_empty() {
        String::new()
    } else {
        format!("/{trimmed}")
    })
}

fn protobuf_messages(text: &str) -> Result<Vec<String>, FlagsError> {
    let mut out = Vec::new();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        if !["prometheus.WriteRequest", "io.prometheus.write.v2.Request"].contains(&name) {
            return Err(FlagsError::ProtobufMessage(name.to_owned()));
        }
        out.push(name.to_owned());
    }
    Ok(out)
}

fn cors_origin(pattern: &str) -> Result<Option<Regex>, FlagsError> {
    if pattern == ".*" {
        return Ok(None);
    }
    Regex::new(&format!("^(?s:{pattern})$"))
        .map(Some)
        .map_err(|e| FlagsError::CorsOrigin(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn flags(args: &[&str]) -> Result<Flags, FlagsError> {
        Flags::new(&parse(args.iter().map(|a| (*a).to_owned())).unwrap())
    }

    #[test]
    fn defaults_are_prometheus_s_but_for_the_receiver() {
        let f = flags(&[]).unwrap();
        assert_eq!(f.listen_addresses, ["0.0.0.0:9090".parse().unwrap()]);
        assert_eq!(f.data_dir, PathBuf::from("data/"));
        assert!(f.remote_write_receiver && !f.lifecycle);
        assert_eq!(f.lookback_delta, Duration::from_secs(300));
        assert_eq!(f.query_timeout, Duration::from_secs(120));
        assert_eq!(f.query_samples_max, 50_000_000);
        assert_eq!(f.ack, Ack::Durable);
        assert_eq!(f.shards, None);
        assert_eq!(f.remote_write_messages.len(), 2);
        assert!(f.warnings.is_empty() && f.cors_origin.is_none());
        for (name, value) in [
            ("web.route-prefix", "/"),
            ("storage.tsdb.retention.size", "0B"),
            ("storage.tsdb.retention.time", "15d"),
            ("storage.tsdb.min-block-duration", "2h"),
            ("storage.tsdb.max-block-duration", "1d12h"),
            ("storage.remote.read-sample-limit", "50000000"),
        ] {
            assert_eq!(f.map[name], value, "{name}");
        }
    }

    #[test]
    fn values_are_typed() {
        let f = flags(&[
            "--web.listen-address=:0",
            "--storage.ack=fast",
            "--storage.shards=3",
            "--runtime=tokio",
            "--web.external-url=http://x.example/prom/",
            "--enable-feature=auto-reload-config,exemplar-storage,nonsense",
            "--web.cors.origin=https?://a\\.b",
        ])
        .unwrap();
        assert_eq!(f.listen_addresses, ["[::]:0".parse().unwrap()]);
        assert_eq!(
            (f.ack, f.shards, f.runtime),
            (Ack::Fast, Some(3), Runtime::Tokio)
        );
        assert_eq!(f.route_prefix, "/prom");
        assert_eq!(f.map["web.route-prefix"], "/prom");
        assert_eq!(f.auto_reload_interval, Some(Duration::from_secs(30)));
        let origin = f.cors_origin.as_ref().unwrap();
        assert!(origin.is_match("https://a.b") && !origin.is_match("https://a.b.c"));
        assert_eq!(f.warnings.len(), 1, "{:?}", f.warnings);
        assert!(f.warnings[0].contains("nonsense"));
    }

    #[test]
    fn retention_is_what_was_asked_for_or_15_days() {
        let kept = |args: &[&str]| {
            let f = flags(args).unwrap();
            let shown = f.map["storage.tsdb.max-block-duration"].clone();
            (f.retention().time_ms, f.retention().size_bytes, shown)
        };
        let day = 24 * 3_600_000;
        assert_eq!(kept(&[]), (Some(15 * day), None, "1d12h".to_owned()));
        let time = "--storage.tsdb.retention.time=10d";
        let size = "--storage.tsdb.retention.size=1GB";
        assert_eq!(kept(&[time]), (Some(10 * day), None, "1d".to_owned()));
        assert_eq!(kept(&[size]), (None, Some(1 << 30), "31d".to_owned()));
        assert_eq!(
            kept(&[time, size, "--storage.tsdb.retention=1d"]),
            (Some(10 * day), Some(1 << 30), "1d".to_owned())
        );
        let old = kept(&["--storage.tsdb.retention=100d"]);
        assert_eq!(old, (Some(100 * day), None, "10d".to_owned()));
        let short = kept(&["--storage.tsdb.retention.time=1h"]);
        assert_eq!(short.2, "2h", "no smaller than the smallest");
        let asked = kept(&["--storage.tsdb.max-block-duration=2h", time]);
        assert_eq!(asked.2, "2h");
    }

    #[test]
    fn inert_flags_warn_and_modes_exclude() {
        let f = flags(&[
            "--storage.tsdb.wal-segment-size=100MB",
            "--web.console.templates=x",
        ])
        .unwrap();
        assert_eq!(f.warnings.len(), 2);
        let wrong = flags(&["--storage.agent.path=x"]).unwrap_err();
        assert_eq!(wrong.exit_code(), 3);
        assert_eq!(
            wrong.to_string(),
            "The following flag(s) can only be used in agent mode: [\"--storage.agent.path\"]"
        );
        assert_eq!(
            flags(&["--agent", "--query.timeout=1m"])
                .unwrap_err()
                .exit_code(),
            3
        );
        assert!(flags(&["--agent"]).is_ok());
    }

    #[test]
    fn bad_values_are_refused() {
        for args in [
            &["--web.listen-address=nowhere"][..],
            &["--web.cors.origin=("],
            &["--web.external-url='http://x'"],
            &["--web.remote-write-receiver.accepted-protobuf-messages=foo"],
        ] {
            assert_eq!(flags(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
