//! Samples of the corpus as they lie after sealing: most in blocks of tiny pages, two of which overlap in time, the newest in the head.

use super::TestStore;
use ferula_query_engine::local::LocalShards;
use ferula_query_engine::testlang::{HostError, LoadedSeries};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use storage_engine::block::{Block, BlockId, BlockOptions, BlockWriter, block_order};
use storage_engine::io::{Disk, SimulatedDisk};
use storage_engine::model::{Labels, SeriesSamples, TimestampMs};
use storage_engine::shard::StoredBlock;
use storage_engine::shard_api::{ShardRunner, TimeRange};

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

/// Where a sample goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Two blocks of ranges that follow each other.
    Block(usize),
    /// A block of samples that came late, beside the two.
    Late,
    Head,
}

/// Local shards whose samples are sealed after each load.
pub(crate) struct BlockStore {
    count: usize,
    /// All that was loaded, in heads.
    loaded: LocalShards,
    /// Start timestamps of the loaded samples, as runs.
    starts: HashMap<Labels, Vec<(TimestampMs, TimestampMs)>>,
    sealed: LocalShards,
}

impl BlockStore {
    pub(crate) fn new(count: usize) -> Self {
        BlockStore {
            count,
            loaded: LocalShards::new(count),
            starts: HashMap::new(),
            sealed: LocalShards::new(count),
        }
    }
}

impl TestStore for BlockStore {
    fn shards(&self) -> &dyn ShardRunner {
        &self.sealed
    }

    async fn clear(&mut self) -> Result<(), HostError> {
        *self = BlockStore::new(self.count);
        Ok(())
    }

    async fn append(&mut self, series: LoadedSeries) -> Result<(), HostError> {
        let appended = self
            .loaded
            .append_mixed(&series.labels, &series.floats, &series.histograms);
        if !series.starts.is_empty() {
            let runs = self.starts.entry(series.labels.clone()).or_default();
            runs.extend(series.starts);
        }
        appended.map_err(|e| HostError(e.to_string()))
    }

    fn loaded(&mut self) -> Result<(), HostError> {
        self.sealed = LocalShards::new(self.count);
        let starts = &self.starts;
        for shard in 0..self.count {
            let series = self.loaded.with_shard(shard, |shard| {
                let reader = shard.reader();
                let slots = reader.head_slots(ALL).into_iter();
                let series = slots.map(|slot| {
                    let (mut labels, mut samples) = (Vec::new(), SeriesSamples::default());
                    reader.put_canonical(slot, &mut labels);
                    reader.read_head(slot, ALL, &mut samples);
                    let labels = Labels::from_canonical(&labels).unwrap();
                    samples.starts = starts.get(&labels).cloned().unwrap_or_default();
                    (labels, samples)
                });
                series.collect::<Vec<_>>()
            });
            self.seal(shard, series.unwrap_or_default())?;
        }
        Ok(())
    }
}

impl BlockStore {
    fn seal(
        &self,
        shard: usize,
        mut series: Vec<(Labels, SeriesSamples)>,
    ) -> Result<(), HostError> {
        series.sort_by(|a, b| block_order(a.0.as_bytes(), b.0.as_bytes()));
        let mut times: Vec<TimestampMs> = series.iter().flat_map(|(_, s)| times(s)).collect();
        times.sort_unstable();
        times.dedup();
        let Some(&newest) = times.last() else {
            return Ok(());
        };
        let place = |part: usize| times.get(times.len() * part / 3).copied().unwrap_or(newest);
        let (middle, head_from) = (place(1), place(2));
        let home = |t: TimestampMs, position: usize| match position % 4 {
            _ if t >= head_from => Home::Head,
            3 => Home::Late,
            _ => Home::Block(usize::from(t >= middle)),
        };
        let mut blocks = Vec::new();
        for (number, wanted) in [Home::Block(0), Home::Block(1), Home::Late]
            .into_iter()
            .enumerate()
        {
            blocks.extend(block(number as u128 + 1, &series, wanted, home));
        }
        self.sealed.with_shard(shard, |shard| {
            shard.change_blocks(blocks, &[], Some(head_from));
        });
        for (labels, samples) in &series {
            let head = part(samples, Home::Head, home);
            let appended =
                self.sealed
                    .append_started(labels, &head.floats, &head.histograms, &samples.starts);
            appended.map_err(|e| HostError(e.to_string()))?;
        }
        Ok(())
    }
}

fn times(samples: &SeriesSamples) -> Vec<TimestampMs> {
    let histograms = samples.histograms.iter().map(|(t, _)| *t);
    let floats = samples.floats.timestamps.iter().copied();
    floats.chain(histograms).collect()
}

/// The samples of one home; floats and histograms are dealt each for itself.
fn part(
    samples: &SeriesSamples,
    wanted: Home,
    home: impl Fn(TimestampMs, usize) -> Home,
) -> SeriesSamples {
    let mut out = SeriesSamples {
        starts: samples.starts.clone(),
        ..SeriesSamples::default()
    };
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    for (position, (&t, &v)) in floats.enumerate() {
        if home(t, position) == wanted {
            out.floats.push(t, v);
        }
    }
    for (position, (t, h)) in samples.histograms.iter().enumerate() {
        if home(*t, position) == wanted {
            out.histograms.push((*t, Arc::clone(h)));
        }
    }
    out
}

fn block(
    number: u128,
    series: &[(Labels, SeriesSamples)],
    wanted: Home,
    home: impl Fn(TimestampMs, usize) -> Home + Copy,
) -> Option<StoredBlock> {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/blocks")).unwrap();
    let path = Path::new("/blocks/one.block");
    let options = BlockOptions {
        id: BlockId(number),
        out_of_order: wanted == Home::Late,
        page_samples_max: 7,
        ..BlockOptions::default()
    };
    let mut writer = BlockWriter::create(&disk, path, options).unwrap();
    for (labels, samples) in series {
        let samples = part(samples, wanted, home);
        writer.add(labels.as_bytes(), &samples).unwrap();
    }
    writer.finish().unwrap()?;
    Some(StoredBlock {
        block: Arc::new(Block::open(&disk, path).unwrap()),
        tombstones: Arc::default(),
    })
}
