//! `scrape_configs`: one job as written, and as the scraper takes it after `global` has filled the gaps.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::discovery::Discovery;
use super::global::{Global, check_protocols, check_schemes, unknown_protocol};
use super::http_client::HttpClient;
use super::relabel::{Relabel, under_scheme};
use crate::config::field::{Bytes, Field, FilePath, Ms, section};
use crate::config::yaml::{Node, Out, Problem, Value};
use ingest::scrape::config::{NameEscaping, NameValidation, Scheme, ScrapeConfig, ScrapeProtocol};
use std::collections::BTreeMap;

section! {
    /// One job.
    Job as "config.plain" checked by check_job {
        job_name: String = String::new(), always;
        honor_labels: bool = false, filled;
        honor_timestamps: bool = true, always;
        track_timestamps_staleness: bool = false, always;
        params: BTreeMap<String, Vec<String>> = BTreeMap::new(), filled;
        scrape_interval: Ms = Ms(0), filled;
        scrape_timeout: Ms = Ms(0), filled;
        scrape_protocols: Vec<String> = Vec::new(), filled;
        fallback_scrape_protocol: String = String::new(), filled;
        scrape_native_histograms: Option<bool> = None, filled;
        always_scrape_classic_histograms: Option<bool> = None, filled;
        convert_classic_histograms_to_nhcb: Option<bool> = None, filled;
        scrape_failure_log_file: FilePath = FilePath::default(), filled;
        metrics_path: String = "/metrics".to_owned(), filled;
        scheme: String = "http".to_owned(), filled;
        enable_compression: bool = true, always;
        body_size_limit: Bytes = Bytes(0), filled;
        sample_limit: u64 = 0, filled;
        target_limit: u64 = 0, filled;
        label_limit: u64 = 0, filled;
        label_name_length_limit: u64 = 0, filled;
        label_value_length_limit: u64 = 0, filled;
        native_histogram_bucket_limit: u64 = 0, filled;
        native_histogram_min_bucket_factor: f64 = 0.0, filled;
        keep_dropped_targets: u64 = 0, filled;
        metric_name_validation_scheme: String = String::new(), filled;
        metric_name_escaping_scheme: String = String::new(), filled;
        extra_scrape_metrics: Option<bool> = None, filled;
        client: HttpClient = HttpClient::default(), inline;
        relabel_configs: Vec<Relabel> = Vec::new(), filled;
        metric_relabel_configs: Vec<Relabel> = Vec::new(), filled;
        discovery: Discovery = Discovery::default(), inline;
    }
}

/// What is asked for where the file names no protocols, perhaps protobuf before all else.
pub fn protocol_names(protobuf_first: bool) -> Vec<String> {
    let protobuf = protobuf_first.then_some(ScrapeProtocol::PrometheusProto);
    let all = protobuf.into_iter().chain(ScrapeProtocol::DEFAULT);
    all.map(|protocol| protocol.name().to_owned()).collect()
}

fn check_job(job: &mut Job, node: &Node) -> Result<(), Problem> {
    if node.is_null() {
        return Err(Problem::new(
            node.place,
            "empty or null scrape config section",
        ));
    }
    if job.job_name.is_empty() {
        return Err(Problem::new(node.place_of("job_name"), "job_name is empty"));
    }
    let for_job = |p: Problem| {
        Problem::new(
            p.place,
            format!(
                "{} for scrape config with job name {:?}",
                p.reason, job.job_name
            ),
        )
    };
    if node.get("scrape_protocols").is_some_and(|n| !n.is_null()) {
        check_protocols(&job.scrape_protocols, node).map_err(for_job)?;
    }
    let fallback = &job.fallback_scrape_protocol;
    if !fallback.is_empty() && ScrapeProtocol::from_name(fallback).is_none() {
        return Err(Problem::new(
            node.place_of("fallback_scrape_protocol"),
            format!(
                "invalid fallback_scrape_protocol for scrape config with job name {:?}: {}",
                job.job_name,
                unknown_protocol(fallback)
            ),
        ));
    }
    check_schemes(
        &job.metric_name_validation_scheme,
        &job.metric_name_escaping_scheme,
        node,
    )?;
    if !["http", "https"].contains(&job.scheme.as_str()) {
        return Err(Problem::new(
            node.place_of("scheme"),
            format!(
                "unknown scheme {:?}, must be \"http\" or \"https\"",
                job.scheme
            ),
        ));
    }
    check_discovery(node)?;
    if job.relabel_configs.is_empty() {
        check_static_targets(job, node)?;
    }
    if !job.metrics_path.starts_with('/') && !job.metrics_path.is_empty() {
        // Prometheus joins it to the address with a slash in between.
        job.metrics_path.insert(0, '/');
    }
    Ok(())
}

