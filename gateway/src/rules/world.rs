//! The server as rules see it: its engine, its shards, its clock.
//!
//! Promise: a rule's query waits for a slot, counts and times out like everyone's; its samples go to the shards like everyone's, as durable
//! when the evaluation ends. Not here: HTTP.

use super::{Inner, nanos};
use crate::cli::Flags;
use crate::limits::{RULE_APPEND_PAUSE, RULE_APPEND_TRIES_MAX};
use crate::query_registry::Arrived;
use ::rules::source::{
    Clock, Element, NOT_A_VECTOR, Query, QueryFault, Refusal, RefusalKind, RuleSample, Source,
    Store, Value, World,
};
use futures_util::future::join_all;
use query_engine::engine::QueryRequest;
use query_engine::eval::budget::CancelToken;
use query_engine::result::{QueryError, QueryOutput, QueryValue};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use storage_engine::model::Labels;
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, HistogramSample, RejectReason, SampleSeries,
};

/// The wall clock and a monotonic one.
pub(crate) struct SystemTimes {
    start: Instant,
}

impl SystemTimes {
    pub(crate) fn new() -> Self {
        SystemTimes {
            start: Instant::now(),
        }
    }
}

/// Nanoseconds since the epoch.
pub(crate) fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

impl Clock for SystemTimes {
    fn wall_ns(&self) -> i64 {
        wall_ns()
    }
    fn monotonic_ns(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Engine and shards. To be used on threads that may wait.
pub(crate) struct Server(pub(crate) Arc<Inner>);

impl Server {
    /// Everything around a group.
    pub(crate) fn world<'a>(&'a self, clock: &'a dyn Clock) -> World<'a> {
        let shared = self.0.shared.load();
        World {
            source: Arc::new(Server(Arc::clone(&self.0))),
            store: self,
            notify: &*self.0.notify,
            clock,
            external: Arc::clone(&shared.external),
            resend_delay_ns: nanos(self.0.flags.resend_delay),
            query_offset_ms: shared.query_offset_ms,
        }
    }

    async fn ask(&self, query: Query<'_>) -> Result<QueryOutput, QueryError> {
        let queries = &self.0.queries;
        let cancel = CancelToken::default();
        let running = queries.begin(Arrived {
            text: query.text.into(),
            start_ms: query.at_ms,
            end_ms: query.at_ms,
            step_ms: 0,
            peer: None,
            cancel: cancel.clone(),
        });
        let waiting = Instant::now();
        let slot = queries.slot().await;
        queries.queue_time.observe(waiting.elapsed().as_secs_f64());
        let engine = self.0.engine.load_full();
        let parsed;
        let expr = match query.expr {
            Some(expr) => expr,
            None => {
                parsed = engine.parse(query.text)?;
                &parsed
            }
        };
        let mut request = QueryRequest::instant(query.text, query.at_ms);
        request.lookback_delta_ms = query.lookback_ms;
        request.cancel = cancel.clone();
        let evaluation = Instant::now();
        let mut work = std::pin::pin!(engine.evaluate(&*self.0.store, expr, &request));
        let outcome = tokio::select! {
            outcome = work.as_mut() => outcome,
            () = tokio::time::sleep(self.0.flags.query_timeout) => {
                cancel.time_out();
                work.await
            }
        };
        queries
            .inner_eval_time
            .observe(evaluation.elapsed().as_secs_f64());
        if let Ok(output) = &outcome {
            queries.samples.add(output.stats.samples_total);
            queries.samples_read.add(output.stats.samples_read);
        }
        drop(slot);
        drop(running);
        outcome
    }

    /// Hands a batch to its shard; one that is overloaded is asked again a few times.
    async fn hand_in(
        &self,
        shard: usize,
        batch: AppendBatch,
    ) -> Result<Vec<(u32, RejectReason)>, AppendError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let store = &self.0.store;
            match store
                .append(shard, batch.clone(), AppendMode::Partial)
                .await
            {
                Ok(outcome) => {
                    let refused = outcome.rejections.iter();
                    return Ok(refused.map(|r| (r.sample, r.reason)).collect());
                }
                Err(AppendError::Overloaded) if tries < RULE_APPEND_TRIES_MAX => {
                    tokio::time::sleep(RULE_APPEND_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Source for Server {
    fn query(&self, query: Query<'_>) -> Result<Vec<Element>, QueryFault> {
        match self.0.runtime.block_on(self.ask(query)) {
            Ok(output) => vector(output).map_err(|text| QueryFault::Failed(text.to_owned())),
            Err(error @ QueryError::Canceled) => Err(QueryFault::Canceled(error.to_string())),
            Err(error) => Err(QueryFault::Failed(error.to_string())),
        }
    }
}

/// The elements of an instant query's answer, in its order.
pub fn vector(output: QueryOutput) -> Result<Vec<Element>, &'static str> {
    let rows = match output.value {
        QueryValue::Scalar(_, value) => {
            return Ok(vec![Element {
                labels: Labels::empty(),
                value: Value::Float(value),
            }]);
        }
        QueryValue::Vector(rows) => rows,
        QueryValue::Matrix(_) | QueryValue::String(..) => return Err(NOT_A_VECTOR),
    };
    let count = rows.len() + output.histograms.len();
    let mut out = Vec::with_capacity(count);
    let mut floats = rows.into_iter();
    let mut histograms = output.histograms.into_iter().peekable();
    for position in 0..count {
        let element = match histograms.next_if(|h| h.position == position) {
            Some(histogram) => Some(Element {
                labels: histogram.labels,
                value: Value::Histogram(histogram.histogram),
            }),
            None => floats.next().map(|(labels, _, value)| Element {
                labels,
                value: Value::Float(value),
            }),
        };
        out.extend(element);
    }
    Ok(out)
}

/// What one shard gets, and which of the samples these are.
#[derive(Default)]
struct Part {
    batch: AppendBatch,
    floats: Vec<usize>,
    histograms: Vec<usize>,
}

impl Store for Server {
    fn append(&self, samples: &[RuleSample]) -> Result<Vec<Refusal>, String> {
        let store = &self.0.store;
        let mut parts: Vec<Part> = Vec::new();
        parts.resize_with(store.shard_count(), Part::default);
        for (index, sample) in samples.iter().enumerate() {
            let shard = store.shard_of(sample.labels.route_hash());
            let Some(part) = parts.get_mut(shard) else {
                continue;
            };
            let batch = &mut part.batch;
            let series = SampleSeries::New(batch.new_series.push(sample.labels.as_bytes()));
            match &sample.value {
                Value::Float(value) => {
                    batch.series.push(series);
                    batch.timestamps.push(sample.at_ms);
                    batch.values.push(*value);
                    part.floats.push(index);
                }
                Value::Histogram(histogram) => {
                    batch.histograms.push(HistogramSample {
                        series,
                        timestamp: sample.at_ms,
                        histogram: Arc::clone(histogram),
                    });
                    part.histograms.push(index);
                }
            }
        }
        let mut indices = Vec::new();
        let mut work = Vec::new();
        for (shard, part) in parts.into_iter().enumerate() {
            if part.batch.sample_count() > 0 {
                // Histograms are numbered behind the floats.
                indices.push([part.floats, part.histograms].concat());
                work.push(self.hand_in(shard, part.batch));
            }
        }
        let mut refusals = Vec::new();
        for (outcome, indices) in self
            .0
            .runtime
            .block_on(join_all(work))
            .into_iter()
            .zip(indices)
        {
            for (sample, reason) in outcome.map_err(|error| error.to_string())? {
                if let Some(index) = indices.get(sample as usize) {
                    refusals.push(Refusal {
                        index: *index,
                        kind: kind(reason),
                        text: reason.to_string(),
                    });
                }
            }
        }
        refusals.sort_by_key(|refusal| refusal.index);
        Ok(refusals)
    }
}

fn kind(reason: RejectReason) -> RefusalKind {
    match reason {
        RejectReason::OutOfOrder => RefusalKind::OutOfOrder,
        RejectReason::TooOld | RejectReason::OutOfBounds => RefusalKind::TooOld,
        RejectReason::DuplicateTimestamp => RefusalKind::Duplicate,
        _ => RefusalKind::Other,
    }
}

/// `--web.external-url`, or what stands for it: this machine's name and the port that is listened on. Without a slash at its end.
pub fn external_url(flags: &Flags, hostname: &str, address: Option<SocketAddr>) -> String {
    let given = match flags.external_url.as_str() {
        "" => format!("http://{hostname}:{}/", address.map_or(9090, |a| a.port())),
        given => given.to_owned(),
    };
    given.trim_end_matches('/').to_owned()
}
