//! The front door: listeners, connections, requests and answers over HTTP/1.1 and HTTP/2, with TLS or without.
//!
//! Promise: every connection, header block, body and wait has a bound from `limits`; a handler never sees a raw socket.
//! Not here: what the routes mean (`api`), what the web configuration says (`web_config`).

pub mod access;
pub(crate) mod body;
pub(crate) mod compress;
mod connection;
mod connections;
pub mod request;
pub mod respond;
pub mod router;
pub mod server;
