//! The command line: Prometheus's flags by name, and ours.
//!
//! Promise: what Prometheus accepts is accepted; what it refuses is refused with exit code 2 before anything is touched.

mod flags;
mod help;
mod parse;
mod table;

pub use flags::{Ack, Flags, FlagsError, LogFormat, LogLevel, Runtime, retention_of};
pub use help::{documentation, help, version};
pub(crate) use parse::parse_go_duration;
pub use parse::{Ask, Given, UsageError, flags_map, parse};
pub use table::{FEATURES, FLAGS, FlagSpec, Kind, Mode, Status, find};
