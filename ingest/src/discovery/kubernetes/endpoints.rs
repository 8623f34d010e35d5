//! Targets of endpoints and endpoint slices: the addresses behind a service, with the labels of service, pod and node.

use super::super::group::TargetGroup;
use super::super::labels::{Pairs, join_host_port, pair};
use super::meta::{NAMESPACE, add_object, meta};
use super::objects::{
    EndpointAddress, EndpointPort, EndpointSlice, Endpoints, Key, Pod, Reference, SliceEndpoint,
    SlicePort,
};
use super::plain::service_labels;
use super::pods::{InPod, containers, pod_labels, port_labels};
use super::role::Stores;
use std::collections::BTreeMap;

/// Label of a slice that names its service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Pods behind an object's addresses, and their ports that are targets already.
type SeenPods<'a> = BTreeMap<Key, (&'a Pod, Vec<i64>)>;

pub(super) fn pod_of<'a>(stores: &'a Stores, reference: Option<&Reference>) -> Option<&'a Pod> {
    let reference = reference.filter(|r| r.kind == "Pod")?;
    stores.pod(&(reference.namespace.clone(), reference.name.clone()))
}

/// The node that an address belongs to.
pub(super) fn node_of<'a>(
    reference: Option<&'a Reference>,
    node_name: Option<&'a String>,
) -> Option<&'a str> {
    match reference {
        Some(reference) if reference.kind == "Node" => Some(&reference.name),
        _ => node_name.map(String::as_str),
    }
}

/// Adds the labels of a pod, and of its container that has this port; the port then has its target.
fn attach_pod<'a>(
    target: &mut Pairs,
    seen: &mut SeenPods<'a>,
    pod: &'a Pod,
    port: Option<i64>,
    protocol: Option<&str>,
) {
    let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
    let (_, ports) = seen.entry(key).or_insert_with(|| (pod, Vec::new()));
    ports.extend(port);
    pod_labels(target, pod);
    for InPod { container, init } in containers(pod) {
        let Some(own) = container
            .ports
            .iter()
            .find(|own| Some(own.container_port) == port)
        else {
            continue;
        };
        let mut own = own.clone();
        if let Some(protocol) = protocol {
            protocol.clone_into(&mut own.protocol);
        }
        target.push(meta("pod_container_name", &container.name));
        target.push(meta("pod_container_image", &container.image));
        target.push(meta("pod_container_init", init.to_string()));
        port_labels(target, &own);
    }
}

/// Targets of the ports of seen pods that no address led to.
fn add_other_ports(group: &mut TargetGroup, seen: &SeenPods<'_>) {
    for (pod, ports) in seen.values() {
        if pod.status.pod_ip.is_empty() {
            continue;
        }
        for InPod { container, init } in containers(pod) {
            for port in &container.ports {
                if ports.contains(&port.container_port) {
                    continue;
                }
                let address = join_host_port(&pod.status.pod_ip, port.container_port);
                let mut target = vec![
                    pair("__address__", address),
                    meta("pod_container_name", &container.name),
                    meta("pod_container_image", &container.image),
                    meta("pod_container_init", init.to_string()),
                ];
                port_labels(&mut target, port);
                pod_labels(&mut target, pod);
                group.targets.push(target);
            }
        }
    }
}

fn add_reference(target: &mut Pairs, word: &str, reference: Option<&Reference>) {
    if let Some(reference) = reference {
        target.push(meta(&format!("{word}_target_kind"), &reference.kind));
        target.push(meta(&format!("{word}_target_name"), &reference.name));
    }
}

