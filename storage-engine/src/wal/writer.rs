//! The end of the log: numbers records, binds them to their place, puts them on disk in whole, aligned units.
//!
//! Promise: when [`WalWriter::commit`] returns, the bytes are with the kernel (fast) or durable (durable). A failed sync is never tried
//! again: the kernel may have dropped the pages and would call the next one a success. What had been taken and was not durable is kept in
//! memory until it is, and goes to a new segment, whole and durable before it gets its name; only then is more taken. A full disk is waited
//! out: the same unit goes to the same place later.
//!
//! Not here: which thread or executor this runs on (`runtime::log`), what commits hold (the shard).

use super::format::{
    RECORD_HEADER_BYTES, Stamp, encode_mark_record, encoded_record_bytes, stamp_record,
};
use super::segment::WalPlace;
use crate::io::{AlignedBytes, LogDisk, is_full};
use crate::limits::{WAL_SPARE_SEGMENTS_MAX, WAL_UNSYNCED_BYTES_KEPT, WAL_UNSYNCED_BYTES_MAX};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// When it is on stable storage: survives loss of power.
    #[default]
    Durable,
    /// When the kernel has it: survives the death of the process; a sync follows within the sync interval.
    Fast,
}

/// Settings of a log's end.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// Where, and whose.
    pub place: WalPlace,
    /// Size at which a segment is closed; a larger commit gets a segment of its own.
    pub segment_bytes: u64,
    /// The promise.
    pub ack: AckMode,
}

/// Where a log goes on: what a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    /// Segment to begin with; an old one is never continued.
    pub next_sequence: u32,
    /// Number of the next record. All before it are durable.
    pub next_lsn: u64,
    /// Spare segments.
    pub spares: Vec<u32>,
    /// Segments with records: sequence and number of the last record.
    pub closed: Vec<(u32, u64)>,
}

/// Why bytes were not logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// No room; [`WalWriter::try_reopen`] says when there is.
    #[error("no space left on the device of {path}: writes are refused until there is room")]
    Full {
        /// The segment.
        path: String,
    },
    /// The disk failed; [`WalWriter::try_reopen`] says when the log could be written anew.
    #[error("{operation} {path}: {cause}; writes are refused until the log can be written anew")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// The system's words.
        cause: String,
    },
}

struct Segment<F> {
    file: F,
    sequence: u32,
    /// End of what is written.
    offset: u64,
}

/// The end of one shard's log.
pub struct WalWriter<D: LogDisk> {
    disk: D,
    options: WalOptions,
    segment: Option<Segment<D::File>>,
    next_sequence: u32,
    next_lsn: u64,
    /// All records up to here are durable.
    synced_lsn: u64,
    /// The last record written is a mark that says how far the log is durable.
    marked: bool,
    /// Bytes of the unit that found no room.
    full_unit_bytes: usize,
    error: Option<WalError>,
    unit: AlignedBytes,
    /// Bytes of records in `unit`; the rest is padding.
    unit_bytes: usize,
    /// The encoded records behind `synced_lsn` that were taken.
    unsynced: Vec<u8>,
    spares: Vec<u32>,
    closed: VecDeque<(u32, u64)>,
}

impl<D: LogDisk> WalWriter<D> {
    /// A log that goes on at `position`. Writes nothing yet.
    pub fn new(disk: D, options: WalOptions, position: LogPosition) -> WalWriter<D> {
        WalWriter {
            disk,
            options,
            segment: None,
            next_sequence: position.next_sequence,
            next_lsn: position.next_lsn,
            synced_lsn: position.next_lsn - 1,
            marked: true,
            full_unit_bytes: 0,
            error: None,
            unit: AlignedBytes::default(),
            unit_bytes: 0,
            unsynced: Vec::new(),
            spares: position.spares,
            closed: position.closed.into(),
        }
    }

    /// Number of the last record written.
    pub fn written_lsn(&self) -> u64 {
        self.next_lsn - 1
    }

    /// Is there something that only the kernel has?
    pub fn has_unsynced(&self) -> bool {
        self.written_lsn() > self.synced_lsn && self.error.is_none()
    }

