//! Objects of the Kubernetes API, reduced to the fields that targets and their labels are made of.
//!
//! Promise: a field that is absent or null is its default, as Go's decoder has it; unknown fields are ignored.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares an object: every field may be absent or null.
macro_rules! objects {
    ($( $(#[$doc:meta])* $name:ident { $( $field:ident $([$json:literal])? : $kind:ty, )* } )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(super) struct $name {
                $(
                    $(#[serde(rename = $json)])?
                    #[serde(deserialize_with = "nullable")]
                    pub(super) $field: $kind,
                )*
            }
        )*
    };
}

objects! {
    /// `metadata` of every object.
    Meta {
        name: String,
        namespace: String,
        uid: String,
        resource_version: String,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        owner_references: Vec<Owner>,
    }

    Owner {
        kind: String,
        name: String,
        controller: bool,
    }

    /// A reference to another object.
    Reference {
        kind: String,
        namespace: String,
        name: String,
    }

    Namespace {
        metadata: Meta,
    }

    Node {
        metadata: Meta,
        spec: NodeSpec,
        status: NodeStatus,
    }

    NodeSpec {
        provider_id ["providerID"]: String,
    }

    NodeStatus {
        addresses: Vec<NodeAddress>,
        conditions: Vec<Condition>,
        daemon_endpoints: DaemonEndpoints,
    }

    NodeAddress {
        kind ["type"]: String,
        address: String,
    }

    Condition {
        kind ["type"]: String,
        status: String,
    }

    DaemonEndpoints {
        kubelet_endpoint: KubeletEndpoint,
    }

    KubeletEndpoint {
        port ["Port"]: i64,
    }

    Pod {
        metadata: Meta,
        spec: PodSpec,
        status: PodStatus,
    }

    PodSpec {
        node_name: String,
        containers: Vec<Container>,
        init_containers: Vec<Container>,
    }

    Container {
        name: String,
        image: String,
        ports: Vec<ContainerPort>,
    }

    ContainerPort {
        name: String,
        container_port: i64,
        protocol: String,
    }

    PodStatus {
        phase: String,
        pod_ip ["podIP"]: String,
        host_ip ["hostIP"]: String,
        conditions: Vec<Condition>,
        container_statuses: Vec<ContainerStatus>,
        init_container_statuses: Vec<ContainerStatus>,
    }

    ContainerStatus {
        name: String,
        container_id ["containerID"]: String,
    }

    Service {
        metadata: Meta,
        spec: ServiceSpec,
    }

    ServiceSpec {
        kind ["type"]: String,
        cluster_ip ["clusterIP"]: String,
        external_name: String,
        load_balancer_ip ["loadBalancerIP"]: String,
        ports: Vec<ServicePort>,
    }

    ServicePort {
        name: String,
        port: i64,
        protocol: String,
    }

    Endpoints {
        metadata: Meta,
        subsets: Vec<Subset>,
    }

    Subset {
        addresses: Vec<EndpointAddress>,
        not_ready_addresses: Vec<EndpointAddress>,
        ports: Vec<EndpointPort>,
    }

    EndpointAddress {
        ip: String,
        hostname: String,
        node_name: Option<String>,
        target_ref: Option<Reference>,
    }

    EndpointPort {
        name: String,
        port: i64,
        protocol: String,
    }

    EndpointSlice {
        metadata: Meta,
        address_type: String,
        endpoints: Vec<SliceEndpoint>,
        ports: Vec<SlicePort>,
    }

    SliceEndpoint {
        addresses: Vec<String>,
        conditions: SliceConditions,
        hostname: Option<String>,
        node_name: Option<String>,
        zone: Option<String>,
        target_ref: Option<Reference>,
        deprecated_topology: BTreeMap<String, String>,
    }

    SliceConditions {
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
    }

    SlicePort {
        name: Option<String>,
        protocol: Option<String>,
        port: Option<i64>,
        app_protocol: Option<String>,
    }

    Ingress {
        metadata: Meta,
        spec: IngressSpec,
    }

    IngressSpec {
        ingress_class_name: Option<String>,
        rules: Vec<IngressRule>,
        tls: Vec<IngressTls>,
    }

    IngressRule {
        host: String,
        http: Option<IngressHttp>,
    }

    IngressHttp {
        paths: Vec<IngressPath>,
    }

    IngressPath {
        path: String,
    }

    IngressTls {
        hosts: Vec<String>,
    }
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Node,
    Pod,
    Service,
    Endpoints,
    EndpointSlice,
    Ingress,
    Namespace,
}

impl Kind {
    /// As the user names it in `role`, and as it stands in self metrics.
    pub(super) fn role(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::Pod => "pod",
            Kind::Service => "service",
            Kind::Endpoints => "endpoints",
            Kind::EndpointSlice => "endpointslice",
            Kind::Ingress => "ingress",
            Kind::Namespace => "namespace",
        }
    }

    /// Path of its collection in a namespace; the empty one means all.
    pub(super) fn path(self, namespace: &str) -> String {
        let (group, plural) = match self {
            Kind::Node => ("/api/v1", "nodes"),
            Kind::Pod => ("/api/v1", "pods"),
            Kind::Service => ("/api/v1", "services"),
            Kind::Endpoints => ("/api/v1", "endpoints"),
            Kind::EndpointSlice => ("/apis/discovery.k8s.io/v1", "endpointslices"),
            Kind::Ingress => ("/apis/networking.k8s.io/v1", "ingresses"),
            Kind::Namespace => ("/api/v1", "namespaces"),
        };
        match (self, namespace) {
            (Kind::Node | Kind::Namespace, _) | (_, "") => format!("{group}/{plural}"),
            (_, namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        }
    }
}

/// An object of any watched kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Node(Box<Node>),
    Pod(Box<Pod>),
    Service(Box<Service>),
    Endpoints(Box<Endpoints>),
    EndpointSlice(Box<EndpointSlice>),
    Ingress(Box<Ingress>),
    Namespace(Box<Namespace>),
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<T>>,
}

