//! Everything of a block file behind its pages: sections, footer, tail, and the sync.
//!
//! Promise: when this returns, the file is whole and durable (its name is the caller's matter).

use super::BlockMeta;
use super::footer::Footer;
use super::format::{
    FOOTER_PLACE, HEADER_BYTES, PAGE_ROOM_BYTES, SECTION_ALIGNMENT, Section, SectionPlace,
    TAIL_BYTES, Tail, checksum, section_place,
};
use super::numbers::Profile;
use super::stream::StreamEnd;
use crate::io::DiskFile;
use std::collections::BTreeMap;
use std::io;

/// Writes everything behind the pages and syncs.
pub(super) fn write_sections(
    end: StreamEnd,
    sections: BTreeMap<u32, Vec<u8>>,
    mut meta: BlockMeta,
    profile: Profile,
    seed: u64,
) -> io::Result<BlockMeta> {
    let mut file = Appending {
        file: end.file,
        offset: HEADER_BYTES as u64 + end.bytes,
    };
    let mut places = vec![SectionPlace {
        kind: Section::Pages as u32,
        offset: HEADER_BYTES as u64,
        bytes: end.bytes,
        checksum: 0,
    }];
    file.put(&[0; PAGE_ROOM_BYTES])?;
    for (kind, bytes) in sections {
        file.align()?;
        places.push(SectionPlace {
            kind,
            offset: file.offset,
            bytes: bytes.len() as u64,
            checksum: checksum(seed, section_place(kind), &bytes),
        });
        file.put(&bytes)?;
    }
    file.align()?;
    let footer = Footer {
        meta: meta.clone(),
        profile,
        sections: places,
    };
    let footer = footer.to_bytes();
    let footer_offset = file.offset;
    file.put(&footer)?;
    file.align()?;
    meta.bytes = file.offset + TAIL_BYTES as u64;
    let tail = Tail {
        footer_offset,
        footer_bytes: footer.len() as u64,
        footer_checksum: checksum(seed, FOOTER_PLACE, &footer),
        file_bytes: meta.bytes,
        id: meta.id,
    };
    file.put(&tail.to_bytes())?;
    file.file.sync()?;
    Ok(meta)
}

/// A file that grows.
struct Appending {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Appending {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn align(&mut self) -> io::Result<()> {
        let rest = (self.offset % SECTION_ALIGNMENT as u64) as usize;
        if rest > 0 {
            self.put(&[0; SECTION_ALIGNMENT][rest..])?;
        }
        Ok(())
    }
}
