//! `/federate`: the newest samples of chosen series as a page that another Prometheus scrapes.
//!
//! Promise: what is chosen, its order, its labels, its timestamps, types and formats are those of Prometheus: untyped, stale series left out,
//! the external labels added where they are missing and an empty `instance` where there is none, so that `honor_labels` does the right
//! thing. Native histograms go out as protobuf only; those with custom buckets as classic series.

use super::federate_format::{Format, Page};
use super::query::now_ms;
use super::series_read::{Content, Found, Latest, Reading, Want};
use crate::http::request::{Form, Request};
use crate::http::respond::{Response, content, error_text};
use crate::limits::FORM_BYTES_MAX;
use crate::worker::Worker;
use query_engine::parse::parse_metric_selector;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use storage_engine::model::{
    FloatHistogram, Labels, LabelsBuilder, METRIC_NAME, TimestampMs, is_stale_nan,
};
use storage_engine::shard_api::TimeRange;

/// A sample on the page.
pub(super) struct Point {
    pub(super) labels: Labels,
    pub(super) time: TimestampMs,
    pub(super) value: PointValue,
}

/// What it is worth.
pub(super) enum PointValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// GET `/federate`.
pub async fn federate(worker: &Rc<Worker>, mut request: Request) -> Response {
    let form = match request.form(FORM_BYTES_MAX).await {
        Ok(form) => form,
        Err(error) => return error_text(400, &format!("error parsing form values: {error}")),
    };
    if let Some(fault) = form.fault() {
        return error_text(400, &format!("error parsing form values: {fault}"));
    }
    let selectors = match selectors(&form) {
        Ok(selectors) => selectors,
        Err(error) => return error_text(400, &error),
    };
    let format = Format::negotiate(request.header("accept").unwrap_or(""));
    let engine = worker.services.engine.load_full();
    let options = engine.options();
    let now = now_ms();
    let range = TimeRange {
        min: now.saturating_sub(options.lookback_delta_ms),
        max: now,
    };
    let found = if selectors.is_empty() {
        // Without a selector nothing is chosen; to the storage, none would mean all.
        Found::default()
    } else {
        let reading = Reading::new(usize::MAX, options);
        let store = &*worker.services.store;
        match reading.gather(store, selectors, range, Want::Latest).await {
            Ok(found) => found,
            Err(error) => {
                worker.http.federation.errors.inc();
                return error_text(500, &error.to_string());
            }
        }
    };
    let damages = found.notes.damage.len();
    worker.http.federation.warnings.add(damages as u64);
    let external = external_labels(&worker.services.jobs.load().external_labels);
    let page = Page::write(points(found), &external, format);
    content(200, format.content_type(), page)
}

fn selectors(form: &Form) -> Result<Vec<Vec<storage_engine::model::Matcher>>, String> {
    form.values("match[]")
        .map(|text| parse_metric_selector(text).map_err(|e| e.to_string()))
        .collect()
}

/// The labels to add, with an empty `instance` when the configuration names none.
fn external_labels(configured: &Labels) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = configured
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.entry("instance".to_owned()).or_default();
    labels
}

/// Samples that are neither stale nor nameless, by name and then by all labels.
fn points(found: Found) -> Vec<Point> {
    let mut points = Vec::with_capacity(found.series.len());
    for series in found.series {
        let Content::Latest(time, latest) = series.content else {
            continue;
        };
        let labels = series.labels;
        if labels.metric_name().is_none() {
            tracing::debug!(metric = %labels, "Ignoring nameless metric during federation");
            continue;
        }
        match latest {
            Latest::Float(value) if is_stale_nan(value) => {}
            Latest::Histogram(histogram) if histogram.is_stale() => {}
            Latest::Float(value) => points.push(Point {
                labels,
                time,
                value: PointValue::Float(value),
            }),
            Latest::Histogram(histogram) if histogram.has_custom_buckets() => {
                classic(&labels, time, &histogram, &mut points);
            }
            Latest::Histogram(histogram) => points.push(Point {
                labels,
                time,
                value: PointValue::Histogram(histogram),
            }),
        }
    }
    points.sort_by(|a, b| {
        let name = |point: &Point| point.labels.metric_name().unwrap_or("").to_owned();
        name(a).cmp(&name(b)).then_with(|| a.labels.cmp(&b.labels))
    });
    points
}

/// A histogram with custom buckets as the series that it was made of: no format has a place for its bounds.
fn classic(
    labels: &Labels,
    time: TimestampMs,
    histogram: &FloatHistogram,
    points: &mut Vec<Point>,
) {
    let name = labels.metric_name().unwrap_or("");
    let mut push = |suffix: &str, le: Option<&str>, value: f64| {
        let mut builder = LabelsBuilder::new(labels);
        builder.set(METRIC_NAME, &format!("{name}{suffix}"));
        if let Some(le) = le {
            builder.set("le", le);
        }
        points.push(Point {
            labels: builder.build(),
            time,
            value: PointValue::Float(value),
        });
    };
    let counts = bucket_counts(histogram);
    let mut below = 0.0;
    for (index, bound) in histogram.custom_values.iter().enumerate() {
        below += counts.get(&index).copied().unwrap_or(0.0);
        push("_bucket", Some(&open_metrics_float(*bound)), below);
    }
    push("_bucket", Some("+Inf"), histogram.count);
    push("_count", None, histogram.count);
    push("_sum", None, histogram.sum);
}

