//! The life of the process: start in order, serve, reload, stop in order.
//!
//! Order of the start: configuration, listeners, store (which replays in its own threads), workers, then scraping once the store can take samples.
//! Order of the end: no new requests, scrapes stop, requests drain, the store writes what it promised.

use crate::api::remote_read::RemoteReads;
use crate::api::rows::RowState;
use crate::api::write::WriteState;
use crate::app::{App, ReloadRequest};
use crate::cli::{Ack, Flags, Runtime};
use crate::config::{Config, Defaults};
use crate::http::server::{ServerLimits, bind, serve};
use crate::limits::{OPEN_FILES_WANTED, SHUTDOWN_DRAIN_MAX};
use crate::notifications::CONFIGURATION_UNSUCCESSFUL;
use crate::notify::Notifier;
use crate::own_door::{OwnDoor, lead_through};
use crate::push::{LogError, PushGateway, PushOptions, SyncMode};
use crate::query_slots::QuerySlots;
use crate::rules::{RuleManager, RuleSettings, external_url};
use crate::services::{ConfiguredJobs, RowCounters, Services, StoreTarget, WriteCounters};
use crate::web_config::{WebConfig, WebConfigError};
use crate::worker::{HttpMetrics, Worker};
use arc_swap::ArcSwap;
use ingest::clock::{Clock, SystemClock};
use ingest::discovery::config::StaticConfig;
use ingest::pushgateway::GroupLimits;
use ingest::remote_write::Version;
use ingest::scrape::ScrapeManager;
use ingest::scrape::ScrapeWorker;
use ingest::scrape::config::{ScrapeConfig, ScrapeProtocol};
use ingest::scrape::target::GlobalUrlOptions;
use query_engine::cache::ResultCache;
use query_engine::engine::{Engine, EngineOptions};
use query_engine::eval::memory::MemoryPool;
use query_engine::limits::QUERY_MEMORY_MAX;
use query_engine::parse::ParserOptions;
use rules::source::External;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use storage_engine::io::StandardDisk;
use storage_engine::limits::RESERVE_BYTES;
use storage_engine::maintenance::MaintenanceOptions;
use storage_engine::process::raise_open_files_limit;
use storage_engine::shard::StartSettings;
use storage_engine::store::{AckMode, OpenError, RuntimeChoice, Store, StoreOptions};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;

