//! Taking a checkpoint: the shard is copied in pieces through its mailbox, written, synced, named; then what it makes needless goes.
//!
//! It is fuzzy: the pieces are of different moments, all of them after the log's record `lsn`, and the log behind `lsn` brings each piece
//! up to the present, because replaying what is already there changes nothing. Order of steps, each durable before the next:
//! 1. full pages of sealed chunks go to a file, which takes their place in memory;
//! 2. the checkpoint is written under another name; meanwhile the log goes on;
//! 3. the log is made durable as far as anything in the checkpoint goes, so that what is there after a power cut has no hole;
//! 4. the checkpoint gets its name. The one before it stays, and the log behind that one: damage to the newest costs nothing;
//! 5. older checkpoints, files of pages that neither needs, and the log before the older one are given up.
//!
//! Not here: when one is due (`maintenance`), reading one (`load`).

use super::door::{Release, ShardDoor, SyncLog, WaitForLog};
use super::format::{
    CheckpointSeal, SECTION_HEADER_BYTES, SectionKind, SectionWriter, begin_section, put_varint,
};
use super::load::read_state;
use super::pages::{PageCopy, PageFileWriter};
use super::place::{CheckpointPlace, unfinished};
use super::series::{SeriesPiece, put_series};
use super::state::{PageHome, State};
use super::{CheckpointError, CheckpointReport};
use crate::io::{Access, Disk, DiskFile};
use crate::limits::{
    CHECKPOINT_PIECE_BYTES, CHECKPOINT_SLICE_SERIES, CHECKPOINT_SLICE_STARTS, CHECKPOINTS_KEPT,
};
use crate::shard::ShardReader;
use crate::wal::format::split_encoded_records;
use crate::wal::histograms::{LoggedHistogram, encode_histograms_record};
use crate::wal::starts::encode_starts_record;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Takes a checkpoint of the shard behind `door`.
pub(crate) async fn take_checkpoint<S: ShardDoor>(
    door: &S,
    disk: &dyn Disk,
    place: &CheckpointPlace,
) -> Result<CheckpointReport, CheckpointError<S::Error>> {
    let dir = &place.checkpoints;
    place.create(disk).map_err(failed("create", dir))?;
    let pages_written = write_full_pages(door, disk, place).await?;
    let (begun, slots, exemplars, log_bytes) =
        shard(door.change(|shard| shard.begin_checkpoint()).await)?;
    let path = place.checkpoint_path(begun.lsn);
    let file = disk
        .create(&unfinished(&path), Access::Buffered)
        .map_err(failed("create", &path))?;
    let seal = CheckpointSeal::new(&place.store_id, place.shard, begun.lsn);
    let mut taking = Taking {
        door,
        file: &*file,
        path: &path,
        sections: SectionWriter::new(seal),
        report: CheckpointReport {
            lsn: begun.lsn,
            pages_written,
            ..CheckpointReport::default()
        },
    };
    taking.put_all_series(slots).await?;
    taking.put_histograms(slots).await?;
    taking.put_records(slots, exemplars).await?;
    // Pages last: all chunks that the series name are in them by now.
    let (pages, here) = taking.pages().await?;
    let state = State {
        shard: begun,
        pages,
    };
    taking.put_state(&state)?;
    taking.put_pages(&here)?;
    taking.put_state(&state)?;
    taking.put_end()?;
    let report = taking.report;
    // If the log has failed, what it does not have was never acknowledged; what it has, it can sync or has to write again.
    shard(door.submit(Box::new(WaitForLog)).await)?;
    if !shard(door.submit(Box::new(SyncLog)).await)? {
        return Err(CheckpointError::Log);
    }
    file.sync().map_err(failed("sync", &path))?;
    drop(file);
    disk.rename(&unfinished(&path), &path)
        .map_err(failed("rename", &path))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    let noted = door.change(move |shard| shard.note_checkpoint(log_bytes, report.bytes));
    shard(noted.await)?;
    give_up_old(door, disk, place).await?;
    Ok(report)
}

