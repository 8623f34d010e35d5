//! Reading the head alone, by slot: for sealing it into blocks and for checkpoints.
//!
//! Promise: what [`super::Shard::begin_seal`] has closed is read the same in every slice, until it is truncated.
//! Not here: what queries see ([`super::reader`]), which merges the head with blocks.

use super::ShardReader;
use crate::model::{SeriesSamples, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};
use std::ops::Range;

impl ShardReader<'_> {
    /// Slots of the head, ascending, that may have samples in `range`, in-order or out-of-order ones. Looks at every
    /// slot: for many, [`Self::head_slots_among`] goes on from slice to slice.
    pub fn head_slots(&self, range: TimeRange) -> Vec<u32> {
        self.head_slots_among(0..self.head_slot_count(), range)
    }

    /// Number of slots of the head, vacant ones included.
    pub fn head_slot_count(&self) -> u32 {
        self.data.head.slot_count()
    }

    /// Oldest and newest sample of the head.
    pub fn head_time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.data.head.time_range()
    }

    /// In-order samples of the head before this are in blocks.
    pub fn head_from(&self) -> TimestampMs {
        self.data.head_from
    }

    /// As [`Self::head_slots`], for some slots only.
    pub fn head_slots_among(&self, among: Range<u32>, range: TimeRange) -> Vec<u32> {
        self.data.head.slots(among, range)
    }

    /// Slots, ascending, that have out-of-order samples.
    pub fn out_of_order_slots(&self) -> Vec<u32> {
        self.data.head.out_of_order_slots()
    }

    /// Appends the canonical label bytes of the series in `slot`; nothing for a vacant slot.
    pub fn put_canonical(&self, slot: u32, out: &mut Vec<u8>) {
        self.data.index.identity.put_canonical(slot, out);
    }

    /// Appends the in-order samples of `slot` in `range`, without the deleted ones, and the starts of that range to `out`.
    pub fn read_head(&self, slot: u32, range: TimeRange, out: &mut SeriesSamples) {
        let head = &self.data.head;
        head.read(slot, range, &mut out.floats, &mut ReadNotes::default());
        head.read_histograms(slot, range, &mut out.histograms);
        self.read_head_starts(slot, range, &mut out.starts);
    }

    /// Appends the out-of-order samples of `slot` in `range`, without the deleted ones, to `out`. The counter reset
    /// hints of histograms are unknown, but for gauges. Their starts are those of the in-order samples around them.
    pub fn read_out_of_order(&self, slot: u32, range: TimeRange, out: &mut SeriesSamples) {
        self.data.head.read_out_of_order(slot, range, out);
        self.read_head_starts(slot, range, &mut out.starts);
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Labels, SampleColumns, SeriesSamples};
    use crate::shard::{Action, Event, Shard, ShardConfig};
    use crate::shard_api::{
        AppendBatch, AppendMode, AppendOutcome, RejectReason, SampleSeries, TimeRange,
    };

    /// What would become of a sample of each of some new series.
    fn check(shard: &mut Shard, times: &[i64]) -> AppendOutcome {
        let mut batch = AppendBatch::default();
        for (i, t) in times.iter().enumerate() {
            let labels = Labels::from_pairs([("__name__", format!("m{i}"))]).unwrap();
            let new = batch.new_series.push(labels.as_bytes());
            batch.series.push(SampleSeries::New(new));
            batch.timestamps.push(*t);
            batch.values.push(*t as f64);
        }
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Check,
        };
        let mut actions = Vec::new();
        shard.on(0, event, &mut actions);
        match actions.pop() {
            Some(Action::Reply { result, .. }) => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_being_sealed_takes_no_more_samples() {
        let mut shard = Shard::new(ShardConfig::default());
        shard.begin_seal(1000);
        shard.begin_seal(500);
        let outcome = check(&mut shard, &[999, 1000, 2000]);
        assert_eq!(outcome.accepted, 2);
        let refused: Vec<_> = outcome
            .rejections
            .iter()
            .map(|r| (r.sample, r.reason))
            .collect();
        assert_eq!(refused, [(0, RejectReason::OutOfBounds)]);
    }

    #[test]
    fn slots_and_samples_of_a_range() {
        let mut shard = Shard::new(ShardConfig::default());
        let mut batch = AppendBatch::default();
        let canonical: Vec<Labels> = (0..3)
            .map(|i| Labels::from_pairs([("__name__", format!("m{i}"))]).unwrap())
            .collect();
        for t in 0..300 {
            for (i, labels) in canonical.iter().enumerate() {
                if t == 0 {
                    batch.new_series.push(labels.as_bytes());
                }
                if i < 2 || t < 100 {
                    batch.series.push(SampleSeries::New(i as u32));
                    batch.timestamps.push(t * 1000);
                    batch.values.push((t % 7) as f64);
                }
            }
        }
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        };
        shard.on(0, event, &mut Vec::new());
        let reader = shard.reader();
        let range = TimeRange {
            min: 100_000,
            max: 150_500,
        };
        assert_eq!(reader.head_slots(range), [0, 1]);
        assert_eq!(reader.head_slots_among(1..9, range), [1]);
        assert_eq!(reader.head_slot_count(), 3);
        let mut bytes = Vec::new();
        reader.put_canonical(1, &mut bytes);
        assert_eq!(bytes, canonical[1].as_bytes());
        let mut out = SeriesSamples::default();
        reader.read_head(1, range, &mut out);
        let mut expected = SampleColumns::default();
        for t in 100..=150 {
            expected.push(t * 1000, (t % 7) as f64);
        }
        assert_eq!(out.floats, expected);
        reader.read_out_of_order(1, range, &mut out);
        assert_eq!(out.len(), 51);
        assert!(reader.out_of_order_slots().is_empty());
    }
}
