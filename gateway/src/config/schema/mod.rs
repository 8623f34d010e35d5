//! The schema of `prometheus.yml`, section by section.

pub mod alerting;
pub mod discovery;
mod discovery_plain;
pub mod global;
pub mod http_client;
pub mod kubernetes;
pub mod relabel;
pub mod remote;
pub mod rules;
pub mod scrape;

use super::field::{FilePath, section};
use alerting::Alerting;
use global::{Global, Otlp, Runtime, Storage, Tracing};
use remote::{RemoteRead, RemoteWrite};
use scrape::Job;

section! {
    /// The whole file.
    #[allow(missing_docs, reason = "fields carry the names and meanings of Prometheus's configuration")]
    Document as "config.plain" {
        global: Global = Global::default(), always;
        runtime: Runtime = Runtime::default(), always;
        alerting: Alerting = Alerting::default(), filled;
        rule_files: Vec<FilePath> = Vec::new(), filled;
        scrape_config_files: Vec<FilePath> = Vec::new(), filled;
        scrape_configs: Vec<Job> = Vec::new(), filled;
        storage: Storage = Storage::default(), filled;
        tracing: Option<Tracing> = None, filled;
        remote_write: Vec<RemoteWrite> = Vec::new(), filled;
        remote_read: Vec<RemoteRead> = Vec::new(), filled;
        otlp: Otlp = Otlp::default(), always;
    }
}

section! {
    /// A file of `scrape_config_files`.
    #[allow(missing_docs, reason = "fields carry the names and meanings of Prometheus's configuration")]
    JobsFile as "config.ScrapeConfigs" {
        scrape_configs: Vec<Job> = Vec::new(), filled;
    }
}