/// Why the process ends before it serves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is bad or not there.
    #[error("couldn't load configuration (--config.file={path:?}): {reason}")]
    Config {
        /// Which file.
        path: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The web configuration is bad or not there.
    #[error("Unable to validate web configuration file: {0}")]
    Web(#[from] WebConfigError),
    /// An address cannot be listened on.
    #[error("unable to start listener on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error("opening storage failed: {0}")]
    Store(#[from] OpenError),
    /// The log of pushed metrics cannot be used.
    #[error("opening the push log failed: {0}")]
    Push(#[from] LogError),
    /// Threads or signals are not to be had.
    #[error("starting: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the server until it is told to stop.
pub fn run(flags: Flags) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve_until_stopped(flags))
}

async fn serve_until_stopped(flags: Flags) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        workers = flags.workers,
        "Starting Ferula"
    );
    for warning in &flags.warnings {
        tracing::warn!("{warning}");
    }
    match raise_open_files_limit(OPEN_FILES_WANTED) {
        Ok(open_files) => tracing::debug!(open_files, "limit of open files"),
        Err(error) => tracing::warn!(err = %error, "the limit of open files cannot be raised"),
    }
    let web = match &flags.web_config_file {
        Some(path) => Some(Arc::new(WebConfig::load(path)?)),
        None => None,
    };
    let mut listeners = Vec::new();
    for address in &flags.listen_addresses {
        let bound = bind(*address, flags.workers).map_err(|source| StartError::Listen {
            address: *address,
            source,
        })?;
        listeners.push(bound);
    }
    let address = listeners
        .iter()
        .flatten()
        .next()
        .and_then(|l| l.local_addr().ok());
    let own_door = match &web {
        Some(_) => OwnDoor::open(flags.workers)?,
        None => OwnDoor::default(),
    };
    // The watch begins before the file is read, so that no change falls between the two.
    let watched = AutoReload::new(&flags);
    let config = load(&flags, address)?;
    let store = Arc::new(Store::open(store_options(&flags, &config))?);
    tracing::info!(
        runtime = store.runtime_name(),
        reason = store.runtime_reason(),
        shards = store.shard_count(),
        path = %flags.data_dir.display(),
        "storage is opening"
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let push = open_push(&flags, clock.clone())?;
    let (scrape, seats) = ScrapeManager::new(flags.workers, Handle::current(), clock, hostname());
    scrape.set_discovery_throttle(flags.discovery_throttle);
    let queries = Arc::new(QuerySlots::new(
        flags.query_concurrency_max,
        query_memory(&flags),
    ));
    let engine = Arc::new(ArcSwap::from_pointee(engine(&flags, &config, &queries)));
    let counters = Arc::clone(scrape.discovery().counters());
    let notify = Notifier::new(flags.notify, counters, Handle::current());
    let rules = RuleManager::new(
        store.clone(),
        engine.clone(),
        queries.clone(),
        Arc::new(notify.clone()),
        flags.rules,
        Handle::current(),
    );
    let services = Arc::new(Services {
        store: store.clone(),
        engine,
        queries,
        results: ResultCache::new(flags.query_cache_max as usize),
        rules,
        notify,
        reads: RemoteReads::new(&flags),
        scrape: scrape.clone(),
        global_url: global_url(&flags, address, web.as_deref()),
        config_yaml: ArcSwap::from_pointee(config.to_yaml()),
        write_messages: write_messages(&flags),
        writes: WriteCounters::default(),
        otlp: ArcSwap::from_pointee(config.otlp(flags.lookback_delta)),
        rows: RowCounters::default(),
        web: web.clone(),
        own_door: own_door.address,
        push,
        jobs: ArcSwap::from_pointee(ConfiguredJobs::default()),
    });
    let (app, reloads) = App::new(flags);
    let app = Arc::new(app);
    if let Some(web) = &web {
        for warning in &web.current().warnings {
            tracing::warn!("{warning}");
        }
        tokio::spawn(Arc::clone(web).watch(app.shutdown_signal()));
    }
    let threads = start_workers(&app, &services, listeners, own_door.listeners, seats)?;
    let opening = Instant::now();
    tokio::select! {
        ready = store.wait_ready() => ready?,
        () = signals.stop() => app.request_shutdown(),
    }
    if !app.is_stopping() {
        tracing::info!(duration = ?opening.elapsed(), "storage is ready");
        apply(&app, &services, address, config).await;
        app.set_ready();
        tracing::info!("Server is ready to receive web requests.");
        let scheme = scheme(web.as_deref());
        announce(address, scheme, &app.flags().route_prefix);
    }
    control(&app, &services, address, reloads, watched, &mut signals).await;
    stop(&services, threads, &mut signals).await;
    Ok(())
}

/// The file in force, or the built-in configuration, which scrapes the address that we really listen on.
fn load(flags: &Flags, address: Option<SocketAddr>) -> Result<Config, StartError> {
    match (flags.config_path(), address) {
        (Some(path), _) => {
            let loaded = Config::load(&path, Defaults::of(flags));
            let with_rules = loaded.and_then(|config| config.with_rules(&parser_options(flags)));
            with_rules.map_err(|error| StartError::Config {
                path: path.display().to_string(),
                reason: error.to_string(),
            })
        }
        (None, Some(address)) => Ok(Config::built_in_at(
            address,
            &flags.route_prefix,
            Defaults::of(flags),
        )),
        (None, None) => Ok(Config::built_in(flags)),
    }
}

fn store_options(flags: &Flags, config: &Config) -> StoreOptions {
    let mut options = StoreOptions::new(&flags.data_dir);
    options.shard_count = flags.shards;
    options.runtime = match flags.runtime {
        Runtime::Auto => RuntimeChoice::Auto,
        Runtime::Glommio => RuntimeChoice::Glommio,
        Runtime::Tokio => RuntimeChoice::Tokio,
    };
    options.ack = match flags.ack {
        Ack::Durable => AckMode::Durable,
        Ack::Fast => AckMode::Fast,
    };
    options.wal_sync_interval = flags.wal_sync_interval;
    let limit = match flags.memory_limit {
        0 => crate::memory::available_bytes().map(|bytes| bytes / 10 * 7),
        bytes => Some(bytes),
    };
    options.memory_bytes_max = limit;
    let range_ms = i64::try_from(flags.block_duration_min.as_millis()).unwrap_or(i64::MAX);
    // Half of what a block spans, as in Prometheus.
    options.out_of_bounds_window_ms = Some(range_ms / 2);
    options.maintenance = MaintenanceOptions {
        block_range_ms: range_ms,
        block_range_max_ms: flags
            .block_duration_max
            .map(|widest| i64::try_from(widest.as_millis()).unwrap_or(i64::MAX)),
        compact_overlapping: flags.compact_overlapping,
        retention: flags.retention(),
        reserve_bytes: RESERVE_BYTES,
        ..MaintenanceOptions::default()
    };
    options.exemplars_max = exemplars_max(flags, config);
    options.starts = StartSettings {
        keep: flags.has_feature("st-storage"),
        zero_sample: flags.has_feature("created-timestamp-zero-ingestion"),
    };
    options.series_per_shard_max = flags.series_per_shard_max;
    options.series_limits = flags.series_limits;
    options
}

/// Exemplars to keep at most: none without the feature.
fn exemplars_max(flags: &Flags, config: &Config) -> usize {
    match flags.has_feature("exemplar-storage") {
        true => config.exemplars_max(),
        false => 0,
    }
}

/// Bytes that all queries together may hold.
fn query_memory(flags: &Flags) -> Arc<MemoryPool> {
    let bytes = match flags.query_memory_max {
        0 => crate::memory::available_bytes().map(|bytes| bytes / 5),
        bytes => Some(bytes),
    };
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes
        .map(MemoryPool::new)
        .map_or_else(Arc::default, Arc::new)
}

/// Bytes that one query may hold.
fn query_memory_each(flags: &Flags, all: &MemoryPool) -> usize {
    match usize::try_from(flags.query_memory_each_max) {
        Ok(0) if all.bytes_max() == usize::MAX => QUERY_MEMORY_MAX,
        Ok(0) => all.bytes_max() / 2,
        Ok(bytes) => bytes,
        Err(_) => usize::MAX,
    }
}

fn engine(flags: &Flags, config: &Config, queries: &QuerySlots) -> Engine {
    let feature = |name: &str| flags.has_feature(name);
    let defaults = EngineOptions::default();
    Engine::new(EngineOptions {
        parser: parser_options(flags),
        lookback_delta_ms: flags.lookback_delta.as_millis() as i64,
        max_samples: usize::try_from(flags.query_samples_max).unwrap_or(usize::MAX),
        max_memory: query_memory_each(flags, queries.memory()),
        memory: Arc::clone(queries.memory()),
        default_subquery_step_ms: config.evaluation_interval().as_millis() as i64,
        delayed_name_removal: feature("promql-delayed-name-removal"),
        use_start_timestamps: feature("use-start-timestamps"),
        ..defaults
    })
}

/// What the language has switched on.
fn parser_options(flags: &Flags) -> ParserOptions {
    ParserOptions {
        experimental_functions: flags.has_feature("promql-experimental-functions"),
        extended_range_selectors: flags.has_feature("promql-extended-range-selectors"),
        binop_fill_modifiers: flags.has_feature("promql-binop-fill-modifiers"),
        ..ParserOptions::default()
    }
}

/// Puts the rules and alert receivers of a configuration in force.
async fn apply_rules(app: &App, services: &Services, address: Option<SocketAddr>, config: &Config) {
    let flags = app.flags();
    let labels = config.external_labels();
    let external = External {
        labels: labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        url: external_url(flags, &hostname(), address),
    };
    services
        .notify
        .apply(config.notify_settings(external.clone()));
    let settings = RuleSettings {
        files: config.rules().clone(),
        interval_ms: config.evaluation_interval().as_millis() as i64,
        query_offset_ms: config.document().global.rule_query_offset.0,
        external,
        parser: parser_options(flags),
    };
    let first = app.reload_state().count() == 0;
    services.rules.apply(&settings, first).await;
}

fn write_messages(flags: &Flags) -> Vec<Version> {
    if !flags.remote_write_receiver {
        return Vec::new();
    }
    flags
        .remote_write_messages
        .iter()
        .filter_map(|m| Version::from_message(m))
        .collect()
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// How a browser reaches us.
fn scheme(web: Option<&WebConfig>) -> &'static str {
    match web.is_some_and(|web| web.current().tls.is_some()) {
        true => "https",
        false => "http",
    }
}

fn global_url(
    flags: &Flags,
    address: Option<SocketAddr>,
    web: Option<&WebConfig>,
) -> GlobalUrlOptions {
    let listen_address = address.map_or_else(String::new, |a| a.to_string());
    match url::Url::parse(&flags.external_url) {
        Ok(url) => {
            let host = url.host_str().unwrap_or("localhost");
            let host = match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            GlobalUrlOptions {
                listen_address,
                host,
                scheme: url.scheme().to_owned(),
            }
        }
        Err(_) => {
            let port = address.map_or(0, |a| a.port());
            let host = format!("{}:{port}", hostname());
            GlobalUrlOptions {
                listen_address,
                host,
                scheme: scheme(web).to_owned(),
            }
        }
    }
}

/// Puts a configuration in force.
async fn apply(app: &App, services: &Services, address: Option<SocketAddr>, mut config: Config) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for section in config.inactive_sections() {
        tracing::warn!(section, "parsed, but not active in this version");
    }
    if app.flags().has_feature("exemplar-storage") {
        config.show_exemplars();
    }
    services
        .engine
        .store(Arc::new(engine(app.flags(), &config, &services.queries)));
    let otlp = config.otlp(app.flags().lookback_delta);
    services.otlp.store(Arc::new(otlp));
    services.store.set_retention(config.retention(app.flags()));
    let window_ms = config.out_of_order_window_ms();
    services.store.set_out_of_order_window(window_ms).await;
    services.config_yaml.store(Arc::new(config.to_yaml()));
    let exemplars = exemplars_max(app.flags(), &config);
    if let Err(error) = services.store.resize_exemplars(exemplars).await {
        tracing::error!(err = %error, "the number of exemplars kept could not be changed");
    }
    let external_labels = config.external_labels();
    let mut jobs = config.scrape_configs();
    if app.flags().has_feature("extra-scrape-metrics") {
        // The switch of older start scripts; the file has `extra_scrape_metrics` for single jobs.
        for job in &mut jobs {
            job.extra_scrape_metrics = true;
        }
    }
    if app.flags().reads_starts() {
        for job in &mut jobs {
            job.created_lines_are_starts = true;
        }
    }
    services.jobs.store(Arc::new(ConfiguredJobs {
        jobs,
        external_labels,
        interval: config.scrape_interval(),
    }));
    apply_jobs(app, services, address);
    apply_rules(app, services, address, &config).await;
    app.notifications().remove(CONFIGURATION_UNSUCCESSFUL);
    app.reload_state().succeeded(crate::api::query::now_ms());
    tracing::info!("Completed loading of configuration file");
}

