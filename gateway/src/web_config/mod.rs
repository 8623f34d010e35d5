//! `--web.config.file`: TLS, passwords, tokens and headers of the front door, in exporter-toolkit's format.
//!
//! Promise: what exporter-toolkit loads is loaded, with its words for what is wrong; a changed file is in force within about a second, a
//! broken one leaves the old one in force; a reload can neither take TLS away nor open a server that asked for credentials. Secrets are
//! never shown. Not here: connections (`http::connection`), which route needs which role (`http::access`).

mod bcrypt_hash;
mod certificates;
pub mod command;
mod guard;
mod live;
mod names;
mod passwords;
mod roles;
mod schema;
mod tls;

pub use guard::{Admission, Guard};
pub use live::{InForce, WebConfig};
pub use roles::{Role, Roles};

use std::path::Path;

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebConfigError {
    /// The file is not to be had.
    #[error("open {path}: {reason}")]
    Read {
        /// Which file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// It is no YAML, or not of this shape.
    #[error("{0}")]
    Yaml(String),
    /// A value cannot be used.
    #[error("{0}")]
    Invalid(String),
}

/// What `ferula check web-config` does: reads the file and everything it names, and says what is wrong, or what is worth a warning.
pub fn check(path: &Path) -> Result<Vec<String>, WebConfigError> {
    let loaded = schema::Loaded::read(path)?;
    let built = InForce::build(&loaded)?;
    Ok(built.warnings)
}
