//! Small files that are replaced as a whole.

use super::{Access, Disk};
use std::io;
use std::path::Path;

/// Puts `bytes` at `path` so that a crash leaves the old content or the new, nothing between, and the new one once this returns.
pub fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_extension("tmp");
    let file = disk.create(&temporary, Access::Buffered)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}
