//! Recording and alerting rules: what a rule file says, when a group is due, what a rule makes of an answer.
//!
//! Promise: no I/O, no clock, no threads, no randomness: times are arguments, queries and samples go through the small traits of [`source`].
//! The life of an alert is Prometheus's, to the instant.
//! Not here: reading YAML and running groups (the gateway), PromQL (`query_engine`).

pub mod alert;
mod dependency;
pub mod file;
pub mod group;
pub mod limits;
pub mod link;
mod recording;
mod restore;
pub mod rule;
pub mod schedule;
pub mod source;
pub mod template;
