//! `query`, `query_range`, `format_query`, `parse_query`.

use super::explain;
use super::json::{SampleTexts, push_histogram_sample, push_labels, push_sample, push_scalar};
use super::params::{limit_param, parse_duration, parse_duration_ns, parse_time, time_param};
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, ErrorType, push_json_string};
use crate::limits::FORM_BYTES_MAX;
use crate::query_drive::drive;
use crate::query_registry::Arrived;
use crate::query_slots::QuerySlots;
use crate::services::Services;
use crate::worker::Worker;
use query_engine::engine::QueryRequest;
use query_engine::eval::budget::{CancelToken, HeavySign};
use query_engine::eval::memory::Held;
use query_engine::result::{QueryError, QueryOutput, QueryValue};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::OwnedSemaphorePermit;

/// Most points per series that a range query may ask for.
const POINTS_PER_SERIES_MAX: i64 = 11_000;

pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

pub(super) async fn form_of(request: &mut Request) -> Result<Form, ApiError> {
    let error = |e| ApiError::bad_data(format!("error parsing form values: {e}"));
    request.form(FORM_BYTES_MAX).await.map_err(error)
}

/// Cancels the query when the request's future is dropped: the client went away.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn api_error(error: QueryError) -> ApiError {
    let text = error.to_string();
    match error {
        QueryError::Parse(_) | QueryError::Invalid(_) => ApiError::parameter("query", text),
        QueryError::Canceled => ApiError::new(ErrorType::Canceled, text),
        QueryError::Timeout => ApiError::new(ErrorType::Timeout, text),
        QueryError::Storage(_) => ApiError::new(ErrorType::Internal, text),
        _ => ApiError::new(ErrorType::Execution, text),
    }
}

struct Asked {
    text: String,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    lookback_delta_ms: Option<i64>,
    timeout: Duration,
    limit: usize,
    peer: Option<SocketAddr>,
    stats: Stats,
    /// Tell what it took.
    explain: bool,
    /// Leave kept answers alone.
    no_cache: bool,
}

/// What statistics come with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stats {
    None,
    Some,
    /// Those of each step too, where `promql-per-step-stats` is on.
    All,
    /// Asked for in a word that will be refused one day.
    Other(String),
}

impl Stats {
    fn of(form: &Form) -> Self {
        match form.value("stats") {
            "" => Stats::None,
            "true" => Stats::Some,
            "all" => Stats::All,
            other => Stats::Other(other.to_owned()),
        }
    }

