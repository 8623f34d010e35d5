//! `global`, and the small sections: `runtime`, `storage`, `tracing`, `otlp`.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::http_client::Tls;
use crate::config::field::{Bytes, FilePath, LabelSet, Ms, section};
use crate::config::yaml::{Node, Problem};
use ingest::scrape::config::ScrapeProtocol;
use std::collections::BTreeMap;

section! {
    /// What holds for all jobs that do not say otherwise.
    Global as "config.plain" checked by check_global {
        scrape_interval: Ms = Ms::secs(60), filled;
        scrape_timeout: Ms = Ms(0), filled;
        scrape_protocols: Vec<String> = Vec::new(), filled;
        evaluation_interval: Ms = Ms::secs(60), filled;
        rule_query_offset: Ms = Ms(0), filled;
        query_log_file: FilePath = FilePath::default(), filled;
        scrape_failure_log_file: FilePath = FilePath::default(), filled;
        external_labels: LabelSet = LabelSet::default(), filled;
        body_size_limit: Bytes = Bytes(0), filled;
        sample_limit: u64 = 0, filled;
        target_limit: u64 = 0, filled;
        label_limit: u64 = 0, filled;
        label_name_length_limit: u64 = 0, filled;
        label_value_length_limit: u64 = 0, filled;
        keep_dropped_targets: u64 = 0, filled;
        metric_name_validation_scheme: String = String::new(), filled;
        metric_name_escaping_scheme: String = String::new(), filled;
        scrape_native_histograms: bool = false, always;
        convert_classic_histograms_to_nhcb: bool = false, filled;
        always_scrape_classic_histograms: bool = false, filled;
        extra_scrape_metrics: bool = false, filled;
    }
}

section! {
    /// Go's runtime; kept for what reads the configuration back.
    Runtime as "config.RuntimeConfig" {
        gogc: i64 = 75, filled;
    }
}

section! {
    /// How long blocks are kept.
    Retention as "config.TSDBRetentionConfig" checked by check_retention {
        time: Ms = Ms(0), filled;
        size: Bytes = Bytes(0), filled;
        percentage: f64 = 0.0, filled;
    }
}

section! {
    /// Chunk encodings by kind of sample.
    ChunkEncoding as "config.plain" {
        floats: String = String::new(), filled;
    }
}

section! {
    /// The database.
    Tsdb as "config.plain" {
        out_of_order_time_window: Ms = Ms(0), filled;
        stale_series_compaction_threshold: f64 = 0.0, filled;
        chunk_encoding: Option<ChunkEncoding> = None, filled;
        retention: Option<Retention> = None, filled;
    }
}

/// Prometheus's default of `max_exemplars`.
pub const EXEMPLARS_MAX: i64 = 100_000;

section! {
    /// Exemplars.
    Exemplars as "config.ExemplarsConfig" {
        max_exemplars: i64 = EXEMPLARS_MAX, filled;
    }
}

section! {
    /// What is stored how.
    Storage as "config.StorageConfig" {
        tsdb: Option<Tsdb> = None, filled;
        exemplars: Option<Exemplars> = None, filled;
    }
}

section! {
    /// Where our own traces go.
    Tracing as "config.plain" checked by check_tracing {
        client_type: String = "grpc".to_owned(), filled;
        endpoint: String = String::new(), filled;
        sampling_fraction: f64 = 0.0, filled;
        insecure: bool = false, filled;
        tls_config: Tls = Tls::default(), filled;
        headers: BTreeMap<String, String> = BTreeMap::new(), filled;
        compression: String = String::new(), filled;
        timeout: Ms = Ms(0), filled;
    }
}

section! {
    /// How OpenTelemetry's names and attributes become ours.
    Otlp as "config.plain" checked by check_otlp {
        promote_all_resource_attributes: bool = false, filled;
        promote_resource_attributes: Vec<String> = Vec::new(), filled;
        ignore_resource_attributes: Vec<String> = Vec::new(), filled;
        translation_strategy: String = "UnderscoreEscapingWithSuffixes".to_owned(), filled;
        keep_identifying_resource_attributes: bool = false, filled;
        convert_histograms_to_nhcb: bool = false, filled;
        promote_scope_metadata: bool = false, filled;
        label_name_underscore_sanitization: bool = true, filled;
        label_name_preserve_multiple_underscores: bool = true, filled;
    }
}

impl Storage {
    /// Fields that are read and change nothing.
    pub fn inactive(&self) -> Vec<&'static str> {
        let mut out = Vec::new();
        if let Some(tsdb) = &self.tsdb {
            if tsdb.stale_series_compaction_threshold != 0.0 {
                out.push("storage.tsdb.stale_series_compaction_threshold");
            }
            if tsdb.chunk_encoding.is_some() {
                out.push("storage.tsdb.chunk_encoding");
            }
        }
        out
    }
}

fn check_retention(retention: &mut Retention, node: &Node) -> Result<(), Problem> {
    if (0.0..=100.0).contains(&retention.percentage) {
        return Ok(());
    }
    Err(Problem::new(
        node.place_of("percentage"),
        "'storage.tsdb.retention.percentage' must be in the range [0, 100]",
    ))
}

/// Prometheus's default of `scrape_timeout`.
const SCRAPE_TIMEOUT: Ms = Ms::secs(10);

