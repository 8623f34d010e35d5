//! Reads what a Prometheus that is not running has not compacted into blocks yet: its write-ahead log and its log of late samples.
//!
//! Promise: what Prometheus would have in its head after a start: each series once, in-order samples as they were logged, late ones merged in,
//! deletions applied. Samples are held as chunks, so memory is that of Prometheus's own head. The mapped chunks of the head (`chunks_head/`)
//! hold nothing that the logs do not hold and are not needed. Not here: exemplars and metadata, which blocks have no place for.

use super::cutting::{Cutter, EncodedChunk, decode_chunk};
use super::log_reader::{find_log, read_log};
use super::order::{clip, order, remove};
use super::records::{Logged, read_record};
use crate::io::Disk;
use crate::model::{Labels, SeriesSamples, TimestampMs};
use crate::shard_api::TimeRange;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// The write-ahead log.
const LOG_DIR: &str = "wal";
/// The log of samples that came out of order.
const LATE_LOG_DIR: &str = "wbl";

/// Why a head cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct HeadReadError {
    /// The log's directory.
    pub path: String,
    /// The system's error.
    pub cause: io::Error,
}

/// The head of a Prometheus data directory.
#[derive(Debug, Default)]
pub struct PrometheusHead {
    series: Vec<PrometheusHeadSeries>,
    range: Option<TimeRange>,
    samples: u64,
}

/// One series of a head.
#[derive(Debug)]
pub struct PrometheusHeadSeries {
    /// Its labels.
    pub labels: Labels,
    chunks: Vec<EncodedChunk>,
    late: SeriesSamples,
    deleted: Vec<TimeRange>,
}

/// A series while the log is read.
#[derive(Default)]
struct Growing {
    chunks: Cutter,
    late: SeriesSamples,
    deleted: Vec<TimeRange>,
}

#[derive(Default)]
struct Loading {
    /// By labels, so that a series that was created twice is one.
    positions: BTreeMap<Labels, usize>,
    series: Vec<Growing>,
    by_reference: HashMap<u64, usize>,
    unknown: u64,
    min_time: TimestampMs,
}

impl Loading {
    fn take(&mut self, logged: Logged, late: bool) {
        match logged {
            Logged::Series(reference, labels) => {
                let next = self.series.len();
                let position = *self.positions.entry(labels).or_insert(next);
                if position == next {
                    self.series.push(Growing::default());
                }
                self.by_reference.insert(reference, position);
            }
            Logged::Float(reference, t, value) => {
                let min_time = self.min_time;
                let Some(series) = self.find(reference) else {
                    return;
                };
                if late {
                    series.late.floats.push(t, value);
                } else if t >= min_time && series.chunks.newest().is_none_or(|newest| newest < t) {
                    series.chunks.push_float(t, value);
                }
            }
            Logged::Histogram(reference, t, histogram) => {
                let min_time = self.min_time;
                let Some(series) = self.find(reference) else {
                    return;
                };
                if late {
                    series.late.histograms.push((t, histogram));
                } else if t >= min_time && series.chunks.newest().is_none_or(|newest| newest < t) {
                    series.chunks.push_histogram(t, &histogram);
                }
            }
            Logged::Deleted(reference, range) => {
                if let Some(series) = self.find(reference) {
                    series.deleted.push(range);
                }
            }
        }
    }

    fn find(&mut self, reference: u64) -> Option<&mut Growing> {
        match self.by_reference.get(&reference) {
            Some(&position) => self.series.get_mut(position),
            None => {
                self.unknown += 1;
                None
            }
        }
    }
}

