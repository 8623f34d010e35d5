//! Samples out of a block: which pages, their timestamps, their values.
//!
//! Promise: only pages that overlap the range are decoded; one that cannot be trusted is left out and named in the notes. Reading a page touches
//! that page and its time column, nothing else. Not here: statistics ([`super::page_stats`]).

use super::bytes::{Bad, Cursor, Decoded};
use super::directory::PageEntry;
use super::numbers::{CONSTANT, HISTOGRAMS};
use super::scratch::{Kept, SHORT_COLUMN, Scratch, with_scratch};
use super::times::SliceTimes;
use super::{Block, BlockError, histograms};
use crate::limits::{BLOCK_FRAME_BYTES_MAX, BLOCK_PAGE_SAMPLES_MAX};
use crate::model::{FloatHistogram, SampleColumns, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange, TimeWindows};
use std::ops::Range;
use std::sync::Arc;

impl Block {
    /// Has the series a page that overlaps `range`? Asks the directory; no page is touched.
    pub fn overlaps(&self, ordinal: u32, range: TimeRange) -> Result<bool, BlockError> {
        let overlaps = || -> Decoded<bool> {
            for number in self.directory.pages_of(&self.file, ordinal)? {
                let page = self.directory.page(&self.file, number)?;
                if !page.is_times() {
                    let times = self.times.slice(&self.file, page.slice)?;
                    if times.first <= range.max && times.last >= range.min {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        };
        overlaps().map_err(|bad| self.damaged(bad))
    }

    /// Has the series any native histogram?
    pub fn has_histograms(&self, ordinal: u32) -> bool {
        self.with_histograms.contains(ordinal)
    }

    /// Appends the float samples in the windows, and perhaps some between them; a damaged page is left out and said in `notes`.
    pub fn read(
        &self,
        ordinal: u32,
        windows: impl Into<TimeWindows>,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        let windows = windows.into();
        let range = windows.range;
        self.each_page(
            ordinal,
            windows,
            notes,
            |scratch, number, page, times, notes| {
                if page.code() == HISTOGRAMS {
                    return Ok(());
                }
                let start = out.len();
                let read = self.read_page(scratch, number, &times, range, out, notes);
                if read.is_err() {
                    out.timestamps.truncate(start);
                    out.values.truncate(start);
                }
                read
            },
        );
    }

    /// Appends the native histograms in `range`; a damaged page is left out and said in `notes`.
    pub fn read_histograms(
        &self,
        ordinal: u32,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, Arc<FloatHistogram>)>,
        notes: &mut ReadNotes,
    ) {
        if !self.has_histograms(ordinal) {
            return;
        }
        self.each_page(
            ordinal,
            range.into(),
            notes,
            |scratch, number, page, times, notes| {
                if page.code() != HISTOGRAMS {
                    return Ok(());
                }
                let (timestamps, wanted) = self.timestamps(scratch, &times, range, notes)?;
                let mut found = Vec::with_capacity(wanted.len());
                let timestamps = timestamps[wanted.clone()].to_vec();
                self.with_body(scratch, number, &page, notes, |scratch, cursor| {
                    let count = times.slice.count as usize;
                    histograms::decode(cursor, count, wanted, &mut scratch.unpacker, &mut found)
                })?;
                notes.pages_decoded += 1;
                out.extend(timestamps.into_iter().zip(found.into_iter().map(Arc::new)));
                Ok(())
            },
        );
    }

    /// Appends the runs of start timestamps that hold in `range`: pairs of the sample time from which on samples carry a start timestamp, and
    /// that one (0: none). A run that began before the range begins with it.
    pub fn read_starts(
        &self,
        ordinal: u32,
        range: TimeRange,
        out: &mut Vec<(TimestampMs, TimestampMs)>,
    ) {
        let start = out.len();
        if self.starts.read(&self.file, ordinal, range, out).is_err() {
            out.truncate(start);
        }
    }

    /// Calls `f` for each page of samples that windows look at, and notes what it could not read.
    fn each_page(
        &self,
        ordinal: u32,
        windows: TimeWindows,
        notes: &mut ReadNotes,
        mut f: impl FnMut(&mut Scratch, u32, PageEntry, SliceTimes, &mut ReadNotes) -> Decoded<()>,
    ) {
        let pages = match self.directory.pages_of(&self.file, ordinal) {
            Ok(pages) => pages,
            Err(bad) => {
                let text = format!(
                    "block {} is damaged ({bad}), samples are missing",
                    self.meta.id
                );
                return notes.note_damage(text);
            }
        };
        with_scratch(|scratch| {
            for number in pages {
                let mut read = || -> Decoded<()> {
                    let page = self.directory.page(&self.file, number)?;
                    if page.is_times() {
                        return Ok(());
                    }
                    let times = self.times.slice(&self.file, page.slice)?;
                    if !windows.touch(times.first, times.last) {
                        notes.pages_skipped += 1;
                        return Ok(());
                    }
                    f(scratch, number, page, times, notes)
                };
                // One text for all pages that fail alike: an answer may meet thousands of them.
                if let Err(bad) = read() {
                    notes.note_damage(format!(
                        "block {} is damaged ({bad}), samples are missing",
                        self.meta.id
                    ));
                }
            }
        });
    }

    /// Timestamps of a slice, and which of them lie in `range`.
    fn timestamps<'s>(
        &self,
        scratch: &'s mut Scratch,
        times: &SliceTimes,
        range: TimeRange,
        notes: &mut ReadNotes,
    ) -> Decoded<(&'s [TimestampMs], Range<usize>)> {
        let slice = times.slice;
        let Scratch {
            unpacker,
            short_columns,
            long_columns,
            frames,
            ..
        } = scratch;
        let place = self.times.column(&self.file, slice.column)?;
        let columns = if place.count <= SHORT_COLUMN {
            short_columns
        } else {
            long_columns
        };
        let column = columns.get((self.key, slice.column), |column| {
            if place.count > BLOCK_PAGE_SAMPLES_MAX {
                return Err(Bad("time column too long"));
            }
            column.resize(place.count as usize, 0);
            self.with_bytes(frames, place.offset, place.bytes, |cursor| {
                notes.bytes_read += place.bytes;
                place.decode(unpacker, cursor, column)
            })
        })?;
        let end = slice
            .start
            .checked_add(slice.count)
            .ok_or(Bad("slice of times"))?;
        let timestamps = column
            .get(slice.start as usize..end as usize)
            .ok_or(Bad("slice of times"))?;
        if timestamps.first() != Some(&times.first) || timestamps.last() != Some(&times.last) {
            return Err(Bad("times other than the directory says"));
        }
        let from = timestamps.partition_point(|t| *t < range.min);
        let to = from + timestamps[from..].partition_point(|t| *t <= range.max);
        Ok((timestamps, from..to))
    }

    fn read_page(
        &self,
        scratch: &mut Scratch,
        number: u32,
        times: &SliceTimes,
        range: TimeRange,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) -> Decoded<()> {
        let (timestamps, wanted) = self.timestamps(scratch, times, range, notes)?;
        if wanted.is_empty() {
            notes.pages_skipped += 1;
            return Ok(());
        }
        out.timestamps
            .extend_from_slice(&timestamps[wanted.clone()]);
        let (number, page) = self.directory.resolve(&self.file, number)?;
        notes.pages_decoded += 1;
        if page.code() == CONSTANT {
            let bits = self.constants.get(&self.file, page.number)?;
            out.values
                .resize(out.timestamps.len(), f64::from_bits(bits));
            return Ok(());
        }
        let count = times.slice.count as usize;
        if self.times.slice(&self.file, page.slice)?.slice.count as usize != count {
            return Err(Bad("alias of a page of another length"));
        }
        self.with_body(scratch, number, &page, notes, |scratch, cursor| {
            if wanted.len() == count {
                let start = out.values.len();
                out.values.resize(start + count, 0.0);
                return scratch
                    .unpacker
                    .decode(page.kind, cursor, &mut out.values[start..]);
            }
            scratch.values.resize(count, 0.0);
            scratch
                .unpacker
                .decode(page.kind, cursor, &mut scratch.values)?;
            out.values.extend_from_slice(&scratch.values[wanted]);
            Ok(())
        })
    }

    /// Hands the body of a page to `f`.
    fn with_body(
        &self,
        scratch: &mut Scratch,
        number: u32,
        page: &PageEntry,
        notes: &mut ReadNotes,
        f: impl FnOnce(&mut Scratch, &mut Cursor<'_>) -> Decoded<()>,
    ) -> Decoded<()> {
        let offset = self.directory.body_offset(&self.file, number)?;
        let bytes = u64::from(page.number);
        notes.bytes_read += bytes;
        let mut frames = std::mem::take(&mut scratch.frames);
        let read = self.with_bytes(&mut frames, offset, bytes, |cursor| f(scratch, cursor));
        scratch.frames = frames;
        read
    }

    /// Hands checked bytes of the pages to `f`, out of their frame if they are in one.
    fn with_bytes<T>(
        &self,
        kept: &mut Kept<u8>,
        offset: u64,
        bytes: u64,
        f: impl FnOnce(&mut Cursor<'_>) -> Decoded<T>,
    ) -> Decoded<T> {
        let length = usize::try_from(bytes).map_err(|_| Bad("page too long"))?;
        let [raw, packed] = &self.frames;
        if raw.len() == 0 {
            let bytes = self.extents.bytes(&self.file, offset, bytes)?;
            return f(&mut Cursor::with_room(bytes, length)?);
        }
        let frame = raw
            .lower_bound(&self.file, offset.saturating_add(1))?
            .checked_sub(1)
            .ok_or(Bad("page outside the frames"))?;
        let (raw_start, raw_end) = (raw.get(&self.file, frame)?, raw.get(&self.file, frame + 1)?);
        let (start, end) = (
            packed.get(&self.file, frame)?,
            packed.get(&self.file, frame + 1)?,
        );
        let raw_bytes = raw_end
            .checked_sub(raw_start)
            .ok_or(Bad("frames out of order"))?;
        let packed_bytes = end.checked_sub(start).ok_or(Bad("frames out of order"))?;
        if raw_bytes > BLOCK_FRAME_BYTES_MAX as u64 {
            return Err(Bad("frame too large"));
        }
        let content = kept.get((self.key, frame), |content| {
            let all = self.extents.bytes(&self.file, start, packed_bytes)?;
            let all = all
                .get(..packed_bytes as usize)
                .ok_or(Bad("frame cut short"))?;
            unpack_frame(all, raw_bytes as usize, content)
        })?;
        let at = usize::try_from(offset - raw_start).map_err(|_| Bad("page too far"))?;
        f(&mut Cursor::with_room(
            content.get(at..).unwrap_or_default(),
            length,
        )?)
    }
}

fn unpack_frame(packed: &[u8], raw_bytes: usize, content: &mut Vec<u8>) -> Decoded<()> {
    if packed.len() == raw_bytes {
        content.extend_from_slice(packed);
        return Ok(());
    }
    content.resize(raw_bytes, 0);
    match zstd::bulk::decompress_to_buffer(packed, content.as_mut_slice()) {
        Ok(bytes) if bytes == raw_bytes => Ok(()),
        _ => Err(Bad("packed frame")),
    }
}
