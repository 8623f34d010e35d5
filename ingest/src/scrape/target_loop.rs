//! The life of one target: wait for its slot, fetch, read, store, report; at the end, staleness markers.
//!
//! Promise: one scrape is one batch per shard, samples, markers and report series together. Scrapes of one target never
//! overlap. Semantics: Prometheus's `scrapeLoop`. Not here: which targets exist (`manager`), where loops run (`worker`).

use super::active::{ActiveTarget, Health, PoolSettings, TargetStatus};
use super::batches::{Batches, Origin, ShardBatch};
use super::cache::{LineId, SeriesCache};
use super::counters::ScrapeCounters;
use super::page::{PageCounts, PageReader, labels_of_line};
use crate::append::AppendTarget;
use crate::clock::Clock;
use crate::http_client::{Connection, FetchError, PageRequest};
use crate::limits::{SCRAPE_IDLE_BUFFER_BYTES_MAX, SCRAPE_IDLE_BUFFERS_MAX};
use crate::text::select_format;
use futures_util::future::join_all;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use storage_engine::model::{STALE_NAN_BITS, TimestampMs};
use storage_engine::shard_api::{
    AppendBatch, AppendMode, AppendOutcome, ExemplarRefusal, ExemplarSample, HistogramSample,
    RejectReason, SampleSeries,
};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

/// Samples further ahead than this are out of bounds.
const AHEAD_MAX_MS: i64 = 10 * 60 * 1000;
/// A scrape this close to its slot gets the slot's timestamp: equal distances compress better.
const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(2);

/// Page buffers shared by the loops of a worker.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    idle: RefCell<Vec<Vec<u8>>>,
}

impl BufferPool {
    fn take(&self) -> Vec<u8> {
        self.idle.borrow_mut().pop().unwrap_or_default()
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < SCRAPE_IDLE_BUFFERS_MAX && buffer.capacity() <= SCRAPE_IDLE_BUFFER_BYTES_MAX
        {
            buffer.clear();
            idle.push(buffer);
        }
    }
}

/// What a loop needs from its worker.
pub(super) struct LoopContext<A> {
    pub(super) store: Rc<A>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<ScrapeCounters>,
    pub(super) buffers: Rc<BufferPool>,
    /// Spreads servers that scrape the same targets.
    pub(super) offset_seed: u64,
}

/// The loop of one target.
pub(super) struct TargetLoop<A> {
    context: LoopContext<A>,
    active: Arc<ActiveTarget>,
    settings: Arc<PoolSettings>,
    cache: SeriesCache,
    connection: Connection,
    last_start: Option<Duration>,
}

/// What a fetch brought: a page and its Content-Type, or why there is none.
type Fetched = Result<(Vec<u8>, String), FetchError>;

impl<A: AppendTarget> TargetLoop<A> {
    pub(super) fn new(context: LoopContext<A>, active: Arc<ActiveTarget>) -> Self {
        TargetLoop {
            settings: active.settings(),
            context,
            active,
            cache: SeriesCache::default(),
            connection: Connection::new(),
            last_start: None,
        }
    }

