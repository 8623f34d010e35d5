//! Groups of pushed metrics as the Pushgateway's API shows them: numbers as text, members in order of name.

use crate::http::respond::push_json_string;
use ingest::pushgateway::{GroupDescription, HistogramView, MetricView, PageFamily, ValueView};
use ingest::pushgateway::{go_float, metrics_of};
use query_engine::histogram::all_buckets;
use std::collections::BTreeMap;

/// The whole answer.
pub(super) fn groups_json(groups: &[GroupDescription]) -> String {
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for (i, group) in groups.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_members(&mut out, members_of(group));
    }
    out.push_str("]}");
    out
}

fn members_of(group: &GroupDescription) -> BTreeMap<&str, String> {
    let families = group.families.iter();
    let mut members: BTreeMap<&str, String> = families
        .map(|(family, time_ns)| (&*family.name, family_json(family, *time_ns)))
        .collect();
    let labels = group.grouping.labels().iter();
    members.insert(
        "labels",
        labels_json(labels.map(|(n, v)| (n.as_str(), v.as_str()))),
    );
    members.insert(
        "last_push_successful",
        group.last_push_successful.to_string(),
    );
    members
}

fn push_members<K: AsRef<str>>(out: &mut String, members: impl IntoIterator<Item = (K, String)>) {
    out.push('{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, name.as_ref());
        out.push(':');
        out.push_str(&value);
    }
    out.push('}');
}

fn text_json(text: &str) -> String {
    let mut out = String::new();
    push_json_string(&mut out, text);
    out
}

fn labels_json<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    let members: BTreeMap<&str, String> = labels.map(|(n, v)| (n, text_json(v))).collect();
    push_members(&mut out, members);
    out
}

/// A map of numbers, both sides as text. Of two members with one name the later counts.
fn numbers_json(numbers: &[(f64, f64)]) -> String {
    let member = |(name, value): &(f64, f64)| (go_float(*name), text_json(&go_float(*value)));
    let members: BTreeMap<String, String> = numbers.iter().map(member).collect();
    let mut out = String::new();
    push_members(&mut out, members);
    out
}

fn family_json(family: &PageFamily, time_ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
    let mut out = String::from("{\"time_stamp\":");
    push_json_string(&mut out, &time.to_string());
    out.push_str(",\"type\":");
    push_json_string(&mut out, family.kind.name());
    if let Some(help) = family.help.as_ref().filter(|help| !help.is_empty()) {
        out.push_str(",\"help\":");
        push_json_string(&mut out, help);
    }
    out.push_str(",\"metrics\":[");
    let metrics = family
        .metrics
        .iter()
        .flat_map(|metrics| metrics_of(metrics));
    for (i, metric) in metrics.enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_members(&mut out, metric_members(&metric));
    }
    out.push_str("]}");
    out
}

fn metric_members(metric: &MetricView<'_>) -> BTreeMap<&'static str, String> {
    let number = |value: f64| text_json(&go_float(value));
    let mut members = BTreeMap::new();
    members.insert("labels", labels_json(metric.labels.iter().copied()));
    match &metric.value {
        ValueView::Number(value) => {
            members.insert("value", number(*value));
        }
        ValueView::Summary {
            count,
            sum,
            quantiles,
        } => {
            members.insert("count", text_json(&count.to_string()));
            members.insert("sum", number(*sum));
            members.insert("quantiles", numbers_json(quantiles));
        }
        ValueView::Histogram(histogram) => {
            members.insert("sum", number(histogram.sum));
            members.insert("count", count_json(histogram));
            members.insert("buckets", buckets_json(histogram));
        }
    }
    members
}

/// An integer count without an exponent, as Go prints an integer.
fn count_json(histogram: &HistogramView) -> String {
    let count = histogram.count;
    let integer = histogram
        .native
        .as_ref()
        .is_none_or(|native| native.integer);
    match integer && count >= 0.0 && count.fract() == 0.0 && count < 9e15 {
        true => text_json(&(count as u64).to_string()),
        false => text_json(&go_float(count)),
    }
}

fn buckets_json(histogram: &HistogramView) -> String {
    let Some(native) = &histogram.native else {
        let count = |count: f64| match count.fract() == 0.0 && count.abs() < 9e15 {
            true => (count as i64).to_string(),
            false => go_float(count),
        };
        let member = |(bound, below): &(f64, f64)| (go_float(*bound), text_json(&count(*below)));
        let members: BTreeMap<String, String> = histogram.buckets.iter().map(member).collect();
        let mut out = String::new();
        push_members(&mut out, members);
        return out;
    };
    let mut out = String::from("[");
    for bucket in all_buckets(native).into_iter().filter(|b| b.count != 0.0) {
        if out.len() > 1 {
            out.push(',');
        }
        let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        let [lower, upper, count] =
            [bucket.lower, bucket.upper, bucket.count].map(|n| text_json(&go_float(n)));
        out.push_str(&format!("[{bounds},{lower},{upper},{count}]"));
    }
    out.push(']');
    out
}
