//! Compaction: several blocks become one, deletions are carried out, out-of-order data finds its place.
//!
//! Series are merged in block order with one series in memory at a time. Steps: the new block is written, synced and named, and says
//! which blocks it was made from; the shard is shown it in place of them, in one step; their files go. A crash in between leaves both,
//! and the next start removes what the new one was made from.
//! Not here: which blocks (`plan`).

use super::directory::unfinished_path;
use super::keeper::{Keeper, KeeperError, log_block, stored};
use super::merge::{forget_resets_behind, merge_series};
use super::plan::Candidate;
use crate::block::{Block, BlockId, BlockMeta, BlockOptions, BlockWriter, Profile, block_order};
use crate::limits::{COMPACTION_SPARE_BYTES, COMPACTION_SPARE_PART};
use crate::model::SeriesSamples;
use crate::shard::StoredBlock;
use crate::shard_api::{ReadNotes, TimeRange};
use crate::tombstones::{remove_deleted, remove_deleted_histograms};
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering as Memory;

const ALL_TIME: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
/// Samples merged between two looks at what others want.
const SAMPLES_BETWEEN_BREATHS: usize = 65_536;

/// Ranges deleted of the series of a block.
pub(super) fn tombstone_count(stored: &StoredBlock) -> u64 {
    stored.tombstones.iter().map(|(_, r)| r.len() as u64).sum()
}

impl Keeper {
    /// Compacts until nothing is left to do, or until the head is due again. True if anything was compacted.
    pub(super) async fn compact_due(&mut self) -> Result<bool, KeeperError> {
        let mut compacted = false;
        loop {
            let group = self.plan();
            if group.is_empty() {
                return Ok(compacted);
            }
            let ids: Vec<BlockId> = group.iter().map(|b| b.block.meta().id).collect();
            self.counters.triggered.fetch_add(1, Memory::Relaxed);
            let overlapping = overlap(&group);
            let begun = self.world.monotonic_nanos();
            match self.compact(group).await {
                Ok(()) => {
                    compacted = true;
                    self.counters.compactions.fetch_add(1, Memory::Relaxed);
                    if overlapping {
                        self.counters.vertical.fetch_add(1, Memory::Relaxed);
                    }
                    self.counters
                        .observe_compaction(self.world.monotonic_nanos() - begun);
                }
                Err(error) => {
                    self.count_failure(&error);
                    let for_good = match &error {
                        KeeperError::Damaged { id, .. } | KeeperError::Read { id, .. } => Some(*id),
                        _ => None,
                    };
                    let Some(id) = for_good else {
                        return Err(error);
                    };
                    // The others go on without it; it is read as far as it can be.
                    tracing::error!(shard = self.shard, %error, "a block cannot be compacted");
                    let at_fault = match ids.contains(&id) {
                        true => vec![id],
                        false => ids,
                    };
                    self.shelf().with(|shelf| shelf.failed.extend(at_fault));
                }
            }
            // A head that waits long costs memory and restart time; blocks only wait.
            if self.is_seal_due().await? {
                return Ok(compacted);
            }
        }
    }

    async fn is_seal_due(&self) -> Result<bool, KeeperError> {
        let range = self.settings.block_range();
        let span = self.head_span().await?;
        Ok(span.is_some_and(|s| s.newest.saturating_sub(s.oldest) > range + range / 2))
    }

    /// The next group, in the order in which their samples win.
    fn plan(&self) -> Vec<StoredBlock> {
        let (blocks, failed) = self
            .shelf()
            .with(|shelf| (shelf.blocks.clone(), shelf.failed.clone()));
        let candidates: Vec<Candidate> = blocks
            .iter()
            .map(|stored| {
                let meta = stored.block.meta();
                Candidate {
                    min_time: meta.min_time,
                    max_time: meta.max_time,
                    series: u64::from(meta.series),
                    tombstones: tombstone_count(stored),
                    failed: failed.contains(&meta.id),
                }
            })
            .collect();
        let overlapping = self.settings.options().compact_overlapping;
        let group = self.settings.levels().plan(&candidates, overlapping);
        group.into_iter().map(|i| blocks[i].clone()).collect()
    }

