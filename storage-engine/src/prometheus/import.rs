//! From Prometheus's blocks and head to blocks of a data directory.
//!
//! Promise: every series goes to the shard that a server would route it to; the range of a block stays. What comes from one source block appears
//! in all shards after all of it is durable, one rename for each shard. Names are derived from the source's, so an import that was interrupted
//! is begun again and leaves out what is there. Memory: the labels of the series of one source block, and one series' samples.
//! Not here: retention (the server removes what is too old for it when it starts), exemplars and metadata.

use super::block_reader::PrometheusBlock;
use super::directory::PrometheusDirectory;
use super::head::PrometheusHeadSeries;
use super::index_reader::PrometheusSeries;
use crate::block::{
    BlockId, BlockMeta, BlockOptions, BlockWriteError, BlockWriter, Profile, block_order,
};
use crate::io::Disk;
use crate::model::{Labels, SeriesSamples};
use crate::shard_api::TimeRange;
use crate::store::offline::OfflineTarget;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// Width of the blocks that a head is cut into, and the smallest range of a block of Prometheus.
const HEAD_BLOCK_RANGE_MS: i64 = 2 * 3_600_000;
/// Series between two reports of progress.
const SERIES_PER_REPORT: usize = 1000;

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportProgress {
    /// A source is begun: its name, and the number of its series.
    Begin {
        /// Name of the block, or `head`.
        source: String,
        /// How many sources there are.
        sources: usize,
        /// Which one it is, from 1.
        number: usize,
    },
    /// So many series of the source are done.
    Series {
        /// Done.
        done: usize,
        /// Of so many.
        of: usize,
    },
    /// The source was there already.
    Skipped,
    /// The source is imported.
    Done {
        /// Samples.
        samples: u64,
        /// Bytes of the new blocks.
        bytes: u64,
    },
    /// Something could not be read and is left out.
    Damage(String),
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Sources that were imported.
    pub imported: usize,
    /// Sources that were there already.
    pub skipped: usize,
    /// Blocks that were made.
    pub blocks: usize,
    /// Series in them, counted in every block.
    pub series: u64,
    /// Samples in them.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Things that were damaged and left out.
    pub damaged: usize,
}

/// Why an import ended early. What was reported as done is there and durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The disk refuses.
    #[error("{path}: {cause}")]
    Io {
        /// What.
        path: String,
        /// The system's error.
        cause: io::Error,
    },
    /// A block cannot be written.
    #[error(transparent)]
    Write(#[from] BlockWriteError),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    let path = path.display().to_string();
    move |cause| ImportError::Io { path, cause }
}

