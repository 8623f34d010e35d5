//! The reserve: a file that takes room while there is some, so that there is a little left when there is none.
//!
//! Promise: what it takes is really taken (its bytes do not compress and have no holes). Given up when the disk is full, so that a
//! checkpoint or a block, whose making frees room, can be finished; made again when there is plenty. Not here: when to do which (`maintenance`).

use super::{Access, Disk};
use std::io;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "reserve";
/// Bytes written at once.
const STEP_BYTES: usize = 1 << 20;

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

fn exists(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<bool> {
    Ok(disk.list(dir)?.iter().any(|n| n == name))
}

/// Is there a reserve in `dir`?
pub fn has_reserve(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    exists(disk, dir, FILE_NAME)
}

/// Makes the reserve of `bytes` if it is not there and there is room for it twice. True if it is there now.
pub fn make_reserve(disk: &dyn Disk, dir: &Path, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(false);
    }
    if has_reserve(disk, dir)? {
        return Ok(true);
    }
    if disk.space(dir)?.available < bytes.saturating_mul(2) {
        return Ok(false);
    }
    let unfinished = path(dir).with_extension("tmp");
    let written = write(disk, &unfinished, bytes);
    if let Err(error) = written {
        // Half a reserve would only take room.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, &path(dir))?;
    disk.sync_dir(dir)?;
    Ok(true)
}

fn write(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
    let file = disk.create(path, Access::Buffered)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = vec![0; STEP_BYTES];
    for word in content.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let mut at = 0;
    while at < bytes {
        let step = (bytes - at).min(STEP_BYTES as u64) as usize;
        // Steps differ, so that a file system that keeps equal blocks once does not.
        content[..8].copy_from_slice(&at.to_le_bytes());
        file.write_at(at, &content[..step])?;
        at += step as u64;
    }
    file.sync()
}

/// Gives the reserve up. True if there was one.
pub fn give_up_reserve(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    if !has_reserve(disk, dir)? {
        return Ok(false);
    }
    disk.remove(&path(dir))?;
    disk.sync_dir(dir)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimulatedDisk;

    #[test]
    fn room_is_kept_and_given() {
        let disk = SimulatedDisk::new();
        let dir = Path::new("/data");
        disk.create_dir_all(dir).unwrap();
        let bytes = 3 * STEP_BYTES as u64 / 2;
        disk.set_capacity(Some(2 * bytes - 1));
        assert!(!make_reserve(&disk, dir, bytes).unwrap(), "too little room");
        disk.set_capacity(Some(2 * bytes));
        assert!(make_reserve(&disk, dir, bytes).unwrap());
        assert!(make_reserve(&disk, dir, bytes).unwrap(), "once");
        assert_eq!(disk.space(dir).unwrap().available, bytes);
        // Others fill the disk; what must be finished takes the reserve's place.
        let file = disk.create(&dir.join("f"), Access::Buffered).unwrap();
        let block = vec![1; bytes as usize];
        file.write_at(0, &block).unwrap();
        assert!(file.write_at(bytes, &[1]).is_err());
        assert!(give_up_reserve(&disk, dir).unwrap());
        assert!(!give_up_reserve(&disk, dir).unwrap());
        file.write_at(bytes, &block).unwrap();
        assert!(!make_reserve(&disk, dir, bytes).unwrap());
        assert!(!make_reserve(&disk, dir, 0).unwrap(), "switched off");
    }

    #[test]
    fn half_a_reserve_is_taken_away() {
        let disk = SimulatedDisk::new();
        let dir = Path::new("/data");
        disk.create_dir_all(dir).unwrap();
        let at = disk.operations() + 3;
        disk.fail_at(at, crate::io::Fault::Error(libc::EIO));
        assert!(make_reserve(&disk, dir, 4 * STEP_BYTES as u64).is_err());
        assert!(disk.list(dir).unwrap().is_empty());
        assert!(make_reserve(&disk, dir, 4 * STEP_BYTES as u64).unwrap());
        assert_eq!(disk.list(dir).unwrap(), ["reserve"]);
    }
}
