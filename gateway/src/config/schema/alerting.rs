//! `alerting`: where alerts go.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::discovery::Discovery;
use super::http_client::HttpClient;
use super::relabel::Relabel;
use super::remote::SigV4;
use crate::config::field::{Ms, section};
use crate::config::yaml::{Node, Problem};
use crate::notify::SetSettings;
use ingest::discovery::ProviderConfig;
use ingest::relabel::Rule;

section! {
    /// One group of Alertmanagers.
    Alertmanager as "config.plain" checked by check_alertmanager {
        client: HttpClient = HttpClient::default(), inline;
        sigv4: Option<SigV4> = None, filled;
        scheme: String = "http".to_owned(), filled;
        path_prefix: String = String::new(), filled;
        timeout: Ms = Ms::secs(10), filled;
        api_version: String = "v2".to_owned(), always;
        relabel_configs: Vec<Relabel> = Vec::new(), filled;
        alert_relabel_configs: Vec<Relabel> = Vec::new(), filled;
        discovery: Discovery = Discovery::default(), inline;
    }
}

section! {
    /// Where alerts go, and what is done to them before.
    Alerting as "config.plain" {
        alert_relabel_configs: Vec<Relabel> = Vec::new(), filled;
        alertmanagers: Vec<Alertmanager> = Vec::new(), filled;
    }
}

/// Rules as those who apply them take them.
pub fn plain_rules(rules: &[Relabel]) -> Vec<Rule> {
    rules.iter().map(|rule| rule.0.clone()).collect()
}

impl Alertmanager {
    /// As the notifier takes it.
    pub fn plain(&self) -> SetSettings {
        let mut discovery = vec![ProviderConfig::Static(self.discovery.plain_static())];
        discovery.extend(self.discovery.plain());
        SetSettings {
            scheme: self.scheme.clone(),
            path_prefix: self.path_prefix.clone(),
            timeout: self.timeout.std(),
            relabel: plain_rules(&self.relabel_configs),
            alert_relabel: plain_rules(&self.alert_relabel_configs),
            http: self.client.plain(),
            discovery,
        }
    }

    /// Fields in use that do nothing here.
    pub fn inactive(&self) -> Vec<String> {
        let mut out = self.discovery.inactive();
        if self.sigv4.is_some() {
            out.push("sigv4".to_owned());
        }
        out
    }
}

fn check_alertmanager(group: &mut Alertmanager, node: &Node) -> Result<(), Problem> {
    if group.api_version != "v2" {
        return Err(Problem::new(
            node.place_of("api_version"),
            format!(
                "expected Alertmanager api version to be one of [v2] but got {}",
                group.api_version
            ),
        ));
    }
    if !["http", "https"].contains(&group.scheme.as_str()) {
        return Err(Problem::new(
            node.place_of("scheme"),
            format!(
                "unknown scheme {:?}, must be \"http\" or \"https\"",
                group.scheme
            ),
        ));
    }
    let own = [
        group.client.basic_auth.is_some(),
        group.client.authorization.is_some(),
        group.client.oauth2.is_some(),
    ];
    if group.sigv4.is_some() && own.contains(&true) {
        return Err(Problem::new(
            node.place_of("sigv4"),
            "at most one of sigv4, basic_auth, authorization & oauth2 must be configured",
        ));
    }
    Ok(())
}
