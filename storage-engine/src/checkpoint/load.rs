//! Reading a checkpoint into an empty shard at start.
//!
//! Promise: the newest sound checkpoint is used; a damaged one is put aside when the one before it is sound, because the log behind that one
//! is still there. Without a sound one before it, the log alone is used if it goes back to its first record; if not, everything that can be
//! read of the newest is, and what is missing is counted and logged.
//! A later program's checkpoint is refused and nothing is changed. Not here: the log behind it (`wal`), writing (`take`).

use super::format::{CheckpointSeal, Malformed, PayloadReader, SectionKind};
use super::pages::{FoundPage, PageFileError, read_pages};
use super::place::CheckpointPlace;
use super::sections::{Found, ScanError, Section, scan};
use super::series::read_series;
use super::state::{PageHome, State};
use crate::head::sealed::{PageBytes, PageFacts};
use crate::io::{Access, Disk, DiskFile, FileBytes, Window};
use crate::shard::Shard;
use crate::wal::format::RecordKind;
use crate::wal::histograms::{LoggedHistogram, decode_histograms};
use crate::wal::{RecordDecoder, ReplayTarget};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a checkpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoadError {
    /// The disk refuses.
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: String,
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error("{path}: checkpoint format version {version} is newer than this program knows")]
    Newer { path: String, version: u8 },
    /// A section with a right checksum that says something impossible: a fault of the program that wrote it.
    #[error("{path}: {cause}")]
    Malformed { path: String, cause: String },
}

/// A shard that is brought back, with what it takes from a log.
pub(crate) trait RestoreTarget: ReplayTarget {
    /// The shard.
    fn shard(&mut self) -> &mut Shard;
}

/// What was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LoadedCheckpoint {
    /// The log goes on behind this record; 0 where nothing was loaded.
    pub(crate) lsn: u64,
    /// Series.
    pub(crate) series: u64,
    /// Bytes of the checkpoint.
    pub(crate) bytes: u64,
    /// Series whose section is damaged.
    pub(crate) series_lost: u64,
    /// Pages of sealed chunks that are damaged, wholly or in part.
    pub(crate) pages_damaged: u64,
    /// Damaged checkpoints, the one that was loaded among them.
    pub(crate) damaged: u64,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoadError + use<> {
    let path = path.display().to_string();
    move |source| LoadError::Io {
        operation,
        path,
        source,
    }
}

/// Pages of one file, checked.
struct PageFile {
    bytes: Arc<FileBytes>,
    pages: Vec<FoundPage>,
}

/// A checkpoint that was looked at.
struct Candidate {
    lsn: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    found: Found,
    /// The whole state, if any copy of it is sound.
    state: Option<State>,
    /// Something is missing.
    damaged: bool,
}

/// Loads the newest sound checkpoint into `shard`, which is empty; `None` if there is no checkpoint. `target` takes what is kept as records of
/// the log. `log_is_whole`: the log holds everything, so that a damaged checkpoint is not needed.
pub(crate) fn load_checkpoint(
    disk: &dyn Disk,
    place: &CheckpointPlace,
    log_is_whole: bool,
    target: &mut dyn RestoreTarget,
) -> Result<Option<LoadedCheckpoint>, LoadError> {
    let dir = &place.checkpoints;
    if let Err(error) = disk.list(dir)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(None);
    }
    place
        .remove_unfinished(disk)
        .map_err(failed("clean", dir))?;
    let numbers = place.list_checkpoints(disk).map_err(failed("list", dir))?;
    let mut files = BTreeMap::new();
    let mut candidates = Vec::new();
    for lsn in numbers.into_iter().rev() {
        let candidate = look_at(disk, place, lsn, &mut files)?;
        let damaged = candidate.damaged;
        candidates.push(candidate);
        if !damaged {
            break;
        }
    }
    let Some(last) = candidates.last() else {
        return Ok(None);
    };
    if last.damaged && log_is_whole {
        for damaged in &candidates {
            put_aside(disk, place, &damaged.path)?;
        }
        return Ok(Some(LoadedCheckpoint {
            damaged: candidates.len() as u64,
            ..LoadedCheckpoint::default()
        }));
    }
    // Nothing sound: the newest has the most, and the log behind it is surely there.
    let chosen = match last.damaged {
        true => 0,
        false => candidates.len() - 1,
    };
    for damaged in &candidates[..chosen] {
        put_aside(disk, place, &damaged.path)?;
    }
    let put_aside = chosen as u64;
    let candidate = candidates.swap_remove(chosen);
    drop(candidates);
    if candidate.damaged {
        tracing::error!(path = %candidate.path.display(), "the checkpoint is damaged and there is no sound one before it; what can be read of it is");
    }
    let mut loaded = restore(&candidate, files, target)?;
    loaded.damaged = put_aside + u64::from(candidate.damaged);
    Ok(Some(loaded))
}

