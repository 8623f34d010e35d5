//! A data directory of a Prometheus that is not running, a snapshot of one, or a single block: all of its blocks and its head.
//!
//! Promise: what Prometheus would answer from: blocks that others stand for are left out; damaged ones are named and left out; in-order samples
//! of the log that are in blocks are not read again. A directory that a Prometheus has locked is refused. Not here: what becomes of the samples.

use super::block_reader::PrometheusBlock;
use super::head::{HeadReadError, PrometheusHead};
use super::index_reader::PrometheusSeries;
use super::meta::META_FILE;
use super::order::{clip, order};
use crate::block::BlockId;
use crate::io::{DirLock, Disk};
use crate::model::{Labels, Matcher, SeriesSamples, TimestampMs};
use crate::shard_api::TimeRange;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// A Prometheus runs on it.
    #[error(
        "{path} is locked: a Prometheus runs on it. Stop it, or take a snapshot (POST /api/v1/admin/tsdb/snapshot) and use that"
    )]
    Locked {
        /// The directory.
        path: String,
    },
    /// It cannot be listed.
    #[error("{path}: {cause}")]
    Io {
        /// The directory.
        path: String,
        /// The system's error.
        cause: io::Error,
    },
    /// There is nothing of Prometheus in it.
    #[error("{path} has neither blocks nor a write-ahead log of Prometheus")]
    Nothing {
        /// The directory.
        path: String,
    },
    /// Its logs cannot be read.
    #[error(transparent)]
    Head(#[from] HeadReadError),
}

/// An open directory.
pub struct PrometheusDirectory {
    blocks: Vec<PrometheusBlock>,
    head: PrometheusHead,
    _lock: Option<DirLock>,
}

/// One series of a directory.
pub struct PrometheusDirectorySeries {
    /// Its labels.
    pub labels: Labels,
    in_blocks: Vec<(usize, PrometheusSeries)>,
    in_head: Option<usize>,
}

