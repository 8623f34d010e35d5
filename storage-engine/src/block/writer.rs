//! Writes a block: pages go to the file as they come, directory and index wait in memory until the end.
//!
//! Promise: after [`BlockWriter::finish`] the file is whole and synced; before, it has no tail and nobody takes it for a block. What waits in
//! memory is about 10 bytes a page and, for each series, its labels as symbols and its places in the postings.
//! Not here: renaming, the directory's sync.

use super::bytes::put_varint;
use super::directory::{DirectoryWriter, PageEntry, TIMES};
use super::footer::Footer;
use super::format::{
    BLOCK_FORMAT_VERSION, FOOTER_PLACE, HEADER_BYTES, PAGE_ROOM_BYTES, SECTION_ALIGNMENT, Section,
    SectionPlace, Tail, checksum, checksum_seed, header, section_place,
};
use super::numbers::{self, ALIAS, CONSTANT, HISTOGRAMS, Profile};
use super::postings::{self, GrowingList};
use super::series::SeriesWriter;
use super::starts::StartsWriter;
use super::statistics::{PageStats, StatisticsWriter};
use super::stream::{PageStream, StreamEnd};
use super::times::TimeWriter;
use super::{BlockId, BlockMeta, block_order, histograms, packed, symbols};
use crate::index::pairs;
use crate::io::{Access, Disk, DiskFile};
use crate::limits::{BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX, BLOCK_PAGE_SAMPLES_MAX};
use crate::model::{FloatHistogram, SeriesSamples, TimestampMs};
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// What a block is to say of itself, and how it is packed.
#[derive(Debug, Clone)]
pub struct BlockOptions {
    /// Its name.
    pub id: BlockId,
    /// The shard whose samples it holds.
    pub shard: u32,
    /// See [`BlockMeta::level`].
    pub level: u8,
    /// See [`BlockMeta::parents`].
    pub parents: Vec<BlockId>,
    /// See [`BlockMeta::sealed_until`].
    pub sealed_until: Option<TimestampMs>,
    /// See [`BlockMeta::out_of_order`].
    pub out_of_order: bool,
    /// How hard to pack.
    pub profile: Profile,
    /// Most samples of a page, 1 to [`BLOCK_PAGE_SAMPLES_MAX`] (others are brought into that range).
    pub page_samples_max: u32,
}

impl Default for BlockOptions {
    fn default() -> Self {
        BlockOptions {
            id: BlockId::default(),
            shard: 0,
            level: 1,
            parents: Vec::new(),
            sealed_until: None,
            out_of_order: false,
            profile: Profile::Sealed,
            page_samples_max: 8192,
        }
    }
}

/// Why a block could not be written. What there is of the file is no block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockWriteError {
    /// The disk refused.
    #[error("block file {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A block that is being written.
pub struct BlockWriter<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    options: BlockOptions,
    seed: u64,
    pages: Pages,
    index: Index,
    series_with_histograms: RoaringBitmap,
    starts: StartsWriter,
    times_of_samples: Option<(TimestampMs, TimestampMs)>,
    float_samples: u64,
    histogram_samples: u64,
    last: Vec<u8>,
    histogram_times: Vec<TimestampMs>,
}

/// Everything about pages.
struct Pages {
    stream: PageStream,
    times: TimeWriter,
    directory: DirectoryWriter,
    statistics: StatisticsWriter,
    constants: HashMap<u64, u32>,
    constant_bits: Vec<u64>,
    /// Pages by the hash of their values. The hash is keyed with the block's random name and is believed: 128 bits.
    seen: HashMap<u128, u32>,
    seed: u64,
    profile: Profile,
    scratch: numbers::Scratch,
    body: Vec<u8>,
    /// Where the next body will start.
    offset: u64,
}

/// Labels as numbers in order of appearance; symbols are numbered when all are known.
#[derive(Default)]
struct Index {
    numbers: HashMap<Box<str>, u32>,
    /// For each series the number of its labels and the numbers of their names and values, as varints.
    series: Vec<u8>,
    lists: HashMap<(u32, u32), GrowingList>,
}

impl Index {
    fn number(&mut self, text: &str) -> u32 {
        match self.numbers.get(text) {
            Some(&number) => number,
            None => {
                let number = self.numbers.len() as u32;
                self.numbers.insert(text.into(), number);
                number
            }
        }
    }

    fn add(&mut self, ordinal: u32, canonical: &[u8]) {
        put_varint(&mut self.series, pairs(canonical).count() as u64);
        for (name, value) in pairs(canonical) {
            let (name, value) = (self.number(name), self.number(value));
            put_varint(&mut self.series, u64::from(name));
            put_varint(&mut self.series, u64::from(value));
            self.lists.entry((name, value)).or_default().add(ordinal);
        }
    }