    /// Scrapes until `stop` turns true, then waits to see whether the target comes back, and marks its series stale.
    /// A dropped future (server shutdown) writes no markers: the next start goes on where this one ended.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let period = self.active.target.interval;
        let now_ns = self.context.clock.wall_ns();
        let offset = self.active.target.offset(now_ns, self.context.offset_seed);
        let first = Instant::now() + offset;
        let mut ticks = interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let schedule = Schedule::starting_at(now_ns.saturating_add(nanos(offset)), period);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                _ = ticks.tick() => {}
            }
            let now_ns = self.context.clock.wall_ns();
            let slot_ns = schedule.align(now_ns);
            let time = slot_ns.div_euclid(1_000_000);
            let fetched = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                fetched = self.fetch() => fetched,
            };
            self.store_scrape(time, slot_ns, fetched).await;
        }
        self.connection.close();
        if self.last_start.is_some() {
            self.end_of_run(&mut ticks).await;
        }
    }

    /// Fetches the page; the start of the scrape is noted for its duration and for the interval's length.
    async fn fetch(&mut self) -> (Duration, Result<Fetched, String>) {
        let settings = self.active.settings();
        if !Arc::ptr_eq(&settings, &self.settings) {
            if settings.config.http != self.settings.config.http {
                self.connection.close();
            }
            if !settings.labels_alike(&self.settings) {
                self.cache.forget_lines();
            }
            self.settings = settings;
        }
        let start = self.context.clock.monotonic();
        if let Some(last) = self.last_start {
            let actual = start.saturating_sub(last);
            let interval = self.active.target.interval_text();
            self.context.counters.observe_interval(interval, actual);
        }
        self.last_start = Some(start);
        if let Some(error) = self.active.forced_error() {
            return (start, Err(error));
        }
        let timeout = self.active.target.timeout;
        let headers = self.settings.headers(timeout);
        let request = PageRequest {
            url: &self.active.target.url,
            headers: &headers,
            body_bytes_max: self.settings.config.body_size_limit,
            deadline: Instant::now() + timeout,
        };
        let mut body = self.context.buffers.take();
        let settings = Arc::clone(&self.settings);
        let answer = settings
            .client
            .get(&mut self.connection, &request, &mut body)
            .await;
        let fetched = match answer {
            Ok(content_type) => Ok((body, content_type)),
            Err(error) => {
                self.context.buffers.put_back(body);
                Err(error)
            }
        };
        (start, Ok(fetched))
    }

    async fn store_scrape(
        &mut self,
        time: TimestampMs,
        slot_ns: i64,
        (start, fetched): (Duration, Result<Fetched, String>),
    ) {
        let counters = Arc::clone(&self.context.counters);
        let mut batches = Batches::new(self.context.store.shard_count());
        let mut counts = PageCounts::default();
        let mut body_bytes = 0.0;
        self.cache.begin();
        let outcome = match fetched {
            Ok(Ok((page, content_type))) => {
                body_bytes = page.len() as f64;
                let read = self.read_page(&page, &content_type, time, &mut batches, &mut counts);
                self.context.buffers.put_back(page);
                read
            }
            Ok(Err(error)) => {
                if error == FetchError::BodySizeLimit {
                    body_bytes = -1.0;
                    ScrapeCounters::add(&counters.exceeded_body_size_limit, 1);
                }
                Err(error.to_string())
            }
            Err(forced) => Err(forced),
        };
        if outcome.is_err() {
            // As if the page had been empty: everything that was there goes stale.
            batches.clear();
            self.cache.start_batch_anew();
            push_markers(self.cache.all_tracked(), &mut batches, time);
            if self.cache.finish_without_page() {
                ScrapeCounters::add(&counters.cache_flush_forced, 1);
            }
        }
        let duration = self.context.clock.monotonic().saturating_sub(start);
        let status = TargetStatus {
            health: if outcome.is_ok() {
                Health::Up
            } else {
                Health::Down
            },
            last_error: outcome.as_ref().err().cloned().unwrap_or_default(),
            last_scrape_ns: Some(slot_ns),
            last_duration: duration,
        };
        let config = &self.settings.config;
        if let Err(error) = &outcome {
            tracing::debug!(
                component = "scrape manager",
                scrape_pool = config.job_name,
                target = self.active.target.url,
                err = error,
                "Scrape failed"
            );
        }
        let mut report = vec![
            ("up", f64::from(u8::from(outcome.is_ok()))),
            ("scrape_duration_seconds", duration.as_secs_f64()),
            ("scrape_samples_scraped", counts.scraped as f64),
            ("scrape_samples_post_metric_relabeling", counts.kept as f64),
            ("scrape_series_added", counts.series_added as f64),
        ];
        if config.extra_scrape_metrics {
            let timeout = self.active.target.timeout.as_secs_f64();
            report.push(("scrape_timeout_seconds", timeout));
            report.push(("scrape_sample_limit", config.sample_limit as f64));
            report.push(("scrape_body_size_bytes", body_bytes));
        }
        self.report(&report, time, &mut batches);
        ScrapeCounters::add(&counters.duplicate_timestamp, counts.duplicates);
        ScrapeCounters::add(&counters.exemplars, counts.exemplars);
        if counts.over_sample_limit {
            ScrapeCounters::add(&counters.exceeded_sample_limit, 1);
        }
        if counts.over_bucket_limit {
            ScrapeCounters::add(&counters.exceeded_bucket_limit, 1);
        }
        self.send(batches, counts.duplicates).await;
        self.active.set_status(status);
    }

    /// Reads a page into the batches, with markers for what it no longer has.
    fn read_page(
        &mut self,
        page: &[u8],
        content_type: &str,
        time: TimestampMs,
        batches: &mut Batches,
        counts: &mut PageCounts,
    ) -> Result<(), String> {
        if page.is_empty() {
            // A target with nothing to say is up; what it said before is stale.
            push_markers(self.cache.all_tracked(), batches, time);
            self.cache.finish_without_page();
            return Ok(());
        }
        let config = &self.settings.config;
        let format = select_format(content_type, config.fallback_protocol)
            .map_err(|error| error.to_string())?;
        if let Some(warning) = &format.warning {
            tracing::debug!(
                scrape_pool = config.job_name,
                target = self.active.target.url,
                content_type,
                fallback_media_type = warning,
                "Invalid content type on scrape, using fallback setting."
            );
        }
        let store = &self.context.store;
        let mut metadata = self.active.metadata();
        let mut reader = PageReader {
            config,
            target_labels: &self.active.target.labels,
            shard_of: &|hash| store.shard_of(hash),
            cache: &mut self.cache,
            batches,
        };
        let read = reader.read(page, format.format, time, &mut metadata, counts);
        if let Err(error) = read {
            let limit = matches!(&error, super::page::PageError::Labels(e) if e.is_label_limit());
            ScrapeCounters::add(
                &self.context.counters.exceeded_label_limits,
                u64::from(limit),
            );
            return Err(error.to_string());
        }
        metadata.expire(self.cache.scrape());
        push_markers(self.cache.vanished(), batches, time);
        self.cache.finish_page();
        Ok(())
    }

    fn report(&mut self, samples: &[(&str, f64)], time: TimestampMs, batches: &mut Batches) {
        let store = &self.context.store;
        let mut reader = PageReader {
            config: &self.settings.config,
            target_labels: &self.active.target.labels,
            shard_of: &|hash| store.shard_of(hash),
            cache: &mut self.cache,
            batches,
        };
        for (metric, value) in samples {
            reader.report(metric, time, *value);
        }
    }

    /// Hands the batches to their shards, all at once, and learns from the answers.
    async fn send(&mut self, batches: Batches, duplicates: u64) {
        let timestamp_max = self.context.clock.wall_ms() + AHEAD_MAX_MS;
        let store = Rc::clone(&self.context.store);
        let sent = join_all(batches.into_shards().map(|(shard, mut sent)| {
            sent.batch.timestamp_max = Some(timestamp_max);
            let batch = std::mem::take(&mut sent.batch);
            // They are needed again only if the shard does not know a series any more.
            let again = SentSamples {
                timestamps: batch.timestamps.clone(),
                values: batch.values.clone(),
                histograms: batch.histograms.clone(),
                starts: batch.starts.clone(),
                histogram_starts: batch.histogram_starts.clone(),
                exemplars: batch.exemplars.clone(),
            };
            let store = Rc::clone(&store);
            async move {
                let outcome = store.append(shard, batch, AppendMode::Partial).await;
                (shard, sent, again, outcome)
            }
        }))
        .await;
        let mut refused = Refused {
            duplicates,
            ..Refused::default()
        };
        for (shard, sent, again, outcome) in sent {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.commit_failed(&error.to_string());
                    continue;
                }
            };
            let unknown = self.learn(&sent, &outcome, &mut refused);
            if !unknown.is_empty() {
                let retry = self.with_labels(&unknown, &again, timestamp_max);
                self.send_again(shard, retry, &mut refused).await;
            }
        }
        self.count_refused(&refused);
    }

    fn commit_failed(&self, error: &str) {
        ScrapeCounters::add(&self.context.counters.failed_batches, 1);
        tracing::warn!(
            component = "scrape manager",
            scrape_pool = self.settings.config.job_name,
            target = self.active.target.url,
            err = error,
            "Scrape commit failed"
        );
    }

    /// Takes references from an answer, counts refusals; returns what is of series that the shard no longer knows.
    fn learn(
        &mut self,
        sent: &ShardBatch,
        outcome: &AppendOutcome,
        refused: &mut Refused,
    ) -> Unknown {
        for (line, reference) in sent.new_lines.iter().zip(&outcome.created) {
            if let (Some(series), Some(reference)) = (self.cache.series_of(*line), reference) {
                self.cache.set_reference(series, Some(*reference));
            }
        }
        let mut unknown = Unknown::default();
        for rejection in &outcome.rejections {
            let Some(Origin::Line(line)) = sent.origin(rejection.sample) else {
                continue;
            };
            match rejection.reason {
                RejectReason::UnknownSeries => {
                    if let Some(series) = self.cache.series_of(line) {
                        self.cache.set_reference(series, None);
                    }
                    unknown.samples.push((rejection.sample, line));
                }
                RejectReason::OutOfOrder => refused.out_of_order += 1,
                RejectReason::DuplicateTimestamp => refused.duplicates += 1,
                RejectReason::OutOfBounds | RejectReason::TooOld => refused.out_of_bounds += 1,
                reason if reason.is_series_limit() => refused.series_limit += 1,
                reason => refused.other = Some(reason),
            }
        }
        let mut late: BTreeMap<LineId, u64> = BTreeMap::new();
        for &(exemplar, reason) in &outcome.exemplar_refusals {
            let line = sent.exemplar_lines.get(exemplar as usize);
            match (reason, line) {
                (ExemplarRefusal::UnknownSeries, Some(&line)) => {
                    unknown.exemplars.push((exemplar, line));
                }
                (ExemplarRefusal::OutOfOrder, Some(&line)) => {
                    *late.entry(line).or_default() += 1;
                }
                // As in Prometheus, no other exemplar is worth a word.
                _ => {}
            }
        }
        refused.exemplars_out_of_order += wholly_late(&late, &sent.exemplar_lines);
        unknown
    }

    /// A batch that names its series by labels.
    fn with_labels(
        &mut self,
        unknown: &Unknown,
        sent: &SentSamples,
        timestamp_max: TimestampMs,
    ) -> ShardBatch {
        let mut out = ShardBatch {
            batch: AppendBatch {
                timestamp_max: Some(timestamp_max),
                ..AppendBatch::default()
            },
            ..ShardBatch::default()
        };
        self.cache.start_batch_anew();
        for &(sample, line) in &unknown.samples {
            let Some(index) = self.relabeled(line, &mut out) else {
                continue;
            };
            let (sample, series) = (sample as usize, SampleSeries::New(index));
            if let (Some(&timestamp), Some(&value)) =
                (sent.timestamps.get(sample), sent.values.get(sample))
            {
                out.push(series, timestamp, value, Origin::Line(line));
                let start = sent.starts.get(sample).copied();
                out.batch.start_of_last(start.unwrap_or(0));
            } else if let Some(histogram) = sample.checked_sub(sent.timestamps.len())
                && let Some(sample) = sent.histograms.get(histogram)
            {
                let sample = HistogramSample {
                    series,
                    ..sample.clone()
                };
                out.push_histogram(sample, line);
                let start = sent.histogram_starts.get(histogram).copied();
                out.batch.histogram_start_of_last(start.unwrap_or(0));
            }
        }
        for &(exemplar, line) in &unknown.exemplars {
            if let Some(sample) = sent.exemplars.get(exemplar as usize)
                && let Some(index) = self.relabeled(line, &mut out)
            {
                out.push_exemplar(SampleSeries::New(index), sample.exemplar.clone(), line);
            }
        }
        out
    }

    /// Index of the labels of a line's series in `out`, where they are put if they are not there yet.
    fn relabeled(&mut self, line: LineId, out: &mut ShardBatch) -> Option<u32> {
        let series = self.cache.series_of(line)?;
        if let Some(index) = self.cache.pending(series) {
            return Some(index);
        }
        let labels = labels_of_line(
            &self.cache,
            line,
            &self.active.target.labels,
            &self.settings.config,
        );
        // The line passed all checks when it was admitted under these very settings.
        let labels = labels.ok().flatten()?;
        let index = out.push_labels(labels.as_bytes(), line);
        self.cache.set_pending(series, index);
        Some(index)
    }

    async fn send_again(&mut self, shard: usize, mut retry: ShardBatch, refused: &mut Refused) {
        let batch = std::mem::take(&mut retry.batch);
        let store = Rc::clone(&self.context.store);
        match store.append(shard, batch, AppendMode::Partial).await {
            Ok(outcome) => {
                let unknown = self.learn(&retry, &outcome, refused);
                if !unknown.samples.is_empty() {
                    refused.other = Some(RejectReason::UnknownSeries);
                }
            }
            Err(error) => self.commit_failed(&error.to_string()),
        }
    }

    fn count_refused(&self, refused: &Refused) {
        let counters = &self.context.counters;
        ScrapeCounters::add(&counters.out_of_order, refused.out_of_order);
        ScrapeCounters::add(&counters.out_of_bounds, refused.out_of_bounds);
        ScrapeCounters::add(&counters.series_limit, refused.series_limit);
        ScrapeCounters::add(
            &counters.exemplars_out_of_order,
            refused.exemplars_out_of_order,
        );
        let warn = |num_dropped: u64, text: &str| {
            if num_dropped > 0 {
                tracing::warn!(
                    component = "scrape manager",
                    scrape_pool = self.settings.config.job_name,
                    target = self.active.target.url,
                    num_dropped,
                    "{text}"
                );
            }
        };
        warn(
            refused.out_of_order,
            "Error on ingesting out-of-order samples",
        );
        warn(
            refused.duplicates,
            "Error on ingesting samples with different value but same timestamp",
        );
        warn(
            refused.out_of_bounds,
            "Error on ingesting samples that are too old or are too far into the future",
        );
        warn(
            refused.series_limit,
            "Error on ingesting samples of new series: the series limit is reached",
        );
        warn(
            refused.exemplars_out_of_order,
            "Error on ingesting out-of-order exemplars",
        );
        if let Some(reason) = refused.other {
            warn(1, &reason.to_string());
        }
    }

    /// The target is gone. It may come back under the same labels (a reload, a moved file), so the markers wait for two
    /// more slots; if it did come back, they are out of order and fall away.
    async fn end_of_run(&mut self, ticks: &mut Interval) {
        ticks.tick().await;
        let time = self.context.clock.wall_ms();
        ticks.tick().await;
        sleep(self.active.target.interval / 10).await;
        let mut batches = Batches::new(self.context.store.shard_count());
        self.cache.begin();
        push_markers(self.cache.all_tracked(), &mut batches, time);
        self.cache.finish_without_page();
        let stale = f64::from_bits(STALE_NAN_BITS);
        let mut names = vec![
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
            "scrape_series_added",
        ];
        if self.settings.config.extra_scrape_metrics {
            names.extend([
                "scrape_timeout_seconds",
                "scrape_sample_limit",
                "scrape_body_size_bytes",
            ]);
        }
        let samples: Vec<(&str, f64)> = names.into_iter().map(|name| (name, stale)).collect();
        self.report(&samples, time, &mut batches);
        let store = Rc::clone(&self.context.store);
        for (shard, sent) in batches.into_shards() {
            let appended = store.append(shard, sent.batch, AppendMode::Partial).await;
            if let Err(error) = appended {
                self.commit_failed(&error.to_string());
            }
        }
    }
}

