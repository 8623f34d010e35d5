//! Plain data of `kubernetes_sd_configs`.

use crate::http_client::config::HttpClientConfig;
use std::path::PathBuf;

/// `role`: what targets are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One target a node: its kubelet.
    Node,
    /// One target a port of a container.
    Pod,
    /// One target a port of a service.
    Service,
    /// One target an address behind a service.
    Endpoints,
    /// The same, by slices.
    EndpointSlice,
    /// One target a path of an ingress.
    Ingress,
}

/// Which objects of a role to watch, by the API's own selectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Whose objects.
    pub role: Role,
    /// Label selector; may be empty.
    pub label: String,
    /// Field selector; may be empty.
    pub field: String,
}

/// `attach_metadata`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachMetadata {
    /// Labels of the node to pods and endpoints.
    pub node: bool,
    /// Labels of the namespace to everything that lives in one.
    pub namespace: bool,
}

/// Where the API is.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiServer {
    /// As the pod's service account says.
    InCluster,
    /// As the current context of this file says.
    Kubeconfig(PathBuf),
    /// At this URL.
    Url {
        /// `api_server`
        url: String,
        /// How to connect.
        http: Box<HttpClientConfig>,
    },
}

/// One entry of `kubernetes_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct KubernetesSdConfig {
    /// `role`
    pub role: Role,
    /// Where the API is.
    pub api: ApiServer,
    /// `namespaces.names`; none means all.
    pub namespaces: Vec<String>,
    /// `namespaces.own_namespace`
    pub own_namespace: bool,
    /// `selectors`
    pub selectors: Vec<Selector>,
    /// `attach_metadata`
    pub attach: AttachMetadata,
}