    /// Makes one block of `group`, or none where everything in it is deleted.
    async fn compact(&mut self, group: Vec<StoredBlock>) -> Result<(), KeeperError> {
        let level = group.iter().map(|b| b.block.meta().level).max();
        self.rewrite(group, level.unwrap_or(1).saturating_add(1))
            .await
    }

    /// Writes `group` anew as one block of `level`, and puts it in their place.
    pub(super) async fn rewrite(
        &mut self,
        mut group: Vec<StoredBlock>,
        level: u8,
    ) -> Result<(), KeeperError> {
        // At equal times the in-order block's sample counts, then that of the block that was made first: as queries see it.
        group.sort_by_key(|b| merge_rank(b.block.meta()));
        self.look_for_room(&group)?;
        let id = self.new_id();
        let parents: Vec<BlockId> = group.iter().map(|b| b.block.meta().id).collect();
        let metas = || group.iter().map(|b| b.block.meta());
        let options = BlockOptions {
            id,
            shard: self.shard as u32,
            level,
            parents: parents.clone(),
            sealed_until: metas().filter_map(|m| m.sealed_until).max(),
            out_of_order: metas().all(|m| m.out_of_order),
            profile: match level {
                0 | 1 => Profile::Sealed,
                _ => Profile::Compacted,
            },
            page_samples_max: self.settings.options().page_samples_max,
        };
        let written = self.write_merged(&group, options).await;
        let meta = match written {
            Ok(meta) => meta,
            Err(error) => {
                self.discard(&self.dir, id);
                return Err(error);
            }
        };
        let mut add = Vec::new();
        if let Some(meta) = &meta {
            add.push(stored(self.adopt(&self.dir, id)?));
            log_block("blocks compacted", meta);
        } else {
            self.outlive(&parents).await?;
        }
        self.publish(add, parents.clone(), None).await?;
        self.remove_files(&parents)
    }

    /// Refuses what would fill the disk: the log needs the room more.
    fn look_for_room(&self, group: &[StoredBlock]) -> Result<(), KeeperError> {
        let bytes: u64 = group.iter().map(|b| b.block.meta().bytes).sum();
        // Where the file system does not say, writing will.
        let Ok(space) = self.disk.space(&self.dir) else {
            return Ok(());
        };
        let spare = COMPACTION_SPARE_BYTES.min(space.total / COMPACTION_SPARE_PART);
        let wanted = bytes.saturating_add(spare);
        match space.available < wanted {
            true => Err(KeeperError::NoRoom {
                wanted,
                available: space.available,
            }),
            false => Ok(()),
        }
    }

    async fn write_merged(
        &mut self,
        group: &[StoredBlock],
        options: BlockOptions,
    ) -> Result<Option<BlockMeta>, KeeperError> {
        let id = options.id;
        let write_error = |source| KeeperError::Write { id, source };
        let disk = Arc::clone(&self.disk);
        let path = unfinished_path(&self.dir, id);
        let mut writer = BlockWriter::create(&*disk, &path, options).map_err(write_error)?;
        let mut merge = SeriesMerge::new(group)?;
        let mut samples = SeriesSamples::default();
        let mut since_breath = 0;
        while let Some(labels) = merge.next(&mut samples)? {
            writer.add(labels, &samples).map_err(write_error)?;
            // A series costs something even without samples.
            since_breath += samples.len() + 16;
            if since_breath >= SAMPLES_BETWEEN_BREATHS {
                since_breath = 0;
                self.pace.breathe(self.link.is_busy()).await?;
            }
        }
        self.pace.breathe(self.link.is_busy()).await?;
        writer.finish().map_err(write_error)
    }

    /// Writes every block anew that has deletions. A level stays as it is. One that cannot be written does not keep the others; the first
    /// failure is the answer.
    pub(super) async fn clean_tombstones(&mut self) -> Result<(), KeeperError> {
        self.remove_leftovers()?;
        let mut outcome = Ok(());
        for block in self.blocks() {
            if block.tombstones.is_empty() {
                continue;
            }
            let level = block.block.meta().level;
            let begun = self.world.monotonic_nanos();
            let rewritten = self.rewrite(vec![block], level).await;
            if matches!(rewritten, Err(KeeperError::Stopped)) {
                return rewritten;
            }
            self.counters
                .observe_cleanup(self.world.monotonic_nanos() - begun);
            outcome = outcome.and(rewritten);
        }
        outcome
    }
}

