//! Changes as bytes, for a log. Format: `docs/format/push.md`.
//!
//! Promise: what `decode_change` reads is what `encode_change` wrote, or an error; never a change that was not.
//! Not here: checksums and files (the log's, in the gateway).

use super::encode::EncodedFamily;
use super::family::Kind;
use super::groups::{Change, Groups};
use super::key::Grouping;
use super::message::{METRIC, put_number};
use super::view::{label_bytes, metric_messages};
use crate::validate::is_legacy_metric_name;
use crate::wire::Reader;
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PUSH_REPLACE: u8 = 1;
const PUSH_MERGE: u8 = 2;
const FAILURE: u8 = 3;
const DELETE: u8 = 4;
const WIPE: u8 = 5;
const WHOLE: u8 = 6;

/// Why bytes are not a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// They end inside it, or have something behind it.
    #[error("the record has the wrong length")]
    Length,
    /// A kind that this version does not know.
    #[error("record kind {0} is unknown")]
    Kind(u8),
    /// Something in it cannot be.
    #[error("the record's {0} is wrong")]
    Content(&'static str),
}

/// Appends a change.
pub fn encode_change(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Push {
            grouping,
            time_ns,
            replace,
            ttl_ms,
            families,
        } => {
            out.push(if *replace { PUSH_REPLACE } else { PUSH_MERGE });
            put_grouping(out, grouping);
            put_time(out, *time_ns);
            put_number(out, *ttl_ms);
            put_number(out, families.len() as u64);
            families.iter().for_each(|family| put_family(out, family));
        }
        Change::Failure {
            grouping,
            time_ns,
            ttl_ms,
        } => {
            out.push(FAILURE);
            put_grouping(out, grouping);
            put_time(out, *time_ns);
            put_number(out, *ttl_ms);
        }
        Change::Delete(grouping) => {
            out.push(DELETE);
            put_grouping(out, grouping);
        }
        Change::Wipe => out.push(WIPE),
        Change::Whole {
            grouping,
            push_ns,
            failure_ns,
            times_set_ns,
            ttl_ms,
            families,
        } => {
            out.push(WHOLE);
            put_grouping(out, grouping);
            for time in [*push_ns, *failure_ns, times_set_ns.0, times_set_ns.1] {
                put_time(out, time);
            }
            put_number(out, *ttl_ms);
            put_number(out, families.len() as u64);
            for (family, time_ns) in families {
                put_time(out, *time_ns);
                put_family(out, family);
            }
        }
    }
}

/// Every group as a record: what a new log begins with.
pub fn encode_groups(groups: &Groups, mut record: impl FnMut(&[u8])) {
    let mut bytes = Vec::new();
    for change in groups.whole() {
        bytes.clear();
        encode_change(&change, &mut bytes);
        record(&bytes);
    }
}

fn put_time(out: &mut Vec<u8>, time_ns: i64) {
    out.extend_from_slice(&time_ns.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn put_grouping(out: &mut Vec<u8>, grouping: &Grouping) {
    put_number(out, grouping.labels().len() as u64);
    for (name, value) in grouping.labels() {
        put_text(out, name.as_bytes());
        put_text(out, value.as_bytes());
    }
}

fn put_family(out: &mut Vec<u8>, family: &EncodedFamily) {
    put_text(out, family.name.as_bytes());
    out.push(family.kind as u8);
    match &family.help {
        None => out.push(0),
        Some(help) => {
            out.push(1);
            put_text(out, help.as_bytes());
        }
    }
    put_text(out, &family.metrics);
}

/// Reads a change. `seed` is that of the [`Groups`] it goes to.
pub fn decode_change(bytes: &[u8], seed: u64) -> Result<Change, RecordError> {
    let mut decoder = Decoder {
        reader: Reader::new(bytes.get(1..).unwrap_or_default()),
        seed,
    };
    let d = &mut decoder;
    let kind = *bytes.first().ok_or(RecordError::Length)?;
    let change = match kind {
        PUSH_REPLACE | PUSH_MERGE => Change::Push {
            grouping: d.grouping()?,
            time_ns: d.time()?,
            replace: kind == PUSH_REPLACE,
            ttl_ms: d.number()?,
            families: d.families(|d| d.family())?,
        },
        FAILURE => Change::Failure {
            grouping: d.grouping()?,
            time_ns: d.time()?,
            ttl_ms: d.number()?,
        },
        DELETE => Change::Delete(d.grouping()?),
        WIPE => Change::Wipe,
        WHOLE => Change::Whole {
            grouping: d.grouping()?,
            push_ns: d.time()?,
            failure_ns: d.time()?,
            times_set_ns: (d.time()?, d.time()?),
            ttl_ms: d.number()?,
            families: d.families(|d| {
                let time_ns = d.time()?;
                Ok((d.family()?, time_ns))
            })?,
        },
        kind => return Err(RecordError::Kind(kind)),
    };
    match d.reader.at_end() {
        true => Ok(change),
        false => Err(RecordError::Length),
    }
}

struct Decoder<'a> {
    reader: Reader<'a>,
    seed: u64,
}

impl<'a> Decoder<'a> {
    fn number(&mut self) -> Result<u64, RecordError> {
        self.reader.varint().map_err(|_| RecordError::Length)
    }

    fn time(&mut self) -> Result<i64, RecordError> {
        let bits = self.reader.fixed64().map_err(|_| RecordError::Length)?;
        Ok(bits as i64)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        self.reader.bytes().map_err(|_| RecordError::Length)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError::Content(what))
    }

    fn grouping(&mut self) -> Result<Grouping, RecordError> {
        let count = self.number()?;
        let mut labels = Vec::new();
        for _ in 0..count {
            let name = self.text("label name")?.to_owned();
            labels.push((name, self.text("label value")?.to_owned()));
        }
        Grouping::from_sorted(labels).ok_or(RecordError::Content("order of labels"))
    }

    fn families<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.number()?;
        let mut out = Vec::new();
        for _ in 0..count {
            out.push(one(self)?);
        }
        Ok(out)
    }

    fn family(&mut self) -> Result<EncodedFamily, RecordError> {
        let name = self.text("family name")?;
        let kind = Kind::from_number(self.number()?).ok_or(RecordError::Content("type"))?;
        let help = match self.number()? {
            0 => None,
            1 => Some(Arc::from(self.text("help")?)),
            _ => return Err(RecordError::Content("help")),
        };
        let metrics = self.bytes()?;
        // A push in protobuf can bring a family without name and metrics.
        let is_nothing = name.is_empty() && metrics.is_empty();
        if !is_nothing && !is_legacy_metric_name(name) {
            return Err(RecordError::Content("family name"));
        }
        let mut hashes = Vec::new();
        for message in metric_messages(metrics) {
            METRIC
                .check(message)
                .map_err(|_| RecordError::Content("metric"))?;
            hashes.push(xxh3_64_with_seed(label_bytes(message), self.seed));
        }
        Ok(EncodedFamily {
            name: Arc::from(name),
            help,
            kind,
            metrics: Bytes::copy_from_slice(metrics),
            hashes: hashes.into(),
        })
    }
}
