//! `io.prometheus.write.v2.Request`, the message of remote write 2.0.
//!
//! Promise: every symbol reference is checked; a bad series is reported and the others are kept. A series is known by
//! the hashes of its symbols in order, so what a symbol is called in one request says nothing about the next. The
//! hashes are kept while the sender repeats its symbols byte for byte.
//! Not here: what is appended when (`session`).

use super::WriteError;
use super::batch::{FamilyMetadata, LabelsFault, Prepared, SeriesFault, Sorter};
use super::exemplar::{FoundExemplar, exemplar_v2};
use super::histogram::histogram;
use super::staging::{Placed, Staged, Staging};
use super::v1::metric_type;
use crate::identity::{IdentityTable, LabelHasher};
use crate::limits::SYMBOLS_RETAINED_BYTES;
use crate::validate::{LabelSetError, canonical_labels, show_labels};
use crate::wire::{BYTES, Reader, VARINT, WireError, lossy, started_sample};
use std::cell::RefCell;
use storage_engine::model::METRIC_NAME;

/// The symbols of the last request: where they stand in the body, and their hashes.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    /// The symbols at the start of the last body, byte for byte; empty when they are not worth comparing.
    section: Vec<u8>,
    spans: Vec<(u32, u32)>,
    hashes: Vec<u128>,
}

impl SymbolTable {
    /// Reads the symbols of `body`. Returns where the first series stands.
    fn load(&mut self, body: &[u8], hasher: &LabelHasher) -> Result<usize, WireError> {
        let same = !self.section.is_empty() && body.starts_with(&self.section);
        let mut reader = Reader::new(body);
        if same {
            reader.at = self.section.len();
        } else {
            self.section.clear();
            self.spans.clear();
            self.hashes.clear();
        }
        let known = self.spans.len();
        let mut first_series = None;
        let mut section_end = reader.at;
        loop {
            let start = reader.at;
            let Some(tag) = reader.tag("Request")? else {
                break;
            };
            if tag.field != 4 {
                first_series.get_or_insert(start);
                reader.skip(tag)?;
                continue;
            }
            tag.expect(BYTES, "Symbols")?;
            let symbol = reader.bytes()?;
            let start = reader.at - symbol.len();
            self.spans.push((start as u32, reader.at as u32));
            self.hashes.push(hasher.hash(symbol));
            if first_series.is_none() {
                section_end = reader.at;
            }
        }
        let first_series = first_series.unwrap_or(body.len());
        // Symbols behind series, or more of them than last time: read again next time.
        let regular = section_end <= first_series && self.last_end() <= section_end;
        if !regular || (same && self.spans.len() > known) || section_end > SYMBOLS_RETAINED_BYTES {
            self.section.clear();
        } else if !same {
            self.section
                .extend_from_slice(body.get(..section_end).unwrap_or_default());
        }
        Ok(first_series)
    }

    fn last_end(&self) -> usize {
        self.spans.last().map_or(0, |span| span.1 as usize)
    }

    fn len(&self) -> usize {
        self.spans.len()
    }

    fn text<'a>(&self, body: &'a [u8], reference: u32) -> Option<&'a [u8]> {
        let (start, end) = *self.spans.get(reference as usize)?;
        body.get(start as usize..end as usize)
    }
}