/// Order in which the samples of blocks win at equal times.
pub(super) fn merge_rank(meta: &BlockMeta) -> (bool, crate::model::TimestampMs, BlockId) {
    (meta.out_of_order, meta.min_time, meta.id)
}

fn overlap(group: &[StoredBlock]) -> bool {
    let mut spans: Vec<_> = group
        .iter()
        .map(|b| (b.block.meta().min_time, b.block.meta().max_time))
        .collect();
    spans.sort_unstable();
    spans.windows(2).any(|pair| pair[1].0 <= pair[0].1)
}

/// One block in a merge, standing before its next series.
struct Cursor<'a> {
    stored: &'a StoredBlock,
    next: u32,
    labels: Vec<u8>,
}

impl Cursor<'_> {
    fn block(&self) -> &Block {
        &self.stored.block
    }

    /// Reads the labels of the next series; false at the end.
    fn load(&mut self) -> Result<bool, KeeperError> {
        self.labels.clear();
        let meta = self.stored.block.meta();
        if self.next >= meta.series {
            return Ok(false);
        }
        self.stored
            .block
            .put_canonical(self.next, &mut self.labels)
            .map_err(|source| KeeperError::Read {
                id: meta.id,
                source,
            })?;
        Ok(true)
    }

    /// Reads the next series, without what is deleted of it.
    fn read(&self, out: &mut SeriesSamples) -> Result<(), KeeperError> {
        let (block, ordinal) = (self.block(), self.next);
        let mut notes = ReadNotes::default();
        out.clear();
        block.read(ordinal, ALL_TIME, &mut out.floats, &mut notes);
        if block.has_histograms(ordinal) {
            block.read_histograms(ordinal, ALL_TIME, &mut out.histograms, &mut notes);
        }
        block.read_starts(ordinal, ALL_TIME, &mut out.starts);
        if let Some(what) = notes.damage.into_iter().next() {
            return Err(KeeperError::Damaged {
                id: block.meta().id,
                what,
            });
        }
        let deleted = self.stored.tombstones.of(ordinal);
        if !deleted.is_empty() {
            remove_deleted(deleted, 0, &mut out.floats);
            remove_deleted_histograms(deleted, 0, &mut out.histograms);
            forget_resets_behind(deleted, &mut out.histograms);
        }
        Ok(())
    }
}

/// The series of several blocks in block order, each once.
pub(super) struct SeriesMerge<'a> {
    /// Blocks that have series left, in the order in which their samples win.
    cursors: Vec<Cursor<'a>>,
    /// Labels of the series that was given last.
    labels: Vec<u8>,
    sources: Vec<SeriesSamples>,
}

impl<'a> SeriesMerge<'a> {
    pub(super) fn new(group: &'a [StoredBlock]) -> Result<SeriesMerge<'a>, KeeperError> {
        let mut cursors = Vec::with_capacity(group.len());
        for stored in group {
            let mut cursor = Cursor {
                stored,
                next: 0,
                labels: Vec::new(),
            };
            if cursor.load()? {
                cursors.push(cursor);
            }
        }
        Ok(SeriesMerge {
            cursors,
            labels: Vec::new(),
            sources: Vec::new(),
        })
    }

    /// The next series: its labels, and its samples in `out`.
    pub(super) fn next(&mut self, out: &mut SeriesSamples) -> Result<Option<&[u8]>, KeeperError> {
        let least = self
            .cursors
            .iter()
            .map(|c| c.labels.as_slice())
            .min_by(|a, b| block_order(a, b));
        let Some(least) = least else {
            return Ok(None);
        };
        self.labels.clear();
        self.labels.extend_from_slice(least);
        let mut used = 0;
        let mut ended = false;
        for cursor in &mut self.cursors {
            if block_order(&cursor.labels, &self.labels) != Ordering::Equal {
                continue;
            }
            if used == self.sources.len() {
                self.sources.push(SeriesSamples::default());
            }
            cursor.read(&mut self.sources[used])?;
            used += 1;
            cursor.next += 1;
            if !cursor.load()? {
                ended = true;
            }
        }
        if ended {
            self.cursors
                .retain(|cursor| cursor.next < cursor.stored.block.meta().series);
        }
        merge_series(&self.sources[..used], out);
        Ok(Some(&self.labels))
    }
}