/// What becomes one block in each shard.
enum Source<'a> {
    Block(&'a PrometheusBlock, BlockId),
    /// A part of the head.
    Head(&'a PrometheusDirectory, TimeRange),
}

/// One series of a source.
enum SourceSeries<'a> {
    Block(&'a PrometheusBlock, PrometheusSeries),
    Head(&'a PrometheusHeadSeries, TimeRange),
}

impl SourceSeries<'_> {
    fn labels(&self) -> &Labels {
        match self {
            SourceSeries::Block(_, series) => &series.labels,
            SourceSeries::Head(series, _) => &series.labels,
        }
    }

    fn read(&self, out: &mut SeriesSamples, damage: &mut dyn FnMut(String)) {
        match self {
            SourceSeries::Block(block, series) => block.read(series, out, damage),
            SourceSeries::Head(series, range) => series.read(*range, out),
        }
    }
}

impl<'a> Source<'a> {
    fn name(&self) -> String {
        match self {
            Source::Block(_, id) => id.to_string(),
            Source::Head(_, range) => format!("head from {}", range.min),
        }
    }

    fn series(&self, damage: &mut dyn FnMut(String)) -> Vec<SourceSeries<'a>> {
        match *self {
            Source::Block(block, id) => {
                let mut all = Vec::new();
                for series in block.series() {
                    match series {
                        Ok(series) => all.push(SourceSeries::Block(block, series)),
                        Err(error) => damage(format!("block {id}: {error}")),
                    }
                }
                all
            }
            Source::Head(directory, range) => {
                let series = directory.head().series().iter();
                series.map(|s| SourceSeries::Head(s, range)).collect()
            }
        }
    }

    /// The name of the new block of a shard: the same for the same source. Its time is not before that of the samples in it.
    fn id(&self, shard: usize) -> BlockId {
        let (created_ms, content) = match self {
            Source::Block(_, id) => (id.created_ms(), id.0.to_le_bytes().to_vec()),
            Source::Head(directory, range) => {
                let head = directory.head();
                let newest = head.time_range().map_or(0, |r| r.max);
                let mut content = b"head".to_vec();
                content.extend(range.min.to_le_bytes());
                content.extend(newest.to_le_bytes());
                content.extend(head.sample_count().to_le_bytes());
                (u64::try_from(range.max).unwrap_or(0), content)
            }
        };
        let mut content = content;
        content.extend((shard as u64).to_le_bytes());
        let hash = xxh3_128(&content).to_le_bytes();
        let mut random = [0; 10];
        random.copy_from_slice(&hash[..10]);
        BlockId::new(created_ms, random)
    }

    fn level(&self) -> u8 {
        match self {
            Source::Block(block, _) => {
                u8::try_from(block.meta().compaction.level.max(1)).unwrap_or(u8::MAX)
            }
            Source::Head(..) => 1,
        }
    }

    fn is_out_of_order(&self) -> bool {
        match self {
            Source::Block(block, _) => block.meta().compaction.is_out_of_order(),
            Source::Head(..) => false,
        }
    }
}

/// A block that is written and has not got its name yet.
struct Written {
    unnamed: PathBuf,
    named: PathBuf,
    meta: BlockMeta,
}

