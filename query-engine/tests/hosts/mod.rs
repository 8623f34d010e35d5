//! The engine and its storage as the runner of the test language wants them: local shards, or the threads of a running store.

use ferula_query_engine::engine::{Engine, EngineOptions, QueryRequest};
use ferula_query_engine::local::LocalShards;
use ferula_query_engine::parse::{ParserOptions, parse};
use ferula_query_engine::result::{QueryError, QueryOutput, QueryValue};
use ferula_query_engine::testlang::{Answer, AnswerValue, Grammar, HostError, TestHost};
use storage_engine::model::{Labels, SampleColumns, TimestampMs};
use storage_engine::shard_api::{AppendBatch, AppendMode, NewSeries, SampleSeries, ShardRunner};
use storage_engine::store::{AckMode, RuntimeChoice, Store, StoreOptions};

/// All switches of the language on, as upstream runs its corpus.
fn parser_options() -> ParserOptions {
    ParserOptions::all()
}

/// Parser and printer.
pub(crate) fn grammar() -> Grammar {
    Grammar {
        parse: |text| parse(text, &parser_options()).map_err(|e| e.to_string()),
        print: |expr| expr.to_string(),
    }
}

/// A store that can be emptied and filled.
pub(crate) trait TestStore {
    fn shards(&self) -> &dyn ShardRunner;
    async fn clear(&mut self) -> Result<(), HostError>;
    async fn append(&mut self, labels: Labels, samples: SampleColumns) -> Result<(), HostError>;
}

/// Shards on the test's own thread.
pub(crate) struct LocalStore {
    count: usize,
    shards: LocalShards,
}

impl LocalStore {
    pub(crate) fn new(count: usize) -> Self {
        LocalStore {
            count,
            shards: LocalShards::new(count),
        }
    }
}

impl TestStore for LocalStore {
    fn shards(&self) -> &dyn ShardRunner {
        &self.shards
    }

    async fn clear(&mut self) -> Result<(), HostError> {
        self.shards = LocalShards::new(self.count);
        Ok(())
    }

    async fn append(&mut self, labels: Labels, samples: SampleColumns) -> Result<(), HostError> {
        let appended = self.shards.append(&labels, &samples);
        appended.map_err(|e| HostError(e.to_string()))
    }
}

/// A real store in a temporary directory; a new one after each clear.
pub(crate) struct RunningStore {
    count: usize,
    open: Option<(Store, tempfile::TempDir)>,
}

/// Small, so that many stores fit where tests run.
const SEGMENT_BYTES: u64 = 1 << 20;

impl RunningStore {
    pub(crate) fn new(count: usize) -> Self {
        RunningStore { count, open: None }
    }

    fn store(&self) -> &Store {
        &self.open.as_ref().expect("cleared before it is used").0
    }
}

impl TestStore for RunningStore {
    fn shards(&self) -> &dyn ShardRunner {
        self.store()
    }

    async fn clear(&mut self) -> Result<(), HostError> {
        if let Some((store, _)) = self.open.take() {
            store.shutdown().await;
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            shard_count: Some(self.count),
            runtime: RuntimeChoice::Tokio,
            ack: AckMode::Fast,
            wal_segment_bytes: SEGMENT_BYTES,
            out_of_bounds_window_ms: None,
            pin_threads: false,
            ..StoreOptions::new(dir.path())
        });
        let store = store.map_err(|e| HostError(e.to_string()))?;
        let ready = store.wait_ready().await;
        ready.map_err(|e| HostError(e.to_string()))?;
        self.open = Some((store, dir));
        Ok(())
    }

    async fn append(&mut self, labels: Labels, samples: SampleColumns) -> Result<(), HostError> {
        let store = self.store();
        let mut new_series = NewSeries::default();
        let index = new_series.push(labels.as_bytes());
        let batch = AppendBatch {
            series: vec![SampleSeries::New(index); samples.len()],
            timestamps: samples.timestamps,
            values: samples.values,
            new_series,
            ..AppendBatch::default()
        };
        let shard = store.shard_of(labels.route_hash());
        let outcome = store.append(shard, batch, AppendMode::Partial).await;
        let outcome = outcome.map_err(|e| HostError(e.to_string()))?;
        match outcome.rejections.first() {
            None => Ok(()),
            Some(r) => Err(HostError(format!("{} ({labels})", r.reason))),
        }
    }
}

/// The engine over a store, with upstream's options of the corpus.
pub(crate) struct EngineHost<S> {
    store: S,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl<S: TestStore> EngineHost<S> {
    pub(crate) fn new(store: S) -> Self {
        let engine = Engine::new(EngineOptions {
            lookback_delta_ms: 300_000,
            max_samples: 10_000,
            default_subquery_step_ms: 60_000,
            delayed_name_removal: true,
            parser: parser_options(),
            ..EngineOptions::default()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        EngineHost {
            store,
            engine,
            runtime,
        }
    }

    fn query(&self, request: QueryRequest<'_>) -> Result<Answer, HostError> {
        let output = self.engine.query(self.store.shards(), &request);
        self.runtime.block_on(output).map(answer).map_err(error)
    }
}

fn error(error: QueryError) -> HostError {
    HostError(error.to_string())
}

fn answer(output: QueryOutput) -> Answer {
    let value = match output.value {
        QueryValue::Scalar(_, v) => AnswerValue::Scalar(v),
        QueryValue::String(_, text) => AnswerValue::String(text),
        QueryValue::Vector(all) => {
            AnswerValue::Vector(all.into_iter().map(|(l, _, v)| (l, v)).collect())
        }
        QueryValue::Matrix(all) => {
            let columns = all.into_iter().map(|s| {
                let columns = SampleColumns {
                    timestamps: s.timestamps,
                    values: s.values,
                };
                (s.labels, columns)
            });
            AnswerValue::Matrix(columns.collect())
        }
    };
    Answer {
        value,
        warnings: output.warnings,
        infos: output.infos,
    }
}

impl<S: TestStore> TestHost for EngineHost<S> {
    fn clear(&mut self) -> Result<(), HostError> {
        self.runtime.block_on(self.store.clear())
    }

    fn append(&mut self, series: Vec<(Labels, SampleColumns)>) -> Result<(), HostError> {
        for (labels, samples) in series {
            self.runtime.block_on(self.store.append(labels, samples))?;
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, time: TimestampMs) -> Result<Answer, HostError> {
        self.query(QueryRequest::instant(query, time))
    }

    fn range(
        &mut self,
        query: &str,
        start: TimestampMs,
        end: TimestampMs,
        step: i64,
    ) -> Result<Answer, HostError> {
        self.query(QueryRequest::range(query, start, end, step))
    }
}
