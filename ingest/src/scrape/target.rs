//! A target: its labels before and after relabeling, its URL, its place in the schedule, its state for the API.
//!
//! Promise: labels, drop reasons and error texts are Prometheus's. Not here: when targets come and go (`manager`).

use super::config::ScrapeConfig;
use crate::discovery::TargetGroup;
use crate::relabel::{Verdict, process};
use std::fmt::Write;
use std::time::Duration;
use storage_engine::model::{DurationError, format_duration_ms, parse_duration_ms};
use storage_engine::model::{Labels, LabelsBuilder};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";

/// Why a discovered target cannot be scraped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing to connect to.
    #[error("no address")]
    NoAddress,
    /// An address with a path.
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    /// `__scrape_interval__` is no duration.
    #[error("error parsing scrape interval: {0}")]
    Interval(DurationError),
    /// `__scrape_interval__` is 0.
    #[error("scrape interval cannot be 0")]
    ZeroInterval,
    /// `__scrape_timeout__` is no duration.
    #[error("error parsing scrape timeout: {0}")]
    Timeout(DurationError),
    /// `__scrape_timeout__` is 0.
    #[error("scrape timeout cannot be 0")]
    ZeroTimeout,
    /// The timeout is longer than the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutAboveInterval {
        /// As in the label.
        timeout: String,
        /// As in the label.
        interval: String,
    },
}

/// A target that is to be scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// All labels before relabeling, `__meta_*` included.
    pub discovered: Labels,
    /// Labels after relabeling that name the target, `__address__` and the like, included; `__meta_*` removed.
    pub all_labels: Labels,
    /// Labels that its series get: those without a `__` prefix.
    pub labels: Labels,
    /// What to fetch.
    pub url: String,
    /// Time between scrapes.
    pub interval: Duration,
    /// Most time for one scrape.
    pub timeout: Duration,
}

/// What relabeling made of a discovered target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relabeled {
    /// Scrape it.
    Kept(Box<Target>),
    /// A rule dropped it; these are its labels before relabeling.
    Dropped(Labels),
}

/// Labels before relabeling: the target's own, the group's, then the job's defaults where nothing is set.
fn discovered_labels(
    config: &ScrapeConfig,
    own: &[(String, String)],
    group: &[(String, String)],
) -> LabelsBuilder {
    let mut builder = LabelsBuilder::default();
    for (name, value) in own {
        builder.set(name, value);
    }
    for (name, value) in group {
        if !own.iter().any(|(n, _)| n == name) {
            builder.set(name, value);
        }
    }
    let interval = format_duration_ms(config.interval.as_millis() as i64);
    let timeout = format_duration_ms(config.timeout.as_millis() as i64);
    let defaults = [
        ("job", config.job_name.as_str()),
        (INTERVAL, &interval),
        (TIMEOUT, &timeout),
        (METRICS_PATH, &config.metrics_path),
        (SCHEME, config.scheme.as_str()),
    ];
    for (name, value) in defaults {
        if builder.get(name).is_empty() {
            builder.set(name, value);
        }
    }
    for (name, values) in &config.params {
        let label = format!("{PARAM_PREFIX}{name}");
        if let Some(first) = values.first()
            && builder.get(&label).is_empty()
        {
            builder.set(&label, first);
        }
    }
    builder
}

