//! The bytes of a push log: a header, then records, each with its length and checksum. Format: `docs/format/push.md`.
//!
//! Promise: a damaged record costs itself. Records begin at multiples of eight bytes, and a reader that has lost its way looks for the next
//! beginning whose checksum is right. The checksum knows the number of the log, so bytes of another log are none of this one's.
//! Not here: files.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the format.
pub const PUSH_LOG_FORMAT_VERSION: u32 = 1;
/// Length of the header.
pub const PUSH_LOG_HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"FERPUSH\0";
const RECORD_MAGIC: [u8; 4] = *b"PREC";
const RECORD_HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 8;

const _: () = assert!(PUSH_LOG_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGNMENT));

/// A log that this version must not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the push log has format version {0}, this program knows {PUSH_LOG_FORMAT_VERSION}")]
pub struct UnknownVersion(pub u32);

/// What reading a log came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogReading {
    /// Sound records.
    pub records: usize,
    /// Bytes before the last sound record (or in the header) that are part of none.
    pub damaged_bytes: usize,
    /// Bytes behind the last sound record that are not zero: a write that was cut, or damage.
    pub tail_bytes: usize,
    /// Where the last sound record ends.
    pub end: usize,
}

/// The header of log number `sequence`.
pub fn log_header(sequence: u64) -> [u8; PUSH_LOG_HEADER_BYTES] {
    let mut out = [0; PUSH_LOG_HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&PUSH_LOG_FORMAT_VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&sequence.to_le_bytes());
    let checksum = xxh3_64_with_seed(&out[..24], sequence);
    out[24..].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn checksum(sequence: u64, length: [u8; 4], payload: &[u8]) -> u64 {
    let length = u64::from(u32::from_le_bytes(length));
    xxh3_64_with_seed(payload, sequence.rotate_left(32) ^ length)
}

/// Appends a record to what will be written at a multiple of eight bytes. A payload has less than 4 GiB: limits of bodies see to that.
pub fn append_record(out: &mut Vec<u8>, sequence: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert!(length < u32::MAX, "BUG: a push of 4 GiB");
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(sequence, length.to_le_bytes(), payload).to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

/// The payload of the record at `at`, if there is a sound one.
fn record_at(log: &[u8], at: usize, sequence: u64) -> Option<&[u8]> {
    let rest = log.get(at..)?;
    let (header, rest) = rest.split_at_checked(RECORD_HEADER_BYTES)?;
    let (magic, header) = header.split_first_chunk::<4>()?;
    let (length, sum) = header.split_first_chunk::<4>()?;
    let sum: [u8; 8] = sum.try_into().ok()?;
    if *magic != RECORD_MAGIC {
        return None;
    }
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (checksum(sequence, *length, payload) == u64::from_le_bytes(sum)).then_some(payload)
}

/// Reads log number `sequence`; `record` gets every sound payload in order and says whether it made sense of it.
pub fn read_log(
    log: &[u8],
    sequence: u64,
    mut record: impl FnMut(&[u8]) -> bool,
) -> Result<LogReading, UnknownVersion> {
    let mut out = LogReading {
        end: PUSH_LOG_HEADER_BYTES,
        ..LogReading::default()
    };
    let header = log.get(..PUSH_LOG_HEADER_BYTES).unwrap_or_default();
    if header != log_header(sequence) {
        if let (Some(MAGIC), Some(version)) = (log.first_chunk::<8>().copied(), log.get(8..12)) {
            let version = version.try_into().map_or(0, u32::from_le_bytes);
            let sum = header.get(24..).and_then(|sum| sum.try_into().ok());
            let sound = header.get(..24).map(|h| xxh3_64_with_seed(h, sequence))
                == sum.map(u64::from_le_bytes);
            if sound && version > PUSH_LOG_FORMAT_VERSION {
                return Err(UnknownVersion(version));
            }
        }
        out.damaged_bytes = PUSH_LOG_HEADER_BYTES;
    }
    let (mut at, mut astray) = (PUSH_LOG_HEADER_BYTES, 0);
    while at < log.len() {
        match record_at(log, at, sequence) {
            Some(payload) => {
                out.damaged_bytes += std::mem::take(&mut astray);
                let bytes = (RECORD_HEADER_BYTES + payload.len()).next_multiple_of(ALIGNMENT);
                match record(payload) {
                    true => out.records += 1,
                    false => out.damaged_bytes += bytes,
                }
                at += bytes;
                out.end = at;
            }
            None => {
                let word = &log[at..log.len().min(at + ALIGNMENT)];
                if word.iter().any(|byte| *byte != 0) || astray > 0 {
                    astray += word.len();
                }
                at += ALIGNMENT;
            }
        }
    }
    out.tail_bytes = astray;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: u64 = 3;
    const PAYLOADS: [&[u8]; 4] = [b"first", b"", b"a third one, longer", b"12345678"];

    fn log() -> Vec<u8> {
        let mut log = log_header(SEQUENCE).to_vec();
        for payload in PAYLOADS {
            append_record(&mut log, SEQUENCE, payload);
        }
        log
    }

    fn read(log: &[u8]) -> (Vec<Vec<u8>>, LogReading) {
        let mut found = Vec::new();
        let reading = read_log(log, SEQUENCE, |payload| {
            found.push(payload.to_vec());
            true
        });
        (found, reading.unwrap())
    }

    #[test]
    fn a_log_is_read_back() {
        let (found, reading) = read(&log());
        assert_eq!(found, PAYLOADS);
        let expected = LogReading {
            records: 4,
            damaged_bytes: 0,
            tail_bytes: 0,
            end: log().len(),
        };
        assert_eq!(reading, expected);
        let mut longer = log();
        longer.extend([0; 100]);
        assert_eq!(read(&longer).1, expected);
        let other = read_log(&log(), SEQUENCE + 1, |_| true).unwrap();
        assert_eq!(other.records, 0);
    }

    #[test]
    fn a_cut_costs_the_record_it_hits() {
        let whole = log();
        for end in PUSH_LOG_HEADER_BYTES..whole.len() {
            let (found, reading) = read(&whole[..end]);
            assert_eq!(found, PAYLOADS[..found.len()]);
            assert_eq!(reading.damaged_bytes, 0);
            // A record without its padding is whole.
            let read = reading.end + reading.tail_bytes;
            assert!((end..end + ALIGNMENT).contains(&read), "cut at {end}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_at_most() {
        let whole = log();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (found, reading) = read(&damaged);
            assert!(
                found.iter().all(|f| PAYLOADS.contains(&&f[..])),
                "bit {bit}"
            );
            assert!(found.len() >= PAYLOADS.len() - 1, "bit {bit}");
            let noticed = reading.damaged_bytes + reading.tail_bytes > 0;
            // Padding belongs to no record.
            assert!(noticed || found == PAYLOADS, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_log_is_not_touched() {
        let mut log = log();
        log[8] = 2;
        let sum = xxh3_64_with_seed(&log[..24], SEQUENCE);
        log[24..32].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read_log(&log, SEQUENCE, |_| true), Err(UnknownVersion(2)));
    }
}
