//! Compaction of a directory that no server runs on: the blocks of each wide range of time become one, whether or not the range is full.
//!
//! Promise: the steps are those of a running server (`compact`), so the directory opens with every sample once wherever the program ends;
//! deletions are carried out; what a head and a log hold is not touched. A block that cannot be read stays as it is, with the others of its
//! range, and is named. Not here: when a server compacts, and what it leaves alone so that ingest goes on (`plan`, `pace`).

use super::compact::SeriesMerge;
use super::compact::{merge_rank, tombstone_count};
use super::directory::{OpenBlocksError, block_path, open_blocks, remove_block, unfinished_path};
use super::plan::range_start;
use crate::block::{BlockId, BlockMeta, BlockOptions, BlockWriter, Profile};
use crate::io::Disk;
use crate::model::SeriesSamples;
use crate::shard::StoredBlock;
use crate::store::offline::OfflineTarget;
use std::io;
use std::path::Path;

/// Why a compaction ended early. Ranges that were reported are compacted, durably; the others are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The directory of a shard cannot be opened.
    #[error("shard {shard}: {text}")]
    Open {
        /// Which.
        shard: usize,
        /// Why.
        text: String,
    },
    /// The disk refuses.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// A block cannot be written.
    #[error("write block {id}: {text}")]
    Write {
        /// Which.
        id: BlockId,
        /// Why.
        text: String,
    },
}

/// What has been done, as it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeProgress {
    /// So many blocks became this one.
    Merged {
        /// Blocks.
        parents: usize,
        /// Their bytes.
        bytes: u64,
        /// The new one.
        meta: BlockMeta,
    },
    /// All that so many blocks held was deleted; they are gone.
    Emptied {
        /// Blocks.
        parents: usize,
    },
    /// A block is damaged; its range stays as it is.
    Damage(String),
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MergeError + use<> {
    let path = path.display().to_string();
    move |source| MergeError::Io {
        operation,
        path,
        source,
    }
}

/// Makes one block of those that lie in one aligned range of `width_ms`, in every shard and range where there are several, or one with
/// deletions or in the form of a freshly sealed one.
pub fn merge_offline(
    disk: &dyn Disk,
    target: &OfflineTarget,
    width_ms: i64,
    new_id: &mut dyn FnMut() -> BlockId,
    progress: &mut dyn FnMut(MergeProgress),
) -> Result<(), MergeError> {
    for shard in 0..target.shard_count() {
        let dir = target.blocks_dir(shard);
        let opened = open_blocks(disk, &dir, shard as u32);
        let opened = opened.map_err(|error: OpenBlocksError| MergeError::Open {
            shard,
            text: error.to_string(),
        })?;
        for quarantined in opened.quarantined {
            progress(MergeProgress::Damage(quarantined.text));
        }
        for group in groups(opened.blocks, width_ms) {
            let mut merge = Merge {
                disk,
                dir: &dir,
                shard,
                new_id,
                progress,
            };
            merge.group(group)?;
        }
    }
    Ok(())
}

/// Blocks that are to become one, by aligned range; those that are wider than a range, and those that have nothing to gain, are in none.
fn groups(mut blocks: Vec<StoredBlock>, width_ms: i64) -> Vec<Vec<StoredBlock>> {
    blocks.sort_by_key(|b| b.block.meta().min_time);
    let mut groups: Vec<(i64, Vec<StoredBlock>)> = Vec::new();
    for stored in blocks {
        let meta = stored.block.meta();
        let start = range_start(meta.min_time, width_ms);
        if meta.max_time >= start.saturating_add(width_ms) {
            continue;
        }
        match groups.last_mut() {
            Some((of, group)) if *of == start => group.push(stored),
            _ => groups.push((start, vec![stored])),
        }
    }
    let gains = |group: &Vec<StoredBlock>| {
        let is_young = |b: &StoredBlock| b.block.meta().level <= 1;
        group.len() > 1 || group.iter().any(|b| is_young(b) || tombstone_count(b) > 0)
    };
    let groups = groups.into_iter().map(|(_, group)| group);
    groups.filter(gains).collect()
}