/// Reads a file and judges it.
fn look_at(
    disk: &dyn Disk,
    place: &CheckpointPlace,
    lsn: u64,
    files: &mut BTreeMap<u64, Option<PageFile>>,
) -> Result<Candidate, LoadError> {
    let path = place.checkpoint_path(lsn);
    let read_failed = failed("read", &path);
    let file = disk
        .open(&path, Access::Buffered)
        .map_err(failed("open", &path))?;
    let seal = CheckpointSeal::new(&place.store_id, place.shard, lsn);
    let found = scan(&*file, seal).map_err(|error| match error {
        ScanError::Read(source) => failed("read", &path)(source),
        ScanError::Newer { version } => LoadError::Newer {
            path: path.display().to_string(),
            version,
        },
    })?;
    let mut window = Window::new(&*file).map_err(failed("read", &path))?;
    let state = find_state(&found, &mut window, &path)?;
    let mut damaged = !is_complete(&found, &mut window).map_err(read_failed)?;
    match &state {
        None => damaged = true,
        Some(state) => {
            for first in state.files() {
                if let Entry::Vacant(entry) = files.entry(first) {
                    entry.insert(open_pages(disk, place, first)?);
                }
            }
            damaged |= state.pages.iter().any(|(sequence, home)| match home {
                PageHome::Here => false,
                PageHome::File(first) => find_page(files, *first, *sequence)
                    .is_none_or(|(_, page)| !page.damage.is_empty()),
            });
        }
    }
    Ok(Candidate {
        lsn,
        path,
        file,
        found,
        state,
        damaged,
    })
}

fn malformed(path: &Path) -> impl Fn(Malformed) -> LoadError + use<> {
    let path = path.display().to_string();
    move |cause| LoadError::Malformed {
        path: path.clone(),
        cause: cause.to_string(),
    }
}

/// The last sound copy of the state.
fn find_state(
    found: &Found,
    window: &mut Window<'_>,
    path: &Path,
) -> Result<Option<State>, LoadError> {
    let mut sections = found.sections.iter().rev();
    let Some(section) = sections.find(|s| s.kind == SectionKind::State) else {
        return Ok(None);
    };
    let payload = section.payload(window).map_err(failed("read", path))?;
    let state = payload.map(|payload| State::read(payload).map_err(malformed(path)));
    state.transpose()
}

/// Is every section there that was written?
fn is_complete(found: &Found, window: &mut Window<'_>) -> io::Result<bool> {
    let Some(end) = found.sections.last() else {
        return Ok(false);
    };
    let in_order = found.sections.iter().zip(0..).all(|(s, n)| s.number == n);
    if end.kind != SectionKind::End || !in_order {
        return Ok(false);
    }
    let payload = end.payload(window)?;
    Ok(payload.is_some_and(|payload| PayloadReader(payload).varint() == Ok(end.number)))
}

