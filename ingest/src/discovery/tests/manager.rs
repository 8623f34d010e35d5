//! The manager: sharing, reloads, throttling.

use crate::discovery::config::{FileSdConfig, StaticConfig};
use crate::discovery::{DiscoveryManager, ProviderConfig};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

fn file(path: &Path) -> ProviderConfig {
    ProviderConfig::File(FileSdConfig::new(vec![path.to_owned()]))
}

fn jobs(list: &[(&str, Vec<ProviderConfig>)]) -> BTreeMap<String, Vec<ProviderConfig>> {
    list.iter()
        .map(|(name, configs)| ((*name).to_owned(), configs.clone()))
        .collect()
}

fn addresses(manager: &DiscoveryManager, job: &str) -> Vec<String> {
    let groups = manager.groups(job);
    let labels = groups.iter().flat_map(|g| g.targets.iter().flatten());
    labels.map(|(_, value)| value.clone()).collect()
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never happened");
}

#[tokio::test]
async fn equal_providers_are_shared_and_survive_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    std::fs::write(&path, r#"[{"targets":["a:1"]}]"#).unwrap();
    let manager = DiscoveryManager::new(Handle::current(), Arc::default());
    manager.apply(&jobs(&[
        ("one", vec![file(&path)]),
        ("two", vec![file(&path)]),
    ]));
    wait_for("targets", || addresses(&manager, "two") == ["a:1"]).await;
    assert_eq!(addresses(&manager, "one"), ["a:1"]);
    assert_eq!(manager.stats().received_updates, 1, "one provider for both");
    // A third job of the same provider has its targets at once; the others go, and nothing is read again.
    manager.apply(&jobs(&[("three", vec![file(&path)])]));
    assert_eq!(addresses(&manager, "three"), ["a:1"]);
    assert!(addresses(&manager, "one").is_empty());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(manager.stats().received_updates, 1);
    assert_eq!(manager.stats().discovered_targets["three"], 1);
    manager.apply(&jobs(&[("three", Vec::new())]));
    assert!(addresses(&manager, "three").is_empty());
}

#[tokio::test]
async fn static_targets_are_there_at_once_in_their_order() {
    let manager = DiscoveryManager::new(Handle::current(), Arc::default());
    let group = |i: u32| StaticConfig {
        targets: vec![format!("h{i}:1")],
        labels: Vec::new(),
    };
    let configs = vec![ProviderConfig::Static((0..12).map(group).collect())];
    manager.apply(&jobs(&[("s", configs)]));
    let expected: Vec<String> = (0..12).map(|i| format!("h{i}:1")).collect();
    assert_eq!(addresses(&manager, "s"), expected);
}

#[tokio::test]
async fn the_consumer_is_told_at_once_and_then_left_in_peace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let write = |n: usize| {
        let aside = folder.path().join("aside");
        std::fs::write(&aside, format!(r#"[{{"targets":["a:{n}"]}}]"#)).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    };
    write(0);
    let manager = DiscoveryManager::new(Handle::current(), Arc::default());
    type Words = Vec<(Instant, Vec<String>)>;
    let told: Arc<Mutex<Words>> = Arc::default();
    let sink = Arc::clone(&told);
    let throttle = Duration::from_millis(600);
    manager.tell(throttle, move |names| {
        sink.lock().unwrap().push((Instant::now(), names));
    });
    manager.apply(&jobs(&[("f", vec![file(&path)])]));
    wait_for("the first word", || told.lock().unwrap().len() == 1).await;
    for n in 1..4 {
        write(n);
        wait_for("the change", || {
            addresses(&manager, "f") == [format!("a:{n}")]
        })
        .await;
    }
    wait_for("the second word", || told.lock().unwrap().len() == 2).await;
    sleep(throttle + Duration::from_millis(100)).await;
    let told = told.lock().unwrap();
    let [(first, _), (second, names)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(second.duration_since(*first) >= throttle, "{told:?}");
    assert_eq!(names, &["f".to_owned()]);
    assert_eq!(manager.stats().sent_updates, 2);
}
