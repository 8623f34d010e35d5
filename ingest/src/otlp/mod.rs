//! OpenTelemetry's protocol for metrics, OTLP/HTTP: a request in protobuf or JSON becomes a remote write 2.0 message in memory.
//!
//! From there its samples go the way of every other: identity, shards, group commit, answer. Promise: names, labels and types are those of
//! Prometheus's receiver; what cannot be translated is told and costs only itself. No I/O and no clock.
//! Not here: HTTP, storing.

mod histogram;
mod json;
mod labels;
mod model;
mod naming;
mod protobuf;
#[cfg(test)]
mod tests;
mod translate;

pub use naming::{LabelNames, Strategy};

use crate::message::Message;
use translate::Translation;

/// The `otlp` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// Every attribute of a resource becomes a label of its series.
    pub promote_all: bool,
    /// Those that do not, then.
    pub not_promoted: Vec<String>,
    /// Those that do, otherwise.
    pub promoted: Vec<String>,
    /// `target_info` has the attributes too that `job` and `instance` are made of.
    pub keep_identifying: bool,
    /// Histograms with bounds become native histograms with custom buckets.
    pub histograms_to_native: bool,
    /// Name, version and attributes of the scope become labels.
    pub promote_scope: bool,
    /// How names are made.
    pub label_names: LabelNames,
    /// How far back an instant query looks, milliseconds: `target_info` comes at least twice as often.
    pub lookback_delta_ms: i64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        OtlpSettings {
            promote_all: false,
            not_promoted: Vec::new(),
            promoted: Vec::new(),
            keep_identifying: false,
            histograms_to_native: false,
            promote_scope: false,
            label_names: LabelNames {
                strategy: Strategy::default(),
                key_before_underscore: true,
                keep_underscores: true,
            },
            lookback_delta_ms: 300_000,
        }
    }
}

impl OtlpSettings {
    fn keeps_characters(&self) -> bool {
        self.label_names.strategy.keeps_characters()
    }
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

/// A request, translated.
#[derive(Debug, PartialEq)]
pub struct Translated {
    /// A remote write 2.0 message.
    pub message: Vec<u8>,
    /// Points in it.
    pub points: u64,
    /// Points that are not, and why: the first reasons.
    pub lost: u64,
    /// The reasons.
    pub faults: Vec<String>,
}

/// Translates a request; an error is why the body is none. The body may be used up.
pub fn translate(
    body: &mut [u8],
    encoding: OtlpEncoding,
    settings: &OtlpSettings,
) -> Result<Translated, String> {
    let export = match encoding {
        OtlpEncoding::Protobuf => protobuf::read(body).map_err(|e| e.to_string())?,
        OtlpEncoding::Json => json::read(body)?,
    };
    let mut translation = Translation::new(settings);
    translation.take(&export);
    let Translation {
        message,
        faults,
        lost,
        points,
        ..
    } = translation;
    Ok(Translated {
        message: Message::finish(message),
        points,
        lost,
        faults,
    })
}
