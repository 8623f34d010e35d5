//! Where a shard's checkpoints and chunk pages live, and what their names say.

use crate::io::Disk;
use crate::wal::WalPlace;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one shard, and whose they are.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointPlace {
    /// Directory of the checkpoints.
    pub(crate) checkpoints: PathBuf,
    /// Directory of the pages of sealed chunks.
    pub(crate) chunks: PathBuf,
    pub(crate) store_id: [u8; 16],
    pub(crate) shard: u32,
}

impl CheckpointPlace {
    /// Beside the log of the same shard.
    pub(crate) fn beside(wal: &WalPlace) -> CheckpointPlace {
        let dir = wal.dir.parent().unwrap_or(&wal.dir);
        CheckpointPlace {
            checkpoints: dir.join("checkpoint"),
            chunks: dir.join("chunks"),
            store_id: wal.store_id,
            shard: wal.shard,
        }
    }

    /// The checkpoint that covers the log up to record `lsn`.
    pub(super) fn checkpoint_path(&self, lsn: u64) -> PathBuf {
        self.checkpoints.join(format!("{lsn:020}.checkpoint"))
    }

    /// The file whose first page is `sequence`.
    pub(super) fn chunks_path(&self, sequence: u64) -> PathBuf {
        self.chunks.join(format!("{sequence:020}.chunks"))
    }

    /// Makes the directories, and their names durable.
    pub(super) fn create(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.create_dir_all(&self.checkpoints)?;
        disk.create_dir_all(&self.chunks)?;
        match self.checkpoints.parent() {
            Some(parent) => disk.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Numbers of the checkpoints, ascending.
    pub(super) fn list_checkpoints(&self, disk: &dyn Disk) -> io::Result<Vec<u64>> {
        numbers(disk, &self.checkpoints, "checkpoint")
    }

    /// Numbers of the files of pages, ascending.
    pub(super) fn list_chunks(&self, disk: &dyn Disk) -> io::Result<Vec<u64>> {
        numbers(disk, &self.chunks, "chunks")
    }

    /// Removes what an interrupted checkpoint left.
    pub(super) fn remove_unfinished(&self, disk: &dyn Disk) -> io::Result<()> {
        for dir in [&self.checkpoints, &self.chunks] {
            let names = match disk.list(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                names => names?,
            };
            for name in names {
                if name.ends_with(".tmp") {
                    disk.remove(&dir.join(name))?;
                }
            }
        }
        Ok(())
    }
}

/// Where a file is written before it gets its name.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn numbers(disk: &dyn Disk, dir: &Path, extension: &str) -> io::Result<Vec<u64>> {
    let number = |name: &String| {
        let (stem, of_name) = name.split_once('.')?;
        let number: u64 = stem.parse().ok()?;
        (of_name == extension && format!("{number:020}") == stem).then_some(number)
    };
    let mut numbers: Vec<u64> = disk.list(dir)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Access, SimulatedDisk};

    #[test]
    fn names_go_there_and_back() {
        let disk = SimulatedDisk::new();
        let place = CheckpointPlace::beside(&WalPlace {
            dir: "/d/shard-000/wal".into(),
            store_id: [0; 16],
            shard: 0,
        });
        place.create(&disk).unwrap();
        for number in [7, u64::MAX, 0] {
            let path = place.checkpoint_path(number);
            disk.create(&path, Access::Buffered).unwrap();
            disk.create(&unfinished(&path), Access::Buffered).unwrap();
        }
        for other in [
            "5.checkpoint",
            "00000000000000000005.damaged",
            "x",
            "00000000000000000005.checkpoint.old",
        ] {
            disk.create(&place.checkpoints.join(other), Access::Buffered)
                .unwrap();
        }
        assert_eq!(place.list_checkpoints(&disk).unwrap(), [0, 7, u64::MAX]);
        assert!(place.list_chunks(&disk).unwrap().is_empty());
        place.remove_unfinished(&disk).unwrap();
        assert_eq!(disk.list(&place.checkpoints).unwrap().len(), 7);
    }
}
