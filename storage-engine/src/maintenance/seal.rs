//! Sealing: the old end of the head becomes a block, without stopping ingest.
//!
//! Steps: appends before the end are closed; what is there is read out in pieces and written; the file is synced and named; the shard is
//! shown the block and reads its head only from the end on, in one step; the head's memory and then the log are let go. A crash between
//! any two steps repeats or skips steps, never loses or doubles a sample: the block says until when it holds the head.
//! Out-of-order samples follow into blocks of their own, one for each aligned range.

use super::head_pieces::{Part, read_head_in_order, slots};
use super::keeper::{Keeper, KeeperError, log_block, stored};
use super::merge::split_off_before;
use super::plan::{range_end, range_start};
use crate::block::{BlockId, BlockMeta, BlockOptions, BlockWriter, Profile};
use crate::limits::{BLOCKS_WRITTEN_AT_ONCE_MAX, SEALS_PER_ROUND_MAX};
use crate::model::{SeriesSamples, TimestampMs};
use crate::shard::StoredBlock;
use crate::shard_api::TimeRange;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

/// What a head has.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadSpan {
    /// Oldest sample that no block has.
    pub(super) oldest: TimestampMs,
    /// Newest sample.
    pub(super) newest: TimestampMs,
    /// Samples before this are in blocks.
    pub(super) head_from: TimestampMs,
}

/// What blocks of the head are to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealing {
    pub(super) part: Part,
    pub(super) range: TimeRange,
    /// What the blocks say of the head; `None` where they say nothing.
    pub(super) sealed_until: Option<TimestampMs>,
}