    /// Sections symbols, series and postings.
    fn put_sections(self, out: &mut [Vec<u8>; 3]) {
        let mut texts: Vec<(&str, u32)> = self.numbers.iter().map(|(t, n)| (&**t, *n)).collect();
        texts.sort_unstable();
        let mut symbol_of = vec![0; texts.len()];
        for (symbol, (_, number)) in texts.iter().enumerate() {
            symbol_of[*number as usize] = symbol as u32;
        }
        let texts: Vec<&str> = texts.into_iter().map(|(text, _)| text).collect();
        symbols::put_section(&texts, &mut out[0]);
        let mut series = SeriesWriter::default();
        let mut cursor = super::bytes::Cursor::new(&self.series);
        let mut next = || match cursor.small() {
            Ok(number) => number,
            Err(bad) => unreachable!("BUG: the writer's own list of series: {bad}"),
        };
        for _ in 0..self.series_count() {
            let labels = next();
            series
                .add((0..labels).map(|_| (symbol_of[next() as usize], symbol_of[next() as usize])));
        }
        series.put_section(&mut out[1]);
        let lists: BTreeMap<(u32, u32), GrowingList> = self
            .lists
            .into_iter()
            .map(|((n, v), list)| ((symbol_of[n as usize], symbol_of[v as usize]), list))
            .collect();
        postings::put_section(lists, &mut out[2]);
    }

    fn series_count(&self) -> usize {
        let mut cursor = super::bytes::Cursor::new(&self.series);
        let mut count = 0;
        while let Ok(labels) = cursor.varint() {
            for _ in 0..labels * 2 {
                let _ = cursor.varint();
            }
            count += 1;
        }
        count
    }
}