impl PrometheusHead {
    /// Reads the logs in data directory `dir`. In-order samples before `min_time` are in blocks already and left out. `damage` is told what is
    /// lost. A directory without logs has an empty head.
    pub fn read(
        disk: &dyn Disk,
        dir: &Path,
        min_time: TimestampMs,
        damage: &mut dyn FnMut(String),
    ) -> Result<PrometheusHead, HeadReadError> {
        let mut loading = Loading {
            min_time,
            ..Loading::default()
        };
        for (name, late) in [(LOG_DIR, false), (LATE_LOG_DIR, true)] {
            let path = dir.join(name);
            let failed = |cause| HeadReadError {
                path: path.display().to_string(),
                cause,
            };
            let Some(parts) = find_log(disk, &path).map_err(failed)? else {
                continue;
            };
            let mut refused = Vec::new();
            let mut visit = |record: &[u8]| {
                if let Err(error) = read_record(record, &mut |logged| loading.take(logged, late))
                    && !refused.contains(&error)
                {
                    refused.push(error);
                }
            };
            read_log(disk, &parts, &mut visit, damage).map_err(failed)?;
            for error in refused {
                damage(format!("{}: {error}", path.display()));
            }
        }
        if loading.unknown > 0 {
            damage(format!(
                "{}: {} samples of series that the log does not define",
                dir.join(LOG_DIR).display(),
                loading.unknown
            ));
        }
        Ok(loading.finish())
    }

    /// All series that have samples, ascending by labels.
    pub fn series(&self) -> &[PrometheusHeadSeries] {
        &self.series
    }

    /// Times of the oldest and the newest sample, before deletions.
    pub fn time_range(&self) -> Option<TimeRange> {
        self.range
    }

    /// Numbers of the aligned ranges of `width` milliseconds that may have samples, ascending.
    pub(super) fn windows(&self, width: i64) -> BTreeSet<i64> {
        let mut numbers = BTreeSet::new();
        for series in &self.series {
            for chunk in &series.chunks {
                numbers.extend(chunk.min_time.div_euclid(width)..=chunk.max_time.div_euclid(width));
            }
            let late = series.late.floats.timestamps.iter();
            let late = late.chain(series.late.histograms.iter().map(|(t, _)| t));
            numbers.extend(late.map(|t| t.div_euclid(width)));
        }
        numbers
    }

    /// Samples, before deletions and with late ones that repeat others.
    pub fn sample_count(&self) -> u64 {
        self.samples
    }
}

impl Loading {
    fn finish(self) -> PrometheusHead {
        let mut head = PrometheusHead::default();
        let mut growing: Vec<Option<Growing>> = self.series.into_iter().map(Some).collect();
        for (labels, position) in self.positions {
            let Some(series) = growing.get_mut(position).and_then(Option::take) else {
                continue;
            };
            let series = PrometheusHeadSeries {
                labels,
                chunks: series.chunks.finish(),
                late: series.late,
                deleted: series.deleted,
            };
            let in_chunks = series.chunks.iter().map(|c| (c.min_time, c.max_time));
            let late = series.late.floats.timestamps.iter().copied();
            let late = late.chain(series.late.histograms.iter().map(|(t, _)| *t));
            let times = in_chunks.chain(late.map(|t| (t, t)));
            let mut count = series.late.len() as u64;
            count += series
                .chunks
                .iter()
                .map(|c| u64::from(c.count))
                .sum::<u64>();
            if count == 0 {
                continue;
            }
            for (min, max) in times {
                let range = head.range.get_or_insert(TimeRange { min, max });
                range.min = range.min.min(min);
                range.max = range.max.max(max);
            }
            head.samples += count;
            head.series.push(series);
        }
        head
    }
}

impl PrometheusHeadSeries {
    /// Puts the samples inside `range` into `out`, which is emptied before.
    pub fn read(&self, range: TimeRange, out: &mut SeriesSamples) {
        out.clear();
        let chunks = self.chunks.iter();
        for chunk in chunks.filter(|c| c.min_time <= range.max && c.max_time >= range.min) {
            let decoded = decode_chunk(chunk.encoding, &chunk.data, out);
            assert!(decoded.is_ok(), "BUG: our own chunk: {decoded:?}");
        }
        let late = &self.late;
        for (&t, &value) in late.floats.timestamps.iter().zip(&late.floats.values) {
            out.floats.push(t, value);
        }
        out.histograms.extend(late.histograms.iter().cloned());
        order(out);
        clip(range, out);
        remove(&self.deleted, out);
    }
}
