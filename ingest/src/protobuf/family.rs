//! `MetricFamily` messages, one after another, and the samples that their metrics stand for.

use super::histogram::HistogramParts;
use super::key::{BoundLabel, KeyWriter};
use super::metric::{Kind, Metric};
use super::{FamilyMetadata, FoundSample, FoundValue, PageError, PageSink, ReadOptions};
use crate::text::{MetricType, NORMAL_NAN_BITS};
use crate::wire::{Reader, bytes, unsigned};
use std::sync::Arc;
use storage_engine::model::{Exemplar, TimestampMs};

/// Walks a page; `sink` hears of every family with metrics, and of every sample. A native histogram that is not valid ends it.
pub(crate) fn read_page<S: PageSink>(
    page: &[u8],
    options: ReadOptions,
    sink: &mut S,
) -> Result<(), S::Error> {
    let mut reader = Reader::new(page);
    let mut metrics = Vec::new();
    let mut room = Room::default();
    while !reader.at_end() {
        let message = reader.bytes().map_err(PageError::Wire)?;
        let family = Family::read(message, &mut metrics)?;
        if metrics.is_empty() {
            continue;
        }
        let metadata = family.checked()?;
        sink.family(metadata);
        for metric in &metrics {
            room.metric.read(metric, family.kind()?, &mut room.keys)?;
            let series = Series {
                name: metadata.name,
                kind: family.kind()?,
                options,
            };
            series.samples(&mut room, sink)?;
        }
    }
    Ok(())
}

/// Buffers for one metric after another.
#[derive(Default)]
struct Room {
    metric: Metric,
    keys: KeyWriter,
    exemplars: Vec<Exemplar>,
}

/// The fields of a family, metrics apart.
#[derive(Default)]
struct Family<'p> {
    name: &'p [u8],
    help: &'p [u8],
    unit: &'p [u8],
    kind: u64,
}

impl<'p> Family<'p> {
    /// Reads a message, its metrics into `metrics`, in whatever order the fields come.
    fn read(message: &'p [u8], metrics: &mut Vec<&'p [u8]>) -> Result<Self, PageError> {
        let mut family = Family::default();
        metrics.clear();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("MetricFamily")? {
            match tag.field {
                1 => family.name = bytes(&mut reader, tag, "Name")?,
                2 => family.help = bytes(&mut reader, tag, "Help")?,
                3 => family.kind = unsigned(&mut reader, tag, "Type")?,
                4 => metrics.push(bytes(&mut reader, tag, "Metric")?),
                5 => family.unit = bytes(&mut reader, tag, "Unit")?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(family)
    }

    fn kind(&self) -> Result<Kind, PageError> {
        Kind::from_number(self.kind).ok_or_else(|| PageError::MetricType {
            name: String::from_utf8_lossy(self.name).into_owned(),
            number: self.kind,
        })
    }

    /// The family's metadata, if it is as it should be.
    fn checked(&self) -> Result<FamilyMetadata<'p>, PageError> {
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let name = std::str::from_utf8(self.name)
            .ok()
            .filter(|n| !n.is_empty());
        let name = name.ok_or_else(|| PageError::Name(lossy(self.name)))?;
        let help = std::str::from_utf8(self.help).map_err(|_| PageError::Help {
            name: name.to_owned(),
            help: lossy(self.help),
        })?;
        let kind = self.kind()?;
        let unit = lossy(self.unit);
        let (stem, what) = match name.strip_suffix("_total") {
            Some(stem) if kind == Kind::Counter => (stem, "counter"),
            _ => (name, "metric"),
        };
        let named = stem.strip_suffix(&unit).is_some_and(|s| s.ends_with('_'));
        if !unit.is_empty() && !named {
            let name = name.to_owned();
            return Err(PageError::UnitSuffix { unit, what, name });
        }
        Ok(FamilyMetadata {
            name,
            metric_type: match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Summary => MetricType::Summary,
                Kind::Untyped => MetricType::Unknown,
                Kind::Histogram => MetricType::Histogram,
                Kind::GaugeHistogram => MetricType::GaugeHistogram,
            },
            help,
            // Checked above: a name ends with it, so it is text.
            unit: std::str::from_utf8(self.unit).unwrap_or_default(),
        })
    }
}

