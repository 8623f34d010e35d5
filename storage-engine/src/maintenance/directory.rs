//! A shard's directory of blocks: what its names mean, opening it, taking blocks away.
//!
//! Promise: after a crash at any moment the directory opens with every sample in it once: half-written files go, blocks that a sound
//! block was made from go, damaged ones are put aside under another name and counted, a later program's are refused.
//! Not here: what is in a block (`block`), the log beside it (`wal`). Format: `docs/format/directory.md`.

use crate::block::{Block, BlockError, BlockId};
use crate::block::{TombstoneFileError, read_tombstones, tombstone_path};
use crate::io::Disk;
use crate::limits::QUARANTINE_SLACK_MS;
use crate::model::TimestampMs;
use crate::shard::{Quarantined, StoredBlock};
use crate::shard_api::TimeRange;
use crate::tombstones::Tombstones;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a directory of blocks cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenBlocksError {
    /// The directory cannot be used.
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: String,
        source: io::Error,
    },
    /// A block was written by a later program.
    #[error("block {path}: {source}")]
    Newer { path: String, source: BlockError },
    /// Deletions were written by a later program.
    #[error(transparent)]
    NewerTombstones(TombstoneFileError),
}

/// What a directory holds.
#[derive(Default)]
pub(crate) struct OpenedBlocks {
    /// Sound blocks.
    pub(crate) blocks: Vec<StoredBlock>,
    /// What cannot be read, from now or from earlier starts.
    pub(crate) quarantined: Vec<Quarantined>,
    /// In-order samples before this are in blocks.
    pub(crate) sealed_until: Option<TimestampMs>,
}

/// Where the file of a block is.
pub(crate) fn block_path(dir: &Path, id: BlockId) -> PathBuf {
    dir.join(format!("{id}.block"))
}

/// Where a block is written before it gets its name.
pub(crate) fn unfinished_path(dir: &Path, id: BlockId) -> PathBuf {
    dir.join(format!("{id}.tmp"))
}

/// What a file name in the directory means.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Block(BlockId),
    Tombstones(BlockId),
    Damaged(BlockId),
    Unfinished,
    Foreign,
}

