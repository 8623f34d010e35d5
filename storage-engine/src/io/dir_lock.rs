//! The lock on a data directory: one process at a time.
//!
//! Promise: held until dropped or until the process ends, however it ends. Processes that only read may hold it together ([`DirLock::share`]).

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A lock on a file named `lock` in a directory.
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
        DirLock::of(file.try_lock(), file)
    }

    /// Keeps everybody from changing the directory who takes the lock for that, and fails at once if somebody has it. Writes nothing, so that
    /// it may be asked of a file system that is read-only. `None`: there is no lock to hold.
    pub fn share(dir: &Path) -> io::Result<Option<DirLock>> {
        match File::open(dir.join("lock")) {
            Ok(file) => DirLock::of(file.try_lock_shared(), file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(locked: Result<(), TryLockError>, file: File) -> io::Result<DirLock> {
        match locked {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DirLock::share(dir.path()).unwrap().is_none());
        let busy = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let writer = DirLock::acquire(dir.path()).unwrap();
        assert!(DirLock::share(dir.path()).is_err_and(busy));
        drop(writer);
        let one = DirLock::share(dir.path()).unwrap().unwrap();
        let two = DirLock::share(dir.path()).unwrap().unwrap();
        drop(one);
        assert!(DirLock::acquire(dir.path()).is_err_and(busy));
        drop(two);
        DirLock::acquire(dir.path()).unwrap();
    }
}
