//! A page's entries become samples in batches, by way of the series cache.
//!
//! Promise: either the whole page is accepted, or an error says why the scrape fails; what was put in the batches
//! until then is the caller's to throw away. Pure: no I/O, no clock. Not here: staleness, report series (`target_loop`).

use super::batches::{Batches, Origin};
use super::cache::{Known, LineId, SeriesCache, SeriesId, TextClass};
use super::config::ScrapeConfig;
use super::created::{Created, Line};
use super::native::{NativeLimit, fit};
use super::sample_labels::{SampleLabelsError, report_labels, stored_labels};
use crate::limits::{
    EXEMPLARS_PER_REQUEST_MAX, HISTOGRAM_PARTS_PER_REQUEST_MAX, SCRAPE_SERIES_BYTES_MAX,
};
use crate::metadata::TargetMetadata;
use crate::protobuf::{
    FamilyMetadata, FoundSample, FoundValue, PageSink, ReadOptions, labels_of_key, read_page,
};
use crate::text::{
    ContentTypeError, Dialect, Entry, Exemplar as PageExemplar, LabelPair, PageFormat, ParseError,
    Parser, Series,
};
use std::sync::Arc;
use storage_engine::model::{Exemplar, FloatHistogram, HistogramError, Labels, TimestampMs};
use storage_engine::shard_api::{HistogramSample, SampleSeries};

/// Seed of the identity hash; the cache lives in memory only, and equal labels must meet across spellings.
const IDENTITY_SEED: u64 = 0x5c3a_9e11;

/// Why a page fails its scrape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum PageError {
    #[error("{0}")]
    ContentType(#[from] ContentTypeError),
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Labels(#[from] SampleLabelsError),
    #[error("{0}")]
    Protobuf(#[from] crate::protobuf::PageError),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
    #[error("{0}")]
    Histogram(HistogramError),
    #[error(
        "the native histograms of the page have more than {HISTOGRAM_PARTS_PER_REQUEST_MAX} buckets"
    )]
    HistogramsTooLarge,
    #[error("series of {bytes} bytes exceeds the limit of {SCRAPE_SERIES_BYTES_MAX}")]
    SeriesTooLong { bytes: usize },
}

/// What the report series say about a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageCounts {
    /// `scrape_samples_scraped`
    pub(super) scraped: u64,
    /// `scrape_samples_post_metric_relabeling`
    pub(super) kept: u64,
    /// `scrape_series_added`
    pub(super) series_added: u64,
    pub(super) duplicates: u64,
    pub(super) exemplars: u64,
    /// Exemplars put into the batches.
    pub(super) exemplars_kept: u64,
    /// Spans and buckets of native histograms, and a little for each.
    pub(super) histogram_parts: u64,
    /// A native histogram has more buckets than allowed.
    pub(super) over_bucket_limit: bool,
    /// Set when the page has more samples than allowed, even if it fails for another reason.
    pub(super) over_sample_limit: bool,
}

/// What a page is read with.
pub(super) struct PageReader<'a> {
    pub(super) config: &'a ScrapeConfig,
    pub(super) target_labels: &'a Labels,
    pub(super) shard_of: &'a dyn Fn(u64) -> usize,
    pub(super) cache: &'a mut SeriesCache,
    pub(super) batches: &'a mut Batches,
}

