//! The world as rules see it: answers to queries, a place for samples, ears for alerts, a clock.
//!
//! Promise: these traits are all that a rule touches outside itself, so that a test can be the world.

use crate::alert::Alert;
use query_engine::parse::ast::Expr;
use std::sync::Arc;
use storage_engine::model::{FloatHistogram, Labels, TimestampMs};

/// A value of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

impl Value {
    /// The number; 0 for a histogram, as Prometheus's samples have it.
    pub fn float(&self) -> f64 {
        match self {
            Value::Float(value) => *value,
            Value::Histogram(_) => 0.0,
        }
    }
}

/// One element of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// One sample to store.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSample {
    /// Whose.
    pub labels: Labels,
    /// When, milliseconds.
    pub at_ms: TimestampMs,
    /// What.
    pub value: Value,
}

/// An instant query.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// PromQL.
    pub text: &'a str,
    /// The text, parsed, if it has been.
    pub expr: Option<&'a Expr>,
    /// When, milliseconds.
    pub at_ms: TimestampMs,
    /// How far back instant selectors look, milliseconds, where it is not what the server's flag says.
    pub lookback_ms: Option<i64>,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryFault {
    /// Stopped from outside, as at the end of the process: nothing to write home about.
    Canceled(String),
    /// Anything else, in the engine's words.
    Failed(String),
}

impl std::fmt::Display for QueryFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueryFault::Canceled(text) | QueryFault::Failed(text) => f.write_str(text),
        }
    }
}

/// What a scalar or vector query yields; everything else is refused with this text.
pub const NOT_A_VECTOR: &str = "rule result is not a vector or scalar";

/// Answers instant queries.
pub trait Source: Send + Sync {
    /// The answer, in the order of the evaluation; a scalar is one element without labels.
    fn query(&self, query: Query<'_>) -> Result<Vec<Element>, QueryFault>;
}

/// Why one sample was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the samples handed in.
    pub index: usize,
    /// The kind.
    pub kind: RefusalKind,
    /// In the store's words.
    pub text: String,
}

/// Kinds of refusals; the first three are ordinary when two rules feed one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Older than the newest sample.
    OutOfOrder,
    /// Older than the window for late samples.
    TooOld,
    /// Another value at the same time.
    Duplicate,
    /// Anything else.
    Other,
}

/// Takes samples.
pub trait Store: Send + Sync {
    /// Stores what can be stored; an error when nothing was.
    fn append(&self, samples: &[RuleSample]) -> Result<Vec<Refusal>, String>;
}

/// Hears of alerts.
pub trait Notify: Send + Sync {
    /// Alerts of the rule with this expression that are to be sent now.
    fn notify(&self, expr: &str, alerts: &[Alert]);
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the epoch.
    fn wall_ns(&self) -> i64;
    /// Nanoseconds since some moment, never going back.
    fn monotonic_ns(&self) -> i64;
}

/// What a server says of itself in templates and links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    /// `global.external_labels`, in order of name.
    pub labels: Vec<(String, String)>,
    /// `--web.external-url`, without a slash at its end.
    pub url: String,
}

/// Everything around a group while it is evaluated.
pub struct World<'a> {
    /// Where answers come from.
    pub source: Arc<dyn Source>,
    /// Where samples go.
    pub store: &'a dyn Store,
    /// Who hears of alerts.
    pub notify: &'a dyn Notify,
    /// What time it is, for the notes on how long things took.
    pub clock: &'a dyn Clock,
    /// What the server says of itself.
    pub external: Arc<External>,
    /// `--rules.alert.resend-delay`, nanoseconds.
    pub resend_delay_ns: i64,
    /// `global.rule_query_offset`, milliseconds, for groups that give none.
    pub query_offset_ms: i64,
}
