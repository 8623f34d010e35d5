//! A disk in memory that keeps two images, what programs see and what would survive a power cut, and can be told to fail.
//!
//! Promise: nothing is durable that was not synced (bytes by the file's sync, names by the directory's), unless [`SimulatedDisk::crash`]
//! is told to let it through. Same seed, same damage.

use super::{Access, Disk, DiskFile, DiskSpace, FileBytes};
use std::collections::{BTreeMap, BTreeSet};
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

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Size(u64),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    capacity: Option<u64>,
}

/// The disk; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct Handle {
    disk: SimulatedDisk,
    inode: usize,
}

fn apply(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset as usize..end].copy_from_slice(bytes);
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl State {
    /// Counts an operation that changes something; `Err` if it is to fail.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Some(&fault) = self.faults.get(&self.operations) {
            match fault {
                Fault::Crash => self.crashed = true,
                Fault::Error(code) => return Err(io::Error::from_raw_os_error(code)),
            }
        }
        if self.crashed {
            return Err(io::Error::other("simulated power cut"));
        }
        Ok(())
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| missing(path))
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<usize> = self.names.values().copied().collect();
        linked
            .into_iter()
            .map(|inode| self.inodes[inode].seen.len() as u64)
            .sum()
    }
}

/// xorshift64*: three lines that will give the same sequence for ever, which a recorded seed needs.
fn next_random(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
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

    /// Lets the `operation`th changing operation (the first is 1) meet `fault`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Bounds the bytes of all files together; writes beyond fail for lack of room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// A new disk with what a power cut at this moment leaves.
    pub fn crash(&self, image: CrashImage) -> SimulatedDisk {
        let state = self.state();
        let mut seed = match image {
            CrashImage::Random(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            CrashImage::SyncedOnly | CrashImage::Everything => 1,
        };
        let mut survivor = State {
            dirs: state.dirs.clone(),
            ..State::default()
        };
        for inode in &state.inodes {
            let content = match image {
                CrashImage::SyncedOnly => inode.durable.clone(),
                CrashImage::Everything => inode.seen.clone(),
                CrashImage::Random(_) => torn(inode, &mut seed),
            };
            survivor.inodes.push(Inode {
                seen: content.clone(),
                durable: content,
                unsynced: Vec::new(),
            });
        }
        survivor.durable_names = match image {
            CrashImage::SyncedOnly => state.durable_names.clone(),
            CrashImage::Everything => state.names.clone(),
            CrashImage::Random(_) => {
                let all: BTreeSet<_> = state
                    .names
                    .keys()
                    .chain(state.durable_names.keys())
                    .collect();
                let mut names = BTreeMap::new();
                for name in all {
                    let source = match next_random(&mut seed) % 2 {
                        0 => &state.names,
                        _ => &state.durable_names,
                    };
                    if let Some(&inode) = source.get(name) {
                        names.insert(name.clone(), inode);
                    }
                }
                names
            }
        };
        survivor.names = survivor.durable_names.clone();
        SimulatedDisk {
            state: Arc::new(Mutex::new(survivor)),
        }
    }

    /// A copy that shares nothing with this disk.
    pub fn duplicate(&self) -> SimulatedDisk {
        self.crash(CrashImage::Everything)
    }

    /// What a file holds.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.inodes[*state.names.get(path)?].seen.clone())
    }

    /// Puts `content` in place of what a file holds, as damage would: durable at once.
    pub fn damage(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state();
        let Some(&inode) = state.names.get(path) else {
            return;
        };
        state.inodes[inode] = Inode {
            seen: content.clone(),
            durable: content,
            unsynced: Vec::new(),
        };
    }
}

/// The durable bytes with each unsynced sector kept, dropped, or kept in its first half.
fn torn(inode: &Inode, seed: &mut u64) -> Vec<u8> {
    let mut content = inode.durable.clone();
    for change in &inode.unsynced {
        match change {
            Change::Size(bytes) => {
                if next_random(seed).is_multiple_of(2) {
                    content.resize(*bytes as usize, 0);
                }
            }
            Change::Write(offset, bytes) => {
                for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let at = offset + (index * SECTOR_BYTES) as u64;
                    match next_random(seed) % 5 {
                        0 | 1 => apply(&mut content, at, sector),
                        2 => apply(&mut content, at, &sector[..sector.len() / 2]),
                        _ => {}
                    }
                }
            }
        }
    }
    content
}

impl Disk for SimulatedDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.dirs.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operate()?;
        let inode = match state.names.get(path) {
            Some(&inode) => {
                state.inodes[inode].seen.clear();
                state.inodes[inode].unsynced.push(Change::Size(0));
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_path_buf(), inode);
                inode
            }
        };
        Ok(Box::new(Handle {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.state().inode(path)?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let inode = state.inode(source)?;
        state.names.remove(source);
        state.names.insert(target.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state
            .names
            .remove(path)
            .map(drop)
            .ok_or_else(|| missing(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let State {
            names,
            durable_names,
            ..
        } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(dir));
        let inside = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable_names.extend(inside.map(|(path, &inode)| (path.clone(), inode)));
        Ok(())
    }

    fn map(&self, path: &Path) -> io::Result<FileBytes> {
        let state = self.state();
        let inode = state.inode(path)?;
        Ok(FileBytes::from(state.inodes[inode].seen.clone()))
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let inode = state.inode(source)?;
        if state.names.contains_key(target) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.names.insert(target.to_path_buf(), inode);
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
        let outcome = state.operate();
        if let Err(error) = outcome {
            // The write during which the power fails may have reached the medium in part.
            if was_alive && state.crashed {
                let change = Change::Write(offset, bytes.to_vec());
                state.inodes[self.inode].unsynced.push(change);
            }
            return Err(error);
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
        let inode = &mut state.inodes[self.inode];
        apply(&mut inode.seen, offset, &bytes[..room]);
        inode
            .unsynced
            .push(Change::Write(offset, bytes[..room].to_vec()));
        match room == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let content = &state.inodes[self.inode].seen;
        let start = content.len().min(offset as usize);
        let bytes = room.len().min(content.len() - start);
        room[..bytes].copy_from_slice(&content[start..start + bytes]);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let inode = &mut state.inodes[self.inode];
        inode.durable.clone_from(&inode.seen);
        inode.unsynced.clear();
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].seen.len() as u64)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let inode = &mut state.inodes[self.inode];
        inode.seen.resize(bytes as usize, 0);
        inode.unsynced.push(Change::Size(bytes));
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
}
