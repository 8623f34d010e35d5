//! A decoded request, sorted into one batch of columns per shard.
//!
//! Promise: every sample keeps the place in the body it came from, so that a refusal can be put into words, and the
//! order of samples within a shard is the order of the request.
//! Not here: sending the batches, reading the body.

use super::WriteError;
use super::histogram::{Histogram, count_parts};
use crate::identity::{Identity, IdentityTable};
use crate::limits::{
    COLUMN_GUESS_SAMPLES_MAX, EXEMPLARS_PER_REQUEST_MAX, METADATA_PER_REQUEST_MAX,
    NEW_SERIES_BYTES_MAX, WRITE_ERROR_BYTES_MAX,
};
use crate::text::MetricType;
use crate::validate::LabelSetError;
use crate::wire::WireError;
use std::sync::Arc;
use storage_engine::model::{
    Exemplar, FloatHistogram, HistogramError, METRIC_NAME, TimestampMs, hash_without,
};
use storage_engine::shard_api::{AppendBatch, ExemplarSample, HistogramSample, SampleSeries};

/// Where the shards are: how many, and which one a route hash leads to.
#[derive(Debug, Clone, Copy)]
pub struct Router<F> {
    /// Number of shards, at most 65,535.
    pub shard_count: usize,
    /// From [`storage_engine::model::Labels::route_hash`] to a shard.
    pub shard_of: F,
}

/// Metadata of a metric family, as a sender gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyMetadata {
    /// Metric family (1.0) or metric (2.0) name.
    pub name: String,
    /// Type.
    pub metric_type: MetricType,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

/// What a request contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Float samples, those of series with invalid labels included.
    pub samples: u64,
    /// Native histogram samples of series with valid labels.
    pub histograms: u64,
    /// Exemplars of series with valid labels.
    pub exemplars: u64,
    /// Metadata records.
    pub metadata: u64,
    /// What `prometheus_api_remote_write_invalid_labels_samples_total` counts: series (1.0) or samples and histogram
    /// samples (2.0) with invalid labels.
    pub invalid_labels: u64,
}

/// A decoded request, ready to be sent to the shards.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Batches, at most one per shard.
    pub(crate) parts: Vec<ShardPart>,
    pub(crate) counts: RequestCounts,
    /// Native histograms that are not valid, and where their series stand in the body.
    pub(crate) invalid: Vec<(u32, HistogramError)>,
    /// What is wrong with single series of a 2.0 request.
    pub(crate) faults: Faults,
    pub(crate) metadata: Vec<FamilyMetadata>,
}

impl Prepared {
    /// What the request contains.
    pub fn counts(&self) -> RequestCounts {
        self.counts
    }

    /// Metadata of the request: all of it (1.0), what is new or changed (2.0).
    pub fn metadata(&self) -> &[FamilyMetadata] {
        &self.metadata
    }

    /// The batches by shard.
    pub fn batches(&self) -> impl Iterator<Item = (usize, &AppendBatch)> {
        self.parts.iter().map(|p| (p.shard, &p.batch))
    }

    pub(crate) fn push_metadata(&mut self, record: FamilyMetadata) {
        if self.metadata.len() < METADATA_PER_REQUEST_MAX {
            self.metadata.push(record);
        }
    }
}

/// The batch for one shard, and where its samples come from.
#[derive(Debug, Default)]
pub(crate) struct ShardPart {
    pub(crate) shard: usize,
    pub(crate) batch: AppendBatch,
    /// For each float sample: where in the body the length of its series message stands.
    pub(crate) origins: Vec<u32>,
    /// The same for each histogram sample.
    pub(crate) histogram_origins: Vec<u32>,
    /// The same for each exemplar.
    pub(crate) exemplar_origins: Vec<u32>,
    /// For each new series: its identity entry and hash.
    pub(crate) learners: Vec<(u32, u128)>,
}

/// A sample of either kind.
#[derive(Debug, Clone)]
pub(crate) enum Sample {
    Float(TimestampMs, f64),
    Histogram(TimestampMs, Arc<FloatHistogram>),
}