/// Puts the configured jobs in force, and ours for what was pushed.
fn apply_jobs(app: &App, services: &Services, address: Option<SocketAddr>) {
    let configured = services.jobs.load();
    let mut jobs = configured.jobs.clone();
    if app.flags().config_path().is_none() {
        // The built-in configuration knows no target but this server.
        jobs.iter_mut().for_each(|job| lead_through(services, job));
    }
    let is_free = jobs.iter().all(|job| job.job_name != PUSH_JOB);
    let used = services.push.as_ref().is_some_and(PushGateway::is_used);
    if let Some(address) = address
        && is_free
        && used
    {
        let mut job = push_job(app.flags(), address, configured.interval);
        job.iter_mut().for_each(|job| lead_through(services, job));
        jobs.extend(job);
    }
    services.scrape.apply(jobs, &configured.external_labels);
}

/// The job that scrapes pushed metrics into the storage. A configuration with a job of this name has its own way.
const PUSH_JOB: &str = "ferula_push";

/// An ordinary job, with `honor_labels`, whose target is this server; so pushed series get their staleness and their place among the
/// targets like all others.
fn push_job(flags: &Flags, address: SocketAddr, global: Duration) -> Option<ScrapeConfig> {
    let interval = flags.push_scrape_interval.unwrap_or(global);
    if interval.is_zero() {
        return None;
    }
    let own = match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    let mut job = ScrapeConfig::new(PUSH_JOB);
    job.honor_labels = true;
    job.interval = interval;
    job.timeout = interval.min(Duration::from_secs(10));
    job.protocols = vec![
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText0_0_4,
    ];
    job.native_histograms = true;
    job.enable_compression = false;
    job.metrics_path = format!("{}/pushgateway/metrics", flags.route_prefix);
    job.static_configs = vec![StaticConfig {
        targets: vec![own],
        labels: Vec::new(),
    }];
    Some(job)
}