impl Keeper {
    /// The time that the head spans beyond its blocks; `None` when it is empty.
    pub(super) async fn head_span(&self) -> Result<Option<HeadSpan>, KeeperError> {
        let look = |shard: &crate::shard::ShardReader<'_>| {
            let head_from = shard.head_from();
            let span = shard.head_time_range().map(|(oldest, newest)| HeadSpan {
                oldest: oldest.max(head_from),
                newest,
                head_from,
            });
            Some(span.filter(|s| s.oldest <= s.newest))
        };
        Ok(self.link.look(look).await?)
    }

    /// Seals as long as the head spans more than one and a half block ranges. True if anything was sealed.
    pub(super) async fn seal_due(&mut self) -> Result<bool, KeeperError> {
        let range = self.settings.block_range();
        let mut sealed = false;
        for _ in 0..SEALS_PER_ROUND_MAX {
            let Some(span) = self.head_span().await? else {
                break;
            };
            if span.newest.saturating_sub(span.oldest) <= range + range / 2 {
                break;
            }
            let until = range_end(span.oldest, range);
            let outcome = self.seal(span, until).await;
            if let Err(error) = &outcome {
                self.count_failure(error);
            }
            outcome?;
            sealed = true;
        }
        if sealed {
            self.seal_out_of_order().await?;
            self.checkpoint().await?;
        }
        Ok(sealed)
    }

    pub(super) fn count_failure(&self, error: &KeeperError) {
        if !matches!(error, KeeperError::Stopped) {
            self.counters
                .compactions_failed
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Seals the head from `span.head_from` to before `until`.
    async fn seal(&mut self, span: HeadSpan, until: TimestampMs) -> Result<(), KeeperError> {
        let begun = self.world.monotonic_nanos();
        self.counters.triggered.fetch_add(1, Ordering::Relaxed);
        self.link
            .change(move |shard| shard.begin_seal(until))
            .await?;
        let range = TimeRange {
            min: span.head_from,
            max: until - 1,
        };
        let sealing = Sealing {
            part: Part::InOrder,
            range,
            sealed_until: Some(until),
        };
        let id = self.new_id();
        let dir = self.dir.clone();
        match self.write_one(&dir, id, sealing).await? {
            Some(meta) => {
                let block = stored(self.adopt(&dir, id)?);
                log_block("head sealed", &meta);
                self.publish(vec![block], Vec::new(), Some(until)).await?;
                self.counters.compactions.fetch_add(1, Ordering::Relaxed);
                self.truncate_head(until).await?;
            }
            None => {
                let until = self.skip_gap(span, until).await?;
                self.publish(Vec::new(), Vec::new(), Some(until)).await?;
                self.truncate_head(until).await?;
            }
        }
        self.counters
            .observe_compaction(self.world.monotonic_nanos() - begun);
        Ok(())
    }

    /// The range before `until` was empty: the end of the gap, so that years without a sample take one step. No appends are closed that
    /// come less than a block range behind the newest sample.
    async fn skip_gap(
        &self,
        span: HeadSpan,
        until: TimestampMs,
    ) -> Result<TimestampMs, KeeperError> {
        let width = self.settings.block_range();
        let (mut empty, mut filled) =
            (until, range_start(span.newest.saturating_sub(width), width));
        // Between the two, in whole ranges, lies the first range with a sample.
        while filled.saturating_sub(empty) > width {
            let ranges = (filled - empty) / width;
            let middle = empty + ranges / 2 * width;
            let range = TimeRange {
                min: empty,
                max: middle - 1,
            };
            match slots(&self.link, Part::InOrder, range).await?.is_empty() {
                true => empty = middle,
                false => filled = middle,
            }
        }
        if empty <= until {
            return Ok(until);
        }
        // Closed, then looked at again: what came in the meantime is sealed with the next.
        self.link
            .change(move |shard| shard.begin_seal(empty))
            .await?;
        let gap = TimeRange {
            min: until,
            max: empty - 1,
        };
        match slots(&self.link, Part::InOrder, gap).await?.is_empty() {
            true => Ok(empty),
            false => Ok(until),
        }
    }

    /// Lets go of the head's memory before `until`, and waits a while for it.
    async fn truncate_head(&mut self, until: TimestampMs) -> Result<(), KeeperError> {
        self.link
            .change(move |shard| shard.truncate_head(until))
            .await?;
        self.counters
            .head_truncations
            .fetch_add(1, Ordering::Relaxed);
        // It waits for the queries of the moment. Without its end the start of the next range may be taken for earlier than it is,
        // which costs an empty look at most.
        for _ in 0..TRUNCATION_LOOKS_MAX {
            if self.link.change(|shard| shard.is_truncated()).await? {
                break;
            }
            if self.wishes.stopping() {
                return Err(KeeperError::Stopped);
            }
            self.world.sleep(TRUNCATION_LOOK_NANOS).await;
        }
        Ok(())
    }

    /// Writes one part of the head as one unfinished block in `dir`; `None` when there was nothing.
    async fn write_one(
        &mut self,
        dir: &Path,
        id: BlockId,
        sealing: Sealing,
    ) -> Result<Option<BlockMeta>, KeeperError> {
        let outcome = self.write_one_inner(dir, id, sealing).await;
        if outcome.is_err() {
            self.discard(dir, id);
        }
        outcome
    }

    async fn write_one_inner(
        &mut self,
        dir: &Path,
        id: BlockId,
        sealing: Sealing,
    ) -> Result<Option<BlockMeta>, KeeperError> {
        let disk = std::sync::Arc::clone(&self.disk);
        let path = super::directory::unfinished_path(dir, id);
        let write_error = |source| KeeperError::Write { id, source };
        let mut writer = BlockWriter::create(&*disk, &path, self.seal_options(id, sealing))
            .map_err(write_error)?;
        read_head_in_order(
            &self.link,
            &self.pace,
            sealing.part,
            sealing.range,
            |labels, samples| writer.add(labels, &samples).map_err(write_error),
        )
        .await?;
        writer.finish().map_err(write_error)
    }

    fn seal_options(&self, id: BlockId, sealing: Sealing) -> BlockOptions {
        BlockOptions {
            id,
            shard: self.shard as u32,
            level: 1,
            parents: Vec::new(),
            sealed_until: sealing.sealed_until,
            out_of_order: sealing.part == Part::OutOfOrder,
            profile: Profile::Sealed,
            page_samples_max: self.settings.options().page_samples_max,
        }
    }

    /// Seals all out-of-order samples into blocks of their own.
    async fn seal_out_of_order(&mut self) -> Result<(), KeeperError> {
        let mark = self.link.change(|shard| shard.out_of_order_mark()).await?;
        let sealing = Sealing {
            part: Part::OutOfOrder,
            range: TimeRange {
                min: TimestampMs::MIN,
                max: TimestampMs::MAX,
            },
            sealed_until: None,
        };
        let dir = self.dir.clone();
        let blocks = self.write_by_ranges(&dir, sealing).await?;
        if blocks.is_empty() {
            return Ok(());
        }
        for block in &blocks {
            log_block("out-of-order samples sealed", block.block.meta());
            self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        }
        self.publish(blocks, Vec::new(), None).await?;
        self.link
            .change(move |shard| shard.truncate_out_of_order(mark))
            .await?;
        Ok(())
    }

    /// Writes one part of the head into `dir` as a block for each aligned range, and opens them.
    pub(super) async fn write_by_ranges(
        &mut self,
        dir: &Path,
        sealing: Sealing,
    ) -> Result<Vec<StoredBlock>, KeeperError> {
        let width = self.settings.block_range();
        let mut starts = BTreeSet::new();
        read_head_in_order(
            &self.link,
            &self.pace,
            sealing.part,
            sealing.range,
            |_, samples| {
                let floats = samples.floats.timestamps.iter();
                let histograms = samples.histograms.iter().map(|(t, _)| t);
                starts.extend(floats.chain(histograms).map(|t| range_start(*t, width)));
                Ok(())
            },
        )
        .await?;
        let starts: Vec<TimestampMs> = starts.into_iter().collect();
        let mut blocks = Vec::new();
        for some in starts.chunks(BLOCKS_WRITTEN_AT_ONCE_MAX) {
            let ids: Vec<BlockId> = some.iter().map(|_| self.new_id()).collect();
            let outcome = self.write_ranges(dir, sealing, some, &ids).await;
            let adopted = outcome.and_then(|finished| {
                finished.into_iter().try_for_each(|id| {
                    blocks.push(stored(self.adopt(dir, id)?));
                    Ok(())
                })
            });
            if let Err(error) = adopted {
                ids.iter().for_each(|id| self.discard(dir, *id));
                // All of it is written again with the next attempt.
                self.leave(dir, blocks.iter().map(|b| b.block.meta().id));
                return Err(error);
            }
        }
        Ok(blocks)
    }

    /// One pass over the head, into a block for each of the ranges that begin at `starts`.
    async fn write_ranges(
        &mut self,
        dir: &Path,
        sealing: Sealing,
        starts: &[TimestampMs],
        ids: &[BlockId],
    ) -> Result<Vec<BlockId>, KeeperError> {
        let width = self.settings.block_range();
        let disk = std::sync::Arc::clone(&self.disk);
        let mut writers = BTreeMap::new();
        for (&start, &id) in starts.iter().zip(ids) {
            let path = super::directory::unfinished_path(dir, id);
            let options = self.seal_options(id, sealing);
            let writer = BlockWriter::create(&*disk, &path, options)
                .map_err(|source| KeeperError::Write { id, source })?;
            writers.insert(start, (id, writer));
        }
        let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
            return Ok(Vec::new());
        };
        let range = TimeRange {
            min: first.max(sealing.range.min),
            max: last.saturating_add(width - 1).min(sealing.range.max),
        };
        read_head_in_order(
            &self.link,
            &self.pace,
            sealing.part,
            range,
            |labels, mut samples| {
                for (start, (id, writer)) in &mut writers {
                    // Samples of ranges between those that are written here belong to none: there were none at the first look.
                    drop(split_off_before(&mut samples, *start));
                    let own: SeriesSamples =
                        split_off_before(&mut samples, start.saturating_add(width));
                    writer
                        .add(labels, &own)
                        .map_err(|source| KeeperError::Write { id: *id, source })?;
                }
                Ok(())
            },
        )
        .await?;
        let mut finished = Vec::new();
        for (id, writer) in writers.into_values() {
            let meta = writer
                .finish()
                .map_err(|source| KeeperError::Write { id, source })?;
            if meta.is_some() {
                finished.push(id);
            }
        }
        Ok(finished)
    }
}

/// Time between two looks at a truncation, and how many are taken.
const TRUNCATION_LOOK_NANOS: u64 = 5_000_000;
const TRUNCATION_LOOKS_MAX: u32 = 400;