impl Sample {
    pub(crate) fn timestamp(&self) -> TimestampMs {
        match self {
            Sample::Float(timestamp, _) | Sample::Histogram(timestamp, _) => *timestamp,
        }
    }
}

impl ShardPart {
    pub(crate) fn new(shard: usize, timestamp_max: TimestampMs, samples: usize) -> Self {
        ShardPart {
            shard,
            batch: AppendBatch {
                series: Vec::with_capacity(samples),
                timestamps: Vec::with_capacity(samples),
                values: Vec::with_capacity(samples),
                timestamp_max: Some(timestamp_max),
                ..AppendBatch::default()
            },
            origins: Vec::with_capacity(samples),
            histogram_origins: Vec::new(),
            exemplar_origins: Vec::new(),
            learners: Vec::new(),
        }
    }

    /// Samples of both kinds.
    pub(crate) fn sample_count(&self) -> usize {
        self.origins.len() + self.histogram_origins.len()
    }

    /// Neither samples nor exemplars.
    pub(crate) fn is_empty(&self) -> bool {
        self.sample_count() == 0 && self.exemplar_origins.is_empty()
    }

    /// Is the sample with this number a histogram? They are numbered behind the floats.
    pub(crate) fn is_histogram(&self, index: u32) -> bool {
        index as usize >= self.origins.len()
    }

    pub(crate) fn push(&mut self, series: SampleSeries, origin: u32, sample: (i64, f64)) {
        self.batch.series.push(series);
        self.batch.timestamps.push(sample.0);
        self.batch.values.push(sample.1);
        self.origins.push(origin);
    }

    pub(crate) fn push_histogram(
        &mut self,
        series: SampleSeries,
        origin: u32,
        (timestamp, histogram): (TimestampMs, Arc<FloatHistogram>),
    ) {
        self.batch.histograms.push(HistogramSample {
            series,
            timestamp,
            histogram,
        });
        self.histogram_origins.push(origin);
    }

    pub(crate) fn push_exemplar(&mut self, series: SampleSeries, origin: u32, exemplar: Exemplar) {
        let sample = ExemplarSample { series, exemplar };
        self.batch.exemplars.push(sample);
        self.exemplar_origins.push(origin);
    }

    /// Notes starts of the last `samples` samples, from the first of them on.
    #[cold]
    fn note_starts(&mut self, samples: usize, starts: &[i64]) {
        let before = self.batch.series.len().saturating_sub(samples);
        self.batch.starts.resize(before, 0);
        self.batch.starts.extend_from_slice(starts);
    }

    /// Whose sample number `index` is, to be replaced.
    pub(crate) fn series_mut(&mut self, index: u32) -> Option<&mut SampleSeries> {
        let index = index as usize;
        match index.checked_sub(self.origins.len()) {
            Some(histogram) => Some(&mut self.batch.histograms.get_mut(histogram)?.series),
            None => self.batch.series.get_mut(index),
        }
    }

    /// The batch to send. Timestamps and values stay here as well, for samples that must be sent again or put into
    /// words.
    pub(crate) fn take_batch(&mut self) -> AppendBatch {
        AppendBatch {
            series: std::mem::take(&mut self.batch.series),
            new_series: std::mem::take(&mut self.batch.new_series),
            timestamps: self.batch.timestamps.clone(),
            values: self.batch.values.clone(),
            histograms: self.batch.histograms.clone(),
            exemplars: self.batch.exemplars.clone(),
            starts: self.batch.starts.clone(),
            histogram_starts: self.batch.histogram_starts.clone(),
            timestamp_max: self.batch.timestamp_max,
        }
    }

    /// Where sample `index` comes from, and the sample.
    pub(crate) fn sample(&self, index: u32) -> Option<(u32, Sample)> {
        let index = index as usize;
        if let Some(index) = index.checked_sub(self.origins.len()) {
            let origin = *self.histogram_origins.get(index)?;
            let sample = self.batch.histograms.get(index)?;
            let histogram = Arc::clone(&sample.histogram);
            return Some((origin, Sample::Histogram(sample.timestamp, histogram)));
        }
        let origin = *self.origins.get(index)?;
        let timestamp = *self.batch.timestamps.get(index)?;
        let value = *self.batch.values.get(index)?;
        Some((origin, Sample::Float(timestamp, value)))
    }

