//! How each server is started, and which of its paths mean what.

use crate::process::{Server, free_port};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ferula,
    Prometheus,
    VictoriaMetrics,
}

/// A server that can be started, killed and started again on the same data and port.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    extra: Vec<String>,
}

impl Setup {
    /// Prepares a directory with an empty configuration.
    pub(crate) fn new(
        kind: Kind,
        program: PathBuf,
        directory: &Path,
        config: &str,
        extra: Vec<String>,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("server.yml"), config)?;
        Ok(Setup {
            kind,
            program,
            directory: directory.to_owned(),
            port: free_port()?,
            extra,
        })
    }

    /// The name in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Ferula => "ferula",
            Kind::Prometheus => "Prometheus",
            Kind::VictoriaMetrics => "VictoriaMetrics",
        }
    }

    /// Where the data lies.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// `http://host:port`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The path that answers 200 once queries are answered.
    pub(crate) fn ready_path(&self) -> &'static str {
        match self.kind {
            Kind::Ferula | Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        }
    }

    /// Starts it; its output goes beside its data.
    pub(crate) fn start(&self) -> Result<Server> {
        self.start_with_log(&self.directory)
    }

    /// Starts it; its output goes to a file in `log_directory`.
    pub(crate) fn start_with_log(&self, log_directory: &Path) -> Result<Server> {
        let authority = format!("127.0.0.1:{}", self.port);
        let data = self.data().display().to_string();
        let mut args = match self.kind {
            Kind::Ferula | Kind::Prometheus => vec![
                "--config.file=server.yml".to_owned(),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={authority}"),
                "--web.enable-remote-write-receiver".to_owned(),
                "--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest"
                    .to_owned(),
                "--web.remote-write-receiver.accepted-protobuf-messages=io.prometheus.write.v2.Request"
                    .to_owned(),
            ],
            Kind::VictoriaMetrics => vec![
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={authority}"),
                "-retentionPeriod=100y".to_owned(),
                // The checker reads whole series as range vectors.
                "-search.maxPointsPerTimeseries=1000000".to_owned(),
                "-search.latencyOffset=0s".to_owned(),
            ],
        };
        args.extend(self.extra.iter().cloned());
        Server::start_in(
            &self.program,
            &args,
            &self.directory,
            log_directory,
            &authority,
        )
    }
}
