//! Metrics of OpenTelemetry as series.
//!
//! Promise: names, labels, types and samples are those that Prometheus's receiver makes; what cannot be made is told, point by point, and the
//! rest goes on. Not here: reading (`protobuf`, `json`), storing.

use super::OtlpSettings;
use super::histogram::{custom, exponential, is_stale};
use super::labels::{Labels, OfResource, of_point, of_scope, of_target};
use super::model::{
    Attribute, Exemplar, Export, HistogramPoint, Metric, NumberPoint, ResourceMetrics,
    SummaryPoint, Temporality,
};
use super::naming::{NameKind, metric_name, unit_name};
use crate::limits::{OTLP_TARGET_INFO_MAX, ROW_FAULTS_MAX, ROWS_BYTES_MAX};
use crate::message::{Description, Message, MessageExemplar};
use storage_engine::model::{FloatHistogram, METRIC_NAME, STALE_NAN_BITS, TimestampMs};

/// Most characters of the labels of an exemplar (OpenMetrics).
const EXEMPLAR_CHARACTERS_MAX: usize = 128;
/// Types, by their numbers in a message.
const COUNTER: u8 = 1;
const GAUGE: u8 = 2;
const HISTOGRAM: u8 = 3;
const SUMMARY: u8 = 5;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Translation<'s> {
    settings: &'s OtlpSettings,
    pub(super) message: Message,
    pub(super) faults: Vec<String>,
    /// Points that are missing because of faults.
    pub(super) lost: u64,
    pub(super) points: u64,
}

fn milliseconds(nanoseconds: u64) -> TimestampMs {
    (nanoseconds / 1_000_000) as i64
}

/// A value, or the mark that there is none any more.
fn value_or_stale(value: f64, flags: u32) -> f64 {
    match is_stale(flags) {
        true => f64::from_bits(STALE_NAN_BITS),
        false => value,
    }
}

/// When a point is, and since when it counts.
#[derive(Clone, Copy)]
struct Times {
    at: TimestampMs,
    start: TimestampMs,
}

/// What the points of a metric share.
struct Family<'a> {
    name: String,
    description: Description<'a>,
    resource: &'a OfResource,
    scope: &'a [(String, String)],
}

