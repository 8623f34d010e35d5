//! `targets`, `targets/metadata`, `metadata`, `scrape_pools`, and the scrape families of `/metrics`.

use super::json::{push_labels, string_list};
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, push_json_string};
use crate::self_metrics::Exposition;
use crate::worker::Worker;
use ingest::metadata::MetricMetadata;
use ingest::scrape::target::global_url;
use ingest::scrape::{ActiveTargetSnapshot, ScrapeManager, SummaryTotals};
use query_engine::parse::parse_metric_selector;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use storage_engine::model::Labels;

/// Go's zero time, which Prometheus shows for a target that was never scraped.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn push_member(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_json_string(out, value);
}

fn push_active(out: &mut String, worker: &Worker, target: &ActiveTargetSnapshot) {
    out.push_str("{\"discoveredLabels\":");
    push_labels(out, &target.discovered_labels);
    out.push_str(",\"labels\":");
    push_labels(out, &target.labels);
    push_member(out, "scrapePool", &target.scrape_pool);
    push_member(out, "scrapeUrl", &target.scrape_url);
    push_member(
        out,
        "globalUrl",
        &global_url(&target.scrape_url, &worker.services.global_url),
    );
    push_member(out, "lastError", &target.last_error);
    let last = target
        .last_scrape_ns
        .and_then(|ns| jiff::Timestamp::from_nanosecond(ns.into()).ok());
    push_member(
        out,
        "lastScrape",
        &last.map_or_else(|| NEVER.to_owned(), |t| t.to_string()),
    );
    out.push_str(&format!(
        ",\"lastScrapeDuration\":{}",
        target.last_scrape_duration.as_secs_f64()
    ));
    push_member(out, "health", target.health.as_str());
    push_member(out, "scrapeInterval", &target.scrape_interval);
    push_member(out, "scrapeTimeout", &target.scrape_timeout);
    out.push('}');
}

/// `/api/v1/targets`.
pub fn targets(worker: &Worker, request: &Request) -> Result<ApiData, ApiError> {
    let form = Form::from_query(&request.query);
    let state = form.value("state").to_lowercase();
    let (active, dropped) = match state.as_str() {
        "" | "any" => (true, true),
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (false, false),
    };
    let pool = form.value("scrapePool");
    let wanted = |name: &str| pool.is_empty() || pool == name;
    let all = worker.services.scrape.targets();
    let mut json = String::from("{\"activeTargets\":[");
    if active {
        for (i, target) in all
            .active
            .iter()
            .filter(|t| wanted(&t.scrape_pool))
            .enumerate()
        {
            if i > 0 {
                json.push(',');
            }
            push_active(&mut json, worker, target);
        }
    }
    json.push_str("],\"droppedTargets\":[");
    if dropped {
        for (i, target) in all
            .dropped
            .iter()
            .filter(|t| wanted(&t.scrape_pool))
            .enumerate()
        {
            json.push_str(if i > 0 {
                ",{\"discoveredLabels\":"
            } else {
                "{\"discoveredLabels\":"
            });
            push_labels(&mut json, &target.discovered_labels);
            push_member(&mut json, "scrapePool", &target.scrape_pool);
            json.push('}');
        }
    }
    // The counts are those of all pools, whichever one was asked for.
    json.push_str("],\"droppedTargetCounts\":");
    if dropped {
        json.push('{');
        for (i, (name, count)) in all.dropped_counts.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            push_json_string(&mut json, name);
            json.push_str(&format!(":{count}"));
        }
        json.push('}');
    } else {
        json.push_str("null");
    }
    json.push('}');
    Ok(ApiData::json(json))
}

/// `limit` of the metadata routes: absent or negative means none.
fn metadata_limit(form: &Form, name: &str) -> Result<usize, ApiError> {
    match form.value(name) {
        "" => Ok(usize::MAX),
        text => match text.parse::<i64>() {
            Ok(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
            Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
        },
    }
}

fn push_metadata(out: &mut String, m: &MetricMetadata) {
    out.push_str("\"type\":");
    push_json_string(out, m.metric_type.as_str());
    push_member(out, "help", &m.help);
    push_member(out, "unit", &m.unit);
}

/// `/api/v1/targets/metadata`.
pub fn targets_metadata(worker: &Worker, request: &Request) -> Result<ApiData, ApiError> {
    let form = Form::from_query(&request.query);
    let limit = metadata_limit(&form, "limit")?;
    let matchers = match form.value("match_target") {
        "" => Vec::new(),
        text => parse_metric_selector(text).map_err(|e| ApiError::parameter("match_target", e))?,
    };
    let metric = form.value("metric");
    let matches = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.value(&m.name)));
    let mut json = String::from("[");
    let mut count = 0;
    for target in worker.services.scrape.metadata() {
        if !matches(&target.target) {
            continue;
        }
        for m in target
            .metadata
            .iter()
            .filter(|m| metric.is_empty() || m.metric == metric)
        {
            if count == limit {
                break;
            }
            json.push_str(if count > 0 {
                ",{\"target\":"
            } else {
                "{\"target\":"
            });
            push_labels(&mut json, &target.target);
            if metric.is_empty() {
                push_member(&mut json, "metric", &m.metric);
            }
            json.push(',');
            push_metadata(&mut json, m);
            json.push('}');
            count += 1;
        }
    }
    json.push(']');
    Ok(ApiData::json(json))
}

