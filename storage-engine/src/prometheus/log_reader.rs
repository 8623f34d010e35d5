//! Reads Prometheus's write-ahead log: segments of pages of fragments, down to whole records.
//!
//! Layout: files `00000000` and on, in pages of 32 KiB; a fragment is a flag byte (kind, compression), length (2 bytes), CRC-32C (4 bytes), data. A
//! record is one full fragment, or first, middle and last ones; kind 0 means that the rest of the page is empty.
//! Promise: a record whose checksum fails is never given out; what is lost is told. A segment that ends inside a record is the end of a log whose
//! process was killed, not damage, if it is the last one. Not here: what records mean (`records`).

use super::checksum::crc32c;
use crate::io::Disk;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a page.
const PAGE_BYTES: usize = 32 << 10;
/// Bytes before a fragment's data.
const FRAGMENT_HEADER_BYTES: usize = 7;
/// Flag: the record is compressed with Snappy.
const SNAPPY: u8 = 1 << 3;
/// Flag: the record is compressed with Zstandard.
const ZSTD: u8 = 1 << 4;
/// The bits of a flag byte that are the kind.
const KIND_MASK: u8 = 0b111;
/// A record that says it is longer when decompressed is damage.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// The parts of a log, in the order in which they are to be read.
pub(super) struct LogParts {
    /// Segments of the newest checkpoint, then those behind it.
    pub(super) segments: Vec<PathBuf>,
}

fn numbered(names: Vec<String>) -> Vec<(u64, String)> {
    let mut all: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((name.parse().ok()?, name)))
        .collect();
    all.sort_unstable();
    all
}

/// Finds the log in directory `dir`; `None` if there is no such directory.
pub(super) fn find_log(disk: &dyn Disk, dir: &Path) -> io::Result<Option<LogParts>> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let checkpoint = names
        .iter()
        .filter_map(|name| Some((name.strip_prefix("checkpoint.")?.parse::<u64>().ok()?, name)))
        .max();
    let mut segments = Vec::new();
    let mut first = 0;
    if let Some((number, name)) = checkpoint {
        let dir = dir.join(name);
        let parts = numbered(disk.list(&dir)?);
        segments.extend(parts.into_iter().map(|(_, name)| dir.join(name)));
        first = number + 1;
    }
    let behind = numbered(names).into_iter().filter(|(n, _)| *n >= first);
    segments.extend(behind.map(|(_, name)| dir.join(name)));
    Ok(Some(LogParts { segments }))
}

/// Why a segment is not read to its end.
enum Stop {
    /// It ends inside a record.
    CutShort,
    /// Something is wrong there.
    Damage(String),
}

/// Calls `visit` with each record of a log. `damage` is told what is lost: after damage, reading goes on with the next segment.
pub(super) fn read_log(
    disk: &dyn Disk,
    parts: &LogParts,
    visit: &mut dyn FnMut(&[u8]),
    damage: &mut dyn FnMut(String),
) -> io::Result<()> {
    for (index, path) in parts.segments.iter().enumerate() {
        let bytes = disk.map(path)?;
        let is_last = index + 1 == parts.segments.len();
        match read_segment(&bytes, visit) {
            Ok(()) => {}
            Err((_, Stop::CutShort)) if is_last => {}
            Err((at, Stop::CutShort)) => {
                damage(format!("{} ends inside a record at {at}", path.display()));
            }
            Err((at, Stop::Damage(text))) => {
                damage(format!("{} at offset {at}: {text}", path.display()));
            }
        }
    }
    Ok(())
}

