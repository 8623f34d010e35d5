//! The one form in which pushed metrics are kept: `Metric` messages whose labels are sorted and carry the group's labels.
//!
//! Every message stands as a field of a `MetricFamily`, so the messages of one family from many groups make a page by being put one
//! behind the other.

use super::check;
use super::family::{Family, Kind, Label, Metric, Parsed};
use super::key::Grouping;
use super::message::{FAMILY_METRIC, METRIC_LABEL, put_bytes, put_number};
use super::{PUSH_FAILURE_NAME, PUSH_TIME_NAME};
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A family of a group as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedFamily {
    /// Its name.
    pub name: Arc<str>,
    /// Its help, if it came with one.
    pub help: Option<Arc<str>>,
    /// Its type.
    pub kind: Kind,
    /// Its metrics, each a field of a `MetricFamily` message.
    pub metrics: Bytes,
    /// For each metric a hash of its labels, seeded.
    pub(super) hashes: Arc<[u64]>,
}

impl EncodedFamily {
    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let help = self.help.as_ref().map_or(0, |help| help.len());
        self.name.len() + help + self.metrics.len() + self.hashes.len() * 8
    }
}

/// A push that has been read: what is to be kept of it, and what is wrong with it already.
#[derive(Debug, Clone)]
pub struct PreparedPush {
    /// Families in the order of the body, without those that the gateway itself makes.
    pub families: Vec<EncodedFamily>,
    /// Why it cannot be taken, one text for each fault found.
    pub(super) faults: check::Faults,
    pub(super) has_timestamps: bool,
}

impl PreparedPush {
    /// Metrics in it.
    pub fn metric_count(&self) -> usize {
        self.families.iter().map(|f| f.hashes.len()).sum()
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.families.iter().map(EncodedFamily::size).sum()
    }
}

/// Gives every metric the group's labels and brings it into the form that is kept.
pub(super) fn prepare(parsed: &Parsed<'_>, grouping: &Grouping, seed: u64) -> PreparedPush {
    let mut out = PreparedPush {
        families: Vec::with_capacity(parsed.families.len()),
        faults: check::Faults::default(),
        has_timestamps: false,
    };
    let mut encoder = Encoder::new(grouping, seed);
    for family in &parsed.families {
        out.has_timestamps |= family.metrics.iter().any(|m| m.has_timestamp);
        if matches!(&*family.name, PUSH_TIME_NAME | PUSH_FAILURE_NAME) {
            continue;
        }
        out.families
            .push(encoder.family(family, &parsed.labels, &mut out.faults));
    }
    out
}

struct Encoder<'a> {
    grouping: &'a Grouping,
    has_instance: bool,
    seed: u64,
    metric: Vec<u8>,
    label: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Encoder<'a> {
    fn new(grouping: &'a Grouping, seed: u64) -> Self {
        Encoder {
            grouping,
            has_instance: grouping.labels().iter().any(|(name, _)| name == "instance"),
            seed,
            metric: Vec::new(),
            label: Vec::new(),
            value: Vec::new(),
        }
    }

    fn family(
        &mut self,
        family: &Family<'_>,
        labels: &[Label<'_>],
        faults: &mut check::Faults,
    ) -> EncodedFamily {
        let kind = family.kind.unwrap_or(Kind::Untyped);
        let mut metrics = Vec::with_capacity(family.metrics.len() * 64);
        let mut hashes = Vec::with_capacity(family.metrics.len());
        for metric in &family.metrics {
            let own = &labels[metric.labels.clone()];
            hashes.push(self.metric(metric, own, &mut metrics));
            check::metric(&family.name, kind, metric, own, &self.metric, faults);
        }
        EncodedFamily {
            name: Arc::from(&*family.name),
            help: family.help.as_deref().map(Arc::from),
            kind,
            metrics: Bytes::from(metrics),
            hashes: hashes.into(),
        }
    }

    /// Appends a metric to those of its family; returns the hash of its labels.
    fn metric(&mut self, metric: &Metric<'_>, own: &[Label<'_>], out: &mut Vec<u8>) -> u64 {
        let grouped = self.grouping.labels();
        let mut labels: Vec<(&str, &str)> = Vec::with_capacity(own.len() + grouped.len() + 1);
        let mut has_instance = self.has_instance;
        for label in own {
            has_instance |= label.name == "instance";
            if !grouped.iter().any(|(name, _)| *name == label.name) {
                labels.push((&label.name, &label.value));
            }
        }
        labels.extend(grouped.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        if !has_instance {
            labels.push(("instance", ""));
        }
        labels.sort_by(|a, b| a.0.cmp(b.0));
        self.metric.clear();
        for (name, value) in labels {
            self.label.clear();
            put_bytes(&mut self.label, 1, name.as_bytes());
            put_bytes(&mut self.label, 2, value.as_bytes());
            put_bytes(&mut self.metric, METRIC_LABEL, &self.label);
        }
        let hash = xxh3_64_with_seed(&self.metric, self.seed);
        metric.value.encode(&mut self.metric, &mut self.value);
        put_number(out, u64::from(FAMILY_METRIC) << 3 | 2);
        put_number(out, self.metric.len() as u64);
        out.extend_from_slice(&self.metric);
        hash
    }
}
