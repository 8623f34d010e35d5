//! The bucket layout that all histograms of one Prometheus chunk share, and how it grows.
//!
//! Promise: joining layouts gives the spans that Prometheus gives (`expandIntSpansAndBuckets`, `expandSpansBothWays`). Not here: when
//! a chunk may grow and when a new one begins (`histogram_chunk`).

use super::bits::{BitReader, BitWriter, OutOfBits};
use crate::limits::HISTOGRAM_PARTS_MAX;
use crate::model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, FloatHistogram, indexed_buckets};

/// The buckets of one sign.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Side {
    /// As Prometheus stores them.
    pub(super) spans: Vec<BucketSpan>,
    /// The index of each bucket, ascending.
    pub(super) indexes: Vec<i64>,
}

/// How the buckets of a histogram relate to a [`Side`].
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// The histogram has buckets that the side lacks.
    pub(super) grows: bool,
    /// The side has buckets that the histogram lacks.
    pub(super) lacks: bool,
    /// All of both.
    pub(super) indexes: Vec<i64>,
}

impl Side {
    /// The layout of a histogram's buckets.
    pub(super) fn new(spans: &[BucketSpan], bucket_count: usize) -> Side {
        let counts = vec![0.0; bucket_count];
        Side {
            spans: spans.to_vec(),
            indexes: indexed_buckets(spans, &counts).map(|(i, _)| i).collect(),
        }
    }

    /// Spans without gaps of zero or empty spans, for buckets that were joined.
    pub(super) fn of_indexes(indexes: Vec<i64>) -> Side {
        let mut spans: Vec<BucketSpan> = Vec::new();
        let mut end = 0_i64;
        for &index in &indexes {
            match spans.last_mut() {
                Some(span) if index == end => span.length += 1,
                _ => spans.push(BucketSpan {
                    offset: (index - end) as i32,
                    length: 1,
                }),
            }
            end = index + 1;
        }
        Side { spans, indexes }
    }

    /// Compares with other buckets, both ascending.
    pub(super) fn join(&self, other: &Side) -> Joined {
        let (mut grows, mut lacks) = (false, false);
        let mut indexes = Vec::with_capacity(self.indexes.len().max(other.indexes.len()));
        let mut ours = self.indexes.iter().copied().peekable();
        let mut theirs = other.indexes.iter().copied().peekable();
        loop {
            let index = match (ours.peek(), theirs.peek()) {
                (Some(&a), Some(&b)) => a.min(b),
                (Some(&a), None) => a,
                (None, Some(&b)) => b,
                (None, None) => break,
            };
            let ours_has = ours.next_if_eq(&index).is_some();
            let theirs_has = theirs.next_if_eq(&index).is_some();
            grows |= !ours_has;
            lacks |= !theirs_has;
            indexes.push(index);
        }
        Joined {
            grows,
            lacks,
            indexes,
        }
    }

    /// Puts counts into the places of this layout; a bucket that is not given counts 0.
    pub(super) fn spread(&self, spans: &[BucketSpan], counts: &[f64], out: &mut Vec<f64>) {
        out.clear();
        let mut given = indexed_buckets(spans, counts).peekable();
        for &index in &self.indexes {
            while given.next_if(|(i, _)| *i < index).is_some() {}
            let count = given.next_if(|(i, _)| *i == index);
            out.push(count.map_or(0.0, |(_, count)| count));
        }
    }

    fn put(&self, out: &mut BitWriter) {
        out.put_varbit_uint(self.spans.len() as u64);
        for span in &self.spans {
            out.put_varbit_uint(u64::from(span.length));
            out.put_varbit_int(i64::from(span.offset));
        }
    }

    fn take(bits: &mut BitReader<'_>) -> Result<Side, LayoutError> {
        let count = bits.take_varbit_uint()?;
        // A span takes two bits at least, so a greater count is damage, not a reason to allocate.
        if count > bits.left() as u64 {
            return Err(LayoutError::Bits(OutOfBits));
        }
        let mut spans = Vec::new();
        let mut buckets = 0_u64;
        for _ in 0..count {
            let length = bits.take_varbit_uint()?;
            let offset = bits.take_varbit_int()?;
            let length = u32::try_from(length).map_err(|_| LayoutError::Span)?;
            let offset = i32::try_from(offset).map_err(|_| LayoutError::Span)?;
            buckets += u64::from(length);
            spans.push(BucketSpan { offset, length });
        }
        if buckets > HISTOGRAM_PARTS_MAX as u64 {
            return Err(LayoutError::TooLarge { buckets });
        }
        Ok(Side::new(&spans, buckets as usize))
    }
}

/// What the histograms of a chunk have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive: Side,
    pub(super) negative: Side,
    pub(super) custom_values: Vec<f64>,
}

/// Why bytes are not a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// They end early.
    #[error(transparent)]
    Bits(#[from] OutOfBits),
    /// A number that fits no span.
    #[error("a span of buckets is out of range")]
    Span,
    /// More buckets than any histogram may have.
    #[error("{buckets} buckets")]
    TooLarge {
        /// How many.
        buckets: u64,
    },
}

impl Layout {
    /// The layout of a chunk that begins with `histogram`.
    pub(super) fn of(histogram: &FloatHistogram) -> Layout {
        if histogram.is_stale() {
            return Layout::default();
        }
        Layout {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            positive: Side::new(&histogram.positive_spans, histogram.positive_buckets.len()),
            negative: Side::new(&histogram.negative_spans, histogram.negative_buckets.len()),
            custom_values: histogram.custom_values.clone(),
        }
    }