fn failed<E>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> CheckpointError<E> + use<E> {
    let path = path.display().to_string();
    move |source| CheckpointError::Io {
        operation,
        path,
        source,
    }
}

fn shard<T, E>(answer: Result<T, E>) -> Result<T, CheckpointError<E>> {
    answer.map_err(CheckpointError::Shard)
}

/// Writes the pages that are full and only in memory to a file, and puts the file in their place. Returns how many.
async fn write_full_pages<S: ShardDoor>(
    door: &S,
    disk: &dyn Disk,
    place: &CheckpointPlace,
) -> Result<u64, CheckpointError<S::Error>> {
    let full = |shard: &ShardReader<'_>| {
        let pages = shard.pages().filter(|p| p.full && !p.mapped);
        Some(pages.map(|page| page.sequence).collect::<Vec<u64>>())
    };
    let sequences = shard(door.look(full).await)?;
    let mut writer: Option<(u64, PageFileWriter<'_>)> = None;
    for sequence in sequences {
        // It may have been freed meanwhile.
        let Some(page) = shard(door.look(move |s| Some(copy_page(s, sequence))).await)? else {
            continue;
        };
        let path = place.chunks_path(page.sequence);
        let (_, file) = match &mut writer {
            Some(writer) => writer,
            None => {
                let file = PageFileWriter::create(disk, place, page.sequence);
                writer.insert((page.sequence, file.map_err(failed("create", &path))?))
            }
        };
        file.add(&page).map_err(failed("write", &path))?;
        shard(door.breathe().await)?;
    }
    let Some((first, writer)) = writer else {
        return Ok(0);
    };
    let path = place.chunks_path(first);
    let places = writer.finish().map_err(failed("publish", &path))?;
    let file = Arc::new(disk.map(&path).map_err(failed("map", &path))?);
    let written = places.len() as u64;
    let change = door.change(move |shard| {
        for page in places {
            shard.map_page(page.sequence, first, &file, page.range);
        }
    });
    shard(change.await)?;
    Ok(written)
}

fn copy_page(shard: &ShardReader<'_>, sequence: u64) -> Option<PageCopy> {
    let page = shard.pages().find(|page| page.sequence == sequence)?;
    Some(PageCopy::of(&page))
}

/// Gives up what neither this checkpoint nor the one before it needs.
async fn give_up_old<S: ShardDoor>(
    door: &S,
    disk: &dyn Disk,
    place: &CheckpointPlace,
) -> Result<(), CheckpointError<S::Error>> {
    let dir = &place.checkpoints;
    let list = place.list_checkpoints(disk);
    let mut kept = list.map_err(failed("list", dir))?;
    let older = kept.len().saturating_sub(CHECKPOINTS_KEPT);
    for lsn in kept.drain(..older) {
        let path = place.checkpoint_path(lsn);
        disk.remove(&path).map_err(failed("remove", &path))?;
    }
    if kept.len() == CHECKPOINTS_KEPT
        && let Some(&covered) = kept.first()
    {
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
        shard(door.submit(Box::new(Release { covered })).await)?;
    }
    let mut needed = Vec::new();
    for lsn in kept {
        let path = place.checkpoint_path(lsn);
        let state = read_state(disk, place, lsn).map_err(failed("read", &path))?;
        // Without knowing what it needs, nothing is given up.
        let Some(state) = state else {
            return Ok(());
        };
        needed.extend(state.files());
    }
    let files = place.list_chunks(disk);
    for first in files.map_err(failed("list", &place.chunks))? {
        if !needed.contains(&first) {
            let path = place.chunks_path(first);
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
    }
    disk.sync_dir(&place.chunks)
        .map_err(failed("sync", &place.chunks))
}

/// A checkpoint while it is written.
struct Taking<'a, S> {
    door: &'a S,
    file: &'a dyn DiskFile,
    path: &'a Path,
    sections: SectionWriter,
    report: CheckpointReport,
}