fn open_push(flags: &Flags, clock: Arc<dyn Clock>) -> Result<Option<PushGateway>, LogError> {
    if !flags.push {
        return Ok(None);
    }
    let options = PushOptions {
        dir: flags.data_dir.join("push"),
        sync: match flags.ack {
            Ack::Durable => SyncMode::BeforeAnswer,
            Ack::Fast => SyncMode::Within(flags.wal_sync_interval),
        },
        limits: GroupLimits {
            groups_max: flags.push_groups_max,
            bytes_max: flags.push_bytes_max,
        },
        seed: random_seed(),
    };
    PushGateway::open(Arc::new(StandardDisk), options, clock).map(Some)
}

fn start_workers(
    app: &Arc<App>,
    services: &Arc<Services>,
    listeners: Vec<Vec<TcpListener>>,
    own_door: Vec<TcpListener>,
    seats: Vec<ScrapeWorker>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let flags = app.flags();
    let limits = ServerLimits {
        connections: Arc::new(Semaphore::new(
            flags.connections_max.min(Semaphore::MAX_PERMITS),
        )),
        read_timeout: flags.read_timeout,
    };
    let http = Arc::new(HttpMetrics::default());
    let mut per_worker: Vec<Vec<TcpListener>> = (0..flags.workers).map(|_| Vec::new()).collect();
    for of_address in listeners {
        for (own, listener) in per_worker.iter_mut().zip(of_address) {
            own.push(listener);
        }
    }
    let mut threads = Vec::new();
    let mut own_door = own_door.into_iter();
    for (index, (own, seat)) in per_worker.into_iter().zip(seats).enumerate() {
        let doors = Doors {
            public: own,
            own: own_door.next(),
        };
        let (app, services, http, limits) =
            (app.clone(), services.clone(), http.clone(), limits.clone());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || {
                let local = LocalSet::new();
                local.block_on(
                    &runtime,
                    work(index, app, services, http, limits, doors, seat),
                );
            })?;
        threads.push(thread);
    }
    Ok(threads)
}

