//! The real disk for somebody who only looks: every change is accepted and not made.
//!
//! Promise: nothing on the disk changes, not even times of files. Code that repairs what it opens runs unchanged; its repairs last as long as
//! the process's memory of them. A directory that is not there is empty, because whoever lists it has made it before.

use super::{Access, Disk, DiskFile, DiskSpace, FileBytes, StandardDisk};
use std::fs::File;
use std::io;
use std::path::Path;

/// The file system of this machine, without changes.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReadOnlyDisk;

struct ReadOnlyFile(Option<File>);

impl Disk for ReadOnlyDisk {
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        match StandardDisk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create(&self, _path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(ReadOnlyFile(None)))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(ReadOnlyFile(Some(File::open(path)?))))
    }

    fn rename(&self, _source: &Path, _target: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, path: &Path) -> io::Result<FileBytes> {
        StandardDisk.map(path)
    }

    fn hard_link(&self, _source: &Path, _target: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        StandardDisk.space(dir)
    }
}

impl DiskFile for ReadOnlyFile {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Some(file) => DiskFile::read_at(file, offset, room),
            None => Ok(0),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.as_ref().map_or(Ok(0), DiskFile::size)
    }

    fn set_size(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}
