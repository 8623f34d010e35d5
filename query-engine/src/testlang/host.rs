//! What the runner needs of an engine with its storage.

pub use crate::eval::value::Sample;
use std::sync::Arc;
use storage_engine::model::{FloatHistogram, Labels, SampleColumns, TimestampMs};

/// Samples of one series for the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedSeries {
    /// Labels.
    pub labels: Labels,
    /// Float samples, stale markers among them.
    pub floats: SampleColumns,
    /// Native histograms.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
    /// Start timestamps as runs: from this sample time on, samples carry this start timestamp (0: none), until the next run.
    pub starts: Vec<(TimestampMs, TimestampMs)>,
}

/// The value of one query as the API would give it.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerValue {
    /// One number.
    Scalar(f64),
    /// One sample per series, in the order of the answer.
    Vector(Vec<(Labels, Sample)>),
    /// Samples over time per series, in the order of the answer.
    Matrix(Vec<(Labels, Vec<(TimestampMs, Sample)>)>),
    /// A text.
    String(Vec<u8>),
}

/// Value and annotations of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: AnswerValue,
    /// Warnings with their positions, `PromQL warning: … (1:7)`.
    pub warnings: Vec<String>,
    /// Infos with their positions.
    pub infos: Vec<String>,
}

/// Why a query has no answer: the bare error text, as `expect fail` compares it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// An engine and a store that starts empty.
pub trait TestHost {
    /// Does it keep start timestamps?
    fn keeps_starts(&self) -> bool {
        false
    }
    /// Forgets all samples.
    fn clear(&mut self) -> Result<(), HostError>;
    /// Adds samples in one commit; each series at most once.
    fn append(&mut self, series: Vec<LoadedSeries>) -> Result<(), HostError>;
    /// Runs an instant query.
    fn instant(&mut self, query: &str, time: TimestampMs) -> Result<Answer, HostError>;
    /// Runs a range query; `step` is positive milliseconds.
    fn range(
        &mut self,
        query: &str,
        start: TimestampMs,
        end: TimestampMs,
        step: i64,
    ) -> Result<Answer, HostError>;
}
