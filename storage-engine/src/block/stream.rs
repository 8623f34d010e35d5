//! The pages of a block on their way to the file: one stream, hashed extent by extent, in compacted blocks packed frame by frame.
//!
//! Promise: at most [`FLUSH_BYTES`] and a page wait in memory; every byte of the stream is covered by one extent's checksum.
//! Not here: what pages mean, and the sections behind them.

use super::format::{EXTENT_BYTES, checksum};
use super::numbers::Profile;
use crate::io::DiskFile;
use std::io;

/// Bytes that wait before they are written; a multiple of an extent.
const FLUSH_BYTES: usize = 1 << 20;
const _: () = assert!(FLUSH_BYTES.is_multiple_of(EXTENT_BYTES));
/// Raw bytes at which a frame is packed.
pub(super) const FRAME_BYTES: usize = 16 << 10;
/// Level of the packing: higher ones are slower by far and hardly smaller.
pub(super) const PACK_LEVEL: i32 = 3;

/// The stream of pages.
pub(super) struct PageStream {
    file: Box<dyn DiskFile>,
    /// Where the next bytes go in the file.
    offset: u64,
    /// Bytes of whole extents and of the one that is not full yet.
    waiting: Vec<u8>,
    /// Bytes of the stream that have left `waiting`.
    flushed: u64,
    extents: Vec<u64>,
    seed: u64,
    frames: Option<Frames>,
}

/// Frames so far: where each starts among the raw bytes and in the stream.
#[derive(Default)]
struct Frames {
    raw: Vec<u8>,
    raw_start: u64,
    starts: Vec<(u64, u64)>,
}

/// What the stream leaves behind.
pub(super) struct StreamEnd {
    pub(super) file: Box<dyn DiskFile>,
    /// Bytes of the stream in the file.
    pub(super) bytes: u64,
    pub(super) extents: Vec<u64>,
    /// Starts of all frames and the end, as offsets among the raw bytes and in the stream; empty without frames.
    pub(super) frames: Vec<(u64, u64)>,
}

impl PageStream {
    /// Pages go into `file` from `offset` on.
    pub(super) fn new(file: Box<dyn DiskFile>, offset: u64, seed: u64, profile: Profile) -> Self {
        PageStream {
            file,
            offset,
            waiting: Vec::with_capacity(FLUSH_BYTES + (64 << 10)),
            flushed: 0,
            extents: Vec::new(),
            seed,
            frames: (profile == Profile::Compacted).then(Frames::default),
        }
    }

    /// Appends a page; its offset among all pages.
    pub(super) fn put(&mut self, page: &[u8]) -> io::Result<u64> {
        let Some(frames) = &mut self.frames else {
            let at = self.flushed + self.waiting.len() as u64;
            self.waiting.extend_from_slice(page);
            self.flush_full()?;
            return Ok(at);
        };
        let at = frames.raw_start + frames.raw.len() as u64;
        frames.raw.extend_from_slice(page);
        if frames.raw.len() >= FRAME_BYTES {
            self.close_frame()?;
        }
        Ok(at)
    }

    fn close_frame(&mut self) -> io::Result<()> {
        let Some(frames) = &mut self.frames else {
            return Ok(());
        };
        if frames.raw.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&frames.raw, PACK_LEVEL)?;
        let start = self.flushed + self.waiting.len() as u64;
        frames.starts.push((frames.raw_start, start));
        // A frame as long as its raw bytes is the raw bytes.
        if packed.len() < frames.raw.len() {
            self.waiting.extend_from_slice(&packed);
        } else {
            self.waiting.extend_from_slice(&frames.raw);
        }
        frames.raw_start += frames.raw.len() as u64;
        frames.raw.clear();
        self.flush_full()
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.waiting.len() < FLUSH_BYTES {
            return Ok(());
        }
        let whole = self.waiting.len() / EXTENT_BYTES * EXTENT_BYTES;
        self.flush(whole)
    }

    fn flush(&mut self, bytes: usize) -> io::Result<()> {
        for extent in self.waiting[..bytes].chunks(EXTENT_BYTES) {
            let number = self.extents.len() as u64;
            self.extents.push(checksum(self.seed, number, extent));
        }
        self.file.write_at(self.offset, &self.waiting[..bytes])?;
        self.waiting.drain(..bytes);
        self.offset += bytes as u64;
        self.flushed += bytes as u64;
        Ok(())
    }

    /// Writes what still waits.
    pub(super) fn finish(mut self) -> io::Result<StreamEnd> {
        self.close_frame()?;
        self.flush(self.waiting.len())?;
        let mut starts = Vec::new();
        if let Some(frames) = self.frames {
            starts = frames.starts;
            starts.push((frames.raw_start, self.flushed));
        }
        Ok(StreamEnd {
            file: self.file,
            bytes: self.flushed,
            extents: self.extents,
            frames: starts,
        })
    }
}
