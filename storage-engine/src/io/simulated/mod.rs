//! A disk in memory that keeps two images, what programs see and what would survive a power cut, and can be told to fail.
//!
//! Promise: nothing is durable that was not synced (bytes by the file's sync, names by their directory's; directories at the top are mount
//! points and always there), unless [`SimulatedDisk::crash`] is told to let it through. Same seed, same damage.
//! Not here: which operations fail (the hook's owner decides), damage at rest (a test writes it with [`SimulatedDisk::damage`]).

mod hook;
mod state;

pub use hook::{DiskHook, Operation, Verdict};
pub use state::WriteNote;

use super::{Access, Disk, DiskFile, DiskSpace, FileBytes};
use state::{Change, InFlight, NameChange, State, missing};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that a write reaches the medium in; a crash keeps, drops or tears each one by itself.
const SECTOR_BYTES: usize = 512;

/// What happens at a chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation and all later ones fail: the process is as good as dead.
    Crash,
    /// The operation fails with this system error number, once.
    Error(i32),
}

/// What a crash leaves of bytes and names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashImage {
    /// Nothing.
    SyncedOnly,
    /// All of them.
    Everything,
    /// Sector by sector and name by name as a generator with this seed throws: kept, dropped, or half kept.
    Random(u64),
}

/// The disk; clones are handles to the same one.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct Handle {
    disk: SimulatedDisk,
    inode: usize,
    path: PathBuf,
}

/// xorshift64*: three lines that will give the same sequence for ever, which a recorded seed needs.
fn next_random(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

impl std::fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("SimulatedDisk")
            .field("files", &state.seen.files)
            .field("operations", &state.operations)
            .finish_non_exhaustive()
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
    }

    fn with(state: State) -> SimulatedDisk {
        SimulatedDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Number of changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Number of operations so far that changed nothing.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Lets the `operation`th changing operation (the first is 1) meet `fault`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Lets `hook` decide about each operation from now on; `None` lets all of them pass.
    pub fn set_hook(&self, hook: Option<DiskHook>) {
        self.state().hook = hook;
    }

    /// Has the power failed?
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Bounds the bytes of all files together; writes beyond fail for lack of room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// A new disk with what a power cut at this moment leaves.
    pub fn crash(&self, image: CrashImage) -> SimulatedDisk {
        SimulatedDisk::with(self.state().survivor(image))
    }

    /// What the next process finds when this one is killed at this moment: all that was written, which is not durable for that. Of the write
    /// in which it died, `seed` says how much.
    pub fn kill(&self, seed: u64) -> SimulatedDisk {
        let state = self.state();
        let mut copy = state.copy();
        copy.finish_in_part(state.in_flight.as_ref(), seed | 1);
        SimulatedDisk::with(copy)
    }

    /// A copy that shares nothing with this disk, without its faults.
    pub fn duplicate(&self) -> SimulatedDisk {
        SimulatedDisk::with(self.state().copy())
    }

    /// What a file holds.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.inodes[*state.seen.files.get(path)?].seen.clone())
    }

    /// All files, in order of their paths.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().seen.files.keys().cloned().collect()
    }

    /// The last writes, oldest first.
    pub fn writes(&self) -> Vec<WriteNote> {
        self.state().writes.iter().cloned().collect()
    }

    /// Puts `content` in place of what a file holds, as damage would: durable at once.
    pub fn damage(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state();
        let Some(&inode) = state.seen.files.get(path) else {
            return;
        };
        state.inodes[inode].unsynced.clear();
        state.inodes[inode].durable.clone_from(&content);
        state.inodes[inode].seen = content;
    }

    fn handle(&self, inode: usize, path: &Path) -> Box<dyn DiskFile> {
        Box::new(Handle {
            disk: self.clone(),
            inode,
            path: path.to_path_buf(),
        })
    }
}

