//! Statistics of pages, apart from the pages, so that a query can leave a page alone and a scan never touches them.
//!
//! Layout: a table of where each group of 32 pages starts, then the entries back to back. An entry is a flag byte and, where the flags say so:
//! first and last value (mantissas as signed varints, the last as distance from the first, or eight bytes each), how far the least lies below the
//! first and the greatest above it, resets, and the sum of the mantissas. Pages that never fall have their least first and greatest last, no
//! resets, and no sum. Aliases and time columns have no entry bytes; constants have the sum's flag at most.
//! Promise: what is said is exact, or not said. Not here: times and counts, which the slices know.

use super::bytes::{Cursor, Decoded, put_signed, put_varint};
use super::packed::{self, Table};
use crate::model::{TimestampMs, is_stale_nan};

/// Pages of a group.
const GROUP: u32 = 32;

const HAS_STALE: u8 = 0x01;
const HAS_NAN: u8 = 0x02;
/// Numbers are mantissas.
const DECIMAL: u8 = 0x04;
/// No value is below the one before.
const ASCENDING: u8 = 0x08;
const HAS_SUM: u8 = 0x10;
/// There is a value that is a number.
const HAS_NUMBERS: u8 = 0x20;
/// Sums of mantissas up to here are exact as floats.
const SUM_MAX: i128 = 1 << 53;

/// What is known of a page without decoding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageStats {
    /// Time of the first sample.
    pub first_time: TimestampMs,
    /// Time of the last sample.
    pub last_time: TimestampMs,
    /// Number of samples, stale markers included.
    pub count: u32,
    /// The first value, bit for bit; NaN for histograms.
    pub first: f64,
    /// The last value, bit for bit; NaN for histograms.
    pub last: f64,
    /// The least value that is not NaN; NaN if there is none.
    pub min: f64,
    /// The greatest value that is not NaN; NaN if there is none.
    pub max: f64,
    /// The sum of the values, if it is exact in whatever order they are added, and known.
    pub sum: Option<f64>,
    /// How often a value is below the one before, stale markers left out.
    pub resets: u32,
    /// Is there a staleness marker?
    pub has_stale: bool,
    /// Is there a NaN other than the staleness marker?
    pub has_nan: bool,
    /// Are these native histograms? Then nothing but times, count and `has_stale` is known.
    pub has_histogram: bool,
}

impl PageStats {
    /// Of floats; times are the caller's.
    pub(super) fn of_values(values: &[f64]) -> PageStats {
        let mut stats = PageStats {
            first_time: 0,
            last_time: 0,
            count: values.len() as u32,
            first: values.first().copied().unwrap_or(f64::NAN),
            last: values.last().copied().unwrap_or(f64::NAN),
            min: f64::NAN,
            max: f64::NAN,
            sum: None,
            resets: 0,
            has_stale: false,
            has_nan: false,
            has_histogram: false,
        };
        let mut before = f64::NAN;
        for &value in values {
            if is_stale_nan(value) {
                stats.has_stale = true;
                continue;
            }
            if value < before {
                stats.resets += 1;
            }
            before = value;
            if value.is_nan() {
                stats.has_nan = true;
                continue;
            }
            // Zeros of both signs compare as equal; the bits decide, so that the answer is the same in any order.
            if stats.min.is_nan() || value.total_cmp(&stats.min).is_lt() {
                stats.min = value;
            }
            if stats.max.is_nan() || value.total_cmp(&stats.max).is_gt() {
                stats.max = value;
            }
        }
        stats
    }

    /// Of a page of which nothing is known but that it is there: it could hold anything.
    pub(super) fn unknown() -> PageStats {
        PageStats {
            first_time: TimestampMs::MIN,
            last_time: TimestampMs::MAX,
            count: 1,
            first: f64::NAN,
            last: f64::NAN,
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
            sum: None,
            resets: u32::MAX,
            has_stale: true,
            has_nan: true,
            has_histogram: false,
        }
    }
}

/// Collects the statistics while a block is written.
#[derive(Debug, Default)]
pub(super) struct StatisticsWriter {
    starts: Vec<u64>,
    entries: Vec<u8>,
    pages: u32,
}

impl StatisticsWriter {
    fn begin(&mut self) {
        if self.pages.is_multiple_of(GROUP) {
            self.starts.push(self.entries.len() as u64);
        }
        self.pages += 1;
    }

    /// A page whose statistics are another's, or a constant's, or that has no values.
    pub(super) fn add_nothing(&mut self) {
        self.begin();
    }

    /// A page of native histograms.
    pub(super) fn add_histograms(&mut self, has_stale: bool) {
        self.begin();
        self.entries.push(if has_stale { HAS_STALE } else { 0 });
    }

