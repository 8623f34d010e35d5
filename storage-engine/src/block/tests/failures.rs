//! A disk that fails while a block is written: the writer says so, and what is left is a whole block or none.

use super::super::{Block, BlockError, BlockWriteError, BlockWriter, Profile};
use super::fixture::{TestSeries, options, path, series};
use crate::io::{CrashImage, Disk, Fault, SimulatedDisk};
use std::path::Path;

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk
}

fn write(disk: &SimulatedDisk, all: &[TestSeries]) -> Result<(), BlockWriteError> {
    let mut writer = BlockWriter::create(disk, &path(), options(Profile::Sealed, 7))?;
    for one in all {
        writer.add(one.labels.as_bytes(), &one.samples)?;
    }
    writer.finish()?;
    Ok(())
}

#[test]
fn every_failed_operation_is_reported() {
    let all = series(31, 20, 9);
    let whole = disk();
    let before = whole.operations();
    write(&whole, &all).unwrap();
    let operations = whole.operations();
    assert!(operations > before + 10);
    for operation in before + 1..=operations {
        for code in [libc::EIO, libc::ENOSPC] {
            let disk = disk();
            disk.fail_at(operation, Fault::Error(code));
            let BlockWriteError::Io {
                path: named,
                source,
            } = write(&disk, &all).unwrap_err();
            assert_eq!(named, path());
            assert_eq!(source.raw_os_error(), Some(code));
        }
    }
}

#[test]
fn after_a_failed_write_there_is_no_block() {
    let all = series(31, 20, 9);
    let disk = disk();
    let mut writer = BlockWriter::create(&disk, &path(), options(Profile::Sealed, 8192)).unwrap();
    let mut random = super::super::testing::Random::new(4);
    // More than waits in memory, so that `add` itself writes.
    let mut large = crate::model::SeriesSamples::default();
    for i in 0..200_000 {
        large.floats.push(i, f64::from_bits(random.next()));
    }
    disk.fail_at(disk.operations() + 1, Fault::Error(libc::EIO));
    assert!(writer.add(all[0].labels.as_bytes(), &large).is_err());
    // The disk works again, but what was lost is lost.
    let again = writer.add(all[1].labels.as_bytes(), &all[1].samples);
    assert!(
        again
            .unwrap_err()
            .to_string()
            .ends_with("an earlier write has failed")
    );
    assert!(writer.finish().is_err());
    assert!(Block::open(&disk, &path()).is_err());
}

#[test]
fn a_crash_leaves_a_whole_block_or_none() {
    let all = series(31, 20, 9);
    let whole = disk();
    let before = whole.operations();
    write(&whole, &all).unwrap();
    let operations = whole.operations();
    let mut sound = 0;
    for operation in before + 1..=operations {
        let mut images = vec![CrashImage::SyncedOnly, CrashImage::Everything];
        images.extend((0..20).map(CrashImage::Random));
        for image in images {
            let disk = disk();
            disk.sync_dir(Path::new("/data")).unwrap();
            disk.fail_at(operation + 1, Fault::Crash);
            write(&disk, &all).unwrap_err();
            let after = disk.crash(image);
            match Block::open(&after, &path()) {
                Ok(block) => {
                    sound += 1;
                    block.verify().unwrap();
                    assert_eq!(block.meta().series as usize, all.len());
                }
                Err(BlockError::Io { .. } | BlockError::Damaged { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    // At the last operation, the sync, everything may already be there.
    assert!(sound > 0);
}

#[test]
fn what_is_finished_is_durable() {
    let all = series(31, 20, 9);
    let disk = disk();
    write(&disk, &all).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    let after = disk.crash(CrashImage::SyncedOnly);
    Block::open(&after, &path()).unwrap().verify().unwrap();
}