fn check_global(global: &mut Global, node: &Node) -> Result<(), Problem> {
    if global.scrape_interval.0 == 0 {
        global.scrape_interval = Ms::secs(60);
    }
    if global.scrape_timeout > global.scrape_interval {
        return Err(Problem::new(
            node.place_of("scrape_timeout"),
            "global scrape timeout greater than scrape interval",
        ));
    }
    if global.scrape_timeout.0 == 0 {
        global.scrape_timeout = SCRAPE_TIMEOUT.min(global.scrape_interval);
    }
    if global.evaluation_interval.0 == 0 {
        global.evaluation_interval = Ms::secs(60);
    }
    check_schemes(
        &global.metric_name_validation_scheme,
        &global.metric_name_escaping_scheme,
        node,
    )?;
    if global.metric_name_validation_scheme.is_empty() {
        "utf8".clone_into(&mut global.metric_name_validation_scheme);
    }
    if node.get("scrape_protocols").is_some_and(|n| !n.is_null()) {
        check_protocols(&global.scrape_protocols, node)
            .map_err(|p| Problem::new(p.place, format!("{} for global config", p.reason)))?;
    }
    Ok(())
}

/// Are these names of schemes? Empty means inherited.
pub fn check_schemes(validation: &str, escaping: &str, node: &Node) -> Result<(), Problem> {
    if !["", "utf8", "legacy"].contains(&validation) {
        return Err(Problem::new(
            node.place_of("metric_name_validation_scheme"),
            format!(
                "unknown metric name validation method specified, must be either '', 'legacy' or 'utf8', got {validation}"
            ),
        ));
    }
    if !["", "allow-utf-8", "underscores", "dots", "values"].contains(&escaping) {
        return Err(Problem::new(
            node.place_of("metric_name_escaping_scheme"),
            format!(
                "unknown metric name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {escaping}"
            ),
        ));
    }
    Ok(())
}

/// Known protocols, each once, at least one.
pub fn check_protocols(names: &[String], node: &Node) -> Result<(), Problem> {
    let list = node.get("scrape_protocols").unwrap_or(node);
    if names.is_empty() {
        return Err(Problem::new(list.place, "scrape_protocols cannot be empty"));
    }
    for (i, name) in names.iter().enumerate() {
        let place = list.item(i).map_or(list.place, |n| n.place);
        if ScrapeProtocol::from_name(name).is_none() {
            return Err(Problem::new(place, unknown_protocol(name)));
        }
        if names.iter().take(i).any(|n| n == name) {
            return Err(Problem::new(
                place,
                format!(
                    "duplicated protocol in scrape_protocols, got [{}]",
                    names.join(" ")
                ),
            ));
        }
    }
    Ok(())
}

/// Prometheus's text for a protocol that it does not know.
pub fn unknown_protocol(name: &str) -> String {
    let known: Vec<&str> = ScrapeProtocol::ALL.iter().map(|p| p.name()).collect();
    format!(
        "unknown scrape protocol {name}, supported: [{}]",
        known.join(" ")
    )
}

fn check_tracing(tracing: &mut Tracing, node: &Node) -> Result<(), Problem> {
    if !["grpc", "http", ""].contains(&tracing.client_type.as_str()) {
        return Err(Problem::new(
            node.place_of("client_type"),
            "expected tracing client type to be grpc or http",
        ));
    }
    if tracing.endpoint.is_empty() {
        return Err(Problem::new(node.place, "tracing endpoint must be set"));
    }
    if !["", "gzip"].contains(&tracing.compression.as_str()) {
        return Err(Problem::new(
            node.place_of("compression"),
            format!("invalid compression type {}", tracing.compression),
        ));
    }
    Ok(())
}

fn check_otlp(otlp: &mut Otlp, node: &Node) -> Result<(), Problem> {
    const STRATEGIES: [&str; 4] = [
        "UnderscoreEscapingWithSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoTranslation",
    ];
    if !STRATEGIES.contains(&otlp.translation_strategy.as_str()) {
        return Err(Problem::new(
            node.place_of("translation_strategy"),
            format!(
                "unsupported OTLP translation strategy {:?}",
                otlp.translation_strategy
            ),
        ));
    }
    if otlp.promote_all_resource_attributes && !otlp.promote_resource_attributes.is_empty() {
        return Err(Problem::new(
            node.place_of("promote_resource_attributes"),
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
        ));
    }
    if !otlp.promote_all_resource_attributes && !otlp.ignore_resource_attributes.is_empty() {
        return Err(Problem::new(
            node.place_of("ignore_resource_attributes"),
            "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
        ));
    }
    for (key, list) in [
        (
            "promote_resource_attributes",
            &otlp.promote_resource_attributes,
        ),
        (
            "ignore_resource_attributes",
            &otlp.ignore_resource_attributes,
        ),
    ] {
        for (i, name) in list.iter().enumerate() {
            let place = node
                .get(key)
                .and_then(|n| n.item(i))
                .map_or(node.place, |n| n.place);
            if name.trim().is_empty() {
                return Err(Problem::new(
                    place,
                    format!("empty resource attribute in '{key}'"),
                ));
            }
            if list.iter().take(i).any(|n| n == name) {
                return Err(Problem::new(
                    place,
                    format!("duplicated resource attribute {name:?} in '{key}'"),
                ));
            }
        }
    }
    Ok(())
}
