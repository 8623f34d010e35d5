//! The seam to the disk: everything this crate asks of files goes through the traits here.
//!
//! Promise: what the traits say is what the rest relies on (a completed sync is durable, a name is durable after the directory's sync,
//! bytes outside a write stay as they are), so a simulated disk can take each promise away in a test.
//! Not here: what the bytes mean.

mod aligned;
mod dir_lock;
mod dma;
mod file_bytes;
mod manifest_file;
mod read_only;
mod reserve;
mod simulated;
mod standard;
mod window;

pub use aligned::AlignedBytes;
pub use dir_lock::DirLock;
pub use dma::DmaDisk;
pub use file_bytes::FileBytes;
pub use manifest_file::write_atomically;
pub use read_only::ReadOnlyDisk;
pub use reserve::{give_up_reserve, has_reserve, make_reserve};
pub use simulated::{CrashImage, DiskHook, Fault, Operation, SimulatedDisk, Verdict, WriteNote};
pub use standard::{StandardDisk, random_bytes};
pub(crate) use window::{UNREADABLE_BYTES, WINDOW_BYTES, Window};

use std::io;
use std::path::Path;

/// How a file's writes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache.
    Buffered,
    /// Around the page cache (`O_DIRECT`); offsets and lengths are multiples of [`DIRECT_ALIGNMENT`]. Where the file system cannot, the
    /// page cache is used.
    Direct,
}

/// What direct writes are aligned to, in memory, offset and length: the larger of the two sector sizes in use.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// A file system.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file, or empties an existing one. Its name is durable after [`Disk::sync_dir`].
    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, replacing a file of that name.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The content of a file that nobody writes any more.
    fn map(&self, path: &Path) -> io::Result<FileBytes>;
    /// Gives a file a second name, which must be free. Durable after [`Disk::sync_dir`].
    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()>;
    /// Room on the file system of a directory.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub available: u64,
}

/// An open file.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`, or fails having written a part.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads up to `room.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize>;
    /// Makes what was written durable, with the length.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros).
    fn set_size(&self, bytes: u64) -> io::Result<()>;
}

/// What a log writer needs of a disk, for executors that wait by future and for threads that wait by blocking.
pub trait LogDisk {
    /// An open segment.
    type File;
    /// Offsets and lengths of writes are multiples of this.
    fn alignment(&self) -> usize;
    /// See [`Disk::create`].
    fn create(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;
    /// Opens an existing file to write it again from its start.
    fn reuse(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;
    /// See [`DiskFile::write_at`]; gives the buffer back.
    fn write(
        &self,
        file: &Self::File,
        offset: u64,
        bytes: AlignedBytes,
    ) -> impl Future<Output = (io::Result<()>, AlignedBytes)>;
    /// See [`DiskFile::sync`].
    fn sync(&self, file: &Self::File) -> impl Future<Output = io::Result<()>>;
    /// Ends the use of a file.
    fn close(&self, file: Self::File) -> impl Future<Output = ()>;
    /// See [`Disk::rename`].
    fn rename(&self, source: &Path, target: &Path) -> impl Future<Output = io::Result<()>>;
    /// See [`Disk::remove`].
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// See [`Disk::sync_dir`].
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;
}

/// A [`Disk`] as a [`LogDisk`] whose futures are ready at the first poll: for a thread that does nothing else.
pub struct BlockingDisk {
    disk: std::sync::Arc<dyn Disk>,
    access: Access,
}

impl BlockingDisk {
    /// Wraps `disk`; segments are opened with `access`.
    pub fn new(disk: std::sync::Arc<dyn Disk>, access: Access) -> BlockingDisk {
        BlockingDisk { disk, access }
    }
}

impl LogDisk for BlockingDisk {
    type File = Box<dyn DiskFile>;

    fn alignment(&self) -> usize {
        match self.access {
            // A sector: a commit never rewrites bytes that an earlier one made durable.
            Access::Buffered => 512,
            Access::Direct => DIRECT_ALIGNMENT,
        }
    }

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.create(path, self.access)
    }

    async fn reuse(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.open(path, self.access)
    }

    async fn write(
        &self,
        file: &Self::File,
        offset: u64,
        bytes: AlignedBytes,
    ) -> (io::Result<()>, AlignedBytes) {
        (file.write_at(offset, &bytes), bytes)
    }

    async fn sync(&self, file: &Self::File) -> io::Result<()> {
        file.sync()
    }

    async fn close(&self, file: Self::File) {
        drop(file);
    }

    async fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

/// Does the error say that there is no room (device or quota)?
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
