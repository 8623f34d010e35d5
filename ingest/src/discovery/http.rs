//! `http_sd_configs`: target groups as JSON from a URL.
//!
//! Promise: anything but a whole, sound list is an error, and the last list stays. Not here: the timer (`updates`).

use super::config::HttpSdConfig;
use super::counters::DiscoveryCounters;
use super::group::TargetGroup;
use super::updates::Refresher;
use crate::http_client::{Connection, HttpClient, HttpRequest};
use crate::limits::DISCOVERY_ANSWER_BYTES_MAX;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

const INTERVAL_HEADER: HeaderName =
    HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// One `http_sd_configs` entry at work.
#[derive(Debug)]
pub(super) struct HttpDiscovery {
    config: HttpSdConfig,
    client: HttpClient,
    connection: Connection,
    counters: Arc<DiscoveryCounters>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl HttpDiscovery {
    pub(super) fn new(config: HttpSdConfig, counters: Arc<DiscoveryCounters>) -> Self {
        HttpDiscovery {
            client: HttpClient::new(config.http.clone()),
            connection: Connection::new(),
            counters,
            config,
        }
    }

    async fn ask(&mut self) -> Result<Vec<TargetGroup>, String> {
        let deadline = Instant::now() + self.config.refresh_interval;
        let mut request = HttpRequest::get(&self.config.url, DISCOVERY_ANSWER_BYTES_MAX, deadline);
        let seconds = self.config.refresh_interval.as_secs_f64().to_string();
        request
            .headers
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(value) = HeaderValue::from_str(&seconds) {
            request.headers.insert(INTERVAL_HEADER, value);
        }
        let answer = self.client.request(&mut self.connection, &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status != http::StatusCode::OK {
            return Err(format!(
                "server returned HTTP status {}",
                answer.status_text
            ));
        }
        let content_type = answer.header("content-type");
        if !is_json(content_type.trim()) {
            return Err(format!("unsupported content type {content_type:?}"));
        }
        let list: Option<Vec<Option<Group>>> =
            serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        let url = &self.config.url;
        list.unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(i, group)| {
                let group = group.ok_or_else(|| "nil target group item found".to_owned())?;
                let mut labels = group.labels.unwrap_or_default();
                labels.insert("__meta_url".to_owned(), url.clone());
                Ok(TargetGroup::of_addresses(
                    format!("{url}:{i}"),
                    &group.targets.unwrap_or_default(),
                    labels.into_iter().collect(),
                ))
            })
            .collect()
    }
}

/// `application/json`, alone or as UTF-8.
fn is_json(content_type: &str) -> bool {
    let text = content_type.to_ascii_lowercase();
    match text.split_once(';') {
        None => text == "application/json",
        Some((kind, parameter)) => {
            kind == "application/json"
                && matches!(
                    parameter.trim_start(),
                    "charset=utf-8" | "charset=\"utf-8\""
                )
        }
    }
}

impl Refresher for HttpDiscovery {
    fn refresh(&mut self) -> BoxFuture<'_, Result<Vec<TargetGroup>, String>> {
        Box::pin(async move {
            let found = self.ask().await;
            if found.is_err() {
                self.counters.count("prometheus_sd_http_failures_total");
            }
            found
        })
    }
}
