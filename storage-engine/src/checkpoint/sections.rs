//! Finding the sections of a checkpoint's file, and reading one again.
//!
//! Promise: memory is bounded by the longest section, however long the file is; what the disk will not give reads as zeros, which no checksum
//! takes for right. A payload is checked each time that it is read. Not here: what the payloads mean (`series`, `load`).

use super::format::{
    CheckpointSeal, NoHeader, SECTION_ALIGNMENT, SECTION_HEADER_BYTES, SectionKind, read_header,
};
use crate::io::{DiskFile, WINDOW_BYTES, Window};
use std::io;
use xxhash_rust::xxh3::xxh3_64;

/// A section that passed its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    /// Its place among the sections, from 0.
    pub(super) number: u64,
    /// What is lost with it.
    pub(super) entries: u32,
    /// Where its payload is in the file.
    start: u64,
    payload_bytes: usize,
    checksum: u64,
}

impl Section {
    /// The payload; `None` if the disk now reads something else than when the section was found.
    pub(super) fn payload<'w>(&self, window: &'w mut Window<'_>) -> io::Result<Option<&'w [u8]>> {
        // With the header behind, so that each byte of a file that is read from front to back is read once.
        let ahead = self.payload_bytes.next_multiple_of(SECTION_ALIGNMENT) + SECTION_HEADER_BYTES;
        let payload = window.get_with(self.start, self.payload_bytes, ahead)?;
        Ok(payload.filter(|payload| xxh3_64(payload) == self.checksum))
    }
}

/// Why a file is no checkpoint for this program.
#[derive(Debug)]
pub(super) enum ScanError {
    Read(io::Error),
    Newer { version: u8 },
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sound sections in the order of the file.
    pub(super) sections: Vec<Section>,
    /// Series in sound sections.
    pub(super) series: u64,
    /// Series of sections whose header is right and whose payload is not.
    pub(super) damaged_series: u64,
    /// Length of the file.
    pub(super) bytes: u64,
}

