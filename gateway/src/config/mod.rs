//! `prometheus.yml` in Prometheus's own format, strict.

mod bytes;
mod duration;

pub use bytes::{BytesError, format_bytes, parse_bytes};
pub use duration::{DurationError, format_duration_ms, parse_duration_ms};
