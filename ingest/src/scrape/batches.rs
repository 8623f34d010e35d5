//! The samples of one scrape on their way to the shards: one batch per shard, and where each sample came from.

use super::cache::LineId;
use storage_engine::model::{Exemplar, TimestampMs};
use storage_engine::shard_api::{AppendBatch, ExemplarSample, HistogramSample, SampleSeries};

/// Where a sample came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the page, or a report series.
    Line(LineId),
    /// A staleness marker: it may be refused without anyone minding.
    Marker,
}

/// What one shard gets.
#[derive(Debug, Default)]
pub(super) struct ShardBatch {
    pub(super) batch: AppendBatch,
    /// One entry for each float sample.
    pub(super) origins: Vec<Origin>,
    /// The line of each native histogram.
    pub(super) histogram_lines: Vec<LineId>,
    /// The line of each exemplar.
    pub(super) exemplar_lines: Vec<LineId>,
    /// The line of each entry of `batch.new_series`.
    pub(super) new_lines: Vec<LineId>,
}

/// All of one scrape.
#[derive(Debug, Default)]
pub(super) struct Batches {
    shards: Vec<ShardBatch>,
}

impl Batches {
    pub(super) fn new(shard_count: usize) -> Self {
        Batches {
            shards: (0..shard_count.max(1))
                .map(|_| ShardBatch::default())
                .collect(),
        }
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        for shard in &mut self.shards {
            *shard = ShardBatch::default();
        }
    }

    pub(super) fn shard_mut(&mut self, shard: u32) -> Option<&mut ShardBatch> {
        self.shards.get_mut(shard as usize)
    }

    pub(super) fn push(
        &mut self,
        shard: u32,
        series: SampleSeries,
        timestamp: TimestampMs,
        value: f64,
        origin: Origin,
    ) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.push(series, timestamp, value, origin);
        }
    }

    pub(super) fn into_shards(self) -> impl Iterator<Item = (usize, ShardBatch)> {
        self.shards
            .into_iter()
            .enumerate()
            .filter(|(_, shard)| !shard.is_empty())
    }
}

impl ShardBatch {
    pub(super) fn push(
        &mut self,
        series: SampleSeries,
        timestamp: TimestampMs,
        value: f64,
        origin: Origin,
    ) {
        self.batch.series.push(series);
        self.batch.timestamps.push(timestamp);
        self.batch.values.push(value);
        self.origins.push(origin);
    }

    fn is_empty(&self) -> bool {
        self.origins.is_empty() && self.histogram_lines.is_empty()
    }

    /// Where sample number `sample` came from; histograms are numbered behind the floats.
    pub(super) fn origin(&self, sample: u32) -> Option<Origin> {
        let sample = sample as usize;
        match sample.checked_sub(self.origins.len()) {
            None => self.origins.get(sample).copied(),
            Some(histogram) => {
                let line = self.histogram_lines.get(histogram)?;
                Some(Origin::Line(*line))
            }
        }
    }

    pub(super) fn push_histogram(&mut self, sample: HistogramSample, line: LineId) {
        self.batch.histograms.push(sample);
        self.histogram_lines.push(line);
    }

    pub(super) fn push_exemplar(&mut self, series: SampleSeries, exemplar: Exemplar, line: LineId) {
        let sample = ExemplarSample { series, exemplar };
        self.batch.exemplars.push(sample);
        self.exemplar_lines.push(line);
    }

    /// Adds labels, returns their index.
    pub(super) fn push_labels(&mut self, canonical: &[u8], line: LineId) -> u32 {
        self.new_lines.push(line);
        self.batch.new_series.push(canonical)
    }
}
