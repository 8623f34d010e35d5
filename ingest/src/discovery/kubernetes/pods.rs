//! Targets and labels of pods.

use super::super::group::TargetGroup;
use super::super::labels::{Pairs, join_host_port, pair};
use super::meta::{NAMESPACE, add_object, meta};
use super::objects::{Container, ContainerPort, ContainerStatus, Pod};

/// A container of a pod, and whether it only runs before the others.
pub(super) struct InPod<'a> {
    pub(super) container: &'a Container,
    pub(super) init: bool,
}

/// All containers, the ones that only run first at the end.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = InPod<'_>> {
    let mark = |init: bool| move |container| InPod { container, init };
    pod.spec
        .containers
        .iter()
        .map(mark(false))
        .chain(pod.spec.init_containers.iter().map(mark(true)))
}

/// Labels of a pod, wherever they are attached.
pub(super) fn pod_labels(out: &mut Pairs, pod: &Pod) {
    let ready = pod.status.conditions.iter().find(|c| c.kind == "Ready");
    let ready = ready.map_or_else(|| "unknown".to_owned(), |c| c.status.to_lowercase());
    out.extend([
        meta("pod_ip", &pod.status.pod_ip),
        meta("pod_ready", ready),
        meta("pod_phase", &pod.status.phase),
        meta("pod_node_name", &pod.spec.node_name),
        meta("pod_host_ip", &pod.status.host_ip),
        meta("pod_uid", &pod.metadata.uid),
    ]);
    add_object(out, &pod.metadata, "pod");
    let owners = &pod.metadata.owner_references;
    if let Some(owner) = owners.iter().find(|owner| owner.controller) {
        out.push(meta("pod_controller_kind", &owner.kind));
        out.push(meta("pod_controller_name", &owner.name));
    }
}

/// Labels of a container's port.
pub(super) fn port_labels(out: &mut Pairs, port: &ContainerPort) {
    out.extend([
        meta("pod_container_port_name", &port.name),
        meta("pod_container_port_number", port.container_port.to_string()),
        meta("pod_container_port_protocol", &port.protocol),
    ]);
}

fn id_of<'a>(statuses: &'a [ContainerStatus], name: &str) -> &'a str {
    let status = statuses.iter().find(|status| status.name == name);
    status.map_or("", |status| &status.container_id)
}

pub(super) fn pod_group(source: String, pod: &Pod, attached: Pairs) -> TargetGroup {
    let ip = &pod.status.pod_ip;
    if ip.is_empty() {
        // It is starting, or has been thrown out.
        return TargetGroup {
            source,
            ..TargetGroup::default()
        };
    }
    let mut labels = Pairs::new();
    pod_labels(&mut labels, pod);
    labels.push(pair(NAMESPACE, &pod.metadata.namespace));
    labels.extend(attached);
    let mut targets = Vec::new();
    for InPod { container, init } in containers(pod) {
        let statuses = match init {
            true => &pod.status.init_container_statuses,
            false => &pod.status.container_statuses,
        };
        let common = [
            meta("pod_container_name", &container.name),
            meta("pod_container_id", id_of(statuses, &container.name)),
            meta("pod_container_image", &container.image),
            meta("pod_container_init", init.to_string()),
        ];
        if container.ports.is_empty() {
            // No port is known: the user's rules have to bring one.
            let mut target = vec![pair("__address__", ip)];
            target.extend(common.clone());
            targets.push(target);
        }
        for port in &container.ports {
            let mut target = vec![pair("__address__", join_host_port(ip, port.container_port))];
            target.extend(common.clone());
            port_labels(&mut target, port);
            targets.push(target);
        }
    }
    TargetGroup {
        source,
        targets,
        labels,
    }
}