impl<'d> BlockWriter<'d> {
    /// Begins a block at `path`, replacing what is there.
    pub fn create(
        disk: &'d dyn Disk,
        path: &Path,
        options: BlockOptions,
    ) -> Result<BlockWriter<'d>, BlockWriteError> {
        let error = |source| BlockWriteError::Io {
            path: path.to_owned(),
            source,
        };
        let file = disk.create(path, Access::Buffered).map_err(error)?;
        file.write_at(0, &header(options.id, BLOCK_FORMAT_VERSION))
            .map_err(error)?;
        let seed = checksum_seed(options.id);
        let profile = options.profile;
        Ok(BlockWriter {
            disk,
            path: path.to_owned(),
            seed,
            pages: Pages {
                stream: PageStream::new(file, HEADER_BYTES as u64, seed, profile),
                times: TimeWriter::new(seed),
                directory: DirectoryWriter::default(),
                statistics: StatisticsWriter::default(),
                constants: HashMap::new(),
                constant_bits: Vec::new(),
                seen: HashMap::new(),
                seed,
                profile,
                scratch: numbers::Scratch::default(),
                body: Vec::new(),
                offset: 0,
            },
            index: Index::default(),
            series_with_histograms: RoaringBitmap::new(),
            starts: StartsWriter::default(),
            times_of_samples: None,
            float_samples: 0,
            histogram_samples: 0,
            last: Vec::new(),
            histogram_times: Vec::new(),
            options,
        })
    }

    /// Adds a series, which must come behind all others in [`block_order`]; one without samples is left out.
    ///
    /// # Panics
    /// When the order is broken, of series or of timestamps, or the labels are not canonical.
    pub fn add(
        &mut self,
        canonical: &[u8],
        samples: &SeriesSamples,
    ) -> Result<(), BlockWriteError> {
        if samples.is_empty() {
            return Ok(());
        }
        let ordinal = self.pages.directory.series();
        assert!(
            ordinal == 0 || block_order(&self.last, canonical).is_lt(),
            "BUG: series reach a block out of order"
        );
        assert!(
            crate::index::is_series(canonical),
            "BUG: labels that are not canonical"
        );
        self.last.clear();
        self.last.extend_from_slice(canonical);
        self.pages.directory.begin_series();
        self.index.add(ordinal, canonical);
        self.starts.add(&samples.starts);
        self.put_pages(ordinal, samples)
            .map_err(|source| BlockWriteError::Io {
                path: self.path.clone(),
                source,
            })
    }

    fn put_pages(&mut self, ordinal: u32, samples: &SeriesSamples) -> io::Result<()> {
        let page_max = self
            .options
            .page_samples_max
            .clamp(1, BLOCK_PAGE_SAMPLES_MAX) as usize;
        let floats = &samples.floats;
        assert_eq!(
            floats.timestamps.len(),
            floats.values.len(),
            "BUG: columns of unequal length"
        );
        self.cover(&floats.timestamps);
        self.float_samples += floats.len() as u64;
        let size = page_size(floats.len(), page_max);
        for (times, values) in floats
            .timestamps
            .chunks(size)
            .zip(floats.values.chunks(size))
        {
            self.pages.put_floats(times, values)?;
        }
        if samples.histograms.is_empty() {
            return Ok(());
        }
        self.series_with_histograms.insert(ordinal);
        self.histogram_samples += samples.histograms.len() as u64;
        let mut times = std::mem::take(&mut self.histogram_times);
        times.clear();
        times.extend(samples.histograms.iter().map(|(t, _)| *t));
        self.cover(&times);
        let mut start = 0;
        let size = page_size(times.len(), page_max);
        let mut parts = 0;
        for (i, (_, histogram)) in samples.histograms.iter().enumerate() {
            let more = histogram.part_count() + 8;
            if i > start && (i - start >= size || parts + more > BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX)
            {
                self.pages
                    .put_histograms(&times[start..i], &samples.histograms[start..i])?;
                (start, parts) = (i, 0);
            }
            parts += more;
        }
        self.pages
            .put_histograms(&times[start..], &samples.histograms[start..])?;
        self.histogram_times = times;
        Ok(())
    }

    /// Takes ascending timestamps into the block's range.
    fn cover(&mut self, timestamps: &[TimestampMs]) {
        assert!(
            timestamps.windows(2).all(|w| w[0] < w[1]),
            "BUG: timestamps of a series do not ascend"
        );
        if let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) {
            let (min, max) = self.times_of_samples.unwrap_or((first, last));
            self.times_of_samples = Some((min.min(first), max.max(last)));
        }
    }

    /// Writes the rest and syncs the file. `None`: nothing was added, and the file is removed.
    pub fn finish(self) -> Result<Option<BlockMeta>, BlockWriteError> {
        let path = self.path.clone();
        self.write_rest()
            .map_err(|source| BlockWriteError::Io { path, source })
    }

    fn write_rest(self) -> io::Result<Option<BlockMeta>> {
        let Some((min_time, max_time)) = self.times_of_samples else {
            drop(self.pages);
            self.disk.remove(&self.path)?;
            return Ok(None);
        };
        let series = self.pages.directory.series();
        let meta = BlockMeta {
            id: self.options.id,
            shard: self.options.shard,
            min_time,
            max_time,
            series,
            float_samples: self.float_samples,
            histogram_samples: self.histogram_samples,
            level: self.options.level,
            parents: self.options.parents,
            sealed_until: self.options.sealed_until,
            out_of_order: self.options.out_of_order,
            bytes: 0,
        };
        let mut sections: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut put = |section: Section, bytes| sections.insert(section as u32, bytes);
        let of = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            f(&mut bytes);
            bytes
        };
        let pages = self.pages;
        put(
            Section::Times,
            of(&|out| pages.times.put_section(min_time, out)),
        );
        put(
            Section::Constants,
            of(&|out| packed::put(&pages.constant_bits, out)),
        );
        put(
            Section::Statistics,
            of(&|out| pages.statistics.put_section(out)),
        );
        put(
            Section::Starts,
            of(&|out| self.starts.put_section(min_time, out)),
        );
        let mut directory = Vec::new();
        pages.directory.put_section(&mut directory);
        put(Section::Directory, directory);
        let mut index: [Vec<u8>; 3] = Default::default();
        self.index.put_sections(&mut index);
        let [symbols, series, postings] = index;
        put(Section::Symbols, symbols);
        put(Section::Series, series);
        put(Section::Postings, postings);
        let mut bitmap = Vec::new();
        self.series_with_histograms.serialize_into(&mut bitmap)?;
        put(Section::Histograms, bitmap);
        let end = pages.stream.finish()?;
        let extents = end.extents.iter().flat_map(|sum| sum.to_le_bytes());
        put(Section::Extents, extents.collect());
        let raw: Vec<u64> = end.frames.iter().map(|f| f.0).collect();
        let packed_starts: Vec<u64> = end.frames.iter().map(|f| f.1).collect();
        put(
            Section::Frames,
            of(&|out| {
                packed::put(&raw, out);
                packed::put(&packed_starts, out);
            }),
        );
        let meta = write_sections(end, sections, meta, self.options.profile, self.seed)?;
        Ok(Some(meta))
    }
}