fn open_pages(
    disk: &dyn Disk,
    place: &CheckpointPlace,
    first: u64,
) -> Result<Option<PageFile>, LoadError> {
    let path = place.chunks_path(first);
    let pages = match read_pages(disk, place, first) {
        Ok(pages) => pages,
        Err(PageFileError::Newer(version)) => {
            return Err(LoadError::Newer {
                path: path.display().to_string(),
                version,
            });
        }
        Err(PageFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(PageFileError::Io(error)) => return Err(failed("read", &path)(error)),
    };
    let bytes = Arc::new(disk.map(&path).map_err(failed("map", &path))?);
    Ok(Some(PageFile { bytes, pages }))
}

fn find_page(
    files: &BTreeMap<u64, Option<PageFile>>,
    first: u64,
    sequence: u64,
) -> Option<(&PageFile, &FoundPage)> {
    let file = files.get(&first)?.as_ref()?;
    let page = file.pages.iter().find(|p| p.place.sequence == sequence)?;
    Some((file, page))
}

/// Takes a damaged checkpoint out of use; a person may look at it.
fn put_aside(disk: &dyn Disk, place: &CheckpointPlace, path: &Path) -> Result<(), LoadError> {
    let aside = path.with_extension("damaged");
    tracing::error!(path = %aside.display(), "a damaged checkpoint is put aside; the one before it and the log behind that, or the whole log, are used");
    disk.rename(path, &aside).map_err(failed("rename", path))?;
    let dir = &place.checkpoints;
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

/// What the second pass over a checkpoint fills.
struct Restoring<'a> {
    path: &'a Path,
    target: &'a mut dyn RestoreTarget,
    decoder: RecordDecoder,
    histograms: Vec<LoggedHistogram>,
    loaded: LoadedCheckpoint,
}

/// Puts what is sound of a checkpoint into the shard.
fn restore(
    candidate: &Candidate,
    files: BTreeMap<u64, Option<PageFile>>,
    target: &mut dyn RestoreTarget,
) -> Result<LoadedCheckpoint, LoadError> {
    let found = &candidate.found;
    let mut restoring = Restoring {
        path: &candidate.path,
        target,
        decoder: RecordDecoder::default(),
        histograms: Vec::new(),
        loaded: LoadedCheckpoint {
            lsn: candidate.lsn,
            bytes: found.bytes,
            ..LoadedCheckpoint::default()
        },
    };
    let read_failed = || failed("read", &candidate.path);
    let mut window = Window::new(&*candidate.file).map_err(read_failed())?;
    restoring.put_pages(candidate, &mut window, files)?;
    let shard = restoring.target.shard();
    shard.restore_begin(found.series as usize);
    for kind in [
        SectionKind::Series,
        SectionKind::Histograms,
        SectionKind::Record,
    ] {
        for section in found.sections.iter().filter(|s| s.kind == kind) {
            match section.payload(&mut window).map_err(read_failed())? {
                Some(payload) => restoring.put_section(section.kind, payload)?,
                None => restoring.lost_meanwhile(section),
            }
        }
    }
    if let Some(state) = &candidate.state {
        restoring.target.shard().restore_state(&state.shard);
    }
    restoring.loaded.series_lost += count_lost(candidate, &mut window).map_err(read_failed())?;
    Ok(restoring.loaded)
}

impl Restoring<'_> {
    fn malformed(&self, cause: &dyn std::fmt::Display) -> LoadError {
        LoadError::Malformed {
            path: self.path.display().to_string(),
            cause: cause.to_string(),
        }
    }

    /// A section was sound a moment ago: the disk reads one thing now and another then.
    fn lost_meanwhile(&mut self, section: &Section) {
        if section.kind == SectionKind::Series {
            self.loaded.series_lost += u64::from(section.entries);
        }
        tracing::error!(path = %self.path.display(), section = section.number, "a section of the checkpoint that was sound reads otherwise now; what it holds is missing");
    }

    fn put_section(&mut self, kind: SectionKind, payload: &[u8]) -> Result<(), LoadError> {
        match kind {
            SectionKind::Series => {
                let group = read_series(payload).map_err(|e| self.malformed(&e))?;
                let restored = self.target.shard().restore_group(&group);
                if restored.invalid > 0 {
                    return Err(self.malformed(&"a series that cannot be"));
                }
                self.loaded.series += restored.series;
            }
            SectionKind::Histograms => {
                decode_histograms(payload, &mut self.histograms).map_err(|e| self.malformed(&e))?;
                self.target.shard().restore_histograms(&self.histograms);
            }
            SectionKind::Record => {
                let kind = payload.split_first();
                let Some((Some(kind), payload)) =
                    kind.map(|(code, rest)| (RecordKind::from_code(*code), rest))
                else {
                    return Err(self.malformed(&"a record of an unknown kind"));
                };
                let visited = self.decoder.visit(kind, payload, self.target);
                visited.map_err(|e| self.malformed(&e))?;
            }
            SectionKind::State | SectionKind::OpenPage | SectionKind::End => {}
        }
        Ok(())
    }

    /// Pages in ascending order: those in files, and those in the checkpoint itself.
    fn put_pages(
        &mut self,
        candidate: &Candidate,
        window: &mut Window<'_>,
        files: BTreeMap<u64, Option<PageFile>>,
    ) -> Result<(), LoadError> {
        let mut here = BTreeMap::new();
        for section in &candidate.found.sections {
            if section.kind == SectionKind::OpenPage
                && let Some(payload) = section.payload(window).map_err(failed("read", self.path))?
            {
                let (sequence, page) = read_page(payload).map_err(malformed(self.path))?;
                here.insert(sequence, page);
            }
        }
        let pages = match &candidate.state {
            Some(state) => state.pages.clone(),
            // What is in this file is surely its own.
            None => here.keys().map(|s| (*s, PageHome::Here)).collect(),
        };
        for (sequence, home) in pages {
            let shard = self.target.shard();
            let restored = match home {
                PageHome::Here => here.remove(&sequence).is_some_and(|(facts, bytes)| {
                    shard.restore_page(sequence, None, PageBytes::Heap(bytes), facts)
                }),
                PageHome::File(first) => {
                    find_page(&files, first, sequence).is_some_and(|(file, page)| {
                        put_page_of_file(shard, first, file, page) && page.damage.is_empty()
                    })
                }
            };
            if !restored {
                self.loaded.pages_damaged += 1;
                tracing::error!(path = %self.path.display(), page = sequence, "a page of sealed chunks is damaged; chunks in it and before them are missing");
            }
        }
        Ok(())
    }
}