    pub(crate) fn push_new(&mut self, canonical: &[u8], entry: u32, hash: u128) -> u32 {
        self.learners.push((entry, hash));
        self.batch.new_series.push(canonical)
    }
}

/// The shard of canonical labels.
pub(crate) fn route(canonical: &[u8]) -> u64 {
    hash_without(canonical, |name| name == METRIC_NAME || name == "le")
}

/// One series of the request: which, from where, and its samples.
pub(crate) struct Arrival<'a> {
    pub(crate) entry: u32,
    pub(crate) hash: u128,
    pub(crate) origin: u32,
    pub(crate) timestamps: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Start timestamps, as far as there are any.
    pub(crate) starts: &'a [i64],
    pub(crate) histograms: &'a [Histogram],
    pub(crate) exemplars: &'a [Exemplar],
}

/// Sorts arrivals into the batches of their shards.
pub(crate) struct Sorter<F> {
    router: Router<F>,
    parts: Vec<ShardPart>,
    canonical: Vec<u8>,
    new_bytes: usize,
    histogram_parts: usize,
    exemplars: usize,
    invalid: Vec<(u32, HistogramError)>,
}

impl<F: Fn(u64) -> usize> Sorter<F> {
    /// `samples` is a guess per shard, from the last request.
    pub(crate) fn new(router: Router<F>, timestamp_max: TimestampMs, samples: &[usize]) -> Self {
        let parts = (0..router.shard_count)
            .map(|shard| {
                let guess = samples.get(shard).copied().unwrap_or(0);
                let guess = guess.min(COLUMN_GUESS_SAMPLES_MAX);
                ShardPart::new(shard, timestamp_max, guess)
            })
            .collect();
        Sorter {
            router,
            parts,
            canonical: Vec::new(),
            new_bytes: 0,
            histogram_parts: 0,
            exemplars: 0,
            invalid: Vec::new(),
        }
    }

    /// Places a series' samples. `labels` writes canonical bytes, and is called only when the series is not known.
    #[inline]
    pub(crate) fn place(
        &mut self,
        table: &mut IdentityTable,
        arrival: &Arrival<'_>,
        labels: impl FnOnce(&mut Vec<u8>) -> Result<(), LabelsFault>,
    ) -> Result<(), LabelsFault> {
        let (shard, series) = match table.identity(arrival.entry) {
            Identity::Known { shard, series } => (shard, SampleSeries::Known(series)),
            Identity::Pending { shard, index } => (shard, SampleSeries::New(index)),
            Identity::Unknown => {
                labels(&mut self.canonical)?;
                if arrival.timestamps.is_empty()
                    && arrival.exemplars.is_empty()
                    && arrival.histograms.iter().all(|h| h.value.is_err())
                {
                    return self.place_histograms(None, arrival);
                }
                self.create(table, arrival)?
            }
        };
        if let Some(part) = self.parts.get_mut(shard as usize) {
            for (&timestamp, &value) in arrival.timestamps.iter().zip(arrival.values) {
                part.push(series, arrival.origin, (timestamp, value));
            }
            if !arrival.starts.is_empty() {
                part.note_starts(arrival.timestamps.len(), arrival.starts);
            }
        }
        if !arrival.exemplars.is_empty() {
            self.place_exemplars((shard, series), arrival);
        }
        if arrival.histograms.is_empty() {
            return Ok(());
        }
        self.place_histograms(Some((shard, series)), arrival)
    }

    #[cold]
    fn place_exemplars(&mut self, (shard, series): (u16, SampleSeries), arrival: &Arrival<'_>) {
        let Some(part) = self.parts.get_mut(shard as usize) else {
            return;
        };
        for exemplar in arrival.exemplars {
            if self.exemplars < EXEMPLARS_PER_REQUEST_MAX {
                self.exemplars += 1;
                part.push_exemplar(series, arrival.origin, exemplar.clone());
            }
        }
    }

