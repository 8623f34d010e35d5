//! The payload of a section of series: labels with a dictionary of their own, open chunks, references to sealed ones.
//!
//! Promise: a section explains itself, so that damage to one takes no series of another; any bytes decode to series or an error.
//! Labels are kept as pairs that several series share: a reader enters each pair into the index once a section.
//! Not here: the section around it (`format`), sealed chunks (`pages`). Format page: `docs/format/checkpoint.md`.

use super::format::{Malformed, PayloadReader, put_varint};
use crate::head::hot::{NewestKind, OpenImage, SeriesImage, StreamImage};
use crate::head::sealed::ChunkRef;
use crate::model::LabelIter;
use hashbrown::HashMap;

/// Series taken from a shard, ascending by slot.
#[derive(Default)]
pub(crate) struct SeriesPiece {
    pub(crate) series: Vec<PieceSeries>,
    /// Canonical label bytes, back to back.
    pub(crate) labels: Vec<u8>,
    /// Bits of the open chunks, back to back.
    pub(crate) streams: Vec<u8>,
}

/// One series of a piece.
pub(crate) struct PieceSeries {
    pub(crate) slot: u32,
    /// Where its labels end.
    pub(crate) labels_end: usize,
    /// Where the bits of its open chunk end.
    pub(crate) stream_end: usize,
    pub(crate) image: SeriesImage,
}

impl SeriesPiece {
    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.labels.len() + self.streams.len() + self.series.len() * size_of::<PieceSeries>()
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

/// The texts and pairs of a section while it is written.
#[derive(Default)]
struct Dictionary<'a> {
    texts: Vec<&'a str>,
    text_of: HashMap<&'a str, u32>,
    pairs: Vec<(u32, u32)>,
    pair_of: HashMap<(u32, u32), u32>,
}

impl<'a> Dictionary<'a> {
    fn text(&mut self, text: &'a str) -> u32 {
        *self.text_of.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u32 - 1
        })
    }

    fn pair(&mut self, name: &'a str, value: &'a str) -> u32 {
        let pair = (self.text(name), self.text(value));
        *self.pair_of.entry(pair).or_insert_with(|| {
            self.pairs.push(pair);
            self.pairs.len() as u32 - 1
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.texts.len() as u64);
        for text in &self.texts {
            put_varint(out, text.len() as u64);
        }
        for text in &self.texts {
            out.extend_from_slice(text.as_bytes());
        }
        put_varint(out, self.pairs.len() as u64);
        for (name, value) in &self.pairs {
            put_varint(out, u64::from(*name));
            put_varint(out, u64::from(*value));
        }
    }
}

/// Appends a piece as a payload.
pub(super) fn put_series(out: &mut Vec<u8>, piece: &SeriesPiece) {
    let mut dictionary = Dictionary::default();
    let mut of_series = Vec::with_capacity(piece.series.len() * 16);
    let (mut labels_at, mut stream_at, mut next_slot) = (0, 0, 0);
    let mut own = Vec::new();
    for series in &piece.series {
        own.clear();
        let labels = &piece.labels[labels_at..series.labels_end];
        own.extend(LabelIter::over_canonical(labels).map(|(n, v)| dictionary.pair(n, v)));
        put_varint(&mut of_series, u64::from(series.slot - next_slot));
        put_varint(&mut of_series, own.len() as u64);
        for pair in &own {
            put_varint(&mut of_series, u64::from(*pair));
        }
        put_image(&mut of_series, &series.image);
        of_series.extend_from_slice(&piece.streams[stream_at..series.stream_end]);
        labels_at = series.labels_end;
        stream_at = series.stream_end;
        next_slot = series.slot + 1;
    }
    dictionary.put(out);
    put_varint(out, piece.series.len() as u64);
    out.extend_from_slice(&of_series);
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