/// The listeners of one worker.
struct Doors {
    public: Vec<TcpListener>,
    own: Option<TcpListener>,
}

async fn work(
    index: usize,
    app: Arc<App>,
    services: Arc<Services>,
    http: Arc<HttpMetrics>,
    limits: ServerLimits,
    doors: Doors,
    seat: ScrapeWorker,
) {
    let target = StoreTarget(services.store.clone());
    let scraping = tokio::task::spawn_local(seat.run(target));
    let mut shutdown = app.shutdown_signal();
    let write = WriteState::new(random_seed());
    let rows = RowState::new(random_seed());
    let worker = Rc::new(Worker {
        index,
        app,
        services,
        http,
        write,
        rows,
    });
    let mut servers = tokio::task::JoinSet::new();
    let public = doors.public.into_iter().map(|listener| (listener, false));
    for (listener, own) in public.chain(doors.own.map(|listener| (listener, true))) {
        servers.spawn_local(serve(
            listener,
            worker.clone(),
            limits.clone(),
            own,
            shutdown.clone(),
        ));
    }
    let _ = shutdown.wait_for(|stop| *stop).await;
    while let Some(ended) = servers.join_next().await {
        if let Ok(Err(error)) = ended {
            tracing::error!(err = %error, "a listener failed");
        }
    }
    // The manager has told the scrape worker to stop; its last samples are on their way.
    let _ = scraping.await;
}

