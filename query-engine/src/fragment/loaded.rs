//! The samples of the series that a fragment is at, as its kind wants them.
//!
//! Not here: what is computed from them (`series`, `mixed`).

use super::mixed::{HistogramSamples, MixedSamples, RawSeries};
use super::series::remove_stale;
use super::{FragmentKind, FragmentSpec};
use crate::limits::{SLICE_SAMPLES_PER_HISTOGRAM, SLICE_SAMPLES_PER_SERIES};
use storage_engine::model::{Labels, SampleColumns};
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, TimeRange};

/// Samples of one series; the memory is used again for the next.
#[derive(Default)]
pub(super) struct Loaded {
    /// Float samples, for windows without stale markers.
    pub(super) floats: SampleColumns,
    /// The samples of a series that has native histograms, in place of `floats`.
    pub(super) mixed: Option<MixedSamples>,
}

impl Loaded {
    /// Reads series `id` of the selection; says how much work that was, in samples.
    pub(super) fn read(
        &mut self,
        shard: &ShardReader<'_>,
        (selection, id): (&Selection, usize),
        spec: &FragmentSpec,
        range: TimeRange,
        reads: &mut ReadNotes,
    ) -> usize {
        self.floats.clear();
        self.mixed = None;
        let has_histograms = shard.has_histograms(selection, id);
        let windows = match has_histograms {
            // What a histogram says of resets depends on the sample before it, whatever that is and wherever.
            true => range.into(),
            false => spec.time_windows(),
        };
        shard.read(selection, id, windows, &mut self.floats, reads);
        let mut work = self.floats.len() + SLICE_SAMPLES_PER_SERIES;
        let windowed = !matches!(spec.kind, FragmentKind::Instant { .. });
        if has_histograms {
            let mut histograms = HistogramSamples::new();
            shard.read_histograms(selection, id, range, &mut histograms, reads);
            work += SLICE_SAMPLES_PER_HISTOGRAM * histograms.len();
            if !histograms.is_empty() {
                let mut mixed = MixedSamples::merge(&self.floats, histograms);
                mixed.adjust_hints(spec.histogram_stats);
                if windowed {
                    mixed.remove_stale();
                }
                self.mixed = Some(mixed);
            }
        }
        if windowed && self.mixed.is_none() {
            remove_stale(&mut self.floats);
        }
        work
    }

    /// Without any sample?
    pub(super) fn is_empty(&self) -> bool {
        match &self.mixed {
            Some(mixed) => mixed.timestamps.is_empty(),
            None => self.floats.is_empty(),
        }
    }

    /// The samples themselves.
    pub(super) fn take(&mut self, labels: Labels) -> RawSeries {
        match self.mixed.take() {
            Some(mixed) => mixed.split(labels),
            None => RawSeries {
                labels,
                floats: std::mem::take(&mut self.floats),
                histograms: HistogramSamples::new(),
            },
        }
    }
}
