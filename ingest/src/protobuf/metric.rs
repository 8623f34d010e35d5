//! One `Metric` message: labels, value, timestamp, exemplars.

use super::PageError;
use super::histogram::{HistogramParts, read_histogram};
use super::key::KeyWriter;
use crate::wire::{Reader, WireError, bytes, double, unsigned};
use storage_engine::model::{Exemplar, Labels, TimestampMs};

/// The types of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    pub(super) fn from_number(number: u64) -> Option<Kind> {
        Some(match number {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Summary,
            3 => Kind::Untyped,
            4 => Kind::Histogram,
            5 => Kind::GaugeHistogram,
            _ => return None,
        })
    }
}

/// The parts of a metric message; buffers are used again for the next.
#[derive(Debug, Default)]
pub(super) struct Metric {
    pub(super) timestamp: TimestampMs,
    pub(super) start: TimestampMs,
    /// Of a counter, gauge or untyped metric; the sum of a summary.
    pub(super) value: f64,
    /// Of a counter.
    pub(super) exemplars: Vec<Exemplar>,
    /// Of a summary.
    pub(super) count: u64,
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) histogram: HistogramParts,
}

impl Metric {
    /// Reads a message of a family of this kind. Labels go to `keys`.
    pub(super) fn read(
        &mut self,
        message: &[u8],
        kind: Kind,
        keys: &mut KeyWriter,
    ) -> Result<(), PageError> {
        keys.begin_metric();
        self.timestamp = 0;
        self.start = 0;
        self.value = 0.0;
        self.count = 0;
        self.exemplars.clear();
        self.quantiles.clear();
        self.histogram.clear();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("Metric")? {
            let wanted = match tag.field {
                2 => kind == Kind::Gauge,
                3 => kind == Kind::Counter,
                4 => kind == Kind::Summary,
                5 => kind == Kind::Untyped,
                7 => matches!(kind, Kind::Histogram | Kind::GaugeHistogram),
                1 | 6 => true,
                _ => false,
            };
            if !wanted {
                reader.skip(tag)?;
                continue;
            }
            match tag.field {
                1 => {
                    let (name, value) = label(bytes(&mut reader, tag, "Label")?)?;
                    keys.label(name, value);
                }
                2 | 5 => self.simple(bytes(&mut reader, tag, "Value")?)?,
                3 => self.counter(bytes(&mut reader, tag, "Counter")?)?,
                4 => self.summary(bytes(&mut reader, tag, "Summary")?)?,
                6 => {
                    self.timestamp = unsigned(&mut reader, tag, "TimestampMs")? as i64;
                }
                _ => {
                    let message = bytes(&mut reader, tag, "Histogram")?;
                    self.start = read_histogram(message, &mut self.histogram)?;
                }
            }
        }
        Ok(())
    }

    fn simple(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("Gauge")? {
            match tag.field {
                1 => self.value = double(&mut reader, tag, "Value")?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn counter(&mut self, message: &[u8]) -> Result<(), PageError> {
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("Counter")? {
            match tag.field {
                1 => self.value = double(&mut reader, tag, "Value")?,
                2 => {
                    let message = bytes(&mut reader, tag, "Exemplar")?;
                    self.exemplars.extend(exemplar(message)?);
                }
                3 => self.start = timestamp(bytes(&mut reader, tag, "CreatedTimestamp")?)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn summary(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("Summary")? {
            match tag.field {
                1 => self.count = unsigned(&mut reader, tag, "SampleCount")?,
                2 => self.value = double(&mut reader, tag, "SampleSum")?,
                3 => {
                    let quantile = quantile(bytes(&mut reader, tag, "Quantile")?)?;
                    self.quantiles.push(quantile);
                }
                4 => self.start = timestamp(bytes(&mut reader, tag, "CreatedTimestamp")?)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }
}

fn quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Quantile")? {
        match tag.field {
            1 => quantile = double(&mut reader, tag, "Quantile")?,
            2 => value = double(&mut reader, tag, "Value")?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((quantile, value))
}

/// Name and value of a label; both are checked to be text, because keys rely on it.
fn label(message: &[u8]) -> Result<(&str, &str), PageError> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("LabelPair")? {
        match tag.field {
            1 => name = bytes(&mut reader, tag, "Name")?,
            2 => value = bytes(&mut reader, tag, "Value")?,
            _ => reader.skip(tag)?,
        }
    }
    let name_text = std::str::from_utf8(name).ok().filter(|n| !n.is_empty());
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let name = name_text.ok_or_else(|| PageError::LabelName(lossy(name)))?;
    let value = std::str::from_utf8(value).map_err(|_| PageError::LabelValue(lossy(value)))?;
    Ok((name, value))
}

/// Reads an exemplar; `None` when its labels cannot be kept.
pub(super) fn exemplar(message: &[u8]) -> Result<Option<Exemplar>, PageError> {
    let mut pairs = Vec::new();
    let mut value = 0.0;
    let mut time = None;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Exemplar")? {
        match tag.field {
            1 => pairs.push(label(bytes(&mut reader, tag, "Label")?)?),
            2 => value = double(&mut reader, tag, "Value")?,
            3 => time = Some(timestamp(bytes(&mut reader, tag, "Timestamp")?)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(Labels::from_pairs(pairs).ok().map(|labels| Exemplar {
        labels,
        value,
        timestamp: time.unwrap_or(0),
        timed: time.is_some(),
    }))
}

/// A `google.protobuf.Timestamp` in milliseconds.
pub(super) fn timestamp(message: &[u8]) -> Result<TimestampMs, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Timestamp")? {
        match tag.field {
            1 => seconds = unsigned(&mut reader, tag, "Seconds")? as i64,
            2 => nanos = i64::from(unsigned(&mut reader, tag, "Nanos")? as i32),
            _ => reader.skip(tag)?,
        }
    }
    Ok(seconds.wrapping_mul(1000).wrapping_add(nanos / 1_000_000))
}
