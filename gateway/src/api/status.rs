//! `status/*`, `/metrics`, `/version`, and the answers of rooms that hold nothing yet.

use crate::config::{format_bytes, format_duration_ms};
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, ErrorType, Response, content, push_json_string};
use crate::self_metrics::{Exposition, write_process_metrics};
use crate::services::WriteCounters;
use crate::worker::Worker;
use std::rc::Rc;
use storage_engine::maintenance::RetentionSettings;
use storage_engine::shard::{Cardinality, ShardStats};
use storage_engine::store::BlockState;

/// The version of Prometheus whose API and language we speak; clients switch features on it.
pub const PROMETHEUS_VERSION: &str = "3.14.0";
/// Entries of each list of `status/tsdb` without `limit`, and the most that `limit` may ask for.
const TSDB_ENTRIES_DEFAULT: usize = 10;
const TSDB_ENTRIES_MAX: usize = 10_000;

/// What `/version` and `status/buildinfo` say.
pub fn build_info_json() -> String {
    format!(
        "{{\"version\":\"{PROMETHEUS_VERSION}\",\"revision\":\"ferula-{}\",\"branch\":\"main\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}}",
        env!("CARGO_PKG_VERSION")
    )
}

/// `status/buildinfo`.
pub fn build_info() -> Result<ApiData, ApiError> {
    Ok(ApiData::json(build_info_json()))
}

/// `status/config`.
pub fn config(worker: &Worker) -> Result<ApiData, ApiError> {
    let mut json = String::from("{\"yaml\":");
    push_json_string(&mut json, &worker.services.config_yaml.load());
    json.push('}');
    Ok(ApiData::json(json))
}

/// `status/flags`.
pub fn flags(worker: &Worker) -> Result<ApiData, ApiError> {
    let mut json = String::from("{");
    for (i, (name, value)) in worker.app.flags().map.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        push_json_string(&mut json, name);
        json.push(':');
        push_json_string(&mut json, value);
    }
    json.push('}');
    Ok(ApiData::json(json))
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| t.to_string())
}

