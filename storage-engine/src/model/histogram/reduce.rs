//! Histograms with fewer buckets: coarser ones, and ones without empty buckets.

use super::{
    BucketSpan, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MAX_RESERVED, EXPONENTIAL_SCHEMA_MIN,
    FloatHistogram, HistogramError, check_spans, indexed_buckets,
};

impl FloatHistogram {
    /// Makes a histogram of a schema above [`EXPONENTIAL_SCHEMA_MAX`] one of that schema: neighbouring buckets become one.
    /// Others stay as they are.
    pub fn limit_resolution(&mut self) -> Result<(), HistogramError> {
        let finer = EXPONENTIAL_SCHEMA_MAX + 1..=EXPONENTIAL_SCHEMA_MAX_RESERVED;
        if !finer.contains(&self.schema) || self.is_stale() {
            return Ok(());
        }
        self.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)
    }

    /// Makes an exponential histogram of a higher schema one of this schema: `2^n` neighbouring buckets become one. Others stay as they
    /// are. The schema must not be below [`EXPONENTIAL_SCHEMA_MIN`].
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        let exponential = EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX_RESERVED;
        if !exponential.contains(&self.schema) || self.schema <= schema {
            return Ok(());
        }
        let halvings = self.schema - schema;
        for (part, spans, buckets) in self.sides() {
            check_spans(part, spans, buckets.len())?;
            let merged = indexed_buckets(spans, buckets)
                .map(|(index, count)| (((index - 1) >> halvings) + 1, count));
            (*spans, *buckets) = rebuilt(merged);
        }
        self.schema = schema;
        Ok(())
    }

    /// Leaves empty buckets out, and makes one span of neighbours.
    pub fn compact(&mut self) -> Result<(), HistogramError> {
        for (part, spans, buckets) in self.sides() {
            check_spans(part, spans, buckets.len())?;
            let filled = indexed_buckets(spans, buckets).filter(|(_, count)| *count != 0.0);
            (*spans, *buckets) = rebuilt(filled);
        }
        Ok(())
    }

    fn sides(&mut self) -> [(&'static str, &mut Vec<BucketSpan>, &mut Vec<f64>); 2] {
        [
            (
                "positive side",
                &mut self.positive_spans,
                &mut self.positive_buckets,
            ),
            (
                "negative side",
                &mut self.negative_spans,
                &mut self.negative_buckets,
            ),
        ]
    }
}

/// Spans and counts of buckets in ascending order of index; those of one index become one.
fn rebuilt(buckets: impl Iterator<Item = (i64, f64)>) -> (Vec<BucketSpan>, Vec<f64>) {
    let mut built: (Vec<BucketSpan>, Vec<f64>) = Default::default();
    // Index behind the newest bucket.
    let mut end = 0_i64;
    for (index, count) in buckets {
        match (built.1.last_mut(), built.0.last_mut()) {
            (Some(last), _) if index + 1 == end => *last += count,
            (Some(_), Some(span)) if index == end => {
                span.length += 1;
                built.1.push(count);
                end += 1;
            }
            _ => {
                built.0.push(BucketSpan {
                    offset: (index - end) as i32,
                    length: 1,
                });
                built.1.push(count);
                end = index + 1;
            }
        }
    }
    built
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(all: &[(i32, u32)]) -> Vec<BucketSpan> {
        let span = |&(offset, length)| BucketSpan { offset, length };
        all.iter().map(span).collect()
    }

    #[test]
    fn empty_buckets_go_and_neighbours_join() {
        let mut h = FloatHistogram {
            schema: 3,
            positive_spans: spans(&[(-2, 3), (0, 2), (4, 0), (1, 2)]),
            positive_buckets: vec![0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 7.0],
            negative_spans: spans(&[(0, 0)]),
            ..FloatHistogram::default()
        };
        h.compact().unwrap();
        assert_eq!(h.positive_spans, spans(&[(-1, 3), (7, 1)]));
        assert_eq!(h.positive_buckets, [1.0, 2.0, 3.0, 7.0]);
        assert_eq!((h.negative_spans.len(), h.negative_buckets.len()), (0, 0));
        let mut wrong = FloatHistogram {
            positive_spans: spans(&[(0, 2)]),
            ..FloatHistogram::default()
        };
        assert!(wrong.compact().is_err());
    }

    #[test]
    fn resolution_goes_down_to_what_is_asked() {
        let mut h = FloatHistogram {
            schema: 2,
            positive_spans: spans(&[(-1, 4)]),
            positive_buckets: vec![1.0, 2.0, 4.0, 8.0],
            ..FloatHistogram::default()
        };
        let same = h.clone();
        h.reduce_resolution(2).unwrap();
        assert!(h.same_bits(&same));
        h.reduce_resolution(1).unwrap();
        // Indexes -1, 0, 1, 2 become 0, 0, 1, 1.
        assert_eq!((h.schema, h.positive_buckets), (1, vec![3.0, 12.0]));
        assert_eq!(h.positive_spans, spans(&[(0, 2)]));
    }
}