impl PageReader<'_> {
    /// Reads a page whose samples without a timestamp get `now`.
    pub(super) fn read(
        &mut self,
        page: &[u8],
        format: PageFormat,
        now: TimestampMs,
        metadata: &mut TargetMetadata,
        counts: &mut PageCounts,
    ) -> Result<(), PageError> {
        match format {
            PageFormat::Text(dialect) => self.read_text(page, dialect, now, metadata, counts)?,
            PageFormat::Protobuf => {
                let options = ReadOptions {
                    native_histograms: self.config.native_histograms,
                    classic_histograms: self.config.classic_histograms,
                };
                let mut sink = ProtobufSink {
                    reader: self,
                    now,
                    metadata,
                    counts,
                };
                read_page(page, options, &mut sink)?;
            }
        }
        if counts.over_sample_limit {
            return Err(PageError::SampleLimit);
        }
        if counts.over_bucket_limit {
            return Err(PageError::BucketLimit);
        }
        Ok(())
    }

    fn read_text(
        &mut self,
        page: &[u8],
        dialect: Dialect,
        now: TimestampMs,
        metadata: &mut TargetMetadata,
        counts: &mut PageCounts,
    ) -> Result<(), PageError> {
        let mut parser = Parser::new(page, dialect);
        let mut created = match self.config.created_lines_are_starts {
            true if dialect == Dialect::OpenMetrics => Created::of_page(page),
            _ => None,
        };
        let scrape = self.cache.scrape();
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Series(series) => {
                    let line = created.as_ref().map(|created| created.line(&series));
                    match line.unwrap_or(Line::Sample(0)) {
                        Line::Sample(start) => self.text_sample(&series, start, now, counts)?,
                        Line::Created => {}
                    }
                }
                Entry::Type { name, metric_type } => {
                    if let Some(created) = &mut created {
                        created.begin_family(&name, metric_type);
                    }
                    metadata.set_type(&name, metric_type, scrape);
                }
                Entry::Help { name, text } => metadata.set_help(&name, &text, scrape),
                Entry::Unit { name, unit } => metadata.set_unit(&name, &unit, scrape),
                Entry::Comment(_) => {}
            }
        }
        Ok(())
    }

    fn text_sample(
        &mut self,
        series: &Series<'_>,
        start: TimestampMs,
        now: TimestampMs,
        counts: &mut PageCounts,
    ) -> Result<(), PageError> {
        counts.exemplars += u64::from(series.exemplar.is_some());
        let found = Found {
            text: series.raw,
            class: TextClass::of(series.metric_type),
            timestamp: series.timestamp,
        };
        let Some(placed) = self.place(&found, now, counts)? else {
            return Ok(());
        };
        placed.push(self.batches, series.value, start);
        if let Some(exemplar) = &series.exemplar {
            self.text_exemplar(&placed, exemplar, counts);
        }
        Ok(())
    }

    /// Finds the series of a sample and decides whether it is stored; everything about it is counted.
    fn place(
        &mut self,
        found: &Found<'_>,
        now: TimestampMs,
        counts: &mut PageCounts,
    ) -> Result<Option<Placed>, PageError> {
        counts.scraped += 1;
        let explicit = found.timestamp.filter(|_| self.config.honor_timestamps);
        let (line, id, fresh) = match self.cache.lookup(found.text, found.class) {
            Known::Dropped => return Ok(None),
            Known::Yes {
                line,
                series,
                fresh,
            } => (line, series, fresh),
            Known::Again(line, id) => {
                // A second sample of the moment of the scrape; with explicit timestamps it is another moment.
                if explicit.is_none() {
                    counts.kept += 1;
                    counts.duplicates += 1;
                    return Ok(None);
                }
                (line, id, false)
            }
            Known::No => match self.first_sight(found)? {
                Some((line, id)) => (line, id, true),
                None => return Ok(None),
            },
        };
        counts.kept += 1;
        let limit = self.config.sample_limit;
        if limit > 0 && counts.kept - counts.duplicates > limit {
            // The rest is still read, so that the report says how many samples there were.
            counts.over_sample_limit = true;
            return Ok(None);
        }
        counts.series_added += u64::from(fresh);
        if explicit.is_none() || self.config.track_timestamps_staleness {
            self.cache.track(id);
        }
        let target = self.target(line, id)?;
        Ok(target.map(|(shard, series)| Placed {
            shard,
            series,
            line,
            timestamp: explicit.unwrap_or(now),
        }))
    }

    /// Puts the exemplar of a text line in the batch. One whose labels cannot be kept is left out.
    #[cold]
    fn text_exemplar(
        &mut self,
        placed: &Placed,
        exemplar: &PageExemplar<'_>,
        counts: &mut PageCounts,
    ) {
        let mut pairs = Vec::new();
        exemplar.labels(&mut pairs);
        if let Ok(labels) = Labels::from_pairs(pairs) {
            let exemplar = Exemplar {
                labels,
                value: exemplar.value,
                timestamp: exemplar.timestamp.unwrap_or(0),
                timed: exemplar.timestamp.is_some(),
            };
            placed.push_exemplar(self.batches, exemplar, counts);
        }
    }

    fn first_sight(&mut self, found: &Found<'_>) -> Result<Option<(LineId, SeriesId)>, PageError> {
        let bytes = found.text.len();
        if bytes > SCRAPE_SERIES_BYTES_MAX {
            return Err(PageError::SeriesTooLong { bytes });
        }
        let mut labels = Vec::new();
        spelled_labels(found.text, found.class, &mut labels)?;
        let Some(stored) = stored_labels(&labels, self.target_labels, self.config)? else {
            self.cache.insert_dropped(found.text, found.class);
            return Ok(None);
        };
        Ok(Some(self.admit(found.text, found.class, &stored)))
    }

    /// Caches a line and, if its series has no reference, puts the labels in the batch.
    fn admit(&mut self, text: &[u8], class: TextClass, labels: &Labels) -> (LineId, SeriesId) {
        let shard = (self.shard_of)(labels.route_hash()) as u32;
        let identity = labels.hash128(IDENTITY_SEED);
        let (line, id) = self.cache.insert(text, class, identity, shard);
        let unknown = self.cache.series(id).is_some_and(|s| s.reference.is_none());
        if unknown && self.cache.pending(id).is_none() {
            self.send_labels(line, id, shard, labels);
        }
        (line, id)
    }

    fn send_labels(
        &mut self,
        line: LineId,
        id: SeriesId,
        shard: u32,
        labels: &Labels,
    ) -> Option<u32> {
        let index = self
            .batches
            .shard_mut(shard)?
            .push_labels(labels.as_bytes(), line);
        self.cache.set_pending(id, index);
        Some(index)
    }

    /// The shard of a series and the series' name there; its labels go into the batch where the shard has given no reference yet.
    fn target(
        &mut self,
        line: LineId,
        id: SeriesId,
    ) -> Result<Option<(u32, SampleSeries)>, PageError> {
        let Some(&cached) = self.cache.series(id) else {
            return Ok(None);
        };
        let series = match cached.reference {
            Some(reference) => SampleSeries::Known(reference),
            None => {
                let index = match self.cache.pending(id) {
                    Some(index) => index,
                    None => {
                        let labels =
                            labels_of_line(self.cache, line, self.target_labels, self.config)?;
                        let index = labels
                            .and_then(|labels| self.send_labels(line, id, cached.shard, &labels));
                        let Some(index) = index else {
                            return Ok(None);
                        };
                        index
                    }
                };
                SampleSeries::New(index)
            }
        };
        Ok(Some((cached.shard, series)))
    }

    /// Adds a sample of a report series such as `up`.
    pub(super) fn report(&mut self, metric: &str, timestamp: TimestampMs, value: f64) {
        let known = self.cache.lookup(metric.as_bytes(), TextClass::Report);
        let (line, id) = match known {
            Known::Yes { line, series, .. } | Known::Again(line, series) => (line, series),
            Known::No | Known::Dropped => {
                let labels = report_labels(metric, self.target_labels);
                self.admit(metric.as_bytes(), TextClass::Report, &labels)
            }
        };
        let target = self.target(line, id);
        debug_assert!(target.is_ok(), "report labels pass no check");
        if let Ok(Some((shard, series))) = target {
            let origin = Origin::Line(line);
            self.batches.push(shard, series, timestamp, value, origin);
        }
    }
}