/// What was sent to a shard, for a second try.
struct SentSamples {
    timestamps: Vec<TimestampMs>,
    values: Vec<f64>,
    histograms: Vec<HistogramSample>,
    starts: Vec<TimestampMs>,
    histogram_starts: Vec<TimestampMs>,
    exemplars: Vec<ExemplarSample>,
}

/// Samples and exemplars, by number and line, of series that a shard no longer knows.
#[derive(Debug, Default)]
struct Unknown {
    samples: Vec<(u32, LineId)>,
    exemplars: Vec<(u32, LineId)>,
}

impl Unknown {
    fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.exemplars.is_empty()
    }
}

/// Refused samples of one scrape.
#[derive(Debug, Default)]
struct Refused {
    exemplars_out_of_order: u64,
    out_of_order: u64,
    duplicates: u64,
    out_of_bounds: u64,
    series_limit: u64,
    other: Option<RejectReason>,
}

/// Late exemplars of lines that have no others. A native histogram repeats its exemplars as long as it has them, so that some of them
/// are late as a rule: only all of them are worth a word.
fn wholly_late(late: &BTreeMap<LineId, u64>, lines: &[LineId]) -> u64 {
    if late.is_empty() {
        return 0;
    }
    let mut sent: BTreeMap<LineId, u64> = BTreeMap::new();
    for line in lines {
        *sent.entry(*line).or_default() += 1;
    }
    let whole = late
        .iter()
        .filter(|(line, count)| sent.get(*line) == Some(*count));
    whole.map(|(_, count)| *count).sum()
}

