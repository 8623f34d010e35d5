//! What a query yields: values, annotations, statistics, errors.

use crate::eval::error::EvalError;
use crate::eval::memory::{Held, histogram_cost, labels_cost};
use crate::explain::Explanation;
use crate::parse::ParseError;
use crate::plan::PlanError;
use std::sync::Arc;
use storage_engine::model::{FloatHistogram, Labels, TimestampMs};

/// Samples of one series, as two columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels.
    pub labels: Labels,
    /// Ascending times, milliseconds.
    pub timestamps: Vec<TimestampMs>,
    /// The value at each time.
    pub values: Vec<f64>,
    /// Native histograms and their ascending times; none of them is also the time of a float.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
}

/// A native histogram among the samples of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorHistogram {
    /// Its place among all samples of the vector, floats and histograms, in the order of the evaluation.
    pub position: usize,
    /// Labels.
    pub labels: Labels,
    /// Evaluation time.
    pub timestamp: TimestampMs,
    /// The sample.
    pub histogram: Arc<FloatHistogram>,
}

/// The value of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// One number at the evaluation time.
    Scalar(TimestampMs, f64),
    /// One float sample per series (native histograms are in [`QueryOutput::histograms`]); the order is that of the evaluation (`sort`, `topk`), else unspecified but stable.
    Vector(Vec<(Labels, TimestampMs, f64)>),
    /// Series ordered by labels.
    Matrix(Vec<Series>),
    /// A text at the evaluation time.
    String(TimestampMs, Vec<u8>),
}

/// Counters of one query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that selectors handed to the evaluation, repeated ones included (Prometheus: `totalQueryableSamples`).
    pub samples_total: u64,
    /// Of them those that no step before had been handed (Prometheus: `samplesRead`).
    pub samples_read: u64,
    /// Time and the two counts above of each step, if they were asked for. What a subquery's selectors were handed counts for the last step,
    /// what does not depend on the step for the first.
    pub steps: Vec<(TimestampMs, u64, u64)>,
    /// Most samples held at once (Prometheus: `peakSamples`).
    pub samples_peak: u64,
    /// Chunks of the heads and pages of the blocks that were decoded.
    pub pages_decoded: u64,
    /// Pages that time range or statistics made needless.
    pub pages_skipped: u64,
    /// Encoded bytes of what was decoded.
    pub bytes_read: u64,
    /// Most bytes held at once.
    pub bytes_peak: u64,
}

/// The answer to a query.
#[derive(Debug)]
pub struct QueryOutput {
    /// The value.
    pub value: QueryValue,
    /// The native histograms of an instant vector, by ascending position.
    pub histograms: Vec<VectorHistogram>,
    /// Warnings with positions, then what the store could not read.
    pub warnings: Vec<String>,
    /// Infos with positions.
    pub infos: Vec<String>,
    /// Counters.
    pub stats: QueryStats,
    /// What each node did, if that was asked for.
    pub explanation: Option<Explanation>,
    /// The memory of the value; who turns it into text takes more through it.
    pub held: Held,
}

impl Series {
    /// Bytes that it takes.
    pub(crate) fn cost(&self) -> usize {
        let histograms = self.histograms.iter();
        let histograms: usize = histograms.map(|(_, h)| 16 + histogram_cost(h)).sum();
        size_of::<Series>() + labels_cost(&self.labels) + 16 * self.values.len() + histograms
    }
}

/// Why a query has no answer. Texts are Prometheus's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is not PromQL.
    #[error("{0}")]
    Parse(ParseError),
    /// The text is PromQL but cannot be asked like this (a range query of a text or a range vector; a text that is too long): the request is bad.
    #[error("{0}")]
    Invalid(String),
    /// The evaluation failed.
    #[error("{0}")]
    Execution(String),
    /// Stopped by the caller.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// Stopped by the caller's time limit.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// More bytes at once than one query may hold.
    #[error("{}", EvalError::MemoryOfQuery(*.0))]
    MemoryOfQuery(usize),
    /// More bytes at once than all queries together may hold.
    #[error("{}", EvalError::MemoryOfAll(*.0))]
    MemoryOfAll(usize),
    /// More samples at once than allowed.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// A shard could not answer.
    #[error("{0}")]
    Storage(String),
}

impl From<EvalError> for QueryError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Execution(text) => QueryError::Execution(text),
            EvalError::TooManySamples => QueryError::TooManySamples,
            EvalError::MemoryOfQuery(limit) => QueryError::MemoryOfQuery(limit),
            EvalError::MemoryOfAll(limit) => QueryError::MemoryOfAll(limit),
            EvalError::Canceled => QueryError::Canceled,
            EvalError::Timeout => QueryError::Timeout,
            EvalError::Storage(text) => QueryError::Storage(text),
        }
    }
}

impl From<PlanError> for QueryError {
    fn from(error: PlanError) -> Self {
        QueryError::Execution(error.to_string())
    }
}
