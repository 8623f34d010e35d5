//! Samples as columns, and the small integers that name series and shards.

use super::FloatHistogram;
use std::sync::Arc;

/// Milliseconds since the Unix epoch, UTC; negative before 1970.
pub type TimestampMs = i64;

/// Bit pattern of the NaN that marks a series as stale (Prometheus `value.StaleNaN`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// True only for the staleness marker; an ordinary NaN is a value.
#[inline]
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Which shard: an index in `0..shard_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

/// A shard's own name for one of its series.
///
/// The generation tells a reused slot from the series that had it before: a shard refuses a reference whose
/// generation is not the slot's, and the sender falls back to labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef {
    /// Slot in the shard's series table.
    pub index: u32,
    /// Reuse count of that slot.
    pub generation: u32,
}

/// Float samples of one series in time order, as two columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleColumns {
    /// Ascending timestamps in milliseconds.
    pub timestamps: Vec<TimestampMs>,
    /// The value at each timestamp, bit for bit as written (stale markers included).
    pub values: Vec<f64>,
}

impl SampleColumns {
    /// Forgets the samples, keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.timestamps.len(), self.values.len());
        self.timestamps.len()
    }

    /// True without samples.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Appends one sample; the caller keeps time order.
    #[inline]
    pub fn push(&mut self, timestamp: TimestampMs, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }
}

/// All that one series holds in some range of time; what goes into a block and comes out of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesSamples {
    /// Float samples.
    pub floats: SampleColumns,
    /// Native histograms in ascending order of time; none at the time of a float.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
    /// Start timestamps as runs: from this sample time on, samples carry this start timestamp (0: none), until the next run.
    pub starts: Vec<(TimestampMs, TimestampMs)>,
}

impl SeriesSamples {
    /// Forgets the samples, keeps the memory.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    /// Samples of both kinds.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// True without samples.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }
}
