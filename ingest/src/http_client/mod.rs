//! The HTTP client that fetches scrape pages: configuration, TLS, credentials, one request with redirects and bounds.
//!
//! Promise: no response, however long, slow or compressed, costs more memory or time than the caller allowed.
//! Not here: what a page means (`scrape`), serving HTTP (gateway).

mod body;
pub mod config;
mod connection;
mod credentials;
mod fetch;
mod proxy;
mod tls;

pub use connection::Connection;
pub use fetch::{FetchError, HttpClient, PageRequest};
