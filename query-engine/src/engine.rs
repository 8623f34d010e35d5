//! The query engine's front door: one text, one time range, one answer.
//!
//! Promise: no clock and no I/O of its own. Who owns the deadline flips the request's [`CancelToken`]; data comes through the shards.

use crate::eval::budget::{Budget, CancelToken, HeavySign};
use crate::eval::coordinator::{Coordinator, Outcome, Tracer};
use crate::eval::error::EvalError;
use crate::eval::memory::{Held, MemoryPool, Work, column_cost, row_cost};
use crate::eval::ordering::sort_by;
use crate::eval::rows::steps;
use crate::eval::value::{Grid, Row, Value};
use crate::explain::Clock;
use crate::fragment::mixed::RawSeries;
use crate::functions::QueryTimes;
use crate::limits::{
    LOOKBACK_DELTA_MS, QUERY_BYTES_MAX, QUERY_MEMORY_MAX, QUERY_SAMPLES_MAX, QUICK_REGEX_BYTES_MAX,
    QUICK_TEXT_BYTES_MAX,
};
use crate::parse::ast::{Expr, ValueType};
use crate::parse::{ParserOptions, parse};
use crate::plan::{PlanContext, plan};
use crate::result::{QueryError, QueryOutput, QueryStats, QueryValue, Series, VectorHistogram};
use std::sync::Arc;
use storage_engine::model::{Labels, TimestampMs};
use storage_engine::shard_api::{ReadNotes, ShardRunner};

/// Settings that all queries share.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How far back an instant selector looks, milliseconds (`--query.lookback-delta`).
    pub lookback_delta_ms: i64,
    /// Most samples a query holds at once (`--query.max-samples`).
    pub max_samples: usize,
    /// Most bytes a query holds at once (`--query.max-memory-per-query`).
    pub max_memory: usize,
    /// The bytes of all queries (`--query.max-memory`); engines may share it.
    pub memory: Arc<MemoryPool>,
    /// Resolution of subqueries that give none: the global evaluation interval, milliseconds.
    pub default_subquery_step_ms: i64,
    /// Drop metric names at the end of the evaluation (`--enable-feature=promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Let start timestamps tell of counter resets (`--enable-feature=use-start-timestamps`).
    pub use_start_timestamps: bool,
    /// What the parser accepts.
    pub parser: ParserOptions,
    /// Longest query text, bytes.
    pub query_bytes_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_delta_ms: LOOKBACK_DELTA_MS,
            max_samples: QUERY_SAMPLES_MAX,
            max_memory: QUERY_MEMORY_MAX,
            memory: Arc::default(),
            default_subquery_step_ms: 60_000,
            delayed_name_removal: false,
            use_start_timestamps: false,
            parser: ParserOptions::default(),
            query_bytes_max: QUERY_BYTES_MAX,
        }
    }
}

/// One query.
#[derive(Debug, Clone)]
pub struct QueryRequest<'a> {
    /// PromQL.
    pub text: &'a str,
    /// First (or only) evaluation time, milliseconds.
    pub start_ms: TimestampMs,
    /// Last evaluation time asked for, milliseconds; equal to the first for an instant query.
    pub end_ms: TimestampMs,
    /// Distance of evaluation times, milliseconds; 0 makes it an instant query.
    pub step_ms: i64,
    /// In place of the engine's lookback delta.
    pub lookback_delta_ms: Option<i64>,
    /// Count samples for each step too.
    pub step_stats: bool,
    /// Stops the query from outside.
    pub cancel: CancelToken,
    /// Given before long work of the coordinator begins.
    pub heavy: HeavySign,
    /// Report what each node did, with times from this clock.
    pub explain: Option<Clock>,
}

impl<'a> QueryRequest<'a> {
    /// An instant query.
    pub fn instant(text: &'a str, time_ms: TimestampMs) -> Self {
        QueryRequest {
            text,
            start_ms: time_ms,
            end_ms: time_ms,
            step_ms: 0,
            lookback_delta_ms: None,
            step_stats: false,
            cancel: CancelToken::new(),
            heavy: HeavySign::default(),
            explain: None,
        }
    }

    /// A range query.
    pub fn range(text: &'a str, start_ms: TimestampMs, end_ms: TimestampMs, step_ms: i64) -> Self {
        QueryRequest {
            text,
            start_ms,
            end_ms,
            step_ms,
            lookback_delta_ms: None,
            step_stats: false,
            cancel: CancelToken::new(),
            heavy: HeavySign::default(),
            explain: None,
        }
    }

