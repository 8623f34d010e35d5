//! Pages on their way into a block: the choice of constant, alias or body, and what directory and statistics keep of each.
//!
//! Promise: memory is about 10 bytes a page, its statistics (8 to 30), and what finds equal pages and times again, which is bounded. Not here:
//! series and their labels.

use super::directory::{DirectoryWriter, PageEntry, TIMES};
use super::histograms;
use super::numbers::{self, ALIAS, CONSTANT, HISTOGRAMS, Profile};
use super::statistics::{PageStats, StatisticsWriter};
use super::stream::PageStream;
use super::times::TimeWriter;
use crate::limits::BLOCK_PAGES_COMPARED_MAX;
use crate::model::{FloatHistogram, TimestampMs};
use hashbrown::HashMap;
use std::io;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Everything about pages.
pub(super) struct PageWriter {
    pub(super) stream: PageStream,
    pub(super) times: TimeWriter,
    pub(super) directory: DirectoryWriter,
    pub(super) statistics: StatisticsWriter,
    constants: HashMap<u64, u32>,
    pub(super) constant_bits: Vec<u64>,
    /// Pages by the hash of their values. The hash is keyed with the block's random name and is believed: 128 bits.
    seen: HashMap<u128, u32>,
    seed: u64,
    profile: Profile,
    scratch: numbers::Scratch,
    body: Vec<u8>,
    /// Where the next body will start.
    offset: u64,
}

impl PageWriter {
    /// `seed` keys the hashes.
    pub(super) fn new(stream: PageStream, seed: u64, profile: Profile) -> Self {
        PageWriter {
            stream,
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
        }
    }

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

    /// A page of floats, of which there is one at least.
    pub(super) fn put_floats(
        &mut self,
        timestamps: &[TimestampMs],
        values: &[f64],
    ) -> io::Result<()> {
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
        if self.seen.len() >= BLOCK_PAGES_COMPARED_MAX {
            self.seen.clear();
        }
        self.seen.insert(hash, page);
        self.body.clear();
        let encoded = numbers::encode(values, self.profile, &mut self.scratch, &mut self.body);
        let stats = PageStats::of_values(values);
        let kind = encoded.kind;
        self.statistics.add(&stats, encoded.mantissas);
        self.put_body(kind, slice)
    }

    /// A page of native histograms, of which there is one at least.
    pub(super) fn put_histograms(
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
