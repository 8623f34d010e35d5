//! A block, opened: mapped, its index sections checked, its pages checked when first touched.
//!
//! Promise: no method panics, whatever the file holds; what comes out is what went in. Labels are in [`super::labels`], matchers in
//! [`super::select`], samples in [`super::read`]. Not here: several blocks, tombstones.

use super::BlockMeta;
use super::bytes::{Bad, Cursor, Decoded};
use super::directory::Directory;
use super::extents::Extents;
use super::footer::Footer;
use super::format::{
    self, FOOTER_PLACE, FrameError, Section, Tail, checksum, checksum_seed, section_place,
};
use super::packed::Table;
use super::postings::Postings;
use super::series::Series;
use super::starts::Starts;
use super::statistics::Statistics;
use super::symbols::Symbols;
use super::times::Times;
use crate::io::{Disk, FileBytes};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
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
    pub(super) path: PathBuf,
    /// Tells this opened block from all others of the process.
    pub(super) key: u64,
    pub(super) meta: BlockMeta,
    pub(super) extents: Extents,
    /// Starts of frames, raw and packed; without entries where pages are not framed.
    pub(super) frames: [Table; 2],
    pub(super) times: Times,
    pub(super) constants: Table,
    pub(super) directory: Directory,
    pub(super) statistics: Statistics,
    pub(super) symbols: Symbols,
    pub(super) series: Series,
    pub(super) postings: Postings,
    pub(super) starts: Starts,
    pub(super) with_histograms: RoaringBitmap,
    section_bytes: Vec<u64>,
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

    /// As [`Block::open`], of bytes that are already there; `path` is what errors name.
    pub fn from_bytes(file: FileBytes, path: &Path) -> Result<Block, BlockError> {
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
        let symbols = open!(Symbols, Symbols::open);
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
            symbols,
            series: open!(Series, |base, c| {
                let mut symbols = symbols.reader(bytes);
                Series::open(base, c, series, |symbol| Ok(symbols.get(symbol)?.into()))
            }),
            postings: open!(Postings, |base, c| Postings::open(base, c, series)),
            starts: open!(Starts, |base, c| Starts::open(base, c, series, min_time)),
            with_histograms: open!(Histograms, |_, c| {
                RoaringBitmap::deserialize_from(c.rest()).map_err(|_| Bad("list of series"))
            }),
            section_bytes: sections.places[1..]
                .iter()
                .map(|r| r.len() as u64)
                .collect(),
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

    /// Names and lengths of the sections of the file, in its order.
    pub fn section_sizes(&self) -> Vec<(&'static str, u64)> {
        let sizes = Section::ALL.iter().zip(&self.section_bytes);
        sizes
            .map(|(section, bytes)| (section.name(), *bytes))
            .collect()
    }

    /// How many pages there are of each kind, and how many bytes they take.
    pub fn page_kinds(&self) -> Result<BTreeMap<&'static str, (u32, u64)>, BlockError> {
        let mut kinds: BTreeMap<&'static str, (u32, u64)> = BTreeMap::new();
        for number in 0..self.directory.pages() {
            let page = self
                .directory
                .page(&self.file, number)
                .map_err(|bad| self.damaged(bad))?;
            let (count, bytes) = kinds.entry(page.kind_name()).or_default();
            *count += 1;
            *bytes += if page.has_body() {
                u64::from(page.number)
            } else {
                0
            };
        }
        Ok(kinds)
    }

    /// The file that it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn damaged(&self, bad: Bad) -> BlockError {
        BlockError::Damaged {
            path: self.path.clone(),
            what: bad.to_string(),
        }
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
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