fn read_segment(bytes: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), (usize, Stop)> {
    let mut record = Vec::new();
    let mut inside = false;
    let mut compression = 0;
    let mut at = 0;
    while at < bytes.len() {
        let stop = |text: &str| Err((at, Stop::Damage(text.to_owned())));
        let page_left = PAGE_BYTES - at % PAGE_BYTES;
        let flags = bytes[at];
        let kind = flags & KIND_MASK;
        if kind == 0 {
            let end = (at + page_left).min(bytes.len());
            if bytes[at..end].iter().any(|&byte| byte != 0) {
                return stop("bytes where the page should be empty");
            }
            at = end;
            continue;
        }
        if page_left < FRAGMENT_HEADER_BYTES {
            return stop("a fragment does not fit its page");
        }
        let Some(header) = bytes.get(at..at + FRAGMENT_HEADER_BYTES) else {
            return Err((at, Stop::CutShort));
        };
        let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
        if FRAGMENT_HEADER_BYTES + length > page_left {
            return stop("a fragment is longer than its page");
        }
        let start = at + FRAGMENT_HEADER_BYTES;
        let Some(data) = bytes.get(start..start + length) else {
            return Err((at, Stop::CutShort));
        };
        if crc32c(data).to_be_bytes() != header[3..7] {
            return stop("checksum mismatch");
        }
        let begins = matches!(kind, 1 | 2);
        if begins == inside || kind > 4 {
            return stop("a fragment out of place");
        }
        if begins {
            record.clear();
            compression = flags & (SNAPPY | ZSTD);
        }
        record.extend_from_slice(data);
        inside = matches!(kind, 2 | 3);
        if !inside {
            decompress(&record, compression, visit).map_err(|text| (at, Stop::Damage(text)))?;
        }
        at = start + length;
    }
    match inside {
        true => Err((at, Stop::CutShort)),
        false => Ok(()),
    }
}

fn decompress(record: &[u8], compression: u8, visit: &mut dyn FnMut(&[u8])) -> Result<(), String> {
    match compression {
        0 => visit(record),
        SNAPPY => {
            let length = snap::raw::decompress_len(record).map_err(|error| error.to_string())?;
            if length > RECORD_BYTES_MAX {
                return Err(format!("a record of {length} bytes"));
            }
            let plain = snap::raw::Decoder::new().decompress_vec(record);
            visit(&plain.map_err(|error| error.to_string())?);
        }
        _ => {
            return Err(
                "compressed with zstd, which is not supported; take a snapshot and import that"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(crc32c(data).to_be_bytes());
        bytes.extend(data);
        bytes
    }

    /// Where reading stopped, and the damage if it was that.
    type End = Option<(usize, Option<String>)>;

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, End) {
        let mut records = Vec::new();
        let end = read_segment(bytes, &mut |record| records.push(record.to_vec()));
        let end = end.err().map(|(at, stop)| match stop {
            Stop::CutShort => (at, None),
            Stop::Damage(text) => (at, Some(text)),
        });
        (records, end)
    }

    #[test]
    fn records_are_put_together_and_checked() {
        let compressed = snap::raw::Encoder::new().compress_vec(b"squeezed").unwrap();
        let mut segment = fragment(1, b"whole");
        segment.extend(fragment(1 | SNAPPY, &compressed));
        segment.extend(fragment(2, b"in "));
        segment.extend(fragment(3, b"three "));
        segment.extend(fragment(4, b"parts"));
        segment.resize(PAGE_BYTES, 0);
        segment.extend(fragment(1, b"next page"));
        let (records, end) = read(&segment);
        let wanted: [&[u8]; 4] = [b"whole", b"squeezed", b"in three parts", b"next page"];
        assert_eq!(
            (records.as_slice(), &end),
            (wanted.map(<[u8]>::to_vec).as_slice(), &None)
        );
        let (records, end) = read(&segment[..segment.len() - 1]);
        assert_eq!((records.len(), end), (3, Some((PAGE_BYTES, None))));
        let mut flipped = segment.clone();
        flipped[7] ^= 1;
        let (records, end) = read(&flipped);
        assert_eq!(
            (records.len(), end),
            (0, Some((0, Some("checksum mismatch".to_owned()))))
        );
        let (records, end) = read(&fragment(4, b"no beginning"));
        assert_eq!(records.len(), 0);
        assert!(end.is_some());
        let (_, end) = read(&fragment(1 | ZSTD, b"x"));
        assert!(end.is_some_and(|(_, text)| text.is_some_and(|t| t.contains("zstd"))));
    }
}