/// What the series of one metric have in common.
struct Series<'p> {
    name: &'p str,
    kind: Kind,
    options: ReadOptions,
}

impl Series<'_> {
    fn samples<S: PageSink>(&self, room: &mut Room, sink: &mut S) -> Result<(), S::Error> {
        match self.kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped => {
                let exemplars = std::mem::take(&mut room.metric.exemplars);
                let value = room.metric.value;
                self.float(room, sink, ("", None), value, &exemplars)?;
                room.metric.exemplars = exemplars;
                Ok(())
            }
            Kind::Summary => {
                let (count, sum) = (room.metric.count as f64, room.metric.value);
                self.float(room, sink, ("_count", None), count, &[])?;
                self.float(room, sink, ("_sum", None), sum, &[])?;
                let quantiles = std::mem::take(&mut room.metric.quantiles);
                for &(quantile, value) in &quantiles {
                    let place = ("", Some((BoundLabel::Quantile, quantile)));
                    self.float(room, sink, place, value, &[])?;
                }
                room.metric.quantiles = quantiles;
                Ok(())
            }
            Kind::Histogram | Kind::GaugeHistogram => self.histogram(room, sink),
        }
    }

    fn histogram<S: PageSink>(&self, room: &mut Room, sink: &mut S) -> Result<(), S::Error> {
        let native = self.options.native_histograms && room.metric.histogram.is_native();
        if native {
            let histogram = room
                .metric
                .histogram
                .native(self.kind == Kind::GaugeHistogram)
                .map_err(PageError::Histogram)?;
            room.metric.histogram.native_exemplars(&mut room.exemplars);
            let exemplars = std::mem::take(&mut room.exemplars);
            let value = FoundValue::Histogram(Arc::new(histogram));
            self.found(room, sink, ("", None), value, &exemplars)?;
            room.exemplars = exemplars;
            if !self.options.classic_histograms || room.metric.histogram.buckets.is_empty() {
                return Ok(());
            }
        }
        let parts = std::mem::take(&mut room.metric.histogram);
        let done = self.classic(room, sink, &parts);
        room.metric.histogram = parts;
        done
    }

    fn classic<S: PageSink>(
        &self,
        room: &mut Room,
        sink: &mut S,
        parts: &HistogramParts,
    ) -> Result<(), S::Error> {
        self.float(room, sink, ("_count", None), parts.count(), &[])?;
        self.float(room, sink, ("_sum", None), parts.sum, &[])?;
        for bucket in &parts.buckets {
            let place = ("_bucket", Some((BoundLabel::Bucket, bucket.bound)));
            let exemplars = parts.bucket_exemplar(bucket);
            self.float(room, sink, place, bucket.count(), exemplars)?;
            if bucket.bound == f64::INFINITY {
                return Ok(());
            }
        }
        let last = ("_bucket", Some((BoundLabel::Bucket, f64::INFINITY)));
        self.float(room, sink, last, parts.count(), &[])
    }

    fn float<S: PageSink>(
        &self,
        room: &mut Room,
        sink: &mut S,
        place: (&str, Option<(BoundLabel, f64)>),
        value: f64,
        exemplars: &[Exemplar],
    ) -> Result<(), S::Error> {
        // As on a text page, every NaN is the same; a target has no way to send a staleness marker.
        let value = if value.is_nan() {
            f64::from_bits(NORMAL_NAN_BITS)
        } else {
            value
        };
        self.found(room, sink, place, FoundValue::Float(value), exemplars)
    }

    fn found<S: PageSink>(
        &self,
        room: &mut Room,
        sink: &mut S,
        (suffix, bound): (&str, Option<(BoundLabel, f64)>),
        value: FoundValue,
        exemplars: &[Exemplar],
    ) -> Result<(), S::Error> {
        let explicit: Option<TimestampMs> = Some(room.metric.timestamp).filter(|t| *t != 0);
        sink.sample(&FoundSample {
            key: room.keys.key(self.name, suffix, bound),
            value,
            timestamp: explicit,
            start: room.metric.start,
            exemplars,
        })
    }
}
