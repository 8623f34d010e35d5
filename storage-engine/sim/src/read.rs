//! Reads everything that a shard holds, through the reader that queries use.

use crate::model::{Found, Value};
use crate::workload::{labels_of, series_of};
use std::sync::mpsc;
use storage_engine::model::SampleColumns;
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, ShardTask, TaskState, TimeRange};

/// All times.
pub const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

struct Dump {
    sender: mpsc::Sender<Found>,
    /// What is read, and which series of it comes next.
    selection: Option<(Selection, usize)>,
    found: Found,
}

impl Dump {
    fn read(&mut self, shard: &ShardReader<'_>, selection: &Selection, at: usize) {
        let labels = shard.labels(selection, at);
        let series = series_of(&labels).unwrap_or_else(|| panic!("invented: series {labels:?}"));
        assert!(labels == labels_of(series), "invented: labels {labels:?}");
        let mut samples = std::collections::BTreeMap::new();
        let mut columns = SampleColumns::default();
        let mut notes = ReadNotes::default();
        shard.read(selection, at, ALL, &mut columns, &mut notes);
        let sorted = columns.timestamps.is_sorted_by(|a, b| a < b);
        assert!(
            sorted,
            "times of series {series} do not ascend: {columns:?}"
        );
        for (&t, value) in columns.timestamps.iter().zip(&columns.values) {
            samples.insert(t, Value::Float(value.to_bits()));
        }
        let mut histograms = Vec::new();
        shard.read_histograms(selection, at, ALL, &mut histograms, &mut notes);
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
        let (selection, next) = self
            .selection
            .take()
            .unwrap_or_else(|| (shard.select(&[], ALL), 0));
        let end = selection.len().min(next + 4);
        for at in next..end {
            self.read(shard, &selection, at);
        }
        if end == selection.len() {
            let _ = self.sender.send(std::mem::take(&mut self.found));
            return TaskState::Done;
        }
        self.selection = Some((selection, end));
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
            selection: None,
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
