//! Prometheus's test language: `.test` files that load series, evaluate expressions and say what must come out.
//!
//! Promise: a case passes only if every evaluation that Prometheus's own runner makes of it passes: as written, with `@` added to
//! every selector and printed again, at other times, and as a range query around its time. What an engine cannot do yet (start
//! timestamps) is counted and named apart, never as passed.
//! Not here: where the samples live (`TestHost`) and the expression parser.

mod compare;
mod expectation;
mod host;
mod native;
mod reach;
mod runner;
mod script;
mod series;
mod variant;
mod words;

pub use host::{Answer, AnswerValue, HostError, LoadedSeries, Sample, TestHost};
pub use runner::{CaseOutcome, CaseReport, FileReport, Grammar, run_script};
pub use script::{Command, EvalCase, EvalTime, LoadBlock, Script, ScriptError};
