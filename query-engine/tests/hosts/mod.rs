//! The engine and its storage as the runner of the test language wants them: local shards, or the threads of a running store.

mod blocks;

pub(crate) use blocks::BlockStore;

use ferula_query_engine::engine::{Engine, EngineOptions, QueryRequest};
use ferula_query_engine::local::{LocalShards, batches};
use ferula_query_engine::parse::{ParserOptions, parse};
use ferula_query_engine::result::{QueryError, QueryOutput, QueryValue};
use ferula_query_engine::testlang::{
    Answer, AnswerValue, Grammar, HostError, LoadedSeries, Sample, TestHost,
};
use storage_engine::model::TimestampMs;
use storage_engine::shard::StartSettings;
use storage_engine::shard_api::{AppendMode, ShardRunner};
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
    async fn append(&mut self, series: LoadedSeries) -> Result<(), HostError>;
    /// Does it keep start timestamps?
    fn keeps_starts(&self) -> bool {
        true
    }
    /// All of a load has been appended.
    fn loaded(&mut self) -> Result<(), HostError> {
        Ok(())
    }
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

    async fn append(&mut self, series: LoadedSeries) -> Result<(), HostError> {
        let LoadedSeries {
            labels,
            floats,
            histograms,
            starts,
        } = series;
        let appended = self
            .shards
            .append_started(&labels, &floats, &histograms, &starts);
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
            starts: StartSettings {
                keep: true,
                ..StartSettings::default()
            },
            ..StoreOptions::new(dir.path())
        });
        let store = store.map_err(|e| HostError(e.to_string()))?;
        let ready = store.wait_ready().await;
        ready.map_err(|e| HostError(e.to_string()))?;
        self.open = Some((store, dir));
        Ok(())
    }

    async fn append(&mut self, series: LoadedSeries) -> Result<(), HostError> {
        let store = self.store();
        let labels = &series.labels;
        for batch in batches(labels, &series.floats, &series.histograms, &series.starts) {
            let shard = store.shard_of(labels.route_hash());
            let outcome = store.append(shard, batch, AppendMode::Partial).await;
            let outcome = outcome.map_err(|e| HostError(e.to_string()))?;
            if let Some(r) = outcome.rejections.first() {
                return Err(HostError(format!("{} ({labels})", r.reason)));
            }
        }
        Ok(())
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
            use_start_timestamps: true,
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
            let floats = all.into_iter().map(|(l, _, v)| (l, Sample::Float(v)));
            let mut all: Vec<_> = floats.collect();
            for h in output.histograms {
                all.insert(h.position, (h.labels, Sample::Histogram(h.histogram)));
            }
            AnswerValue::Vector(all)
        }
        QueryValue::Matrix(all) => {
            let columns = all.into_iter().map(|s| {
                let floats = s.timestamps.into_iter().zip(s.values);
                let floats = floats.map(|(t, v)| (t, Sample::Float(v)));
                let histograms = s.histograms.into_iter();
                let histograms = histograms.map(|(t, h)| (t, Sample::Histogram(h)));
                let mut samples: Vec<(TimestampMs, Sample)> = floats.chain(histograms).collect();
                samples.sort_by_key(|(t, _)| *t);
                (s.labels, samples)
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
    fn keeps_starts(&self) -> bool {
        self.store.keeps_starts()
    }

    fn clear(&mut self) -> Result<(), HostError> {
        self.runtime.block_on(self.store.clear())
    }

    fn append(&mut self, all: Vec<LoadedSeries>) -> Result<(), HostError> {
        for series in all {
            self.runtime.block_on(self.store.append(series))?;
        }
        self.store.loaded()
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