/// `/api/v1/metadata`.
pub fn metadata(worker: &Worker, request: &Request) -> Result<ApiData, ApiError> {
    let form = Form::from_query(&request.query);
    let limit = metadata_limit(&form, "limit")?;
    let limit_per_metric = metadata_limit(&form, "limit_per_metric")?;
    let metric = form.value("metric");
    let mut families: BTreeMap<String, Vec<MetricMetadata>> = BTreeMap::new();
    for target in worker.services.scrape.metadata() {
        for m in target.metadata {
            if !metric.is_empty() && m.metric != metric {
                continue;
            }
            let known = families.entry(m.metric.clone()).or_default();
            if known.len() < limit_per_metric && !known.contains(&m) {
                known.push(m);
            }
        }
    }
    let mut json = String::from("{");
    for (i, (name, all)) in families.iter().take(limit).enumerate() {
        if i > 0 {
            json.push(',');
        }
        push_json_string(&mut json, name);
        json.push_str(":[");
        for (k, m) in all.iter().enumerate() {
            json.push_str(if k > 0 { ",{" } else { "{" });
            push_metadata(&mut json, m);
            json.push('}');
        }
        json.push(']');
    }
    json.push('}');
    Ok(ApiData::json(json))
}

/// `/api/v1/scrape_pools`.
pub fn scrape_pools(worker: &Worker) -> Result<ApiData, ApiError> {
    let pools = worker.services.scrape.scrape_pools();
    Ok(ApiData::json(format!(
        "{{\"scrapePools\":{}}}",
        string_list(pools)
    )))
}

fn summary<'a>(
    page: &mut Exposition,
    name: &'static str,
    help: &str,
    all: impl Iterator<Item = (Vec<(&'a str, &'a str)>, SummaryTotals)>,
) {
    page.totals(
        name,
        help,
        all.map(|(labels, t)| (labels, t.sum_seconds, t.count)),
    );
}

/// The families that Prometheus has about scraping and discovery.
pub(super) fn write_metrics(page: &mut Exposition, scrape: &ScrapeManager) {
    let c = scrape.counters();
    for (name, help, counter) in [
        (
            "prometheus_target_scrapes_sample_out_of_order_total",
            "Total number of samples rejected due to not being out of the expected order.",
            &c.out_of_order,
        ),
        (
            "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
            "Total number of scrapes that hit the native histogram bucket limit and were rejected.",
            &c.exceeded_bucket_limit,
        ),
        (
            "prometheus_target_scrapes_exemplar_out_of_order_total",
            "Total number of exemplar rejected due to not being out of the expected order.",
            &c.exemplars_out_of_order,
        ),
        (
            "prometheus_target_scrapes_sample_duplicate_timestamp_total",
            "Total number of samples rejected due to duplicate timestamps but different values.",
            &c.duplicate_timestamp,
        ),
        (
            "prometheus_target_scrapes_sample_out_of_bounds_total",
            "Total number of samples rejected due to timestamp falling outside of the time bounds.",
            &c.out_of_bounds,
        ),
        (
            "prometheus_target_scrapes_exceeded_sample_limit_total",
            "Total number of scrapes that hit the sample limit and were rejected.",
            &c.exceeded_sample_limit,
        ),
        (
            "prometheus_target_scrapes_exceeded_body_size_limit_total",
            "Total number of scrapes that hit the body size limit",
            &c.exceeded_body_size_limit,
        ),
        (
            "prometheus_target_scrape_pool_exceeded_label_limits_total",
            "Total number of times scrape pools hit the label limits, during sync or config reload.",
            &c.exceeded_label_limits,
        ),
        (
            "prometheus_target_scrape_pool_exceeded_target_limit_total",
            "Total number of times scrape pools hit the target limit, during sync or config reload.",
            &c.exceeded_target_limit,
        ),
        (
            "prometheus_target_scrapes_cache_flush_forced_total",
            "How many times a scrape cache was flushed due to getting big while scrapes are failing.",
            &c.cache_flush_forced,
        ),
        (
            "prometheus_target_scrape_pools_total",
            "Total number of scrape pool creation attempts.",
            &c.pools,
        ),
        (
            "prometheus_target_scrape_pool_reloads_total",
            "Total number of scrape pool reloads.",
            &c.pool_reloads,
        ),
    ] {
        page.one_counter(name, help, counter.load(Relaxed) as f64);
    }
    let intervals = c.interval_lengths();
    summary(
        page,
        "prometheus_target_interval_length_seconds",
        "Actual intervals between scrapes.",
        intervals
            .iter()
            .map(|(interval, t)| (vec![("interval", interval.as_str())], *t)),
    );
    let pools = scrape.pool_stats();
    summary(
        page,
        "prometheus_target_sync_length_seconds",
        "Actual interval to sync the scrape pool.",
        pools
            .iter()
            .map(|p| (vec![("scrape_job", p.scrape_job.as_str())], p.sync)),
    );
    page.counter(
        "prometheus_target_sync_failed_total",
        "Total number of target sync failures.",
    );
    for p in &pools {
        page.sample(&[("scrape_job", &p.scrape_job)], p.sync_failed as f64);
    }
    page.gauge(
        "prometheus_target_scrape_pool_targets",
        "Current number of targets in this scrape pool.",
    );
    for p in &pools {
        page.sample(&[("scrape_job", &p.scrape_job)], p.targets as f64);
    }
    page.gauge(
        "prometheus_target_metadata_cache_entries",
        "Total number of metric metadata entries in the cache",
    );
    for p in &pools {
        page.sample(&[("scrape_job", &p.scrape_job)], p.metadata_entries as f64);
    }
    page.gauge(
        "prometheus_target_metadata_cache_bytes",
        "The number of bytes that are currently used for storing metric metadata in the cache",
    );
    for p in &pools {
        page.sample(&[("scrape_job", &p.scrape_job)], p.metadata_bytes as f64);
    }
}
