//! The two images of the simulated disk: what programs see, what would survive; and what lies between them.

use super::hook::{DiskHook, Operation, Verdict};
use super::{CrashImage, Fault, SECTOR_BYTES, next_random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

/// Writes that are remembered for [`super::SimulatedDisk::writes`].
const WRITES_KEPT: usize = 64;

/// A change of a file's bytes that was not synced.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Size(u64),
}

/// A change of names that was not synced; each is atomic.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
    MakeDir(PathBuf),
}

/// An operation that may have happened or not.
#[derive(Debug, Clone)]
pub(super) enum InFlight {
    Write(usize, Change),
    Name(NameChange),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

/// The names of an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, usize>,
    pub(super) dirs: BTreeSet<PathBuf>,
}

/// One write, as it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteNote {
    /// The name that the file was opened by.
    pub path: PathBuf,
    /// Where.
    pub offset: u64,
    /// What was written.
    pub bytes: Vec<u8>,
    /// What was there before; shorter at the end of the file.
    pub before: Vec<u8>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) seen: Names,
    pub(super) durable: Names,
    pub(super) unsynced_names: Vec<NameChange>,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) hook: Option<DiskHook>,
    pub(super) crashed: bool,
    pub(super) capacity: Option<u64>,
    /// The operation during which the power failed.
    pub(super) in_flight: Option<InFlight>,
    pub(super) writes: VecDeque<WriteNote>,
}

pub(super) fn apply(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset as usize..end].copy_from_slice(bytes);
}

