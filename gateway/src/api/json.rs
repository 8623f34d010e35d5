//! JSON of label sets and samples, written without an intermediate tree.

use crate::http::respond::push_json_string;
use query_engine::histogram::all_buckets;
use query_engine::number_text::format_value;
use storage_engine::model::{FloatHistogram, Labels};

/// `{"a":"b"}`.
pub(super) fn push_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        push_json_string(out, value);
    }
    out.push('}');
}

/// Milliseconds as seconds with at most three decimals, as Prometheus writes timestamps.
pub(super) fn push_timestamp(out: &mut String, ms: i64) {
    if ms < 0 {
        out.push('-');
    }
    let abs = ms.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    out.push_str(digits.format(abs / 1000));
    let fraction = abs % 1000;
    if fraction != 0 {
        out.push('.');
        if fraction < 100 {
            out.push('0');
        }
        if fraction < 10 {
            out.push('0');
        }
        out.push_str(digits.format(fraction));
    }
}

/// `[ts,"value"]`.
pub(super) fn push_sample(out: &mut String, ms: i64, value: f64) {
    out.push('[');
    push_timestamp(out, ms);
    out.push_str(",\"");
    format_value(value, out);
    out.push_str("\"]");
}

/// Samples of many series over the same steps: the text of a step's time is made once.
#[derive(Default)]
pub(super) struct SampleTexts {
    /// For the n-th sample of a series: its time, and `[ts,"`.
    opened: Vec<(i64, String)>,
}

impl SampleTexts {
    /// `[ts,"value"]` of the n-th sample of a series, n counted up one by one.
    pub(super) fn push(&mut self, out: &mut String, n: usize, ms: i64, value: f64) {
        let open = |ms| {
            let mut text = String::from("[");
            push_timestamp(&mut text, ms);
            text.push_str(",\"");
            (ms, text)
        };
        match self.opened.get_mut(n) {
            Some((of, _)) if *of == ms => {}
            Some(other) => *other = open(ms),
            None => self.opened.push(open(ms)),
        }
        if let Some((_, text)) = self.opened.get(n) {
            out.push_str(text);
        }
        format_value(value, out);
        out.push_str("\"]");
    }
}

/// `[ts,{"count":"3","sum":"4","buckets":[[0,"1","2","3"]]}]`: populated buckets in ascending order, each with a number for its bounds
/// (0: open on the left, 1: open on the right, 2: open, 3: closed).
pub(super) fn push_histogram_sample(out: &mut String, ms: i64, histogram: &FloatHistogram) {
    let quoted = |out: &mut String, value: f64| {
        out.push('"');
        format_value(value, out);
        out.push('"');
    };
    out.push('[');
    push_timestamp(out, ms);
    out.push_str(",{\"count\":");
    quoted(out, histogram.count);
    out.push_str(",\"sum\":");
    quoted(out, histogram.sum);
    let mut any = false;
    for bucket in all_buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        out.push_str(if any { ",[" } else { ",\"buckets\":[[" });
        any = true;
        out.push(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => '0',
            (true, false) => '1',
            (false, false) => '2',
            (true, true) => '3',
        });
        for number in [bucket.lower, bucket.upper, bucket.count] {
            out.push(',');
            quoted(out, number);
        }
        out.push(']');
    }
    if any {
        out.push(']');
    }
    out.push_str("}]");
}

/// `[ts,"value"]` of a scalar, which Prometheus writes without exponent.
pub(super) fn push_scalar(out: &mut String, ms: i64, value: f64) {
    out.push('[');
    push_timestamp(out, ms);
    out.push_str(",\"");
    query_engine::number_text::format_plain(value, out);
    out.push_str("\"]");
}

/// `["a","b"]`.
pub(super) fn string_list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(&mut out, item.as_ref());
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_engine::model::BucketSpan;

    #[test]
    fn timestamps_as_prometheus_writes_them() {
        let text = |ms| {
            let mut out = String::new();
            push_timestamp(&mut out, ms);
            out
        };
        assert_eq!(text(1_435_781_451_781), "1435781451.781");
        assert_eq!(text(1000), "1");
        assert_eq!(text(5), "0.005");
        assert_eq!(text(-1050), "-1.050");
    }

    #[test]
    fn samples_over_the_same_steps_are_written_like_single_ones() {
        let mut texts = SampleTexts::default();
        for times in [[1000, 2000, 3500], [1000, 2000, 3500], [2000, 3500, 5000]] {
            for (n, ms) in times.into_iter().enumerate() {
                let (mut out, mut single) = (String::new(), String::new());
                texts.push(&mut out, n, ms, n as f64 / 7.0);
                push_sample(&mut single, ms, n as f64 / 7.0);
                assert_eq!(out, single);
            }
        }
    }

    #[test]
    fn histograms_list_their_populated_buckets() {
        let span = |offset, length| vec![BucketSpan { offset, length }];
        let histogram = FloatHistogram {
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 9.5,
            sum: -1.0,
            positive_spans: span(0, 3),
            positive_buckets: vec![1.0, 0.0, 2.5],
            negative_spans: span(1, 1),
            negative_buckets: vec![4.0],
            ..FloatHistogram::default()
        };
        let mut out = String::new();
        push_histogram_sample(&mut out, 1500, &histogram);
        assert_eq!(
            out,
            "[1.500,{\"count\":\"9.5\",\"sum\":\"-1\",\"buckets\":[[1,\"-2\",\"-1\",\"4\"],\
             [3,\"-0.001\",\"0.001\",\"2\"],[0,\"0.5\",\"1\",\"1\"],[0,\"2\",\"4\",\"2.5\"]]}]"
        );
        let mut empty = String::new();
        push_histogram_sample(&mut empty, 0, &FloatHistogram::default());
        assert_eq!(empty, "[0,{\"count\":\"0\",\"sum\":\"0\"}]");
    }
}
