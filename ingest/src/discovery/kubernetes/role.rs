//! One role at work: the collections that it watches, what they hold, and the groups that follow from a change.
//!
//! Promise: nothing is told before every collection has been listed once; then each change leads to the groups that it
//! concerns, those of other objects that refer to it among them. Changes that come together are taken together.

use super::super::group::TargetGroup;
use super::super::labels::Pairs;
use super::super::updates::Updates;
use super::config::AttachMetadata;
use super::endpoints::{SERVICE_NAME, endpoints_group, node_of, slice_group};
use super::meta::{add_labels_and_annotations, add_object};
use super::objects::{Key, Kind, Namespace, Node, Object, Pod, Reference, Service};
use super::plain::{ingress_group, node_group, service_group};
use super::pods::pod_group;
use super::watch::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How long changes are gathered before the groups are made again.
const GATHER: Duration = Duration::from_millis(50);

/// Changes taken at once.
const CHANGES_AT_ONCE: usize = 10_000;

/// Everything that was seen of the watched collections.
#[derive(Debug, Default)]
pub(super) struct Stores {
    objects: BTreeMap<Kind, BTreeMap<Key, Object>>,
    attach: AttachMetadata,
}

impl Stores {
    fn get(&self, kind: Kind, key: &Key) -> Option<&Object> {
        self.objects.get(&kind)?.get(key)
    }

