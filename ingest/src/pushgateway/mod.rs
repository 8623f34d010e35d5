//! The groups of metrics that batch jobs push, with the meaning that Prometheus's Pushgateway gives them.
//!
//! `key` reads a group's labels from a URL path, `text_body` and `protobuf_body` read what was pushed, `encode` brings it into the one
//! form that is kept (`io.prometheus.client.Metric` messages with sorted labels), `Groups` holds the groups and says whether a push fits
//! them, `page` writes them for a scrape, `record` writes and reads changes, `log_format`
//! the log that keeps them.
//!
//! Promise: codes, texts and resulting metrics are the Pushgateway's. A push is checked against the families that it touches, never
//! against all groups. Bytes and `now` are arguments; no I/O, no clock.
//! Not here: HTTP, the log's file (both are the gateway's), the scrape of the groups (an ordinary scrape job).

mod body;
mod check;
mod encode;
mod family;
mod groups;
mod key;
mod log_format;
mod message;
mod page;
mod protobuf_body;
mod record;
mod text_body;
mod view;

pub use body::{BodyError, parse_push};
pub use encode::{EncodedFamily, PreparedPush};
pub use family::Kind;
pub use groups::{Change, GroupDescription, GroupLimits, Groups, GroupsError, Totals};
pub use key::{Grouping, GroupingError};
pub use log_format::{
    LogReading, PUSH_LOG_FORMAT_VERSION, PUSH_LOG_HEADER_BYTES, UnknownVersion, append_record,
    log_header, read_log,
};
pub use page::{PageFamily, PushPage};
pub use record::{RecordError, decode_change, encode_change, encode_groups};
pub use view::{HistogramView, MetricView, ValueView, go_float, metrics_of};

/// The family that tells when a group was last changed by a push.
pub(crate) const PUSH_TIME_NAME: &str = "push_time_seconds";
const PUSH_TIME_HELP: &str =
    "Last Unix time when changing this group in the Pushgateway succeeded.";
/// The family that tells when a push last failed for what was in it.
pub(crate) const PUSH_FAILURE_NAME: &str = "push_failure_time_seconds";
const PUSH_FAILURE_HELP: &str =
    "Last Unix time when changing this group in the Pushgateway failed.";

#[cfg(test)]
mod tests;
