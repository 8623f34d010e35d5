//! A data directory that no server runs on, to be read by tools.
//!
//! Promise: what a server would answer from after a start is there, and nothing in the directory changes: repairs are made in memory only. A
//! directory in use is refused. Memory is that of a server with the same head.
//! Not here: changing a directory (`prometheus::import`), formats (`prometheus`, the gateway's `tsdb` command).

use super::manifest::Manifest;
use super::{OpenError, shard_dir, shard_of};
use crate::io::{DirLock, Disk, ReadOnlyDisk, random_bytes};
use crate::model::{Labels, Matcher, SeriesSamples, ShardId};
use crate::runtime::replay_shard;
use crate::shard::{Selection, Shard, ShardConfig};
use crate::shard_api::{ReadNotes, TimeRange};
use crate::wal::{AckMode, ReplayProgress, WalOptions, WalPlace};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Name of the lock in a data directory.
const LOCK_FILE: &str = "lock";
/// Where the blocks of a shard are.
const BLOCKS_DIR: &str = "blocks";

/// A store that is read and not served.
pub struct OfflineStore {
    shards: Vec<Shard>,
    dir: PathBuf,
    records_lost: u64,
    _lock: Option<DirLock>,
}

impl OfflineStore {
    /// Is `dir` a data directory of this program?
    pub fn is_store(dir: &Path) -> bool {
        Manifest::exists(dir)
    }

    /// Reads the shards of `dir` one after the other; `progress` is told after each how many are done, and of how many.
    pub fn open(
        dir: &Path,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<OfflineStore, OpenError> {
        let io_error = |operation: &'static str| {
            let path = dir.display().to_string();
            move |cause: std::io::Error| OpenError::Io {
                operation,
                path,
                cause: cause.to_string(),
            }
        };
        // A snapshot has no lock, and gets none: it may lie where nothing can be written.
        let lock = match dir.join(LOCK_FILE).exists() {
            true => Some(DirLock::acquire(dir).map_err(|e| OpenError::Lock(e.to_string()))?),
            false => None,
        };
        let manifest = Manifest::load(&ReadOnlyDisk, dir)?;
        let hash_seed = u64::from_le_bytes(random_bytes().map_err(io_error("seed"))?);
        let mut store = OfflineStore {
            shards: Vec::new(),
            dir: dir.to_owned(),
            records_lost: 0,
            _lock: lock,
        };
        for index in 0..manifest.shard_count {
            let mut shard = Shard::new(ShardConfig {
                shard: ShardId(index as u32),
                hash_seed,
                ..ShardConfig::default()
            });
            let wal = WalOptions {
                place: WalPlace {
                    dir: shard_dir(dir, index).join("wal"),
                    store_id: manifest.store_id,
                    shard: index as u32,
                },
                segment_bytes: crate::limits::WAL_SEGMENT_BYTES,
                ack: AckMode::Durable,
            };
            let replay = ReplayProgress::default();
            replay_shard(&ReadOnlyDisk, &wal, &mut shard, &replay)
                .map_err(|error| OpenError::Replay(format!("shard {index}: {error}")))?;
            store.records_lost += replay.records_lost.load(Ordering::Relaxed);
            store.shards.push(shard);
            progress(index + 1, manifest.shard_count);
        }
        Ok(store)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of shards.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Ranges of time in which there may be samples.
    pub fn covered(&self) -> Vec<TimeRange> {
        let ranges = self.shards.iter().filter_map(|s| s.reader().time_range());
        ranges.map(|(min, max)| TimeRange { min, max }).collect()
    }

    /// Series that pass one of the sets of matchers and may have samples in `range`, ascending by labels. What cannot be looked at is noted.
    pub fn select(
        &self,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        notes: &mut ReadNotes,
    ) -> OfflineSelection<'_> {
        let mut series: BTreeMap<Labels, (usize, usize)> = BTreeMap::new();
        let mut selections = Vec::new();
        for shard in &self.shards {
            let reader = shard.reader();
            for set in matchers {
                let selection = reader.select(set, range);
                for text in selection.damage() {
                    notes.note_damage(text.clone());
                }
                for number in 0..selection.len() {
                    let labels = reader.labels(&selection, number);
                    // No series has no labels: these cannot be read, and the notes say so.
                    if !labels.is_empty() {
                        series.insert(labels, (selections.len(), number));
                    }
                }
                selections.push((shard, selection));
            }
        }
        OfflineSelection {
            selections,
            series: series.into_iter().collect(),
        }
    }

