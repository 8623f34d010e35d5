//! A block, opened: mapped, its index sections checked, its pages checked when first touched.
//!
//! Promise: no method panics, whatever the file holds; samples that come out are the ones that went in, and what cannot be read is named in the
//! notes. Reading a page touches that page and its time column, nothing else. Not here: several blocks, tombstones.

use super::bytes::{Bad, Cursor, Decoded};
use super::directory::{Directory, PageEntry};
use super::extents::Extents;
use super::footer::Footer;
use super::format::{
    self, FOOTER_PLACE, FrameError, Section, Tail, checksum, checksum_seed, section_place,
};
use super::numbers::{ALIAS, CONSTANT, HISTOGRAMS};
use super::packed::Table;
use super::postings::Postings;
use super::scratch::{Scratch, with_scratch};
use super::series::{Series, SeriesLabels};
use super::starts::Starts;
use super::statistics::{EntryKind, PageStats, Statistics};
use super::symbols::Symbols;
use super::times::{SliceTimes, Times};
use super::{BlockMeta, histograms};
use crate::io::{Disk, FileBytes};
use crate::limits::{BLOCK_FRAME_BYTES_MAX, BLOCK_PAGE_SAMPLES_MAX};
use crate::model::{FloatHistogram, Matcher, SampleColumns, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};
use roaring::RoaringBitmap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a block cannot be opened or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The disk refused.
    #[error("block file {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("block file {path} is damaged: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        what: String,
    },
    /// The file was written by a later version of this program.
    #[error(
        "block file {path} has format version {version}, this program reads up to {BLOCK_FORMAT_VERSION}: it was written by a newer \
         version of ferula", path = path.display(), BLOCK_FORMAT_VERSION = format::BLOCK_FORMAT_VERSION
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// An immutable block of samples with its index.
pub struct Block {
    pub(super) file: FileBytes,
    path: PathBuf,
    /// Tells this opened block from all others of the process.
    key: u64,
    pub(super) meta: BlockMeta,
    extents: Extents,
    /// Starts of frames, raw and packed; without entries where pages are not framed.
    frames: [Table; 2],
    times: Times,
    constants: Table,
    pub(super) directory: Directory,
    statistics: Statistics,
    pub(super) symbols: Symbols,
    pub(super) series: Series,
    pub(super) postings: Postings,
    starts: Starts,
    with_histograms: RoaringBitmap,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

impl Block {
    /// Maps the file at `path`. Checks header, footer, section table and the checksums of the index sections; extents of pages are checked
    /// when first touched.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Block, BlockError> {
        let file = disk.map(path).map_err(|source| BlockError::Io {
            path: path.to_owned(),
            source,
        })?;
        Block::from_bytes(file, path)
    }

    pub(super) fn from_bytes(file: FileBytes, path: &Path) -> Result<Block, BlockError> {
        let damaged = |what: String| BlockError::Damaged {
            path: path.to_owned(),
            what,
        };
        let frame_error = |error| match error {
            FrameError::Damaged(what) => damaged(what.to_owned()),
            FrameError::Newer(version) => BlockError::NewerVersion {
                path: path.to_owned(),
                version,
            },
        };
        let id = format::read_header(&file).map_err(frame_error)?;
        let tail = Tail::read(&file).map_err(frame_error)?;
        if tail.id != id {
            return Err(damaged(
                "header and tail are of different blocks".to_owned(),
            ));
        }
        let seed = checksum_seed(id);
        let footer = part(&file, tail.footer_offset, tail.footer_bytes)
            .map(|range| &file[range])
            .filter(|bytes| checksum(seed, FOOTER_PLACE, bytes) == tail.footer_checksum)
            .ok_or_else(|| damaged("checksum of the footer".to_owned()))?;
        let mut footer = Footer::from_bytes(footer, id).map_err(|what| damaged(what.to_owned()))?;
        footer.meta.bytes = file.len() as u64;
        let sections = Sections::check(&file, seed, &footer).map_err(damaged)?;
        Block::from_sections(file, path, seed, footer.meta, &sections)
    }