    pub(super) fn pod(&self, key: &Key) -> Option<&Pod> {
        match self.get(Kind::Pod, key)? {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    pub(super) fn service(&self, key: &Key) -> Option<&Service> {
        match self.get(Kind::Service, key)? {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    fn node(&self, name: &str) -> Option<&Node> {
        match self.get(Kind::Node, &(String::new(), name.to_owned()))? {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }

    fn namespace(&self, name: &str) -> Option<&Namespace> {
        match self.get(Kind::Namespace, &(String::new(), name.to_owned()))? {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }

    /// Labels of a node, when they are to be attached.
    pub(super) fn node_labels(&self, name: &str) -> Pairs {
        let mut out = Pairs::new();
        if self.attach.node
            && let Some(node) = self.node(name)
        {
            add_object(&mut out, &node.metadata, "node");
        }
        out
    }

    /// Labels of a namespace, when they are to be attached.
    pub(super) fn namespace_labels(&self, name: &str) -> Pairs {
        let mut out = Pairs::new();
        if self.attach.namespace
            && let Some(namespace) = self.namespace(name)
        {
            add_labels_and_annotations(&mut out, &namespace.metadata, "namespace");
        }
        out
    }
}

/// A role in one namespace, or in all.
#[derive(Debug)]
pub(super) struct RoleLoop {
    /// What targets are made of.
    primary: Kind,
    stores: Stores,
    /// Collections that were not listed yet.
    missing: BTreeSet<Kind>,
    /// Objects of other kinds that changed.
    touched: BTreeSet<(Kind, Key)>,
    /// Objects whose groups are to be made again.
    dirty: BTreeSet<Key>,
}

impl RoleLoop {
    pub(super) fn new(primary: Kind, watched: &[Kind], attach: AttachMetadata) -> Self {
        RoleLoop {
            primary,
            stores: Stores {
                objects: BTreeMap::new(),
                attach,
            },
            missing: watched.iter().copied().collect(),
            touched: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Takes changes until there is no watch left.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<(Kind, Change)>,
        updates: Updates,
    ) {
        while let Some((kind, change)) = changes.recv().await {
            self.take(kind, change, &updates);
            if !self.missing.is_empty() {
                continue;
            }
            sleep(GATHER).await;
            for _ in 0..CHANGES_AT_ONCE {
                match changes.try_recv() {
                    Ok((kind, change)) => self.take(kind, change, &updates),
                    Err(_) => break,
                }
            }
            let groups = self.rebuild();
            if !groups.is_empty() {
                updates.update(groups);
            }
        }
    }

    fn touch(&mut self, kind: Kind, key: Key) {
        if kind == self.primary {
            self.dirty.insert(key);
        } else {
            self.touched.insert((kind, key));
        }
    }

    fn take(&mut self, kind: Kind, change: Change, updates: &Updates) {
        let count = |event: &str, times: usize| {
            let labels = [("event", event), ("role", kind.role())];
            for _ in 0..times {
                updates
                    .context
                    .counters
                    .count_with("prometheus_sd_kubernetes_events_total", &labels);
            }
        };
        let store = self.stores.objects.entry(kind).or_default();
        let mut changed = Vec::new();
        match change {
            Change::Listed(objects) => {
                let mut old = std::mem::take(store);
                let (mut added, mut updated) = (0, 0);
                for object in objects {
                    let key = object.key();
                    match old.remove(&key) {
                        None => added += 1,
                        Some(before) if before == object => {
                            store.insert(key, object);
                            continue;
                        }
                        Some(_) => updated += 1,
                    }
                    changed.push(key.clone());
                    store.insert(key, object);
                }
                count("add", added);
                count("update", updated);
                count("delete", old.len());
                changed.extend(old.into_keys());
                self.missing.remove(&kind);
            }
            Change::Set(object) => {
                let key = object.key();
                let known = store.insert(key.clone(), object).is_some();
                count(if known { "update" } else { "add" }, 1);
                changed.push(key);
            }
            Change::Gone(key) => {
                store.remove(&key);
                count("delete", 1);
                changed.push(key);
            }
        }
        for key in changed {
            self.touch(kind, key);
        }
    }

    /// The groups of all objects that a change concerns.
    fn rebuild(&mut self) -> Vec<TargetGroup> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let touched = std::mem::take(&mut self.touched);
        if !touched.is_empty() {
            let all = self.stores.objects.get(&self.primary);
            for (key, object) in all.into_iter().flatten() {
                if !dirty.contains(key) && refers(object, &touched) {
                    dirty.insert(key.clone());
                }
            }
        }
        dirty.iter().map(|key| self.group(key)).collect()
    }

    fn group(&self, key: &Key) -> TargetGroup {
        let (namespace, name) = key;
        let source = match self.primary {
            Kind::Node => format!("node/{name}"),
            Kind::Service => format!("svc/{namespace}/{name}"),
            kind => format!("{}/{namespace}/{name}", kind.role()),
        };
        let attached = || self.stores.namespace_labels(namespace);
        let mut group = match self.stores.get(self.primary, key) {
            None | Some(Object::Namespace(_)) => {
                return TargetGroup {
                    source,
                    ..TargetGroup::default()
                };
            }
            Some(Object::Node(node)) => return node_group(source, node),
            Some(Object::Pod(pod)) => {
                let node = self.stores.node_labels(&pod.spec.node_name);
                pod_group(source, pod, node)
            }
            Some(Object::Service(service)) => service_group(source, service),
            Some(Object::Ingress(ingress)) => ingress_group(source, ingress),
            Some(Object::Endpoints(object)) => {
                return endpoints_group(source, object, &self.stores);
            }
            Some(Object::EndpointSlice(object)) => {
                return slice_group(source, object, &self.stores);
            }
        };
        group.labels.extend(attached());
        group
    }
}

/// Is one of the changed objects part of what this object's targets show?
fn refers(object: &Object, changed: &BTreeSet<(Kind, Key)>) -> bool {
    let namespace = &object.meta().namespace;
    let has = |kind: Kind, namespace: &str, name: &str| {
        changed.contains(&(kind, (namespace.to_owned(), name.to_owned())))
    };
    if has(Kind::Namespace, "", namespace) {
        return true;
    }
    let through = |reference: Option<&Reference>, node: Option<&String>| {
        let pod = reference.filter(|r| r.kind == "Pod");
        pod.is_some_and(|r| has(Kind::Pod, &r.namespace, &r.name))
            || node_of(reference, node).is_some_and(|name| has(Kind::Node, "", name))
    };
    match object {
        Object::Pod(pod) => has(Kind::Node, "", &pod.spec.node_name),
        Object::Endpoints(object) => {
            has(Kind::Service, namespace, &object.metadata.name)
                || object.subsets.iter().any(|subset| {
                    let addresses = subset.addresses.iter();
                    addresses
                        .chain(&subset.not_ready_addresses)
                        .any(|a| through(a.target_ref.as_ref(), a.node_name.as_ref()))
                })
        }
        Object::EndpointSlice(object) => {
            let service = object.metadata.labels.get(SERVICE_NAME);
            service.is_some_and(|name| has(Kind::Service, namespace, name))
                || object
                    .endpoints
                    .iter()
                    .any(|e| through(e.target_ref.as_ref(), e.node_name.as_ref()))
        }
        _ => false,
    }
}
