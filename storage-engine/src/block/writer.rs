//! Writes a block: pages go to the file as they come, directory and index wait in memory until the end.
//!
//! Promise: after [`BlockWriter::finish`] the file is whole and synced; before, it has no tail and nobody takes it for a block. What waits in
//! memory is about 20 to 40 bytes a page and, for each series, its labels as symbols and its places in the postings.
//! Not here: renaming, the directory's sync.

use super::file_end::write_sections;
use super::format::{BLOCK_FORMAT_VERSION, HEADER_BYTES, Section, checksum_seed, header};
use super::index_writer::IndexWriter;
use super::numbers::Profile;
use super::page_writer::PageWriter;
use super::starts::StartsWriter;
use super::stream::PageStream;
use super::{BlockId, BlockMeta, block_order, packed};
use crate::index::is_series;
use crate::io::{Access, Disk};
use crate::limits::{BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX, BLOCK_PAGE_SAMPLES_MAX};
use crate::model::{SeriesSamples, TimestampMs};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

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
    pages: PageWriter,
    index: IndexWriter,
    series_with_histograms: RoaringBitmap,
    starts: StartsWriter,
    times_of_samples: Option<(TimestampMs, TimestampMs)>,
    float_samples: u64,
    histogram_samples: u64,
    last: Vec<u8>,
    /// A write has failed: what is in memory and in the file no longer fit together.
    failed: bool,
    histogram_times: Vec<TimestampMs>,
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
            pages: PageWriter::new(
                PageStream::new(file, HEADER_BYTES as u64, seed, profile),
                seed,
                profile,
            ),
            index: IndexWriter::default(),
            series_with_histograms: RoaringBitmap::new(),
            starts: StartsWriter::default(),
            times_of_samples: None,
            float_samples: 0,
            histogram_samples: 0,
            last: Vec::new(),
            failed: false,
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
        self.check()?;
        if samples.is_empty() {
            return Ok(());
        }
        let ordinal = self.pages.directory.series();
        assert!(
            ordinal == 0 || block_order(&self.last, canonical).is_lt(),
            "BUG: series reach a block out of order"
        );
        assert!(is_series(canonical), "BUG: labels that are not canonical");
        self.last.clear();
        self.last.extend_from_slice(canonical);
        self.pages.directory.begin_series();
        self.index.add(ordinal, canonical);
        self.starts.add(&samples.starts);
        let put = self.put_pages(ordinal, samples);
        self.failed = put.is_err();
        put.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> BlockWriteError {
        BlockWriteError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// An error if an earlier write has failed.
    fn check(&self) -> Result<(), BlockWriteError> {
        if self.failed {
            return Err(self.error(io::Error::other("an earlier write has failed")));
        }
        Ok(())
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
        self.check()?;
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

/// Samples of each page, so that pages are about equally long.
fn page_size(samples: usize, page_max: usize) -> usize {
    samples.div_ceil(samples.div_ceil(page_max).max(1)).max(1)
}
