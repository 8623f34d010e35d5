//! Damage to a log: every single bit, every truncation, sectors zeroed, copied and exchanged.
//!
//! What comes back is always a subset of what was appended; one flipped bit costs one record at most; later segments are kept.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod log_fixture;

use ferula_storage_engine::io::{CrashImage, SimulatedDisk};
use ferula_storage_engine::wal::AckMode;
use log_fixture::{Log, appended, read};
use std::collections::BTreeSet;

/// Three segments of a few commits each.
fn small_log(ack: AckMode) -> (Log, BTreeSet<u64>) {
    let mut log = Log::new(ack, 1_536);
    for commit in 0..9 {
        log.commit(&[2 * commit, 2 * commit + 1]).unwrap();
    }
    log.close();
    let segments = log.segments();
    assert!(segments.len() >= 3, "{} segments", segments.len());
    let whole = read(&log.disk.duplicate());
    assert_eq!(whole.samples, appended(0..18));
    assert_eq!(
        (whole.replayed.records_lost, whole.replayed.records_cut),
        (0, 0)
    );
    let samples = whole.samples;
    (log, samples)
}

#[test]
fn each_flipped_bit_costs_one_record_at_most() {
    for ack in [AckMode::Durable, AckMode::Fast] {
        let (log, samples) = small_log(ack);
        let mut cases = 0;
        for path in log.segments() {
            let content = log.disk.content(&path).unwrap();
            for bit in 0..content.len() * 8 {
                let mut flipped = content.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let disk = log.disk.duplicate();
                disk.damage(&path, flipped);
                let found = read(&disk);
                let place = format!("{} bit {bit}", path.display());
                assert!(found.samples.is_subset(&samples), "{place}: invented");
                assert!(
                    found.samples.len() + 1 >= samples.len(),
                    "{place}: lost too much"
                );
                assert!(
                    found.replayed.records_lost <= 1,
                    "{place}: counted too much"
                );
                let lost = samples.len() - found.samples.len();
                assert!(
                    lost as u64 <= found.replayed.records_lost,
                    "{place}: not counted"
                );
                // The marks at the very end may be cut; they hold nothing.
                let cut = found.replayed.records_cut > 0;
                assert!(!cut || found.samples == samples, "{place}: cut samples off");
                assert!(found.unknown_series == 0, "{place}: the echo did not help");
                cases += 1;
            }
        }
        println!("{ack:?}: {cases} bits");
    }
}

#[test]
fn each_truncation_leaves_what_was_before_it_and_later_segments() {
    let (log, samples) = small_log(AckMode::Durable);
    let segments = log.segments();
    for path in &segments {
        let content = log.disk.content(path).unwrap();
        let mut least = 0;
        for bytes in 0..content.len() {
            let disk = log.disk.duplicate();
            disk.damage(path, content[..bytes].to_vec());
            let found = read(&disk);
            assert!(
                found.samples.is_subset(&samples),
                "{} cut at {bytes}",
                path.display()
            );
            assert!(found.samples.len() >= least, "a longer file holds less");
            least = found.samples.len();
            // The repaired log reads the same again.
            assert_eq!(
                read(&disk).samples,
                found.samples,
                "{} cut at {bytes}",
                path.display()
            );
        }
        assert!(least >= samples.len() - 2 && least > 0);
    }
}

