//! `kubernetes_sd_configs`.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::http_client::HttpClient;
use crate::config::field::{FilePath, Url, section};
use crate::config::yaml::{Node, Problem};
use ingest::discovery::ProviderConfig;
use ingest::discovery::kubernetes::config::{self as plain, Role};
use std::path::PathBuf;

section! {
    /// Which namespaces to watch.
    Namespaces as "kubernetes.plain" {
        own_namespace: bool = false, always;
        names: Vec<String> = Vec::new(), always;
    }
}

section! {
    /// Which objects of a role to watch.
    Selector as "kubernetes.plain" {
        role: String = String::new(), filled;
        label: String = String::new(), filled;
        field: String = String::new(), filled;
    }
}

section! {
    /// Owners of a pod to look up.
    PodMetadata as "kubernetes.PodMetadataConfig" {
        deployment: bool = false, always;
        job: bool = false, always;
        cronjob: bool = false, always;
    }
}

section! {
    /// What else to attach to a target.
    AttachMetadata as "kubernetes.AttachMetadataConfig" {
        node: bool = false, always;
        namespace: bool = false, filled;
        pod: Option<PodMetadata> = None, filled;
        deployment: bool = false, filled;
        job: bool = false, filled;
        cronjob: bool = false, filled;
    }
}

section! {
    /// Targets from the Kubernetes API.
    KubernetesSd as "kubernetes.plain" checked by check_kubernetes {
        api_server: Url = Url::default(), filled;
        role: String = String::new(), always;
        kubeconfig_file: FilePath = FilePath::default(), always;
        client: HttpClient = HttpClient::default(), inline;
        namespaces: Namespaces = Namespaces::default(), filled;
        selectors: Vec<Selector> = Vec::new(), filled;
        attach_metadata: AttachMetadata = AttachMetadata::default(), filled;
    }
}

/// Roles of objects.
const ROLES: [&str; 6] = [
    "pod",
    "service",
    "endpoints",
    "endpointslice",
    "node",
    "ingress",
];

fn check_kubernetes(sd: &mut KubernetesSd, node: &Node) -> Result<(), Problem> {
    let fail = |key: &str, reason: String| Err(Problem::new(node.place_of(key), reason));
    if sd.role.is_empty() {
        return fail(
            "role",
            "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)"
                .to_owned(),
        );
    }
    if !ROLES.contains(&sd.role.as_str()) {
        return fail("role", format!("unknown Kubernetes SD role {:?}", sd.role));
    }
    let has_server = !sd.api_server.0.is_empty();
    let has_kubeconfig = !sd.kubeconfig_file.0.is_empty();
    if has_server && has_kubeconfig {
        return fail(
            "kubeconfig_file",
            "cannot use 'kubeconfig_file' and 'api_server' simultaneously".to_owned(),
        );
    }
    if has_kubeconfig && sd.client != HttpClient::default() {
        return fail(
            "kubeconfig_file",
            "cannot use a custom HTTP client configuration together with 'kubeconfig_file'"
                .to_owned(),
        );
    }
    if !has_server && sd.client != HttpClient::default() {
        return fail(
            "role",
            "to use custom HTTP client configuration please provide the 'api_server' URL explicitly".to_owned(),
        );
    }
    if has_server && sd.namespaces.own_namespace {
        return fail(
            "namespaces",
            "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously".to_owned(),
        );
    }
    if has_kubeconfig && sd.namespaces.own_namespace {
        return fail(
            "namespaces",
            "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously".to_owned(),
        );
    }
    check_selectors(sd, node)
}

/// Which selectors a role may have: those of the objects that it watches.
fn selectable(role: &str) -> &'static [&'static str] {
    match role {
        "pod" => &["pod"],
        "service" => &["service"],
        "endpointslice" => &["pod", "service", "endpointslice"],
        "endpoints" => &["pod", "service", "endpoints"],
        "node" => &["node"],
        _ => &["ingress"],
    }
}

fn check_selectors(sd: &KubernetesSd, node: &Node) -> Result<(), Problem> {
    let fail = |reason: String| Err(Problem::new(node.place_of("selectors"), reason));
    let allowed = selectable(&sd.role);
    for (i, selector) in sd.selectors.iter().enumerate() {
        let role = selector.role.as_str();
        if !ROLES.contains(&role) {
            return fail(format!("unknown Kubernetes SD role {role:?}"));
        }
        if sd.selectors.iter().take(i).any(|s| s.role == role) {
            return fail(format!("duplicated selector role: {role}"));
        }
        if !allowed.contains(&role) {
            return fail(format!(
                "{} role supports only {} selectors",
                sd.role,
                allowed.join(", ")
            ));
        }
    }
    Ok(())
}

fn role_of(name: &str) -> Role {
    match name {
        "node" => Role::Node,
        "pod" => Role::Pod,
        "service" => Role::Service,
        "endpoints" => Role::Endpoints,
        "endpointslice" => Role::EndpointSlice,
        _ => Role::Ingress,
    }
}

impl KubernetesSd {
    /// As the scraper takes it.
    pub fn plain(&self) -> ProviderConfig {
        let selectors = self.selectors.iter().map(|s| plain::Selector {
            role: role_of(&s.role),
            label: s.label.clone(),
            field: s.field.clone(),
        });
        let api = if !self.kubeconfig_file.0.is_empty() {
            plain::ApiServer::Kubeconfig(PathBuf::from(&self.kubeconfig_file.0))
        } else if !self.api_server.0.is_empty() {
            plain::ApiServer::Url {
                url: self.api_server.0.clone(),
                http: Box::new(self.client.plain()),
            }
        } else {
            plain::ApiServer::InCluster
        };
        ProviderConfig::Kubernetes(Box::new(plain::KubernetesSdConfig {
            role: role_of(&self.role),
            api,
            namespaces: self.namespaces.names.clone(),
            own_namespace: self.namespaces.own_namespace,
            selectors: selectors.collect(),
            attach: plain::AttachMetadata {
                node: self.attach_metadata.node,
                namespace: self.attach_metadata.namespace,
            },
        }))
    }
}