    /// Places those that are valid, notes the others.
    #[cold]
    fn place_histograms(
        &mut self,
        target: Option<(u16, SampleSeries)>,
        arrival: &Arrival<'_>,
    ) -> Result<(), LabelsFault> {
        for histogram in arrival.histograms {
            count_parts(&mut self.histogram_parts, histogram.parts())?;
            match &histogram.value {
                Ok(value) => {
                    if let Some((shard, series)) = target
                        && let Some(part) = self.parts.get_mut(shard as usize)
                    {
                        let sample = (histogram.timestamp, Arc::clone(value));
                        part.push_histogram(series, arrival.origin, sample);
                        part.batch.histogram_start_of_last(histogram.start);
                    }
                }
                Err(error) => self.invalid.push((arrival.origin, error.clone())),
            }
        }
        Ok(())
    }

    fn create(
        &mut self,
        table: &mut IdentityTable,
        arrival: &Arrival<'_>,
    ) -> Result<(u16, SampleSeries), LabelsFault> {
        self.new_bytes += self.canonical.len();
        if self.new_bytes > NEW_SERIES_BYTES_MAX {
            return Err(LabelsFault::Request(WriteError::LabelsTooLarge));
        }
        let shard = (self.router.shard_of)(route(&self.canonical));
        let part = self.parts.get_mut(shard);
        let part = part.expect("BUG: a route leads to a shard that does not exist");
        let index = part.push_new(&self.canonical, arrival.entry, arrival.hash);
        table.set_pending(arrival.entry, shard as u16, index);
        Ok((shard as u16, SampleSeries::New(index)))
    }

    /// Hands over the batches that have samples, and the histograms that are not valid.
    pub(crate) fn finish(self, prepared: &mut Prepared) {
        let parts = self.parts.into_iter();
        prepared.parts = parts.filter(|p| !p.is_empty()).collect();
        prepared.invalid = self.invalid;
    }
}

/// Labels that cannot become a series.
#[derive(Debug)]
pub(crate) enum LabelsFault {
    /// The fault of this series alone.
    Series(SeriesFault),
    /// The fault of the request: nothing of it is stored.
    Request(WriteError),
}

/// What is wrong with one series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeriesFault {
    /// The label set.
    #[error("{0}")]
    Labels(#[from] LabelSetError),
    /// Symbol references of remote write 2.0.
    #[error("parsing labels for series {refs}: {reason}")]
    References {
        /// The references as Go prints them.
        refs: String,
        /// Prometheus's text.
        reason: String,
    },
}

impl From<WriteError> for LabelsFault {
    fn from(error: WriteError) -> Self {
        LabelsFault::Request(error)
    }
}

impl From<WireError> for LabelsFault {
    fn from(error: WireError) -> Self {
        LabelsFault::Request(WriteError::Wire(error))
    }
}

impl From<SeriesFault> for LabelsFault {
    fn from(fault: SeriesFault) -> Self {
        LabelsFault::Series(fault)
    }
}

/// Texts to be joined into an answer, by place in the request, within a bound.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    texts: Vec<(u32, String)>,
    bytes: usize,
    omitted: u64,
}

impl Faults {
    /// `text` is not called once the bound is reached.
    pub(crate) fn push(&mut self, origin: u32, text: impl FnOnce() -> String) {
        if self.bytes >= WRITE_ERROR_BYTES_MAX {
            self.omitted += 1;
            return;
        }
        let text = text();
        self.bytes += text.len() + 1;
        self.texts.push((origin, text));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Go's `errors.Join`: one per line, in the order of the request.
    pub(crate) fn joined(mut self) -> String {
        self.texts.sort_by_key(|(origin, _)| *origin);
        let mut lines: Vec<String> = self.texts.into_iter().map(|(_, text)| text).collect();
        if self.omitted > 0 {
            lines.push(format!("and {} more errors", self.omitted));
        }
        lines.join("\n")
    }
}