    fn from_sections(
        file: FileBytes,
        path: &Path,
        seed: u64,
        meta: BlockMeta,
        sections: &Sections,
    ) -> Result<Block, BlockError> {
        let bytes: &[u8] = &file;
        let (series, min_time) = (meta.series, meta.min_time);
        let place = |section: Section| sections.places[section as usize].clone();
        // Each section is opened by its own reader; an error carries the section's name.
        fn open<T>(
            path: &Path,
            bytes: &[u8],
            sections: &Sections,
            section: Section,
            read: impl FnOnce(usize, &mut Cursor<'_>) -> Decoded<T>,
        ) -> Result<T, BlockError> {
            let range = sections.places[section as usize].clone();
            read(range.start, &mut Cursor::new(&bytes[range])).map_err(|bad| BlockError::Damaged {
                path: path.to_owned(),
                what: format!("section {}: {bad}", section.name()),
            })
        }
        macro_rules! open {
            ($section:ident, $read:expr) => {
                open(path, bytes, sections, Section::$section, $read)?
            };
        }
        Ok(Block {
            extents: open!(Extents, |_, _| Extents::open(
                seed,
                place(Section::Pages),
                place(Section::Extents)
            )),
            frames: open!(Frames, |base, c| {
                let frames = [Table::open(base, c)?, Table::open(base, c)?];
                if frames[0].len() != frames[1].len() {
                    return Err(Bad("tables do not fit together"));
                }
                Ok(frames)
            }),
            times: open!(Times, |base, c| Times::open(base, c, min_time)),
            constants: open!(Constants, Table::open),
            directory: open!(Directory, |base, c| Directory::open(base, c, series)),
            statistics: open!(Statistics, Statistics::open),
            symbols: open!(Symbols, Symbols::open),
            series: open!(Series, |base, c| Series::open(base, c, series)),
            postings: open!(Postings, |base, c| Postings::open(base, c, series)),
            starts: open!(Starts, |base, c| Starts::open(base, c, series, min_time)),
            with_histograms: open!(Histograms, |_, c| {
                RoaringBitmap::deserialize_from(c.rest()).map_err(|_| Bad("list of series"))
            }),
            path: path.to_owned(),
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            meta,
            file,
        })
    }

    /// What is known of the block without its index.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// The file that it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn damaged(&self, bad: Bad) -> BlockError {
        BlockError::Damaged {
            path: self.path.clone(),
            what: bad.to_string(),
        }
    }

    /// Ordinals of the series whose labels pass all matchers; ascending ordinals are in [`super::block_order`].
    pub fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, BlockError> {
        self.selected(matchers).map_err(|bad| self.damaged(bad))
    }

    /// Appends the canonical label bytes of a series.
    pub fn put_canonical(&self, ordinal: u32, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let start = out.len();
        self.labels_into(ordinal, out).map_err(|bad| {
            out.truncate(start);
            self.damaged(bad)
        })
    }

    fn labels_into(&self, ordinal: u32, out: &mut Vec<u8>) -> Decoded<()> {
        let mut labels = SeriesLabels::default();
        self.series.labels(&self.file, ordinal, &mut labels)?;
        let names = self.series.names(labels.schema)?;
        let mut symbols = self.symbols.reader(&self.file);
        for (&name, &value) in names.iter().zip(&labels.values) {
            super::bytes::put_text(out, symbols.get(name)?);
            super::bytes::put_text(out, symbols.get(value)?);
        }
        Ok(())
    }

    /// Symbol of the value that a series has for a name.
    pub(super) fn value_symbol(&self, ordinal: u32, name: u32) -> Decoded<Option<u32>> {
        let mut labels = SeriesLabels::default();
        self.series.labels(&self.file, ordinal, &mut labels)?;
        let names = self.series.names(labels.schema)?;
        let position = names.iter().position(|n| *n == name);
        Ok(position.and_then(|i| labels.values.get(i).copied()))
    }

    /// The value of one label of a series, if it has it.
    pub fn label_value(&self, ordinal: u32, name: &str) -> Result<Option<String>, BlockError> {
        let value = || -> Decoded<Option<String>> {
            let Some(name) = self.symbols.find(&self.file, name)? else {
                return Ok(None);
            };
            match self.value_symbol(ordinal, name)? {
                Some(value) => Ok(Some(self.symbols.reader(&self.file).get(value)?.to_owned())),
                None => Ok(None),
            }
        };
        value().map_err(|bad| self.damaged(bad))
    }

    /// Names of all labels, ascending.
    pub fn label_names(&self) -> Result<Vec<String>, BlockError> {
        Ok(self.label_counts()?.into_iter().map(|c| c.name).collect())
    }

    /// All values of a label, ascending.
    pub fn label_values(&self, name: &str) -> Result<Vec<String>, BlockError> {
        Ok(self
            .value_counts(name)?
            .into_iter()
            .map(|(value, _)| value)
            .collect())
    }