    fn grid(&self) -> Result<Grid, QueryError> {
        if self.step_ms == 0 {
            return Ok(Grid {
                start: self.start_ms,
                step: 1,
                count: 1,
            });
        }
        let span = self
            .end_ms
            .checked_sub(self.start_ms)
            .filter(|span| *span >= 0 && self.step_ms > 0)
            .ok_or_else(|| {
                QueryError::Invalid("end timestamp must not be before start time".to_owned())
            })?;
        Ok(Grid {
            start: self.start_ms,
            step: self.step_ms,
            count: usize::try_from(span / self.step_ms).map_or(usize::MAX, |n| n + 1),
        })
    }
}

/// Parses, plans and evaluates queries. Cheap to clone; holds no state between queries.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with these settings.
    pub fn new(options: EngineOptions) -> Self {
        Engine { options }
    }

    /// The settings.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Answers a query over the data of `shards`.
    pub async fn query(
        &self,
        shards: &dyn ShardRunner,
        request: &QueryRequest<'_>,
    ) -> Result<QueryOutput, QueryError> {
        let expr = self.parse(request.text)?;
        self.evaluate(shards, &expr, request).await
    }

    /// Reads a query text under the engine's limit and switches, for [`Engine::evaluate`].
    pub fn parse(&self, text: &str) -> Result<Expr, QueryError> {
        self.parse_with(text, &self.options.parser)
    }

    /// Reads a query text if that takes no more than a few milliseconds; `None` where it might, and for some texts that are refused.
    pub fn parse_quickly(&self, text: &str) -> Option<Result<Expr, QueryError>> {
        if text.len() > QUICK_TEXT_BYTES_MAX {
            return None;
        }
        let options = ParserOptions {
            regex_bytes_max: QUICK_REGEX_BYTES_MAX.min(self.options.parser.regex_bytes_max),
            ..self.options.parser
        };
        match self.parse_with(text, &options) {
            // What was refused may have been too large for this way only.
            Err(_) if text.contains("=~") || text.contains("!~") => None,
            outcome => Some(outcome),
        }
    }

    fn parse_with(&self, text: &str, options: &ParserOptions) -> Result<Expr, QueryError> {
        let size = text.len();
        let limit = self.options.query_bytes_max;
        if size > limit {
            return Err(QueryError::Invalid(format!(
                "query of {size} bytes is longer than the limit of {limit} bytes"
            )));
        }
        parse(text, options).map_err(QueryError::Parse)
    }

    /// Answers a query that has been parsed already; the request's text is only used to tell positions.
    pub async fn evaluate(
        &self,
        shards: &dyn ShardRunner,
        expr: &Expr,
        request: &QueryRequest<'_>,
    ) -> Result<QueryOutput, QueryError> {
        let value_type = expr.value_type();
        check_range_type(value_type, request)?;
        let grid = request.grid()?;
        let context = PlanContext {
            grid,
            end: request.end_ms,
            step: request.step_ms,
            lookback_delta: request
                .lookback_delta_ms
                .unwrap_or(self.options.lookback_delta_ms),
            default_subquery_step: self.options.default_subquery_step_ms,
            delayed_name_removal: self.options.delayed_name_removal,
            use_start_timestamps: self.options.use_start_timestamps,
        };
        let mut budget = Budget::new(self.options.max_samples, request.cancel.clone())
            .with_memory(self.options.max_memory, Arc::clone(&self.options.memory))
            .with_heavy_sign(request.heavy.clone());
        if request.step_stats && grid.count <= self.options.max_samples {
            budget = budget.with_steps(grid);
        }
        let budget = Arc::new(budget);
        let program = plan(expr, &context)?;
        let mut patterns = Held::of(&budget);
        patterns.take(program.regex_bytes())?;
        let mut coordinator = Coordinator {
            shards,
            budget: Arc::clone(&budget),
            delayed_name_removal: self.options.delayed_name_removal,
            query: QueryTimes {
                start: request.start_ms,
                end: request.end_ms,
                step: request.step_ms,
            },
            annotations: Default::default(),
            reads: ReadNotes::default(),
            tracer: request.explain.map(Tracer::new),
        };
        let (mut outcome, mut held) = coordinator.run(&program).await?;
        let histograms = if request.step_ms == 0 {
            vector_histograms(&mut outcome, grid)
        } else {
            Vec::new()
        };
        let (mut warnings, infos) = coordinator.annotations.render(request.text);
        // What the store says points at no place in the query.
        warnings.extend(std::mem::take(&mut coordinator.reads.damage));
        let explanation = coordinator.tracer.map(|tracer| {
            let mut explanation = tracer.explanation;
            explanation.bytes_peak = budget.bytes_peak() as u64;
            explanation
        });
        let mut work = Work::of(&budget);
        let value = answer(outcome, grid, request.step_ms == 0, &mut work, &mut held)?;
        drop(work);
        Ok(QueryOutput {
            value,
            histograms,
            warnings,
            infos,
            stats: QueryStats {
                samples_total: budget.visited(),
                samples_read: budget.read(),
                steps: budget.steps(),
                samples_peak: budget.peak() as u64,
                pages_decoded: coordinator.reads.pages_decoded,
                pages_skipped: coordinator.reads.pages_skipped,
                bytes_read: coordinator.reads.bytes_read,
                bytes_peak: budget.bytes_peak() as u64,
            },
            explanation,
            held,
        })
    }
}