struct Merge<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    shard: usize,
    new_id: &'a mut dyn FnMut() -> BlockId,
    progress: &'a mut dyn FnMut(MergeProgress),
}

impl Merge<'_> {
    fn group(&mut self, mut group: Vec<StoredBlock>) -> Result<(), MergeError> {
        group.sort_by_key(|b| merge_rank(b.block.meta()));
        let metas = || group.iter().map(|b| b.block.meta());
        let level = metas().map(|m| m.level).max().unwrap_or(1);
        let id = (self.new_id)();
        let options = BlockOptions {
            id,
            shard: self.shard as u32,
            level: level.saturating_add(1),
            parents: metas().map(|m| m.id).collect(),
            sealed_until: metas().filter_map(|m| m.sealed_until).max(),
            out_of_order: metas().all(|m| m.out_of_order),
            profile: Profile::Compacted,
            ..BlockOptions::default()
        };
        let parents: Vec<BlockId> = options.parents.clone();
        let bytes = metas().map(|m| m.bytes).sum();
        let path = unfinished_path(self.dir, id);
        let meta = match self.write(&group, &path, options)? {
            Written::Block(meta) => Some(meta),
            Written::Nothing => None,
            Written::Damaged(text) => {
                // What cannot be removed now goes at the next start.
                let _ = self.disk.remove(&path);
                (self.progress)(MergeProgress::Damage(text));
                return Ok(());
            }
        };
        if meta.is_none() && group.iter().any(|b| b.block.meta().sealed_until.is_some()) {
            // It says until when blocks hold the head: without it a log beside them would be read back, deleted samples and all.
            return Ok(());
        }
        if meta.is_some() {
            let named = block_path(self.dir, id);
            let rename = self.disk.rename(&path, &named);
            rename.map_err(io_error("rename", &path))?;
            let synced = self.disk.sync_dir(self.dir);
            synced.map_err(io_error("sync", self.dir))?;
        }
        for parent in &parents {
            let removed = remove_block(self.disk, self.dir, *parent);
            removed.map_err(io_error("remove", &block_path(self.dir, *parent)))?;
        }
        let synced = self.disk.sync_dir(self.dir);
        synced.map_err(io_error("sync", self.dir))?;
        let parents = parents.len();
        (self.progress)(match meta {
            Some(meta) => MergeProgress::Merged {
                parents,
                bytes,
                meta,
            },
            None => MergeProgress::Emptied { parents },
        });
        Ok(())
    }

    fn write(
        &self,
        group: &[StoredBlock],
        path: &Path,
        options: BlockOptions,
    ) -> Result<Written, MergeError> {
        let id = options.id;
        let failed = |error: &dyn std::fmt::Display| MergeError::Write {
            id,
            text: error.to_string(),
        };
        let mut writer = BlockWriter::create(self.disk, path, options).map_err(|e| failed(&e))?;
        let mut merge = match SeriesMerge::new(group) {
            Ok(merge) => merge,
            Err(error) => return Ok(Written::Damaged(error.to_string())),
        };
        let mut samples = SeriesSamples::default();
        loop {
            match merge.next(&mut samples) {
                Ok(Some(labels)) => writer.add(labels, &samples).map_err(|e| failed(&e))?,
                Ok(None) => break,
                Err(error) => return Ok(Written::Damaged(error.to_string())),
            }
        }
        let meta = writer.finish().map_err(|e| failed(&e))?;
        Ok(meta.map_or(Written::Nothing, Written::Block))
    }
}

/// What became of a group.
enum Written {
    Block(BlockMeta),
    /// Everything in it was deleted.
    Nothing,
    Damaged(String),
}
