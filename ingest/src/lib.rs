//! Bytes in, columns out: protocols, scraping, discovery and relabeling.
//!
//! Promise: decoders do no I/O and read no clock; whatever a sender does, memory and time stay within [`limits`].
//! Not here: storage, PromQL, HTTP serving.

pub mod append;
pub mod clock;
pub mod discovery;
pub mod http_client;
mod identity;
mod json_number;
pub mod limits;
mod message;
pub mod metadata;
mod openmetrics;
pub mod otlp;
mod protobuf;
pub mod pushgateway;
pub mod relabel;
pub mod remote_write;
pub mod rows;
pub mod scrape;
pub mod snappy;
#[cfg(test)]
mod test_http;
pub mod text;
pub mod unpack;
pub mod validate;
mod wire;
