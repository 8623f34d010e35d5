//! A file that is written front to back through the disk seam.

use crate::io::{Access, Disk, DiskFile};
use std::io;
use std::path::Path;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// A growing file.
pub(super) struct Output {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Bytes of the file before the buffer.
    written: u64,
}

impl Output {
    /// Makes the file.
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Output> {
        Ok(Output {
            file: disk.create(path, Access::Buffered)?,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
        })
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() > BUFFER_BYTES {
            self.file.write_at(self.written, bytes)?;
            self.written += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Adds zeros up to a multiple of `alignment`.
    pub(super) fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let missing = self.position().next_multiple_of(alignment) - self.position();
        self.write(&vec![0; missing as usize])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest and makes all of it durable.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }
}