/// Reads a body into batches.
pub(crate) fn decode<F: Fn(u64) -> usize>(
    body: &[u8],
    hasher: &LabelHasher,
    table: &mut IdentityTable,
    staging: &mut Staging,
    symbols: &mut SymbolTable,
    mut sorter: Sorter<F>,
) -> Result<Prepared, WriteError> {
    let first_series = symbols.load(body, hasher)?;
    let symbols = &*symbols;
    if symbols.text(body, 0).is_some_and(|s| !s.is_empty()) {
        return Err(WriteError::FirstSymbol);
    }
    let prepared = RefCell::new(Prepared::default());
    let mut pairs = Vec::new();
    let mut labels =
        |origin: u32, out: &mut Vec<u8>| labels_of(body, symbols, origin, &mut pairs, out);
    let mut placed = |table: &mut IdentityTable, p: Placed| {
        account(&mut prepared.borrow_mut(), table, body, symbols, hasher, &p);
    };
    let mut references = Vec::new();
    let mut key = Vec::new();
    staging.clear();
    let mut reader = Reader::starting_at(body, first_series);
    while let Some(tag) = reader.tag("Request")? {
        if tag.field != 5 {
            reader.skip(tag)?;
            continue;
        }
        tag.expect(BYTES, "Timeseries")?;
        let mut staged = Staged {
            origin: reader.at as u32,
            ..Staged::default()
        };
        let series = Series {
            message: reader.bytes()?,
            body,
            symbols,
        };
        let bad_exemplar = walk_series(&series, &mut references, &mut staged, staging)?;
        if let Some(reason) = bad_exemplar {
            let faults = &mut prepared.borrow_mut().faults;
            faults.push(staged.origin, || {
                let mut pairs = Vec::new();
                let _ = pairs_at(body, symbols, staged.origin, &mut pairs);
                format!(
                    "parsing exemplar for series {}: {reason}",
                    show_labels(&pairs)
                )
            });
        }
        let samples = staging.samples_open() as u64;
        let empty = samples == 0 && staged.histograms == 0;
        match check_references(&references, symbols.len()) {
            Ok(()) if !empty => {}
            checked => {
                let fault = checked.err();
                let refused = Refused {
                    origin: staged.origin,
                    samples,
                    histograms: u64::from(staged.histograms),
                };
                refuse(&mut prepared.borrow_mut(), body, symbols, fault, &refused)?;
                staging.drop_open();
                continue;
            }
        }
        let hash = hash_references(&references, symbols, hasher, &mut key);
        if staging.push(hash, staged) {
            staging.flush(
                table,
                &mut sorter,
                &mut labels,
                |_, _| Ok(None),
                &mut placed,
            )?;
        }
    }
    staging.flush(
        table,
        &mut sorter,
        &mut labels,
        |_, _| Ok(None),
        &mut placed,
    )?;
    let mut prepared = prepared.into_inner();
    sorter.finish(&mut prepared);
    Ok(prepared)
}

/// A series that is reported without being looked up.
struct Refused {
    origin: u32,
    samples: u64,
    histograms: u64,
}

/// Bad references, or neither samples nor histograms.
#[cold]
fn refuse(
    prepared: &mut Prepared,
    body: &[u8],
    symbols: &SymbolTable,
    fault: Option<SeriesFault>,
    refused: &Refused,
) -> Result<(), WriteError> {
    let mut pairs = Vec::new();
    let mut canonical = Vec::new();
    let fault = match fault {
        Some(fault) => Some(fault),
        None => match labels_of(body, symbols, refused.origin, &mut pairs, &mut canonical) {
            Ok(()) => None,
            Err(LabelsFault::Series(fault)) => Some(fault),
            Err(LabelsFault::Request(error)) => return Err(error),
        },
    };
    let counts = &mut prepared.counts;
    counts.samples += refused.samples;
    match fault {
        Some(fault) => {
            counts.invalid_labels += refused.samples + refused.histograms;
            prepared.faults.push(refused.origin, || fault.to_string());
        }
        None => prepared.faults.push(refused.origin, || {
            let labels = show_labels(&pairs);
            format!("TimeSeries must contain at least one sample or histogram for series {labels}")
        }),
    }
    Ok(())
}

