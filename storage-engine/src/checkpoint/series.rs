//! The payload of a section of series: labels with a dictionary of their own, open chunks, references to sealed ones.
//!
//! Promise: a section explains itself, so that damage to one takes no series of another; any bytes decode to series or an error.
//! Labels are kept as pairs that several series share: a reader enters each pair into the index once a section.
//! Not here: the section around it (`format`), sealed chunks (`pages`). Format page: `docs/format/checkpoint.md`.

use super::format::{Malformed, PayloadReader, put_varint};
use crate::head::hot::{NewestKind, OpenImage, SeriesImage, StreamImage};
use crate::head::sealed::ChunkRef;
use hashbrown::HashMap;

/// Series taken from a shard, ascending by slot.
#[derive(Default)]
pub(crate) struct SeriesPiece {
    pub(crate) series: Vec<PieceSeries>,
    dictionary: Dictionary,
    /// Labels of the series, as positions among the pairs of the dictionary, back to back.
    labels: Vec<u32>,
    /// Bits of the open chunks, back to back.
    pub(crate) streams: Vec<u8>,
}

/// One series of a piece.
pub(crate) struct PieceSeries {
    slot: u32,
    /// Where its labels end.
    labels_end: usize,
    /// Where the bits of its open chunk end.
    stream_end: usize,
    image: SeriesImage,
}

impl SeriesPiece {
    /// Adds a label of the series that [`Self::add`] adds next: its symbols in the shard, and what gives their texts.
    #[inline]
    pub(crate) fn add_label<'t>(&mut self, name: u32, value: u32, text: impl Fn(u32) -> &'t str) {
        self.labels.push(self.dictionary.pair(name, value, text));
    }

    /// Adds a series, whose labels and bits have been added.
    pub(crate) fn add(&mut self, slot: u32, image: SeriesImage) {
        self.series.push(PieceSeries {
            slot,
            labels_end: self.labels.len(),
            stream_end: self.streams.len(),
            image,
        });
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let labels = self.dictionary.texts.len()
            + self.dictionary.pairs.len() * 8
            + self.labels.len() * size_of::<u32>();
        labels + self.streams.len() + self.series.len() * size_of::<PieceSeries>()
    }
}

/// Kind of the newest sample: the lowest two bits of the flags.
const NEWEST_MASK: u8 = 0x03;
/// Flag: there is an open chunk.
const OPEN: u8 = 0x04;
/// Flag: the open chunk is a stream.
const STREAM: u8 = 0x08;
/// Flag: there are sealed chunks.
const SEALED: u8 = 0x10;

/// Least bytes of a series: slot, number of labels, generation, flags, three numbers of eight bytes.
const SERIES_BYTES_MIN: usize = 28;

/// The texts and pairs of a section while it is filled, found by the symbols that they have in the shard.
#[derive(Default)]
struct Dictionary {
    /// Texts back to back, and where each ends.
    texts: Vec<u8>,
    text_ends: Vec<usize>,
    text_of: HashMap<u32, u32>,
    /// Name and value, as positions among the texts.
    pairs: Vec<(u32, u32)>,
    pair_of: HashMap<u64, u32>,
}

impl Dictionary {
    fn text<'t>(&mut self, symbol: u32, text: impl Fn(u32) -> &'t str) -> u32 {
        *self.text_of.entry(symbol).or_insert_with(|| {
            self.texts.extend_from_slice(text(symbol).as_bytes());
            self.text_ends.push(self.texts.len());
            self.text_ends.len() as u32 - 1
        })
    }

    #[inline]
    fn pair<'t>(&mut self, name: u32, value: u32, text: impl Fn(u32) -> &'t str) -> u32 {
        let key = u64::from(name) << 32 | u64::from(value);
        if let Some(&pair) = self.pair_of.get(&key) {
            return pair;
        }
        let of_texts = (self.text(name, &text), self.text(value, &text));
        let pair = self.pairs.len() as u32;
        self.pairs.push(of_texts);
        self.pair_of.insert(key, pair);
        pair
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.text_ends.len() as u64);
        let mut start = 0;
        for end in &self.text_ends {
            put_varint(out, (end - start) as u64);
            start = *end;
        }
        out.extend_from_slice(&self.texts);
        put_varint(out, self.pairs.len() as u64);
        for (name, value) in &self.pairs {
            put_varint(out, u64::from(*name));
            put_varint(out, u64::from(*value));
        }
    }
}

/// Appends a piece as a payload.
pub(super) fn put_series(out: &mut Vec<u8>, piece: &SeriesPiece) {
    piece.dictionary.put(out);
    put_varint(out, piece.series.len() as u64);
    let (mut labels_at, mut stream_at, mut next_slot) = (0, 0, 0);
    for series in &piece.series {
        let own = &piece.labels[labels_at..series.labels_end];
        put_varint(out, u64::from(series.slot - next_slot));
        put_varint(out, own.len() as u64);
        for pair in own {
            put_varint(out, u64::from(*pair));
        }
        put_image(out, &series.image);
        out.extend_from_slice(&piece.streams[stream_at..series.stream_end]);
        labels_at = series.labels_end;
        stream_at = series.stream_end;
        next_slot = series.slot + 1;
    }
}