fn meaning(name: &str) -> Name {
    let Some((stem, extension)) = name.split_once('.') else {
        return Name::Foreign;
    };
    // Only as we write it: identities are read in small letters too.
    let id = stem
        .parse::<BlockId>()
        .ok()
        .filter(|id| id.to_string() == stem);
    match (extension, id) {
        ("tmp", _) => Name::Unfinished,
        ("block", Some(id)) => Name::Block(id),
        ("tombstones", Some(id)) => Name::Tombstones(id),
        ("damaged", Some(id)) => Name::Damaged(id),
        _ => Name::Foreign,
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenBlocksError {
    let path = path.display().to_string();
    move |source| OpenBlocksError::Io {
        operation,
        path,
        source,
    }
}

/// A block that cannot be read. Its samples are older than the moment it was made, which its identity tells.
fn quarantined(id: BlockId, text: String) -> Quarantined {
    let made_ms = i64::try_from(id.created_ms()).unwrap_or(i64::MAX);
    let range = TimeRange {
        min: i64::MIN,
        max: made_ms.saturating_add(QUARANTINE_SLACK_MS),
    };
    Quarantined {
        id,
        text,
        range: Some(range),
    }
}

/// Opens the directory of a shard's blocks, making it if it is not there, and brings it into order.
pub(crate) fn open_blocks(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
) -> Result<OpenedBlocks, OpenBlocksError> {
    disk.create_dir_all(dir).map_err(io_error("create", dir))?;
    for parent in dir.ancestors().skip(1).take(2) {
        disk.sync_dir(parent).map_err(io_error("sync", parent))?;
    }
    let mut opening = Opening {
        disk,
        dir,
        shard,
        opened: OpenedBlocks::default(),
    };
    let mut names = disk.list(dir).map_err(io_error("list", dir))?;
    names.sort_unstable();
    let mut with_tombstones = BTreeSet::new();
    for name in &names {
        match meaning(name) {
            Name::Block(id) => opening.open(id)?,
            Name::Tombstones(id) => {
                with_tombstones.insert(id);
            }
            Name::Damaged(id) => {
                let text = format!("block {id} of shard {shard} is damaged and was put aside");
                opening.opened.quarantined.push(quarantined(id, text));
            }
            Name::Unfinished => opening.remove(&dir.join(name))?,
            Name::Foreign => tracing::warn!(name, "a file among the blocks that is none of ours"),
        }
    }
    opening.remove_parents()?;
    opening.load_tombstones(&with_tombstones)?;
    // The process before may have died between a name and its sync: what is shown from now on must not be another after a power cut.
    disk.sync_dir(dir).map_err(io_error("sync", dir))?;
    let mut opened = opening.opened;
    let sealed = opened.blocks.iter().map(|b| b.block.meta().sealed_until);
    opened.sealed_until = sealed.max().flatten();
    opened
        .blocks
        .sort_by_key(|b| (b.block.meta().min_time, b.block.meta().id));
    Ok(opened)
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    shard: u32,
    opened: OpenedBlocks,
}

impl Opening<'_> {
    fn remove(&self, path: &Path) -> Result<(), OpenBlocksError> {
        self.disk.remove(path).map_err(io_error("remove", path))
    }

    fn open(&mut self, id: BlockId) -> Result<(), OpenBlocksError> {
        let path = block_path(self.dir, id);
        match Block::open(self.disk, &path) {
            Ok(block) if block.meta().id == id && block.meta().shard == self.shard => {
                self.opened.blocks.push(StoredBlock {
                    block: Arc::new(block),
                    tombstones: Arc::default(),
                });
                Ok(())
            }
            Ok(block) => {
                let meta = block.meta();
                let text = format!(
                    "block {id} of shard {} says that it is {} of shard {}",
                    self.shard, meta.id, meta.shard
                );
                self.put_aside(id, text)
            }
            Err(source @ BlockError::NewerVersion { .. }) => Err(OpenBlocksError::Newer {
                path: path.display().to_string(),
                source,
            }),
            Err(BlockError::Io { source: error, .. }) => {
                // Perhaps it can be read next time: it keeps its name.
                let text = format!("block {id} of shard {} cannot be read: {error}", self.shard);
                tracing::error!(block = %id, %error, "a block cannot be read");
                self.opened.quarantined.push(quarantined(id, text));
                Ok(())
            }
            Err(error) => {
                let text = format!("block {id} of shard {}: {error}", self.shard);
                self.put_aside(id, text)
            }
        }
    }

    fn put_aside(&mut self, id: BlockId, text: String) -> Result<(), OpenBlocksError> {
        tracing::error!(block = %id, error = %text, "a damaged block is put aside");
        let path = block_path(self.dir, id);
        let aside = self.dir.join(format!("{id}.damaged"));
        self.disk
            .rename(&path, &aside)
            .map_err(io_error("put aside", &path))?;
        self.opened.quarantined.push(quarantined(id, text));
        Ok(())
    }

    /// A crash between the publication of a compacted block and the removal of what it was made from leaves both.
    fn remove_parents(&mut self) -> Result<(), OpenBlocksError> {
        let metas = self.opened.blocks.iter().map(|b| b.block.meta());
        let parents: BTreeSet<BlockId> = metas.flat_map(|m| m.parents.iter().copied()).collect();
        let mut present: Vec<BlockId> = Vec::new();
        self.opened.blocks.retain(|stored| {
            let id = stored.block.meta().id;
            let is_parent = parents.contains(&id);
            if is_parent {
                present.push(id);
            }
            !is_parent
        });
        for id in present {
            tracing::info!(block = %id, "a block whose successor is there is removed");
            self.remove(&block_path(self.dir, id))?;
        }
        Ok(())
    }

    fn load_tombstones(&mut self, present: &BTreeSet<BlockId>) -> Result<(), OpenBlocksError> {
        for &id in present {
            let index = self
                .opened
                .blocks
                .iter()
                .position(|b| b.block.meta().id == id);
            let Some(index) = index else {
                // Those of a block that was put aside stay with it.
                if !self.opened.quarantined.iter().any(|q| q.id == id) {
                    self.remove(&tombstone_path(self.dir, id))?;
                }
                continue;
            };
            match read_tombstones(self.disk, self.dir, id) {
                Ok(tombstones) => {
                    let tombstones: Option<Tombstones> = tombstones;
                    self.opened.blocks[index].tombstones = Arc::new(tombstones.unwrap_or_default());
                }
                Err(error @ TombstoneFileError::NewerVersion { .. }) => {
                    return Err(OpenBlocksError::NewerTombstones(error));
                }
                Err(error) => self.lose_tombstones(id, index, &error)?,
            }
        }
        Ok(())
    }

    /// Better to show what was deleted than to hide what was not: the block stays, and answers say so.
    fn lose_tombstones(
        &mut self,
        id: BlockId,
        index: usize,
        error: &TombstoneFileError,
    ) -> Result<(), OpenBlocksError> {
        tracing::error!(block = %id, %error, "deletions of a block are lost; their samples show again");
        if matches!(error, TombstoneFileError::Damaged { .. }) {
            let path = tombstone_path(self.dir, id);
            let aside = self.dir.join(format!("{id}.tombstones-damaged"));
            self.disk
                .rename(&path, &aside)
                .map_err(io_error("put aside", &path))?;
        }
        let meta = self.opened.blocks[index].block.meta();
        let range = TimeRange {
            min: meta.min_time,
            max: meta.max_time,
        };
        self.opened.quarantined.push(Quarantined {
            id,
            text: format!(
                "deletions in block {id} of shard {} are lost: {error}",
                self.shard
            ),
            range: Some(range),
        });
        Ok(())
    }
}

/// Takes the files of a block away; durable after the directory's sync. The block goes before its deletions, so that no crash leaves a
/// block without them.
pub(crate) fn remove_block(disk: &dyn Disk, dir: &Path, id: BlockId) -> io::Result<()> {
    let missing_is_fine = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    missing_is_fine(disk.remove(&block_path(dir, id)))?;
    // Without this a crash could bring back the block's name and not that of its deletions.
    disk.sync_dir(dir)?;
    missing_is_fine(disk.remove(&tombstone_path(dir, id)))
}

/// Bytes of the files in a directory; 0 for one that is not there.
pub(crate) fn directory_bytes(disk: &dyn Disk, dir: &Path) -> u64 {
    let Ok(names) = disk.list(dir) else { return 0 };
    let size = |name: &String| {
        let file = disk
            .open(&dir.join(name), crate::io::Access::Buffered)
            .ok()?;
        file.size().ok()
    };
    names.iter().filter_map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Access, CrashImage, SimulatedDisk};

    #[test]
    fn names_mean_what_the_page_says() {
        let id = BlockId(7);
        for (extension, wanted) in [
            ("block", Name::Block(id)),
            ("tombstones", Name::Tombstones(id)),
            ("damaged", Name::Damaged(id)),
            ("tmp", Name::Unfinished),
            ("tombstones-damaged", Name::Foreign),
        ] {
            assert_eq!(meaning(&format!("{id}.{extension}")), wanted);
        }
        for foreign in ["lost+found", "x.block", ".block", "block"] {
            assert_eq!(meaning(foreign), Name::Foreign, "{foreign}");
        }
        assert_eq!(meaning("x.tmp"), Name::Unfinished);
    }

    #[test]
    fn a_block_never_outlives_its_deletions() {
        let (dir, id) = (Path::new("/blocks"), BlockId(7));
        let mut torn = 0;
        for seed in 1..200 {
            let disk = SimulatedDisk::new();
            disk.create_dir_all(dir).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            for path in [block_path(dir, id), tombstone_path(dir, id)] {
                disk.create(&path, Access::Buffered).unwrap();
            }
            disk.sync_dir(dir).unwrap();
            // The power fails behind both removals, neither of which the caller has made durable.
            remove_block(&disk, dir, id).unwrap();
            let left = disk.crash(CrashImage::Random(seed));
            let has = |path: &Path| left.content(path).is_some();
            let tombstones = has(&tombstone_path(dir, id));
            assert!(!has(&block_path(dir, id)) || tombstones, "{seed}");
            torn += u32::from(tombstones);
        }
        assert!(torn > 0);
    }
}
