//! Log files of the glommio shell: direct writes through the executor's ring.
//!
//! Promise: never blocks the shard's thread, except to open and close files through the executor's own blocking pool.

use super::{AlignedBytes, DIRECT_ALIGNMENT, LogDisk, StandardDisk};
use crate::io::Disk as _;
use glommio::io::{DmaFile, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The file system as seen from inside a glommio executor; use it nowhere else.
#[derive(Debug, Default, Clone, Copy)]
pub struct DmaDisk;

/// glommio wraps errors in text; the system's number is what tells a full disk from a broken one.
fn plain<T>(error: glommio::GlommioError<T>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

async fn open(options: &OpenOptions, path: &Path) -> io::Result<DmaFile> {
    options.dma_open(path).await.map_err(plain)
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(call).await
}

impl LogDisk for DmaDisk {
    type File = DmaFile;

    fn alignment(&self) -> usize {
        DIRECT_ALIGNMENT
    }

    async fn create(&self, path: &Path) -> io::Result<DmaFile> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        open(&options, path).await
    }

    async fn reuse(&self, path: &Path) -> io::Result<DmaFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        open(&options, path).await
    }

    async fn write(
        &self,
        file: &DmaFile,
        offset: u64,
        bytes: AlignedBytes,
    ) -> (io::Result<()>, AlignedBytes) {
        let mut buffer = file.alloc_dma_buffer(bytes.len());
        buffer.as_bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
        let written = match file.write_at(buffer, offset).await {
            Ok(written) if written == bytes.len() => Ok(()),
            // A short write means that the rest found no room; the writer comes back to the same place.
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(error) => Err(plain(error)),
        };
        (written, bytes)
    }

    async fn sync(&self, file: &DmaFile) -> io::Result<()> {
        file.fdatasync().await.map_err(plain)
    }

    async fn close(&self, file: DmaFile) {
        if let Err(error) = file.close().await {
            tracing::warn!(%error, "closing a log segment failed");
        }
    }

    async fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let (source, target): (PathBuf, PathBuf) = (source.into(), target.into());
        blocking(move || StandardDisk.rename(&source, &target)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let path: PathBuf = path.into();
        blocking(move || StandardDisk.remove(&path)).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir: PathBuf = dir.into();
        blocking(move || StandardDisk.sync_dir(&dir)).await
    }
}
