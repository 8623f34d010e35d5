//! The keeper of one shard: seals its head into blocks, compacts and expires them, carries out deletions and snapshots.
//!
//! Promise: does one thing at a time, so that no deletion meets a half-made block; whatever it is doing when the process ends, the
//! directory opens with every sample once ([`super::directory`]). A round that fails is tried again with the next.
//! Not here: the steps themselves (`seal`, `compact`, `expire`, `delete`, `snapshot`), which thread runs it (`worker`).

use super::directory::{block_path, unfinished_path};
use super::link::{LinkError, ShardLink};
use super::log::CheckpointCost;
use super::pace::{Pace, Stopping, Wishes};
use super::retention::RetentionClock;
use super::settings::Settings;
use super::shelf::Shelf;
use super::stats::Counters;
use super::world::World;
use crate::block::{Block, BlockError, BlockId, BlockMeta, BlockWriteError};
use crate::checkpoint::CheckpointPlace;
use crate::io::{Disk, is_full};
use crate::limits::MAINTENANCE_LOOK_NANOS_MAX;
use crate::model::TimestampMs;
use crate::shard::StoredBlock;
use crate::tombstones::Tombstones;
use crate::wal::WalPlace;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Why a piece of maintenance came to nothing. What was there before is there still.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The store stops.
    #[error("the store is stopping")]
    Stopped,
    /// The shard could not be asked.
    #[error("{0}")]
    Shard(String),
    /// Files could not be handled.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// A block could not be written.
    #[error("write block {id}: {source}")]
    Write {
        /// Which.
        id: BlockId,
        /// Why.
        source: BlockWriteError,
    },
    /// A block could not be read.
    #[error("read block {id}: {source}")]
    Read {
        /// Which.
        id: BlockId,
        /// Why.
        source: BlockError,
    },
    /// Pages of a block are damaged, so that it cannot be written anew without losing what a later look might still save.
    #[error("block {id} is damaged: {what}")]
    Damaged {
        /// Which.
        id: BlockId,
        /// What was found.
        what: String,
    },
    /// There is not enough room to write a block beside those that it is made from.
    #[error("not enough room on the disk: {wanted} bytes wanted, {available} available")]
    NoRoom {
        /// Bytes that the new block may take.
        wanted: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// A checkpoint could not be taken.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

impl KeeperError {
    /// Is it for want of room on the disk?
    pub(crate) fn is_full(&self) -> bool {
        match self {
            KeeperError::Io { source, .. } => is_full(source),
            KeeperError::Write { source, .. } => match source {
                BlockWriteError::Io { source, .. } => is_full(source),
            },
            _ => false,
        }
    }
}

impl From<LinkError> for KeeperError {
    fn from(error: LinkError) -> KeeperError {
        match error {
            LinkError::Stopped => KeeperError::Stopped,
            error => KeeperError::Shard(error.to_string()),
        }
    }
}

impl From<Stopping> for KeeperError {
    fn from(_: Stopping) -> KeeperError {
        KeeperError::Stopped
    }
}

/// What a keeper is made of, as far as it can cross threads.
pub(crate) struct KeeperParts {
    /// Number of its shard.
    pub(crate) shard: usize,
    /// The data directory.
    pub(crate) data_dir: PathBuf,
    /// Where the shard's log is; its other directories are beside it.
    pub(crate) wal: WalPlace,
    /// Where files are.
    pub(crate) disk: Arc<dyn Disk>,
    /// The way to the shard.
    pub(crate) mailbox: Arc<crate::runtime::Mailbox>,
    /// The blocks of all shards.
    pub(crate) shelves: Arc<[Shelf]>,
    /// Settings in force.
    pub(crate) settings: Arc<Settings>,
    /// What was done.
    pub(crate) counters: Arc<Counters>,
    /// What others want.
    pub(crate) wishes: Arc<Wishes>,
}

/// The keeper of one shard.
pub(crate) struct Keeper {
    pub(super) shard: usize,
    pub(super) data_dir: PathBuf,
    pub(super) shard_dir: PathBuf,
    /// Where its blocks are.
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) world: Rc<dyn World>,
    pub(super) link: ShardLink,
    pub(super) shelves: Arc<[Shelf]>,
    pub(super) settings: Arc<Settings>,
    pub(super) counters: Arc<Counters>,
    pub(super) wishes: Arc<Wishes>,
    pub(super) pace: Pace,
    pub(super) clock: RetentionClock,
    pub(super) checkpoints: CheckpointPlace,
    /// Blocks that may have files in the directory and are shown to nobody. A start would show them, so they go before anything is
    /// deleted or made anew: neither deletions nor later blocks would know of them.
    leftovers: RefCell<Vec<BlockId>>,
    pub(super) checkpoint_cost: CheckpointCost,
    /// The last thing tried came to nothing.
    round_failed: bool,
}

