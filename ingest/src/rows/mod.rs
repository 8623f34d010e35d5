//! Protocols that send rows: labels, a value, a time. Each is one module behind one trait.
//!
//! A protocol reads a body into [`Rows`], which writes it as a remote write 2.0 request in memory; from there a row goes the way of every
//! other sample, through identity, shards, group commit and answer, and what cannot be stored is told, sample by sample.
//! Promise: a bad row costs itself and is told; the good ones around it are stored. No I/O and no clock.
//! Not here: HTTP.

mod influx;

pub use influx::{InfluxLines, Precision};

use crate::limits::{ROW_FAULTS_MAX, ROWS_BYTES_MAX};
use hashbrown::HashMap;
use storage_engine::model::TimestampMs;

/// A protocol that sends rows.
pub trait RowProtocol {
    /// Reads a body. Rows that cannot be read are noted in `rows` and left out.
    fn read(&self, body: &[u8], now: TimestampMs, rows: &mut Rows);
}

/// Rows of one request, as a remote write 2.0 message.
#[derive(Debug, Default)]
pub struct Rows {
    symbols: HashMap<String, u64>,
    symbol_fields: Vec<u8>,
    series_fields: Vec<u8>,
    scratch: Vec<u8>,
    references: Vec<u8>,
    rows: usize,
    faults: Vec<String>,
    faulty: usize,
}

impl Rows {
    /// No rows.
    pub fn new() -> Rows {
        let mut rows = Rows::default();
        // The first symbol of a message is the empty one.
        rows.symbol("");
        rows
    }

    /// Adds a row. Labels may come in any order; one without a value is left out. False when there is no room for more.
    pub fn push(&mut self, labels: &mut Vec<(&str, &str)>, time: TimestampMs, value: f64) -> bool {
        if self.symbol_fields.len() + self.series_fields.len() > ROWS_BYTES_MAX {
            return false;
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_unstable();
        let mut references = std::mem::take(&mut self.references);
        references.clear();
        for (name, value) in labels.iter() {
            for text in [name, value] {
                let symbol = self.symbol(text);
                put_varint(&mut references, symbol);
            }
        }
        let row = &mut self.scratch;
        row.clear();
        put_bytes(row, 1, &references);
        // A sample: its value, then its time.
        let mut sample = [0_u8; 24];
        sample[0] = 1 << 3 | 1;
        sample[1..9].copy_from_slice(&value.to_bits().to_le_bytes());
        let mut tail = Vec::with_capacity(11);
        put_varint(&mut tail, 2 << 3);
        put_varint(&mut tail, time as u64);
        let end = 9 + tail.len();
        sample[9..end].copy_from_slice(&tail);
        put_bytes(row, 2, &sample[..end]);
        put_bytes(&mut self.series_fields, 5, row);
        self.references = references;
        self.rows += 1;
        true
    }

    fn symbol(&mut self, text: &str) -> u64 {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = self.symbols.len() as u64;
        self.symbols.insert(text.to_owned(), symbol);
        put_bytes(&mut self.symbol_fields, 4, text.as_bytes());
        symbol
    }

    /// Notes a row that cannot be read.
    pub fn fault(&mut self, text: impl FnOnce() -> String) {
        self.faulty += 1;
        if self.faults.len() < ROW_FAULTS_MAX {
            self.faults.push(text());
        }
    }

    /// Rows added.
    pub fn count(&self) -> usize {
        self.rows
    }

    /// Rows that could not be read.
    pub fn faulty(&self) -> usize {
        self.faulty
    }

    /// What was wrong with the first of them.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The message.
    pub fn into_message(mut self) -> Vec<u8> {
        self.symbol_fields.append(&mut self.series_fields);
        self.symbol_fields
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}
