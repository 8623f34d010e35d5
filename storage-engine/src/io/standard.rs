//! The real disk through blocking system calls.

use super::{Access, Disk, DiskFile, DiskSpace, FileBytes};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The file system of this machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct StandardDisk;

fn open(mut options: OpenOptions, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
    if access == Access::Direct {
        match options.custom_flags(libc::O_DIRECT).open(path) {
            Ok(file) => return Ok(Box::new(file)),
            // tmpfs of older kernels and some network file systems know no O_DIRECT.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                options.custom_flags(0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Box::new(options.open(path)?))
}

impl Disk for StandardDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = File::options();
        options.create(true).truncate(true).read(true).write(true);
        open(options, path, access)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true).write(true);
        open(options, path, access)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        fs::rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn map(&self, path: &Path) -> io::Result<FileBytes> {
        FileBytes::map(&File::open(path)?)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        fs::hard_link(source, target)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let path = CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: all-zero bytes are a value of this plain structure of integers.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends in NUL and the structure lives through the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(DiskSpace {
            total: stat.f_blocks * stat.f_frsize,
            available: stat.f_bavail * stat.f_frsize,
        })
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < room.len() {
            match FileExt::read_at(self, &mut room[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// Bytes nobody can foresee, for identities.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
