//! Replay: from the segments of a log to the series and samples that were appended, and to the place where the log goes on.
//!
//! Promise: what comes back is a subset of what was appended, and without damage a prefix of it that holds everything acknowledged.
//! A record that is missing before a point that was known to be durable is damage: it is counted, logged, and what follows is kept.
//! A record that is missing after that point was never durable (the power failed): what follows it is cut off, so that there is no hole.
//!
//! All series definitions are read before any sample, because a definition that was lost is found again in its echo.
//! Not here: finding records in bytes (`wal::reader`), the head.

use super::format::{
    DecodedSamples, PayloadError, RecordKind, Stamp, decode_samples, decode_series,
    encode_mark_record, stamp_record,
};
use super::histograms::{LoggedHistogram, decode_histograms};
use super::reader::{FoundRecord, ScanError, scan};
use super::segment::{SegmentFile, WalPlace, parse_name};
use super::writer::LogPosition;
use crate::io::{Access, Disk, DiskFile, Window};
use crate::model::{SeriesRef, TimestampMs};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who takes what a log gives back. The kinds that a target does not take fail the replay: nothing that was logged is dropped in silence.
pub trait ReplayTarget {
    /// One series definition; it may come more than once.
    fn series(&mut self, series: SeriesRef, labels: &[u8]);
    /// The samples of one record.
    fn samples(&mut self, refs: &[SeriesRef], timestamps: &[TimestampMs], values: &[f64]);
    /// The native histogram samples of one record.
    fn histograms(&mut self, samples: &[LoggedHistogram]);

    /// The samples of one record that came out of order.
    fn out_of_order_samples(
        &mut self,
        _refs: &[SeriesRef],
        _timestamps: &[TimestampMs],
        _values: &[f64],
    ) -> Result<(), PayloadError> {
        let kind = RecordKind::OutOfOrderSamples;
        Err(PayloadError::NotTaken { kind })
    }

    /// The native histogram samples of one record that came out of order.
    fn out_of_order_histograms(
        &mut self,
        _samples: &[LoggedHistogram],
    ) -> Result<(), PayloadError> {
        let kind = RecordKind::OutOfOrderHistograms;
        Err(PayloadError::NotTaken { kind })
    }

    /// The payload of a record of any other kind that holds data: tombstones, exemplars, start timestamps.
    fn other(&mut self, kind: RecordKind, _payload: &[u8]) -> Result<(), PayloadError> {
        Err(PayloadError::NotTaken { kind })
    }
}

/// How far a replay is, for others to look at while it runs.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    /// Bytes to read, each segment twice.
    pub bytes_total: AtomicU64,
    /// Bytes read so far.
    pub bytes_done: AtomicU64,
    /// Records lost to damage.
    pub records_lost: AtomicU64,
    /// Segments without a usable record that were set aside.
    pub segments_set_aside: AtomicU64,
    /// Number of the first segment; 0 until the segments are known, and without any.
    pub segment_min: AtomicU64,
    /// Number of the last segment.
    pub segment_max: AtomicU64,
    /// Number of the segment that is being read for the last time.
    pub segment_current: AtomicU64,
    /// Checkpoints that were damaged and not used.
    pub checkpoints_damaged: AtomicU64,
    /// Series that are lost with sections of a damaged checkpoint.
    pub checkpoint_series_lost: AtomicU64,
    /// Pages of sealed chunks that are damaged, wholly or in part.
    pub pages_damaged: AtomicU64,
    /// Samples whose series' definition is lost.
    pub samples_unknown: AtomicU64,
}

/// Records that are gone although they had been durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Segment of the first sound record behind the damage.
    pub sequence: u32,
    /// Offset of that record: the damage lies before it.
    pub offset: u64,
    /// First number that is missing.
    pub lsn_first: u64,
    /// Last number that is missing.
    pub lsn_last: u64,
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Where the log goes on.
    pub position: LogPosition,
    /// Samples given to the target.
    pub samples: u64,
    /// Bytes of the records that were read.
    pub bytes: u64,
    /// Records lost to damage.
    pub records_lost: u64,
    /// Sound records that were cut off behind a hole in what had not become durable.
    pub records_cut: u64,
    /// Bytes that the disk would not give.
    pub unreadable_bytes: u64,
    /// Where damage was.
    pub damage: Vec<Damage>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The disk refuses.
    #[error("replay {path}: {cause}")]
    Io {
        /// File or directory.
        path: String,
        /// The system's error.
        cause: io::Error,
    },
    /// Written by a later version of this program.
    #[error("replay {path}: record format version {got} is newer than this program knows")]
    NewerVersion {
        /// The segment.
        path: String,
        /// The version found.
        got: u8,
    },
    /// A record with a right checksum and a kind that no version known here has.
    #[error("replay {path} at offset {offset}: record kind {got} is unknown")]
    UnknownKind {
        /// The segment.
        path: String,
        /// Where the record begins.
        offset: u64,
        /// The kind found.
        got: u8,
    },
    /// A record with a right checksum that cannot be decoded.
    #[error("replay {path} at offset {offset}: {cause}")]
    Payload {
        /// The segment.
        path: String,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        cause: PayloadError,
    },
}

