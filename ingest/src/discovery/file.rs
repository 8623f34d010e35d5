//! `file_sd_configs`: target groups in JSON or YAML files, read again when they change.
//!
//! Promise: a file that cannot be read or parsed keeps the groups that it had; a file that is gone loses them. Changes
//! are noticed through the file system's events and, for file systems without, at every `refresh_interval`.

use super::config::FileSdConfig;
use super::counters::DiscoveryCounters;
use super::glob;
use super::group::TargetGroup;
use super::updates::{Discoverer, Updates};
use crate::limits::DISCOVERY_FILE_BYTES_MAX;
use futures_util::future::BoxFuture;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How long to wait after an event for the writer to finish, so that a file written in pieces is read once.
const SETTLE: Duration = Duration::from_millis(50);

const READ_ERRORS: &str = "prometheus_sd_file_read_errors_total";
const WATCHER_ERRORS: &str = "prometheus_sd_file_watcher_errors_total";

/// Why a file yields no groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupFileError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is larger than [`DISCOVERY_FILE_BYTES_MAX`].
    #[error("{path}: {bytes} bytes are more than the limit of {DISCOVERY_FILE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// It is not a list of target groups.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: String,
        /// What the parser says, with the position.
        reason: String,
    },
    /// A list entry is null.
    #[error("nil target group item found (index {index})")]
    NilGroup {
        /// Position in the list.
        index: usize,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupSchema {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// One `file_sd_configs` entry at work.
#[derive(Debug)]
pub struct FileDiscovery {
    config: FileSdConfig,
    counters: Arc<DiscoveryCounters>,
    /// The last good groups of each file.
    files: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

impl FileDiscovery {
    /// A provider that has read nothing yet.
    pub fn new(config: FileSdConfig, counters: Arc<DiscoveryCounters>) -> Self {
        FileDiscovery {
            config,
            counters,
            files: BTreeMap::new(),
        }
    }

    /// Reads all files and returns the groups in order of file name.
    pub fn refresh(&mut self) -> Vec<TargetGroup> {
        let start = Instant::now();
        let mut now = BTreeMap::new();
        for pattern in &self.config.files {
            let paths = glob::matching_files(pattern).unwrap_or_else(|error| {
                self.count_error(&format!("{}: {error}", pattern.display()));
                // The folder cannot be listed: what it held before stays.
                let old = self.files.keys();
                old.filter(|p| p.parent() == pattern.parent())
                    .cloned()
                    .collect()
            });
            for path in paths {
                match read_groups(&path) {
                    Ok(groups) => {
                        now.insert(path, groups);
                    }
                    Err(error) => {
                        self.count_error(&error.to_string());
                        if let Some(old) = self.files.get(&path) {
                            now.insert(path, old.clone());
                        }
                    }
                }
            }
        }
        self.files = now;
        self.counters.observe(
            "prometheus_sd_file_scan_duration_seconds",
            &[],
            start.elapsed(),
        );
        self.files.values().flatten().cloned().collect()
    }

    fn count_error(&self, error: &str) {
        self.counters.count(READ_ERRORS);
        tracing::error!(
            component = "discovery manager scrape",
            discovery = "file",
            error,
            "Error reading file"
        );
    }

    /// Sends the groups now and whenever they change.
    async fn follow(mut self, updates: Updates) {
        let (events, mut changed) = mpsc::channel(1);
        let watcher = self.watch(events);
        if watcher.is_none() {
            self.counters.count(WATCHER_ERRORS);
        }
        let mut tick = interval(self.config.refresh_interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Vec<TargetGroup>> = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(()) = changed.recv(), if watcher.is_some() => {
                    sleep(SETTLE).await;
                    while changed.try_recv().is_ok() {}
                }
            }
            let read = tokio::task::spawn_blocking(move || {
                let groups = self.refresh();
                (self, groups)
            });
            let Ok((back, groups)) = read.await else {
                tracing::error!("file discovery stopped: reading ended by a panic");
                return;
            };
            self = back;
            if last.as_ref() != Some(&groups) {
                updates.replace(groups.clone());
                last = Some(groups);
            }
        }
    }

    fn watch(&self, events: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
        let report = |error: &notify::Error| {
            tracing::error!(%error, "Error adding file watcher");
        };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|e| is_change(&e.kind)) {
                    // A full channel already promises a refresh.
                    let _ = events.try_send(());
                }
            })
            .inspect_err(report)
            .ok()?;
        let mut folders: Vec<&Path> = self.config.files.iter().map(|f| glob::parent(f)).collect();
        folders.sort();
        folders.dedup();
        for folder in folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                report(&error);
                self.counters.count(WATCHER_ERRORS);
            }
        }
        Some(watcher)
    }
}

