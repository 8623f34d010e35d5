//! All groups as one page: text 0.0.4, or delimited protobuf.

use super::family::Kind;
use super::key::Grouping;
use super::message::{
    FAMILY_HELP, FAMILY_METRIC, FAMILY_NAME, FAMILY_TYPE, METRIC_GAUGE, METRIC_LABEL, put_bytes,
    put_double, put_number, put_varint,
};
use super::view::{HistogramView, ValueView, go_float, metrics_of};
use bytes::Bytes;
use std::sync::Arc;

/// A family with the metrics of all groups that have it.
#[derive(Debug, Clone)]
pub struct PageFamily {
    /// Its name.
    pub name: Arc<str>,
    /// Its help, if any.
    pub help: Option<Arc<str>>,
    /// Its type.
    pub kind: Kind,
    /// Its metrics, group by group, for [`metrics_of`].
    pub metrics: Vec<Bytes>,
}

/// A page that can be written without the groups.
#[derive(Debug, Clone, Default)]
pub struct PushPage {
    /// In order of name.
    pub families: Vec<PageFamily>,
}

impl PushPage {
    /// Delimited `MetricFamily` messages.
    pub fn protobuf(&self) -> Vec<u8> {
        let bytes = self
            .families
            .iter()
            .flat_map(|f| &f.metrics)
            .map(Bytes::len);
        let mut out = Vec::with_capacity(bytes.sum::<usize>() + self.families.len() * 100);
        let mut head = Vec::new();
        for family in self.families.iter().filter(|f| !f.is_empty()) {
            head.clear();
            put_bytes(&mut head, FAMILY_NAME, family.name.as_bytes());
            if let Some(help) = &family.help {
                put_bytes(&mut head, FAMILY_HELP, help.as_bytes());
            }
            put_varint(&mut head, FAMILY_TYPE, family.kind as u64);
            let metrics: usize = family.metrics.iter().map(Bytes::len).sum();
            put_number(&mut out, (head.len() + metrics) as u64);
            out.extend_from_slice(&head);
            for metrics in &family.metrics {
                out.extend_from_slice(metrics);
            }
        }
        out
    }

    /// Text in the format 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for family in self.families.iter().filter(|f| !f.is_empty()) {
            family.write_text(&mut out);
        }
        out
    }
}

impl PageFamily {
    fn is_empty(&self) -> bool {
        self.metrics.iter().all(Bytes::is_empty)
    }

    fn write_text(&self, out: &mut String) {
        if let Some(help) = &self.help {
            out.push_str("# HELP ");
            out.push_str(&self.name);
            out.push(' ');
            push_escaped(out, help, false);
            out.push('\n');
        }
        out.push_str("# TYPE ");
        out.push_str(&self.name);
        out.push(' ');
        out.push_str(self.kind.text_name());
        out.push('\n');
        for metric in self.metrics.iter().flat_map(|metrics| metrics_of(metrics)) {
            let mut line = |suffix: &str, extra: Option<(&str, f64)>, value: &str| {
                out.push_str(&self.name);
                out.push_str(suffix);
                push_labels(out, &metric.labels, extra);
                out.push(' ');
                out.push_str(value);
                out.push('\n');
            };
            match &metric.value {
                ValueView::Number(value) => line("", None, &go_float(*value)),
                ValueView::Summary {
                    count,
                    sum,
                    quantiles,
                } => {
                    for (rank, value) in quantiles {
                        line("", Some(("quantile", *rank)), &go_float(*value));
                    }
                    line("_sum", None, &go_float(*sum));
                    line("_count", None, &count.to_string());
                }
                ValueView::Histogram(HistogramView {
                    count,
                    sum,
                    buckets,
                    ..
                }) => {
                    for (bound, below) in buckets {
                        line("_bucket", Some(("le", *bound)), &go_float(*below));
                    }
                    if !buckets.iter().any(|(bound, _)| *bound == f64::INFINITY) {
                        line("_bucket", Some(("le", f64::INFINITY)), &go_float(*count));
                    }
                    line("_sum", None, &go_float(*sum));
                    line("_count", None, &go_float(*count));
                }
            }
        }
    }
}

fn push_labels(out: &mut String, labels: &[(&str, &str)], extra: Option<(&str, f64)>) {
    if labels.is_empty() && extra.is_none() {
        return;
    }
    let mut separator = '{';
    for (name, value) in labels {
        out.push(separator);
        separator = ',';
        out.push_str(name);
        out.push_str("=\"");
        push_escaped(out, value, true);
        out.push('"');
    }
    if let Some((name, value)) = extra {
        out.push(separator);
        out.push_str(name);
        out.push_str("=\"");
        out.push_str(&go_float(value));
        out.push('"');
    }
    out.push('}');
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// A metric of the gateway's own about a group: a time in seconds, as a field of a `MetricFamily`.
pub(super) fn time_metric(grouping: &Grouping, time_ns: i64) -> Bytes {
    let mut labels: Vec<(&str, &str)> = Vec::with_capacity(grouping.labels().len() + 1);
    labels.extend(
        grouping
            .labels()
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str())),
    );
    if !labels.iter().any(|(name, _)| *name == "instance") {
        labels.push(("instance", ""));
        labels.sort_unstable();
    }
    let (mut metric, mut part) = (Vec::with_capacity(64), Vec::new());
    for (name, value) in labels {
        part.clear();
        put_bytes(&mut part, 1, name.as_bytes());
        put_bytes(&mut part, 2, value.as_bytes());
        put_bytes(&mut metric, METRIC_LABEL, &part);
    }
    part.clear();
    put_double(&mut part, 1, time_ns as f64 / 1e9);
    put_bytes(&mut metric, METRIC_GAUGE, &part);
    let mut out = Vec::with_capacity(metric.len() + 6);
    put_bytes(&mut out, FAMILY_METRIC, &metric);
    Bytes::from(out)
}