impl<'s> Translation<'s> {
    pub(super) fn new(settings: &'s OtlpSettings) -> Translation<'s> {
        Translation {
            settings,
            message: Message::new(),
            faults: Vec::new(),
            lost: 0,
            points: 0,
        }
    }

    fn fault(&mut self, points: usize, text: impl FnOnce() -> String) {
        self.lost += points as u64;
        if self.faults.len() < ROW_FAULTS_MAX {
            self.faults.push(text());
        }
    }

    pub(super) fn take(&mut self, export: &Export<'_>) {
        for of_resource in &export.resource_metrics {
            self.take_resource(of_resource);
        }
    }

    fn take_resource(&mut self, metrics: &ResourceMetrics<'_>) {
        let attributes = &metrics.resource.attributes;
        let points = || {
            metrics
                .scope_metrics
                .iter()
                .flat_map(|s| &s.metrics)
                .map(points_of)
                .sum()
        };
        let resource = match OfResource::of(attributes, self.settings) {
            Ok(resource) => resource,
            Err(fault) => return self.fault(points(), || fault),
        };
        let mut times: Option<(u64, u64)> = None;
        for of_scope_metrics in &metrics.scope_metrics {
            let scope = of_scope(of_scope_metrics, self.settings);
            for metric in &of_scope_metrics.metrics {
                each_time(metric, |t| {
                    let (first, last) = times.unwrap_or((t, t));
                    times = Some((first.min(t), last.max(t)));
                });
                match &scope {
                    Ok(scope) => self.take_metric(metric, &resource, scope),
                    Err(fault) => self.fault(points_of(metric), || fault.clone()),
                }
            }
        }
        if let Some((first, last)) = times {
            match of_target(attributes, &resource, self.settings) {
                Ok(Some(labels)) => self.put_target_info(&labels, first, last),
                Ok(None) => {}
                Err(fault) => self.fault(0, || fault),
            }
        }
    }

    /// From the first to the last time, close enough together that an instant query finds one at any time between.
    fn put_target_info(&mut self, labels: &Labels, first: u64, last: u64) {
        let interval = (self.settings.lookback_delta_ms.max(2) / 2) as u64 * 1_000_000;
        let description = Description {
            kind: GAUGE,
            help: "Target metadata",
            unit: "",
        };
        // A point without a time is in 1970; what would come in between is left out.
        let intervals = last.saturating_sub(first) / interval;
        let skipped = intervals.saturating_sub(OTLP_TARGET_INFO_MAX);
        let mut at = first + skipped * interval;
        while at < last {
            self.begin("target_info", labels, None);
            self.message.sample(milliseconds(at), 1.0, 0);
            self.message.end();
            at = at.saturating_add(interval);
        }
        self.begin("target_info", labels, None);
        self.message.sample(milliseconds(last), 1.0, 0);
        self.message.describe(description);
        self.message.end();
    }

    fn begin(&mut self, name: &str, labels: &Labels, extra: Option<(&str, &str)>) {
        // `__name__` and `le` take the places of attributes of the same name.
        let own = [(METRIC_NAME, name)].into_iter().chain(extra);
        let others = labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let is_free = |n: &str| n != METRIC_NAME && extra.is_none_or(|(e, _)| e != n);
        let others = others.filter(|(n, v)| is_free(n) && !v.is_empty());
        let mut all: Vec<(&str, &str)> = own.chain(others).collect();
        all.sort_unstable();
        self.message.begin(all.into_iter());
    }

    fn take_metric(
        &mut self,
        metric: &Metric<'_>,
        resource: &OfResource,
        scope: &[(String, String)],
    ) {
        let points = points_of(metric);
        let temporality = match metric {
            Metric { sum: Some(sum), .. } => sum.aggregation_temporality,
            Metric {
                histogram: Some(h), ..
            } => h.aggregation_temporality,
            Metric {
                exponential_histogram: Some(h),
                ..
            } => h.aggregation_temporality,
            _ => Temporality::Cumulative,
        };
        if temporality != Temporality::Cumulative {
            let name = &metric.name;
            return self.fault(points, || {
                format!("invalid temporality and type combination for metric {name:?}")
            });
        }
        if self.message.bytes() > ROWS_BYTES_MAX {
            return self.fault(points, || "the request has too many series".to_owned());
        }
        let (kind, of_name) = match metric {
            Metric { gauge: Some(_), .. } => (GAUGE, NameKind::Gauge),
            Metric { sum: Some(sum), .. } if sum.is_monotonic => (COUNTER, NameKind::Counter),
            Metric { sum: Some(_), .. } => (GAUGE, NameKind::Other),
            Metric {
                summary: Some(_), ..
            } => (SUMMARY, NameKind::Other),
            _ => (HISTOGRAM, NameKind::Other),
        };
        let strategy = self.settings.label_names.strategy;
        let name = match metric_name(&metric.name, &metric.unit, of_name, strategy) {
            Ok(name) => name,
            Err(fault) => return self.fault(points, || fault),
        };
        if points == 0 {
            let name = &metric.name;
            return self.fault(0, || match metric {
                Metric {
                    gauge: None,
                    sum: None,
                    histogram: None,
                    exponential_histogram: None,
                    summary: None,
                    ..
                } => "unsupported metric type".to_owned(),
                _ => format!("empty data points. {name} is dropped"),
            });
        }
        let unit = unit_name(&metric.unit);
        let family = Family {
            name,
            description: Description {
                kind,
                help: &metric.description,
                unit: &unit,
            },
            resource,
            scope,
        };
        let numbers = metric.gauge.iter().chain(&metric.sum);
        for point in numbers.flat_map(|n| &n.data_points) {
            self.point(&family, &point.attributes, |own, labels| {
                own.put_number(&family, labels, point, metric.sum.is_some())
            });
        }
        for point in metric.histogram.iter().flat_map(|h| &h.data_points) {
            self.point(&family, &point.attributes, |own, labels| {
                match own.settings.histograms_to_native {
                    true => {
                        let times = Times {
                            at: milliseconds(point.time_unix_nano),
                            start: milliseconds(point.start_time_unix_nano),
                        };
                        own.put_native(&family, labels, (times, &custom(point)?), &point.exemplars)
                    }
                    false => own.put_buckets(&family, labels, point),
                }
            });
        }
        let exponentials = metric.exponential_histogram.iter();
        for point in exponentials.flat_map(|h| &h.data_points) {
            self.point(&family, &point.attributes, |own, labels| {
                let times = Times {
                    at: milliseconds(point.time_unix_nano),
                    start: milliseconds(point.start_time_unix_nano),
                };
                own.put_native(
                    &family,
                    labels,
                    (times, &exponential(point)?),
                    &point.exemplars,
                )
            });
        }
        for point in metric.summary.iter().flat_map(|s| &s.data_points) {
            self.point(&family, &point.attributes, |own, labels| {
                own.put_summary(&family, labels, point);
                Ok(())
            });
        }
    }

    fn point(
        &mut self,
        family: &Family<'_>,
        attributes: &[Attribute<'_>],
        put: impl FnOnce(&mut Self, &Labels) -> Result<(), String>,
    ) {
        let labels = of_point(attributes, family.resource, family.scope, self.settings);
        match labels.and_then(|labels| put(self, &labels)) {
            Ok(()) => self.points += 1,
            Err(fault) => self.fault(1, || fault),
        }
    }

    /// One sample as a series message.
    fn put(
        &mut self,
        (family, suffix): (&Family<'_>, &str),
        labels: &Labels,
        extra: Option<(&str, &str)>,
        (times, value): (Times, f64),
        exemplars: &[MessageExemplar],
    ) {
        let name = format!("{}{suffix}", family.name);
        self.begin(&name, labels, extra);
        self.message.sample(times.at, value, times.start);
        exemplars.iter().for_each(|e| self.message.exemplar(e));
        self.message.describe(family.description);
        self.message.end();
    }

    fn put_number(
        &mut self,
        family: &Family<'_>,
        labels: &Labels,
        point: &NumberPoint<'_>,
        is_sum: bool,
    ) -> Result<(), String> {
        let value = match (point.as_double, point.as_int) {
            (Some(value), _) => value,
            (None, value) => value.unwrap_or_default() as f64,
        };
        let exemplars = match is_sum {
            true => exemplars(&point.exemplars)?,
            false => Vec::new(),
        };
        let times = Times {
            at: milliseconds(point.time_unix_nano),
            start: match is_sum {
                true => milliseconds(point.start_time_unix_nano),
                false => 0,
            },
        };
        let value = value_or_stale(value, point.flags);
        self.put((family, ""), labels, None, (times, value), &exemplars);
        Ok(())
    }

    /// One native histogram as a series message.
    fn put_native(
        &mut self,
        family: &Family<'_>,
        labels: &Labels,
        (times, histogram): (Times, &FloatHistogram),
        found: &[Exemplar<'_>],
    ) -> Result<(), String> {
        let exemplars = exemplars(found)?;
        self.begin(&family.name, labels, None);
        self.message.histogram(times.at, histogram, times.start);
        exemplars.iter().for_each(|e| self.message.exemplar(e));
        self.message.describe(family.description);
        self.message.end();
        Ok(())
    }

    /// A histogram as series of sum, count and buckets.
    fn put_buckets(
        &mut self,
        family: &Family<'_>,
        labels: &Labels,
        point: &HistogramPoint<'_>,
    ) -> Result<(), String> {
        let times = Times {
            at: milliseconds(point.time_unix_nano),
            start: milliseconds(point.start_time_unix_nano),
        };
        let exemplars = exemplars(&point.exemplars)?;
        let mut exemplars = exemplars.as_slice();
        let sample = |value: f64| (times, value_or_stale(value, point.flags));
        if let Some(sum) = point.sum {
            self.put((family, "_sum"), labels, None, sample(sum), &[]);
        }
        let count = point.count as f64;
        self.put((family, "_count"), labels, None, sample(count), &[]);
        let mut below = 0_u64;
        for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
            below = below.wrapping_add(*count);
            // Both ascend.
            let here = exemplars.iter().take_while(|e| e.value <= *bound).count();
            let (here, above) = exemplars.split_at(here);
            exemplars = above;
            let extra = Some(("le", number_text(*bound)));
            let extra = extra.as_ref().map(|(name, text)| (*name, text.as_str()));
            self.put(
                (family, "_bucket"),
                labels,
                extra,
                sample(below as f64),
                here,
            );
        }
        let extra = Some(("le", "+Inf"));
        self.put((family, "_bucket"), labels, extra, sample(count), exemplars);
        Ok(())
    }

    fn put_summary(&mut self, family: &Family<'_>, labels: &Labels, point: &SummaryPoint<'_>) {
        let times = Times {
            at: milliseconds(point.time_unix_nano),
            start: milliseconds(point.start_time_unix_nano),
        };
        let sample = |value: f64| (times, value_or_stale(value, point.flags));
        self.put((family, "_sum"), labels, None, sample(point.sum), &[]);
        let count = point.count as f64;
        self.put((family, "_count"), labels, None, sample(count), &[]);
        for quantile in &point.quantile_values {
            let text = number_text(quantile.quantile);
            let extra = Some(("quantile", text.as_str()));
            self.put((family, ""), labels, extra, sample(quantile.value), &[]);
        }
    }
}

/// A number without an exponent, as short as it goes.
fn number_text(value: f64) -> String {
    match value {
        v if v == f64::INFINITY => "+Inf".to_owned(),
        v if v == f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

fn points_of(metric: &Metric<'_>) -> usize {
    let mut points = 0;
    each_time(metric, |_| points += 1);
    points
}

fn each_time(metric: &Metric<'_>, f: impl FnMut(u64)) {
    let numbers = metric.gauge.iter().chain(&metric.sum);
    let numbers = numbers.flat_map(|n| n.data_points.iter().map(|p| p.time_unix_nano));
    let histograms = metric.histogram.iter().flat_map(|h| &h.data_points);
    let exponentials = metric.exponential_histogram.iter();
    let exponentials = exponentials.flat_map(|h| &h.data_points);
    let summaries = metric.summary.iter().flat_map(|s| &s.data_points);
    numbers
        .chain(histograms.map(|p| p.time_unix_nano))
        .chain(exponentials.map(|p| p.time_unix_nano))
        .chain(summaries.map(|p| p.time_unix_nano))
        .for_each(f);
}

fn exemplars(all: &[Exemplar<'_>]) -> Result<Vec<MessageExemplar>, String> {
    all.iter().map(exemplar).collect()
}

fn exemplar(exemplar: &Exemplar<'_>) -> Result<MessageExemplar, String> {
    let value = match (exemplar.as_double, exemplar.as_int) {
        (Some(value), _) => value,
        (None, Some(value)) => value as f64,
        (None, None) => return Err("unsupported exemplar value type: Empty".to_owned()),
    };
    let mut labels = Vec::new();
    for (name, id) in [
        ("trace_id", &exemplar.trace_id),
        ("span_id", &exemplar.span_id),
    ] {
        if id.bytes().any(|digit| digit != b'0') {
            labels.push((name.to_owned(), id.to_lowercase()));
        }
    }
    let own: usize = labels.iter().map(|(n, v)| n.len() + v.len()).sum();
    let attributes = exemplar.filtered_attributes.iter();
    let attributes: Vec<(String, String)> = attributes
        .map(|a| (a.key.clone().into_owned(), a.value.to_text().into_owned()))
        .collect();
    let characters = |(n, v): &(String, String)| n.chars().count() + v.chars().count();
    if own + attributes.iter().map(characters).sum::<usize>() <= EXEMPLAR_CHARACTERS_MAX {
        labels.extend(attributes);
    }
    labels.sort();
    labels.dedup_by(|a, b| a.0 == b.0);
    Ok(MessageExemplar {
        labels,
        value,
        time: milliseconds(exemplar.time_unix_nano),
    })
}
