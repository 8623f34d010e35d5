//! Reads everything that a shard holds, through the reader that queries use.

use crate::exemplars::FoundExemplars;
use crate::model::{Found, Value};
use crate::workload::{labels_of, series_of};
use std::collections::BTreeMap;
use std::sync::mpsc;
use storage_engine::model::SampleColumns;
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ReadNotes, ShardTask, TaskState, TimeRange};

/// Series that a slice reads.
const SERIES_PER_SLICE: usize = 4;

/// All times.
pub const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

/// What a read gave.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Samples.
    pub found: Found,
    /// Exemplars.
    pub exemplars: FoundExemplars,
    /// What could not be read, in words.
    pub damage: Vec<String>,
}

struct Dump {
    sender: mpsc::Sender<Read>,
    selection: Option<Selection>,
    next: usize,
    /// Where the exemplars go on; none once all are read.
    exemplars_from: Option<usize>,
    read: Read,
}

impl Dump {
    /// A few series' exemplars; true if there are more.
    fn read_exemplars(&mut self, shard: &ShardReader<'_>) -> bool {
        let Some(from) = self.exemplars_from else {
            return false;
        };
        let mut some = Vec::new();
        let place = (from, SERIES_PER_SLICE);
        self.exemplars_from = shard.read_exemplars(&[Vec::new()], ALL, place, &mut some);
        for of_series in some {
            let labels = of_series.labels;
            let series =
                series_of(&labels).unwrap_or_else(|| panic!("invented: exemplars of {labels:?}"));
            assert!(labels == labels_of(series), "invented: labels {labels:?}");
            let exemplars = of_series.exemplars.into_iter().map(|e| (series, e));
            self.read.exemplars.extend(exemplars);
        }
        true
    }

    fn read(&mut self, shard: &ShardReader<'_>, selection: &Selection, at: usize) {
        let labels = shard.labels(selection, at);
        let series = series_of(&labels).unwrap_or_else(|| panic!("invented: series {labels:?}"));
        assert!(labels == labels_of(series), "invented: labels {labels:?}");
        let mut notes = ReadNotes::default();
        let mut samples = BTreeMap::new();
        let mut columns = SampleColumns::default();
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
        self.read.damage.extend(notes.damage);
        let before = self.read.found.insert(series, samples);
        assert!(before.is_none(), "series {series} is there twice");
    }
}

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if self.read_exemplars(shard) {
            return TaskState::More;
        }
        let selection = self.selection.take();
        let selection = selection.unwrap_or_else(|| shard.select(&[], ALL));
        let end = selection.len().min(self.next + SERIES_PER_SLICE);
        for at in self.next..end {
            self.read(shard, &selection, at);
        }
        self.next = end;
        if end == selection.len() {
            self.read.damage.extend_from_slice(selection.damage());
            let _ = self.sender.send(std::mem::take(&mut self.read));
            return TaskState::Done;
        }
        self.selection = Some(selection);
        TaskState::More
    }
}

/// The times that a shard's blocks reach over.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    sealed_until: Option<i64>,
    ranges: Vec<TimeRange>,
}

impl Reach {
    /// Of a shard's blocks now.
    pub fn of(shard: &SimulatedShard) -> Reach {
        let blocks = shard.blocks();
        Reach {
            sealed_until: blocks.iter().filter_map(|meta| meta.sealed_until).max(),
            ranges: blocks
                .iter()
                .map(|meta| TimeRange {
                    min: meta.min_time,
                    max: meta.max_time,
                })
                .collect(),
        }
    }

    /// May a sample of this time be in a block?
    pub fn contains(&self, t: i64) -> bool {
        self.sealed_until.is_some_and(|until| t < until)
            || self.ranges.iter().any(|range| range.contains(t))
    }
}

/// A read that is on its way.
pub struct Reading(mpsc::Receiver<Read>);

impl Reading {
    /// Sends the read; none if the mailbox is full.
    pub fn begin(shard: &SimulatedShard) -> Option<Reading> {
        let (sender, receiver) = mpsc::channel();
        let task = Dump {
            sender,
            selection: None,
            next: 0,
            exemplars_from: Some(0),
            read: Read::default(),
        };
        shard.submit(Box::new(task)).then_some(Reading(receiver))
    }

    /// What was found, if it is done.
    pub fn take(&self) -> Option<Read> {
        self.0.try_recv().ok()
    }
}

/// Reads all of a store that has no damage, letting the simulation run as long as it takes.
pub fn read_intact(shard: &mut SimulatedShard) -> Read {
    let read = read_all(shard);
    assert!(read.damage.is_empty(), "called damaged: {:?}", read.damage);
    read
}

/// Reads all, letting the simulation run as long as it takes.
pub fn read_all(shard: &mut SimulatedShard) -> Read {
    let reading = loop {
        if let Some(reading) = Reading::begin(shard) {
            break reading;
        }
        assert!(shard.step(), "the mailbox stays full");
    };
    loop {
        if let Some(read) = reading.take() {
            return read;
        }
        assert!(shard.step(), "a read was never run");
    }
}