/// A seed that senders cannot guess: the standard library's hasher keys come from the system.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[expect(
    clippy::print_stdout,
    reason = "the one line for a person who started it by hand"
)]
fn announce(address: Option<SocketAddr>, scheme: &str, route_prefix: &str) {
    let Some(address) = address else { return };
    let host = if address.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        }
    };
    println!(
        "Listening on {address}, open {scheme}://{host}:{}{route_prefix}",
        address.port()
    );
    let _ = std::io::stdout().flush();
}

/// Signals and reload requests, until the process is to stop.
async fn control(
    app: &App,
    services: &Services,
    address: Option<SocketAddr>,
    mut reloads: mpsc::Receiver<ReloadRequest>,
    mut watched: AutoReload,
    signals: &mut Signals,
) {
    let mut shutdown = app.shutdown_signal();
    let mut push_known = services.push.as_ref().is_none_or(PushGateway::is_used);
    while !app.is_stopping() {
        tokio::select! {
            () = first_push(services), if !push_known => {
                push_known = true;
                apply_jobs(app, services, address);
            }
            _ = shutdown.wait_for(|stop| *stop) => break,
            asked = signals.next() => match asked {
                Asked::Stop => {
                    tracing::warn!("Received an OS signal, exiting gracefully...");
                    app.request_shutdown();
                }
                Asked::Reload => {
                    let _ = reload(app, services, address).await;
                }
            },
            () = watched.changed() => {
                let _ = reload(app, services, address).await;
            }
            Some(answer) = reloads.recv() => {
                let outcome = reload(app, services, address).await;
                let _ = answer.send(outcome);
            }
        }
    }
}

/// Returns when the first group of pushed metrics has come.
async fn first_push(services: &Services) {
    match &services.push {
        Some(push) => push.first_use().await,
        None => std::future::pending().await,
    }
}

async fn reload(app: &App, services: &Services, address: Option<SocketAddr>) -> Result<(), String> {
    match load(app.flags(), address) {
        Ok(config) => {
            apply(app, services, address, config).await;
            Ok(())
        }
        Err(error) => {
            app.reload_state().failed();
            app.notifications().add(CONFIGURATION_UNSUCCESSFUL);
            tracing::error!(err = %error, "Error reloading config");
            Err(error.to_string())
        }
    }
}

async fn stop(services: &Arc<Services>, threads: Vec<JoinHandle<()>>, signals: &mut Signals) {
    tracing::info!("Stopping scraping and closing connections");
    services.scrape.shut_down();
    let store = services.store.clone();
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            let _ = thread.join();
        }
    });
    let drain = async {
        // A query of a rule may take longer than anyone wants to wait: then its samples are refused.
        let _ = tokio::time::timeout(SHUTDOWN_DRAIN_MAX, services.rules.shut_down()).await;
        services.notify.shut_down().await;
        let _ = tokio::time::timeout(SHUTDOWN_DRAIN_MAX, joined).await;
        let services = services.clone();
        let push = move || services.push.iter().for_each(PushGateway::shut_down);
        let _ = tokio::task::spawn_blocking(push).await;
        store.shutdown().await;
    };
    tokio::select! {
        () = drain => tracing::info!("See you next time!"),
        () = signals.stop() => {
            tracing::warn!("Received a second OS signal, exiting at once");
            std::process::exit(1);
        }
    }
}

/// What a signal asks for.
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

/// Looks at the configuration file now and then, when `--config.auto-reload` asks for it.
struct AutoReload {
    path: Option<std::path::PathBuf>,
    interval: Duration,
    seen: Option<Vec<u8>>,
}

impl AutoReload {
    fn new(flags: &Flags) -> Self {
        let path = flags.auto_reload_interval.and_then(|_| flags.config_path());
        let seen = path.as_ref().and_then(|p| std::fs::read(p).ok());
        let interval = flags.auto_reload_interval.unwrap_or(Duration::MAX);
        AutoReload {
            path,
            interval,
            seen,
        }
    }

    /// Returns when the content of the file has changed.
    async fn changed(&mut self) {
        let Some(path) = &self.path else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(self.interval).await;
            let now = std::fs::read(path).ok();
            if now.is_some() && now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}
