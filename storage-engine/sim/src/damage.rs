//! Damage of the medium between two lives: what promises cannot cover, and checksums must see.

use crate::random::Random;
use std::path::PathBuf;
use storage_engine::io::SimulatedDisk;

/// Bytes that a medium writes at once.
const SECTOR: usize = 512;

/// One thing that has happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What.
    pub kind: DamageKind,
    /// The file.
    pub path: PathBuf,
    /// First byte that may differ.
    pub offset: usize,
    /// How many bytes may differ.
    pub bytes: usize,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DamageKind {
    /// One bit changed its mind.
    BitFlip,
    /// A sector reads as zeros.
    Zeroed,
    /// A write was said to be done and never was.
    LostWrite,
    /// A write went to another place, and is missing where it belongs.
    Misdirected,
    /// A write was done twice, the second time in another place.
    Duplicated,
}

/// All kinds.
pub const KINDS: [DamageKind; 5] = [
    DamageKind::BitFlip,
    DamageKind::Zeroed,
    DamageKind::LostWrite,
    DamageKind::Misdirected,
    DamageKind::Duplicated,
];

/// Does one thing to the disk; nothing if there is nothing to damage.
pub fn inflict(disk: &SimulatedDisk, kind: DamageKind, random: &mut Random) -> Vec<Damage> {
    match kind {
        DamageKind::BitFlip => at_rest(disk, kind, random, |content, at| {
            content[at] ^= 1 << (at % 8)
        }),
        DamageKind::Zeroed => at_rest(disk, kind, random, |content, at| {
            let end = content.len().min(at + SECTOR);
            content[at..end].fill(0);
        }),
        DamageKind::LostWrite => unwrite(disk, kind, random),
        DamageKind::Misdirected => {
            let mut all = unwrite(disk, kind, random);
            all.extend(write_elsewhere(disk, kind, random));
            all
        }
        DamageKind::Duplicated => write_elsewhere(disk, kind, random),
    }
}

fn some_file(disk: &SimulatedDisk, random: &mut Random) -> Option<(PathBuf, Vec<u8>)> {
    let mut files = disk.files();
    files.retain(|path| {
        disk.content(path)
            .is_some_and(|content| !content.is_empty())
    });
    let path = files
        .get(random.below(files.len() as u64) as usize)?
        .clone();
    let content = disk.content(&path)?;
    Some((path, content))
}

fn at_rest(
    disk: &SimulatedDisk,
    kind: DamageKind,
    random: &mut Random,
    change: impl FnOnce(&mut [u8], usize),
) -> Vec<Damage> {
    let Some((path, mut content)) = some_file(disk, random) else {
        return Vec::new();
    };
    let at = random.below(content.len() as u64) as usize;
    let (offset, bytes) = match kind {
        DamageKind::BitFlip => (at, 1),
        _ => (at / SECTOR * SECTOR, SECTOR),
    };
    change(&mut content, offset);
    disk.damage(&path, content);
    vec![Damage {
        kind,
        path,
        offset,
        bytes,
    }]
}

/// Takes one of the last writes back, sector by sector.
fn unwrite(disk: &SimulatedDisk, kind: DamageKind, random: &mut Random) -> Vec<Damage> {
    let writes = disk.writes();
    let Some(write) = writes.get(random.below(writes.len() as u64) as usize) else {
        return Vec::new();
    };
    let Some(mut content) = disk.content(&write.path) else {
        return Vec::new();
    };
    let offset = write.offset as usize;
    let end = content.len().min(offset + write.bytes.len());
    if offset >= end {
        return Vec::new();
    }
    let room = &mut content[offset..end];
    room.fill(0);
    let kept = room.len().min(write.before.len());
    room[..kept].copy_from_slice(&write.before[..kept]);
    disk.damage(&write.path, content);
    vec![Damage {
        kind,
        path: write.path.clone(),
        offset,
        bytes: end - offset,
    }]
}

fn write_elsewhere(disk: &SimulatedDisk, kind: DamageKind, random: &mut Random) -> Vec<Damage> {
    let writes = disk.writes();
    let Some(write) = writes.get(random.below(writes.len() as u64) as usize) else {
        return Vec::new();
    };
    let Some((path, mut content)) = some_file(disk, random) else {
        return Vec::new();
    };
    let sector = &write.bytes[..write.bytes.len().min(SECTOR)];
    let offset = random.below(content.len() as u64) as usize / SECTOR * SECTOR;
    let end = content.len().min(offset + sector.len());
    content[offset..end].copy_from_slice(&sector[..end - offset]);
    disk.damage(&path, content);
    vec![Damage {
        kind,
        path,
        offset,
        bytes: end - offset,
    }]
}
