//! The world of a rules' test: series from the file in shards on this thread, queries over them, nobody who hears of alerts.

use ::rules::alert::Alert;
use ::rules::source::{
    Clock, Element, Notify, Query, QueryFault, Refusal, RefusalKind, RuleSample, Source, Store,
    Value,
};
use query_engine::engine::{Engine, EngineOptions, QueryRequest};
use query_engine::local::{LocalAppendError, LocalShards};
use query_engine::parse::ParserOptions;
use query_engine::testlang::{
    Answer, Grammar, HostError, LoadedSeries, Script, TestHost, run_script,
};
use std::sync::Arc;
use storage_engine::model::{SampleColumns, TimestampMs};
use storage_engine::shard_api::RejectReason;
use tokio::runtime::Runtime;

/// Shards and engine of one test.
pub(super) struct Local {
    shards: LocalShards,
    engine: Engine,
    runtime: Runtime,
}

impl Local {
    pub(super) fn new(interval_ms: i64, parser: &ParserOptions) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().map_err(|error| error.to_string())?;
        Ok(Local {
            shards: LocalShards::new(1),
            engine: Engine::new(EngineOptions {
                default_subquery_step_ms: interval_ms,
                parser: *parser,
                ..EngineOptions::default()
            }),
            runtime,
        })
    }

    /// Stores series, `shift_ms` later than they say.
    pub(super) fn load(&self, series: Vec<LoadedSeries>, shift_ms: i64) -> Result<(), String> {
        for one in series {
            let floats = SampleColumns {
                timestamps: one.floats.timestamps.iter().map(|t| t + shift_ms).collect(),
                values: one.floats.values,
            };
            let histograms: Vec<_> = one
                .histograms
                .into_iter()
                .map(|(t, histogram)| (t + shift_ms, histogram))
                .collect();
            self.shards
                .append_mixed(&one.labels, &floats, &histograms)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Source for Local {
    fn query(&self, query: Query<'_>) -> Result<Vec<Element>, QueryFault> {
        let mut request = QueryRequest::instant(query.text, query.at_ms);
        request.lookback_delta_ms = query.lookback_ms;
        let failed =
            |error: query_engine::result::QueryError| QueryFault::Failed(error.to_string());
        let output = match query.expr {
            Some(expr) => {
                let work = self.engine.evaluate(&self.shards, expr, &request);
                self.runtime.block_on(work).map_err(failed)?
            }
            None => {
                let work = self.engine.query(&self.shards, &request);
                self.runtime.block_on(work).map_err(failed)?
            }
        };
        crate::rules::vector(output).map_err(|text| QueryFault::Failed(text.to_owned()))
    }
}

impl Store for Local {
    fn append(&self, samples: &[RuleSample]) -> Result<Vec<Refusal>, String> {
        let mut refusals = Vec::new();
        for (index, sample) in samples.iter().enumerate() {
            let stored = match &sample.value {
                Value::Float(value) => {
                    let mut columns = SampleColumns::default();
                    columns.push(sample.at_ms, *value);
                    self.shards.append(&sample.labels, &columns)
                }
                Value::Histogram(histogram) => {
                    let histograms = [(sample.at_ms, Arc::clone(histogram))];
                    let none = SampleColumns::default();
                    self.shards.append_mixed(&sample.labels, &none, &histograms)
                }
            };
            match stored {
                Ok(()) => {}
                Err(LocalAppendError::Rejected { reason, .. }) => refusals.push(Refusal {
                    index,
                    kind: match reason {
                        RejectReason::OutOfOrder => RefusalKind::OutOfOrder,
                        RejectReason::DuplicateTimestamp => RefusalKind::Duplicate,
                        RejectReason::TooOld | RejectReason::OutOfBounds => RefusalKind::TooOld,
                        _ => RefusalKind::Other,
                    },
                    text: reason.to_string(),
                }),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(refusals)
    }
}

impl Notify for Local {
    fn notify(&self, _: &str, _: &[Alert]) {}
}

/// Tests do not tell how long things took.
pub(super) struct NoTime;

impl Clock for NoTime {
    fn wall_ns(&self) -> i64 {
        0
    }
    fn monotonic_ns(&self) -> i64 {
        0
    }
}

/// Keeps what a script loads.
#[derive(Default)]
struct Collector(Vec<LoadedSeries>);

impl TestHost for Collector {
    fn clear(&mut self) -> Result<(), HostError> {
        Ok(())
    }
    fn append(&mut self, series: Vec<LoadedSeries>) -> Result<(), HostError> {
        self.0.extend(series);
        Ok(())
    }
    fn instant(&mut self, _: &str, _: TimestampMs) -> Result<Answer, HostError> {
        Err(HostError("nothing is asked here".to_owned()))
    }
    fn range(
        &mut self,
        query: &str,
        start: TimestampMs,
        _: TimestampMs,
        _: i64,
    ) -> Result<Answer, HostError> {
        self.instant(query, start)
    }
}

/// The series of a load in Prometheus's test language.
pub(super) fn series<'a>(
    interval: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<LoadedSeries>, String> {
    let mut script = format!("load {interval}\n");
    for (series, values) in lines {
        // A line is a series.
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        script.push_str(&format!("  {} {}\n", one_line(series), one_line(values)));
    }
    let script = Script::parse(&script).map_err(|error| error.to_string())?;
    let grammar = Grammar {
        parse: |_| Err("nothing is asked here".to_owned()),
        print: |expr| expr.to_string(),
    };
    let mut collector = Collector::default();
    run_script(&script, &mut collector, grammar).map_err(|error| error.to_string())?;
    Ok(collector.0)
}
