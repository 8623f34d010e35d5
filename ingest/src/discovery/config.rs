//! Plain data of the service discoveries that are active: static and file.
//!
//! Not here: YAML of `prometheus.yml` (the gateway converts into these), the providers themselves.

use std::path::PathBuf;
use std::time::Duration;

/// One entry of `static_configs`: addresses that share labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaticConfig {
    /// `targets`: each becomes `__address__`.
    pub targets: Vec<String>,
    /// `labels`, in order of name.
    pub labels: Vec<(String, String)>,
}

/// One entry of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSdConfig {
    /// `files`: absolute paths or relative to the working directory; the last element may hold a `*`.
    pub files: Vec<PathBuf>,
    /// `refresh_interval`, 5 minutes by default.
    pub refresh_interval: Duration,
}

impl FileSdConfig {
    /// Watches these files, read again every 5 minutes at the latest.
    pub fn new(files: Vec<PathBuf>) -> Self {
        FileSdConfig {
            files,
            refresh_interval: Duration::from_secs(300),
        }
    }
}
