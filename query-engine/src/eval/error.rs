//! Why an evaluation stopped.
//!
//! Operators, functions and kernels raise these; the engine turns them into the public `QueryError`.

/// An evaluation that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The expression cannot be evaluated over this data; the text is Prometheus's, without a position.
    #[error("{0}")]
    Execution(String),
    /// More samples at once than `--query.max-samples` allows.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// More bytes at once than one query may hold.
    #[error(
        "query processing would load too many bytes into memory in query execution: the limit of one query is {0} bytes"
    )]
    MemoryOfQuery(usize),
    /// More bytes at once than all queries together may hold.
    #[error(
        "query processing would load too many bytes into memory in query execution: the limit of all queries together is {0} bytes"
    )]
    MemoryOfAll(usize),
    /// The caller gave up.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The caller's time limit passed.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// A shard could not answer.
    #[error("{0}")]
    Storage(String),
}

impl EvalError {
    /// An execution error with this text.
    pub fn execution(text: impl Into<String>) -> Self {
        EvalError::Execution(text.into())
    }

    /// Two series of a result carry the same labels at one time.
    pub fn same_labelset() -> Self {
        EvalError::execution("vector cannot contain metrics with the same labelset")
    }
}
