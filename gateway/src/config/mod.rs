//! `prometheus.yml` in Prometheus's own format, strict.
//!
//! Promise: what Prometheus loads is loaded; what is wrong is refused with file, line, column and reason; a secret is never shown.
//! Not here: acting on a configuration (`app`).

mod bytes;
pub mod field;
mod loaded;
pub mod schema;
pub mod yaml;

pub use bytes::{BytesError, format_bytes, parse_bytes};
pub use loaded::{Config, DEFAULT_CONFIG, Defaults, LoadError};
pub(crate) use loaded::{expand, io_reason};
pub use storage_engine::model::{DurationError, format_duration_ms, parse_duration_ms};

#[cfg(test)]
mod tests;