/// No list of a discovery may have an empty entry.
fn check_discovery(node: &Node) -> Result<(), Problem> {
    let Value::Map(entries) = &node.value else {
        return Ok(());
    };
    for (key, list) in entries {
        let Value::Seq(items) = &list.value else {
            continue;
        };
        let discovery = key.text == "static_configs" || key.text.ends_with("_sd_configs");
        if let Some(item) = items.iter().find(|item| discovery && item.is_null()) {
            return Err(Problem::new(
                item.place,
                format!("empty or null section in {}", key.text),
            ));
        }
    }
    Ok(())
}

/// A target with a slash is a URL put where an address belongs. Relabeling may make an address of it, as for a prober, so jobs with rules are free.
fn check_static_targets(job: &Job, node: &Node) -> Result<(), Problem> {
    for (g, group) in job.discovery.static_configs.iter().enumerate() {
        for (i, target) in group.targets.iter().enumerate() {
            if target.contains('/') {
                let place = node
                    .get("static_configs")
                    .and_then(|groups| groups.item(g))
                    .and_then(|group| group.get("targets"))
                    .and_then(|targets| targets.item(i))
                    .map_or(node.place, |target| target.place);
                return Err(Problem::new(
                    place,
                    format!("{target:?} is not a valid hostname"),
                ));
            }
        }
    }
    Ok(())
}

