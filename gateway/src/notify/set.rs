//! The Alertmanagers of one section of the configuration: from targets to URLs, each with its queue.

use super::NotifyFlags;
use super::message::Message;
use super::queue::Queue;
use ingest::discovery::{ProviderConfig, TargetGroup};
use ingest::http_client::HttpClient;
use ingest::http_client::config::HttpClientConfig;
use ingest::relabel::{Rule, Verdict, process};
use std::sync::Arc;
use std::time::Duration;
use storage_engine::model::LabelsBuilder;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// One entry of `alerting.alertmanagers`.
#[derive(Debug, Clone, PartialEq)]
pub struct SetSettings {
    /// `http` or `https`.
    pub scheme: String,
    /// `path_prefix`
    pub path_prefix: String,
    /// `timeout`
    pub timeout: Duration,
    /// `relabel_configs`
    pub relabel: Vec<Rule>,
    /// `alert_relabel_configs`
    pub alert_relabel: Vec<Rule>,
    /// How to connect.
    pub http: HttpClientConfig,
    /// Where to look for them.
    pub discovery: Vec<ProviderConfig>,
}

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";

pub(super) struct AlertmanagerSet {
    settings: SetSettings,
    client: Arc<HttpClient>,
    queues: Vec<Queue>,
    dropped: Vec<String>,
}

/// A target of discovery.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Kept(String),
    Dropped(String),
}

impl AlertmanagerSet {
    pub(super) fn new(settings: SetSettings) -> Self {
        AlertmanagerSet {
            client: Arc::new(HttpClient::new(settings.http.clone())),
            settings,
            queues: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(super) fn settings(&self) -> &SetSettings {
        &self.settings
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter()
    }

    pub(super) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Makes these the receivers; known ones keep their queues.
    pub(super) fn sync(
        &mut self,
        groups: &[Arc<TargetGroup>],
        flags: NotifyFlags,
        runtime: &Handle,
    ) {
        let mut urls: Vec<String> = Vec::new();
        self.dropped.clear();
        for group in groups {
            for target in &group.targets {
                match found(&self.settings, target, &group.labels) {
                    Ok(Found::Kept(url)) if !urls.contains(&url) => urls.push(url),
                    Ok(Found::Kept(_)) => {}
                    Ok(Found::Dropped(url)) => self.dropped.push(url),
                    Err(error) => tracing::error!(
                        component = "notifier",
                        err = error,
                        "Creating discovered Alertmanagers failed"
                    ),
                }
            }
        }
        let mut old = std::mem::take(&mut self.queues);
        for url in urls {
            let queue = match old.iter().position(|queue| queue.url() == url) {
                Some(index) => old.swap_remove(index),
                None => {
                    let client = Arc::clone(&self.client);
                    Queue::start(url, client, self.settings.timeout, flags, runtime)
                }
            };
            self.queues.push(queue);
        }
        for gone in old {
            // It sends what waits, by itself.
            drop(gone.end());
        }
    }

    /// Puts alerts into all queues.
    pub(super) fn send(&self, messages: &[Arc<Message>]) {
        if self.settings.alert_relabel.is_empty() {
            self.queues.iter().for_each(|queue| queue.add(messages));
            return;
        }
        let mut own = Vec::with_capacity(messages.len());
        for message in messages {
            let mut labels = LabelsBuilder::new(&message.labels);
            if process(&mut labels, &self.settings.alert_relabel) == Verdict::Keep {
                own.push(Arc::new(message.with_labels(labels.build())));
            }
        }
        if !own.is_empty() {
            self.queues.iter().for_each(|queue| queue.add(&own));
        }
    }

    /// Ends all queues; each task ends when its queue is empty.
    pub(super) fn into_ends(mut self) -> Vec<JoinHandle<()>> {
        let queues = std::mem::take(&mut self.queues);
        queues.into_iter().map(Queue::end).collect()
    }
}

impl Drop for AlertmanagerSet {
    fn drop(&mut self) {
        for queue in std::mem::take(&mut self.queues) {
            drop(queue.end());
        }
    }
}

/// What relabeling makes of a target.
fn found(
    settings: &SetSettings,
    own: &[(String, String)],
    group: &[(String, String)],
) -> Result<Found, String> {
    let mut labels = LabelsBuilder::default();
    for (name, value) in group.iter().chain(own) {
        labels.set(name, value);
    }
    labels.set(SCHEME, &settings.scheme);
    labels.set(PATH, &path(&settings.path_prefix));
    let before = url(&labels);
    if process(&mut labels, &settings.relabel) == Verdict::Drop {
        return Ok(Found::Dropped(before));
    }
    match labels.get(ADDRESS) {
        "" => Err("no address".to_owned()),
        address if address.contains('/') => Err(format!("{address:?} is not a valid hostname")),
        _ => Ok(Found::Kept(url(&labels))),
    }
}

fn url(labels: &LabelsBuilder) -> String {
    let (scheme, address) = (labels.get(SCHEME), labels.get(ADDRESS));
    format!("{scheme}://{address}{}", labels.get(PATH))
}

/// Where alerts are posted to, below this prefix.
fn path(prefix: &str) -> String {
    crate::http::router::clean_path(&format!("/{prefix}/api/v2/alerts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::relabel::{Action, RuleConfig};
    use ingest::scrape::config::NameValidation;

    fn settings(prefix: &str) -> SetSettings {
        SetSettings {
            scheme: "https".to_owned(),
            path_prefix: prefix.to_owned(),
            timeout: Duration::from_secs(10),
            relabel: Vec::new(),
            alert_relabel: Vec::new(),
            http: HttpClientConfig::default(),
            discovery: Vec::new(),
        }
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn targets_become_urls() {
        let target = pairs(&[("__address__", "am:9093")]);
        for (prefix, wanted) in [
            ("", "https://am:9093/api/v2/alerts"),
            ("/", "https://am:9093/api/v2/alerts"),
            ("/am/", "https://am:9093/am/api/v2/alerts"),
        ] {
            let kept = Found::Kept(wanted.to_owned());
            assert_eq!(found(&settings(prefix), &target, &[]), Ok(kept));
        }
        assert_eq!(found(&settings(""), &[], &[]), Err("no address".to_owned()));
        assert!(found(&settings(""), &pairs(&[("__address__", "http://am")]), &[]).is_err());
    }

    #[test]
    fn relabeling_moves_and_drops_them() {
        let rule = |action: Action, source: &str, target: &str, replacement: &str| {
            let config = RuleConfig {
                source_labels: vec![source.to_owned()],
                regex: "(.+)".to_owned(),
                target_label: target.to_owned(),
                replacement: replacement.to_owned(),
                action,
                ..RuleConfig::default()
            };
            Rule::new(config, NameValidation::Utf8).unwrap()
        };
        let mut settings = settings("");
        settings.relabel = vec![rule(Action::Replace, "zone", "__alerts_path__", "/$1")];
        let target = pairs(&[("__address__", "am:1")]);
        let moved = found(&settings, &target, &pairs(&[("zone", "b")]));
        assert_eq!(moved, Ok(Found::Kept("https://am:1/b".to_owned())));
        settings.relabel = vec![rule(Action::Drop, "zone", "", "")];
        let dropped = Found::Dropped("https://am:1/api/v2/alerts".to_owned());
        assert_eq!(
            found(&settings, &target, &pairs(&[("zone", "b")])),
            Ok(dropped)
        );
    }
}