/// Counts by the number of the bucket.
fn bucket_counts(histogram: &FloatHistogram) -> BTreeMap<usize, f64> {
    let mut counts = BTreeMap::new();
    let mut values = histogram.positive_buckets.iter();
    let mut index = 0i64;
    for span in &histogram.positive_spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            if let (Ok(at), Some(value)) = (usize::try_from(index), values.next()) {
                counts.insert(at, *value);
            }
            index += 1;
        }
    }
    counts
}

/// A bound as `le` has it: with a point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = ingest::pushgateway::go_float(value);
    match text.contains(['.', 'e', 'N', 'I']) {
        true => text,
        false => format!("{text}.0"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::series_read::SeriesRead;
    use super::*;
    use storage_engine::model::BucketSpan;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    fn found(series: Vec<(&[(&str, &str)], Latest)>) -> Found {
        let series = series.into_iter().map(|(pairs, latest)| SeriesRead {
            labels: labels(pairs),
            content: Content::Latest(1000, latest),
        });
        Found {
            series: series.collect(),
            ..Found::default()
        }
    }

    fn page(series: Vec<(&[(&str, &str)], Latest)>, accept: &str) -> String {
        let external = external_labels(&labels(&[("region", "eu"), ("job", "x")]));
        let page = Page::write(points(found(series)), &external, Format::negotiate(accept));
        String::from_utf8(page).unwrap()
    }

    fn stale() -> f64 {
        f64::from_bits(0x7ff0_0000_0000_0002)
    }

    #[test]
    fn prometheus_s_page() {
        let series = || -> Vec<(&[(&str, &str)], Latest)> {
            vec![
                (
                    &[("A", "z"), ("__name__", "up"), ("job", "a")],
                    Latest::Float(1.0),
                ),
                (
                    &[("__name__", "load"), ("instance", "h:1")],
                    Latest::Float(1.5e-7),
                ),
                (&[("__name__", "up"), ("job", "b")], Latest::Float(f64::NAN)),
                (&[("__name__", "up"), ("job", "c")], Latest::Float(stale())),
                (&[("job", "nameless")], Latest::Float(1.0)),
                (&[("__name__", "h")], Latest::Histogram(Arc::default())),
                (
                    &[("__name__", "a.b"), ("l-m", "q\"\\\n")],
                    Latest::Float(f64::INFINITY),
                ),
            ]
        };
        assert_eq!(
            page(series(), ""),
            "# TYPE a_b untyped\n\
             a_b{l_m=\"q\\\"\\\\\\n\",instance=\"\",job=\"x\",region=\"eu\"} +Inf 1000\n\
             # TYPE load untyped\n\
             load{instance=\"h:1\",job=\"x\",region=\"eu\"} 1.5e-07 1000\n\
             # TYPE up untyped\n\
             up{A=\"z\",job=\"a\",instance=\"\",region=\"eu\"} 1 1000\n\
             up{job=\"b\",instance=\"\",region=\"eu\"} NaN 1000\n"
        );
        let quoted = page(series(), "text/plain;escaping=allow-utf-8");
        assert!(quoted.starts_with(
            "# TYPE \"a.b\" untyped\n{\"a.b\",\"l-m\"=\"q\\\"\\\\\\n\",instance=\"\",job=\"x\",region=\"eu\"} +Inf 1000\n"
        ), "{quoted}");
        let open = page(series(), "application/openmetrics-text;version=1.0.0");
        assert!(open.starts_with("# TYPE a_b unknown\n"), "{open}");
        assert!(
            open.contains("up{A=\"z\",job=\"a\",instance=\"\",region=\"eu\"} 1.0 1.000\n"),
            "{open}"
        );
        assert!(open.ends_with("# EOF\n"));
    }

    #[test]
    fn custom_buckets_go_out_as_classic_series() {
        let histogram = FloatHistogram {
            schema: -53,
            count: 6.0,
            sum: 9.5,
            positive_spans: vec![
                BucketSpan {
                    offset: 0,
                    length: 1,
                },
                BucketSpan {
                    offset: 1,
                    length: 1,
                },
            ],
            positive_buckets: vec![2.0, 4.0],
            custom_values: vec![1.0, 2.5],
            ..FloatHistogram::default()
        };
        let series: Vec<(&[(&str, &str)], Latest)> =
            vec![(&[("__name__", "h")], Latest::Histogram(Arc::new(histogram)))];
        let page = page(series, "");
        for line in [
            "h_bucket{le=\"1.0\",instance=\"\",job=\"x\",region=\"eu\"} 2 1000",
            "h_bucket{le=\"2.5\",instance=\"\",job=\"x\",region=\"eu\"} 2 1000",
            "h_bucket{le=\"+Inf\",instance=\"\",job=\"x\",region=\"eu\"} 6 1000",
            "h_count{instance=\"\",job=\"x\",region=\"eu\"} 6 1000",
            "h_sum{instance=\"\",job=\"x\",region=\"eu\"} 9.5 1000",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
