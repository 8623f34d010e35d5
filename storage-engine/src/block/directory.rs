//! The directory of a block: which pages a series has, and of each page its kind, its times and where its values are.
//!
//! Pages are numbered in the order of their series. Tables: for each series (and one behind the last) the number of its first page, less its own
//! number; for each page the kind byte, the slice of its times, and one number that is the body's length, the number of the constant, or
//! for an alias the distance in pages to the page that has the values; for every sixteenth page where its body starts. So a page is found
//! with at most 34 loads and no search. A time column that is written between two pages has an entry of its own kind, so that
//! the lengths add up; it is no page of the series that it stands with.
//! Not here: bodies, times.

use super::bytes::{Bad, Cursor, Decoded};
use super::numbers::{
    ALIAS, CODE_MASK, CONSTANT, DECIMAL, DECIMAL_PCO, FLOAT, FLOAT_PCO, RAW, exponent,
};
use super::packed::{self, Table};

/// Pages between two anchors.
const ANCHOR_EVERY: u32 = 16;

/// Kind byte of a time column.
pub(super) const TIMES: u8 = 0x80;

/// A page of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageEntry {
    /// Kind byte, see [`super::numbers`].
    pub(super) kind: u8,
    /// Number of the slice of times.
    pub(super) slice: u32,
    /// Length of the body, number of the constant, or distance to the page with the values.
    pub(super) number: u32,
}

impl PageEntry {
    /// The page's code.
    pub(super) fn code(&self) -> u8 {
        self.kind & CODE_MASK
    }

    /// The decimal exponent of its values, if they are decimals.
    pub(super) fn exponent(&self) -> u8 {
        exponent(self.kind)
    }

    /// The name of its kind, for people.
    pub(super) fn kind_name(&self) -> &'static str {
        if self.is_times() {
            return "times";
        }
        match self.code() {
            CONSTANT => "constant",
            ALIAS => "alias",
            DECIMAL => "decimal",
            DECIMAL_PCO => "decimal pco",
            FLOAT => "float",
            FLOAT_PCO => "float pco",
            RAW => "raw",
            _ => "histograms",
        }
    }

    /// Is it a time column, which has no samples of its own?
    pub(super) fn is_times(&self) -> bool {
        self.kind == TIMES
    }

    /// Has it bytes of its own among the pages?
    pub(super) fn has_body(&self) -> bool {
        self.is_times() || !matches!(self.code(), CONSTANT | ALIAS)
    }
}

/// Collects the directory while a block is written.
#[derive(Debug, Default)]
pub(super) struct DirectoryWriter {
    first_pages: Vec<u32>,
    kinds: Vec<u8>,
    slices: Vec<u32>,
    numbers: Vec<u32>,
    anchors: Vec<u64>,
}

impl DirectoryWriter {
    /// The next page belongs to a new series.
    pub(super) fn begin_series(&mut self) {
        // Every series has a page, so this never goes below zero.
        self.first_pages.push(self.pages() - self.series());
    }

    /// Number of series.
    pub(super) fn series(&self) -> u32 {
        self.first_pages.len() as u32
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> u32 {
        self.kinds.len() as u32
    }

    /// Adds a page; `offset` is where its body lies, or would lie.
    pub(super) fn add(&mut self, page: PageEntry, offset: u64) {
        assert!(
            self.kinds.len() < u32::MAX as usize,
            "BUG: a block of 2^32 pages"
        );
        if self.pages().is_multiple_of(ANCHOR_EVERY) {
            self.anchors.push(offset);
        }
        self.kinds.push(page.kind);
        self.slices.push(page.slice);
        self.numbers.push(page.number);
    }

    /// Appends the section.
    pub(super) fn put_section(mut self, out: &mut Vec<u8>) {
        self.begin_series();
        packed::put_column(&self.first_pages, |n| u64::from(*n), out);
        packed::put_column(&self.kinds, |n| u64::from(*n), out);
        packed::put_column(&self.slices, |n| u64::from(*n), out);
        packed::put_column(&self.numbers, |n| u64::from(*n), out);
        packed::put(&self.anchors, out);
    }
}

/// The section, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Directory {
    first_pages: Table,
    kinds: Table,
    slices: Table,
    numbers: Table,
    anchors: Table,
}

impl Directory {
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>, series: u32) -> Decoded<Directory> {
        let mut open = || Table::open(base, cursor);
        let directory = Directory {
            first_pages: open()?,
            kinds: open()?,
            slices: open()?,
            numbers: open()?,
            anchors: open()?,
        };
        cursor.finish()?;
        let pages = directory.kinds.len();
        if directory.first_pages.len() != series.checked_add(1).ok_or(Bad("too many series"))?
            || directory.slices.len() != pages
            || directory.numbers.len() != pages
            || directory.anchors.len() != pages.div_ceil(ANCHOR_EVERY)
        {
            return Err(Bad("tables of the directory do not fit together"));
        }
        Ok(directory)
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> u32 {
        self.kinds.len()
    }

    /// Numbers of the pages of series `ordinal`.
    #[inline]
    pub(super) fn pages_of(&self, file: &[u8], ordinal: u32) -> Decoded<std::ops::Range<u32>> {
        let first = |series: u32| {
            let ahead = self.first_pages.small(file, series)?;
            series.checked_add(ahead).ok_or(Bad("page number"))
        };
        let behind = ordinal.checked_add(1).ok_or(Bad("no such series"))?;
        let pages = first(ordinal)?..first(behind)?;
        if pages.start > pages.end || pages.end > self.pages() {
            return Err(Bad("pages of a series out of order"));
        }
        Ok(pages)
    }

    /// Page `number`.
    #[inline]
    pub(super) fn page(&self, file: &[u8], number: u32) -> Decoded<PageEntry> {
        Ok(PageEntry {
            kind: u8::try_from(self.kinds.get(file, number)?).map_err(|_| Bad("page kind"))?,
            slice: self.slices.small(file, number)?,
            number: self.numbers.small(file, number)?,
        })
    }

    /// Where the body of page `number` starts.
    pub(super) fn body_offset(&self, file: &[u8], number: u32) -> Decoded<u64> {
        let anchor = number / ANCHOR_EVERY;
        let mut offset = self.anchors.get(file, anchor)?;
        for before in anchor * ANCHOR_EVERY..number {
            let kind = self.kinds.get(file, before)? as u8;
            if kind == TIMES || !matches!(kind & CODE_MASK, CONSTANT | ALIAS) {
                let bytes = self.numbers.get(file, before)?;
                offset = offset.checked_add(bytes).ok_or(Bad("page offset"))?;
            }
        }
        Ok(offset)
    }

    /// The page whose values page `number` has: itself, or for an alias the page that it names.
    #[inline]
    pub(super) fn resolve(&self, file: &[u8], number: u32) -> Decoded<(u32, PageEntry)> {
        let page = self.page(file, number)?;
        if page.code() != ALIAS {
            return Ok((number, page));
        }
        let named = number
            .checked_sub(page.number)
            .ok_or(Bad("alias of no page"))?;
        let target = self.page(file, named)?;
        if !target.has_body() || target.is_times() || target.code() > RAW || named == number {
            return Err(Bad("alias of a page without values"));
        }
        Ok((named, target))
    }
}
