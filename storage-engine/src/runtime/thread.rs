//! A shard's thread from start to end: pin, replay, say that it is ready, run under a shell, close the mailbox.
//!
//! Promise: whoever waits for the shard hears of its readiness or of its failure; a panic ends the process, because half a store
//! that goes on would lie, and the log brings everything back.

use super::drive::PublishedStats;
use super::mailbox::Mailbox;
use super::{glommio_shell, tokio_shell};
use crate::checkpoint::{CheckpointPlace, RestoreTarget, load_checkpoint};
use crate::io::{Disk, StandardDisk};
use crate::maintenance::{BLOCKS, Shelf, open_blocks};
use crate::model::{SeriesRef, TimestampMs};
use crate::shard::{Shard, ShardConfig};
use crate::wal::exemplars::{LoggedExemplar, decode_exemplars};
use crate::wal::format::{PayloadError, RecordKind};
use crate::wal::histograms::LoggedHistogram;
use crate::wal::starts::{LoggedStart, decode_starts};
use crate::wal::tombstones::decode_tombstones;
use crate::wal::{
    LogPosition, ReplayProgress, ReplayTarget, Replayed, WalOptions, WalPlace, replay_behind,
};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// How far a store's start is.
#[derive(Debug, Clone, Default)]
pub(crate) struct StartState {
    /// Shards that have replayed.
    pub(crate) ready: usize,
    /// Shards that have ended.
    pub(crate) ended: usize,
    /// Why the store cannot be used.
    pub(crate) failure: Option<String>,
}

/// Which shell a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardStart {
    Tokio,
    Glommio,
}

/// What a shard's thread needs.
pub(crate) struct ShardThread {
    pub(crate) index: usize,
    pub(crate) start: ShardStart,
    pub(crate) core: Option<core_affinity::CoreId>,
    pub(crate) shard: ShardConfig,
    pub(crate) wal: WalOptions,
    pub(crate) sync_interval_nanos: u64,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) stats: Arc<PublishedStats>,
    pub(crate) progress: Arc<ReplayProgress>,
    pub(crate) state: watch::Sender<StartState>,
    /// Where the shard's blocks are listed for others; one for each shard.
    pub(crate) shelves: Arc<[Shelf]>,
}

/// Puts replayed records into a shard.
pub(super) struct IntoShard<'a> {
    shard: &'a mut Shard,
    /// Samples whose series nobody defined: their definitions are lost.
    pub(super) unknown: u64,
    /// Exemplars of series that are gone.
    exemplars_left_out: u64,
    exemplars: Vec<LoggedExemplar>,
    starts: Vec<LoggedStart>,
}

impl ReplayTarget for IntoShard<'_> {
    fn series(&mut self, series: SeriesRef, labels: &[u8]) {
        let _ = self.shard.replay_series(series, labels);
    }

    fn samples(&mut self, refs: &[SeriesRef], timestamps: &[TimestampMs], values: &[f64]) {
        self.unknown += self.shard.replay_samples(refs, timestamps, values).unknown;
    }

    fn histograms(&mut self, samples: &[LoggedHistogram]) {
        self.unknown += self.shard.replay_histograms(samples).unknown;
    }

    fn out_of_order_samples(
        &mut self,
        refs: &[SeriesRef],
        timestamps: &[TimestampMs],
        values: &[f64],
    ) -> Result<(), PayloadError> {
        let replayed = self.shard.replay_out_of_order(refs, timestamps, values);
        self.unknown += replayed.unknown;
        Ok(())
    }

    fn out_of_order_histograms(&mut self, samples: &[LoggedHistogram]) -> Result<(), PayloadError> {
        let replayed = self.shard.replay_out_of_order_histograms(samples);
        self.unknown += replayed.unknown;
        Ok(())
    }

    fn other(&mut self, kind: RecordKind, payload: &[u8]) -> Result<(), PayloadError> {
        match kind {
            RecordKind::Exemplars => {
                decode_exemplars(payload, &mut self.exemplars)?;
                self.exemplars_left_out += self.shard.replay_exemplars(&self.exemplars);
                Ok(())
            }
            RecordKind::Tombstones => {
                let mut tombstones = Vec::new();
                decode_tombstones(payload, &mut tombstones)?;
                self.shard.replay_tombstones(&tombstones);
                Ok(())
            }
            RecordKind::Starts => {
                decode_starts(payload, &mut self.starts)?;
                self.unknown += self.shard.replay_starts(&self.starts);
                Ok(())
            }
            kind => Err(PayloadError::NotTaken { kind }),
        }
    }
}

impl RestoreTarget for IntoShard<'_> {
    fn shard(&mut self) -> &mut Shard {
        self.shard
    }
}