/// Series that were written and are not in sound sections. Without the last section, only those whose section still has its header are known.
fn count_lost(candidate: &Candidate, window: &mut Window<'_>) -> io::Result<u64> {
    let found = &candidate.found;
    let end = found.sections.iter().find(|s| s.kind == SectionKind::End);
    let payload = end.map(|end| end.payload(window)).transpose()?.flatten();
    let written = payload.and_then(|payload| {
        let mut reader = PayloadReader(payload);
        reader.varint().ok()?;
        reader.varint().ok()
    });
    Ok(written.map_or(found.damaged_series, |w| w.saturating_sub(found.series)))
}

fn read_page(payload: &[u8]) -> Result<(u64, (PageFacts, Vec<u8>)), Malformed> {
    let mut reader = PayloadReader(payload);
    let sequence = reader.varint()?;
    let facts = PageFacts {
        newest: reader.i64()?,
        chunks: reader.small()?,
        samples: reader.small()?,
    };
    Ok((sequence, (facts, reader.0.to_vec())))
}

/// A sound page stays in its file; of a damaged one, a copy is kept in memory that says where it must not be read.
fn put_page_of_file(shard: &mut Shard, first: u64, file: &PageFile, page: &FoundPage) -> bool {
    let range = page.place.range.clone();
    let sequence = page.place.sequence;
    if page.damage.is_empty() {
        let bytes = PageBytes::Mapped(Arc::clone(&file.bytes), range);
        return shard.restore_page(sequence, Some(first), bytes, page.facts);
    }
    let copy = PageBytes::Damaged(page.readable.clone(), page.damage.clone());
    shard.restore_page(sequence, Some(first), copy, page.facts)
}

/// The state of a checkpoint that this process wrote or has read; `None` if it cannot be read now.
pub(super) fn read_state(
    disk: &dyn Disk,
    place: &CheckpointPlace,
    lsn: u64,
) -> io::Result<Option<State>> {
    let file = disk.open(&place.checkpoint_path(lsn), Access::Buffered)?;
    let seal = CheckpointSeal::new(&place.store_id, place.shard, lsn);
    let found = match scan(&*file, seal) {
        Ok(found) => found,
        Err(ScanError::Read(error)) => return Err(error),
        Err(ScanError::Newer { .. }) => return Ok(None),
    };
    let mut sections = found.sections.iter().rev();
    let Some(section) = sections.find(|s| s.kind == SectionKind::State) else {
        return Ok(None);
    };
    let mut window = Window::new(&*file)?;
    let payload = section.payload(&mut window)?;
    Ok(payload.and_then(|payload| State::read(payload).ok()))
}