/// Relabels one member of a group.
pub fn relabel_target(
    config: &ScrapeConfig,
    own: &[(String, String)],
    group: &[(String, String)],
) -> Result<Relabeled, TargetError> {
    let mut builder = discovered_labels(config, own, group);
    let discovered = builder.build();
    if process(&mut builder, &config.relabel_configs) == Verdict::Drop {
        return Ok(Relabeled::Dropped(discovered));
    }
    let address = builder.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let interval = read_duration(builder.get(INTERVAL)).map_err(TargetError::Interval)?;
    if interval.is_zero() {
        return Err(TargetError::ZeroInterval);
    }
    let timeout = read_duration(builder.get(TIMEOUT)).map_err(TargetError::Timeout)?;
    if timeout.is_zero() {
        return Err(TargetError::ZeroTimeout);
    }
    if timeout > interval {
        return Err(TargetError::TimeoutAboveInterval {
            timeout: builder.get(TIMEOUT).to_owned(),
            interval: builder.get(INTERVAL).to_owned(),
        });
    }
    if builder.get("instance").is_empty() {
        builder.set("instance", &address);
    }
    let all_labels = builder
        .build()
        .filtered(|name| !name.starts_with("__meta_"));
    let labels = all_labels.filtered(|name| !name.starts_with("__"));
    let url = target_url(&all_labels, &config.params);
    Ok(Relabeled::Kept(Box::new(Target {
        discovered,
        all_labels,
        labels,
        url,
        interval,
        timeout,
    })))
}

/// Relabels a whole group; failures come with the text that Prometheus logs.
pub fn targets_of_group(
    config: &ScrapeConfig,
    group: &TargetGroup,
) -> (Vec<Relabeled>, Vec<String>) {
    let mut targets = Vec::with_capacity(group.targets.len());
    let mut failures = Vec::new();
    for (i, own) in group.targets.iter().enumerate() {
        match relabel_target(config, own, &group.labels) {
            Ok(target) => targets.push(target),
            Err(error) => {
                failures.push(format!("instance {i} in group {}: {error}", group.source));
            }
        }
    }
    (targets, failures)
}

impl Target {
    /// The value of `__scrape_interval__`, as the API shows it.
    pub fn interval_text(&self) -> &str {
        self.all_labels.value(INTERVAL)
    }

    /// The value of `__scrape_timeout__`, as the API shows it.
    pub fn timeout_text(&self) -> &str {
        self.all_labels.value(TIMEOUT)
    }

    /// Decides the place in the schedule: equal for equal labels and URL, on every start.
    pub fn schedule_hash(&self) -> u64 {
        xxh3_64_with_seed(self.url.as_bytes(), self.all_labels.prometheus_hash())
    }

    /// Time from `now_ns` to the target's next slot. Slots are pinned to absolute time, so a restart keeps them, and
    /// spread over the interval by the hash; `seed` tells apart servers that scrape the same targets.
    pub fn offset(&self, now_ns: i64, seed: u64) -> Duration {
        let interval = i64::try_from(self.interval.as_nanos()).unwrap_or(i64::MAX);
        let base = interval - now_ns.rem_euclid(interval);
        let slot = (self.schedule_hash() ^ seed) % interval.unsigned_abs();
        let next = base.unsigned_abs() + slot;
        let next = if next > interval.unsigned_abs() {
            next - interval.unsigned_abs()
        } else {
            next
        };
        Duration::from_nanos(next)
    }
}

fn target_url(labels: &Labels, configured: &[(String, Vec<String>)]) -> String {
    let mut params: Vec<(String, Vec<String>)> = configured.to_vec();
    for (name, value) in labels {
        let Some(key) = name.strip_prefix(PARAM_PREFIX) else {
            continue;
        };
        match params.iter_mut().find(|(k, _)| k == key) {
            Some((_, values)) => match values.first_mut() {
                Some(first) => value.clone_into(first),
                None => values.push(value.to_owned()),
            },
            None => params.push((key.to_owned(), vec![value.to_owned()])),
        }
    }
    params.sort_by(|a, b| a.0.cmp(&b.0));
    let path = labels.value(METRICS_PATH);
    let mut url = format!("{}://{}", labels.value(SCHEME), labels.value(ADDRESS));
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(&mut url, path, b"$&+,/:;=@-_.~", false);
    let mut separator = '?';
    for (key, values) in &params {
        for value in values {
            url.push(separator);
            escape(&mut url, key, b"-_.~", true);
            url.push('=');
            escape(&mut url, value, b"-_.~", true);
            separator = '&';
        }
    }
    url
}