/// `metadata` of a list.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMeta {
    pub(super) resource_version: String,
    /// Where the next page begins; empty on the last one.
    pub(super) r#continue: String,
}

/// An event of a watch.
#[derive(Deserialize)]
struct Event<T> {
    object: T,
}

fn page_of<T: DeserializeOwned>(
    json: &[u8],
    wrap: fn(Box<T>) -> Object,
) -> Result<(Vec<Object>, ListMeta), serde_json::Error> {
    let page: Page<T> = serde_json::from_slice(json)?;
    let items = page.items.unwrap_or_default();
    let objects = items.into_iter().map(|o| wrap(Box::new(o))).collect();
    Ok((objects, page.metadata))
}

fn object_of<T: DeserializeOwned>(
    json: &[u8],
    wrap: fn(Box<T>) -> Object,
) -> Result<Object, serde_json::Error> {
    let event: Event<T> = serde_json::from_slice(json)?;
    Ok(wrap(Box::new(event.object)))
}

/// Calls a function with the way to wrap objects of a kind.
macro_rules! by_kind {
    ($kind:expr, $call:ident, $json:expr) => {
        match $kind {
            Kind::Node => $call($json, Object::Node),
            Kind::Pod => $call($json, Object::Pod),
            Kind::Service => $call($json, Object::Service),
            Kind::Endpoints => $call($json, Object::Endpoints),
            Kind::EndpointSlice => $call($json, Object::EndpointSlice),
            Kind::Ingress => $call($json, Object::Ingress),
            Kind::Namespace => $call($json, Object::Namespace),
        }
    };
}

impl Object {
    /// Reads a page of a list of this kind.
    pub(super) fn read_page(
        kind: Kind,
        json: &[u8],
    ) -> Result<(Vec<Self>, ListMeta), serde_json::Error> {
        by_kind!(kind, page_of, json)
    }

    /// Reads the object of a watch's event of this kind.
    pub(super) fn read_event(kind: Kind, json: &[u8]) -> Result<Self, serde_json::Error> {
        by_kind!(kind, object_of, json)
    }

    pub(super) fn meta(&self) -> &Meta {
        match self {
            Object::Node(o) => &o.metadata,
            Object::Pod(o) => &o.metadata,
            Object::Service(o) => &o.metadata,
            Object::Endpoints(o) => &o.metadata,
            Object::EndpointSlice(o) => &o.metadata,
            Object::Ingress(o) => &o.metadata,
            Object::Namespace(o) => &o.metadata,
        }
    }

    pub(super) fn key(&self) -> Key {
        let meta = self.meta();
        (meta.namespace.clone(), meta.name.clone())
    }
}

/// Namespace and name; nodes and namespaces have no namespace.
pub(super) type Key = (String, String);
