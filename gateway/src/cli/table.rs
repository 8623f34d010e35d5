//! The table of flags: names, defaults and help as Prometheus has them, and ours.
//!
//! Promise: every flag of Prometheus 3 is here, visible or hidden, so that a start script written for it is understood.
//! Not here: reading the command line (`parse`), typed values (`flags`).

/// What kind of value a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--x` and `--no-x`.
    Bool,
    /// Any text.
    Text,
    /// Any text, may be given several times.
    List,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A duration in Prometheus's notation (`1h30m`).
    Duration,
    /// A duration that may also be written as Go does (`1.5s`); Go prints and reads it differently from [`Kind::Duration`].
    GoDuration,
    /// A byte size with unit (`512MB`, powers of 1024).
    Bytes,
    /// A whole number, may be negative.
    Int,
    /// A whole number from 0.
    Uint,
    /// A number.
    Float,
}

/// What becomes of a flag here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what its help says.
    Works,
    /// Prometheus has it; here it is accepted, and a warning at start says that it changes nothing.
    Inert,
}

/// In which of Prometheus's two modes a flag may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    Any,
    /// Not together with `--agent`.
    Server,
    /// Only together with `--agent`.
    Agent,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct FlagSpec {
    /// Name without the dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Default as text; empty means none.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Left out of `--help`.
    pub hidden: bool,
    /// Does it do something here?
    pub status: Status,
    /// Where it may be given.
    pub mode: Mode,
}

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> FlagSpec {
    FlagSpec {
        name,
        kind,
        default,
        help,
        hidden: false,
        status: Status::Works,
        mode: Mode::Any,
    }
}

impl FlagSpec {
    const fn inert(mut self) -> Self {
        self.status = Status::Inert;
        self
    }
    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
    const fn server(mut self) -> Self {
        self.mode = Mode::Server;
        self
    }
    const fn agent(mut self) -> Self {
        self.mode = Mode::Agent;
        self
    }
}

use Kind::*;

/// Log levels.
const LOG_LEVELS: &[&str] = &["debug", "info", "warn", "error"];
/// Log formats.
const LOG_FORMATS: &[&str] = &["logfmt", "json"];
/// Acknowledgement modes.
const ACK_MODES: &[&str] = &["durable", "fast"];
/// Shells of the data plane.
const RUNTIMES: &[&str] = &["auto", "glommio", "tokio"];
const COMPRESSIONS: &[&str] = &["snappy", "zstd", "none"];

