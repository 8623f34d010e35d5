//! A data directory that no server runs on, to be read by tools.
//!
//! Promise: what a server would answer from after a start is there (blocks with their deletions, the newest sound checkpoint, the log behind
//! it), and nothing in the directory changes, so that it may be on a read-only file system: repairs are made in memory only. A directory in
//! use is refused; several tools may read one at once. What is damaged is said. Memory is that of a server with the same head.
//! Not here: changing a directory (`prometheus::import`), formats (`prometheus`, the gateway's `tsdb` command).

use super::manifest::Manifest;
use super::{OpenError, shard_dir, shard_of};
use crate::block::{Block, BlockError, BlockId};
use crate::io::{DirLock, Disk, ReadOnlyDisk, random_bytes};
use crate::maintenance::{BLOCKS, Shelf, open_blocks};
use crate::model::{Labels, Matcher, SeriesSamples, ShardId};
use crate::runtime::{open_shard_blocks, replay_shard};
use crate::shard::{Selection, Shard, ShardConfig};
use crate::shard_api::{ReadNotes, TimeRange};
use crate::wal::{AckMode, ReplayProgress, Replayed, WalOptions, WalPlace};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A store that is read and not served.
pub struct OfflineStore {
    shards: Vec<Shard>,
    dir: PathBuf,
    damage: Vec<String>,
    _lock: Option<DirLock>,
}

fn new_shard(index: usize, hash_seed: u64) -> Shard {
    Shard::new(ShardConfig {
        shard: ShardId(index as u32),
        hash_seed,
        ..ShardConfig::default()
    })
}

fn hash_seed(dir: &Path) -> Result<u64, OpenError> {
    let bytes = random_bytes().map_err(io_error("seed", dir))?;
    Ok(u64::from_le_bytes(bytes))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = path.display().to_string();
    move |cause| OpenError::Io {
        operation,
        path,
        cause: cause.to_string(),
    }
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
        // A snapshot has no lock, and gets none: it may lie where nothing can be written.
        let lock = DirLock::share(dir).map_err(|e| OpenError::Lock(e.to_string()))?;
        let manifest = Manifest::load(&ReadOnlyDisk, dir)?;
        let hash_seed = hash_seed(dir)?;
        let mut store = OfflineStore {
            shards: Vec::new(),
            dir: dir.to_owned(),
            damage: Vec::new(),
            _lock: lock,
        };
        for index in 0..manifest.shard_count {
            let mut shard = new_shard(index, hash_seed);
            let wal = WalOptions {
                place: WalPlace {
                    dir: shard_dir(dir, index).join("wal"),
                    store_id: manifest.store_id,
                    shard: index as u32,
                },
                segment_bytes: crate::limits::WAL_SEGMENT_BYTES,
                ack: AckMode::Durable,
            };
            let failed = |error: io::Error| OpenError::Replay(format!("shard {index}: {error}"));
            open_shard_blocks(&ReadOnlyDisk, &wal.place, &mut shard, &Shelf::default())
                .map_err(failed)?;
            let known = ReplayProgress::default();
            let replayed = replay_shard(&ReadOnlyDisk, &wal, &mut shard, &known).map_err(failed)?;
            store.note_damage(index, &shard, &known, &replayed);
            store.shards.push(shard);
            progress(index + 1, manifest.shard_count);
        }
        Ok(store)
    }

    /// Only the samples of one block, without what is deleted of it. Needs no lock: a block does not change.
    pub fn open_block(dir: &Path, id: BlockId) -> Result<OfflineStore, OpenError> {
        let manifest = Manifest::load(&ReadOnlyDisk, dir)?;
        for index in 0..manifest.shard_count {
            let blocks = blocks_dir(dir, index);
            let opened = open_blocks(&ReadOnlyDisk, &blocks, index as u32)
                .map_err(|error| OpenError::Replay(format!("shard {index}: {error}")))?;
            let damage = opened.quarantined.into_iter().filter(|q| q.id == id);
            let damage: Vec<String> = damage.map(|quarantined| quarantined.text).collect();
            let is_wanted = |stored: &&crate::shard::StoredBlock| stored.block.meta().id == id;
            if let Some(stored) = opened.blocks.iter().find(is_wanted) {
                let mut shard = new_shard(index, hash_seed(dir)?);
                shard.change_blocks(vec![stored.clone()], &[], None);
                return Ok(OfflineStore {
                    shards: vec![shard],
                    dir: dir.to_owned(),
                    damage,
                    _lock: None,
                });
            }
            if let Some(text) = damage.into_iter().next() {
                return Err(OpenError::Replay(text));
            }
        }
        Err(OpenError::Options(format!("block {id} not found")))
    }

    /// Notes what a start would log and count.
    fn note_damage(
        &mut self,
        index: usize,
        shard: &Shard,
        known: &ReplayProgress,
        replayed: &Replayed,
    ) {
        let blocks = shard.quarantined().iter().map(|q| q.text.clone());
        self.damage.extend(blocks);
        for hole in &replayed.damage {
            self.damage.push(format!(
                "records {} to {} of the log of shard {index} are lost, before offset {} of segment {}",
                hole.lsn_first, hole.lsn_last, hole.offset, hole.sequence
            ));
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (count, what) in [
            (replayed.unreadable_bytes, "bytes of the log cannot be read"),
            (
                read(&known.segments_set_aside),
                "segments of the log hold no record of this store",
            ),
            (
                read(&known.samples_unknown),
                "samples of the log belong to series whose definition is lost",
            ),
            (read(&known.checkpoints_damaged), "checkpoints are damaged"),
            (
                read(&known.checkpoint_series_lost),
                "series are lost with a checkpoint",
            ),
            (
                read(&known.pages_damaged),
                "pages of sealed chunks are damaged",
            ),
        ] {
            if count > 0 {
                self.damage.push(format!("shard {index}: {count} {what}"));
            }
        }
    }

    /// What was found damaged when it was opened, in words. Damage in pages shows when they are read.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of shards.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// May there be samples in `range`?
    pub fn may_have(&self, range: TimeRange) -> bool {
        self.shards.iter().any(|shard| {
            let overlaps = |meta: &crate::block::BlockMeta| {
                meta.min_time <= range.max && meta.max_time >= range.min
            };
            let in_blocks = shard.blocks().iter().any(|b| overlaps(b.block.meta()));
            in_blocks || !shard.reader().head_slots(range).is_empty()
        })
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
        disk.create_dir_all(dir).map_err(io_error("create", dir))?;
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
        blocks_dir(&self.dir, shard)
    }
}