fn push_markers<'a>(
    series: impl Iterator<Item = &'a super::cache::CachedSeries>,
    batches: &mut Batches,
    time: TimestampMs,
) {
    for series in series {
        // Without a reference the shard has never stored it, so there is nothing to end.
        if let Some(reference) = series.reference {
            let known = SampleSeries::Known(reference);
            let stale = f64::from_bits(STALE_NAN_BITS);
            batches.push(series.shard, known, time, stale, Origin::Marker);
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A closed channel means that the worker has forgotten the target.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Snaps scrape times to their slots.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    first_slot_ns: i64,
    interval_ns: i64,
    tolerance_ns: i64,
}

impl Schedule {
    fn starting_at(first_slot_ns: i64, interval: Duration) -> Self {
        Schedule {
            first_slot_ns,
            interval_ns: nanos(interval).max(1),
            tolerance_ns: nanos((interval / 100).min(TIMESTAMP_TOLERANCE)),
        }
    }

    /// The time to give to a scrape that starts now: that of the nearest slot, if it is near enough.
    fn align(&self, now_ns: i64) -> i64 {
        let since_first = now_ns.saturating_sub(self.first_slot_ns);
        let beyond = since_first.rem_euclid(self.interval_ns);
        if beyond <= self.tolerance_ns {
            now_ns - beyond
        } else if self.interval_ns - beyond <= self.tolerance_ns {
            now_ns + (self.interval_ns - beyond)
        } else {
            now_ns
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_near_the_slot_are_aligned() {
        const MS: i64 = 1_000_000;
        let schedule = Schedule::starting_at(100 * MS, Duration::from_secs(1));
        for (now, expected) in [
            (100 * MS, 100 * MS),
            (1101 * MS, 1100 * MS),
            (2102 * MS, 2100 * MS),
            (3103 * MS, 3103 * MS),
            (7101 * MS, 7100 * MS),
            (8098 * MS, 8100 * MS),
            (9097 * MS, 9097 * MS),
        ] {
            assert_eq!(schedule.align(now), expected);
        }
        let fast = Schedule::starting_at(0, Duration::from_millis(100));
        assert_eq!(fast.align(101 * MS), 100 * MS);
        assert_eq!(fast.align(202 * MS), 202 * MS);
    }
}
