//! Histogram literals, `{{schema:1 count:2 sum:3 buckets:[1 1]}}`, and classic histograms loaded as native ones.

use super::words::number;
use crate::functions::almost_equal;
use crate::histogram::{
    BucketSpan, ClassicHistogram, CounterResetHint, FloatHistogram, HistogramSum, compact,
    to_schema,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage_engine::model::{Labels, LabelsBuilder, METRIC_NAME, SampleColumns, TimestampMs};

/// A histogram as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Literal {
    pub(super) histogram: Arc<FloatHistogram>,
    /// Only a hint that is written is compared.
    pub(super) hint_given: bool,
}

/// Reads a literal; what follows it is given back.
pub(super) fn parse(text: &str) -> Option<(Literal, &str)> {
    let inside = text.strip_prefix("{{")?;
    let end = inside.find("}}")?;
    let (body, rest) = (inside.get(..end)?, inside.get(end + 2..)?);
    let mut out = FloatHistogram::default();
    let (mut offset, mut n_offset, mut hint_given) = (0, 0, false);
    let mut seen: Vec<&str> = Vec::new();
    let mut left = body.trim();
    while !left.is_empty() {
        let (key, after) = left.split_once(':')?;
        let key = key.trim();
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']')?,
            None => after.split_once([' ', '\t']).unwrap_or((after, "")),
        };
        left = next.trim_start();
        let list = || -> Option<Vec<f64>> { value.split_whitespace().map(float).collect() };
        match key {
            "schema" => out.schema = value.parse().ok()?,
            "sum" => out.sum = float(value)?,
            "count" => out.count = float(value)?,
            "z_bucket" => out.zero_count = float(value)?,
            "z_bucket_w" => out.zero_threshold = float(value)?,
            "buckets" => out.positive_buckets = list()?,
            "n_buckets" => out.negative_buckets = list()?,
            "custom_values" => out.custom_values = list()?,
            "offset" => offset = value.parse().ok()?,
            "n_offset" => n_offset = value.parse().ok()?,
            "counter_reset_hint" => {
                hint_given = true;
                out.counter_reset_hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::CounterReset,
                    "not_reset" => CounterResetHint::NotCounterReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    out.positive_spans = span(offset, &out.positive_buckets);
    out.negative_spans = span(n_offset, &out.negative_buckets);
    let literal = Literal {
        histogram: Arc::new(out),
        hint_given,
    };
    Some((literal, rest))
}

fn float(text: &str) -> Option<f64> {
    text.parse().ok().or_else(|| number(text))
}

fn span(offset: i32, counts: &[f64]) -> Vec<BucketSpan> {
    match counts.len() {
        0 => Vec::new(),
        length => vec![BucketSpan {
            offset,
            length: length as u32,
        }],
    }
}

/// `base`, then `count` more, each the one before plus (or minus) the step.
pub(super) fn series(
    base: Literal,
    step: &Literal,
    negative: bool,
    count: u64,
) -> Option<Vec<Literal>> {
    if base.histogram.schema > step.histogram.schema {
        return None;
    }
    let step_histogram = to_schema(&step.histogram, base.histogram.schema);
    let mut out = vec![base];
    for _ in 0..count {
        let before = out.last()?;
        let mut sum = HistogramSum::new(&before.histogram);
        let merged = if negative {
            sum.subtract(&step_histogram)
        } else {
            sum.add(&step_histogram)
        };
        merged.ok()?;
        let next = Literal {
            histogram: Arc::new(sum.finish_plain()),
            hint_given: before.hint_given,
        };
        out.push(next);
    }
    Some(out)
}

/// Equal to six digits, in the same layout once empty buckets are gone?
pub(super) fn matches(wanted: &Literal, got: &FloatHistogram, epsilon: f64) -> bool {
    let compacted = |h: &FloatHistogram| {
        let mut h = h.clone();
        compact(&mut h);
        h
    };
    let (a, b) = (compacted(&wanted.histogram), compacted(got));
    let close = |x: &[f64], y: &[f64]| {
        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| almost_equal(*x, *y, epsilon))
    };
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.custom_values == b.custom_values
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && close(
            &[a.count, a.sum, a.zero_count],
            &[b.count, b.sum, b.zero_count],
        )
        && close(&a.positive_buckets, &b.positive_buckets)
        && close(&a.negative_buckets, &b.negative_buckets)
        && (!wanted.hint_given || a.counter_reset_hint == b.counter_reset_hint)
}

/// Labels and histograms of a series.
pub(super) type NativeSeries = (Labels, Vec<(TimestampMs, Arc<FloatHistogram>)>);

/// Classic histograms of one load, by labels and time.
#[derive(Debug, Default)]
pub(super) struct ClassicSeries {
    series: BTreeMap<Labels, BTreeMap<TimestampMs, ClassicHistogram>>,
}

impl ClassicSeries {
    /// Takes in a series that may be a part of a classic histogram.
    pub(super) fn add(&mut self, labels: &Labels, samples: &SampleColumns) {
        let Some(name) = labels.metric_name() else {
            return;
        };
        let part = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| Some((*suffix, name.strip_suffix(suffix)?)));
        let Some((suffix, base)) = part else { return };
        let mut native = LabelsBuilder::new(labels);
        native.set(METRIC_NAME, base).del("le");
        let bound: Option<f64> = labels.value("le").parse().ok();
        if suffix == "_bucket" && bound.is_none_or(f64::is_nan) {
            return;
        }
        let series = self.series.entry(native.build()).or_default();
        for (t, v) in samples.timestamps.iter().zip(&samples.values) {
            let histogram = series.entry(*t).or_default();
            match (suffix, bound) {
                ("_bucket", Some(bound)) => histogram.set_bucket(bound, *v),
                ("_sum", _) => histogram.set_sum(*v),
                _ => histogram.set_count(*v),
            }
        }
    }

    /// The native series.
    pub(super) fn build(self) -> impl Iterator<Item = Result<NativeSeries, String>> {
        self.series.into_iter().map(|(labels, parts)| {
            let mut samples = Vec::with_capacity(parts.len());
            for (t, part) in parts {
                let histogram = part
                    .build()
                    .ok_or_else(|| format!("the parts of {labels} do not fit together"))?;
                samples.push((t, Arc::new(histogram)));
            }
            Ok((labels, samples))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read() {
        let (literal, rest) =
            parse("{{schema:1 n_offset:-2 n_buckets:[3 4] sum:-1 counter_reset_hint:gauge}}x3")
                .unwrap();
        assert_eq!(rest, "x3");
        assert!(literal.hint_given);
        let h = literal.histogram;
        assert_eq!((h.schema, h.sum), (1, -1.0));
        assert_eq!(
            h.negative_spans,
            [BucketSpan {
                offset: -2,
                length: 2
            }]
        );
        assert_eq!(h.negative_buckets, [3.0, 4.0]);
        assert!(parse("{{sum:1 sum:2}}").is_none());
        assert!(parse("{{unknown:1}}").is_none());
        assert!(parse("{{sum:1").is_none());
    }
}
