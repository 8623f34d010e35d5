//! The process's own door: a listener on loopback through which it scrapes itself where the public ones ask for TLS or credentials.
//!
//! Promise: only the process's own token opens it, and only for reading; there is none without a web configuration. The series carry the
//! public address as their `instance`, so nothing changes when TLS is switched on.

use crate::http::server::bind;
use crate::services::Services;
use ingest::http_client::config::{Authorization, SecretSource};
use ingest::scrape::config::ScrapeConfig;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Its listeners, one for each worker; none where the public door is open to all.
#[derive(Debug, Default)]
pub(crate) struct OwnDoor {
    /// Where it is.
    pub(crate) address: Option<SocketAddr>,
    /// One for each worker.
    pub(crate) listeners: Vec<TcpListener>,
}

impl OwnDoor {
    /// Opens it on a free port.
    pub(crate) fn open(workers: usize) -> io::Result<OwnDoor> {
        let listeners = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), workers)?;
        let address = listeners.first().map(TcpListener::local_addr).transpose()?;
        Ok(OwnDoor { address, listeners })
    }
}

/// Leads a job of ours, whose targets are this server, through the own door if there is one.
pub(crate) fn lead_through(services: &Services, job: &mut ScrapeConfig) {
    let (Some(door), Some(web)) = (services.own_door, &services.web) else {
        return;
    };
    for group in &mut job.static_configs {
        for target in &mut group.targets {
            let public = std::mem::replace(target, door.to_string());
            group.labels.push(("instance".to_owned(), public));
        }
    }
    job.http.authorization = Some(Authorization {
        kind: "Bearer".to_owned(),
        credentials: Some(SecretSource::Inline(web.own_token().clone())),
    });
}
