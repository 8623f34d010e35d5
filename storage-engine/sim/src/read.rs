//! Reads everything that a shard holds, through the reader that queries use.

use crate::model::{Found, Value};
use crate::workload::{labels_of, series_of};
use std::sync::mpsc;
use storage_engine::model::SampleColumns;
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::shard::ShardReader;
use storage_engine::shard_api::{ShardTask, TaskState, TimeRange};

/// All times.
pub const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

struct Dump {
    sender: mpsc::Sender<Found>,
    series: Option<Vec<u32>>,
    found: Found,
}

impl Dump {
    fn read(&mut self, shard: &ShardReader<'_>, slot: u32) {
        let labels = shard.labels(slot);
        let series = series_of(&labels).unwrap_or_else(|| panic!("invented: series {labels:?}"));
        assert!(labels == labels_of(series), "invented: labels {labels:?}");
        let mut samples = std::collections::BTreeMap::new();
        let mut columns = SampleColumns::default();
        shard.read(slot, ALL, &mut columns);
        let sorted = columns.timestamps.is_sorted_by(|a, b| a < b);
        assert!(
            sorted,
            "times of series {series} do not ascend: {columns:?}"
        );
        for (&t, value) in columns.timestamps.iter().zip(&columns.values) {
            samples.insert(t, Value::Float(value.to_bits()));
        }
        let mut histograms = Vec::new();
        shard.read_histograms(slot, ALL, &mut histograms);
        let sorted = histograms.is_sorted_by(|a, b| a.0 < b.0);
        assert!(
            sorted,
            "times of histograms of series {series} do not ascend"
        );
        for (t, value) in histograms {
            let before = samples.insert(t, Value::Histogram(value));
            assert!(before.is_none(), "series {series} has two samples at {t}");
        }
        let before = self.found.insert(series, samples);
        assert!(before.is_none(), "series {series} is there twice");
    }
}

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut left = self.series.take().unwrap_or_else(|| {
            let mut all = shard.select(&[], ALL);
            all.reverse();
            all
        });
        for slot in left
            .split_off(left.len().saturating_sub(4))
            .into_iter()
            .rev()
        {
            self.read(shard, slot);
        }
        if left.is_empty() {
            let _ = self.sender.send(std::mem::take(&mut self.found));
            return TaskState::Done;
        }
        self.series = Some(left);
        TaskState::More
    }
}

/// A read that is on its way.
pub struct Reading(mpsc::Receiver<Found>);

impl Reading {
    /// Sends the read; none if the mailbox is full.
    pub fn begin(shard: &SimulatedShard) -> Option<Reading> {
        let (sender, receiver) = mpsc::channel();
        let task = Dump {
            sender,
            series: None,
            found: Found::new(),
        };
        shard.submit(Box::new(task)).then_some(Reading(receiver))
    }

    /// What was found, if it is done.
    pub fn take(&self) -> Option<Found> {
        self.0.try_recv().ok()
    }
}

/// Reads all, letting the simulation run as long as it takes.
pub fn read_all(shard: &mut SimulatedShard) -> Found {
    let reading = loop {
        if let Some(reading) = Reading::begin(shard) {
            break reading;
        }
        assert!(shard.step(), "the mailbox stays full");
    };
    loop {
        if let Some(found) = reading.take() {
            return found;
        }
        assert!(shard.step(), "a read was never run");
    }
}