fn blocks_dir(dir: &Path, shard: usize) -> PathBuf {
    shard_dir(dir, shard).join(BLOCKS)
}

/// A block of a data directory as its file says, deletions not applied.
pub struct OfflineBlock {
    /// The shard in whose directory it lies.
    pub shard: usize,
    /// The block.
    pub block: Block,
}

/// The blocks that a start would open, by shard and name; `damage` is told of those that cannot be opened. Needs no lock: a block does not
/// change, it only goes, and one that has gone in the meantime is left out.
pub fn offline_blocks(
    dir: &Path,
    damage: &mut dyn FnMut(String),
) -> Result<Vec<OfflineBlock>, OpenError> {
    let manifest = Manifest::load(&ReadOnlyDisk, dir)?;
    let mut found = Vec::new();
    for shard in 0..manifest.shard_count {
        let blocks = blocks_dir(dir, shard);
        let mut names = ReadOnlyDisk
            .list(&blocks)
            .map_err(io_error("list", &blocks))?;
        names.sort_unstable();
        for name in names {
            let path = blocks.join(&name);
            if name.ends_with(".damaged") {
                damage(format!("block file {} was put aside", path.display()));
            }
            if !name.ends_with(".block") {
                continue;
            }
            match Block::open(&ReadOnlyDisk, &path) {
                Ok(block) => found.push(OfflineBlock { shard, block }),
                Err(BlockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => damage(error.to_string()),
            }
        }
    }
    let parents = found.iter().flat_map(|b| b.block.meta().parents.clone());
    let parents: BTreeSet<BlockId> = parents.collect();
    found.retain(|b| !parents.contains(&b.block.meta().id));
    Ok(found)
}