/// Writes everything behind the pages and syncs.
fn write_sections(
    end: StreamEnd,
    sections: BTreeMap<u32, Vec<u8>>,
    mut meta: BlockMeta,
    profile: Profile,
    seed: u64,
) -> io::Result<BlockMeta> {
    let mut file = Appending {
        file: end.file,
        offset: HEADER_BYTES as u64 + end.bytes,
    };
    let mut places = vec![SectionPlace {
        kind: Section::Pages as u32,
        offset: HEADER_BYTES as u64,
        bytes: end.bytes,
        checksum: 0,
    }];
    file.put(&[0; PAGE_ROOM_BYTES])?;
    for (kind, bytes) in sections {
        file.align()?;
        places.push(SectionPlace {
            kind,
            offset: file.offset,
            bytes: bytes.len() as u64,
            checksum: checksum(seed, section_place(kind), &bytes),
        });
        file.put(&bytes)?;
    }
    file.align()?;
    let footer = Footer {
        meta: meta.clone(),
        profile,
        sections: places,
    };
    let footer = footer.to_bytes();
    let footer_offset = file.offset;
    file.put(&footer)?;
    file.align()?;
    meta.bytes = file.offset + super::format::TAIL_BYTES as u64;
    let tail = Tail {
        footer_offset,
        footer_bytes: footer.len() as u64,
        footer_checksum: checksum(seed, FOOTER_PLACE, &footer),
        file_bytes: meta.bytes,
        id: meta.id,
    };
    file.put(&tail.to_bytes())?;
    file.file.sync()?;
    Ok(meta)
}

/// A file that grows.
struct Appending {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Appending {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn align(&mut self) -> io::Result<()> {
        let rest = (self.offset % SECTION_ALIGNMENT as u64) as usize;
        if rest > 0 {
            self.put(&[0; SECTION_ALIGNMENT][rest..])?;
        }
        Ok(())
    }
}

/// Samples of each page, so that pages are about equally long.
fn page_size(samples: usize, page_max: usize) -> usize {
    samples.div_ceil(samples.div_ceil(page_max).max(1)).max(1)
}

impl Pages {
    /// The slice of these timestamps; a new time column goes to the stream first.
    fn slice(&mut self, timestamps: &[TimestampMs]) -> io::Result<u32> {
        let mut column = None;
        let stream = &mut self.stream;
        let slice = self.times.slice(timestamps, |bytes| {
            column = Some(bytes.len());
            stream.put(bytes)
        })?;
        if let Some(bytes) = column {
            let entry = PageEntry {
                kind: TIMES,
                slice,
                number: bytes as u32,
            };
            self.directory.add(entry, self.offset);
            self.statistics.add_nothing();
            self.offset += bytes as u64;
        }
        Ok(slice)
    }

    fn put_floats(&mut self, timestamps: &[TimestampMs], values: &[f64]) -> io::Result<()> {
        let slice = self.slice(timestamps)?;
        let bits = values[0].to_bits();
        if values.iter().all(|v| v.to_bits() == bits) {
            let next = self.constant_bits.len() as u32;
            let number = *self.constants.entry(bits).or_insert_with(|| {
                self.constant_bits.push(bits);
                next
            });
            self.add_entry(CONSTANT, slice, number);
            self.statistics.add_nothing();
            return Ok(());
        }
        self.body.clear();
        for value in values {
            self.body.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        let page = self.directory.pages();
        let hash = xxh3_128_with_seed(&self.body, self.seed);
        if let Some(&same) = self.seen.get(&hash) {
            self.add_entry(ALIAS, slice, page - same);
            self.statistics.add_nothing();
            return Ok(());
        }
        self.seen.insert(hash, page);
        self.body.clear();
        let encoded = numbers::encode(values, self.profile, &mut self.scratch, &mut self.body);
        let stats = PageStats::of_values(values);
        let kind = encoded.kind;
        self.statistics.add(&stats, encoded.mantissas);
        self.put_body(kind, slice)
    }

    fn put_histograms(
        &mut self,
        timestamps: &[TimestampMs],
        samples: &[(TimestampMs, Arc<FloatHistogram>)],
    ) -> io::Result<()> {
        let slice = self.slice(timestamps)?;
        self.body.clear();
        histograms::encode(samples, self.profile, &mut self.scratch, &mut self.body);
        let has_stale = samples.iter().any(|(_, h)| h.is_stale());
        self.statistics.add_histograms(has_stale);
        self.put_body(HISTOGRAMS, slice)
    }

    fn put_body(&mut self, kind: u8, slice: u32) -> io::Result<()> {
        let at = self.stream.put(&self.body)?;
        assert_eq!(
            at, self.offset,
            "BUG: directory and stream of pages disagree"
        );
        self.add_entry(kind, slice, self.body.len() as u32);
        self.offset += self.body.len() as u64;
        Ok(())
    }

    fn add_entry(&mut self, kind: u8, slice: u32, number: u32) {
        let entry = PageEntry {
            kind,
            slice,
            number,
        };
        self.directory.add(entry, self.offset);
    }
}