/// Only scalars and instant vectors have a value at every step.
fn check_range_type(value_type: ValueType, request: &QueryRequest<'_>) -> Result<(), QueryError> {
    let found = match value_type {
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
        ValueType::Scalar | ValueType::Vector => return Ok(()),
    };
    if request.step_ms == 0 {
        return Ok(());
    }
    Err(QueryError::Invalid(format!(
        "invalid expression type \"{found}\" for range query, must be Scalar or instant Vector"
    )))
}

/// The value in the shape that leaves the engine; `held` is its memory before and afterwards.
fn answer(
    outcome: Outcome,
    grid: Grid,
    instant: bool,
    work: &mut Work,
    held: &mut Held,
) -> Result<QueryValue, EvalError> {
    Ok(match outcome {
        Outcome::Columns(all) => QueryValue::Matrix(all.into_iter().map(series).collect()),
        Outcome::Value(Value::String(bytes)) => QueryValue::String(grid.start, bytes),
        Outcome::Value(Value::Scalar(values)) if instant => {
            QueryValue::Scalar(grid.start, values.first().copied().unwrap_or(f64::NAN))
        }
        Outcome::Value(Value::Scalar(values)) => {
            held.take(column_cost(grid.count))?;
            QueryValue::Matrix(vec![Series {
                labels: Labels::empty(),
                timestamps: (0..grid.count).map(|k| grid.at(k)).collect(),
                values,
                histograms: Vec::new(),
            }])
        }
        Outcome::Value(Value::Vector(rows)) if instant => QueryValue::Vector(
            rows.into_iter()
                .filter_map(|row| {
                    let value = row.get(0)?;
                    Some((row.labels, grid.start, value))
                })
                .collect(),
        ),
        Outcome::Value(Value::Vector(rows)) => {
            let mut all: Vec<Series> = Vec::with_capacity(rows.len());
            work.take(size_of::<Series>() * rows.len())?;
            for row in rows {
                work.tick(row.values.len() + 1)?;
                let before = row_cost(&row.labels, row.values.len());
                held.take(2 * column_cost(row.present.count_ones()))?;
                let series = points(row, grid);
                held.give_back(before);
                if !series.timestamps.is_empty() || !series.histograms.is_empty() {
                    all.push(series);
                }
            }
            held.settle(all.iter().map(Series::cost).sum())?;
            QueryValue::Matrix(sort_by(all, work, |a, b| a.labels.cmp(&b.labels))?)
        }
    })
}

/// Takes the histograms out of an instant vector and notes where they stood.
fn vector_histograms(outcome: &mut Outcome, grid: Grid) -> Vec<VectorHistogram> {
    let Outcome::Value(Value::Vector(rows)) = outcome else {
        return Vec::new();
    };
    rows.retain(|row| row.present.any());
    let mut out = Vec::new();
    let mut position = 0;
    rows.retain(|row| {
        let histogram = row.histogram(0).cloned();
        let is_float = histogram.is_none();
        out.extend(histogram.map(|histogram| VectorHistogram {
            position,
            labels: row.labels.clone(),
            timestamp: grid.start,
            histogram,
        }));
        position += 1;
        is_float
    });
    out
}

fn series(raw: RawSeries) -> Series {
    Series {
        labels: raw.labels,
        timestamps: raw.floats.timestamps,
        values: raw.floats.values,
        histograms: raw.histograms,
    }
}

fn points(mut row: Row, grid: Grid) -> Series {
    let histograms = match row.histograms.is_some() {
        true => steps(&row.present)
            .filter_map(|k| Some((grid.at(k), Arc::clone(row.histogram(k)?))))
            .collect(),
        false => Vec::new(),
    };
    row.drop_histograms();
    let timestamps: Vec<TimestampMs> = steps(&row.present).map(|k| grid.at(k)).collect();
    let values = if timestamps.len() == row.values.len() {
        row.values
    } else {
        steps(&row.present).map(|k| row.values[k]).collect()
    };
    Series {
        labels: row.labels,
        timestamps,
        values,
        histograms,
    }
}

#[cfg(test)]
mod tests;