/// Imports all blocks of `from` and its head, oldest first.
pub fn import(
    from: &PrometheusDirectory,
    target: &OfflineTarget,
    disk: &dyn Disk,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportReport, ImportError> {
    let mut sources: Vec<Source<'_>> = Vec::new();
    for block in from.blocks() {
        match block.meta().ulid.parse() {
            Ok(id) => sources.push(Source::Block(block, id)),
            Err(error) => progress(ImportProgress::Damage(format!("block left out: {error}"))),
        }
    }
    sources.extend(head_windows(from).map(|range| Source::Head(from, range)));
    for shard in 0..target.shard_count() {
        make_durable_dir(disk, &target.blocks_dir(shard))?;
    }
    let mut report = ImportReport::default();
    let count = sources.len();
    for (index, source) in sources.iter().enumerate() {
        progress(ImportProgress::Begin {
            source: source.name(),
            sources: count,
            number: index + 1,
        });
        let mut told = |event: ImportProgress| {
            report.damaged += usize::from(matches!(event, ImportProgress::Damage(_)));
            progress(event);
        };
        let written = write_source(source, target, disk, &mut told)?;
        let Some(written) = written else {
            report.skipped += 1;
            progress(ImportProgress::Skipped);
            continue;
        };
        publish(disk, &written)?;
        let (mut samples, mut bytes) = (0, 0);
        for Written { meta, .. } in &written {
            samples += meta.float_samples + meta.histogram_samples;
            bytes += meta.bytes;
            report.series += u64::from(meta.series);
        }
        report.imported += 1;
        report.blocks += written.len();
        report.samples += samples;
        report.bytes += bytes;
        progress(ImportProgress::Done { samples, bytes });
    }
    Ok(report)
}

fn head_windows(from: &PrometheusDirectory) -> impl Iterator<Item = TimeRange> {
    let width = HEAD_BLOCK_RANGE_MS;
    let numbers = from.head().windows(width).into_iter();
    numbers.map(move |number| TimeRange {
        min: number.saturating_mul(width),
        max: number.saturating_mul(width).saturating_add(width - 1),
    })
}

/// Makes a directory whose name, and its parent's, is durable.
fn make_durable_dir(disk: &dyn Disk, dir: &Path) -> Result<(), ImportError> {
    disk.create_dir_all(dir).map_err(io_error(dir))?;
    for parent in dir.ancestors().skip(1).take(2) {
        disk.sync_dir(parent).map_err(io_error(parent))?;
    }
    Ok(())
}

/// Writes the blocks of a source without their names. `None`: they are all there already.
fn write_source(
    source: &Source<'_>,
    target: &OfflineTarget,
    disk: &dyn Disk,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Option<Vec<Written>>, ImportError> {
    let mut missing = Vec::new();
    for shard in 0..target.shard_count() {
        let dir = target.blocks_dir(shard);
        let name = format!("{}.block", source.id(shard));
        let names = disk.list(&dir).map_err(io_error(&dir))?;
        missing.push(!names.contains(&name));
    }
    if !missing.contains(&true) {
        return Ok(None);
    }
    let mut by_shard: Vec<Vec<SourceSeries<'_>>> = Vec::new();
    by_shard.resize_with(target.shard_count(), Vec::new);
    let all = source.series(&mut |text| progress(ImportProgress::Damage(text)));
    let of = all.len();
    for series in all {
        by_shard[target.shard_of(series.labels())].push(series);
    }
    let mut written = Vec::new();
    let mut done = 0;
    for (shard, mut all) in by_shard.into_iter().enumerate() {
        if !missing[shard] {
            done += all.len();
            continue;
        }
        all.sort_by(|a, b| block_order(a.labels().as_bytes(), b.labels().as_bytes()));
        let mut report = |in_shard: usize, progress: &mut dyn FnMut(ImportProgress)| {
            let done = done + in_shard;
            progress(ImportProgress::Series { done, of });
        };
        written.extend(write_shard(
            source,
            (shard, &all),
            target,
            disk,
            &mut report,
            progress,
        )?);
        done += all.len();
    }
    // Shards without a series of the source have no block of it, now or before.
    let was_there = missing.contains(&false);
    Ok((!written.is_empty() || !was_there).then_some(written))
}

type Report<'r> = dyn FnMut(usize, &mut dyn FnMut(ImportProgress)) + 'r;

fn write_shard(
    source: &Source<'_>,
    (shard, all): (usize, &[SourceSeries<'_>]),
    target: &OfflineTarget,
    disk: &dyn Disk,
    report: &mut Report<'_>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Option<Written>, ImportError> {
    let id = source.id(shard);
    let dir = target.blocks_dir(shard);
    let options = BlockOptions {
        id,
        shard: shard as u32,
        level: source.level(),
        out_of_order: source.is_out_of_order(),
        profile: Profile::Compacted,
        ..BlockOptions::default()
    };
    let unnamed = dir.join(format!("{id}.tmp"));
    let mut writer = BlockWriter::create(disk, &unnamed, options)?;
    let mut samples = SeriesSamples::default();
    let mut last: Option<&Labels> = None;
    for (index, series) in all.iter().enumerate() {
        let labels = series.labels();
        if last.is_some_and(|last| last == labels) || labels.is_empty() {
            let text = format!("{}: series {labels} is there twice", source.name());
            progress(ImportProgress::Damage(text));
            continue;
        }
        series.read(&mut samples, &mut |text| {
            progress(ImportProgress::Damage(format!("{}: {text}", source.name())));
        });
        writer.add(labels.as_bytes(), &samples)?;
        last = Some(labels);
        if index % SERIES_PER_REPORT == SERIES_PER_REPORT - 1 {
            report(index + 1, progress);
        }
    }
    report(all.len(), progress);
    Ok(writer.finish()?.map(|meta| Written {
        unnamed,
        named: dir.join(format!("{id}.block")),
        meta,
    }))
}

/// Gives finished blocks their names.
fn publish(disk: &dyn Disk, written: &[Written]) -> Result<(), ImportError> {
    for block in written {
        disk.rename(&block.unnamed, &block.named)
            .map_err(io_error(&block.named))?;
    }
    for block in written {
        let dir = block.named.parent().unwrap_or(&block.named);
        disk.sync_dir(dir).map_err(io_error(dir))?;
    }
    Ok(())
}
