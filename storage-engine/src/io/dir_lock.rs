//! The lock on a data directory: one process at a time.
//!
//! Promise: held until dropped or until the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// An exclusive lock on a file named `lock` in a directory.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock, or says at once that somebody has it.
    pub fn acquire(dir: &Path) -> io::Result<DirLock> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            // The words of EAGAIN, as Prometheus prints them.
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "resource temporarily unavailable",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