pub(super) fn endpoints_group(source: String, object: &Endpoints, stores: &Stores) -> TargetGroup {
    let own = &object.metadata;
    let mut labels = vec![pair(NAMESPACE, &own.namespace)];
    if let Some(service) = stores.service(&(own.namespace.clone(), own.name.clone())) {
        service_labels(&mut labels, service);
    }
    add_object(&mut labels, own, "endpoints");
    labels.extend(stores.namespace_labels(&own.namespace));
    let mut group = TargetGroup {
        source,
        targets: Vec::new(),
        labels,
    };
    let mut seen = SeenPods::new();
    let mut add = |address: &EndpointAddress, port: &EndpointPort, ready: bool| {
        let reference = address.target_ref.as_ref();
        let mut target = vec![
            pair("__address__", join_host_port(&address.ip, port.port)),
            meta("endpoint_port_name", &port.name),
            meta("endpoint_port_protocol", &port.protocol),
            meta("endpoint_ready", ready.to_string()),
        ];
        add_reference(&mut target, "endpoint_address", reference);
        if let Some(node) = &address.node_name {
            target.push(meta("endpoint_node_name", node));
        }
        if !address.hostname.is_empty() {
            target.push(meta("endpoint_hostname", &address.hostname));
        }
        if let Some(node) = node_of(reference, address.node_name.as_ref()) {
            target.extend(stores.node_labels(node));
        }
        if let Some(pod) = pod_of(stores, reference) {
            let protocol = Some(port.protocol.as_str());
            attach_pod(&mut target, &mut seen, pod, Some(port.port), protocol);
        }
        group.targets.push(target);
    };
    for subset in &object.subsets {
        for port in &subset.ports {
            for address in &subset.addresses {
                add(address, port, true);
            }
            for address in &subset.not_ready_addresses {
                add(address, port, false);
            }
        }
    }
    let over_capacity = own.labels.get("endpoints.kubernetes.io/over-capacity");
    if over_capacity.is_some_and(|v| v == "truncated") {
        tracing::warn!(
            endpoint = own.name,
            "Number of endpoints in one Endpoints object exceeds 1000 and has been truncated, please use \"role: endpointslice\" instead"
        );
    }
    add_other_ports(&mut group, &seen);
    group
}

pub(super) fn slice_group(source: String, object: &EndpointSlice, stores: &Stores) -> TargetGroup {
    let own = &object.metadata;
    let mut labels = vec![
        pair(NAMESPACE, &own.namespace),
        meta("endpointslice_address_type", &object.address_type),
    ];
    add_object(&mut labels, own, "endpointslice");
    if let Some(name) = own.labels.get(SERVICE_NAME)
        && let Some(service) = stores.service(&(own.namespace.clone(), name.clone()))
    {
        service_labels(&mut labels, service);
    }
    labels.extend(stores.namespace_labels(&own.namespace));
    let mut group = TargetGroup {
        source,
        targets: Vec::new(),
        labels,
    };
    let mut seen = SeenPods::new();
    for endpoint in &object.endpoints {
        for port in &object.ports {
            for address in &endpoint.addresses {
                let mut target = slice_target(address, endpoint, port);
                let reference = endpoint.target_ref.as_ref();
                if let Some(node) = node_of(reference, endpoint.node_name.as_ref()) {
                    target.extend(stores.node_labels(node));
                }
                if let Some(pod) = pod_of(stores, reference) {
                    attach_pod(&mut target, &mut seen, pod, port.port, None);
                }
                group.targets.push(target);
            }
        }
    }
    add_other_ports(&mut group, &seen);
    group
}

fn slice_target(address: &str, endpoint: &SliceEndpoint, port: &SlicePort) -> Pairs {
    let mut target = vec![match port.port {
        Some(port) => pair("__address__", join_host_port(address, port)),
        None => pair("__address__", address),
    }];
    let conditions = &endpoint.conditions;
    let flag = |value: Option<bool>| value.map(|v| v.to_string());
    for (name, value) in [
        ("port_name", port.name.clone()),
        ("port_protocol", port.protocol.clone()),
        ("port", port.port.map(|p| p.to_string())),
        ("port_app_protocol", port.app_protocol.clone()),
        ("endpoint_conditions_ready", flag(conditions.ready)),
        ("endpoint_conditions_serving", flag(conditions.serving)),
        (
            "endpoint_conditions_terminating",
            flag(conditions.terminating),
        ),
        ("endpoint_hostname", endpoint.hostname.clone()),
        ("endpoint_node_name", endpoint.node_name.clone()),
        ("endpoint_zone", endpoint.zone.clone()),
    ] {
        if let Some(value) = value {
            target.push(meta(&format!("endpointslice_{name}"), value));
        }
    }
    add_reference(
        &mut target,
        "endpointslice_address",
        endpoint.target_ref.as_ref(),
    );
    for (name, value) in &endpoint.deprecated_topology {
        let name = super::super::labels::sanitize(name);
        let prefix = "endpointslice_endpoint_topology";
        target.push(meta(&format!("{prefix}_{name}"), value));
        target.push(meta(&format!("{prefix}_present_{name}"), "true"));
    }
    target
}
