//! The front door: listeners, connections, requests and answers over HTTP/1.1.
//!
//! Promise: every connection, header block, body and wait has a bound from `limits`; a handler never sees a raw socket.
//! Not here: what the routes mean (`api`), TLS and authentication of clients.

pub(crate) mod body;
mod compress;
pub mod request;
pub mod respond;
pub mod router;
pub mod server;