    /// Of each label name how many values and series it has, ascending by name. No list is decoded.
    pub fn label_counts(&self) -> Result<Vec<LabelCount>, BlockError> {
        let counts = || -> Decoded<Vec<LabelCount>> {
            let mut symbols = self.symbols.reader(&self.file);
            (0..self.postings.name_count())
                .map(|index| {
                    let name = self.postings.name(&self.file, index)?;
                    Ok(LabelCount {
                        name: symbols.get(name.symbol)?.to_owned(),
                        values: name.values,
                        series: name.series,
                    })
                })
                .collect()
        };
        counts().map_err(|bad| self.damaged(bad))
    }

    /// Of each value of a label how many series have it, ascending by value. No list is decoded.
    pub fn value_counts(&self, name: &str) -> Result<Vec<(String, u32)>, BlockError> {
        let counts = || -> Decoded<Vec<(String, u32)>> {
            let mut counts = Vec::new();
            let Some(name) = self.name(name)? else {
                return Ok(counts);
            };
            let mut symbols = self.symbols.reader(&self.file);
            self.postings
                .each_value(&self.file, &name, 0..u32::MAX, |value, list| {
                    counts.push((symbols.get(value)?.to_owned(), list.count));
                    Ok(())
                })?;
            Ok(counts)
        };
        counts().map_err(|bad| self.damaged(bad))
    }

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