    /// Log records that are damaged and lost, over all shards.
    pub fn log_records_lost(&self) -> u64 {
        self.records_lost
    }
}

/// Series of all shards, each by its number.
pub struct OfflineSelection<'s> {
    selections: Vec<(&'s Shard, Selection)>,
    series: Vec<(Labels, (usize, usize))>,
}

impl OfflineSelection<'_> {
    /// Labels of each series, ascending.
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.iter().map(|(labels, _)| labels)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Puts the samples of a series inside `range` into `out`, which is emptied before. What cannot be read is noted.
    pub fn read(
        &self,
        number: usize,
        range: TimeRange,
        out: &mut SeriesSamples,
        notes: &mut ReadNotes,
    ) {
        out.clear();
        let (_, (selection, series)) = self.series[number];
        let (shard, selection) = &self.selections[selection];
        let reader = shard.reader();
        reader.read(selection, series, range, &mut out.floats, notes);
        if reader.has_histograms(selection, series) {
            reader.read_histograms(selection, series, range, &mut out.histograms, notes);
        }
    }
}

/// A data directory that no server runs on, locked to be given blocks; made if it is not there.
pub struct OfflineTarget {
    dir: PathBuf,
    shard_count: usize,
    _lock: DirLock,
}

impl OfflineTarget {
    /// Locks `dir`. `shard_count` is for a directory that is new; an existing one keeps its number.
    pub fn open_or_create(
        disk: &dyn Disk,
        dir: &Path,
        shard_count: usize,
    ) -> Result<OfflineTarget, OpenError> {
        if shard_count == 0 || shard_count > crate::limits::SHARDS_MAX {
            let text = format!(
                "the number of shards must be between 1 and {}",
                crate::limits::SHARDS_MAX
            );
            return Err(OpenError::Options(text));
        }
        disk.create_dir_all(dir).map_err(|cause| OpenError::Io {
            operation: "create",
            path: dir.display().to_string(),
            cause: cause.to_string(),
        })?;
        let lock = DirLock::acquire(dir).map_err(|error| OpenError::Lock(error.to_string()))?;
        let manifest = Manifest::load_or_create(disk, dir, shard_count)?;
        Ok(OfflineTarget {
            dir: dir.to_owned(),
            shard_count: manifest.shard_count,
            _lock: lock,
        })
    }

    /// Number of shards.
    pub fn shard_count(&self) -> usize {
        self.shard_count
    }

    /// The shard of a series.
    pub fn shard_of(&self, labels: &Labels) -> usize {
        shard_of(labels.route_hash(), self.shard_count)
    }

    /// Where the blocks of a shard are.
    pub fn blocks_dir(&self, shard: usize) -> PathBuf {
        shard_dir(&self.dir, shard).join(BLOCKS_DIR)
    }
}

/// Files of the blocks of a data directory, with the shard of each, in order of their names. Needs no lock: a block does not change, it only goes.
pub fn block_files(dir: &Path) -> Result<Vec<(usize, PathBuf)>, OpenError> {
    let manifest = Manifest::load(&ReadOnlyDisk, dir)?;
    let mut files = Vec::new();
    for index in 0..manifest.shard_count {
        let blocks = shard_dir(dir, index).join(BLOCKS_DIR);
        let names = ReadOnlyDisk.list(&blocks).map_err(|cause| OpenError::Io {
            operation: "list",
            path: blocks.display().to_string(),
            cause: cause.to_string(),
        })?;
        let mut names: Vec<String> = names
            .into_iter()
            .filter(|n| n.ends_with(".block"))
            .collect();
        names.sort_unstable();
        files.extend(names.into_iter().map(|name| (index, blocks.join(name))));
    }
    Ok(files)
}
