//! Reading a file from front to back through a part of it in memory.
//!
//! Promise: what the disk will not give (`EIO`) reads as zeros, which no checksum takes for right, and costs the page that it is in; any
//! other error is the caller's. Memory is bounded by the window, or by the longest piece asked for. Not here: what the bytes mean.

use super::DiskFile;
use std::io;

/// Bytes read at once.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;
/// What is given up when a read fails: a page, as the kernel reads them.
pub(crate) const UNREADABLE_BYTES: usize = 4096;

/// A part of a file in memory that moves along.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    file_bytes: u64,
    start: u64,
    content: Vec<u8>,
    /// Bytes that the disk would not give; they read as zeros.
    pub(crate) unreadable_bytes: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> io::Result<Window<'a>> {
        let file_bytes = file.size()?;
        Ok(Window {
            file,
            file_bytes,
            start: 0,
            content: Vec::new(),
            unreadable_bytes: 0,
        })
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The bytes `offset..offset + bytes`; `None` beyond the end of the file.
    pub(crate) fn get(&mut self, offset: u64, bytes: usize) -> io::Result<Option<&[u8]>> {
        self.get_with(offset, bytes, WINDOW_BYTES)
    }

    /// As [`Self::get`], reading `ahead` bytes if it must read.
    pub(crate) fn get_with(
        &mut self,
        offset: u64,
        bytes: usize,
        ahead: usize,
    ) -> io::Result<Option<&[u8]>> {
        let end = offset + bytes as u64;
        if end > self.file_bytes {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.content.len() as u64 {
            self.load(offset, bytes.max(ahead))?;
        }
        let at = (offset - self.start) as usize;
        // The file may have shrunk under us; then what it held is gone.
        Ok(self.content.get(at..at + bytes))
    }

    fn load(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        let bytes = bytes.min((self.file_bytes - offset) as usize);
        self.start = offset;
        self.content.resize(bytes, 0);
        match self.file.read_at(offset, &mut self.content) {
            Ok(read) => self.content.truncate(read),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => self.load_readable(offset),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Page by page, zeros for the pages that cannot be read.
    fn load_readable(&mut self, offset: u64) {
        let mut unreadable = 0;
        for (index, page) in self.content.chunks_mut(UNREADABLE_BYTES).enumerate() {
            let at = offset + (index * UNREADABLE_BYTES) as u64;
            if self.file.read_at(at, page).is_err() {
                page.fill(0);
                unreadable += page.len() as u64;
            }
        }
        self.unreadable_bytes += unreadable;
    }
}
