//! WAL records: the bytes of one, how they are made, checked and taken apart.
//!
//! Promise: a record explains itself (no other record is needed to read its values), and a header is only believed at the place
//! (store, shard, segment, offset) it was written for. Pure: no I/O. Format page: `docs/format/wal.md`.
//! Not here: finding records in a segment (`wal::reader`), deciding where they go (`wal::writer`).

use crate::limits::WAL_RECORD_BYTES_MAX;
use crate::model::{SeriesRef, TimestampMs};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Highest version of the record format; a log with a higher one is refused, not guessed at. Each record says the lowest
/// version that can read it, so that an older program reads every log that has nothing newer in it.
pub const WAL_FORMAT_VERSION: u8 = 3;
/// First bytes of every record, so that a person with a hex dump finds them too.
pub const RECORD_MAGIC: [u8; 4] = *b"fWAL";
/// Bytes of a record header.
pub const RECORD_HEADER_BYTES: usize = 40;
/// Records start at multiples of this; a reader that lost its place tries these offsets only.
pub const RECORD_ALIGNMENT: usize = 8;

const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT));
const _: () = assert!(WAL_RECORD_BYTES_MAX < u32::MAX as usize);

const AT_VERSION: usize = 4;
const AT_KIND: usize = 5;
const AT_PAYLOAD_BYTES: usize = 8;
const AT_SYNCED_DISTANCE: usize = 12;
const AT_LSN: usize = 16;
const AT_PAYLOAD_CHECKSUM: usize = 24;
const AT_HEADER_CHECKSUM: usize = 32;

/// What a record's payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Series definitions: reference and canonical label bytes.
    Series,
    /// Samples: reference, timestamp, value.
    Samples,
    /// Nothing but its header: begins a segment, or says how far the log is known to be durable.
    Mark,
    /// Native histogram samples (see `wal::histograms`).
    Histograms,
    /// Samples that came out of order; the payload is that of `Samples`.
    OutOfOrderSamples,
    /// Native histogram samples that came out of order; the payload is that of `Histograms`.
    OutOfOrderHistograms,
    /// Deleted time ranges of series in the head.
    Tombstones,
    /// Exemplars.
    Exemplars,
    /// Start timestamps of samples.
    Starts,
}

/// Every kind with its code and the lowest version of the format that has it.
const KINDS: [(RecordKind, u8, u8); 9] = [
    (RecordKind::Series, 1, 1),
    (RecordKind::Samples, 2, 1),
    (RecordKind::Mark, 3, 1),
    (RecordKind::Histograms, 4, 2),
    (RecordKind::OutOfOrderSamples, 5, 3),
    (RecordKind::OutOfOrderHistograms, 6, 3),
    (RecordKind::Tombstones, 7, 3),
    (RecordKind::Exemplars, 8, 3),
    (RecordKind::Starts, 9, 3),
];

impl RecordKind {
    fn entry(self) -> (RecordKind, u8, u8) {
        let found = KINDS.iter().find(|(kind, _, _)| *kind == self);
        *found.expect("BUG: every record kind is in the table")
    }

    /// Its number on disk.
    pub(crate) fn code(self) -> u8 {
        self.entry().1
    }

    /// The lowest version of the format that has this kind.
    fn version(self) -> u8 {
        self.entry().2
    }

    /// The kind of a number.
    pub(crate) fn from_code(code: u8) -> Option<RecordKind> {
        let found = KINDS.iter().find(|(_, of_kind, _)| *of_kind == code);
        found.map(|(kind, _, _)| *kind)
    }
}

/// Binds a header to one segment of one shard of one store.
///
/// It seeds the header checksum, so bytes that an earlier life of a recycled file left behind, or a sector that a disk put in the wrong
/// place, never pass for a record. It is derived, not stored: no damage inside a segment can make the rest of it unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSeal(u64);

impl SegmentSeal {
    /// The seal of segment `sequence` of shard `shard` in the store with identity `store_id`.
    pub fn new(store_id: &[u8; 16], shard: u32, sequence: u32) -> SegmentSeal {
        let mut bytes = [0u8; 24];
        bytes[..16].copy_from_slice(store_id);
        bytes[16..20].copy_from_slice(&shard.to_le_bytes());
        bytes[20..].copy_from_slice(&sequence.to_le_bytes());
        SegmentSeal(xxh3_64(&bytes))
    }