#[test]
fn damaged_sectors_never_invent() {
    let (log, samples) = small_log(AckMode::Durable);
    let segments = log.segments();
    let sectors: Vec<_> = segments
        .iter()
        .flat_map(|path| {
            let count = log.disk.content(path).unwrap().len() / 512;
            (0..count).map(move |sector| (path.clone(), sector * 512))
        })
        .collect();
    let stranger = {
        let mut other = Log::with_identity(AckMode::Durable, 1_536, [9; 16]);
        for commit in 0..9 {
            other.commit(&[1_000 + commit]).unwrap();
        }
        other
    };
    let get = |disk: &SimulatedDisk, (path, at): &(std::path::PathBuf, usize)| {
        disk.content(path).unwrap()[*at..at + 512].to_vec()
    };
    let put = |disk: &SimulatedDisk, (path, at): &(std::path::PathBuf, usize), bytes: &[u8]| {
        let mut content = disk.content(path).unwrap();
        content[*at..at + 512].copy_from_slice(bytes);
        disk.damage(path, content);
    };
    let check = |disk: &SimulatedDisk, what: &str| {
        let found = read(disk);
        assert!(found.samples.is_subset(&samples), "{what}");
        assert_eq!(
            read(disk).samples,
            found.samples,
            "{what}: reads differently again"
        );
    };
    for source in &sectors {
        let disk = log.disk.duplicate();
        put(&disk, source, &[0; 512]);
        check(&disk, "zeroed");
        for target in &sectors {
            let (at_source, at_target) = (get(&log.disk, source), get(&log.disk, target));
            let disk = log.disk.duplicate();
            put(&disk, target, &at_source);
            check(&disk, "copied");
            let disk = log.disk.duplicate();
            put(&disk, target, &at_source);
            put(&disk, source, &at_target);
            check(&disk, "exchanged");
        }
        if let Some(content) = stranger.disk.content(&source.0)
            && let Some(sector) = content.get(source.1..source.1 + 512)
        {
            let disk = log.disk.duplicate();
            put(&disk, source, sector);
            check(&disk, "from another store's file of the same name");
        }
    }
}

#[test]
fn another_identity_reads_nothing_and_destroys_nothing() {
    let (log, _) = small_log(AckMode::Durable);
    let before: Vec<_> = log
        .segments()
        .iter()
        .map(|path| log.disk.content(path))
        .collect();
    let found = log_fixture::read_as(&log.disk, [9; 16]);
    assert!(found.samples.is_empty());
    let aside: Vec<_> = log_fixture::files(&log.disk)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "cut"))
        .map(|path| log.disk.content(&path))
        .collect();
    assert_eq!(aside, before);
}

#[test]
fn what_one_start_keeps_of_a_damaged_log_the_next_one_keeps_too() {
    const SECTOR: usize = 512;
    let mut log = Log::new(AckMode::Durable, 2_048);
    for commit in 0..6 {
        log.commit(&[2 * commit, 2 * commit + 1]).unwrap();
    }
    // Nothing behind it says that it is durable.
    log.commit(&(12..40).collect::<Vec<u64>>()).unwrap();
    let samples = appended(0..40);
    let sectors: Vec<_> = log
        .segments()
        .into_iter()
        .flat_map(|path| {
            let bytes = log.disk.content(&path).unwrap().len();
            let offsets = (0..bytes).step_by(SECTOR);
            offsets.map(move |offset| (path.clone(), offset))
        })
        .collect();
    // Two sectors are lost: one in the middle, and one behind it with what said how far the log was durable.
    let mut cut = 0;
    for (first, second) in (0..sectors.len()).flat_map(|a| (a..sectors.len()).map(move |b| (a, b)))
    {
        let disk = log.disk.duplicate();
        for (path, offset) in [&sectors[first], &sectors[second]] {
            let mut content = disk.content(path).unwrap();
            let end = content.len().min(offset + SECTOR);
            content[*offset..end].fill(0);
            disk.damage(path, content);
        }
        let what = format!("sectors {first} and {second}");
        let found = read(&disk);
        assert!(found.samples.is_subset(&samples), "{what}: invented");
        cut += u64::from(found.replayed.records_cut > 0 && found.replayed.records_lost > 0);
        for disk in [disk.kill(1), disk.crash(CrashImage::SyncedOnly)] {
            let again = read(&disk);
            assert_eq!(again.samples, found.samples, "{what}");
        }
    }
    assert!(cut > 0);
}