    /// Is there something that [`WalWriter::sync`] and [`WalWriter::mark`] would still have to do?
    pub fn needs_mark(&self) -> bool {
        !self.marked
    }

    /// Why nothing can be written, if so.
    pub fn error(&self) -> Option<&WalError> {
        self.error.as_ref()
    }

    /// Writes encoded records (see [`super::format`]) as one unit, and in durable mode makes them durable.
    pub async fn commit(&mut self, records: &[u8]) -> Result<(), WalError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.unsynced.len() + records.len() > WAL_UNSYNCED_BYTES_MAX {
            self.sync().await?;
        }
        let next_lsn = self.next_lsn;
        self.write(records).await?;
        self.marked = false;
        if self.options.ack == AckMode::Fast {
            return Ok(());
        }
        let synced = self.sync().await;
        if synced.is_err() {
            // It was not taken: who sent it sends it again. What was before it may have become durable with the end of a segment, so it is
            // counted from the end.
            self.unsynced
                .truncate(self.unsynced.len() - self.unit_bytes);
            self.next_lsn = next_lsn;
        }
        synced
    }

    /// Makes durable what is written, also when there is no room for more.
    pub async fn sync(&mut self) -> Result<(), WalError> {
        if let Some(error @ WalError::Failed { .. }) = &self.error {
            return Err(error.clone());
        }
        if let Some(segment) = &self.segment
            && self.synced_lsn < self.next_lsn - 1
        {
            if let Err(error) = self.disk.sync(&segment.file).await {
                return Err(self.failed("sync", error));
            }
            self.note_synced();
        }
        Ok(())
    }

    fn note_synced(&mut self) {
        self.synced_lsn = self.next_lsn - 1;
        self.unsynced.clear();
        self.unsynced.shrink_to(WAL_UNSYNCED_BYTES_KEPT);
    }

    /// Says in the log that all of it is durable, if it is and the log does not say so yet.
    ///
    /// A reader takes a gap before a record that was known to be durable for damage, and goes on behind it; a gap after that it takes
    /// for the loss of power, and stops. The mark moves that border when no further commit does. It is not made durable itself.
    pub async fn mark(&mut self) {
        if self.marked || self.has_unsynced() || self.error.is_some() || self.segment.is_none() {
            return;
        }
        let mut record = Vec::new();
        encode_mark_record(&mut record);
        self.marked = true;
        if let Err(WalError::Full { .. }) = self.write(&record).await {
            // A mark is a courtesy: a commit will say that the disk is full.
            self.error = None;
        }
    }

    /// Syncs, marks, syncs: after this every byte of the log is known to be durable.
    pub async fn close(mut self) {
        if matches!(self.error, Some(WalError::Failed { .. })) {
            // The last chance of what was taken and is not durable.
            self.try_reopen().await;
        }
        if self.sync().await.is_ok() {
            self.mark().await;
            let _ = self.sync().await;
        }
        if let Some(segment) = self.segment.take() {
            self.disk.close(segment.file).await;
        }
    }

    /// After an error: can the log go on? Then commits are taken again.
    pub async fn try_reopen(&mut self) -> bool {
        match self.error {
            None => false,
            Some(WalError::Full { .. }) => self.try_full_unit().await,
            Some(WalError::Failed { .. }) => match self.write_anew().await {
                Ok(()) => {
                    self.error = None;
                    true
                }
                Err(_) => false,
            },
        }
    }

    /// Puts what was taken and is not durable into a new segment; the old one is not touched any more. The new one gets its name when it
    /// is durable, so that a process that dies meanwhile leaves the old one in force. From then on a reader takes it for all records from
    /// its first one on.
    async fn write_anew(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segment.take() {
            let last_lsn = self.next_lsn.saturating_sub(1).max(self.synced_lsn);
            self.closed.push_back((segment.sequence, last_lsn));
            self.disk.close(segment.file).await;
        }
        if self.unsynced.is_empty() {
            encode_mark_record(&mut self.unsynced);
        }
        let sequence = self.next_sequence;
        let path = self.options.place.segment_path(sequence);
        let unfinished = self.options.place.unfinished_path(sequence);
        // A file that an earlier attempt has left is not written over: its pages may be the ones that failed.
        let _ = self.disk.remove(&unfinished).await;
        let file = self.disk.create(&unfinished).await?;
        let mut segment = Segment {
            file,
            sequence,
            offset: 0,
        };
        let first_lsn = self.synced_lsn + 1;
        let records = self.stamp_all(sequence, first_lsn);
        let unit = std::mem::take(&mut self.unit);
        let (mut done, unit) = self.disk.write(&segment.file, 0, unit).await;
        segment.offset = unit.len() as u64;
        self.unit = unit;
        if done.is_ok() {
            done = self.disk.sync(&segment.file).await;
        }
        if done.is_ok() {
            done = self.disk.rename(&unfinished, &path).await;
        }
        if done.is_ok() {
            // From here on the name may be on the medium: never again another content under it.
            self.next_sequence += 1;
            done = self.disk.sync_dir(&self.options.place.dir).await;
        }
        if let Err(error) = done {
            self.disk.close(segment.file).await;
            return Err(error);
        }
        self.next_lsn = first_lsn + records;
        self.note_synced();
        self.marked = false;
        self.segment = Some(segment);
        Ok(())
    }

    /// Makes a unit of all that is not durable, for the start of a segment. Returns the number of records.
    fn stamp_all(&mut self, sequence: u32, first_lsn: u64) -> u64 {
        self.unit.clear();
        self.unit.extend_from_slice(&self.unsynced);
        self.stamp(sequence, 0, first_lsn)
    }

    /// After [`WalError::Full`]: is there room again for the unit that found none?
    async fn try_full_unit(&mut self) -> bool {
        self.error = None;
        let unit_bytes = self.full_unit_bytes;
        if self.segment.is_none() && self.begin_segment().await.is_err() {
            return false;
        }
        // Zeros in the place of the unit: they are padding to a reader, and the unit will overwrite them.
        self.unit.clear();
        self.unit.pad_to(unit_bytes);
        self.write_unit().await.is_ok()
    }

    /// Gives up the segments whose records are all older than `lsn`; some are kept to be written again. What fails here is no failure of
    /// the log: a segment that could not be given up, or whose name comes back after a power cut, only takes room until the next time.
    pub async fn release_before(&mut self, lsn: u64) -> Result<(), WalError> {
        let mut released = false;
        while let Some(&(sequence, last_lsn)) = self.closed.front()
            && last_lsn < lsn
        {
            let path = self.options.place.segment_path(sequence);
            let spare = (self.spares.len() < WAL_SPARE_SEGMENTS_MAX).then_some(sequence);
            let done = match spare {
                Some(sequence) => {
                    let target = self.options.place.spare_path(sequence);
                    self.disk.rename(&path, &target).await
                }
                None => self.disk.remove(&path).await,
            };
            if let Err(error) = done {
                return Err(self.named("release", &path, &error));
            }
            if let Some(sequence) = spare {
                self.spares.push(sequence);
            }
            self.closed.pop_front();
            released = true;
        }
        let dir = self.options.place.dir.clone();
        if released && let Err(error) = self.disk.sync_dir(&dir).await {
            return Err(self.named("sync the directory of", &dir, &error));
        }
        Ok(())
    }

    /// Writes records as one unit at the end, in a new segment if they no longer fit.
    async fn write(&mut self, records: &[u8]) -> Result<(), WalError> {
        let alignment = self.disk.alignment();
        let unit_bytes = (records.len() + RECORD_HEADER_BYTES).next_multiple_of(alignment) as u64;
        let full = self.segment.as_ref().is_some_and(|segment| {
            segment.offset > 0 && segment.offset + unit_bytes > self.options.segment_bytes
        });
        if full {
            self.end_segment().await?;
        }
        if self.segment.is_none() {
            self.full_unit_bytes = unit_bytes as usize;
            self.begin_segment().await?;
        }
        let records_in_unit = self.stamp_unit(records);
        self.full_unit_bytes = self.unit.len();
        self.write_unit().await?;
        let segment = self
            .segment
            .as_mut()
            .expect("BUG: a unit was written to a segment");
        segment.offset += self.unit.len() as u64;
        self.next_lsn += records_in_unit;
        self.unsynced
            .extend_from_slice(&self.unit[..self.unit_bytes]);
        Ok(())
    }

    /// Copies records into the unit buffer, a mark first in a new segment, each with its number and bound to its place.
    fn stamp_unit(&mut self, records: &[u8]) -> u64 {
        let segment = self
            .segment
            .as_ref()
            .expect("BUG: stamping needs a segment");
        self.unit.clear();
        if segment.offset == 0 {
            let mut mark = Vec::new();
            encode_mark_record(&mut mark);
            self.unit.extend_from_slice(&mark);
        }
        self.unit.extend_from_slice(records);
        let (sequence, offset) = (segment.sequence, segment.offset);
        self.stamp(sequence, offset, self.next_lsn)
    }

    /// Numbers the records in the unit buffer, binds each to its place, pads. Returns the number of records.
    fn stamp(&mut self, sequence: u32, offset: u64, first_lsn: u64) -> u64 {
        let seal = self.options.place.seal(sequence);
        let (mut at, mut count) = (0, 0);
        while at < self.unit.len() {
            let bytes = encoded_record_bytes(&self.unit[at..])
                .expect("BUG: a commit holds whole encoded records");
            stamp_record(
                &mut self.unit[at..at + bytes],
                Stamp {
                    seal,
                    offset: offset + at as u64,
                    lsn: first_lsn + count,
                    synced_lsn: self.synced_lsn,
                },
            );
            at += bytes;
            count += 1;
        }
        self.unit_bytes = at;
        let padded = at.next_multiple_of(self.disk.alignment());
        self.unit.pad_to(padded);
        count
    }

    async fn write_unit(&mut self) -> Result<(), WalError> {
        let segment = self.segment.as_ref().expect("BUG: writing needs a segment");
        let unit = std::mem::take(&mut self.unit);
        let (written, unit) = self.disk.write(&segment.file, segment.offset, unit).await;
        self.unit = unit;
        written.map_err(|error| self.failed("write", error))
    }

    async fn end_segment(&mut self) -> Result<(), WalError> {
        self.sync().await?;
        if let Some(segment) = self.segment.take() {
            self.closed
                .push_back((segment.sequence, self.written_lsn()));
            self.disk.close(segment.file).await;
        }
        Ok(())
    }

    async fn begin_segment(&mut self) -> Result<(), WalError> {
        let sequence = self.next_sequence;
        let path = self.options.place.segment_path(sequence);
        let opened = match self.spares.pop() {
            Some(spare) => {
                let source = self.options.place.spare_path(spare);
                match self.disk.rename(&source, &path).await {
                    Ok(()) => self.disk.reuse(&path).await,
                    Err(error) => Err(error),
                }
            }
            None => self.disk.create(&path).await,
        };
        let file = opened.map_err(|error| self.failed("open", error))?;
        if let Err(error) = self.disk.sync_dir(&self.options.place.dir).await {
            self.disk.close(file).await;
            return Err(self.failed("sync the directory of", error));
        }
        self.segment = Some(Segment {
            file,
            sequence,
            offset: 0,
        });
        self.next_sequence += 1;
        Ok(())
    }

    fn named(&self, operation: &'static str, path: &Path, error: &io::Error) -> WalError {
        WalError::Failed {
            operation,
            path: path.display().to_string(),
            cause: error.to_string(),
        }
    }

    /// Remembers why the log cannot go on.
    fn failed(&mut self, operation: &'static str, error: io::Error) -> WalError {
        let sequence = self
            .segment
            .as_ref()
            .map_or(self.next_sequence, |s| s.sequence);
        let path = self
            .options
            .place
            .segment_path(sequence)
            .display()
            .to_string();
        // A sync that finds no room has lost pages: only a write or a new file can be tried again.
        let retriable = matches!(operation, "write" | "open");
        let error = match retriable && is_full(&error) {
            true => WalError::Full { path },
            false => WalError::Failed {
                operation,
                path,
                cause: error.to_string(),
            },
        };
        self.error = Some(error.clone());
        error
    }
}
