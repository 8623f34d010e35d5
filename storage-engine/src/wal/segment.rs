//! Segment files of one shard's log: their names, their places, their seals.

use super::format::SegmentSeal;
use crate::io::{Access, Disk};
use std::path::{Path, PathBuf};

/// Where one shard's log lives, and whose it is.
#[derive(Debug, Clone)]
pub struct WalPlace {
    /// Directory of the segments.
    pub dir: PathBuf,
    /// Identity of the store, from its manifest.
    pub store_id: [u8; 16],
    /// The shard.
    pub shard: u32,
}

/// What a file in a log's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentFile {
    /// A segment with records.
    Log(u32),
    /// A segment whose records nobody needs, kept to be written again.
    Spare(u32),
    /// A segment that was being made and does not count.
    Unfinished(u32),
}

impl WalPlace {
    pub(super) fn segment_path(&self, sequence: u32) -> PathBuf {
        self.dir.join(format!("{sequence:08}.wal"))
    }

    /// Does the log go back to its first record? Segments are given up from the oldest on.
    pub(crate) fn is_whole(&self, disk: &dyn Disk) -> bool {
        disk.open(&self.segment_path(1), Access::Buffered).is_ok()
    }

    pub(super) fn spare_path(&self, sequence: u32) -> PathBuf {
        self.dir.join(format!("{sequence:08}.spare"))
    }

    /// A segment that does not count yet.
    pub(super) fn unfinished_path(&self, sequence: u32) -> PathBuf {
        self.dir.join(format!("{sequence:08}.new"))
    }

    pub(super) fn seal(&self, sequence: u32) -> SegmentSeal {
        SegmentSeal::new(&self.store_id, self.shard, sequence)
    }
}

/// What `name` says about a file; `None` for files that are not the log's.
pub(super) fn parse_name(name: &str) -> Option<SegmentFile> {
    let path = Path::new(name);
    let stem = path.file_stem()?.to_str()?;
    if stem.len() < 8 || !stem.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let sequence = stem.parse().ok()?;
    match path.extension()?.to_str()? {
        "wal" => Some(SegmentFile::Log(sequence)),
        "spare" => Some(SegmentFile::Spare(sequence)),
        "new" => Some(SegmentFile::Unfinished(sequence)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        let place = WalPlace {
            dir: "/x".into(),
            store_id: [0; 16],
            shard: 0,
        };
        for sequence in [0, 7, 99_999_999, u32::MAX] {
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            let log = name(place.segment_path(sequence));
            assert_eq!(parse_name(&log), Some(SegmentFile::Log(sequence)));
            let spare = name(place.spare_path(sequence));
            assert_eq!(parse_name(&spare), Some(SegmentFile::Spare(sequence)));
        }
        for other in [
            "lock",
            "1.wal",
            "0000000x.wal",
            "00000001.tmp",
            "99999999999.wal",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