/// Percent-encoding as Go's `net/url`: letters, digits and `plain` stay.
fn escape(out: &mut String, text: &str, plain: &[u8], space_is_plus: bool) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else if byte == b' ' && space_is_plus {
            out.push('+');
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// How others reach this server: for `globalUrl` of the targets API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalUrlOptions {
    /// `host:port` that this server listens on.
    pub listen_address: String,
    /// Host (and port) of `--web.external-url`.
    pub host: String,
    /// Scheme of `--web.external-url`.
    pub scheme: String,
}

/// The URL as it works from elsewhere: `localhost` becomes the external host.
pub fn global_url(url: &str, options: &GlobalUrlOptions) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((host, port)) = authority.rsplit_once(':') else {
        return url.to_owned();
    };
    let host = host.trim_matches(['[', ']']);
    if !matches!(host, "127.0.0.1" | "localhost" | "::1") {
        return url.to_owned();
    }
    match options.listen_address.rsplit_once(':') {
        Some((_, own_port)) if own_port == port => {
            format!("{}://{}{tail}", options.scheme, options.host)
        }
        Some(_) => {
            let external = options
                .host
                .rsplit_once(':')
                .map_or(options.host.as_str(), |(h, _)| h);
            format!("{scheme}://{external}:{port}{tail}")
        }
        None => url.to_owned(),
    }
}