impl PrometheusDirectory {
    /// Opens the directory, or the one block, at `dir`. `damage` is told what is left out.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        damage: &mut dyn FnMut(String),
    ) -> Result<PrometheusDirectory, DirectoryError> {
        let path = || dir.display().to_string();
        let listed = disk.list(dir);
        let names = listed.map_err(|cause| DirectoryError::Io {
            path: path(),
            cause,
        })?;
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let lock = match has("lock") {
            true => DirLock::share(dir).map_err(|cause| match cause.kind() {
                io::ErrorKind::WouldBlock => DirectoryError::Locked { path: path() },
                _ => DirectoryError::Io {
                    path: dir.join("lock").display().to_string(),
                    cause,
                },
            })?,
            false => None,
        };
        let dirs = block_dirs(dir, &names);
        if dirs.is_empty() && !has("wal") {
            return Err(DirectoryError::Nothing { path: path() });
        }
        let blocks = open_blocks(disk, &dirs, damage);
        let in_order = blocks
            .iter()
            .filter(|b| !b.meta().compaction.is_out_of_order());
        let compacted_until = in_order.map(|b| b.meta().max_time).max();
        let min_time = compacted_until.unwrap_or(TimestampMs::MIN);
        Ok(PrometheusDirectory {
            head: PrometheusHead::read(disk, dir, min_time, damage)?,
            blocks,
            _lock: lock,
        })
    }

    /// Only the blocks of the directory, oldest first; a Prometheus may be running on it, as with `promtool`. `damage` is told what is left out.
    pub fn read_blocks(
        disk: &dyn Disk,
        dir: &Path,
        damage: &mut dyn FnMut(String),
    ) -> Result<Vec<PrometheusBlock>, DirectoryError> {
        let names = disk.list(dir).map_err(|cause| DirectoryError::Io {
            path: dir.display().to_string(),
            cause,
        })?;
        Ok(open_blocks(disk, &block_dirs(dir, &names), damage))
    }

    /// The blocks, oldest first.
    pub fn blocks(&self) -> &[PrometheusBlock] {
        &self.blocks
    }

    /// What is not in blocks.
    pub fn head(&self) -> &PrometheusHead {
        &self.head
    }

    /// Series that pass one of the sets of matchers and may have samples in `range`, ascending by labels.
    pub fn series(
        &self,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        damage: &mut dyn FnMut(String),
    ) -> Vec<PrometheusDirectorySeries> {
        let wanted = |labels: &Labels| {
            let passes = |set: &Vec<Matcher>| {
                let mut set = set.iter();
                set.all(|m| m.matches(labels.value(&m.name)))
            };
            matchers.iter().any(passes)
        };
        let mut all: BTreeMap<Labels, PrometheusDirectorySeries> = BTreeMap::new();
        let entry = |labels: &Labels| PrometheusDirectorySeries {
            labels: labels.clone(),
            in_blocks: Vec::new(),
            in_head: None,
        };
        for (index, block) in self.blocks.iter().enumerate() {
            let meta = block.meta();
            if meta.min_time > range.max || meta.max_time < range.min {
                continue;
            }
            for series in block.series() {
                match series {
                    Ok(series) if wanted(&series.labels) => {
                        let of = all.entry(series.labels.clone());
                        let of = of.or_insert_with(|| entry(&series.labels));
                        of.in_blocks.push((index, series));
                    }
                    Ok(_) => {}
                    Err(error) => damage(format!("block {}: {error}", meta.ulid)),
                }
            }
        }
        for (index, series) in self.head.series().iter().enumerate() {
            if wanted(&series.labels) {
                let of = all.entry(series.labels.clone());
                of.or_insert_with(|| entry(&series.labels)).in_head = Some(index);
            }
        }
        all.into_values().collect()
    }

    /// Puts the samples of a series inside `range` into `out`, which is emptied before.
    pub fn read(
        &self,
        series: &PrometheusDirectorySeries,
        range: TimeRange,
        out: &mut SeriesSamples,
        damage: &mut dyn FnMut(String),
    ) {
        out.clear();
        let mut part = SeriesSamples::default();
        let mut add = |part: &SeriesSamples| {
            out.floats.timestamps.extend(&part.floats.timestamps);
            out.floats.values.extend(&part.floats.values);
            out.histograms.extend(part.histograms.iter().cloned());
        };
        for (index, in_block) in &series.in_blocks {
            self.blocks[*index].read(in_block, &mut part, damage);
            add(&part);
        }
        if let Some(index) = series.in_head {
            self.head.series()[index].read(range, &mut part);
            add(&part);
        }
        order(out);
        clip(range, out);
    }
}

/// The directories of blocks: `dir` itself if it is one, and those in it.
fn block_dirs(dir: &Path, names: &[String]) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if names.iter().any(|name| name == META_FILE) {
        dirs.push(dir.to_owned());
    }
    let blocks = names.iter().filter(|name| name.parse::<BlockId>().is_ok());
    dirs.extend(blocks.map(|name| dir.join(name)));
    dirs
}

fn open_blocks(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    damage: &mut dyn FnMut(String),
) -> Vec<PrometheusBlock> {
    let mut blocks = Vec::new();
    for dir in dirs {
        match PrometheusBlock::open(disk, dir) {
            Ok(block) => blocks.push(block),
            Err(error) => damage(format!("block left out: {error}")),
        }
    }
    let parents: BTreeSet<String> = blocks
        .iter()
        .flat_map(|block| &block.meta().compaction.parents)
        .map(|parent| parent.ulid.clone())
        .collect();
    blocks.retain(|block| {
        let meta = block.meta();
        !meta.compaction.deletable && !parents.contains(&meta.ulid)
    });
    blocks.sort_by(|a, b| {
        (a.meta().min_time, &a.meta().ulid).cmp(&(b.meta().min_time, &b.meta().ulid))
    });
    blocks
}
