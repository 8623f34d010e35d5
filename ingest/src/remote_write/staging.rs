//! Series of a request waiting for their identities, thirty-two at a time.
//!
//! Promise: memory is reused from request to request. Not here: reading messages, label rules.

use super::WriteError;
use super::batch::{Arrival, LabelsFault, SeriesFault, Sorter};
use super::histogram::{Histogram, count_parts};
use crate::identity::{Identity, IdentityTable, LOOKUP_BATCH};
use crate::limits::EXEMPLARS_PER_REQUEST_MAX;
use storage_engine::model::Exemplar;

/// What is known of a series before its identity is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Staged {
    /// Where in the body the length of the series message stands.
    pub(crate) origin: u32,
    /// End of its samples in the columns.
    pub(crate) samples_end: u32,
    /// End of its histograms in their column.
    pub(crate) histograms_end: u32,
    /// End of its exemplars in their column.
    pub(crate) exemplars_end: u32,
    pub(crate) histograms: u32,
    pub(crate) exemplars: u32,
    /// Remote write 1.0: the message was cut in two by its last bytes, unread.
    pub(crate) cut: bool,
    /// Remote write 2.0: type and symbol references of help and unit.
    pub(crate) metadata: (u32, u32, u32),
}

/// The waiting series and their samples.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    hashes: Vec<u128>,
    series: Vec<Staged>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Start timestamps, as far as there are any.
    pub(crate) starts: Vec<i64>,
    pub(crate) histograms: Vec<Histogram>,
    pub(crate) exemplars: Vec<Exemplar>,
    histogram_parts: usize,
}

/// A series of the batch, placed or refused.
pub(crate) struct Placed {
    pub(crate) staged: Staged,
    pub(crate) entry: u32,
    pub(crate) samples: u32,
    pub(crate) fault: Option<SeriesFault>,
}

impl Staging {
    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
        self.series.clear();
        self.timestamps.clear();
        self.values.clear();
        self.starts.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.histogram_parts = 0;
    }

    pub(crate) fn push_sample(&mut self, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Notes the start of the sample that was pushed last.
    #[inline]
    pub(crate) fn start_of_last(&mut self, start: i64) {
        if start != 0 {
            self.starts
                .resize(self.timestamps.len().saturating_sub(1), 0);
            self.starts.push(start);
        }
    }

    /// The starts of some samples, those at the end perhaps missing.
    fn starts(&self, from: usize, to: usize) -> &[i64] {
        let end = to.min(self.starts.len());
        self.starts.get(from.min(end)..end).unwrap_or_default()
    }

    pub(crate) fn push_histogram(&mut self, histogram: Histogram) -> Result<(), WriteError> {
        count_parts(&mut self.histogram_parts, histogram.parts())?;
        self.histograms.push(histogram);
        Ok(())
    }

    /// Takes an exemplar that can be kept, within the limit.
    pub(crate) fn push_exemplar(&mut self, exemplar: Option<Exemplar>) {
        if self.exemplars.len() < EXEMPLARS_PER_REQUEST_MAX {
            self.exemplars.extend(exemplar);
        }
    }

    /// Samples pushed since the last series was.
    pub(crate) fn samples_open(&self) -> usize {
        self.timestamps.len() - self.samples_staged()
    }

    /// Forgets the samples pushed since the last series was.
    pub(crate) fn drop_open(&mut self) {
        let end = self.samples_staged();
        self.timestamps.truncate(end);
        self.values.truncate(end);
        self.starts.truncate(end);
        let end = self.series.last().map_or(0, |s| s.histograms_end as usize);
        self.histograms.truncate(end);
        let end = self.series.last().map_or(0, |s| s.exemplars_end as usize);
        self.exemplars.truncate(end);
    }

    fn samples_staged(&self) -> usize {
        self.series.last().map_or(0, |s| s.samples_end as usize)
    }

    /// Adds a series; the samples pushed since the last one are its own. True when the batch is full.
    pub(crate) fn push(&mut self, hash: u128, mut staged: Staged) -> bool {
        staged.samples_end = self.timestamps.len() as u32;
        staged.histograms_end = self.histograms.len() as u32;
        staged.exemplars_end = self.exemplars.len() as u32;
        self.hashes.push(hash);
        self.series.push(staged);
        self.series.len() == LOOKUP_BATCH
    }

    /// Finds the identities and places the samples. `labels` writes the canonical labels of the series at an origin;
    /// `whole` reads an unknown series again that was cut, and returns its hash if the cut was wrong; `placed` hears
    /// of every series in order.
    pub(crate) fn flush<F: Fn(u64) -> usize>(
        &mut self,
        table: &mut IdentityTable,
        sorter: &mut Sorter<F>,
        mut labels: impl FnMut(u32, &mut Vec<u8>) -> Result<(), LabelsFault>,
        mut whole: impl FnMut(&mut Staged, &mut Staging) -> Result<Option<u128>, WriteError>,
        mut placed: impl FnMut(&mut IdentityTable, Placed),
    ) -> Result<(), WriteError> {
        let mut entries = [0u32; LOOKUP_BATCH];
        table.resolve(&self.hashes, &mut entries);
        let (mut start, mut histograms_start, mut exemplars_start) = (0usize, 0usize, 0usize);
        for ((&staged, &hash), entry) in self.series.iter().zip(&self.hashes).zip(entries) {
            let end = staged.samples_end as usize;
            let histograms_end = staged.histograms_end as usize;
            let histograms = self.histograms.get(histograms_start..histograms_end);
            let exemplars_end = staged.exemplars_end as usize;
            let exemplars = self.exemplars.get(exemplars_start..exemplars_end);
            let mut staged = staged;
            let mut arrival = Arrival {
                entry,
                hash,
                origin: staged.origin,
                timestamps: self.timestamps.get(start..end).unwrap_or_default(),
                values: self.values.get(start..end).unwrap_or_default(),
                starts: self.starts(start, end),
                histograms: histograms.unwrap_or_default(),
                exemplars: exemplars.unwrap_or_default(),
            };
            let mut reread = Staging::default();
            if staged.cut
                && table.identity(entry) == Identity::Unknown
                && let Some(hash) = whole(&mut staged, &mut reread)?
            {
                let mut found = [0u32; LOOKUP_BATCH];
                table.resolve(&[hash], &mut found);
                let [entry, ..] = found;
                arrival = Arrival {
                    entry,
                    hash,
                    origin: staged.origin,
                    timestamps: &reread.timestamps,
                    values: &reread.values,
                    starts: &reread.starts,
                    histograms: &reread.histograms,
                    exemplars: &reread.exemplars,
                };
            }
            let entry = arrival.entry;
            let samples = arrival.timestamps.len() as u32;
            let fault = match sorter.place(table, &arrival, |out| labels(staged.origin, out)) {
                Ok(()) => None,
                Err(LabelsFault::Series(fault)) => Some(fault),
                Err(LabelsFault::Request(error)) => return Err(error),
            };
            placed(
                table,
                Placed {
                    staged,
                    entry,
                    samples,
                    fault,
                },
            );
            start = end;
            histograms_start = histograms_end;
            exemplars_start = exemplars_end;
        }
        self.clear();
        Ok(())
    }
}