fn put_image(out: &mut Vec<u8>, image: &SeriesImage) {
    let mut flags = match image.newest {
        NewestKind::None => 0,
        NewestKind::Float => 1,
        NewestKind::Histogram => 2,
    };
    let has_sealed = image.sealed != ChunkRef::NONE;
    let stream = image.open.and_then(|open| open.stream);
    flags |= if image.open.is_some() { OPEN } else { 0 };
    flags |= if stream.is_some() { STREAM } else { 0 };
    flags |= if has_sealed { SEALED } else { 0 };
    put_varint(out, u64::from(image.generation));
    out.push(flags);
    out.extend_from_slice(&image.last_ts.to_le_bytes());
    out.extend_from_slice(&image.oldest.to_le_bytes());
    out.extend_from_slice(&image.last_bits.to_le_bytes());
    if has_sealed {
        out.extend_from_slice(&image.sealed.0.to_le_bytes());
    }
    if let Some(open) = &image.open {
        put_varint(out, u64::from(open.count));
        out.extend_from_slice(&open.first_ts.to_le_bytes());
        put_varint(out, u64::from(open.delta));
    }
    if let Some(stream) = stream {
        put_varint(out, u64::from(stream.bits));
        out.extend_from_slice(&[stream.lead, stream.trail]);
    }
}

/// Series of one section, read.
#[derive(Default)]
pub(crate) struct SeriesGroup<'a> {
    pub(crate) texts: Vec<&'a str>,
    /// Name and value, as positions in `texts`.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Labels of the series, as positions in `pairs`, back to back.
    pub(crate) labels: Vec<u32>,
    pub(crate) series: Vec<GroupSeries<'a>>,
}

/// One series of a group.
pub(crate) struct GroupSeries<'a> {
    pub(crate) slot: u32,
    /// Where its labels end in [`SeriesGroup::labels`].
    pub(crate) labels_end: usize,
    pub(crate) image: SeriesImage,
    /// Bits of its open chunk.
    pub(crate) stream: &'a [u8],
}

/// Reads a payload.
pub(super) fn read_series(payload: &[u8]) -> Result<SeriesGroup<'_>, Malformed> {
    let mut reader = PayloadReader(payload);
    let mut group = SeriesGroup::default();
    read_dictionary(&mut reader, &mut group)?;
    let count = reader.small()?;
    // Only a damaged count is more than there can be.
    let possible = reader.0.len() / SERIES_BYTES_MIN;
    group.series.reserve((count as usize).min(possible));
    let mut next_slot = 0_u32;
    for _ in 0..count {
        let step = reader.small()?;
        let slot = next_slot.checked_add(step).filter(|s| *s < u32::MAX);
        let slot = slot.ok_or_else(|| reader.malformed())?;
        next_slot = slot + 1;
        for _ in 0..reader.small()? {
            let pair = reader.small()?;
            if pair as usize >= group.pairs.len() {
                return Err(reader.malformed());
            }
            group.labels.push(pair);
        }
        let image = read_image(&mut reader)?;
        let stream = image.open.and_then(|open| open.stream);
        let stream = reader.take(stream.map_or(0, StreamImage::bytes))?;
        group.series.push(GroupSeries {
            slot,
            labels_end: group.labels.len(),
            image,
            stream,
        });
    }
    match reader.is_empty() {
        true => Ok(group),
        false => Err(reader.malformed()),
    }
}

fn read_dictionary<'a>(
    reader: &mut PayloadReader<'a>,
    group: &mut SeriesGroup<'a>,
) -> Result<(), Malformed> {
    let texts = reader.small()?;
    let mut lengths = Vec::new();
    for _ in 0..texts {
        lengths.push(reader.small()?);
    }
    group.texts.reserve(lengths.len());
    for length in lengths {
        let bytes = reader.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| reader.malformed())?;
        group.texts.push(text);
    }
    for _ in 0..reader.small()? {
        let (name, value) = (reader.small()?, reader.small()?);
        let known = |text: u32| {
            group
                .texts
                .get(text as usize)
                .is_some_and(|t| !t.is_empty())
        };
        if !known(name) || !known(value) {
            return Err(reader.malformed());
        }
        group.pairs.push((name, value));
    }
    Ok(())
}

fn read_image(reader: &mut PayloadReader<'_>) -> Result<SeriesImage, Malformed> {
    let generation = reader.small()?;
    let [flags] = reader.array()?;
    let newest = match flags & NEWEST_MASK {
        0 => NewestKind::None,
        1 => NewestKind::Float,
        2 => NewestKind::Histogram,
        _ => return Err(reader.malformed()),
    };
    if flags & !(NEWEST_MASK | OPEN | STREAM | SEALED) != 0 || flags & (OPEN | STREAM) == STREAM {
        return Err(reader.malformed());
    }
    let (last_ts, oldest) = (reader.i64()?, reader.i64()?);
    let last_bits = reader.u64()?;
    let sealed = match flags & SEALED {
        0 => ChunkRef::NONE,
        _ => ChunkRef(reader.u32()?),
    };
    let mut open = match flags & OPEN {
        0 => None,
        _ => {
            let count = u16::try_from(reader.small()?).map_err(|_| reader.malformed())?;
            Some(OpenImage {
                count,
                first_ts: reader.i64()?,
                delta: reader.small()?,
                stream: None,
            })
        }
    };
    if let Some(open) = &mut open
        && flags & STREAM != 0
    {
        let bits = u16::try_from(reader.small()?).map_err(|_| reader.malformed())?;
        let [lead, trail] = reader.array()?;
        open.stream = Some(StreamImage { bits, lead, trail });
    }
    Ok(SeriesImage {
        generation,
        oldest,
        last_ts,
        last_bits,
        newest,
        sealed,
        open,
    })
}
