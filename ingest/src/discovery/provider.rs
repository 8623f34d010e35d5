//! The settings of one provider, whatever its mechanism, and how it is started.
//!
//! Promise: equal settings are the same provider, so jobs can share it.

use super::config::{FileSdConfig, StaticConfig};
use super::file::FileDiscovery;
use super::group::{TargetGroup, static_groups};
use super::updates::{Discoverer, ProviderContext};
use std::sync::Arc;

/// Settings of a provider.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProviderConfig {
    /// All `static_configs` of a job.
    Static(Vec<StaticConfig>),
    /// One of `file_sd_configs`.
    File(FileSdConfig),
}

/// What starting a provider yields.
pub(super) enum Start {
    /// Groups that never change.
    Ready(Vec<TargetGroup>),
    /// Something to run.
    Run(Box<dyn Discoverer>),
}

impl ProviderConfig {
    /// The mechanism's name in logs and self metrics.
    pub fn mechanism(&self) -> &'static str {
        match self {
            ProviderConfig::Static(_) => "static",
            ProviderConfig::File(_) => "file",
        }
    }

    /// Makes the provider; nothing is read or connected yet. The error says what the settings lack.
    pub(super) fn start(&self, context: &ProviderContext) -> Result<Start, String> {
        let counters = &context.counters;
        Ok(match self {
            ProviderConfig::Static(configs) => Start::Ready(static_groups(configs)),
            ProviderConfig::File(config) => Start::Run(Box::new(FileDiscovery::new(
                config.clone(),
                Arc::clone(counters),
            ))),
        })
    }
}