impl Disk for SimulatedDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let mut missing: Vec<_> = path
            .ancestors()
            .filter(|dir| !state.has_dir(dir))
            .map(Path::to_path_buf)
            .collect();
        missing.reverse();
        let first = missing.first().cloned().map(NameChange::MakeDir);
        if state.operate_on_names(&Operation::CreateDir(path), first)? {
            for dir in missing {
                if dir.parent().is_some_and(|parent| parent.parent().is_none()) {
                    state.durable.dirs.insert(dir.clone());
                    state.seen.dirs.insert(dir);
                } else {
                    state.change_name(NameChange::MakeDir(dir));
                }
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.operate(&Operation::List(dir))?;
        if !state.has_dir(dir) {
            return Err(missing(dir));
        }
        let paths = state.seen.files.keys().chain(&state.seen.dirs);
        let inside = paths.filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let existing = state.seen.files.get(path).copied();
        let fresh = state.inodes.len();
        let change = match existing {
            Some(_) => None,
            None => Some(NameChange::Link(path.to_path_buf(), fresh)),
        };
        if existing.is_none() {
            // Its number is in the change, whatever becomes of the operation.
            state.inodes.push(Default::default());
        }
        state.operate_on_names(&Operation::Create(path), change.clone())?;
        if !path.parent().is_some_and(|dir| state.has_dir(dir)) {
            return Err(missing(path));
        }
        match change {
            Some(change) => state.change_name(change),
            None => state.inodes[existing.unwrap_or(fresh)].set_size(0),
        }
        Ok(self.handle(existing.unwrap_or(fresh), path))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operate(&Operation::Open(path))?;
        let inode = state.inode(path)?;
        Ok(self.handle(inode, path))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.seen.files.get(source).copied();
        let change = inode
            .map(|inode| NameChange::Rename(source.to_path_buf(), target.to_path_buf(), inode));
        if state.operate_on_names(&Operation::Rename(source, target), change.clone())? {
            state.change_name(change.ok_or_else(|| missing(source))?);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let change = NameChange::Unlink(path.to_path_buf());
        if state.operate_on_names(&Operation::Remove(path), Some(change.clone()))? {
            state.inode(path)?;
            state.change_name(change);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.operate(&Operation::SyncDir(dir))? {
            if !state.has_dir(dir) {
                return Err(missing(dir));
            }
            state.sync_dir(dir);
        }
        Ok(())
    }

    fn map(&self, path: &Path) -> io::Result<FileBytes> {
        let mut state = self.state();
        state.operate(&Operation::Map(path))?;
        let inode = state.inode(path)?;
        Ok(FileBytes::from(state.inodes[inode].seen.clone()))
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.seen.files.get(source).copied();
        let change = inode.map(|inode| NameChange::Link(target.to_path_buf(), inode));
        let is_free = !state.seen.files.contains_key(target);
        let planned = change.clone().filter(|_| is_free);
        if state.operate_on_names(&Operation::HardLink(source, target), planned)? {
            if !is_free {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            state.change_name(change.ok_or_else(|| missing(source))?);
        }
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<DiskSpace> {
        let state = self.state();
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(DiskSpace {
            total,
            available: total.saturating_sub(state.used()),
        })
    }
}

impl DiskFile for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_alive = !state.crashed;
        let operation = Operation::Write {
            path: &self.path,
            offset,
            bytes: bytes.len(),
        };
        match state.operate(&operation) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                // The write during which the power fails may have reached the medium in part; so may one that fails.
                if was_alive && state.crashed {
                    let change = Change::Write(offset, bytes.to_vec());
                    state.in_flight = Some(InFlight::Write(self.inode, change));
                } else if was_alive {
                    let part = (state.operations as usize * SECTOR_BYTES / 2) % (bytes.len() + 1);
                    state.inodes[self.inode].write(offset, &bytes[..part]);
                }
                return Err(error);
            }
        }
        let room = match state.capacity {
            Some(capacity) => {
                let grown = (offset + bytes.len() as u64)
                    .saturating_sub(state.inodes[self.inode].seen.len() as u64);
                let free = capacity.saturating_sub(state.used());
                bytes
                    .len()
                    .saturating_sub(grown.saturating_sub(free) as usize)
            }
            None => bytes.len(),
        };
        state.note_write(&self.path, self.inode, offset, &bytes[..room]);
        state.inodes[self.inode].write(offset, &bytes[..room]);
        match room == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.operate(&Operation::Read {
            path: &self.path,
            offset,
            bytes: room.len(),
        })?;
        let content = &state.inodes[self.inode].seen;
        let start = content.len().min(offset as usize);
        let bytes = room.len().min(content.len() - start);
        room[..bytes].copy_from_slice(&content[start..start + bytes]);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_alive = !state.crashed;
        match state.operate(&Operation::Sync(&self.path)) {
            Ok(true) => state.inodes[self.inode].sync(),
            Ok(false) => {}
            Err(error) => {
                if was_alive && !state.crashed {
                    state.sync_failing(self.inode);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].seen.len() as u64)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_alive = !state.crashed;
        let outcome = state.operate(&Operation::SetSize(&self.path));
        if outcome.is_err() && was_alive && state.crashed {
            state.in_flight = Some(InFlight::Write(self.inode, Change::Size(bytes)));
        }
        if outcome? {
            state.inodes[self.inode].set_size(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let disk = SimulatedDisk::new();
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        disk.create_dir_all(dir).unwrap();
        let file = disk.create(path, Access::Buffered).unwrap();
        file.write_at(0, b"synced").unwrap();
        file.sync().unwrap();
        assert!(
            disk.crash(CrashImage::SyncedOnly).content(path).is_none(),
            "name not synced"
        );
        disk.sync_dir(dir).unwrap();
        file.write_at(6, b" not").unwrap();
        assert_eq!(
            disk.crash(CrashImage::SyncedOnly).content(path).unwrap(),
            b"synced"
        );
        assert_eq!(
            disk.crash(CrashImage::Everything).content(path).unwrap(),
            b"synced not"
        );
        disk.fail_at(disk.operations() + 1, Fault::Crash);
        assert!(file.sync().is_err());
        assert!(disk.remove(path).is_err(), "nothing works after the crash");
        assert_eq!(
            disk.crash(CrashImage::SyncedOnly).content(path).unwrap(),
            b"synced"
        );
    }

    #[test]
    fn a_full_disk_takes_a_part() {
        let disk = SimulatedDisk::new();
        let file = disk.create(Path::new("/f"), Access::Buffered).unwrap();
        disk.set_capacity(Some(5));
        assert!(super::super::is_full(
            &file.write_at(0, b"0123456789").unwrap_err()
        ));
        disk.set_capacity(None);
        file.write_at(0, b"0123456789").unwrap();
        assert_eq!(disk.content(Path::new("/f")).unwrap(), b"0123456789");
    }

    #[test]
    fn a_killed_process_leaves_what_is_not_durable_yet() {
        let disk = SimulatedDisk::new();
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        disk.create_dir_all(dir).unwrap();
        let file = disk.create(path, Access::Buffered).unwrap();
        file.write_at(0, b"written").unwrap();
        let next = disk.kill(1);
        assert_eq!(next.content(path).unwrap(), b"written");
        assert!(next.crash(CrashImage::SyncedOnly).content(path).is_none());
        next.sync_dir(dir).unwrap();
        let cut = next.crash(CrashImage::SyncedOnly);
        assert_eq!(cut.content(path).unwrap(), b"", "bytes want their own sync");
    }

    #[test]
    fn a_directory_is_a_name_too() {
        let disk = SimulatedDisk::new();
        let path = Path::new("/top/a/b/f");
        disk.create_dir_all(Path::new("/top/a/b")).unwrap();
        disk.create(path, Access::Buffered).unwrap();
        disk.sync_dir(Path::new("/top/a/b")).unwrap();
        disk.sync_dir(Path::new("/top/a")).unwrap();
        assert!(disk.crash(CrashImage::SyncedOnly).files().is_empty());
        disk.sync_dir(Path::new("/top")).unwrap();
        assert_eq!(disk.crash(CrashImage::SyncedOnly).files(), [path]);
        assert_eq!(disk.list(Path::new("/top/a")).unwrap(), ["b"]);
    }

    #[test]
    fn a_failed_sync_has_lost_the_pages() {
        let disk = SimulatedDisk::new();
        let file = disk.create(Path::new("/f"), Access::Buffered).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, &[7; 64 * SECTOR_BYTES]).unwrap();
        disk.fail_at(disk.operations() + 1, Fault::Error(libc::EIO));
        assert!(file.sync().is_err());
        file.sync().unwrap();
        let survivor = disk.crash(CrashImage::Everything);
        assert_eq!(survivor.content(Path::new("/f")).unwrap().len(), 64 * 512);
        let survivor = disk.crash(CrashImage::SyncedOnly);
        let kept = survivor.content(Path::new("/f")).unwrap();
        assert!(
            kept.len() < 64 * 512 || kept.contains(&0),
            "nothing was lost"
        );
    }

    #[test]
    fn the_hook_decides() {
        let disk = SimulatedDisk::new();
        let file = disk.create(Path::new("/f"), Access::Buffered).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.set_hook(Some(Box::new(|operation| match operation {
            Operation::Sync(_) => Verdict::Pretend,
            Operation::Read { .. } => Verdict::Fail(libc::EIO),
            _ => Verdict::Proceed,
        })));
        file.write_at(0, b"x").unwrap();
        file.sync().unwrap();
        assert!(file.read_at(0, &mut [0]).is_err());
        let survivor = disk.crash(CrashImage::SyncedOnly);
        assert_eq!(survivor.content(Path::new("/f")).unwrap(), b"");
    }
}
