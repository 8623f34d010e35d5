//! Tests of discovery: the manager with scripted providers, and each mechanism against a small server on loopback.

mod consul;
mod dns;
mod docker;
mod ec2;
mod http;
mod kubernetes;
mod manager;

use super::{Discoverer, DiscoveryCounters, ProviderContext, TargetGroup, Update, Updates};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A mechanism at work, and all groups that it has told of.
struct Running {
    groups: Arc<Mutex<BTreeMap<String, TargetGroup>>>,
    updates: Arc<Mutex<usize>>,
    counters: Arc<DiscoveryCounters>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn start(
        mechanism: &'static str,
        counters: Arc<DiscoveryCounters>,
        discoverer: Box<dyn Discoverer>,
    ) -> Self {
        let groups: Arc<Mutex<BTreeMap<String, TargetGroup>>> = Arc::default();
        let updates: Arc<Mutex<usize>> = Arc::default();
        let (sink, count) = (Arc::clone(&groups), Arc::clone(&updates));
        let context = ProviderContext {
            job: "j".into(),
            mechanism,
            counters: Arc::clone(&counters),
        };
        let told = Updates::new(context, move |update| {
            let mut groups = sink.lock().unwrap();
            let list = match update {
                Update::All(list) => {
                    groups.clear();
                    list
                }
                Update::Some(list) => list,
            };
            for group in list {
                if group.targets.is_empty() {
                    groups.remove(&group.source);
                } else {
                    groups.insert(group.source.clone(), group);
                }
            }
            *count.lock().unwrap() += 1;
        });
        let task = tokio::spawn(discoverer.run(told));
        Running {
            groups,
            updates,
            counters,
            task,
        }
    }

    /// Every target's labels, the group's among them, in order of source.
    fn targets(&self) -> Vec<BTreeMap<String, String>> {
        let groups = self.groups.lock().unwrap();
        groups.values().flat_map(labels_of).collect()
    }

    fn addresses(&self) -> Vec<String> {
        let address = |t: &BTreeMap<String, String>| t["__address__"].clone();
        self.targets().iter().map(address).collect()
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&Running) -> bool) {
        for _ in 0..500 {
            if condition(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} never happened: {:?}", self.targets());
    }

    async fn wait_for_addresses(&self, expected: &[&str]) {
        self.wait_for(&format!("{expected:?}"), |r| r.addresses() == expected)
            .await;
    }
}

fn labels_of(group: &TargetGroup) -> Vec<BTreeMap<String, String>> {
    let with_group = |own: &Vec<(String, String)>| -> BTreeMap<String, String> {
        let all = group.labels.iter().chain(own).cloned();
        all.filter(|(_, value)| !value.is_empty()).collect()
    };
    group.targets.iter().map(with_group).collect()
}

/// Compares labels with `name value` lines.
#[track_caller]
fn assert_labels(labels: &BTreeMap<String, String>, expected: &str) {
    let shown: Vec<String> = labels.iter().map(|(n, v)| format!("{n} {v}")).collect();
    let mut wanted: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    wanted.sort_unstable();
    assert_eq!(shown, wanted);
}
