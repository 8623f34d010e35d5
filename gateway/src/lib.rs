//! The gateway: command line, configuration, logging, HTTP, and the wiring of the other rooms into one process.
//!
//! The binary `ferula` is a thin `main` over [`app`]. Not here: storage, decoding, evaluation.

pub mod api;
pub mod app;
pub mod check_command;
pub mod cli;
pub mod config;
pub mod http;
mod kept_answers;
pub mod limits;
pub mod logging;
mod memory;
pub mod notifications;
pub mod notify;
mod own_door;
pub mod promql_command;
pub mod push;
mod query_drive;
pub mod query_registry;
pub mod query_slots;
pub mod rules;
pub mod self_metrics;
pub mod services;
pub mod start;
pub mod test_command;
pub mod tsdb_command;
pub mod ui;
pub mod web_config;
pub mod worker;