/// A sample as the page has it, but for its value.
struct Found<'p> {
    text: &'p [u8],
    class: TextClass,
    timestamp: Option<TimestampMs>,
}

/// Where a sample goes.
struct Placed {
    shard: u32,
    series: SampleSeries,
    line: LineId,
    timestamp: TimestampMs,
}

impl Placed {
    #[inline]
    fn push(&self, batches: &mut Batches, value: f64, start: TimestampMs) {
        let origin = Origin::Line(self.line);
        if let Some(shard) = batches.shard_mut(self.shard) {
            shard.push(self.series, self.timestamp, value, origin);
            shard.batch.start_of_last(start);
        }
    }

    fn push_histogram(
        &self,
        batches: &mut Batches,
        histogram: Arc<FloatHistogram>,
        start: TimestampMs,
    ) {
        if let Some(shard) = batches.shard_mut(self.shard) {
            let sample = HistogramSample {
                series: self.series,
                timestamp: self.timestamp,
                histogram,
            };
            shard.push_histogram(sample, self.line);
            shard.batch.histogram_start_of_last(start);
        }
    }

    /// Within the bound on exemplars; one without a time gets the sample's.
    fn push_exemplar(
        &self,
        batches: &mut Batches,
        mut exemplar: Exemplar,
        counts: &mut PageCounts,
    ) {
        if counts.exemplars_kept >= EXEMPLARS_PER_REQUEST_MAX as u64 {
            return;
        }
        counts.exemplars_kept += 1;
        if !exemplar.timed {
            exemplar.timestamp = self.timestamp;
        }
        if let Some(shard) = batches.shard_mut(self.shard) {
            shard.push_exemplar(self.series, exemplar, self.line);
        }
    }
}