/// All flags, in the order of `--help`.
pub const FLAGS: &[FlagSpec] = &[
    flag("config.file", Text, "prometheus.yml", "Prometheus configuration file path. Without this flag and without such a file, a built-in configuration scrapes this server every 5 seconds."),
    flag("config.auto-reload", Bool, "false", "Enable automatic configuration file reloading. See also --config.auto-reload-interval."),
    flag("config.auto-reload-interval", Duration, "30s", "Specifies the interval for checking and automatically reloading the configuration file upon detecting changes."),
    flag("print-default-config", Bool, "false", "Print the built-in configuration, a good start for a prometheus.yml, and exit."),
    flag("web.listen-address", List, "0.0.0.0:9090", "Address to listen on for UI, API, and telemetry. Can be repeated. Port 0 picks a free port."),
    flag("web.workers", Uint, "0", "Threads that serve HTTP and scrape. 0 means one per core."),
    flag("auto-gomaxprocs", Bool, "true", "Automatically set GOMAXPROCS to match Linux container CPU quota").inert(),
    flag("auto-gomemlimit", Bool, "true", "Automatically set GOMEMLIMIT to match Linux container or system memory limit").inert(),
    flag("auto-gomemlimit.ratio", Float, "0.9", "The ratio of reserved GOMEMLIMIT memory to the detected maximum container or system memory").inert(),
    flag("auto-gomemlimit.refresh-interval", GoDuration, "0s", "Interval at which to re-detect the container or system memory limit and update GOMEMLIMIT accordingly.").inert(),
    flag("web.config.file", Text, "", "[EXPERIMENTAL] Path to configuration file that can enable TLS or authentication."),
    flag("web.read-timeout", Duration, "5m", "Maximum duration before timing out read of the request, and closing idle connections."),
    flag("web.max-connections", Uint, "512", "Maximum number of simultaneous connections across all listeners."),
    flag("web.max-notifications-subscribers", Uint, "16", "Limits the maximum number of subscribers that can concurrently receive live notifications."),
    flag("web.external-url", Text, "", "The URL under which the server is externally reachable (for example, if it is served via a reverse proxy). Used for generating relative and absolute links back to the server itself. If omitted, relevant URL components will be derived automatically."),
    flag("web.route-prefix", Text, "", "Prefix for the internal routes of web endpoints. Defaults to path of --web.external-url."),
    flag("web.user-assets", Text, "", "Path to static asset directory, available at /user.").inert(),
    flag("web.enable-lifecycle", Bool, "false", "Enable shutdown and reload via HTTP request."),
    flag("web.enable-admin-api", Bool, "false", "Enable API endpoints for admin control actions."),
    flag("web.enable-remote-write-receiver", Bool, "true", "Enable API endpoint accepting remote write requests. On here without the flag; --no-web.enable-remote-write-receiver turns it off."),
    flag("web.remote-write-receiver.accepted-protobuf-messages", List, "prometheus.WriteRequest,io.prometheus.write.v2.Request", "List of the remote write protobuf messages to accept when receiving the remote writes. Supported values: prometheus.WriteRequest, io.prometheus.write.v2.Request"),
    flag("web.enable-influx-receiver", Bool, "true", "Take InfluxDB's line protocol on /write and /api/v2/write: a field becomes the series measurement_field, tags its labels."),
    flag("web.enable-otlp-receiver", Bool, "true", "Enable API endpoint accepting OTLP write requests. On here without the flag; --no-web.enable-otlp-receiver turns it off."),
    flag("web.console.templates", Text, "consoles", "Path to the console template directory, available at /consoles.").inert(),
    flag("web.console.libraries", Text, "console_libraries", "Path to the console library directory.").inert(),
    flag("web.page-title", Text, "Prometheus Time Series Collection and Processing Server", "Document title of the instance."),
    flag("web.cors.origin", Text, ".*", "Regex for CORS origin. It is fully anchored. Example: 'https?://(domain1|domain2)\\.com'"),
    flag("storage.tsdb.path", Text, "data/", "Base path for metrics storage. Use with server mode only.").server(),
    flag("storage.ack", Enum(ACK_MODES), "durable", "When a write is acknowledged: \"durable\" after it is on the disk, \"fast\" after it was handed to the kernel."),
    flag("storage.wal-sync-interval", Duration, "200ms", "With --storage.ack=fast, the longest time until an acknowledged write is on the disk."),
    flag("storage.memory-limit", Bytes, "0", "Most memory that series and samples may take, over all shards. Beyond it new series are refused, an eighth beyond it all writes; queries go on. 0 means seven tenths of the memory that the machine or the control group has."),
    flag("storage.max-series-per-shard", Uint, "20000000", "Most active series in one shard. Beyond it new series are refused, existing ones go on."),
    flag("storage.max-new-series-per-minute", Uint, "2000000", "Most series that may come into being in one shard within a minute. Beyond it new series are refused, existing ones go on. 0 means no limit."),
    flag("storage.max-labels-per-series", Uint, "128", "Most labels of a new series, the metric name included; one with more is refused. 0 means no limit."),
    flag("storage.max-label-name-length", Uint, "1024", "Most bytes of a label name of a new series; one with a longer name is refused. 0 means no limit."),
    flag("storage.max-label-value-length", Uint, "32768", "Most bytes of a label value of a new series; one with a longer value is refused. 0 means no limit."),
    flag("storage.shards", Uint, "0", "Shards of the storage, each with a thread of its own. 0 means one per core, or as many as the data directory has."),
    flag("push.enable", Bool, "true", "Take pushed metrics as a Pushgateway does, on /metrics/job/... and below /pushgateway."),
    flag("push.scrape-interval", Duration, "", "How often pushed metrics are scraped into the storage, as the job ferula_push. Without this flag as often as global.scrape_interval says. 0s leaves that to a job of yours, with honor_labels, for the path /pushgateway/metrics."),
    flag("push.ttl", Duration, "0s", "How long a group of pushed metrics lives after its last push, unless the push says so itself (?ttl=...). 0s means until it is deleted."),
    flag("push.max-groups", Uint, "100000", "Most groups of pushed metrics. A push that would make one more is refused."),
    flag("push.max-bytes", Bytes, "1GB", "Most memory that pushed metrics may take, about. A push beyond it is refused."),
    flag("runtime", Enum(RUNTIMES), "auto", "Executor of the storage threads: glommio needs io_uring, tokio does not, auto probes."),
    flag("storage.tsdb.retention.time", Duration, "", "[DEPRECATED] How long to retain samples in storage. If neither this flag nor \"storage.tsdb.retention.size\" is set, the retention time defaults to 15d. Use with server mode only.").server(),
    flag("storage.tsdb.retention.size", Bytes, "", "[DEPRECATED] Maximum number of bytes that can be stored for blocks. A unit is required, supported units: B, KB, MB, GB, TB, PB, EB. Ex: \"512MB\". Based on powers-of-2, so 1KB is 1024B. Use with server mode only.").server(),
    flag("storage.tsdb.no-lockfile", Bool, "false", "Do not create lockfile in data directory. Use with server mode only.").server().inert(),
    flag("storage.tsdb.head-chunks-write-queue-size", Int, "0", "Size of the queue through which head chunks are written to the disk to be m-mapped, 0 disables the queue completely. Experimental. Use with server mode only.").server().inert(),
    flag("storage.tsdb.delay-compact-file.path", Text, "", "Path to a JSON file with uploaded TSDB blocks e.g. Thanos shipper meta file. If set TSDB will only compact 1 level blocks that are marked as uploaded in that file, improving external storage integrations e.g. with Thanos sidecar. 1+ level compactions won't be delayed. Use with server mode only.").server().inert(),
    flag("storage.tsdb.min-block-duration", Duration, "2h", "Minimum duration of a data block before being persisted. For use in testing.").hidden().server(),
    flag("storage.tsdb.max-block-duration", Duration, "", "Maximum duration compacted blocks may span. For use in testing. (Defaults to 10% of the retention period.)").hidden().server(),
    flag("storage.tsdb.max-block-chunk-segment-size", Bytes, "", "The maximum size for a single chunk segment in a block. Example: 512MB").hidden().server().inert(),
    flag("storage.tsdb.wal-segment-size", Bytes, "", "Size at which to split the tsdb WAL segment files. Example: 100MB").hidden().server().inert(),
    flag("storage.tsdb.allow-overlapping-blocks", Bool, "true", "Allow overlapping blocks, which in turn enables vertical compaction and vertical query merge. Has been always on since 2.39.").hidden().server().inert(),
    flag("storage.tsdb.allow-overlapping-compaction", Bool, "true", "Allow compaction of overlapping blocks. If set to false, TSDB stops vertical compaction and leaves overlapping blocks there. The use case is to let another component handle the compaction of overlapping blocks.").hidden().server(),
    flag("storage.tsdb.wal-compression", Bool, "true", "Compress the tsdb WAL. If false, the --storage.tsdb.wal-compression-type flag is ignored.").hidden().server().inert(),
    flag("storage.tsdb.wal-compression-type", Enum(COMPRESSIONS), "snappy", "Compression algorithm for the tsdb WAL, used when --storage.tsdb.wal-compression is true.").hidden().server().inert(),
    flag("storage.tsdb.samples-per-chunk", Uint, "120", "Target number of samples per chunk.").hidden().server().inert(),
    flag("storage.tsdb.delayed-compaction.max-percent", Uint, "10", "Sets the upper limit for the random compaction delay, specified as a percentage of the head chunk range.").hidden().server().inert(),
    flag("storage.tsdb.block-reload-interval", Duration, "1m", "Interval at which to check for new or removed blocks in storage.").hidden().server().inert(),
    flag("storage.tsdb.retention", Duration, "", "[DEPRECATED] How long to retain samples in storage. This flag has been deprecated, use \"storage.tsdb.retention.time\" instead.").hidden().server(),
    flag("storage.agent.path", Text, "data-agent/", "Base path for metrics storage. Use with agent mode only.").agent().inert(),
    flag("storage.agent.wal-compression", Bool, "true", "Compress the agent WAL. If false, the --storage.agent.wal-compression-type flag is ignored. Use with agent mode only.").agent().inert(),
    flag("storage.agent.retention.min-time", Duration, "5m", "Minimum age samples may be before being considered for deletion when the WAL is truncated Use with agent mode only.").agent().inert(),
    flag("storage.agent.retention.max-time", Duration, "4h", "Maximum age samples may be before being forcibly deleted when the WAL is truncated Use with agent mode only.").agent().inert(),
    flag("storage.agent.checkpoint-from-in-memory-series", Bool, "false", "Use only in-memory series data when building a checkpoint. Use with agent mode only.").agent().inert(),
    flag("storage.agent.checkpoint-batch-size", Int, "1000", "Size of a single WAL log entry chunk to be flushed. Has no effect without --storage.agent.checkpoint-from-in-memory-series. Use with agent mode only.").agent().inert(),
    flag("storage.agent.no-lockfile", Bool, "false", "Do not create lockfile in data directory. Use with agent mode only.").agent().inert(),
    flag("storage.agent.wal-segment-size", Bytes, "", "Size at which to split WAL segment files. Example: 100MB").hidden().agent().inert(),
    flag("storage.agent.wal-compression-type", Enum(COMPRESSIONS), "snappy", "Compression algorithm for the agent WAL.").hidden().agent().inert(),
    flag("storage.agent.wal-truncate-frequency", Duration, "", "The frequency at which to truncate the WAL and remove old data.").hidden().agent().inert(),
    flag("storage.remote.flush-deadline", Duration, "1m", "How long to wait flushing sample on shutdown or config reload.").inert(),
    flag("storage.remote.read-sample-limit", Float, "5e7", "Maximum overall number of samples to return via the remote read interface, in a single query. 0 means no limit. This limit is ignored for streamed response types. Use with server mode only.").server(),
    flag("storage.remote.read-concurrent-limit", Int, "10", "Maximum number of concurrent remote read calls. 0 means no limit. Use with server mode only.").server(),
    flag("storage.remote.read-max-bytes-in-frame", Int, "1048576", "Maximum number of bytes in a single frame for streaming remote read response types before marshalling. Note that client might have limit on frame size as well. 1MB as recommended by protobuf by default. Use with server mode only.").server(),
    flag("web.search.max-limit", Int, "10000", "Hard upper bound on the \"limit\" query parameter accepted by the experimental search API (--enable-feature=search-api).").inert(),
    flag("rules.alert.for-outage-tolerance", Duration, "1h", "Max time to tolerate an outage of this server for restoring \"for\" state of alert. Use with server mode only.").server(),
    flag("rules.alert.for-grace-period", Duration, "10m", "Minimum duration between alert and restored \"for\" state. This is maintained only for alerts with configured \"for\" time greater than grace period. Use with server mode only.").server(),
    flag("rules.alert.resend-delay", Duration, "1m", "Minimum amount of time to wait before resending an alert to Alertmanager. Use with server mode only.").server(),
    flag("rules.max-concurrent-evals", Uint, "4", "Global concurrency limit for independent rules that can run concurrently. When set, \"query.max-concurrency\" may need to be adjusted accordingly. Use with server mode only.").server(),
    flag("alertmanager.notification-queue-capacity", Uint, "10000", "The capacity of the queue for pending Alertmanager notifications. Use with server mode only.").server(),
    flag("alertmanager.notification-batch-size", Uint, "256", "The maximum number of notifications per batch to send to the Alertmanager. Use with server mode only.").server(),
    flag("alertmanager.drain-notification-queue-on-shutdown", Bool, "true", "Send any outstanding Alertmanager notifications when shutting down. If false, any outstanding Alertmanager notifications will be dropped when shutting down. Use with server mode only.").server(),
    flag("alertmanager.timeout", Duration, "", "[DEPRECATED] Has no effect in Prometheus either.").hidden().server().inert(),
    flag("scrape.adjust-timestamps", Bool, "true", "Adjust scrape timestamps by up to scrape.timestamp-tolerance to align them to the intended schedule. Experimental.").hidden().inert(),
    flag("scrape.timestamp-tolerance", GoDuration, "2ms", "Timestamp tolerance. Experimental.").hidden().inert(),
    flag("scrape.discovery-reload-interval", Duration, "5s", "Interval used by scrape manager to throttle target groups updates.").hidden(),
    flag("query.lookback-delta", Duration, "5m", "The maximum lookback duration for retrieving metrics during expression evaluations and federation. Use with server mode only.").server(),
    flag("query.timeout", Duration, "2m", "Maximum time a query may take before being aborted. Use with server mode only.").server(),
    flag("query.max-concurrency", Uint, "20", "Maximum number of queries executed concurrently. Use with server mode only.").server(),
    flag("query.max-samples", Uint, "50000000", "Maximum number of samples a single query can load into memory. Note that queries will fail if they try to load more samples than this into memory, so this also limits the number of samples a query can return. Use with server mode only.").server(),
    flag("query.max-memory", Bytes, "0", "Most memory that all queries together may hold: their series, samples, groups and answers. A query that would exceed it fails. 0 means a fifth of the memory that the machine or the control group has. Use with server mode only.").server(),
    flag("query.max-memory-per-query", Bytes, "0", "Most memory that a single query may hold; one that would hold more fails. 0 means half of --query.max-memory. Use with server mode only.").server(),
    flag("query.cache-memory", Bytes, "64MB", "Most memory for answers of range queries that are kept, so that a query that is asked again is evaluated only at the steps that are new or may have changed. 0 keeps none; nocache=1 in a request leaves the kept answers alone. Use with server mode only.").server(),
    flag("enable-feature", List, "", "Comma separated feature names to enable. Valid options: concurrent-rule-eval, created-timestamp-zero-ingestion, delayed-compaction, exemplar-storage, extra-scrape-metrics, histograms-st-encoding, memory-snapshot-on-shutdown, metadata-wal-records, old-ui, otlp-deltatocumulative, otlp-native-delta-ingestion, promql-binop-fill-modifiers, promql-delayed-name-removal, promql-experimental-functions, promql-extended-range-selectors, promql-per-step-stats, search-api, st-storage, st-synthesis, type-and-unit-labels, use-start-timestamps, use-uncached-io, xor2-encoding. Ones without effect here are named in the log at start."),
    flag("agent", Bool, "false", "Run Prometheus in 'Agent mode'.").inert(),
    flag("log.level", Enum(LOG_LEVELS), "info", "Only log messages with the given severity or above. One of: [debug, info, warn, error]"),
    flag("log.format", Enum(LOG_FORMATS), "logfmt", "Output format of log messages. One of: [logfmt, json]"),
];

