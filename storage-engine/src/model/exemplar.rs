//! An exemplar: a trace or log reference that a target attaches to a sample.

use super::{Labels, TimestampMs};

/// Most characters that the names and values of one exemplar's labels may have together; OpenMetrics's bound.
pub const EXEMPLAR_LABEL_RUNES_MAX: usize = 128;

/// One exemplar. It belongs to a series, not to one of its samples.
#[derive(Debug, Clone)]
pub struct Exemplar {
    /// Its own labels, such as `trace_id`.
    pub labels: Labels,
    /// The value that was observed.
    pub value: f64,
    /// When, in milliseconds since the epoch.
    pub timestamp: TimestampMs,
    /// The timestamp came with the exemplar; otherwise it is that of the scrape.
    pub timed: bool,
}

impl Exemplar {
    /// Is it the same observation? The time of a scrape does not tell two of them apart. A NaN equals itself.
    pub fn is_repeated_by(&self, other: &Exemplar) -> bool {
        let same_time = !(self.timed || other.timed) || self.timestamp == other.timestamp;
        same_time
            && (self.value == other.value || self.value.to_bits() == other.value.to_bits())
            && self.labels == other.labels
    }

    /// Characters of names and values, without what only a text needs (quotes, commas).
    pub fn label_runes(&self) -> usize {
        let runes = |text: &str| text.chars().count();
        self.labels.iter().map(|(n, v)| runes(n) + runes(v)).sum()
    }
}

impl PartialEq for Exemplar {
    /// Bit for bit: a NaN equals itself, and zero is not negative zero.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp
            && self.timed == other.timed
            && self.value.to_bits() == other.value.to_bits()
            && self.labels == other.labels
    }
}