impl<S: ShardDoor> Taking<'_, S> {
    fn put_section(
        &mut self,
        kind: SectionKind,
        entries: u32,
        mut section: Vec<u8>,
    ) -> Result<(), CheckpointError<S::Error>> {
        let offset = self.sections.offset();
        self.sections.finish(kind, entries, &mut section);
        let written = self.file.write_at(offset, &section);
        written.map_err(failed("write", self.path))?;
        self.report.bytes = self.sections.offset();
        Ok(())
    }

    async fn put_all_series(&mut self, slots: u32) -> Result<(), CheckpointError<S::Error>> {
        let mut next = 0;
        while next < slots {
            let mut piece = SeriesPiece::default();
            let look = move |shard: &ShardReader<'_>| {
                let end = slots.min(next.saturating_add(CHECKPOINT_SLICE_SERIES));
                shard.put_series_images(next..end, &mut piece);
                next = end;
                let done = next >= slots || piece.bytes() >= CHECKPOINT_PIECE_BYTES;
                done.then(|| (std::mem::take(&mut piece), next))
            };
            let (piece, reached) = shard(self.door.look(look).await)?;
            next = reached;
            if !piece.series.is_empty() {
                let mut section = begin_section();
                put_series(&mut section, &piece);
                self.report.series += piece.series.len() as u64;
                self.put_section(SectionKind::Series, piece.series.len() as u32, section)?;
            }
            shard(self.door.breathe().await)?;
        }
        Ok(())
    }

    async fn put_histograms(&mut self, slots: u32) -> Result<(), CheckpointError<S::Error>> {
        let look = |shard: &ShardReader<'_>| Some(shard.histogram_slots());
        let mut of_slots = shard(self.door.look(look).await)?;
        of_slots.retain(|slot| *slot < slots);
        for some in of_slots.chunks(CHECKPOINT_SLICE_SERIES as usize) {
            let mut rest = some.to_vec();
            let mut samples: Vec<LoggedHistogram> = Vec::new();
            let look = move |shard: &ShardReader<'_>| {
                let slot = rest.pop()?;
                shard.put_histogram_images(slot, &mut samples);
                rest.is_empty().then(|| std::mem::take(&mut samples))
            };
            let samples = shard(self.door.look(look).await)?;
            self.report.histograms += samples.len() as u64;
            let mut records = Vec::new();
            encode_histograms_record(&mut records, 0, &samples);
            for (_, payload) in split_encoded_records(&records) {
                let mut section = begin_section();
                section.extend_from_slice(payload);
                self.put_section(SectionKind::Histograms, 0, section)?;
            }
            shard(self.door.breathe().await)?;
        }
        Ok(())
    }

    /// What else the shard has, as records that the log could have: a restart reads them like those.
    async fn put_records(
        &mut self,
        slots: u32,
        exemplars: u64,
    ) -> Result<(), CheckpointError<S::Error>> {
        let look = |shard: &ShardReader<'_>| Some(shard.tombstone_records());
        let records = shard(self.door.look(look).await)?;
        self.put_encoded(&records)?;
        self.put_exemplars(exemplars).await?;
        self.put_starts(slots).await?;
        let look = |shard: &ShardReader<'_>| Some(shard.out_of_order_slots());
        let mut of_slots = shard(self.door.look(look).await)?;
        of_slots.retain(|slot| *slot < slots);
        for some in of_slots.chunks(CHECKPOINT_SLICE_SERIES as usize) {
            let mut rest = some.to_vec();
            let mut records = Vec::new();
            let look = move |shard: &ShardReader<'_>| {
                let slot = rest.pop()?;
                shard.put_out_of_order_records(slot, &mut records);
                rest.is_empty().then(|| std::mem::take(&mut records))
            };
            let records = shard(self.door.look(look).await)?;
            self.put_encoded(&records)?;
            shard(self.door.breathe().await)?;
        }
        Ok(())
    }

    /// The start timestamps that are here now; runs that begin meanwhile are in the log behind the checkpoint.
    async fn put_starts(&mut self, slots: u32) -> Result<(), CheckpointError<S::Error>> {
        let look = |shard: &ShardReader<'_>| Some(shard.start_slots());
        let mut of_slots = shard(self.door.look(look).await)?;
        of_slots.retain(|slot| *slot < slots);
        of_slots.sort_unstable();
        let mut at = 0;
        while at < of_slots.len() {
            let end = of_slots.len().min(at + CHECKPOINT_SLICE_SERIES as usize);
            let some = of_slots[at..end].to_vec();
            let look = move |shard: &ShardReader<'_>| {
                let (mut runs, mut looked_at) = (Vec::new(), 0);
                for &slot in &some {
                    if runs.len() >= CHECKPOINT_SLICE_STARTS {
                        break;
                    }
                    shard.put_starts(slot, &mut runs);
                    looked_at += 1;
                }
                Some((runs, looked_at))
            };
            let (runs, looked_at) = shard(self.door.look(look).await)?;
            let mut records = Vec::new();
            encode_starts_record(&mut records, 0, &runs);
            self.put_encoded(&records)?;
            at += looked_at;
            shard(self.door.breathe().await)?;
        }
        Ok(())
    }

    /// The exemplars that had arrived when the checkpoint began, before number `end`, as far as they are still here. Those behind are in
    /// the log behind the checkpoint: here as well, they would come back in another order, and what they had displaced in their place.
    async fn put_exemplars(&mut self, end: u64) -> Result<(), CheckpointError<S::Error>> {
        let mut from = 0;
        while from < end {
            let some = CHECKPOINT_SLICE_SERIES as u64;
            let look = move |shard: &ShardReader<'_>| Some(shard.exemplar_records(from, end, some));
            let (records, reached) = shard(self.door.look(look).await)?;
            self.put_encoded(&records)?;
            from = reached;
            shard(self.door.breathe().await)?;
        }
        Ok(())
    }

    fn put_encoded(&mut self, records: &[u8]) -> Result<(), CheckpointError<S::Error>> {
        for (kind, payload) in split_encoded_records(records) {
            let mut section = begin_section();
            section.push(kind.code());
            section.extend_from_slice(payload);
            self.put_section(SectionKind::Record, 0, section)?;
        }
        Ok(())
    }

    /// Where each page is, and copies of those that are in no file.
    async fn pages(
        &mut self,
    ) -> Result<(Vec<(u64, PageHome)>, Vec<PageCopy>), CheckpointError<S::Error>> {
        let look = |shard: &ShardReader<'_>| Some(shard.page_homes());
        let homes = shard(self.door.look(look).await)?;
        let (mut pages, mut here) = (Vec::with_capacity(homes.len()), Vec::new());
        for (sequence, file) in homes {
            if let Some(first) = file {
                pages.push((sequence, PageHome::File(first)));
                continue;
            }
            let copy = shard(self.door.look(move |s| Some(copy_page(s, sequence))).await)?;
            if let Some(copy) = copy {
                pages.push((sequence, PageHome::Here));
                here.push(copy);
            }
        }
        Ok((pages, here))
    }

    fn put_pages(&mut self, here: &[PageCopy]) -> Result<(), CheckpointError<S::Error>> {
        for page in here {
            let mut section = begin_section();
            put_varint(&mut section, page.sequence);
            section.extend_from_slice(&page.facts.newest.to_le_bytes());
            put_varint(&mut section, u64::from(page.facts.chunks));
            put_varint(&mut section, u64::from(page.facts.samples));
            section.extend_from_slice(&page.bytes);
            self.put_section(SectionKind::OpenPage, 0, section)?;
        }
        Ok(())
    }

    fn put_state(&mut self, state: &State) -> Result<(), CheckpointError<S::Error>> {
        let mut section = begin_section();
        state.put(&mut section);
        self.put_section(SectionKind::State, 0, section)
    }

    fn put_end(&mut self) -> Result<(), CheckpointError<S::Error>> {
        let mut section = begin_section();
        put_varint(&mut section, self.sections.sections());
        put_varint(&mut section, self.report.series);
        debug_assert!(section.len() > SECTION_HEADER_BYTES);
        self.put_section(SectionKind::End, 0, section)
    }
}
