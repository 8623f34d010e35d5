//! The exemplars of a batch into the ring and the log, and back out of the log.
//!
//! Promise: an exemplar is refused alone, never with its sample or its batch. What was stored is in the same commit as
//! the batch's samples. Not here: the ring's rules ([`crate::exemplars`]), the log's bytes ([`crate::wal::exemplars`]).

use super::append::{Entry, entry};
use super::commit::Reliance;
use super::{Shard, ShardReader};
use crate::exemplars::Added;
use crate::model::{Exemplar, Matcher, SeriesRef};
use crate::shard_api::{
    AppendBatch, ExemplarRefusal, ExemplarSample, SampleSeries, SeriesExemplars, TimeRange,
};
use crate::wal::exemplars::{LoggedExemplar, encode_exemplars_record};

impl Shard {
    /// Stores the batch's exemplars; what is refused is added to `refusals`.
    #[cold]
    pub(super) fn append_exemplars(
        &mut self,
        batch: &AppendBatch,
        entries: &[Entry],
        refusals: &mut Vec<(u32, ExemplarRefusal)>,
    ) -> Reliance {
        if !self.data.exemplars.is_on() {
            return Reliance::Nothing;
        }
        let mut reliance = Reliance::Nothing;
        let mut logged = Vec::new();
        // As in Prometheus: refusals are told against what was there before the batch. What only shows between two
        // exemplars of the batch is left out and counted.
        let verdicts: Vec<_> = batch
            .exemplars
            .iter()
            .map(|sample| self.exemplar_target(batch, entries, sample))
            .collect();
        for (i, (sample, verdict)) in batch.exemplars.iter().zip(verdicts).enumerate() {
            let series = match verdict {
                Ok(series) => series,
                Err(refusal) => {
                    self.data.exemplars.count_refusal(refusal);
                    refusals.push((i as u32, refusal));
                    continue;
                }
            };
            match self.add_exemplar(series, &sample.exemplar) {
                Ok(Added::Stored) => {
                    reliance = Reliance::OwnRecords;
                    logged.push(LoggedExemplar {
                        series,
                        exemplar: sample.exemplar.clone(),
                    });
                }
                Ok(Added::Unchanged) => reliance = reliance.max(Reliance::Earlier),
                Err(refusal) => self.data.exemplars.count_refusal(refusal),
            }
        }
        let (lsn, log) = self.commits.pending_records();
        encode_exemplars_record(log, lsn, &logged);
        reliance
    }

    /// The series of an exemplar that would be taken.
    fn exemplar_target(
        &self,
        batch: &AppendBatch,
        entries: &[Entry],
        sample: &ExemplarSample,
    ) -> Result<SeriesRef, ExemplarRefusal> {
        let target = match sample.series {
            SampleSeries::Known(reference) => Entry::Series(reference),
            SampleSeries::New(index) => entry(entries, index),
        };
        let exemplar = &sample.exemplar;
        let max = batch.timestamp_max;
        let series = match target {
            _ if max.is_some_and(|max| exemplar.timestamp > max) => {
                return Err(ExemplarRefusal::TooFarAhead);
            }
            Entry::Series(series) if self.is_current(series) => series,
            _ => return Err(ExemplarRefusal::UnknownSeries),
        };
        let labels = || self.data.index.labels(series.index);
        self.data.exemplars.check(series, labels, exemplar)?;
        Ok(series)
    }

    pub(super) fn is_current(&self, series: SeriesRef) -> bool {
        series.generation != 0 && self.data.head.reference(series.index) == series
    }

    fn add_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &Exemplar,
    ) -> Result<Added, ExemplarRefusal> {
        if !self.is_current(series) {
            return Err(ExemplarRefusal::UnknownSeries);
        }
        let index = &self.data.index;
        let labels = || index.labels(series.index);
        self.data.exemplars.add(series, labels, exemplar)
    }

    /// Brings back the exemplars of one record; returns how many were of series that are not there: removed since, or with a definition
    /// that is lost.
    pub fn replay_exemplars(&mut self, exemplars: &[LoggedExemplar]) -> u64 {
        let mut unknown = 0;
        for logged in exemplars {
            let added = self.add_exemplar(logged.series, &logged.exemplar);
            if added == Err(ExemplarRefusal::UnknownSeries) {
                unknown += 1;
                self.name_slot(logged.series);
            }
        }
        unknown
    }

    /// Changes how many exemplars are kept; with fewer, the oldest go. 0 keeps none.
    pub fn resize_exemplars(&mut self, exemplars_max: usize) {
        self.config.exemplars_max = exemplars_max;
        self.data.exemplars.resize(exemplars_max);
    }
}

impl ShardReader<'_> {
    /// Up to `count` exemplars as records of the log, in the order of their arrival, of the numbers `from..end`; and the number to go on
    /// with, `end` when there are no more.
    pub(crate) fn exemplar_records(&self, from: u64, end: u64, count: u64) -> (Vec<u8>, u64) {
        let (logged, next) = self.data.exemplars.arrivals(from..end, count);
        let mut records = Vec::new();
        encode_exemplars_record(&mut records, 0, &logged);
        let next = if logged.is_empty() { end } else { next };
        (records, next.min(end))
    }

    /// Exemplars in `range` of the series that pass all matchers of at least one of `selectors`: looks at `count` series
    /// with exemplars from number `from` on. Returns the number to go on with, `None` at the end.
    pub fn read_exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        (from, count): (usize, usize),
        out: &mut Vec<SeriesExemplars>,
    ) -> Option<usize> {
        self.data
            .exemplars
            .select(selectors, range, from, count, out)
    }
}
