//! The exemplar messages of both versions.
//!
//! Promise: exemplars never fail a request of version 1.0; in 2.0 only references outside of the symbols are reported. One
//! whose labels cannot be kept (a name twice, no UTF-8) is left out.
//! Not here: which exemplars are stored (the shards).

use crate::wire::{BYTES, FIXED64, Reader, Tag, VARINT, WireError};
use storage_engine::model::{Exemplar, Labels, TimestampMs};

/// Value and time, which both versions have alike.
#[derive(Default)]
struct Parts {
    value: f64,
    timestamp: TimestampMs,
}

impl Parts {
    /// Reads a field other than the labels.
    fn field(&mut self, reader: &mut Reader<'_>, tag: Tag) -> Result<(), WireError> {
        match tag.field {
            2 => {
                tag.expect(FIXED64, "Value")?;
                self.value = f64::from_bits(reader.fixed64()?);
            }
            3 => {
                tag.expect(VARINT, "Timestamp")?;
                self.timestamp = reader.varint()? as i64;
            }
            _ => reader.skip(tag)?,
        }
        Ok(())
    }

    fn with_labels(self, pairs: &[(&[u8], &[u8])]) -> Option<Exemplar> {
        let texts = pairs.iter().map(|(name, value)| {
            Some((
                std::str::from_utf8(name).ok()?,
                std::str::from_utf8(value).ok()?,
            ))
        });
        let texts: Vec<(&str, &str)> = texts.collect::<Option<_>>()?;
        if texts.iter().any(|(name, _)| name.is_empty()) {
            return None;
        }
        Some(Exemplar {
            labels: Labels::from_pairs(texts).ok()?,
            value: self.value,
            timestamp: self.timestamp,
            timed: self.timestamp != 0,
        })
    }
}

/// Reads a message of version 1.0; `None` when its labels cannot be kept.
pub(super) fn exemplar_v1(message: &[u8]) -> Result<Option<Exemplar>, WireError> {
    let mut parts = Parts::default();
    let mut pairs = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Exemplar")? {
        if tag.field != 1 {
            parts.field(&mut reader, tag)?;
            continue;
        }
        tag.expect(BYTES, "Labels")?;
        pairs.push(super::v1::label(reader.bytes()?)?);
    }
    Ok(parts.with_labels(&pairs))
}

/// What a message of version 2.0 says.
pub(super) enum FoundExemplar {
    /// An exemplar; `None` when its labels cannot be kept.
    Read(Option<Exemplar>),
    /// Its references do not lead to symbols.
    BadReferences(Vec<u32>),
}

/// Reads a message of version 2.0; `symbol` is the text of a reference.
pub(super) fn exemplar_v2<'a>(
    message: &[u8],
    symbol: impl Fn(u32) -> Option<&'a [u8]>,
) -> Result<FoundExemplar, WireError> {
    let mut parts = Parts::default();
    let mut references = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Exemplar")? {
        match tag.field {
            1 => super::v2::read_references(&mut reader, tag.wire_type, &mut references)?,
            _ => parts.field(&mut reader, tag)?,
        }
    }
    let pairs = references.chunks(2).map(|pair| match *pair {
        [name, value] => Some((symbol(name)?, symbol(value)?)),
        _ => None,
    });
    Ok(match pairs.collect::<Option<Vec<_>>>() {
        Some(pairs) => FoundExemplar::Read(parts.with_labels(&pairs)),
        None => FoundExemplar::BadReferences(references),
    })
}