/// What is read in the order of the log, when all series are known.
const DATA_KINDS: [RecordKind; 7] = [
    RecordKind::Samples,
    RecordKind::Histograms,
    RecordKind::OutOfOrderSamples,
    RecordKind::OutOfOrderHistograms,
    RecordKind::Tombstones,
    RecordKind::Exemplars,
    RecordKind::Starts,
];

/// Takes the payloads of records apart; keeps its columns for the next.
#[derive(Default)]
pub(crate) struct RecordDecoder {
    columns: DecodedSamples,
    histograms: Vec<LoggedHistogram>,
    /// Samples decoded so far.
    samples: u64,
}

impl RecordDecoder {
    /// Gives what a record of any kind but series and marks says to `target`.
    pub(crate) fn visit(
        &mut self,
        kind: RecordKind,
        payload: &[u8],
        target: &mut dyn ReplayTarget,
    ) -> Result<(), PayloadError> {
        match kind {
            RecordKind::Samples | RecordKind::OutOfOrderSamples => {
                decode_samples(payload, &mut self.columns)?;
                self.samples += self.columns.refs.len() as u64;
                let DecodedSamples {
                    refs,
                    timestamps,
                    values,
                } = &self.columns;
                if kind == RecordKind::Samples {
                    target.samples(refs, timestamps, values);
                    return Ok(());
                }
                target.out_of_order_samples(refs, timestamps, values)
            }
            RecordKind::Histograms | RecordKind::OutOfOrderHistograms => {
                decode_histograms(payload, &mut self.histograms)?;
                self.samples += self.histograms.len() as u64;
                if kind == RecordKind::Histograms {
                    target.histograms(&self.histograms);
                    return Ok(());
                }
                target.out_of_order_histograms(&self.histograms)
            }
            RecordKind::Tombstones | RecordKind::Exemplars | RecordKind::Starts => {
                target.other(kind, payload)
            }
            RecordKind::Series | RecordKind::Mark => Ok(()),
        }
    }
}

/// One segment and its sound records.
struct Segment {
    sequence: u32,
    bytes: u64,
    records: Vec<FoundRecord>,
    /// Records at its end are not among them, because a later segment counts in their place.
    superseded: bool,
}

/// One pass over a log's directory.
struct Replay<'a> {
    disk: &'a dyn Disk,
    place: &'a WalPlace,
    progress: &'a ReplayProgress,
    /// Records up to this number are known from elsewhere: they are not read, and may be gone.
    covered: u64,
    replayed: Replayed,
}

/// Reads the log at `place` into `target`, repairs its tail, and says where it goes on.
pub fn replay(
    disk: &dyn Disk,
    place: &WalPlace,
    target: &mut dyn ReplayTarget,
    progress: &ReplayProgress,
) -> Result<Replayed, ReplayError> {
    replay_behind(disk, place, 0, target, progress)
}

/// As [`replay`], for a target that already has what the records up to number `covered` say. They are passed over, and the log need not
/// have them any more; from number `covered + 1` on every missing record is judged.
pub fn replay_behind(
    disk: &dyn Disk,
    place: &WalPlace,
    covered: u64,
    target: &mut dyn ReplayTarget,
    progress: &ReplayProgress,
) -> Result<Replayed, ReplayError> {
    let position = LogPosition {
        next_sequence: 1,
        next_lsn: 1,
        spares: Vec::new(),
        closed: Vec::new(),
    };
    let replayed = Replayed {
        position,
        samples: 0,
        bytes: 0,
        records_lost: 0,
        records_cut: 0,
        unreadable_bytes: 0,
        damage: Vec::new(),
    };
    let mut replay = Replay {
        disk,
        place,
        progress,
        covered,
        replayed,
    };
    let mut segments = replay.find()?;
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        let set = |number: &AtomicU64, sequence: u32| {
            number.store(u64::from(sequence), Ordering::Relaxed);
        };
        set(&progress.segment_min, first.sequence);
        set(&progress.segment_current, first.sequence);
        set(&progress.segment_max, last.sequence);
    }
    let synced_lsn = replay.cut_at_hole(&mut segments);
    let evidence = replay.keep_evidence(&segments, synced_lsn)?;
    replay.repair_tail(&segments, synced_lsn)?;
    replay.replayed.position.closed.extend(evidence);
    for segment in &segments {
        replay.read_series(segment, target)?;
    }
    for segment in &segments {
        let sequence = u64::from(segment.sequence);
        progress.segment_current.store(sequence, Ordering::Relaxed);
        replay.read_samples(segment, target)?;
    }
    Ok(replay.replayed)
}