/// The flag of that name.
pub fn find(name: &str) -> Option<&'static FlagSpec> {
    FLAGS.iter().find(|f| f.name == name)
}

/// Values of `--enable-feature` that Prometheus knows, and whether they change something here.
pub const FEATURES: &[(&str, Status)] = &[
    ("auto-reload-config", Status::Works),
    ("extra-scrape-metrics", Status::Works),
    ("promql-experimental-functions", Status::Works),
    ("promql-delayed-name-removal", Status::Works),
    ("promql-extended-range-selectors", Status::Works),
    ("promql-binop-fill-modifiers", Status::Works),
    ("promql-per-step-stats", Status::Works),
    ("promql-duration-expr", Status::Works),
    ("concurrent-rule-eval", Status::Works),
    ("created-timestamp-zero-ingestion", Status::Works),
    ("delayed-compaction", Status::Inert),
    ("exemplar-storage", Status::Works),
    ("fast-startup", Status::Inert),
    ("histograms-st-encoding", Status::Inert),
    ("memory-snapshot-on-shutdown", Status::Inert),
    ("metadata-wal-records", Status::Inert),
    ("native-histograms", Status::Inert),
    ("ooo-native-histograms", Status::Inert),
    ("old-ui", Status::Inert),
    ("otlp-deltatocumulative", Status::Inert),
    ("otlp-native-delta-ingestion", Status::Inert),
    ("search-api", Status::Inert),
    ("st-storage", Status::Works),
    ("st-synthesis", Status::Inert),
    ("type-and-unit-labels", Status::Inert),
    ("use-start-timestamps", Status::Works),
    ("use-uncached-io", Status::Inert),
    ("xor2-encoding", Status::Inert),
    ("promql-at-modifier", Status::Works),
    ("promql-negative-offset", Status::Works),
    ("remote-write-receiver", Status::Works),
    ("new-service-discovery-manager", Status::Works),
    ("agent", Status::Inert),
    ("no-default-scrape-port", Status::Works),
    ("auto-gomaxprocs", Status::Inert),
    ("auto-gomemlimit", Status::Inert),
    ("utf8-names", Status::Works),
];