impl Job {
    /// Takes from `global` what the job leaves open, and checks what depends on both. Sets what is written, too.
    pub fn inherit(&mut self, global: &Global, node: &Node) -> Result<(), Problem> {
        if self.scrape_interval.0 == 0 {
            self.scrape_interval = global.scrape_interval;
        }
        if self.scrape_timeout > self.scrape_interval {
            return Err(Problem::new(
                node.place_of("scrape_timeout"),
                format!(
                    "scrape timeout greater than scrape interval for scrape config with job name {:?}",
                    self.job_name
                ),
            ));
        }
        if self.scrape_timeout.0 == 0 {
            self.scrape_timeout = global.scrape_timeout.min(self.scrape_interval);
        }
        let limits = [
            (&mut self.sample_limit, global.sample_limit),
            (&mut self.target_limit, global.target_limit),
            (&mut self.label_limit, global.label_limit),
            (
                &mut self.label_name_length_limit,
                global.label_name_length_limit,
            ),
            (
                &mut self.label_value_length_limit,
                global.label_value_length_limit,
            ),
            (&mut self.keep_dropped_targets, global.keep_dropped_targets),
            (&mut self.body_size_limit.0, global.body_size_limit.0),
        ];
        for (own, inherited) in limits {
            if *own == 0 {
                *own = inherited;
            }
        }
        if self.scrape_failure_log_file.0.is_empty() {
            self.scrape_failure_log_file = global.scrape_failure_log_file.clone();
        }
        let or_global = |own: &mut String, inherited: &str, default: &str| {
            if own.is_empty() {
                *own = if inherited.is_empty() {
                    default
                } else {
                    inherited
                }
                .to_owned();
            }
        };
        or_global(
            &mut self.metric_name_validation_scheme,
            &global.metric_name_validation_scheme,
            "utf8",
        );
        let escaping_default = match self.metric_name_validation_scheme.as_str() {
            "legacy" => "underscores",
            _ => "allow-utf-8",
        };
        or_global(
            &mut self.metric_name_escaping_scheme,
            &global.metric_name_escaping_scheme,
            escaping_default,
        );
        if self.metric_name_validation_scheme == "legacy"
            && self.metric_name_escaping_scheme == "allow-utf-8"
        {
            return Err(Problem::new(
                node.place_of("metric_name_escaping_scheme"),
                format!(
                    "utf8 metric names requested but validation scheme is not set to UTF8 for scrape config with job name {:?}",
                    self.job_name
                ),
            ));
        }
        let native = *self
            .scrape_native_histograms
            .get_or_insert(global.scrape_native_histograms);
        self.always_scrape_classic_histograms
            .get_or_insert(global.always_scrape_classic_histograms);
        self.convert_classic_histograms_to_nhcb
            .get_or_insert(global.convert_classic_histograms_to_nhcb);
        self.extra_scrape_metrics
            .get_or_insert(global.extra_scrape_metrics);
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols = global.scrape_protocols.clone();
        }
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols = protocol_names(native);
        }
        // Label names that only the UTF-8 scheme allows are refused under the legacy one.
        for key in ["relabel_configs", "metric_relabel_configs"] {
            let rules = match key {
                "relabel_configs" => &self.relabel_configs,
                _ => &self.metric_relabel_configs,
            };
            under_scheme(rules, self.validation(), Some(node), key)?;
        }
        Ok(())
    }

    fn validation(&self) -> NameValidation {
        match self.metric_name_validation_scheme.as_str() {
            "legacy" => NameValidation::Legacy,
            _ => NameValidation::Utf8,
        }
    }

    /// As the scraper takes it; call after [`Job::inherit`].
    pub fn plain(&self) -> Result<ScrapeConfig, Problem> {
        let protocols = self.scrape_protocols.iter();
        Ok(ScrapeConfig {
            job_name: self.job_name.clone(),
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps,
            track_timestamps_staleness: self.track_timestamps_staleness,
            params: self.params.clone().into_iter().collect(),
            interval: self.scrape_interval.std(),
            timeout: self.scrape_timeout.std(),
            protocols: protocols
                .filter_map(|p| ScrapeProtocol::from_name(p))
                .collect(),
            fallback_protocol: ScrapeProtocol::from_name(&self.fallback_scrape_protocol),
            metrics_path: self.metrics_path.clone(),
            scheme: match self.scheme.as_str() {
                "https" => Scheme::Https,
                _ => Scheme::Http,
            },
            enable_compression: self.enable_compression,
            body_size_limit: self.body_size_limit.0,
            sample_limit: self.sample_limit,
            target_limit: self.target_limit,
            label_limit: self.label_limit,
            label_name_length_limit: self.label_name_length_limit,
            label_value_length_limit: self.label_value_length_limit,
            keep_dropped_targets: self.keep_dropped_targets,
            extra_scrape_metrics: self.extra_scrape_metrics.unwrap_or(false),
            created_lines_are_starts: false,
            native_histograms: self.scrape_native_histograms.unwrap_or(false),
            classic_histograms: self.always_scrape_classic_histograms.unwrap_or(false),
            native_histogram_bucket_limit: self.native_histogram_bucket_limit,
            native_histogram_min_bucket_factor: self.native_histogram_min_bucket_factor,
            name_validation: self.validation(),
            name_escaping: match self.metric_name_escaping_scheme.as_str() {
                "underscores" => NameEscaping::Underscores,
                "dots" => NameEscaping::Dots,
                "values" => NameEscaping::Values,
                _ => NameEscaping::AllowUtf8,
            },
            http: self.client.plain(),
            static_configs: self.discovery.plain_static(),
            discovery: self.discovery.plain(),
            relabel_configs: under_scheme(
                &self.relabel_configs,
                self.validation(),
                None,
                "relabel_configs",
            )?,
            metric_relabel_configs: under_scheme(
                &self.metric_relabel_configs,
                self.validation(),
                None,
                "metric_relabel_configs",
            )?,
        })
    }

    /// The job's own section as text, for `/api/v1/scrape_pools/config`.
    pub fn to_yaml(&self) -> String {
        let out: Out = self.encode();
        crate::config::yaml::write(&out)
    }
}
