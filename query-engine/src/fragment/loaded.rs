//! The samples of the series that a fragment is at, as its kind wants them.
//!
//! Not here: what is computed from them (`series`, `mixed`).

use super::mixed::{HistogramSamples, MixedSamples, RawSeries};
use super::series::remove_stale;
use super::{FragmentKind, FragmentSpec};
use crate::kernels::with_edges;
use crate::limits::{SLICE_SAMPLES_PER_HISTOGRAM, SLICE_SAMPLES_PER_SERIES};
use storage_engine::model::{Labels, SampleColumns, TimestampMs};
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, TimeRange};

/// Samples of one series; the memory is used again for the next.
#[derive(Default)]
pub(super) struct Loaded {
    /// Float samples, for windows without stale markers.
    pub(super) floats: SampleColumns,
    /// The samples of a series that has native histograms, in place of `floats`.
    pub(super) mixed: Option<MixedSamples>,
    /// When the counting of each float began (0: not known); empty where that does not matter.
    pub(super) starts: Vec<TimestampMs>,
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
        self.starts.clear();
        if spec.starts {
            let mut runs = Vec::new();
            shard.read_starts(selection, id, range, &mut runs);
            if !runs.is_empty() {
                match &mut self.mixed {
                    Some(mixed) => spread(&runs, &mixed.timestamps, &mut mixed.starts),
                    None => spread(&runs, &self.floats.timestamps, &mut self.starts),
                }
            }
        }
        work
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        match &self.mixed {
            Some(mixed) => mixed.timestamps.len(),
            None => self.floats.len(),
        }
    }

    /// Bytes of the columns, which keep their size from series to series.
    pub(super) fn bytes(&self) -> usize {
        let floats = &self.floats;
        let columns = floats.timestamps.capacity() + floats.values.capacity();
        let mixed = self.mixed.as_ref().map_or(0, MixedSamples::bytes);
        8 * (columns + self.starts.capacity()) + mixed
    }

    /// Without any sample?
    pub(super) fn is_empty(&self) -> bool {
        match &self.mixed {
            Some(mixed) => mixed.timestamps.is_empty(),
            None => self.floats.is_empty(),
        }
    }

    /// The samples themselves, for a range with edges what stands between them and at them.
    pub(super) fn take(&mut self, labels: Labels, spec: &FragmentSpec) -> RawSeries {
        let mut series = match self.mixed.take() {
            Some(mixed) => mixed.split(labels),
            None => RawSeries {
                labels,
                floats: std::mem::take(&mut self.floats),
                histograms: HistogramSamples::new(),
            },
        };
        if let FragmentKind::Raw {
            range,
            edges: Some(edges),
            ..
        } = spec.kind
        {
            let end = spec.reference.time(spec.grid.start);
            let start = end.saturating_sub(range);
            series.floats = with_edges(edges, (start, end), &series.floats);
            series.histograms.retain(|(t, _)| start < *t && *t <= end);
        }
        series
    }
}

/// The start timestamp of each sample: that of the last run that began by then.
fn spread(runs: &[(TimestampMs, TimestampMs)], times: &[TimestampMs], out: &mut Vec<TimestampMs>) {
    let mut runs = runs.iter().peekable();
    let mut start = 0;
    for t in times {
        while let Some((_, of_run)) = runs.next_if(|(from, _)| from <= t) {
            start = *of_run;
        }
        out.push(start);
    }
}
