//! A remote write 2.0 message that is put together in memory: how protocols other than remote write hand over what they have read.
//!
//! Promise: what is put in comes out of the decoder of `remote_write` as it was. Not here: reading one, what the labels mean.

use hashbrown::HashMap;
use storage_engine::model::{FloatHistogram, TimestampMs};

/// A message under construction.
#[derive(Debug)]
pub(crate) struct Message {
    symbols: HashMap<String, u64>,
    symbol_fields: Vec<u8>,
    series_fields: Vec<u8>,
    series: Vec<u8>,
    part: Vec<u8>,
}

/// Type, help and unit of a metric.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Description<'a> {
    /// The number of the type in the message.
    pub(crate) kind: u8,
    pub(crate) help: &'a str,
    pub(crate) unit: &'a str,
}

/// An exemplar.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageExemplar {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    pub(crate) time: TimestampMs,
}

impl Message {
    pub(crate) fn new() -> Message {
        let mut message = Message {
            symbols: HashMap::new(),
            symbol_fields: Vec::new(),
            series_fields: Vec::new(),
            series: Vec::new(),
            part: Vec::new(),
        };
        // The first symbol of a message is the empty one.
        message.symbol("");
        message
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.symbol_fields.len() + self.series_fields.len()
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

    /// Begins a series; the labels are in order.
    pub(crate) fn begin<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut references = std::mem::take(&mut self.part);
        references.clear();
        for (name, value) in labels {
            for text in [name, value] {
                let symbol = self.symbol(text);
                put_varint(&mut references, symbol);
            }
        }
        self.series.clear();
        put_bytes(&mut self.series, 1, &references);
        self.part = references;
    }

    /// Adds a sample to the series; `start` 0 is none.
    pub(crate) fn sample(&mut self, time: TimestampMs, value: f64, start: TimestampMs) {
        let part = &mut self.part;
        part.clear();
        put_double(part, 1, value);
        put_number(part, 2, time as u64);
        if start != 0 {
            put_number(part, 3, start as u64);
        }
        put_bytes(&mut self.series, 2, part);
    }

    /// Adds a native histogram of whole counts to the series.
    pub(crate) fn histogram(
        &mut self,
        time: TimestampMs,
        histogram: &FloatHistogram,
        start: TimestampMs,
    ) {
        let part = &mut self.part;
        part.clear();
        put_number(part, 1, histogram.count as u64);
        put_double(part, 3, histogram.sum);
        put_number(part, 4, zigzag(i64::from(histogram.schema)));
        put_double(part, 5, histogram.zero_threshold);
        put_number(part, 6, histogram.zero_count as u64);
        for (spans, buckets, field) in [
            (&histogram.negative_spans, &histogram.negative_buckets, 8),
            (&histogram.positive_spans, &histogram.positive_buckets, 11),
        ] {
            for span in spans {
                let mut one = Vec::with_capacity(8);
                put_number(&mut one, 1, zigzag(i64::from(span.offset)));
                put_number(&mut one, 2, u64::from(span.length));
                put_bytes(part, field, &one);
            }
            let (mut deltas, mut before) = (Vec::with_capacity(buckets.len()), 0_i64);
            for count in buckets {
                put_varint(&mut deltas, zigzag(*count as i64 - before));
                before = *count as i64;
            }
            put_bytes(part, field + 1, &deltas);
        }
        put_number(part, 15, time as u64);
        if !histogram.custom_values.is_empty() {
            let values = histogram.custom_values.iter();
            let values: Vec<u8> = values.flat_map(|v| v.to_le_bytes()).collect();
            put_bytes(part, 16, &values);
        }
        if start != 0 {
            put_number(part, 17, start as u64);
        }
        put_bytes(&mut self.series, 3, part);
    }

    /// Adds an exemplar to the series.
    pub(crate) fn exemplar(&mut self, exemplar: &MessageExemplar) {
        let mut references = Vec::new();
        for (name, value) in &exemplar.labels {
            for text in [name, value] {
                let symbol = self.symbol(text);
                put_varint(&mut references, symbol);
            }
        }
        let part = &mut self.part;
        part.clear();
        put_bytes(part, 1, &references);
        put_double(part, 2, exemplar.value);
        put_number(part, 3, exemplar.time as u64);
        put_bytes(&mut self.series, 4, part);
    }

    /// Says what the series is.
    pub(crate) fn describe(&mut self, description: Description<'_>) {
        let help = self.symbol(description.help);
        let unit = self.symbol(description.unit);
        let part = &mut self.part;
        part.clear();
        put_number(part, 1, u64::from(description.kind));
        put_number(part, 3, help);
        put_number(part, 4, unit);
        put_bytes(&mut self.series, 5, part);
    }

    /// Ends the series.
    pub(crate) fn end(&mut self) {
        put_bytes(&mut self.series_fields, 5, &self.series);
    }

    /// The message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.symbol_fields.append(&mut self.series_fields);
        self.symbol_fields
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    put_varint(out, u64::from(field) << 3 | u64::from(wire_type));
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    put_key(out, field, 0);
    put_varint(out, number);
}

fn put_double(out: &mut Vec<u8>, field: u8, number: f64) {
    put_key(out, field, 1);
    out.extend_from_slice(&number.to_bits().to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}