    fn header_checksum(self, offset: u64, header: &[u8]) -> u64 {
        xxh3_64_with_seed(&header[..AT_HEADER_CHECKSUM], self.0.wrapping_add(offset))
    }
}

/// A header that passed its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is.
    pub kind: RecordKind,
    /// Bytes of payload that follow the header, without padding.
    pub payload_bytes: u32,
    /// Number of the record in the shard's log: each record's is its predecessor's plus one, over all segments and restarts.
    pub lsn: u64,
    /// All records up to this one were durable when this one was written (0: none known).
    pub synced_lsn: u64,
    payload_checksum: u64,
}

impl RecordHeader {
    /// Bytes from this record's start to the earliest start of the next.
    pub fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + (self.payload_bytes as usize).next_multiple_of(RECORD_ALIGNMENT)
    }

    /// Is `payload` what was written?
    pub fn payload_matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && xxh3_64(payload) == self.payload_checksum
    }
}

/// Why bytes are not a record header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Padding, damage, or another life of a recycled file.
    #[error("not a record")]
    NotARecord,
    /// A sound header that this program is too old for.
    #[error("record format version {got} is newer than this program's {WAL_FORMAT_VERSION}")]
    NewerVersion {
        /// The version found.
        got: u8,
    },
    /// A sound header of a version that this program knows, with a kind that this version does not have.
    #[error("record kind {got} is unknown")]
    UnknownKind {
        /// The kind found.
        got: u8,
    },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0u8; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0u8; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Reads the header at `offset` of a segment.
pub fn read_header(
    bytes: &[u8; RECORD_HEADER_BYTES],
    seal: SegmentSeal,
    offset: u64,
) -> Result<RecordHeader, HeaderError> {
    if bytes[..4] != RECORD_MAGIC
        || u64_at(bytes, AT_HEADER_CHECKSUM) != seal.header_checksum(offset, bytes)
    {
        return Err(HeaderError::NotARecord);
    }
    let version = bytes[AT_VERSION];
    if version > WAL_FORMAT_VERSION {
        return Err(HeaderError::NewerVersion { got: version });
    }
    let got = bytes[AT_KIND];
    let kind = RecordKind::from_code(got).ok_or(HeaderError::UnknownKind { got })?;
    let lsn = u64_at(bytes, AT_LSN);
    let distance = u32_at(bytes, AT_SYNCED_DISTANCE);
    let synced_lsn = match distance {
        u32::MAX => 0,
        distance => lsn.saturating_sub(u64::from(distance)),
    };
    Ok(RecordHeader {
        kind,
        payload_bytes: u32_at(bytes, AT_PAYLOAD_BYTES),
        lsn,
        synced_lsn,
        payload_checksum: u64_at(bytes, AT_PAYLOAD_CHECKSUM),
    })
}

/// Length of the encoded (not yet stamped) record at the start of `bytes`, padding included.
///
/// For buffers that this module's encoders filled: `None` means that `bytes` does not begin with such a record.
pub fn encoded_record_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    if header[..4] != RECORD_MAGIC {
        return None;
    }
    let payload_bytes = u32_at(header, AT_PAYLOAD_BYTES) as usize;
    let record_bytes = RECORD_HEADER_BYTES + payload_bytes.next_multiple_of(RECORD_ALIGNMENT);
    (record_bytes <= bytes.len()).then_some(record_bytes)
}

/// Kind and payload of each of the encoded (not yet stamped) records that `bytes` is made of.
pub(crate) fn split_encoded_records(bytes: &[u8]) -> impl Iterator<Item = (RecordKind, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record_bytes = encoded_record_bytes(rest).expect("BUG: whole encoded records");
        let (record, behind) = rest.split_at(record_bytes);
        rest = behind;
        let kind = RecordKind::from_code(record[AT_KIND]).expect("BUG: an encoded kind");
        let end = RECORD_HEADER_BYTES + u32_at(record, AT_PAYLOAD_BYTES) as usize;
        Some((kind, &record[RECORD_HEADER_BYTES..end]))
    })
}

