//! Targets of nodes, services and ingresses: one object, one group.

use super::super::group::TargetGroup;
use super::super::labels::{Pairs, join_host_port, pair, sanitize};
use super::meta::{NAMESPACE, add_object, meta};
use super::objects::{Ingress, Node, Service};

/// Which of a node's addresses is its target, most wanted first.
const NODE_ADDRESSES: [&str; 6] = [
    "InternalIP",
    "InternalDNS",
    "ExternalIP",
    "ExternalDNS",
    "LegacyHostIP",
    "Hostname",
];

pub(super) fn node_group(source: String, node: &Node) -> TargetGroup {
    let mut group = TargetGroup {
        source,
        ..TargetGroup::default()
    };
    let addresses = &node.status.addresses;
    let of_kind = |kind: &&str| addresses.iter().find(|a| a.kind == *kind);
    let Some(address) = NODE_ADDRESSES.iter().find_map(of_kind) else {
        tracing::warn!(node = node.metadata.name, "No node address found");
        return group;
    };
    let labels = &mut group.labels;
    labels.push(meta("node_provider_id", &node.spec.provider_id));
    add_object(labels, &node.metadata, "node");
    for condition in &node.status.conditions {
        let name = sanitize(&condition.kind.to_lowercase());
        let value = condition.status.to_lowercase();
        labels.push(meta(&format!("node_condition_{name}"), value));
    }
    let port = node.status.daemon_endpoints.kubelet_endpoint.port;
    let mut target = vec![
        pair("__address__", join_host_port(&address.address, port)),
        pair("instance", &node.metadata.name),
    ];
    for (i, address) in addresses.iter().enumerate() {
        // The first of each kind counts.
        let seen = addresses.iter().take(i).any(|a| a.kind == address.kind);
        if !seen {
            let name = format!("node_address_{}", sanitize(&address.kind));
            target.push(meta(&name, &address.address));
        }
    }
    group.targets.push(target);
    group
}

/// Labels of a service, wherever they are attached.
pub(super) fn service_labels(out: &mut Pairs, service: &Service) {
    out.push(pair(NAMESPACE, &service.metadata.namespace));
    add_object(out, &service.metadata, "service");
}

pub(super) fn service_group(source: String, service: &Service) -> TargetGroup {
    let mut labels = Pairs::new();
    service_labels(&mut labels, service);
    let spec = &service.spec;
    let host = format!(
        "{}.{}.svc",
        service.metadata.name, service.metadata.namespace
    );
    let target = |port: &super::objects::ServicePort| {
        let mut target = vec![
            pair("__address__", join_host_port(&host, port.port)),
            meta("service_port_name", &port.name),
            meta("service_port_number", port.port.to_string()),
            meta("service_port_protocol", &port.protocol),
            meta("service_type", &spec.kind),
        ];
        target.push(match spec.kind.as_str() {
            "ExternalName" => meta("service_external_name", &spec.external_name),
            _ => meta("service_cluster_ip", &spec.cluster_ip),
        });
        if spec.kind == "LoadBalancer" {
            target.push(meta("service_loadbalancer_ip", &spec.load_balancer_ip));
        }
        target
    };
    TargetGroup {
        source,
        targets: spec.ports.iter().map(target).collect(),
        labels,
    }
}

pub(super) fn ingress_group(source: String, ingress: &Ingress) -> TargetGroup {
    let mut labels = vec![pair(NAMESPACE, &ingress.metadata.namespace)];
    if let Some(class) = &ingress.spec.ingress_class_name {
        labels.push(meta("ingress_class_name", class));
    }
    add_object(&mut labels, &ingress.metadata, "ingress");
    let secured: Vec<&String> = ingress.spec.tls.iter().flat_map(|t| &t.hosts).collect();
    let mut targets = Vec::new();
    for rule in &ingress.spec.rules {
        let scheme = match secured.iter().any(|p| names(p, &rule.host)) {
            true => "https",
            false => "http",
        };
        let paths: Vec<&str> = match &rule.http {
            None => vec!["/"],
            Some(http) => http.paths.iter().map(|p| p.path.as_str()).collect(),
        };
        for path in paths {
            let path = if path.is_empty() { "/" } else { path };
            targets.push(vec![
                pair("__address__", &rule.host),
                meta("ingress_scheme", scheme),
                meta("ingress_host", &rule.host),
                meta("ingress_path", path),
            ]);
        }
    }
    TargetGroup {
        source,
        targets,
        labels,
    }
}

/// Does a name with `*` for its first part, or a plain name, mean this host?
fn names(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((_, domain))) => rest == domain,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns() {
        for (pattern, host, expected) in [
            ("a.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("b.example", "a.example", false),
        ] {
            assert_eq!(names(pattern, host), expected, "{pattern} {host}");
        }
    }
}