/// Takes what a page in protobuf has.
struct ProtobufSink<'r, 'c, 'a> {
    reader: &'r mut PageReader<'a>,
    now: TimestampMs,
    metadata: &'c mut TargetMetadata,
    counts: &'c mut PageCounts,
}

impl PageSink for ProtobufSink<'_, '_, '_> {
    type Error = PageError;

    fn family(&mut self, family: FamilyMetadata<'_>) {
        let scrape = self.reader.cache.scrape();
        self.metadata.set_help(family.name, family.help, scrape);
        if !family.unit.is_empty() {
            self.metadata.set_unit(family.name, family.unit, scrape);
        }
        self.metadata
            .set_type(family.name, family.metric_type, scrape);
    }

    fn sample(&mut self, sample: &FoundSample<'_>) -> Result<(), PageError> {
        self.counts.exemplars += sample.exemplars.len() as u64;
        let found = Found {
            text: sample.key,
            class: TextClass::Protobuf,
            timestamp: sample.timestamp,
        };
        let Some(placed) = self.reader.place(&found, self.now, self.counts)? else {
            return Ok(());
        };
        match &sample.value {
            FoundValue::Float(value) => placed.push(self.reader.batches, *value, sample.start),
            FoundValue::Histogram(histogram) => {
                let mut histogram = Arc::clone(histogram);
                match fit(Arc::make_mut(&mut histogram), self.reader.config) {
                    Ok(()) => {}
                    Err(NativeLimit::Invalid(error)) => return Err(PageError::Histogram(error)),
                    Err(NativeLimit::Buckets) => {
                        // The rest is still read, so that the report says how many samples there were.
                        self.counts.over_bucket_limit = true;
                        return Ok(());
                    }
                }
                self.counts.histogram_parts += histogram.part_count() as u64 + 32;
                if self.counts.histogram_parts > HISTOGRAM_PARTS_PER_REQUEST_MAX as u64 {
                    return Err(PageError::HistogramsTooLarge);
                }
                placed.push_histogram(self.reader.batches, histogram, sample.start);
            }
        }
        for exemplar in sample.exemplars {
            placed.push_exemplar(self.reader.batches, exemplar.clone(), self.counts);
        }
        Ok(())
    }
}

/// The labels that a line or key spells.
fn spelled_labels<'t>(
    text: &'t [u8],
    class: TextClass,
    labels: &mut Vec<LabelPair<'t>>,
) -> Result<(), PageError> {
    if class == TextClass::Protobuf {
        labels_of_key(text, labels);
        return Ok(());
    }
    let series = Series {
        raw: text,
        value: 0.0,
        timestamp: None,
        metric_type: class.metric_type(),
        exemplar: None,
    };
    series.labels(labels)?;
    Ok(())
}

/// Makes the labels of a cached line anew; `None` when they are dropped or the line is gone.
pub(super) fn labels_of_line(
    cache: &SeriesCache,
    line: LineId,
    target_labels: &Labels,
    config: &ScrapeConfig,
) -> Result<Option<Labels>, PageError> {
    let Some((text, class)) = cache.spelling(line) else {
        return Ok(None);
    };
    if class == TextClass::Report {
        let metric = String::from_utf8_lossy(text);
        return Ok(Some(report_labels(&metric, target_labels)));
    }
    let mut labels = Vec::new();
    spelled_labels(text, class, &mut labels)?;
    Ok(stored_labels(&labels, target_labels, config)?)
}