fn read_duration(text: &str) -> Result<Duration, DurationError> {
    // The reader never yields a negative number.
    parse_duration_ms(text).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::{Action, Rule, RuleConfig};
    use crate::scrape::config::{NameValidation, Scheme};

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect()
    }

    fn config() -> ScrapeConfig {
        ScrapeConfig {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            scheme: Scheme::Https,
            ..ScrapeConfig::new("job")
        }
    }

    fn kept(config: &ScrapeConfig, own: &[(&str, &str)], group: &[(&str, &str)]) -> Target {
        match relabel_target(config, &pairs(own), &pairs(group)).unwrap() {
            Relabeled::Kept(target) => *target,
            Relabeled::Dropped(labels) => panic!("dropped {labels}"),
        }
    }

    fn replace(target: &str, replacement: &str) -> Rule {
        let config = RuleConfig {
            target_label: target.into(),
            replacement: replacement.into(),
            ..RuleConfig::default()
        };
        Rule::new(config, NameValidation::Utf8).unwrap()
    }

    #[test]
    fn labels_before_and_after() {
        let t = kept(
            &config(),
            &[("__address__", "1.2.3.4:1000"), ("custom", "own")],
            &[("custom", "group"), ("g", "x"), ("__meta_y", "z")],
        );
        assert_eq!(
            t.discovered.to_string(),
            r#"{__address__="1.2.3.4:1000", __meta_y="z", __metrics_path__="/metrics", __scheme__="https", __scrape_interval__="1s", __scrape_timeout__="1s", custom="own", g="x", job="job"}"#
        );
        assert_eq!(
            t.all_labels.to_string(),
            r#"{__address__="1.2.3.4:1000", __metrics_path__="/metrics", __scheme__="https", __scrape_interval__="1s", __scrape_timeout__="1s", custom="own", g="x", instance="1.2.3.4:1000", job="job"}"#
        );
        assert_eq!(
            t.labels.to_string(),
            r#"{custom="own", g="x", instance="1.2.3.4:1000", job="job"}"#
        );
        assert_eq!(t.url, "https://1.2.3.4:1000/metrics");
    }

    #[test]
    fn labels_override_the_configuration() {
        let t = kept(
            &config(),
            &[
                ("__address__", "h"),
                ("instance", "mine"),
                ("job", "other"),
                ("__scheme__", "http"),
                ("__metrics_path__", "custom/päth"),
                ("__scrape_interval__", "2s"),
                ("__scrape_timeout__", "500ms"),
            ],
            &[],
        );
        assert_eq!(t.labels.to_string(), r#"{instance="mine", job="other"}"#);
        assert_eq!(t.url, "http://h/custom/p%C3%A4th");
        assert_eq!(
            (t.interval, t.timeout),
            (Duration::from_secs(2), Duration::from_millis(500))
        );
        assert_eq!((t.interval_text(), t.timeout_text()), ("2s", "500ms"));
    }

    #[test]
    fn parameters_come_from_labels_first() {
        let config = ScrapeConfig {
            params: vec![
                ("m[]".into(), vec!["a b".into(), "c".into()]),
                ("z".into(), vec![]),
            ],
            relabel_configs: vec![
                replace("__param_target", "x&y"),
                replace("__param_m[]", "new"),
            ],
            ..config()
        };
        let t = kept(&config, &[("__address__", "h:1")], &[]);
        assert_eq!(
            t.url,
            "https://h:1/metrics?m%5B%5D=new&m%5B%5D=c&target=x%26y"
        );
        assert!(t.discovered.get("__param_m[]") == Some("a b"));
    }

    #[test]
    fn dropped_and_refused_targets() {
        let drop = Rule::new(
            RuleConfig {
                action: Action::Drop,
                source_labels: vec!["x".into()],
                regex: "1".into(),
                ..RuleConfig::default()
            },
            NameValidation::Utf8,
        )
        .unwrap();
        let with_drop = ScrapeConfig {
            relabel_configs: vec![drop],
            ..config()
        };
        let outcome = relabel_target(&with_drop, &pairs(&[("__address__", "h"), ("x", "1")]), &[]);
        let Ok(Relabeled::Dropped(labels)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(labels.get("x"), Some("1"));

        for (own, text) in [
            (vec![("a", "b")], "no address"),
            (
                vec![("__address__", "h/p")],
                "\"h/p\" is not a valid hostname",
            ),
            (
                vec![("__address__", "h"), ("__scrape_interval__", "x")],
                "error parsing scrape interval: not a valid duration string: \"x\"",
            ),
            (
                vec![("__address__", "h"), ("__scrape_interval__", "0s")],
                "scrape interval cannot be 0",
            ),
            (
                vec![("__address__", "h"), ("__scrape_timeout__", "0s")],
                "scrape timeout cannot be 0",
            ),
            (
                vec![("__address__", "h"), ("__scrape_timeout__", "2s")],
                "scrape timeout cannot be greater than scrape interval (\"2s\" > \"1s\")",
            ),
        ] {
            let error = relabel_target(&config(), &pairs(&own), &[]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn slots_are_pinned_to_absolute_time_and_spread() {
        let mut slots = Vec::new();
        for i in 0..200 {
            let t = kept(&config(), &[("__address__", &format!("h{i}:1"))], &[]);
            let second = 1_000_000_000_i64;
            let at = |now: i64| (now + t.offset(now, 7).as_nanos() as i64) % second;
            assert_eq!(at(123_456_789), at(987_654_321_012));
            assert!(t.offset(5, 7) <= t.interval);
            slots.push(at(0));
        }
        slots.sort_unstable();
        let first_half = slots.iter().filter(|s| **s < 500_000_000).count();
        assert!(
            (60..=140).contains(&first_half),
            "{first_half} of 200 in the first half"
        );
    }

    #[test]
    fn global_urls() {
        let options = GlobalUrlOptions {
            listen_address: "0.0.0.0:9090".into(),
            host: "prom.example:443".into(),
            scheme: "https".into(),
        };
        for (url, expected) in [
            (
                "http://localhost:9090/metrics",
                "https://prom.example:443/metrics",
            ),
            (
                "http://[::1]:9100/metrics?x=y",
                "http://prom.example:9100/metrics?x=y",
            ),
            ("http://other:9090/m", "http://other:9090/m"),
            ("http://localhost/m", "http://localhost/m"),
        ] {
            assert_eq!(global_url(url, &options), expected);
        }
    }
}