    /// A page of floats; `mantissas` and their exponent if the page is kept as such, without patches.
    pub(super) fn add(&mut self, stats: &PageStats, mantissas: Option<(&[i64], u8)>) {
        self.begin();
        let ascending = stats.resets == 0
            && !stats.has_nan
            && !stats.has_stale
            && stats.min.to_bits() == stats.first.to_bits()
            && stats.max.to_bits() == stats.last.to_bits();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(stats.has_stale, HAS_STALE)
            | flag(stats.has_nan, HAS_NAN)
            | flag(ascending, ASCENDING)
            | flag(!stats.min.is_nan(), HAS_NUMBERS);
        let out = &mut self.entries;
        let Some((mantissas, exponent)) = mantissas.filter(|(m, _)| !m.is_empty()) else {
            out.push(flags);
            out.extend_from_slice(&stats.first.to_bits().to_le_bytes());
            out.extend_from_slice(&stats.last.to_bits().to_le_bytes());
            if !ascending {
                if flags & HAS_NUMBERS != 0 {
                    out.extend_from_slice(&stats.min.to_bits().to_le_bytes());
                    out.extend_from_slice(&stats.max.to_bits().to_le_bytes());
                }
                put_varint(out, u64::from(stats.resets));
            }
            return;
        };
        let (first, last) = (mantissas[0], mantissas[mantissas.len() - 1]);
        let at = out.len();
        out.push(flags | DECIMAL);
        put_signed(out, first);
        put_signed(out, last - first);
        if !ascending {
            let least = mantissas.iter().copied().min().unwrap_or(first);
            let most = mantissas.iter().copied().max().unwrap_or(first);
            put_varint(out, (first - least) as u64);
            put_varint(out, (most - first) as u64);
            put_varint(out, u64::from(stats.resets));
            let mut sum = 0_i128;
            let mut size = 0_i128;
            for &mantissa in mantissas {
                sum += i128::from(mantissa);
                size += i128::from(mantissa).abs();
            }
            // With whole numbers every partial sum is exact; with decimals the sum of the rounded values is not the rounded sum.
            if exponent == 0 && size <= SUM_MAX {
                out[at] |= HAS_SUM;
                put_signed(out, sum as i64);
            }
        }
    }

    /// Appends the section.
    pub(super) fn put_section(&self, out: &mut Vec<u8>) {
        packed::put(&self.starts, out);
        out.extend_from_slice(&self.entries);
    }
}

/// The section, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Statistics {
    starts: Table,
    entries: usize,
    end: usize,
}

impl Statistics {
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>) -> Decoded<Statistics> {
        let starts = Table::open(base, cursor)?;
        let entries = base + cursor.position();
        cursor.rest();
        Ok(Statistics {
            starts,
            entries,
            end: base + cursor.position(),
        })
    }

    /// The entry of page `number`; `what(page)` says what each page of its group has.
    pub(super) fn entry(
        &self,
        file: &[u8],
        number: u32,
        mut what: impl FnMut(u32) -> Decoded<EntryKind>,
    ) -> Decoded<PageStats> {
        let group = number / GROUP;
        let start = self.starts.get(file, group)?;
        let bytes = file
            .get(self.entries..self.end)
            .and_then(|all| all.get(usize::try_from(start).ok()?..))
            .ok_or(super::bytes::Bad("statistics out of reach"))?;
        let mut cursor = Cursor::new(bytes);
        for page in group * GROUP..number {
            take_entry(&mut cursor, what(page)?)?;
        }
        take_entry(&mut cursor, what(number)?)
    }
}

/// What a page's entry looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// No bytes.
    Nothing,
    /// Flags alone.
    Histograms,
    /// Floats; the divisor's exponent if they are decimals.
    Floats(u8),
}

fn take_entry(cursor: &mut Cursor<'_>, kind: EntryKind) -> Decoded<PageStats> {
    let mut stats = PageStats::of_values(&[]);
    let exponent = match kind {
        EntryKind::Nothing => return Ok(stats),
        EntryKind::Histograms => {
            stats.has_histogram = true;
            stats.has_stale = cursor.byte()? & HAS_STALE != 0;
            return Ok(stats);
        }
        EntryKind::Floats(exponent) => exponent,
    };
    let flags = cursor.byte()?;
    stats.has_stale = flags & HAS_STALE != 0;
    stats.has_nan = flags & HAS_NAN != 0;
    let ascending = flags & ASCENDING != 0;
    if flags & DECIMAL == 0 {
        stats.first = f64::from_bits(cursor.word()?);
        stats.last = f64::from_bits(cursor.word()?);
        (stats.min, stats.max) = (stats.first, stats.last);
        if !ascending {
            (stats.min, stats.max) = (f64::NAN, f64::NAN);
            if flags & HAS_NUMBERS != 0 {
                stats.min = f64::from_bits(cursor.word()?);
                stats.max = f64::from_bits(cursor.word()?);
            }
            stats.resets = cursor.small()?;
        }
        return Ok(stats);
    }
    let first = cursor.signed()?;
    let last = first.wrapping_add(cursor.signed()?);
    let (mut least, mut most, mut sum) = (first, last, None);
    if !ascending {
        least = first.wrapping_sub(cursor.varint()? as i64);
        most = first.wrapping_add(cursor.varint()? as i64);
        stats.resets = cursor.small()?;
        if flags & HAS_SUM != 0 {
            sum = Some(cursor.signed()?);
        }
    }
    let mut values = [0.0; 4];
    if !super::decimals::join(&[first, last, least, most], exponent, &mut values) {
        return Err(super::bytes::Bad("exponent out of range"));
    }
    [stats.first, stats.last, stats.min, stats.max] = values;
    if exponent == 0 {
        stats.sum = sum.map(|s| s as f64);
    }
    Ok(stats)
}