/// Counts a placed series, reports its fault, and takes metadata that is not what it was.
fn account(
    prepared: &mut Prepared,
    table: &mut IdentityTable,
    body: &[u8],
    symbols: &SymbolTable,
    hasher: &LabelHasher,
    placed: &Placed,
) {
    let staged = &placed.staged;
    let counts = &mut prepared.counts;
    counts.samples += u64::from(placed.samples);
    if let Some(fault) = &placed.fault {
        counts.invalid_labels += u64::from(placed.samples + staged.histograms);
        prepared.faults.push(staged.origin, || fault.to_string());
        return;
    }
    counts.histograms += u64::from(staged.histograms);
    counts.exemplars += u64::from(staged.exemplars);
    let (kind, help, unit) = staged.metadata;
    if staged.metadata == (0, 0, 0) {
        return;
    }
    counts.metadata += 1;
    let hash = |reference: u32| symbols.hashes.get(reference as usize).copied();
    let (Some(help_hash), Some(unit_hash)) = (hash(help), hash(unit)) else {
        prepared.faults.push(staged.origin, || {
            format!(
                "parsing metadata: help reference {help} or unit reference {unit} outside of symbols table (size {})",
                symbols.len()
            )
        });
        return;
    };
    let mut bytes = [0u8; 36];
    let (head, rest) = bytes.split_at_mut(4);
    head.copy_from_slice(&kind.to_le_bytes());
    let (first, second) = rest.split_at_mut(16);
    first.copy_from_slice(&help_hash.to_le_bytes());
    second.copy_from_slice(&unit_hash.to_le_bytes());
    let digest = hasher.hash(&bytes) as u32 | 1;
    if !table.metadata_changed(placed.entry, digest) {
        return;
    }
    let mut pairs = Vec::new();
    if pairs_at(body, symbols, staged.origin, &mut pairs).is_err() {
        return;
    }
    let name = pairs.iter().find(|(n, _)| *n == METRIC_NAME.as_bytes());
    prepared.push_metadata(FamilyMetadata {
        name: lossy(name.map_or(b"", |(_, value)| value)),
        metric_type: metric_type(u64::from(kind)),
        help: lossy(symbols.text(body, help).unwrap_or_default()),
        unit: lossy(symbols.text(body, unit).unwrap_or_default()),
    });
}

/// A series message and what its references lead to.
struct Series<'a> {
    message: &'a [u8],
    body: &'a [u8],
    symbols: &'a SymbolTable,
}

