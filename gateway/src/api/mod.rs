//! Prometheus's HTTP API: parameters in, JSON out.
//!
//! Promise: paths, parameters, JSON members, error types and texts are Prometheus's. One file per family of routes;
//! `http::router` has the table that leads here.

mod cardinality;
pub mod features;
mod json;
pub mod labels;
pub mod lifecycle;
pub mod params;
pub mod query;
pub mod status;
pub mod targets;
pub mod write;