impl Discoverer for FileDiscovery {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(self.follow(updates))
    }
}

/// Our own reading must not count as a change, or every refresh would cause the next.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

fn read_groups(path: &Path) -> Result<Vec<TargetGroup>, GroupFileError> {
    let shown = path.display().to_string();
    let read = |source| GroupFileError::Read {
        path: shown.clone(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > DISCOVERY_FILE_BYTES_MAX {
        return Err(GroupFileError::TooLarge { path: shown, bytes });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let parse = |reason: String| GroupFileError::Parse {
        path: shown.clone(),
        reason,
    };
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let schema: Option<Vec<Option<GroupSchema>>> = if extension.eq_ignore_ascii_case("json") {
        serde_json::from_str(&text).map_err(|e| parse(e.to_string()))?
    } else if text.trim().is_empty() {
        None
    } else {
        serde_saphyr::from_str(&text).map_err(|e| parse(e.to_string()))?
    };
    let mut groups = Vec::new();
    for (index, group) in schema.unwrap_or_default().into_iter().enumerate() {
        let group = group.ok_or(GroupFileError::NilGroup { index })?;
        let mut labels: Vec<_> = group.labels.unwrap_or_default().into_iter().collect();
        labels.retain(|(name, _)| name != "__meta_filepath");
        labels.push(("__meta_filepath".to_owned(), shown.clone()));
        groups.push(TargetGroup::of_addresses(
            format!("{shown}:{index}"),
            &group.targets.unwrap_or_default(),
            labels,
        ));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::updates::{ProviderContext, Update};
    use std::fs;
    use std::sync::Mutex;

    fn addresses(groups: &[TargetGroup]) -> Vec<String> {
        groups
            .iter()
            .flat_map(|g| g.targets.iter().flatten())
            .map(|(_, value)| value.clone())
            .collect()
    }

    #[test]
    fn yaml_and_json_in_glob_order_and_a_bad_file_keeps_its_groups() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("b.yml"),
            "- targets: ['b:1', c:2]\n  labels: {env: 5, x: y}\n",
        )
        .unwrap();
        fs::write(
            at("a.json"),
            r#"[{"targets": ["a:1"], "labels": {"k": "v"}}]"#,
        )
        .unwrap();
        let counters = Arc::new(DiscoveryCounters::default());
        let config = FileSdConfig::new(vec![at("*.yml"), at("a.json"), at("missing.yml")]);
        let mut discovery = FileDiscovery::new(config, Arc::clone(&counters));
        let groups = discovery.refresh();
        assert_eq!(addresses(&groups), ["a:1", "b:1", "c:2"]);
        let b = groups.last().unwrap();
        assert_eq!(b.source, format!("{}:0", at("b.yml").display()));
        let label = |name: &str| {
            b.labels
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
        };
        assert_eq!(label("env").as_deref(), Some("5"));
        assert_eq!(
            label("__meta_filepath"),
            Some(at("b.yml").display().to_string())
        );

        fs::write(at("b.yml"), "- targetz: []\n").unwrap();
        fs::remove_file(at("a.json")).unwrap();
        assert_eq!(addresses(&discovery.refresh()), ["b:1", "c:2"]);
        assert_eq!(counters.value(READ_ERRORS), 1.0);
        fs::write(at("b.yml"), "").unwrap();
        assert!(discovery.refresh().is_empty());
    }

    #[tokio::test]
    async fn a_changed_file_is_noticed_long_before_the_refresh_interval() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.yml");
        fs::write(&file, "- targets: [one:1]\n").unwrap();
        let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let discovery = FileDiscovery::new(FileSdConfig::new(vec![file.clone()]), Arc::default());
        let context = ProviderContext {
            job: "j".into(),
            mechanism: "file",
            counters: Arc::default(),
        };
        let updates = Updates::new(context, move |update| match update {
            Update::All(groups) => sink.lock().unwrap().push(addresses(&groups)),
            Update::Some(_) => panic!("files are told as a whole"),
        });
        let task = tokio::spawn(Box::new(discovery).run(updates));
        let wait_for = async |expected: &str| {
            for _ in 0..400 {
                if seen
                    .lock()
                    .unwrap()
                    .last()
                    .is_some_and(|l| l == &[expected])
                {
                    return;
                }
                sleep(Duration::from_millis(25)).await;
            }
            panic!("never saw {expected}");
        };
        wait_for("one:1").await;
        fs::write(&file, "- targets: [two:2]\n").unwrap();
        wait_for("two:2").await;
        task.abort();
    }
}