/// Label references go to `references`, samples, histograms and exemplars to `staging`, the rest is counted. Returns why an exemplar
/// could not be read.
fn walk_series(
    series: &Series<'_>,
    references: &mut Vec<u32>,
    staged: &mut Staged,
    staging: &mut Staging,
) -> Result<Option<String>, WriteError> {
    references.clear();
    let mut bad_exemplar = None;
    let mut reader = Reader::new(series.message);
    while let Some(tag) = reader.tag("TimeSeries")? {
        match tag.field {
            1 => read_references(&mut reader, tag.wire_type, references)?,
            2 => {
                tag.expect(BYTES, "Samples")?;
                let (timestamp, value, start) = started_sample(reader.bytes()?)?;
                staging.push_sample(timestamp, value);
                staging.start_of_last(start);
            }
            3 => {
                tag.expect(BYTES, "Histograms")?;
                staging.push_histogram(histogram(reader.bytes()?)?)?;
                staged.histograms += 1;
            }
            4 => {
                tag.expect(BYTES, "Exemplars")?;
                let symbol = |reference| series.symbols.text(series.body, reference);
                match exemplar_v2(reader.bytes()?, symbol)? {
                    FoundExemplar::Read(exemplar) => {
                        staging.push_exemplar(exemplar);
                        staged.exemplars += 1;
                    }
                    FoundExemplar::BadReferences(references) => {
                        let reason = || references_reason(&references, series.symbols.len());
                        bad_exemplar.get_or_insert_with(reason);
                    }
                }
            }
            5 => {
                tag.expect(BYTES, "Metadata")?;
                staged.metadata = metadata(reader.bytes()?)?;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(bad_exemplar)
}

/// Packed, as every sender writes them, or one by one.
pub(super) fn read_references(
    reader: &mut Reader<'_>,
    wire_type: u8,
    references: &mut Vec<u32>,
) -> Result<(), WireError> {
    match wire_type {
        VARINT => references.push(reader.varint()? as u32),
        BYTES => {
            let mut packed = Reader::new(reader.bytes()?);
            while !packed.at_end() {
                references.push(packed.varint()? as u32);
            }
        }
        wire_type => {
            return Err(WireError::WireType {
                field: "LabelsRefs",
                wire_type,
            });
        }
    }
    Ok(())
}

fn metadata(message: &[u8]) -> Result<(u32, u32, u32), WireError> {
    let (mut kind, mut help, mut unit) = (0, 0, 0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Metadata")? {
        let (target, name) = match tag.field {
            1 => (&mut kind, "Type"),
            3 => (&mut help, "HelpRef"),
            4 => (&mut unit, "UnitRef"),
            _ => {
                reader.skip(tag)?;
                continue;
            }
        };
        tag.expect(VARINT, name)?;
        *target = reader.varint()? as u32;
    }
    Ok((kind, help, unit))
}

fn check_references(references: &[u32], symbols: usize) -> Result<(), SeriesFault> {
    let outside = |reference: &u32| *reference as usize >= symbols;
    if references.len().is_multiple_of(2) && !references.iter().any(outside) {
        return Ok(());
    }
    Err(references_fault(references, symbols))
}

#[cold]
fn references_fault(references: &[u32], symbols: usize) -> SeriesFault {
    let shown: Vec<String> = references.iter().take(256).map(u32::to_string).collect();
    SeriesFault::References {
        refs: format!("[{}]", shown.join(" ")),
        reason: references_reason(references, symbols),
    }
}

/// What is wrong with references.
fn references_reason(references: &[u32], symbols: usize) -> String {
    let outside = |reference: &u32| *reference as usize >= symbols;
    if !references.len().is_multiple_of(2) {
        format!("invalid labelRefs length {}", references.len())
    } else {
        let mut pairs = references.chunks_exact(2);
        let bad = pairs.find(|pair| pair.iter().any(outside));
        let (name, value) = match bad {
            Some(&[name, value]) => (name, value),
            _ => (0, 0),
        };
        format!(
            "labelRefs {name} (name) = {value} (value) outside of symbols table (size {symbols})"
        )
    }
}

/// The references must be in range.
fn hash_references(
    references: &[u32],
    symbols: &SymbolTable,
    hasher: &LabelHasher,
    key: &mut Vec<u8>,
) -> u128 {
    key.resize(references.len() * 16, 0);
    for (place, &reference) in key.chunks_exact_mut(16).zip(references) {
        let hash = symbols.hashes.get(reference as usize).copied();
        place.copy_from_slice(&hash.unwrap_or_default().to_le_bytes());
    }
    hasher.hash(key)
}

fn pairs_at<'a>(
    body: &'a [u8],
    symbols: &SymbolTable,
    origin: u32,
    pairs: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<(), LabelsFault> {
    pairs.clear();
    let references = references_at(body, origin)?;
    check_references(&references, symbols.len())?;
    for pair in references.chunks_exact(2) {
        if let &[name, value] = pair {
            let text = |reference| symbols.text(body, reference).unwrap_or_default();
            pairs.push((text(name), text(value)));
        }
    }
    Ok(())
}

fn references_at(body: &[u8], origin: u32) -> Result<Vec<u32>, WireError> {
    let mut references = Vec::new();
    let message = Reader::starting_at(body, origin as usize).bytes()?;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("TimeSeries")? {
        match tag.field {
            1 => read_references(&mut reader, tag.wire_type, &mut references)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(references)
}

fn labels_of<'a>(
    body: &'a [u8],
    symbols: &SymbolTable,
    origin: u32,
    pairs: &mut Vec<(&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), LabelsFault> {
    pairs_at(body, symbols, origin, pairs)?;
    canonical_labels(pairs, out).map_err(|e: LabelSetError| SeriesFault::Labels(e).into())
}

/// The symbols of a body that has been decoded before, for a second look at some of its series.
pub(super) fn symbols_of(body: &[u8], hasher: &LabelHasher) -> Result<SymbolTable, WireError> {
    let mut symbols = SymbolTable::default();
    symbols.load(body, hasher)?;
    Ok(symbols)
}

/// The canonical labels of the series message at `origin`.
pub(super) fn labels_at(
    body: &[u8],
    symbols: &SymbolTable,
    origin: u32,
    out: &mut Vec<u8>,
) -> Result<(), LabelsFault> {
    let mut pairs = Vec::new();
    labels_of(body, symbols, origin, &mut pairs, out)
}

/// The hash under which the series message at `origin` is remembered.
pub(super) fn hash_at(
    body: &[u8],
    symbols: &SymbolTable,
    origin: u32,
    hasher: &LabelHasher,
) -> Result<u128, WireError> {
    let references = references_at(body, origin)?;
    Ok(hash_references(
        &references,
        symbols,
        hasher,
        &mut Vec::new(),
    ))
}
