//! PromQL: text in, columns out. Parser, planner, shard fragments, kernels, coordinator.
//!
//! Promise: no I/O, no clock: the query's times are arguments, data comes through the shards.

pub mod cache;
pub mod engine;
pub mod eval;
pub mod exemplars;
pub mod explain;
mod fragment;
pub mod functions;
mod go_math;
pub mod histogram;
pub mod kernels;
pub mod limits;
pub mod local;
pub mod metadata;
pub mod number_text;
pub mod parse;
mod plan;
pub mod result;
pub mod testlang;