/// Writes the records that are not known to be durable once more, as they are. The process before may have died of a failed sync; the kernel
/// then calls their pages clean although no medium has them, and a sync alone would change nothing.
fn write_again(file: &dyn DiskFile, records: &[FoundRecord], synced_lsn: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    for record in records.iter().filter(|r| r.header.lsn > synced_lsn) {
        bytes.resize(record.header.record_bytes(), 0);
        // A page that the disk gave a moment ago and does not give now is not to be replaced by guesses.
        if file
            .read_at(record.offset, &mut bytes)
            .is_ok_and(|read| read == bytes.len())
        {
            file.write_at(record.offset, &bytes)?;
        }
    }
    Ok(())
}

impl Replay<'_> {
    fn io_error(&self, sequence: u32) -> impl Fn(io::Error) -> ReplayError + use<> {
        let path = self.place.segment_path(sequence).display().to_string();
        move |cause| ReplayError::Io {
            path: path.clone(),
            cause,
        }
    }

    fn dir_error(&self) -> impl Fn(io::Error) -> ReplayError + use<> {
        let path = self.place.dir.display().to_string();
        move |cause| ReplayError::Io {
            path: path.clone(),
            cause,
        }
    }

    /// Lists the segments and finds their sound records, each number once.
    fn find(&mut self) -> Result<Vec<Segment>, ReplayError> {
        let mut sequences = Vec::new();
        for name in self.disk.list(&self.place.dir).map_err(self.dir_error())? {
            match parse_name(&name) {
                Some(SegmentFile::Log(sequence)) => sequences.push(sequence),
                Some(SegmentFile::Spare(sequence)) => {
                    self.replayed.position.spares.push(sequence);
                }
                Some(SegmentFile::Unfinished(sequence)) => {
                    let path = self.place.unfinished_path(sequence);
                    self.disk.remove(&path).map_err(self.dir_error())?;
                }
                None => {}
            }
        }
        sequences.sort_unstable();
        let (disk, place) = (self.disk, self.place);
        let open = |sequence: u32| {
            let path = place.segment_path(sequence);
            let opened = disk.open(&path, Access::Buffered);
            opened.map_err(|cause| ReplayError::Io {
                path: path.display().to_string(),
                cause,
            })
        };
        for &sequence in &sequences {
            let bytes = open(sequence)?.size().map_err(self.io_error(sequence))?;
            let total = &self.progress.bytes_total;
            total.fetch_add(2 * bytes, Ordering::Relaxed);
        }
        let mut segments: Vec<Segment> = Vec::new();
        for sequence in sequences {
            let file = open(sequence)?;
            let mut window = Window::new(&*file).map_err(self.io_error(sequence))?;
            let mut records = Vec::new();
            let mut last_lsn = 0;
            let seal = self.place.seal(sequence);
            let scanned = scan(&mut window, seal, self.covered, &mut |record| {
                // A number that was seen already is a copy.
                if record.header.lsn > last_lsn {
                    last_lsn = record.header.lsn;
                    records.push(record);
                }
            });
            scanned.map_err(|error| match error {
                ScanError::Read(cause) => self.io_error(sequence)(cause),
                ScanError::NewerVersion(got) => ReplayError::NewerVersion {
                    path: self.place.segment_path(sequence).display().to_string(),
                    got,
                },
                ScanError::UnknownKind { offset, got } => ReplayError::UnknownKind {
                    path: self.place.segment_path(sequence).display().to_string(),
                    offset,
                    got,
                },
            })?;
            let bytes = window.file_bytes();
            self.replayed.unreadable_bytes += window.unreadable_bytes;
            self.progress.bytes_done.fetch_add(bytes, Ordering::Relaxed);
            segments.push(Segment {
                sequence,
                bytes,
                records,
                superseded: false,
            });
        }
        // After a failed sync the log was written anew from its last durable record on: a later segment counts in place of all that
        // earlier ones have from its first number on.
        let mut taken_over_from = u64::MAX;
        for segment in segments.iter_mut().rev() {
            let first = segment.records.first().map(|record| record.header.lsn);
            let found = segment.records.len();
            segment
                .records
                .retain(|record| record.header.lsn < taken_over_from);
            segment.superseded = segment.records.len() < found;
            taken_over_from = taken_over_from.min(first.unwrap_or(u64::MAX));
        }
        Ok(segments)
    }

    /// Drops what lies behind the first gap that no later record calls durable; notes the gaps before. Returns how far the log says
    /// that it is durable.
    fn cut_at_hole(&mut self, segments: &mut [Segment]) -> u64 {
        let records = segments.iter().flat_map(|segment| &segment.records);
        let synced_lsn = records
            .map(|record| record.header.synced_lsn)
            .max()
            .unwrap_or(0);
        let mut expected = self.covered + 1;
        let mut cut = false;
        for segment in segments {
            let sequence = segment.sequence;
            let damage = &mut self.replayed.damage;
            let cut_count = &mut self.replayed.records_cut;
            segment.records.retain(|record| {
                let lsn = record.header.lsn;
                if lsn <= self.covered {
                    return true;
                }
                let gap = (expected < lsn).then_some(expected);
                cut |= gap.is_some() && lsn - 1 > synced_lsn;
                if cut {
                    *cut_count += 1;
                    return false;
                }
                if let Some(lsn_first) = gap {
                    let lsn_last = lsn - 1;
                    damage.push(Damage {
                        sequence,
                        offset: record.offset,
                        lsn_first,
                        lsn_last,
                    });
                }
                expected = lsn + 1;
                self.replayed.bytes += record.header.record_bytes() as u64;
                true
            });
        }
        for damage in &self.replayed.damage {
            let lost = damage.lsn_last - damage.lsn_first + 1;
            self.replayed.records_lost += lost;
            self.progress
                .records_lost
                .fetch_add(lost, Ordering::Relaxed);
            let path = self.place.segment_path(damage.sequence);
            tracing::error!(
                path = %path.display(), before_offset = damage.offset, records = lost,
                "damaged log records are lost; everything after them is kept"
            );
        }
        if self.replayed.records_cut > 0 {
            tracing::warn!(
                dir = %self.place.dir.display(), records = self.replayed.records_cut,
                "log records behind the end of what had become durable are cut off"
            );
        }
        let position = &mut self.replayed.position;
        position.next_lsn = expected;
        synced_lsn
    }

    /// What is lost before the records that are kept may be known to be damage only by records that are cut off now. The next start would
    /// take it for the loss of power and cut off all behind it. So a mark that says the same comes first, in a segment of its own; it counts
    /// in place of what is cut off.
    ///
    /// Returns the segment's number and that of its record.
    fn keep_evidence(
        &mut self,
        segments: &[Segment],
        synced_lsn: u64,
    ) -> Result<Option<(u32, u64)>, ReplayError> {
        let last_damage = self.replayed.damage.last();
        let records = segments.iter().flat_map(|segment| &segment.records);
        let kept = records.map(|record| record.header.synced_lsn).max();
        if self.replayed.records_cut == 0
            || last_damage.is_none_or(|damage| Some(damage.lsn_last) <= kept)
        {
            return Ok(None);
        }
        let last = segments.iter().map(|segment| segment.sequence).max();
        let sequence = last.unwrap_or(0).saturating_add(1);
        let lsn = self.replayed.position.next_lsn;
        let mut mark = Vec::new();
        encode_mark_record(&mut mark);
        stamp_record(
            &mut mark,
            Stamp {
                seal: self.place.seal(sequence),
                offset: 0,
                lsn,
                synced_lsn: synced_lsn.min(lsn - 1),
            },
        );
        let (path, unfinished) = (
            self.place.segment_path(sequence),
            self.place.unfinished_path(sequence),
        );
        let written = || {
            let file = self.disk.create(&unfinished, Access::Buffered)?;
            file.write_at(0, &mark)?;
            file.sync()?;
            self.disk.rename(&unfinished, &path)?;
            self.disk.sync_dir(&self.place.dir)
        };
        written().map_err(self.io_error(sequence))?;
        let position = &mut self.replayed.position;
        position.next_lsn = lsn + 1;
        position.next_sequence = sequence.saturating_add(1);
        Ok(Some((sequence, lsn)))
    }

    /// Makes durable what is kept, and makes unreadable for ever what is not: otherwise bytes that could not be read today might come back
    /// tomorrow beside newer records with the same numbers.
    fn repair_tail(&mut self, segments: &[Segment], synced_lsn: u64) -> Result<(), ReplayError> {
        let last_kept = segments
            .iter()
            .rposition(|segment| !segment.records.is_empty());
        let mut changed = false;
        if segments.iter().any(|segment| segment.superseded) {
            // The name of what counts in their place first.
            self.disk
                .sync_dir(&self.place.dir)
                .map_err(self.dir_error())?;
        }
        for (index, segment) in segments.iter().enumerate() {
            let sequence = segment.sequence;
            let path = self.place.segment_path(sequence);
            let position = &mut self.replayed.position;
            position.next_sequence = position.next_sequence.max(sequence.saturating_add(1));
            let last = segment.records.last();
            if last_kept.is_none_or(|last_kept| index > last_kept) {
                self.set_aside(segment)?;
                self.progress
                    .bytes_done
                    .fetch_add(segment.bytes, Ordering::Relaxed);
                changed = true;
                continue;
            }
            let last_lsn = last.map_or(0, |record| record.header.lsn);
            position.closed.push((sequence, last_lsn));
            let error = self.io_error(sequence);
            let end = last.map_or(0, FoundRecord::end);
            // Should the later segment be damaged one day, what it counted in place of must not come back.
            let cut = (last_kept == Some(index) || segment.superseded) && end < segment.bytes;
            if cut || last_lsn > synced_lsn {
                let file = self.disk.open(&path, Access::Buffered).map_err(&error)?;
                if cut {
                    file.set_size(end).map_err(&error)?;
                }
                write_again(&*file, &segment.records, synced_lsn).map_err(&error)?;
                file.sync().map_err(&error)?;
            }
        }
        // A name may be as young as the bytes behind it.
        let unsynced = self.replayed.position.next_lsn > synced_lsn + 1;
        if changed || unsynced {
            self.disk
                .sync_dir(&self.place.dir)
                .map_err(self.dir_error())?;
        }
        Ok(())
    }

    /// Takes a segment without a record that counts out of the log. Its bytes are kept for a person to look at: a wrong identity in the
    /// manifest makes every record look like that.
    fn set_aside(&self, segment: &Segment) -> Result<(), ReplayError> {
        let path = self.place.segment_path(segment.sequence);
        let done = if segment.bytes == 0 {
            self.disk.remove(&path)
        } else {
            let aside = path.with_extension("cut");
            tracing::warn!(path = %aside.display(), "a log segment without usable records is set aside");
            let counter = &self.progress.segments_set_aside;
            counter.fetch_add(1, Ordering::Relaxed);
            self.disk.rename(&path, &aside)
        };
        done.map_err(self.io_error(segment.sequence))
    }

    /// Calls `visit` with the payload of each record of some kinds, in the order of the log.
    fn visit_payloads(
        &mut self,
        segment: &Segment,
        kinds: &[RecordKind],
        mut visit: impl FnMut(RecordKind, &[u8]) -> Result<(), PayloadError>,
    ) -> Result<(), ReplayError> {
        let mut records = segment
            .records
            .iter()
            .filter(|r| r.header.lsn > self.covered && kinds.contains(&r.header.kind))
            .peekable();
        if records.peek().is_none() {
            return Ok(());
        }
        let error = self.io_error(segment.sequence);
        let path = self.place.segment_path(segment.sequence);
        let file = self.disk.open(&path, Access::Buffered).map_err(&error)?;
        let mut window = Window::new(&*file).map_err(&error)?;
        for record in records {
            match record.payload(&mut window).map_err(&error)? {
                Some(payload) => {
                    visit(record.header.kind, payload).map_err(|cause| ReplayError::Payload {
                        path: path.display().to_string(),
                        offset: record.offset,
                        cause,
                    })?;
                }
                // It was sound a moment ago: the disk reads one thing now and another then.
                None => self.replayed.records_lost += 1,
            }
        }
        Ok(())
    }

    fn read_series(
        &mut self,
        segment: &Segment,
        target: &mut dyn ReplayTarget,
    ) -> Result<(), ReplayError> {
        self.visit_payloads(segment, &[RecordKind::Series], |_, payload| {
            decode_series(payload, &mut |series, labels| target.series(series, labels))
        })
    }

    fn read_samples(
        &mut self,
        segment: &Segment,
        target: &mut dyn ReplayTarget,
    ) -> Result<(), ReplayError> {
        let mut decoder = RecordDecoder::default();
        self.visit_payloads(segment, &DATA_KINDS, |kind, payload| {
            decoder.visit(kind, payload, target)
        })?;
        self.replayed.samples += decoder.samples;
        self.progress
            .bytes_done
            .fetch_add(segment.bytes, Ordering::Relaxed);
        Ok(())
    }
}
