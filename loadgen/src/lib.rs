//! Load for any server that takes remote write or pushes, and the checker that says afterwards what was lost, changed or invented.
//!
//! Promise: knows servers only over the wire and shares no code with the engine. Every value that is sent is a pure function of
//! (seed, series, round), so the checker needs no memory of values, only the ledger of what was sent and acknowledged.

pub mod body;
pub mod http_client;
pub mod ledger;
pub mod push;
pub mod sender;
pub mod series;
pub mod verify;
