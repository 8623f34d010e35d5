//! `meta.json` of a Prometheus block.
//!
//! Promise: fields that this program does not know are kept out, not refused; another version of the file is refused.

use crate::model::TimestampMs;
use serde::{Deserialize, Serialize};

/// Name of the file in a block's directory.
pub const META_FILE: &str = "meta.json";
/// The only version there is.
const META_VERSION: u32 = 1;

/// What a block says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusMeta {
    /// The block's name: a ULID of 26 characters.
    pub ulid: String,
    /// Time of the oldest sample, or before it.
    pub min_time: TimestampMs,
    /// Behind the time of the newest sample.
    pub max_time: TimestampMs,
    /// Counts.
    #[serde(default)]
    pub stats: PrometheusStats,
    /// Where it comes from.
    #[serde(default)]
    pub compaction: PrometheusCompaction,
    /// Version of this file.
    pub version: u32,
}

/// Counts of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusStats {
    /// Samples of all kinds.
    pub num_samples: u64,
    /// Float samples; only newer versions of Prometheus write it.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histogram samples; only newer versions of Prometheus write it.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    pub num_series: u64,
    /// Chunks.
    pub num_chunks: u64,
    /// Deleted ranges.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// The history of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrometheusCompaction {
    /// How often it was compacted; 1 for a block from the head.
    pub level: u32,
    /// The blocks of level 1 in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The blocks that it was made from and that it stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<PrometheusParent>,
    /// Prometheus is about to remove the block.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// Remarks, such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A block that another one stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusParent {
    /// Its name.
    pub ulid: String,
    /// Its range.
    pub min_time: TimestampMs,
    /// Its range.
    pub max_time: TimestampMs,
}

impl PrometheusCompaction {
    /// Does the block hold samples that came late, beside those of other blocks?
    pub fn is_out_of_order(&self) -> bool {
        self.hints.iter().any(|hint| hint == "from-out-of-order")
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl PrometheusMeta {
    /// A block that begins a history of its own.
    pub(super) fn new(ulid: String) -> PrometheusMeta {
        PrometheusMeta {
            min_time: 0,
            max_time: 0,
            stats: PrometheusStats::default(),
            compaction: PrometheusCompaction {
                level: 1,
                sources: vec![ulid.clone()],
                ..PrometheusCompaction::default()
            },
            version: META_VERSION,
            ulid,
        }
    }

    /// The file's bytes, in the shape that Prometheus gives them.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, tabs);
        self.serialize(&mut serializer)?;
        out.push(b'\n');
        Ok(out)
    }

    /// Reads the file's bytes; the error says what is wrong.
    pub(super) fn from_json(bytes: &[u8]) -> Result<PrometheusMeta, String> {
        let meta: PrometheusMeta =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if meta.version != META_VERSION {
            return Err(format!("unexpected meta file version {}", meta.version));
        }
        if meta.min_time > meta.max_time {
            return Err(format!(
                "its time range [{}, {}) is upside down",
                meta.min_time, meta.max_time
            ));
        }
        Ok(meta)
    }
}