pub(super) fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => apply(image, *offset, bytes),
            Change::Size(bytes) => image.resize(*bytes as usize, 0),
        }
    }

    /// Kept, dropped, or kept in part, sector by sector.
    fn apply_torn(&self, image: &mut Vec<u8>, seed: &mut u64) {
        match self {
            Change::Size(bytes) => {
                if next_random(seed).is_multiple_of(2) {
                    image.resize(*bytes as usize, 0);
                }
            }
            Change::Write(offset, bytes) => {
                for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let at = offset + (index * SECTOR_BYTES) as u64;
                    match next_random(seed) % 5 {
                        0 | 1 => apply(image, at, sector),
                        2 => apply(image, at, &sector[..sector.len() / 2]),
                        _ => {}
                    }
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Link(path, inode) => {
                names.files.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.files.remove(path);
            }
            NameChange::Rename(source, target, inode) => {
                names.files.remove(source);
                names.files.insert(target.clone(), *inode);
            }
            NameChange::MakeDir(path) => {
                names.dirs.insert(path.clone());
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::MakeDir(path) => {
                path.parent() == Some(dir)
            }
            NameChange::Rename(source, target, _) => {
                source.parent() == Some(dir) || target.parent() == Some(dir)
            }
        }
    }
}

impl Inode {
    fn whole(content: Vec<u8>) -> Inode {
        Inode {
            seen: content.clone(),
            durable: content,
            unsynced: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        apply(&mut self.seen, offset, bytes);
        self.unsynced.push(Change::Write(offset, bytes.to_vec()));
    }

    pub(super) fn set_size(&mut self, bytes: u64) {
        self.seen.resize(bytes as usize, 0);
        self.unsynced.push(Change::Size(bytes));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// The kernel drops the pages and calls them clean; what the medium has of them is chance.
    fn sync_failing(&mut self, seed: &mut u64) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply_torn(&mut self.durable, seed);
        }
    }
}

impl Names {
    /// Takes out what lies in directories that are not there.
    fn prune(&mut self) {
        let dirs = self.dirs.clone();
        let is_there = |path: &Path| {
            path.ancestors()
                .skip(1)
                .all(|dir| dir.parent().is_none() || dirs.contains(dir))
        };
        self.dirs.retain(|path| is_there(path));
        self.files.retain(|path, _| is_there(path));
    }
}

impl State {
    /// Counts an operation and asks the planned faults and the hook. `Ok(false)`: it is only to be said to be done.
    pub(super) fn operate(&mut self, operation: &Operation<'_>) -> io::Result<bool> {
        let planned = match operation.changes() {
            true => {
                self.operations += 1;
                self.faults.get(&self.operations).copied()
            }
            false => {
                self.reads += 1;
                None
            }
        };
        let verdict = match planned {
            Some(Fault::Crash) => Verdict::Crash,
            Some(Fault::Error(code)) => Verdict::Fail(code),
            None if self.crashed => Verdict::Proceed,
            None => match &mut self.hook {
                Some(hook) => hook(operation),
                None => Verdict::Proceed,
            },
        };
        if verdict == Verdict::Crash {
            self.crashed = true;
        }
        if self.crashed && (operation.changes() || verdict == Verdict::Crash) {
            return Err(io::Error::other("simulated power cut"));
        }
        match verdict {
            Verdict::Fail(code) => Err(io::Error::from_raw_os_error(code)),
            Verdict::Pretend => Ok(false),
            Verdict::Proceed | Verdict::Crash => Ok(true),
        }
    }

    /// As [`State::operate`] for a change of names, which the power may fail in the middle of.
    pub(super) fn operate_on_names(
        &mut self,
        operation: &Operation<'_>,
        change: Option<NameChange>,
    ) -> io::Result<bool> {
        let was_alive = !self.crashed;
        let outcome = self.operate(operation);
        if outcome.is_err() && was_alive && self.crashed {
            self.in_flight = change.map(InFlight::Name);
        }
        outcome
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        self.unsynced_names.push(change);
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<usize> {
        self.seen
            .files
            .get(path)
            .copied()
            .ok_or_else(|| missing(path))
    }

    pub(super) fn has_dir(&self, dir: &Path) -> bool {
        dir.parent().is_none() || self.seen.dirs.contains(dir)
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let changes = std::mem::take(&mut self.unsynced_names);
        for change in changes {
            match change.touches(dir) {
                true => change.apply(&mut self.durable),
                false => self.unsynced_names.push(change),
            }
        }
    }

    pub(super) fn sync_failing(&mut self, inode: usize) {
        let mut seed = self.operations.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        self.inodes[inode].sync_failing(&mut seed);
    }

    pub(super) fn used(&self) -> u64 {
        let linked: BTreeSet<usize> = self.seen.files.values().copied().collect();
        linked
            .into_iter()
            .map(|inode| self.inodes[inode].seen.len() as u64)
            .sum()
    }

    pub(super) fn note_write(&mut self, path: &Path, inode: usize, offset: u64, bytes: &[u8]) {
        let content = &self.inodes[inode].seen;
        let start = content.len().min(offset as usize);
        let end = content.len().min(offset as usize + bytes.len());
        let before = content[start..end].to_vec();
        if self.writes.len() == WRITES_KEPT {
            self.writes.pop_front();
        }
        self.writes.push_back(WriteNote {
            path: path.to_path_buf(),
            offset,
            bytes: bytes.to_vec(),
            before,
        });
    }

    /// Puts in what the death of the process left of the operation that it was in.
    pub(super) fn finish_in_part(&mut self, in_flight: Option<&InFlight>, mut seed: u64) {
        let random = next_random(&mut seed) as usize;
        match in_flight {
            Some(InFlight::Write(inode, Change::Write(offset, bytes))) => {
                self.inodes[*inode].write(*offset, &bytes[..random % (bytes.len() + 1)]);
            }
            Some(InFlight::Write(inode, Change::Size(bytes))) if random.is_multiple_of(2) => {
                self.inodes[*inode].set_size(*bytes);
            }
            Some(InFlight::Name(change)) if random.is_multiple_of(2) => {
                self.change_name(change.clone());
            }
            _ => {}
        }
    }

    /// All that is here but the faults; the next process finds it so after the death of this one.
    pub(super) fn copy(&self) -> State {
        State {
            inodes: self.inodes.clone(),
            seen: self.seen.clone(),
            durable: self.durable.clone(),
            unsynced_names: self.unsynced_names.clone(),
            capacity: self.capacity,
            writes: self.writes.clone(),
            ..State::default()
        }
    }

    /// What a power cut leaves.
    pub(super) fn survivor(&self, image: CrashImage) -> State {
        let mut seed = match image {
            CrashImage::Random(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            CrashImage::SyncedOnly | CrashImage::Everything => 1,
        };
        let mut names = match image {
            CrashImage::SyncedOnly => self.durable.clone(),
            CrashImage::Everything => self.seen.clone(),
            CrashImage::Random(_) => self.names_torn(&mut seed),
        };
        names.prune();
        let linked: BTreeSet<usize> = names.files.values().copied().collect();
        let inodes = self.inodes.iter().enumerate().map(|(index, inode)| {
            if !linked.contains(&index) {
                return Inode::default();
            }
            Inode::whole(match image {
                CrashImage::SyncedOnly => inode.durable.clone(),
                CrashImage::Everything => inode.seen.clone(),
                CrashImage::Random(_) => {
                    let mut content = inode.durable.clone();
                    let last = match &self.in_flight {
                        Some(InFlight::Write(at, change)) if *at == index => Some(change),
                        _ => None,
                    };
                    for change in inode.unsynced.iter().chain(last) {
                        change.apply_torn(&mut content, &mut seed);
                    }
                    content
                }
            })
        });
        State {
            inodes: inodes.collect(),
            seen: names.clone(),
            durable: names,
            writes: self.writes.clone(),
            ..State::default()
        }
    }

    /// The first few unsynced changes of names, as a journal keeps them, or any of them, as a disk without one does.
    fn names_torn(&self, seed: &mut u64) -> Names {
        let mut names = self.durable.clone();
        let last = match &self.in_flight {
            Some(InFlight::Name(change)) => Some(change),
            _ => None,
        };
        let changes: Vec<_> = self.unsynced_names.iter().chain(last).collect();
        if next_random(seed).is_multiple_of(2) {
            let kept = next_random(seed) as usize % (changes.len() + 1);
            changes[..kept].iter().for_each(|c| c.apply(&mut names));
        } else {
            for change in changes {
                if next_random(seed).is_multiple_of(2) {
                    change.apply(&mut names);
                }
            }
        }
        names
    }
}