fn start_time_ms(worker: &Worker) -> i64 {
    let since = worker
        .app
        .start_time()
        .duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// Threads of this process, which is what stands in for goroutines here.
fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// `status/runtimeinfo`.
pub fn runtime_info(worker: &Worker) -> Result<ApiData, ApiError> {
    let app = &worker.app;
    let directory =
        std::env::current_dir().map_or_else(|_| String::new(), |d| d.display().to_string());
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let info = serde_json::json!({
        "startTime": rfc3339(start_time_ms(worker)),
        "CWD": directory,
        "hostname": hostname.trim(),
        "serverTime": rfc3339(super::query::now_ms()),
        "reloadConfigSuccess": app.reload_state().is_successful(),
        "lastConfigTime": rfc3339(app.reload_state().success_time_ms()),
        "corruptionCount": worker.services.store.log_records_lost(),
        "goroutineCount": thread_count(),
        "GOMAXPROCS": worker.services.store.shard_count(),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": retention_text(worker.services.store.retention()),
    });
    Ok(ApiData::json(info.to_string()))
}

/// What is kept, as Prometheus words it.
fn retention_text(kept: RetentionSettings) -> String {
    let mut limits = Vec::new();
    if let Some(ms) = kept.time_ms {
        limits.push(format_duration_ms(ms));
    }
    if let Some(bytes) = kept.size_bytes {
        limits.push(format_bytes(bytes));
    }
    if let Some(percent) = kept.size_percent {
        limits.push(format!("{percent}%"));
    }
    limits.join(" or ")
}

/// `status/tsdb/blocks`: what Prometheus has in the files `meta.json`, as far as our blocks have it.
pub fn blocks(worker: &Worker) -> Result<ApiData, ApiError> {
    let states = worker.services.store.block_states();
    let all: Vec<_> = states.iter().map(block_json).collect();
    let data = serde_json::json!({ "blocks": all });
    Ok(ApiData::json(data.to_string()))
}

fn block_json(state: &BlockState) -> serde_json::Value {
    let meta = &state.meta;
    let mut stats = serde_json::json!({
        "numSamples": meta.float_samples + meta.histogram_samples,
        "numFloatSamples": meta.float_samples,
        "numHistogramSamples": meta.histogram_samples,
        "numSeries": meta.series,
        "numTombstones": state.tombstones,
    });
    if let Some(members) = stats.as_object_mut() {
        // Go leaves zeros out.
        members.retain(|_, value| value.as_u64() != Some(0));
    }
    let mut compaction = serde_json::json!({ "level": meta.level });
    if meta.parents.is_empty() {
        compaction["sources"] = serde_json::json!([meta.id.to_string()]);
    } else {
        let parents = meta.parents.iter();
        let parents = parents.map(|id| serde_json::json!({ "ulid": id.to_string() }));
        compaction["parents"] = parents.collect();
    }
    if state.failed {
        compaction["failed"] = serde_json::Value::Bool(true);
    }
    if meta.out_of_order {
        compaction["hints"] = serde_json::json!(["from-out-of-order"]);
    }
    serde_json::json!({
        "ulid": meta.id.to_string(),
        "minTime": meta.min_time,
        // Prometheus's end is the first millisecond behind the block.
        "maxTime": meta.max_time.saturating_add(1),
        "stats": stats,
        "compaction": compaction,
        "version": 1,
        "shard": meta.shard,
        "bytes": meta.bytes,
    })
}

/// `status/walreplay`: answers while the log is being replayed. Numbers of segments, as in Prometheus; those of several shards are added up, so
/// that `current` still goes from `min` to `max`.
pub fn wal_replay(worker: &Worker) -> Result<ApiData, ApiError> {
    let progress = worker.services.store.replay_progress();
    Ok(ApiData::json(format!(
        "{{\"min\":{},\"max\":{},\"current\":{}}}",
        progress.segment_min, progress.segment_max, progress.segment_current
    )))
}

/// `status/tsdb`.
pub async fn tsdb(worker: &Rc<Worker>, request: &Request) -> Result<ApiData, ApiError> {
    let form = Form::from_query(&request.query);
    let limit = match form.value("limit") {
        "" => TSDB_ENTRIES_DEFAULT,
        text => match text.parse::<usize>() {
            Ok(limit) if (1..=TSDB_ENTRIES_MAX).contains(&limit) => limit,
            _ => {
                let text =
                    format!("limit must be a positive number and at most {TSDB_ENTRIES_MAX}");
                return Err(ApiError::bad_data(text));
            }
        },
    };
    let all = super::cardinality::gather(&*worker.services.store)
        .await
        .map_err(|e| ApiError::new(ErrorType::Internal, e))?;
    let list = |entries: Vec<(String, u64)>| {
        let items: Vec<_> = entries
            .into_iter()
            .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
            .collect();
        serde_json::Value::Array(items)
    };
    let of_names = |count: fn(&storage_engine::shard::LabelNameCardinality) -> u64| {
        all.names
            .iter()
            .map(|(n, c)| (n.clone(), count(c)))
            .collect()
    };
    let stats = worker.services.store.stats();
    let sum = |field: fn(&ShardStats) -> u64| stats.iter().map(field).sum::<u64>();
    let info = serde_json::json!({
        "headStats": {
            "numSeries": all.series,
            "numLabelPairs": all.label_pairs(),
            "chunkCount": all.chunks,
            "minTime": all.time_min.unwrap_or(i64::MAX),
            "maxTime": all.time_max.unwrap_or(i64::MIN),
        },
        "seriesCountByMetricName": list(Cardinality::largest(&all.metrics, limit)),
        "labelValueCountByLabelName":
            list(Cardinality::largest(&of_names(|c| c.values.len() as u64), limit)),
        "memoryInBytesByLabelName": list(Cardinality::largest(&of_names(|c| c.bytes), limit)),
        "seriesCountByLabelValuePair": list(Cardinality::largest(&all.pairs, limit)),
        "memoryBytes": {
            "index": sum(|s| s.index_bytes),
            "labels": sum(|s| s.label_bytes),
            "postings": sum(|s| s.postings_bytes),
            "series": sum(|s| s.series_bytes),
            "openChunks": sum(|s| s.open_chunk_bytes),
            "sealedChunks": sum(|s| s.sealed_chunk_bytes),
            "mappedChunks": sum(|s| s.mapped_chunk_bytes),
            "histograms": sum(|s| s.histogram_bytes),
            "outOfOrder": sum(|s| s.out_of_order_bytes),
            "tombstones": sum(|s| s.tombstone_bytes),
        },
    });
    Ok(ApiData::json(info.to_string()))
}

/// The type of `/metrics`, with the escaping of names that the client asked for. No name of ours needs any.
pub(super) fn metrics_type(request: &Request) -> &'static str {
    let accept = request.header("accept").unwrap_or("");
    let asked = |scheme: &str| {
        accept
            .split([',', ';'])
            .any(|part| part.trim().strip_prefix("escaping=") == Some(scheme))
    };
    if asked("allow-utf-8") {
        "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"
    } else if asked("dots") {
        "text/plain; version=0.0.4; charset=utf-8; escaping=dots"
    } else if asked("values") {
        "text/plain; version=0.0.4; charset=utf-8; escaping=values"
    } else {
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    }
}

