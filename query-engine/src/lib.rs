//! PromQL: text in, columns out. Parser, planner, shard fragments, kernels, coordinator.
//!
//! Promise: no I/O, no clock: the query's times are arguments, data comes through the shards.

pub mod eval;
pub mod functions;
pub mod kernels;
pub mod number_text;
pub mod parse;
pub mod testlang;
