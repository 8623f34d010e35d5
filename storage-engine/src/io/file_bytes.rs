//! The whole of an immutable file as bytes: mapped where there is a real disk, a copy where it is simulated.
//!
//! Promise: the bytes stay readable while the value lives, also after the file's name is gone. The file must not be cut or written while it
//! is mapped; whoever maps it writes files once, under a temporary name. A medium that fails under a mapping ends the process (SIGBUS).

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// The bytes of a file.
pub struct FileBytes(Kind);

enum Kind {
    Heap(Vec<u8>),
    Mapped { start: NonNull<u8>, bytes: usize },
}

// SAFETY: the mapping is read-only and private to this value; reading it from any thread is as good as from one.
unsafe impl Send for FileBytes {}
// SAFETY: as above, nothing behind a shared reference changes.
unsafe impl Sync for FileBytes {}

impl FileBytes {
    /// Maps all of `file` for reading. An empty file maps to nothing.
    pub(super) fn map(file: &File) -> io::Result<FileBytes> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if bytes == 0 {
            return Ok(FileBytes::from(Vec::new()));
        }
        // SAFETY: a new read-only mapping of a file descriptor that is open; nothing existing is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(FileBytes(Kind::Mapped { start, bytes }))
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes(Kind::Heap(bytes))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Heap(bytes) => bytes,
            // SAFETY: the mapping is `bytes` long and lives until the drop of `self`.
            Kind::Mapped { start, bytes } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *bytes)
            },
        }
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        if let Kind::Mapped { start, bytes } = self.0 {
            // SAFETY: this is the mapping that `map` made, and nobody can hold a slice of it beyond `self`.
            let unmapped = unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
            debug_assert_eq!(unmapped, 0);
        }
    }
}

impl std::fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileBytes({} bytes)", self.len())
    }
}
