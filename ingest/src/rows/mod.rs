//! Protocols that send rows: labels, a value, a time. Each is one module behind one trait.
//!
//! A protocol reads a body into [`Rows`], which writes it as a remote write 2.0 request in memory; from there a row goes the way of every
//! other sample, through identity, shards, group commit and answer, and what cannot be stored is told, sample by sample.
//! Promise: a bad row costs itself and is told; the good ones around it are stored. No I/O and no clock.
//! Not here: HTTP.

mod influx;
mod json_lines;

pub use influx::{InfluxLines, Precision};
pub use json_lines::JsonLines;

use crate::limits::{ROW_FAULTS_MAX, ROWS_BYTES_MAX};
use crate::message::Message;
use storage_engine::model::TimestampMs;

/// A protocol that sends rows.
pub trait RowProtocol {
    /// Reads a body. Rows that cannot be read are noted in `rows` and left out.
    fn read(&self, body: &[u8], now: TimestampMs, rows: &mut Rows);
}

/// Rows of one request, as a remote write 2.0 message.
#[derive(Debug)]
pub struct Rows {
    message: Message,
    rows: usize,
    faults: Vec<String>,
    faulty: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Rows::new()
    }
}

impl Rows {
    /// No rows.
    pub fn new() -> Rows {
        Rows {
            message: Message::new(),
            rows: 0,
            faults: Vec::new(),
            faulty: 0,
        }
    }

    /// Adds a row. Labels may come in any order; one without a value is left out. False when there is no room for more.
    pub fn push(&mut self, labels: &mut Vec<(&str, &str)>, time: TimestampMs, value: f64) -> bool {
        self.push_many(labels, [(time, value)].into_iter())
    }

    /// As [`Self::push`], for several times of one series. Without any there is no row.
    pub fn push_many(
        &mut self,
        labels: &mut Vec<(&str, &str)>,
        samples: impl ExactSizeIterator<Item = (TimestampMs, f64)>,
    ) -> bool {
        if self.message.bytes() > ROWS_BYTES_MAX {
            return false;
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_unstable();
        if samples.len() > 0 {
            self.rows += samples.len();
            self.message.begin(labels.iter().copied());
            samples.for_each(|(time, value)| self.message.sample(time, value, 0));
            self.message.end();
        }
        true
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
    pub fn into_message(self) -> Vec<u8> {
        self.message.finish()
    }
}