/// Gives an empty shard the blocks of its directory, before its log is read: what they hold is not replayed.
pub(crate) fn open_shard_blocks(
    disk: &dyn Disk,
    place: &WalPlace,
    shard: &mut Shard,
    shelf: &Shelf,
) -> io::Result<()> {
    let shard_dir = place.dir.parent().unwrap_or(&place.dir);
    let opened =
        open_blocks(disk, &shard_dir.join(BLOCKS), place.shard).map_err(io::Error::other)?;
    tracing::info!(
        shard = place.shard,
        blocks = opened.blocks.len(),
        quarantined = opened.quarantined.len(),
        "blocks opened"
    );
    // First, because a block whose deletions alone are lost is among the sound ones too.
    for quarantined in &opened.quarantined {
        shard.quarantine(quarantined.clone());
    }
    shard.change_blocks(opened.blocks.clone(), &[], opened.sealed_until);
    shelf.with(|shelf| {
        shelf.blocks = opened.blocks;
        shelf.quarantined = opened.quarantined;
        shelf.opened = true;
    });
    Ok(())
}

/// Fills an empty shard from its newest checkpoint and the log behind that.
pub(crate) fn replay_shard(
    disk: &dyn Disk,
    wal: &WalOptions,
    shard: &mut Shard,
    progress: &ReplayProgress,
) -> io::Result<Replayed> {
    let dir = &wal.place.dir;
    disk.create_dir_all(dir)?;
    for parent in dir.ancestors().skip(1).take(2) {
        disk.sync_dir(parent)?;
    }
    let mut target = IntoShard {
        shard,
        unknown: 0,
        exemplars_left_out: 0,
        exemplars: Vec::new(),
        starts: Vec::new(),
    };
    let place = CheckpointPlace::beside(&wal.place);
    let loaded = load_checkpoint(disk, &place, wal.place.is_whole(disk), &mut target)
        .map_err(io::Error::other)?;
    let covered = match &loaded {
        None => 0,
        Some(loaded) => {
            let note = |counter: &AtomicU64, count| counter.store(count, Ordering::Relaxed);
            note(&progress.checkpoints_damaged, loaded.damaged);
            note(&progress.checkpoint_series_lost, loaded.series_lost);
            note(&progress.pages_damaged, loaded.pages_damaged);
            tracing::info!(
                shard = wal.place.shard,
                record = loaded.lsn,
                series = loaded.series,
                bytes = loaded.bytes,
                series_lost = loaded.series_lost,
                pages_damaged = loaded.pages_damaged,
                "checkpoint loaded"
            );
            loaded.lsn
        }
    };
    let replayed = replay_behind(disk, &wal.place, covered, &mut target, progress)
        .map_err(io::Error::other)?;
    let (unknown, exemplars) = (target.unknown, target.exemplars_left_out);
    if exemplars > 0 {
        tracing::info!(
            shard = wal.place.shard,
            exemplars,
            "exemplars of series that are gone"
        );
    }
    progress.samples_unknown.store(unknown, Ordering::Relaxed);
    if unknown > 0 {
        tracing::error!(
            shard = wal.place.shard,
            samples = unknown,
            "samples of series whose definition is lost"
        );
    }
    shard.note_start(loaded.map_or(0, |loaded| loaded.bytes), replayed.bytes);
    shard.replay_finish(replayed.position.next_lsn - 1);
    tracing::info!(
        shard = wal.place.shard,
        samples = replayed.samples,
        records_lost = replayed.records_lost,
        "log replayed"
    );
    Ok(replayed)
}

/// Runs `body`; a panic in it is logged and ends the process.
pub(super) fn fatal_if_panics(what: &str, body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!(
            "FATAL: the {what} thread panicked; the process ends, the log brings its data back"
        );
        std::process::abort();
    }
}

impl ShardThread {
    /// The whole life of the thread.
    pub(crate) fn run(self) {
        fatal_if_panics("shard", || {
            let outcome = self.live();
            self.mailbox.close();
            self.state.send_modify(|state| {
                state.ended += 1;
                if let Err(error) = outcome {
                    let text = format!("shard {}: {error}", self.index);
                    tracing::error!(error = %text, "a shard cannot run");
                    state.failure.get_or_insert(text);
                }
            });
        });
    }

    fn live(&self) -> io::Result<()> {
        if let Some(core) = self.core
            && !core_affinity::set_for_current(core)
        {
            tracing::warn!(
                shard = self.index,
                core = core.id,
                "the thread could not be pinned"
            );
        }
        let mut shard = Shard::new(self.shard.clone());
        let shelf = &self.shelves[self.index];
        open_shard_blocks(&StandardDisk, &self.wal.place, &mut shard, shelf)?;
        let replayed = replay_shard(&StandardDisk, &self.wal, &mut shard, &self.progress)?;
        self.stats.write(shard.stats());
        self.state.send_modify(|state| state.ready += 1);
        self.run_shell(&mut shard, replayed.position)
    }

    fn run_shell(&self, shard: &mut Shard, position: LogPosition) -> io::Result<()> {
        match self.start {
            ShardStart::Tokio => tokio_shell::run(self, shard, position),
            ShardStart::Glommio => glommio_shell::run(self, shard, position),
        }
    }
}