/// The place and number that a writer gives a record.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Segment that the record goes to.
    pub seal: SegmentSeal,
    /// Its offset in that segment.
    pub offset: u64,
    /// Its number in the log.
    pub lsn: u64,
    /// How far the log is known to be durable.
    pub synced_lsn: u64,
}

/// Binds an encoded record to its place; without this a reader refuses it.
pub fn stamp_record(record: &mut [u8], stamp: Stamp) {
    assert!(
        record.len() >= RECORD_HEADER_BYTES && record[..4] == RECORD_MAGIC,
        "BUG: only encoded records are stamped"
    );
    assert!(
        stamp.synced_lsn < stamp.lsn,
        "BUG: a record cannot be durable before it is written"
    );
    let distance = match stamp.synced_lsn {
        0 => u32::MAX,
        synced => u32::try_from(stamp.lsn - synced).unwrap_or(u32::MAX),
    };
    record[AT_SYNCED_DISTANCE..AT_LSN].copy_from_slice(&distance.to_le_bytes());
    record[AT_LSN..AT_PAYLOAD_CHECKSUM].copy_from_slice(&stamp.lsn.to_le_bytes());
    let checksum = stamp.seal.header_checksum(stamp.offset, record);
    record[AT_HEADER_CHECKSUM..RECORD_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Begins a record: reserves its header, returns where it is.
pub(super) fn begin_record(out: &mut Vec<u8>) -> usize {
    debug_assert!(out.len().is_multiple_of(RECORD_ALIGNMENT));
    let at = out.len();
    out.resize(at + RECORD_HEADER_BYTES, 0);
    at
}

/// Fills in the header of the record that began at `at` and pads to the alignment.
pub(super) fn finish_record(out: &mut Vec<u8>, at: usize, kind: RecordKind, lsn: u64) {
    let payload = &out[at + RECORD_HEADER_BYTES..];
    let payload_bytes = u32::try_from(payload.len()).expect("BUG: a record payload is bounded");
    let checksum = xxh3_64(payload);
    let header = &mut out[at..at + RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&RECORD_MAGIC);
    header[AT_VERSION] = kind.version();
    header[AT_KIND] = kind.code();
    header[AT_PAYLOAD_BYTES..AT_SYNCED_DISTANCE].copy_from_slice(&payload_bytes.to_le_bytes());
    header[AT_LSN..AT_PAYLOAD_CHECKSUM].copy_from_slice(&lsn.to_le_bytes());
    header[AT_PAYLOAD_CHECKSUM..AT_HEADER_CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    out.resize(out.len().next_multiple_of(RECORD_ALIGNMENT), 0);
}

/// Appends a record without payload.
pub fn encode_mark_record(out: &mut Vec<u8>) {
    let at = begin_record(out);
    finish_record(out, at, RecordKind::Mark, 0);
}

/// Longest varint in bytes.
const VARINT_BYTES_MAX: usize = 10;

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends series definitions as one record (more, should they exceed the payload limit; none for an empty iterator).
///
/// `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it stamps the record.
pub fn encode_series_record(
    out: &mut Vec<u8>,
    lsn: u64,
    series: &mut dyn Iterator<Item = (SeriesRef, &[u8])>,
) {
    let mut at = None;
    let mut previous_index = u32::MAX;
    for (reference, labels) in series {
        let bytes_max = labels.len() + 3 * VARINT_BYTES_MAX;
        if let Some(begun) = at
            && out.len() - begun - RECORD_HEADER_BYTES + bytes_max > WAL_RECORD_BYTES_MAX
        {
            finish_record(out, begun, RecordKind::Series, lsn);
            at = None;
        }
        if at.is_none() {
            at = Some(begin_record(out));
            previous_index = u32::MAX;
        }
        let step = reference.index.wrapping_sub(previous_index) as i32;
        put_varint(out, zigzag(i64::from(step)));
        put_varint(out, u64::from(reference.generation));
        put_varint(out, labels.len() as u64);
        out.extend_from_slice(labels);
        previous_index = reference.index;
    }
    if let Some(begun) = at {
        finish_record(out, begun, RecordKind::Series, lsn);
    }
}

/// Control byte: the series' index is written out (otherwise: the previous one plus one).
const EXPLICIT_INDEX: u8 = 0x80;
/// Control byte: generation and timestamp are written out (otherwise: as before).
const EXPLICIT_GENERATION_AND_TIME: u8 = 0x40;
/// Control byte: how the value is written.
const FORM_MASK: u8 = 0x30;
/// The highest bytes of the IEEE 754 bits; the rest are zero.
const FORM_FLOAT: u8 = 0x00;
/// A whole number, zigzag, little endian.
const FORM_WHOLE: u8 = 0x10;
/// A whole number of thousandths, zigzag, little endian.
const FORM_THOUSANDTHS: u8 = 0x20;
/// The previous sample's value.
const FORM_REPEAT: u8 = 0x30;
/// Control byte: how many value bytes follow.
const LENGTH_MASK: u8 = 0x0f;

/// Longest encoding of one sample: control byte, three varints, eight value bytes.
const SAMPLE_BYTES_MAX: usize = 1 + 3 * VARINT_BYTES_MAX + 8;
/// Samples for which room is made at once.
const SAMPLES_PER_RESERVE: usize = 64;
/// Whole numbers up to here survive the way through `i64` and back, and leave zigzag room in 7 bytes.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// The shortest exact form of a value: form bits with length, and the bytes as a little-endian word.
#[inline]
pub(super) fn shortest_form(value: f64) -> (u8, u64) {
    let bits = value.to_bits();
    // Negative zero is not a whole number here: as an integer it would lose its sign.
    if value.abs() < WHOLE_MAX {
        let whole = value as i64;
        if (whole as f64).to_bits() == bits {
            return whole_form(FORM_WHOLE, whole);
        }
        let thousandths = (value * 1000.0).round_ties_even() as i64;
        if thousandths.unsigned_abs() < WHOLE_MAX as u64
            && (thousandths as f64 / 1000.0).to_bits() == bits
        {
            let (form, word) = whole_form(FORM_THOUSANDTHS, thousandths);
            let float_bytes = 8 - (bits.trailing_zeros() / 8) as u8;
            if form & LENGTH_MASK < float_bytes {
                return (form, word);
            }
        }
    }
    let zero_bytes = (bits.trailing_zeros() / 8).min(7);
    (
        FORM_FLOAT | (8 - zero_bytes as u8),
        bits >> (8 * zero_bytes),
    )
}

#[inline]
fn whole_form(form: u8, whole: i64) -> (u8, u64) {
    let word = zigzag(whole);
    let length = 8 - (word.leading_zeros() / 8) as u8;
    (form | length, word)
}

/// Appends samples as one record (more, should they exceed the payload limit; none for empty columns).
///
/// The three columns have one length. `lsn` is the caller's number for the commit; the writer replaces it by the log's own when it
/// stamps the record.
pub fn encode_samples_record(
    out: &mut Vec<u8>,
    lsn: u64,
    refs: &[SeriesRef],
    timestamps: &[TimestampMs],
    values: &[f64],
) {
    encode_samples(out, lsn, RecordKind::Samples, refs, timestamps, values);
}

/// As [`encode_samples_record`], for samples that came out of order.
pub fn encode_out_of_order_samples_record(
    out: &mut Vec<u8>,
    lsn: u64,
    refs: &[SeriesRef],
    timestamps: &[TimestampMs],
    values: &[f64],
) {
    let kind = RecordKind::OutOfOrderSamples;
    encode_samples(out, lsn, kind, refs, timestamps, values);
}

fn encode_samples(
    out: &mut Vec<u8>,
    lsn: u64,
    kind: RecordKind,
    refs: &[SeriesRef],
    timestamps: &[TimestampMs],
    values: &[f64],
) {
    assert!(
        refs.len() == timestamps.len() && refs.len() == values.len(),
        "BUG: sample columns differ in length"
    );
    let samples_max = WAL_RECORD_BYTES_MAX / SAMPLE_BYTES_MAX;
    let columns = refs
        .chunks(samples_max)
        .zip(timestamps.chunks(samples_max))
        .zip(values.chunks(samples_max));
    for ((refs, timestamps), values) in columns {
        let at = begin_record(out);
        put_samples(out, refs, timestamps, values);
        finish_record(out, at, kind, lsn);
    }
}

/// Writes the payload. Room for a group of samples is made at once, then bytes are stored at a running position: pushing them one by
/// one costs three times as much.
fn put_samples(out: &mut Vec<u8>, refs: &[SeriesRef], timestamps: &[TimestampMs], values: &[f64]) {
    let mut previous = SeriesRef {
        index: u32::MAX,
        generation: 0,
    };
    let mut previous_time: TimestampMs = 0;
    let mut previous_bits = 0u64;
    let groups = refs
        .chunks(SAMPLES_PER_RESERVE)
        .zip(timestamps.chunks(SAMPLES_PER_RESERVE))
        .zip(values.chunks(SAMPLES_PER_RESERVE));
    for ((refs, timestamps), values) in groups {
        let start = out.len();
        out.resize(start + refs.len() * SAMPLE_BYTES_MAX, 0);
        let room = &mut out[start..];
        let mut position = 0;
        for ((reference, &time), &value) in refs.iter().zip(timestamps).zip(values) {
            let control_at = position;
            position += 1;
            let mut control = 0;
            let step = reference.index.wrapping_sub(previous.index);
            if step != 1 {
                control |= EXPLICIT_INDEX;
                position = store_varint(room, position, zigzag(i64::from(step as i32)));
            }
            if reference.generation != previous.generation || time != previous_time {
                control |= EXPLICIT_GENERATION_AND_TIME;
                let generation_step = reference.generation.wrapping_sub(previous.generation);
                position = store_varint(room, position, zigzag(i64::from(generation_step as i32)));
                position = store_varint(room, position, zigzag(time.wrapping_sub(previous_time)));
            }
            let bits = value.to_bits();
            if bits == previous_bits {
                control |= FORM_REPEAT;
            } else {
                let (form, word) = shortest_form(value);
                control |= form;
                room[position..position + 8].copy_from_slice(&word.to_le_bytes());
                position += usize::from(form & LENGTH_MASK);
            }
            room[control_at] = control;
            previous = *reference;
            previous_time = time;
            previous_bits = bits;
        }
        out.truncate(start + position);
    }
}

#[inline]
fn store_varint(room: &mut [u8], mut position: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        room[position] = value as u8 | 0x80;
        value >>= 7;
        position += 1;
    }
    room[position] = value as u8;
    position + 1
}

/// The value that [`shortest_form`] wrote: the bits of `control`, at most eight bytes in `word`. Not for repetitions.
#[inline]
fn value_bits(control: u8, word: u64) -> u64 {
    let length = usize::from(control & LENGTH_MASK);
    match control & FORM_MASK {
        FORM_FLOAT if length > 0 => word << (8 * (8 - length)),
        FORM_FLOAT => 0,
        FORM_WHOLE => (unzigzag(word) as f64).to_bits(),
        _ => (unzigzag(word) as f64 / 1000.0).to_bits(),
    }
}

/// The bits of a number that stands alone; `None` for a control byte that no number has.
pub(super) fn number_bits(control: u8, word: u64) -> Option<u64> {
    let known = control & !(FORM_MASK | LENGTH_MASK) == 0
        && control & FORM_MASK != FORM_REPEAT
        && control & LENGTH_MASK <= 8;
    known.then(|| value_bits(control, word))
}

/// Why a payload whose checksum is right cannot be read: a fault of the program that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The payload ends inside an entry.
    #[error("payload ends inside an entry at byte {at}")]
    Truncated {
        /// Offset in the payload.
        at: usize,
    },
    /// A number or code outside its range.
    #[error("invalid entry at byte {at} of the payload")]
    Invalid {
        /// Offset in the payload.
        at: usize,
    },
    /// A kind of record that the reader of this log does not take; nothing is passed over in silence.
    #[error("records of kind {kind:?} are not taken here")]
    NotTaken {
        /// The kind.
        kind: RecordKind,
    },
}

pub(super) fn take_varint(payload: &[u8], position: &mut usize) -> Result<u64, PayloadError> {
    let start = *position;
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let Some(&byte) = payload.get(*position) else {
            return Err(PayloadError::Truncated { at: start });
        };
        *position += 1;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return Err(PayloadError::Invalid { at: start });
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(PayloadError::Invalid { at: start })
}

pub(super) fn take_step(payload: &[u8], position: &mut usize) -> Result<u32, PayloadError> {
    let at = *position;
    let step = unzigzag(take_varint(payload, position)?);
    match i32::try_from(step) {
        Ok(step) => Ok(step as u32),
        Err(_) => Err(PayloadError::Invalid { at }),
    }
}

/// Calls `visit` for each series definition of a [`RecordKind::Series`] payload.
pub fn decode_series(
    payload: &[u8],
    visit: &mut dyn FnMut(SeriesRef, &[u8]),
) -> Result<(), PayloadError> {
    let mut position = 0;
    let mut index = u32::MAX;
    while position < payload.len() {
        index = index.wrapping_add(take_step(payload, &mut position)?);
        let at = position;
        let generation = u32::try_from(take_varint(payload, &mut position)?)
            .map_err(|_| PayloadError::Invalid { at })?;
        let at = position;
        let labels = usize::try_from(take_varint(payload, &mut position)?)
            .ok()
            .and_then(|bytes| position.checked_add(bytes))
            .and_then(|end| payload.get(position..end))
            .ok_or(PayloadError::Truncated { at })?;
        position += labels.len();
        visit(SeriesRef { index, generation }, labels);
    }
    Ok(())
}

/// Columns that samples are decoded into.
#[derive(Debug, Default)]
pub struct DecodedSamples {
    /// Whose sample it is.
    pub refs: Vec<SeriesRef>,
    /// When.
    pub timestamps: Vec<TimestampMs>,
    /// What, bit for bit.
    pub values: Vec<f64>,
}

impl DecodedSamples {
    fn clear(&mut self) {
        self.refs.clear();
        self.timestamps.clear();
        self.values.clear();
    }
}

/// Decodes a [`RecordKind::Samples`] payload into `out`, whose old content is dropped.
pub fn decode_samples(payload: &[u8], out: &mut DecodedSamples) -> Result<(), PayloadError> {
    out.clear();
    let mut position = 0;
    let mut reference = SeriesRef {
        index: u32::MAX,
        generation: 0,
    };
    let mut time: TimestampMs = 0;
    let mut bits = 0u64;
    while position < payload.len() {
        let at = position;
        let control = payload[position];
        position += 1;
        let step = match control & EXPLICIT_INDEX {
            0 => 1,
            _ => take_step(payload, &mut position)?,
        };
        reference.index = reference.index.wrapping_add(step);
        if control & EXPLICIT_GENERATION_AND_TIME != 0 {
            let step = take_step(payload, &mut position)?;
            reference.generation = reference.generation.wrapping_add(step);
            time = time.wrapping_add(unzigzag(take_varint(payload, &mut position)?));
        }
        let length = usize::from(control & LENGTH_MASK);
        if length > 8 {
            return Err(PayloadError::Invalid { at });
        }
        let word = match payload.get(position..position + 8) {
            // The common case reads a whole word and cuts it.
            Some(bytes) if length > 0 => u64_at(bytes, 0) & (u64::MAX >> (64 - 8 * length)),
            _ => {
                let Some(bytes) = payload.get(position..position + length) else {
                    return Err(PayloadError::Truncated { at });
                };
                let mut word = [0u8; 8];
                word[..length].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            }
        };
        position += length;
        bits = match control & FORM_MASK {
            FORM_REPEAT if length == 0 => bits,
            FORM_REPEAT => return Err(PayloadError::Invalid { at }),
            _ => value_bits(control, word),
        };
        out.refs.push(reference);
        out.timestamps.push(time);
        out.values.push(f64::from_bits(bits));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::STALE_NAN_BITS;

    fn reference(index: u32, generation: u32) -> SeriesRef {
        SeriesRef { index, generation }
    }

    /// Encodes, stamps, reads back; returns payload bytes.
    fn round_trip(refs: &[SeriesRef], timestamps: &[i64], values: &[f64]) -> usize {
        let mut out = Vec::new();
        encode_samples_record(&mut out, 7, refs, timestamps, values);
        let seal = SegmentSeal::new(&[3; 16], 1, 9);
        stamp_record(
            &mut out,
            Stamp {
                seal,
                offset: 512,
                lsn: 40,
                synced_lsn: 38,
            },
        );
        let header = read_header(out[..40].try_into().unwrap(), seal, 512).unwrap();
        assert_eq!(
            (header.kind, header.lsn, header.synced_lsn),
            (RecordKind::Samples, 40, 38)
        );
        assert_eq!(header.record_bytes(), out.len());
        assert_eq!(encoded_record_bytes(&out), Some(out.len()));
        let payload = &out[40..40 + header.payload_bytes as usize];
        assert!(header.payload_matches(payload));
        let mut samples = DecodedSamples::default();
        decode_samples(payload, &mut samples).unwrap();
        assert_eq!(samples.refs, refs);
        assert_eq!(samples.timestamps, timestamps);
        assert_eq!(samples.values.len(), values.len());
        for (got, want) in samples.values.iter().zip(values) {
            assert_eq!(got.to_bits(), want.to_bits(), "{got} for {want}");
        }
        payload.len()
    }

    #[test]
    fn every_kind_of_value_survives() {
        let mut values = vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            -0.001,
            45.678,
            1e300,
            5e-324,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::from_bits(STALE_NAN_BITS),
            f64::from_bits(0xfff8_0000_0000_0001),
            9_007_199_254_740_991.0,
            9_007_199_254_740_992.0,
            -9_007_199_254_740_993.0,
            9_007_199_254_740.99,
        ];
        let mut seed = 1u64;
        for shift in 0..3000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            values.push(f64::from_bits(seed.rotate_left(shift)));
            values.push((seed >> (shift % 64)) as f64);
            values.push((seed >> (shift % 64)) as f64 / 1000.0);
            values.push(values[values.len() - 1]);
        }
        let refs: Vec<_> = (0..values.len() as u32)
            .map(|i| reference(i.wrapping_mul(0x9e37_79b9), i % 3 * (u32::MAX / 2)))
            .collect();
        let edge = [i64::MIN, i64::MAX, 0, -1, 1_700_000_000_000];
        let timestamps: Vec<_> = (0..values.len()).map(|i| edge[i % edge.len()]).collect();
        round_trip(&refs, &timestamps, &values);
    }

    #[test]
    fn whole_numbers_of_one_scrape_cost_at_most_five_bytes() {
        let refs: Vec<_> = (0..2000).map(|i| reference(i, 0)).collect();
        let timestamps = vec![1_700_000_000_000; 2000];
        let counters: Vec<_> = (0..2000).map(|i| f64::from(i * 7919 % 1_000_003)).collect();
        let bytes = round_trip(&refs, &timestamps, &counters);
        assert!(bytes <= 2000 * 5, "{bytes} bytes for 2000 samples");
        let seconds: Vec<_> = (0..2000)
            .map(|i| f64::from(i * 7919 % 1_000_003) / 1000.0)
            .collect();
        let bytes = round_trip(&refs, &timestamps, &seconds);
        assert!(bytes <= 2000 * 5, "{bytes} bytes for 2000 samples");
    }

    #[test]
    fn series_definitions_survive() {
        let labels: Vec<Vec<u8>> = (0..300usize).map(|i| vec![i as u8; i * 3]).collect();
        let refs: Vec<_> = (0..300).map(|i| reference(i * i, u32::MAX - i)).collect();
        let mut out = Vec::new();
        let mut series = refs.iter().copied().zip(labels.iter().map(Vec::as_slice));
        encode_series_record(&mut out, 1, &mut series);
        let end = 40 + u32_at(&out, AT_PAYLOAD_BYTES) as usize;
        let mut seen = Vec::new();
        decode_series(&out[40..end], &mut |r, l| seen.push((r, l.to_vec()))).unwrap();
        assert_eq!(seen, refs.into_iter().zip(labels).collect::<Vec<_>>());
        let mut none = Vec::new();
        encode_series_record(&mut none, 1, &mut std::iter::empty());
        assert!(none.is_empty());
    }

    /// Bytes of version 1, for ever: a log that was written must stay readable. A change here is a new version.
    #[test]
    fn version_1_is_these_bytes() {
        let refs = [reference(0, 1), reference(1, 1), reference(7, 1)];
        let mut out = Vec::new();
        let times = [1_700_000_000_000; 3];
        encode_samples_record(&mut out, 0, &refs, &times, &[12_345.0, 0.25, f64::NAN]);
        let mut series = std::iter::once((reference(7, 1), b"ab".as_slice()));
        encode_series_record(&mut out, 0, &mut series);
        let seal = SegmentSeal::new(&[3; 16], 1, 9);
        let mut at = 0;
        for lsn in [5, 6] {
            let stamp = Stamp {
                seal,
                offset: at as u64,
                lsn,
                synced_lsn: 4,
            };
            let bytes = encoded_record_bytes(&out[at..]).unwrap();
            stamp_record(&mut out[at..at + bytes], stamp);
            at += bytes;
        }
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = concat!(
        "6657414c0102000011000000010000000500000000000000d7eef308b869c884b8314784e471921f",
        "520280a0abfef962726002d03f820cf87f000000000000006657414c010100000500000002000000",
        "0600000000000000acf234458cc2edcfdd6d10998e088bea1001026162000000",
    );

    #[test]
    fn a_header_is_believed_only_in_its_place() {
        let mut out = Vec::new();
        encode_mark_record(&mut out);
        let seal = SegmentSeal::new(&[3; 16], 1, 9);
        stamp_record(
            &mut out,
            Stamp {
                seal,
                offset: 64,
                lsn: 1,
                synced_lsn: 0,
            },
        );
        let bytes: [u8; 40] = out[..40].try_into().unwrap();
        assert!(read_header(&bytes, seal, 64).is_ok());
        let refused = Err(HeaderError::NotARecord);
        assert_eq!(read_header(&bytes, seal, 72), refused);
        for other in [
            SegmentSeal::new(&[4; 16], 1, 9),
            SegmentSeal::new(&[3; 16], 2, 9),
            SegmentSeal::new(&[3; 16], 1, 8),
        ] {
            assert_eq!(read_header(&bytes, other, 64), refused);
        }
        for bit in 0..320 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&flipped, seal, 64), refused, "bit {bit}");
        }
        let mut newer = bytes;
        newer[AT_VERSION] = WAL_FORMAT_VERSION + 1;
        let checksum = seal.header_checksum(64, &newer).to_le_bytes();
        newer[AT_HEADER_CHECKSUM..].copy_from_slice(&checksum);
        assert_eq!(
            read_header(&newer, seal, 64),
            Err(HeaderError::NewerVersion {
                got: WAL_FORMAT_VERSION + 1
            })
        );
        let mut strange = bytes;
        strange[AT_KIND] = 10;
        let checksum = seal.header_checksum(64, &strange).to_le_bytes();
        strange[AT_HEADER_CHECKSUM..].copy_from_slice(&checksum);
        assert_eq!(
            read_header(&strange, seal, 64),
            Err(HeaderError::UnknownKind { got: 10 })
        );
    }

    #[test]
    fn kinds_have_codes_of_their_own_and_come_back() {
        for (kind, code, version) in KINDS {
            assert_eq!(RecordKind::from_code(code), Some(kind));
            assert_eq!((kind.code(), kind.version()), (code, version));
            assert!(version <= WAL_FORMAT_VERSION);
        }
        assert_eq!(RecordKind::from_code(0), None);
        assert_eq!(RecordKind::from_code(10), None);
    }

    #[test]
    fn any_bytes_decode_to_samples_or_an_error() {
        let mut seed = 9u64;
        let mut samples = DecodedSamples::default();
        for length in 0..2000usize {
            let payload: Vec<u8> = (0..length % 61)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed as u8
                })
                .collect();
            let _ = decode_samples(&payload, &mut samples);
            assert!(samples.refs.len() <= payload.len());
            let _ = decode_series(&payload, &mut |_, labels| assert!(labels.len() <= 61));
        }
    }
}