/// Folder of blocks in the directory of a shard.
pub(crate) const BLOCKS: &str = "blocks";

/// The directory of a shard.
pub(crate) fn shard_dir(data_dir: &Path, shard: usize) -> PathBuf {
    data_dir.join(format!("shard-{shard:03}"))
}

impl Keeper {
    /// A keeper on this thread.
    pub(crate) fn new(parts: KeeperParts, world: Rc<dyn World>) -> Keeper {
        let shard_dir = parts
            .wal
            .dir
            .parent()
            .unwrap_or(&parts.wal.dir)
            .to_path_buf();
        Keeper {
            shard: parts.shard,
            dir: shard_dir.join(BLOCKS),
            shard_dir,
            checkpoints: CheckpointPlace::beside(&parts.wal),
            data_dir: parts.data_dir,
            disk: parts.disk,
            link: ShardLink::new(parts.mailbox, Rc::clone(&world), Arc::clone(&parts.wishes)),
            pace: Pace::new(Rc::clone(&world), Arc::clone(&parts.wishes)),
            world,
            shelves: parts.shelves,
            settings: parts.settings,
            counters: parts.counters,
            wishes: parts.wishes,
            clock: RetentionClock::default(),
            leftovers: RefCell::default(),
            checkpoint_cost: CheckpointCost::default(),
            round_failed: false,
        }
    }

    /// Time between two looks: an eighth of the block range, so that a head never grows much beyond what makes it due.
    pub(crate) fn look_interval_nanos(&self) -> u64 {
        let eighth = self.settings.block_range().unsigned_abs() * 125_000;
        eighth.clamp(100_000_000, MAINTENANCE_LOOK_NANOS_MAX)
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelves[self.shard]
    }

    /// Waits until the shard has opened its blocks and read its log.
    pub(crate) async fn wait_open(&self) -> Result<(), KeeperError> {
        match self.shelf().with(|shelf| shelf.opened) {
            true => Ok(()),
            // A shard that runs has done both.
            false => Ok(self.link.look(|_| Some(())).await?),
        }
    }

    /// Does everything that is due. Failures are logged and counted where they happen.
    pub(crate) async fn round(&mut self) {
        if !self.shelf().with(|shelf| shelf.opened) {
            return;
        }
        self.pace.begin();
        let mut outcome = self.all_due().await;
        if outcome.as_ref().is_err_and(|error| self.make_room(error)) {
            // What is not done yet frees room once it is done.
            outcome = self.all_due().await;
        }
        self.round_failed = outcome.is_err();
        match outcome {
            Ok(()) => self.look_after_reserve(),
            Err(KeeperError::Stopped) => {}
            Err(error) => tracing::error!(shard = self.shard, %error, "maintenance"),
        }
    }

    /// Takes a checkpoint if one is due. After a failure the next round is waited for.
    pub(crate) async fn checkpoint_between_rounds(&mut self) {
        if self.round_failed || !self.shelf().with(|shelf| shelf.opened) {
            return;
        }
        self.pace.begin();
        match self.checkpoint_due().await {
            Ok(()) | Err(KeeperError::Stopped) => {}
            Err(error) => {
                tracing::error!(shard = self.shard, %error, "maintenance");
                self.round_failed = true;
            }
        }
    }

    async fn all_due(&mut self) -> Result<(), KeeperError> {
        self.remove_leftovers()?;
        let sealed = self.seal_due().await;
        self.checkpoint_due().await?;
        self.expire().await?;
        let compacted = self.compact_due().await;
        if matches!(compacted, Ok(true)) {
            self.expire().await?;
        }
        let compacted = compacted.map(drop);
        sealed.and(compacted)
    }

    /// A fresh identity.
    pub(super) fn new_id(&self) -> BlockId {
        BlockId::new(
            self.world.wall_ms().max(0).unsigned_abs(),
            self.world.random(),
        )
    }

