//! Prometheus's HTTP API: parameters in, JSON out.
//!
//! Promise: paths, parameters, JSON members, error types and texts are Prometheus's. One file per family of routes;
//! `http::router` has the table that leads here.

pub mod active_queries;
pub mod admin;
pub mod alertmanagers;
pub mod alerts;
mod cardinality;
mod discovery_metrics;
pub mod exemplars;
mod explain;
pub mod export;
pub mod features;
pub mod federate;
mod federate_format;
mod json;
pub mod labels;
pub mod lifecycle;
pub mod notifications;
pub mod openapi;
pub mod otlp;
pub mod params;
pub mod push;
mod push_json;
pub mod query;
pub mod relabel_steps;
pub mod remote_read;
mod remote_read_format;
pub mod rows;
pub mod rules;
mod series_read;
pub mod status;
mod storage_metrics;
pub mod targets;
mod wire;
pub mod write;