/// `/metrics`.
pub fn metrics(worker: &Worker, request: &Request) -> Response {
    let app = &worker.app;
    let mut page = Exposition::default();
    page.gauge(
        "prometheus_build_info",
        "A metric with a constant '1' value labeled by version, revision and branch.",
    )
    .sample(
        &[
            ("version", PROMETHEUS_VERSION),
            ("revision", concat!("ferula-", env!("CARGO_PKG_VERSION"))),
            ("branch", "main"),
            ("goversion", ""),
        ],
        1.0,
    );
    page.gauge(
        "ferula_build_info",
        "A metric with a constant '1' value labeled by version and runtime.",
    )
    .sample(
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("runtime", worker.services.store.runtime_name()),
        ],
        1.0,
    );
    page.one_gauge(
        "prometheus_config_last_reload_successful",
        "Whether the last configuration reload attempt was successful.",
        f64::from(u8::from(app.reload_state().is_successful())),
    );
    page.one_gauge(
        "prometheus_config_last_reload_success_timestamp_seconds",
        "Timestamp of the last successful configuration reload.",
        app.reload_state().success_time_ms() as f64 / 1000.0,
    );
    page.one_gauge(
        "prometheus_ready",
        "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
        f64::from(u8::from(app.is_ready())),
    );
    super::storage_metrics::write(&mut page, &worker.services.store);
    worker.services.queries.write(&mut page);
    crate::kept_answers::write(&mut page, worker.services.results.counts());
    worker.services.reads.write(&mut page);
    worker.http.write(&mut page);
    if let Some(web) = &worker.services.web {
        web.write(&mut page);
    }
    write_receiver(&mut page, &worker.services.writes);
    let rows = &worker.services.rows;
    for (name, help, counter) in [
        (
            "ferula_rows_stored_total",
            "Rows of line protocols stored.",
            &rows.stored,
        ),
        (
            "ferula_rows_refused_total",
            "Rows of line protocols that the storage refused.",
            &rows.refused,
        ),
        (
            "ferula_rows_unreadable_total",
            "Rows of line protocols that could not be read.",
            &rows.unreadable,
        ),
    ] {
        page.one_counter(name, help, counter.get() as f64);
    }
    if let Some(push) = &worker.services.push {
        push.write_metrics(&mut page);
    }
    crate::rules::write_metrics(&mut page, &worker.services.rules);
    crate::notify::write_metrics(&mut page, &worker.services.notify);
    let scrape = &worker.services.scrape;
    super::targets::write_metrics(&mut page, scrape);
    let notify = worker.services.notify.discovery();
    super::discovery_metrics::write_metrics(
        &mut page,
        &[("notify", notify), ("scrape", scrape.discovery())],
    );
    write_process_metrics(&mut page, start_time_ms(worker) as f64 / 1000.0);
    content(200, metrics_type(request), page.finish())
}

fn write_receiver(page: &mut Exposition, writes: &WriteCounters) {
    for (name, help, counter) in [
        (
            "ferula_remote_write_samples_total",
            "Float samples stored by remote write.",
            &writes.samples,
        ),
        (
            "ferula_remote_write_samples_rejected_total",
            "Samples of remote write that were refused.",
            &writes.samples_rejected,
        ),
        (
            "ferula_remote_write_histograms_total",
            "Native histogram samples stored by remote write.",
            &writes.histograms,
        ),
        (
            "ferula_remote_write_bad_requests_total",
            "Remote write requests whose body could not be read.",
            &writes.bad_requests,
        ),
        (
            "ferula_remote_write_received_bytes_total",
            "Compressed bytes received by remote write.",
            &writes.bytes,
        ),
    ] {
        page.one_counter(name, help, counter.get() as f64);
    }
}