    /// Appends the float samples in `range`; a damaged page is left out and said in `notes`.
    pub fn read(
        &self,
        ordinal: u32,
        range: TimeRange,
        out: &mut SampleColumns,
        notes: &mut ReadNotes,
    ) {
        self.each_page(
            ordinal,
            range,
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
            range,
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

    /// Calls `f` for each page of samples that overlaps `range`, and notes what it could not read.
    fn each_page(
        &self,
        ordinal: u32,
        range: TimeRange,
        notes: &mut ReadNotes,
        mut f: impl FnMut(&mut Scratch, u32, PageEntry, SliceTimes, &mut ReadNotes) -> Decoded<()>,
    ) {
        let pages = match self.directory.pages_of(&self.file, ordinal) {
            Ok(pages) => pages,
            Err(bad) => return notes.note_damage(format!("block {}: {bad}", self.meta.id)),
        };
        with_scratch(|scratch| {
            for number in pages {
                let mut read = || -> Decoded<()> {
                    let page = self.directory.page(&self.file, number)?;
                    if page.is_times() {
                        return Ok(());
                    }
                    let times = self.times.slice(&self.file, page.slice)?;
                    if times.first > range.max || times.last < range.min {
                        notes.pages_skipped += 1;
                        return Ok(());
                    }
                    f(scratch, number, page, times, notes)
                };
                if let Err(bad) = read() {
                    notes.note_damage(format!(
                        "block {}: page {number} is damaged ({bad}), its samples are missing",
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
            columns,
            frames,
            ..
        } = scratch;
        let (column, _) = columns.get((self.key, slice.column), |column| {
            let place = self.times.column(&self.file, slice.column)?;
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
        kept: &mut super::scratch::Kept<u8>,
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
        let (content, _) = kept.get((self.key, frame), |content| {
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

    /// What is known of each page of a series: its float pages in order of time, then its histogram pages. Nothing is decoded.
    pub fn page_stats(&self, ordinal: u32) -> impl Iterator<Item = PageStats> + '_ {
        let pages = self.directory.pages_of(&self.file, ordinal);
        // Checksums have been held against the sections, so an error here is a fault of the writer. Nothing is claimed then.
        let broken = pages.is_err().then(PageStats::unknown);
        pages
            .unwrap_or(0..0)
            .filter_map(|number| {
                self.stats_of(number)
                    .unwrap_or_else(|_| Some(PageStats::unknown()))
            })
            .chain(broken)
    }

    fn stats_of(&self, number: u32) -> Decoded<Option<PageStats>> {
        let page = self.directory.page(&self.file, number)?;
        if page.is_times() {
            return Ok(None);
        }
        let times = self.times.slice(&self.file, page.slice)?;
        let (named, target) = self.directory.resolve(&self.file, number)?;
        let mut stats = if target.code() == CONSTANT {
            constant_stats(
                f64::from_bits(self.constants.get(&self.file, target.number)?),
                times.slice.count,
            )
        } else {
            self.statistics.entry(&self.file, named, |page| {
                let page = self.directory.page(&self.file, page)?;
                Ok(match page.code() {
                    _ if page.is_times() => EntryKind::Nothing,
                    CONSTANT | ALIAS => EntryKind::Nothing,
                    HISTOGRAMS => EntryKind::Histograms,
                    _ => EntryKind::Floats(page.exponent()),
                })
            })?
        };
        stats.first_time = times.first;
        stats.last_time = times.last;
        stats.count = times.slice.count;
        Ok(Some(stats))
    }

    /// Reads and checks everything: each extent, each page, each list.
    pub fn verify(&self) -> Result<(), BlockError> {
        for number in 0..self.extents.count() {
            self.extents
                .check(&self.file, number)
                .map_err(|bad| BlockError::Damaged {
                    path: self.path.clone(),
                    what: format!("extent {number} of the pages: {bad}"),
                })?;
        }
        let everything = TimeRange {
            min: TimestampMs::MIN,
            max: TimestampMs::MAX,
        };
        let (mut floats, mut histogram_count) = (0, 0);
        let mut columns = SampleColumns::default();
        let mut native = Vec::new();
        let mut bytes = Vec::new();
        for ordinal in 0..self.meta.series {
            columns.clear();
            native.clear();
            let before = std::mem::take(&mut bytes);
            self.put_canonical(ordinal, &mut bytes)?;
            let mut notes = ReadNotes::default();
            self.read(ordinal, everything, &mut columns, &mut notes);
            self.read_histograms(ordinal, everything, &mut native, &mut notes);
            floats += columns.len() as u64;
            histogram_count += native.len() as u64;
            let ascends = columns.timestamps.windows(2).all(|w| w[0] < w[1])
                && native.windows(2).all(|w| w[0].0 < w[1].0);
            let ordered = ordinal == 0 || super::block_order(&before, &bytes).is_lt();
            let sound = crate::index::is_series(&bytes);
            let fault = match notes.damage.into_iter().next() {
                Some(text) => Some(text),
                None if !ascends => Some("timestamps do not ascend".to_owned()),
                None if !ordered || !sound => Some("labels are out of order".to_owned()),
                None => None,
            };
            if let Some(fault) = fault {
                return Err(BlockError::Damaged {
                    path: self.path.clone(),
                    what: format!("series {ordinal}: {fault}"),
                });
            }
        }
        if (floats, histogram_count) != (self.meta.float_samples, self.meta.histogram_samples) {
            return Err(self.damaged(Bad("number of samples")));
        }
        self.verify_postings().map_err(|bad| self.damaged(bad))
    }

    fn verify_postings(&self) -> Decoded<()> {
        let mut labels = 0_u64;
        for index in 0..self.postings.name_count() {
            let name = self.postings.name(&self.file, index)?;
            self.postings
                .each_value(&self.file, &name, 0..u32::MAX, |value, list| {
                    for ordinal in list.to_bitmap()? {
                        labels += 1;
                        if self.value_symbol(ordinal, name.symbol)? != Some(value) {
                            return Err(Bad("postings name a series without the label"));
                        }
                    }
                    Ok(())
                })?;
        }
        let mut of_series = SeriesLabels::default();
        let mut expected = 0;
        for ordinal in 0..self.meta.series {
            self.series.labels(&self.file, ordinal, &mut of_series)?;
            expected += of_series.values.len() as u64;
        }
        if labels != expected {
            return Err(Bad("postings miss a label of a series"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// How many values and series a label name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCount {
    /// The label name.
    pub name: String,
    /// Number of distinct values.
    pub values: u32,
    /// Number of series that have the label.
    pub series: u32,
}

fn constant_stats(value: f64, count: u32) -> PageStats {
    let mut stats = PageStats::of_values(&[value]);
    let sum = value * f64::from(count);
    // Whole numbers below 2^53 add up exactly.
    if value.fract() == 0.0 && sum.abs() <= (1_u64 << 53) as f64 {
        stats.sum = Some(sum);
    }
    stats
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

/// `bytes` bytes at `offset` of the file, if they are in it.
fn part(file: &[u8], offset: u64, bytes: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    (end <= file.len()).then_some(start..end)
}

/// Where the sections lie, by number.
struct Sections {
    places: Vec<Range<usize>>,
}

impl Sections {
    /// Checks that every section is there, inside the file, and what its checksum says. Sections that are not known are left alone.
    fn check(file: &[u8], seed: u64, footer: &Footer) -> Result<Sections, String> {
        let mut places = vec![0..0; Section::ALL.len() + 1];
        for section in Section::ALL {
            let kind = section as u32;
            let mut found = footer.sections.iter().filter(|s| s.kind == kind);
            let (Some(place), None) = (found.next(), found.next()) else {
                return Err(format!("section {} is missing", section.name()));
            };
            let range = part(file, place.offset, place.bytes)
                .ok_or_else(|| format!("section {} lies outside the file", section.name()))?;
            let is_pages = section == Section::Pages;
            if !is_pages
                && checksum(seed, section_place(kind), &file[range.clone()]) != place.checksum
            {
                return Err(format!("checksum of section {}", section.name()));
            }
            places[section as usize] = range;
        }
        Ok(Sections { places })
    }
}