    pub(super) fn io_error(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> KeeperError + use<> {
        let path = path.display().to_string();
        move |source| KeeperError::Io {
            operation,
            path,
            source,
        }
    }

    /// Gives a finished block its name in `dir`, durably, and opens it.
    pub(super) fn adopt(&self, dir: &Path, id: BlockId) -> Result<Block, KeeperError> {
        let (unfinished, path) = (unfinished_path(dir, id), block_path(dir, id));
        self.disk
            .rename(&unfinished, &path)
            .map_err(Self::io_error("rename", &unfinished))?;
        let opened = match self.disk.sync_dir(dir) {
            Err(error) => Err(Self::io_error("sync", dir)(error)),
            Ok(()) => {
                Block::open(&*self.disk, &path).map_err(|source| KeeperError::Read { id, source })
            }
        };
        if opened.is_err() {
            self.leave(dir, [id]);
        }
        opened
    }

    /// Notes blocks that have names in `dir` and will not be shown.
    pub(super) fn leave(&self, dir: &Path, ids: impl IntoIterator<Item = BlockId>) {
        // The directory of a snapshot that failed is emptied as a whole.
        if dir == self.dir {
            self.leftovers.borrow_mut().extend(ids);
        }
    }

    /// Takes away, durably, what [`Self::leave`] has noted.
    pub(super) fn remove_leftovers(&self) -> Result<(), KeeperError> {
        let ids = std::mem::take(&mut *self.leftovers.borrow_mut());
        // What fails is noted again.
        self.remove_files(&ids)
    }

    /// Removes what an attempt has left; what cannot be removed now goes at the next start.
    pub(super) fn discard(&self, dir: &Path, id: BlockId) {
        let _ = self.disk.remove(&unfinished_path(dir, id));
    }

    /// Shows the shard and everybody else new blocks in place of old ones, in one step.
    pub(super) async fn publish(
        &self,
        add: Vec<StoredBlock>,
        remove: Vec<BlockId>,
        head_from: Option<TimestampMs>,
    ) -> Result<(), KeeperError> {
        let (added, removed) = (add.clone(), remove.clone());
        self.link
            .change(move |shard| shard.change_blocks(added, &removed, head_from))
            .await?;
        self.shelf().with(|shelf| shelf.change(&add, &remove));
        Ok(())
    }

    /// Takes blocks out of the shard and off the disk.
    pub(super) async fn drop_blocks(&self, ids: &[BlockId]) -> Result<(), KeeperError> {
        if ids.is_empty() {
            return Ok(());
        }
        match self.outlive(ids).await {
            Err(KeeperError::Stopped) => return Err(KeeperError::Stopped),
            // Without room for a checkpoint the blocks must go all the more; what comes back is too old, and goes again.
            Err(error) => {
                tracing::warn!(shard = self.shard, %error, "blocks go without a checkpoint")
            }
            Ok(()) => {}
        }
        self.publish(Vec::new(), ids.to_vec(), None).await?;
        self.remove_files(ids)
    }

    /// Call before blocks go without a successor. The last block that says until when blocks hold the head keeps the log from being read
    /// back; once it is gone a checkpoint must say so, or deleted samples would come back with the log.
    pub(super) async fn outlive(&self, ids: &[BlockId]) -> Result<(), KeeperError> {
        let sealed_until = |goes: bool| {
            let blocks = self.blocks();
            let metas = blocks.iter().map(|b| b.block.meta());
            let some = metas.filter(|meta| ids.contains(&meta.id) == goes);
            some.filter_map(|meta| meta.sealed_until).max()
        };
        match sealed_until(true) > sealed_until(false) {
            true => self.checkpoint().await,
            false => Ok(()),
        }
    }

    /// Takes the files of blocks away that nobody is shown any more; what fails is noted and tried again.
    pub(super) fn remove_files(&self, ids: &[BlockId]) -> Result<(), KeeperError> {
        if ids.is_empty() {
            return Ok(());
        }
        let removed = ids.iter().try_for_each(|&id| {
            super::directory::remove_block(&*self.disk, &self.dir, id)
                .map_err(Self::io_error("remove", &block_path(&self.dir, id)))
        });
        let durable = removed.and_then(|()| {
            self.disk
                .sync_dir(&self.dir)
                .map_err(Self::io_error("sync", &self.dir))
        });
        if durable.is_err() {
            self.leave(&self.dir, ids.iter().copied());
        }
        durable
    }

    /// The blocks now, ascending by time.
    pub(super) fn blocks(&self) -> Vec<StoredBlock> {
        self.shelf().with(|shelf| shelf.blocks.clone())
    }
}

/// A block without deletions.
pub(super) fn stored(block: Block) -> StoredBlock {
    StoredBlock {
        block: Arc::new(block),
        tombstones: Arc::new(Tombstones::default()),
    }
}

/// Logs that a block has come to be.
pub(super) fn log_block(what: &'static str, meta: &BlockMeta) {
    tracing::info!(
        block = %meta.id,
        shard = meta.shard,
        mint = meta.min_time,
        maxt = meta.max_time,
        series = meta.series,
        samples = meta.float_samples + meta.histogram_samples,
        bytes = meta.bytes,
        level = meta.level,
        "{what}"
    );
}
