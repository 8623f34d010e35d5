//! What a block says of its pages without decoding them.
//!
//! Promise: exact, or said to be unknown. Not here: how entries are written ([`super::statistics`]).

use super::Block;
use super::bytes::Decoded;
use super::numbers::{ALIAS, CONSTANT, HISTOGRAMS};
use super::statistics::{EntryKind, PageStats};

impl Block {
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