    fn warning(&self) -> Option<String> {
        let Stats::Other(value) = self else {
            return None;
        };
        let mut text = String::from("value ");
        push_json_string(&mut text, value);
        text.push_str(" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"");
        Some(text)
    }
}

fn options(worker: &Worker, form: &Form) -> Result<(Duration, Option<i64>), ApiError> {
    let mut timeout = worker.app.query_timeout();
    if !form.value("timeout").is_empty() {
        let ns = parse_duration_ns(form.value("timeout"))
            .map_err(|e| ApiError::parameter("timeout", e))?;
        timeout = timeout.min(Duration::from_nanos(ns.max(0) as u64));
    }
    let lookback = match form.value("lookback_delta") {
        "" => None,
        text => Some(parse_duration(text).map_err(|e| {
            ApiError::bad_data(format!("error parsing lookback delta duration: {e}"))
        })?),
    };
    Ok((timeout, lookback.filter(|ms| *ms > 0)))
}

/// `/api/v1/query`.
pub async fn instant(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = form_of(&mut request).await?;
    let limit = limit_param(&form)?;
    let at = time_param(&form, "time", now_ms())?;
    let (timeout, lookback_delta_ms) = options(worker, &form)?;
    let asked = Asked {
        text: form.value("query").to_owned(),
        start_ms: at,
        end_ms: at,
        step_ms: 0,
        lookback_delta_ms,
        timeout,
        limit,
        peer: request.peer,
        stats: Stats::of(&form),
        explain: matches!(form.value("explain"), "1" | "true"),
        no_cache: true,
    };
    evaluate(worker, asked).await
}

/// `/api/v1/query_range`.
pub async fn range(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = form_of(&mut request).await?;
    let limit = limit_param(&form)?;
    let time = |name| parse_time(form.value(name)).map_err(|e| ApiError::parameter(name, e));
    let (start_ms, end_ms) = (time("start")?, time("end")?);
    if end_ms < start_ms {
        let text = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", text));
    }
    let step_ns =
        parse_duration_ns(form.value("step")).map_err(|e| ApiError::parameter("step", e))?;
    let no_step = || {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        ApiError::parameter("step", text)
    };
    if step_ns <= 0 {
        return Err(no_step());
    }
    let range_ns = (i128::from(end_ms) - i128::from(start_ms)) * 1_000_000;
    if range_ns / i128::from(step_ns) > i128::from(POINTS_PER_SERIES_MAX) {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    // The engine counts in milliseconds; a finer step would not move on.
    let step_ms = step_ns / 1_000_000;
    if step_ms == 0 {
        return Err(no_step());
    }
    let (timeout, lookback_delta_ms) = options(worker, &form)?;
    let asked = Asked {
        text: form.value("query").to_owned(),
        start_ms,
        end_ms,
        step_ms,
        lookback_delta_ms,
        timeout,
        limit,
        peer: request.peer,
        stats: Stats::of(&form),
        explain: matches!(form.value("explain"), "1" | "true"),
        // What it took to answer is asked of an answer that was computed.
        no_cache: matches!(form.value("nocache"), "1" | "true") || !form.value("stats").is_empty(),
    };
    evaluate(worker, asked).await
}

async fn evaluate(worker: &Rc<Worker>, asked: Asked) -> Result<ApiData, ApiError> {
    if asked.timeout.is_zero() {
        return Err(api_error(QueryError::Timeout));
    }
    let services = Arc::clone(&worker.services);
    let (cancel, heavy) = (CancelToken::default(), HeavySign::default());
    let running = worker.services.queries.begin(Arrived {
        text: asked.text.as_str().into(),
        start_ms: asked.start_ms,
        end_ms: asked.end_ms,
        step_ms: asked.step_ms,
        peer: asked.peer,
        cancel: cancel.clone(),
    });
    let _guard = CancelOnDrop(cancel.clone());
    let timeout = asked.timeout;
    let query = Query {
        step_stats: asked.stats == Stats::All && worker.app.step_stats(),
        asked,
        cancel: cancel.clone(),
        heavy: heavy.clone(),
        bytes: running.bytes(),
    };
    let mut work = std::pin::pin!(drive(query.answer(services), heavy));
    let outcome = tokio::select! {
        outcome = work.as_mut() => outcome,
        () = tokio::time::sleep(timeout) => {
            cancel.time_out();
            match tokio::time::timeout(CANCEL_GRACE, work).await {
                Ok(outcome) => outcome,
                Err(_) => Some(Err(QueryError::Timeout)),
            }
        }
    };
    drop(running);
    match outcome {
        Some(outcome) => outcome.map_err(api_error),
        None => Err(ApiError::new(
            ErrorType::Internal,
            "unexpected error: the query's thread has panicked",
        )),
    }
}

/// How long a query that was stopped may take to say so; then it is answered for.
const CANCEL_GRACE: Duration = Duration::from_millis(40);
/// Most samples whose text is written on the worker's own thread.
const INLINE_SAMPLES_MAX: u64 = 100_000;

/// One query with all it needs, so that it can move to another thread.
struct Query {
    asked: Asked,
    step_stats: bool,
    cancel: CancelToken,
    heavy: HeavySign,
    /// Gets the most bytes that it held.
    bytes: Arc<AtomicU64>,
}

impl Query {
    /// From the text to the answer's text.
    async fn answer(self, services: Arc<Services>) -> Result<ApiData, QueryError> {
        let started = Instant::now();
        let queries = &services.queries;
        let asked = &self.asked;
        let engine = services.engine.load_full();
        let (mut slot, mut waited) = (None, Duration::ZERO);
        let mut preparation = Instant::now();
        let expr = match engine.parse_quickly(&asked.text) {
            Some(outcome) => outcome?,
            None => {
                (slot, waited) = wait_for_slot(queries).await;
                self.heavy.give().await;
                preparation = Instant::now();
                engine.parse(&asked.text)?
            }
        };
        let prepared = preparation.elapsed();
        queries.prepare_time.observe(prepared.as_secs_f64());
        if slot.is_none() {
            (slot, waited) = wait_for_slot(queries).await;
        }
        let request = QueryRequest {
            text: &asked.text,
            start_ms: asked.start_ms,
            end_ms: asked.end_ms,
            step_ms: asked.step_ms,
            lookback_delta_ms: asked.lookback_delta_ms,
            step_stats: self.step_stats,
            cancel: self.cancel.clone(),
            heavy: self.heavy.clone(),
            explain: asked.explain.then_some(explain::clock),
        };
        let evaluation = Instant::now();
        let store = &*services.store;
        let outcome = match asked.no_cache {
            true => engine.evaluate(store, &expr, &request).await,
            false => {
                let kept = &services.results;
                engine.evaluate_cached(kept, store, &expr, &request).await
            }
        };
        let evaluated = evaluation.elapsed();
        queries.inner_eval_time.observe(evaluated.as_secs_f64());
        let mut output = outcome?;
        self.bytes.store(output.stats.bytes_peak, Ordering::Relaxed);
        queries.samples.add(output.stats.samples_total);
        queries.samples_read.add(output.stats.samples_read);
        let timings = (asked.stats != Stats::None).then(|| Timings {
            prepared,
            waited,
            evaluated,
            total: started.elapsed(),
        });
        let truncated = asked.limit > 0 && truncate(&mut output, asked.limit);
        if samples_of(&output) > INLINE_SAMPLES_MAX {
            self.heavy.give().await;
        }
        let writing = Instant::now();
        let mut data = render(&mut output, timings, &self.cancel)?;
        if let Some(explanation) = &output.explanation {
            let phases = explain::Phases {
                prepared,
                waited,
                evaluated,
            };
            data.members
                .push(("explain", explain::json(explanation, phases)));
        }
        let written = writing.elapsed();
        queries.result_sort_time.observe(written.as_secs_f64());
        data.warnings.extend(asked.stats.warning());
        if truncated {
            data.warnings
                .push("results truncated due to limit".to_owned());
        }
        drop(slot);
        Ok(data)
    }
}

async fn wait_for_slot(queries: &QuerySlots) -> (Option<OwnedSemaphorePermit>, Duration) {
    let waiting = Instant::now();
    let slot = queries.slot().await;
    let waited = waiting.elapsed();
    queries.queue_time.observe(waited.as_secs_f64());
    (slot, waited)
}

fn samples_of(output: &QueryOutput) -> u64 {
    let all = match &output.value {
        QueryValue::Matrix(rows) => rows.iter().map(|row| row.values.len()).sum(),
        QueryValue::Vector(rows) => rows.len(),
        QueryValue::Scalar(..) | QueryValue::String(..) => 1,
    };
    all as u64
}

fn truncate(output: &mut QueryOutput, limit: usize) -> bool {
    match &mut output.value {
        QueryValue::Vector(rows) if rows.len() + output.histograms.len() > limit => {
            output.histograms.retain(|h| h.position < limit);
            rows.truncate(limit - output.histograms.len());
            true
        }
        QueryValue::Matrix(rows) if rows.len() > limit => {
            rows.truncate(limit);
            true
        }
        _ => false,
    }
}

/// Where the time of a query went.
struct Timings {
    /// Parsing.
    prepared: Duration,
    /// Waiting for a slot.
    waited: Duration,
    /// Planning, evaluating, ordering.
    evaluated: Duration,
    /// From arrival to the result.
    total: Duration,
}

/// Takes memory for the text as it grows, and stops when the query does.
fn pay(
    json: &String,
    before: usize,
    held: &mut Held,
    cancel: &CancelToken,
) -> Result<(), QueryError> {
    cancel.check()?;
    Ok(held.reach(before + json.capacity())?)
}

fn render(
    output: &mut QueryOutput,
    timings: Option<Timings>,
    cancel: &CancelToken,
) -> Result<ApiData, QueryError> {
    let mut json = String::from("{\"resultType\":\"");
    let before = output.held.bytes();
    let mut held = std::mem::take(&mut output.held);
    match &output.value {
        QueryValue::Scalar(at, value) => {
            json.push_str("scalar\",\"result\":");
            push_scalar(&mut json, *at, *value);
        }
        QueryValue::String(at, bytes) => {
            json.push_str("string\",\"result\":[");
            super::json::push_timestamp(&mut json, *at);
            json.push(',');
            push_json_string(&mut json, &String::from_utf8_lossy(bytes));
            json.push(']');
        }
        QueryValue::Vector(rows) => {
            json.push_str("vector\",\"result\":[");
            let mut floats = rows.iter();
            let mut histograms = output.histograms.iter().peekable();
            for i in 0..rows.len() + output.histograms.len() {
                let open = |json: &mut String, labels| {
                    json.push_str(if i > 0 {
                        ",{\"metric\":"
                    } else {
                        "{\"metric\":"
                    });
                    push_labels(json, labels);
                };
                if let Some(h) = histograms.next_if(|h| h.position == i) {
                    open(&mut json, &h.labels);
                    json.push_str(",\"histogram\":");
                    push_histogram_sample(&mut json, h.timestamp, &h.histogram);
                } else if let Some((labels, at, value)) = floats.next() {
                    open(&mut json, labels);
                    json.push_str(",\"value\":");
                    push_sample(&mut json, *at, *value);
                }
                json.push('}');
                pay(&json, before, &mut held, cancel)?;
            }
            json.push(']');
        }
        QueryValue::Matrix(rows) => {
            json.push_str("matrix\",\"result\":[");
            let mut texts = SampleTexts::default();
            for (i, row) in rows.iter().enumerate() {
                json.push_str(if i > 0 {
                    ",{\"metric\":"
                } else {
                    "{\"metric\":"
                });
                push_labels(&mut json, &row.labels);
                for (k, (at, value)) in row.timestamps.iter().zip(&row.values).enumerate() {
                    json.push_str(if k > 0 { "," } else { ",\"values\":[" });
                    texts.push(&mut json, k, *at, *value);
                }
                if !row.timestamps.is_empty() {
                    json.push(']');
                }
                for (k, (at, histogram)) in row.histograms.iter().enumerate() {
                    json.push_str(if k > 0 { "," } else { ",\"histograms\":[" });
                    push_histogram_sample(&mut json, *at, histogram);
                }
                if !row.histograms.is_empty() {
                    json.push(']');
                }
                json.push('}');
                pay(&json, before, &mut held, cancel)?;
            }
            json.push(']');
        }
    }
    if let Some(timings) = timings {
        let samples = &output.stats;
        let steps = |name: &str, of: fn(&(i64, u64, u64)) -> u64| {
            let mut text = String::new();
            for (i, step) in samples.steps.iter().enumerate() {
                text.push_str(if i > 0 { ",[" } else { name });
                super::json::push_timestamp(&mut text, step.0);
                text.push_str(&format!(",{}]", of(step)));
            }
            if !text.is_empty() {
                text.push_str("],");
            }
            text
        };
        // The engine orders its result while it evaluates, so no time is left to tell apart as sorting.
        json.push_str(&format!(
            ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{},\"resultSortTime\":0,\"queryPreparationTime\":{},\"innerEvalTime\":{},\"execQueueTime\":{},\"execTotalTime\":{}}},\"samples\":{{{}\"totalQueryableSamples\":{},{}\"samplesRead\":{},\"peakSamples\":{},\"pagesDecoded\":{},\"pagesSkipped\":{},\"bytesRead\":{}}}}}",
            (timings.prepared + timings.evaluated).as_secs_f64(),
            timings.prepared.as_secs_f64(),
            timings.evaluated.as_secs_f64(),
            timings.waited.as_secs_f64(),
            timings.total.as_secs_f64(),
            steps("\"totalQueryableSamplesPerStep\":[[", |step| step.1),
            samples.samples_total,
            steps("\"samplesReadPerStep\":[[", |step| step.2),
            samples.samples_read,
            samples.samples_peak,
            samples.pages_decoded,
            samples.pages_skipped,
            samples.bytes_read
        ));
    }
    json.push('}');
    Ok(ApiData {
        json,
        warnings: std::mem::take(&mut output.warnings),
        infos: std::mem::take(&mut output.infos),
        members: Vec::new(),
    })
}

/// `/api/v1/format_query`.
pub async fn format(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = form_of(&mut request).await?;
    let engine = worker.services.engine.load();
    let expr = query_engine::parse::parse(form.value("query"), &engine.options().parser)
        .map_err(|e| ApiError::parameter("query", e))?;
    let mut json = String::new();
    push_json_string(&mut json, &query_engine::parse::prettify(&expr));
    Ok(ApiData::json(json))
}

/// `/api/v1/parse_query`.
pub async fn parse(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = form_of(&mut request).await?;
    let engine = worker.services.engine.load();
    let expr = query_engine::parse::parse(form.value("query"), &engine.options().parser)
        .map_err(|e| ApiError::parameter("query", e))?;
    Ok(ApiData::json(query_engine::parse::ast_json(&expr)))
}