    /// Writes it as the first bits of a chunk.
    pub(super) fn put(&self, out: &mut BitWriter) {
        put_zero_threshold(self.zero_threshold, out);
        out.put_varbit_int(i64::from(self.schema));
        self.positive.put(out);
        self.negative.put(out);
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            out.put_varbit_uint(self.custom_values.len() as u64);
            for &bound in &self.custom_values {
                put_custom_bound(bound, out);
            }
        }
    }

    /// Reads it.
    pub(super) fn take(bits: &mut BitReader<'_>) -> Result<Layout, LayoutError> {
        let zero_threshold = take_zero_threshold(bits)?;
        let schema = bits.take_varbit_int()?;
        let mut layout = Layout {
            schema: i32::try_from(schema).map_err(|_| LayoutError::Span)?,
            zero_threshold,
            positive: Side::take(bits)?,
            negative: Side::take(bits)?,
            custom_values: Vec::new(),
        };
        if layout.schema == CUSTOM_BUCKETS_SCHEMA {
            let count = bits.take_varbit_uint()?;
            if count > bits.left() as u64 {
                return Err(LayoutError::Bits(OutOfBits));
            }
            for _ in 0..count {
                layout.custom_values.push(take_custom_bound(bits)?);
            }
        }
        Ok(layout)
    }
}

/// Powers of two from 2^-243 to 2^10 are one byte: their exponent, plus this.
const EXPONENT_SHIFT: i64 = 243;

fn put_zero_threshold(threshold: f64, out: &mut BitWriter) {
    if threshold == 0.0 {
        return out.put_byte(0);
    }
    let bits = threshold.to_bits();
    let is_power = bits & ((1 << 52) - 1) == 0 && threshold > 0.0;
    // As `frexp` counts: the fraction is 0.5.
    let exponent = (bits >> 52) as i64 - 1022;
    if is_power && (-242..=11).contains(&exponent) {
        return out.put_byte((exponent + EXPONENT_SHIFT) as u8);
    }
    out.put_byte(255);
    out.put(bits, 64);
}

fn take_zero_threshold(bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
    Ok(match bits.take(8)? {
        0 => 0.0,
        255 => bits.take_float()?,
        byte => f64::from_bits((byte + 1022 - EXPONENT_SHIFT as u64) << 52),
    })
}

/// Largest number of thousandths that is written as an integer.
const THOUSANDTHS_MAX: f64 = 33_554_430.0;

fn put_custom_bound(bound: f64, out: &mut BitWriter) {
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    let whole = (0.0..=THOUSANDTHS_MAX).contains(&thousandths)
        && bound.is_sign_positive()
        && rounded / 1000.0 == bound;
    if whole {
        return out.put_varbit_uint(rounded as u64 + 1);
    }
    out.put(0, 1);
    out.put(bound.to_bits(), 64);
}

fn take_custom_bound(bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
    Ok(match bits.take_varbit_uint()? {
        0 => bits.take_float()?,
        number => (number - 1) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_thresholds_and_bounds_come_back() {
        let thresholds = [
            (0.0, 8),
            (2.0_f64.powi(-128), 8),
            (2.0_f64.powi(-243), 8),
            (1024.0, 8),
            (2.0_f64.powi(-244), 72),
            (2048.0, 72),
            (0.001, 72),
        ];
        for (threshold, width) in thresholds {
            let mut out = BitWriter::default();
            put_zero_threshold(threshold, &mut out);
            assert_eq!(out.bytes().len() * 8, width, "{threshold}");
            let back = take_zero_threshold(&mut BitReader::new(out.bytes()));
            assert_eq!(back, Ok(threshold));
        }
        // The default threshold, as Prometheus's comment on the format says.
        let mut out = BitWriter::default();
        put_zero_threshold(2.0_f64.powi(-128), &mut out);
        assert_eq!(out.bytes(), [116]);
        for bound in [
            0.0,
            -0.0,
            0.005,
            33_554.43,
            33_554.431,
            -1.5,
            0.0005,
            1e300,
            f64::INFINITY,
        ] {
            let mut out = BitWriter::default();
            put_custom_bound(bound, &mut out);
            let back = take_custom_bound(&mut BitReader::new(out.bytes()));
            assert_eq!(back.map(f64::to_bits), Ok(bound.to_bits()), "{bound}");
        }
    }

    #[test]
    fn joined_buckets_get_plain_spans() {
        let side = |indexes: &[i64]| Side::of_indexes(indexes.to_vec());
        let joined = side(&[-2, 0, 1, 4]).join(&side(&[0, 2, 4, 9]));
        assert!(joined.grows && joined.lacks);
        assert_eq!(joined.indexes, [-2, 0, 1, 2, 4, 9]);
        let spans: Vec<(i32, u32)> = Side::of_indexes(joined.indexes)
            .spans
            .iter()
            .map(|s| (s.offset, s.length))
            .collect();
        assert_eq!(spans, [(-2, 1), (1, 3), (1, 1), (4, 1)]);
        let joined = side(&[1, 2]).join(&side(&[1, 2]));
        assert!(!joined.grows && !joined.lacks);
    }
}