/// Finds the sound sections of a file.
pub(super) fn scan(file: &dyn DiskFile, seal: CheckpointSeal) -> Result<Found, ScanError> {
    let mut window = Window::new(file).map_err(ScanError::Read)?;
    let mut found = Found {
        bytes: window.file_bytes(),
        ..Found::default()
    };
    let mut at = 0;
    while let Some(header) = window
        .get_with(at, SECTION_HEADER_BYTES, WINDOW_BYTES)
        .map_err(ScanError::Read)?
    {
        let header = match read_header(header, seal, at) {
            Ok(header) => header,
            Err(NoHeader::NotASection) => {
                at += SECTION_ALIGNMENT as u64;
                continue;
            }
            Err(NoHeader::Newer { version }) => return Err(ScanError::Newer { version }),
        };
        let section = Section {
            kind: header.kind,
            number: header.number,
            entries: header.entries,
            start: at + SECTION_HEADER_BYTES as u64,
            payload_bytes: header.payload_bytes,
            checksum: header.payload_checksum,
        };
        let series = match header.kind {
            SectionKind::Series => u64::from(header.entries),
            _ => 0,
        };
        at = section.start + header.payload_bytes as u64;
        at = at.next_multiple_of(SECTION_ALIGNMENT as u64);
        let sound = section.payload(&mut window).map_err(ScanError::Read)?;
        if sound.is_some() {
            found.series += series;
            found.sections.push(section);
        } else {
            found.damaged_series += series;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::{
        AT_HEADER_CHECKSUM, AT_VERSION, CHECKPOINT_FORMAT_VERSION, SectionWriter, begin_section,
    };
    use crate::io::{Access, Disk, SimulatedDisk};
    use std::path::Path;

    fn file(seal: CheckpointSeal) -> Vec<u8> {
        let mut writer = SectionWriter::new(seal);
        let mut file = Vec::new();
        for (kind, payload) in [
            (SectionKind::State, &b"state"[..]),
            (SectionKind::Series, b"some series"),
            (SectionKind::Series, b"others"),
            (SectionKind::End, b""),
        ] {
            let mut bytes = begin_section();
            bytes.extend_from_slice(payload);
            writer.finish(kind, payload.len() as u32, &mut bytes);
            file.extend_from_slice(&bytes);
            assert_eq!(writer.offset(), file.len() as u64);
        }
        file
    }

    fn with_file<T>(bytes: &[u8], run: impl FnOnce(&dyn DiskFile) -> T) -> T {
        let disk = SimulatedDisk::new();
        let file = disk
            .create(Path::new("/sections"), Access::Buffered)
            .unwrap();
        file.write_at(0, bytes).unwrap();
        run(&*file)
    }

    fn scan_bytes(bytes: &[u8], seal: CheckpointSeal) -> Result<Found, ScanError> {
        with_file(bytes, |file| scan(file, seal))
    }

    fn payloads(found: &Found, bytes: &[u8]) -> Vec<Vec<u8>> {
        with_file(bytes, |file| {
            let mut window = Window::new(file).unwrap();
            let mut payload = |s: &Section| s.payload(&mut window).unwrap().unwrap().to_vec();
            found.sections.iter().map(&mut payload).collect()
        })
    }

    #[test]
    fn what_reads_otherwise_later_is_not_given() {
        let seal = CheckpointSeal::new(&[1; 16], 2, 77);
        let mut bytes = file(seal);
        let found = scan_bytes(&bytes, seal).unwrap();
        let at = bytes.windows(4).position(|w| w == b"some").unwrap();
        bytes[at] ^= 1;
        with_file(&bytes, |file| {
            let mut window = Window::new(file).unwrap();
            let given = found
                .sections
                .iter()
                .map(|s| s.payload(&mut window).unwrap().is_some());
            assert_eq!(given.collect::<Vec<_>>(), [true, false, true, true]);
        });
    }

    #[test]
    fn each_flipped_bit_hides_one_section() {
        let seal = CheckpointSeal::new(&[1; 16], 2, 77);
        let sound = file(seal);
        let whole = scan_bytes(&sound, seal).unwrap();
        let all: [&[u8]; 4] = [b"state", b"some series", b"others", b""];
        assert_eq!(payloads(&whole, &sound), all);
        assert_eq!(whole.sections[2].number, 2);
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = scan_bytes(&damaged, seal).unwrap();
            let left = payloads(&found, &damaged);
            let missing = all.iter().filter(|p| !left.iter().any(|l| l == *p)).count();
            assert!(
                missing <= 1 && found.sections.len() + missing == 4,
                "bit {bit}"
            );
            assert!(found.damaged_series <= 11);
        }
    }

    #[test]
    fn a_section_of_another_file_is_none() {
        let seal = CheckpointSeal::new(&[1; 16], 2, 77);
        let bytes = file(seal);
        for other in [
            CheckpointSeal::new(&[2; 16], 2, 77),
            CheckpointSeal::new(&[1; 16], 3, 77),
            CheckpointSeal::new(&[1; 16], 2, 78),
        ] {
            assert!(scan_bytes(&bytes, other).unwrap().sections.is_empty());
        }
        assert!(scan_bytes(&bytes[8..], seal).unwrap().sections.is_empty());
    }

    #[test]
    fn a_newer_version_is_refused() {
        let seal = CheckpointSeal::new(&[1; 16], 2, 77);
        let mut bytes = file(seal);
        bytes[AT_VERSION] = CHECKPOINT_FORMAT_VERSION + 1;
        let checksum = seal.header_checksum(0, &bytes[..SECTION_HEADER_BYTES]);
        bytes[AT_HEADER_CHECKSUM..SECTION_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        let version = CHECKPOINT_FORMAT_VERSION + 1;
        let refused = scan_bytes(&bytes, seal);
        assert!(matches!(refused, Err(ScanError::Newer { version: v }) if v == version));
    }
}
