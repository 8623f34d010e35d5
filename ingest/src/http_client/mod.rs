//! The HTTP client of scraping, discovery and notifying: configuration, TLS, credentials, one request with redirects and bounds.
//!
//! Promise: no response, however long, slow or compressed, costs more memory or time than the caller allowed.
//! Not here: what a page means (`scrape`), serving HTTP (gateway).

mod body;
pub mod config;
mod connection;
mod credentials;
mod fetch;
mod oauth2;
mod proxy;
mod socks5;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::Connection;
pub use fetch::{FetchError, HttpAnswer, HttpClient, HttpRequest, HttpStream, PageRequest};
