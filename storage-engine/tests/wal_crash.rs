//! Power cuts and disk errors at every operation of a log: what was acknowledged as durable is there, and nothing is invented.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod log_fixture;

use ferula_storage_engine::io::{CrashImage, Fault, Operation, SimulatedDisk, Verdict};
use ferula_storage_engine::wal::{AckMode, WalError};
use futures_util::FutureExt;
use log_fixture::{Log, appended, options, read, read_behind, segments, try_read};

const COMMITS: u64 = 12;
const IMAGES: [CrashImage; 6] = [
    CrashImage::SyncedOnly,
    CrashImage::Everything,
    CrashImage::Random(1),
    CrashImage::Random(2),
    CrashImage::Random(3),
    CrashImage::Random(4),
];

/// Commits two numbers at a time until the disk fails; returns how many numbers were acknowledged, and how many tried.
fn script(log: &mut Log, first: u64) -> (u64, u64) {
    for commit in 0..COMMITS {
        let number = first + 2 * commit;
        if log.commit(&[number, number + 1]).is_err() {
            return (number, number + 2);
        }
        if commit == 7 {
            log.mark();
        }
    }
    (first + 2 * COMMITS, first + 2 * COMMITS)
}

fn faulty_log(fault: Option<(u64, Fault)>) -> Log {
    let log = Log::new(AckMode::Durable, 2_048);
    if let Some((operation, fault)) = fault {
        log.disk.fail_at(log.disk.operations() + operation, fault);
    }
    log
}

/// Operations of the script from the first write to the end.
fn script_operations() -> u64 {
    let mut log = faulty_log(None);
    let before = log.disk.operations();
    assert_eq!(script(&mut log, 0), (2 * COMMITS, 2 * COMMITS));
    assert!(segments(&log.disk).len() >= 3);
    log.disk.operations() - before
}

/// Checks a disk after a power cut; goes on with the log and checks that both lives are read.
fn check_survivor(disk: &SimulatedDisk, acknowledged: u64, tried: u64, what: &str) {
    let found = read(disk);
    assert!(
        found.samples.is_superset(&appended(0..acknowledged)),
        "{what}: lost"
    );
    assert!(
        found.samples.is_subset(&appended(0..tried)),
        "{what}: invented"
    );
    assert_eq!(found.replayed.records_lost, 0, "{what}: called damage");
    let options = options(AckMode::Durable, 2_048, [7; 16]);
    let mut log = Log::on(disk.clone(), options, found.replayed.position.clone());
    let (end, _) = script(&mut log, 100);
    drop(log);
    let again = read(&disk.crash(CrashImage::SyncedOnly));
    let expected: std::collections::BTreeSet<_> =
        found.samples.iter().copied().chain(100..end).collect();
    assert_eq!(again.samples, expected, "{what}: the second life");
    assert_eq!(again.replayed.records_lost, 0, "{what}: the second life");
}

#[test]
fn a_power_cut_at_every_operation_loses_nothing_acknowledged() {
    let operations = script_operations();
    let mut states = 0;
    for operation in 1..=operations {
        let mut log = faulty_log(Some((operation, Fault::Crash)));
        let (acknowledged, tried) = script(&mut log, 0);
        for image in IMAGES {
            let disk = log.disk.crash(image);
            check_survivor(
                &disk,
                acknowledged,
                tried,
                &format!("operation {operation} {image:?}"),
            );
            states += 1;
        }
    }
    println!("{operations} operations, {states} states");
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    for operation in (1..=script_operations()).step_by(3) {
        let mut log = faulty_log(Some((operation, Fault::Crash)));
        let (acknowledged, tried) = script(&mut log, 0);
        for image in IMAGES {
            let first = log.disk.crash(image);
            for recovery_operation in 1.. {
                let disk = first.duplicate();
                disk.fail_at(recovery_operation, Fault::Crash);
                if try_read(&disk).is_ok() {
                    break;
                }
                let second = disk.crash(IMAGES[recovery_operation as usize % IMAGES.len()]);
                let what = format!("operation {operation} {image:?}, {recovery_operation} again");
                check_survivor(&second, acknowledged, tried, &what);
            }
        }
    }
}

#[test]
fn after_any_error_the_log_goes_on_in_a_new_segment() {
    for ack in [AckMode::Durable, AckMode::Fast] {
        for operation in 1..=script_operations() {
            let what = format!("{ack:?}, error at operation {operation}");
            let mut log = Log::new(ack, 2_048);
            let at = log.disk.operations() + operation;
            log.disk.fail_at(at, Fault::Error(libc::EIO));
            let (acknowledged, tried) = script(&mut log, 0);
            if log.writer().error().is_none() {
                let synced = log.writer().sync().now_or_never().unwrap();
                if synced.is_ok() {
                    // A courtesy had failed, or nothing.
                    continue;
                }
            }
            let error = log.writer().error().cloned().unwrap();
            assert!(matches!(error, WalError::Failed { .. }), "{error}");
            assert_eq!(log.commit(&[tried]), Err(error), "{what}: taken");
            let before = log.disk.operations();
            assert!(log.writer().try_reopen().now_or_never().unwrap(), "{what}");
            let after = log.disk.operations();
            // All that was acknowledged is durable now, in fast mode too.
            let found = read(&log.disk.crash(CrashImage::SyncedOnly));
            assert!(
                found.samples.is_superset(&appended(0..acknowledged)),
                "{what}"
            );
            let end = script(&mut log, 100).0;
            log.close();
            let found = read(&log.disk.crash(CrashImage::SyncedOnly));
            let wanted: std::collections::BTreeSet<u64> =
                (0..acknowledged).chain(100..end).collect();
            assert!(found.samples.is_superset(&wanted), "{what}: lost");
            assert_eq!(found.replayed.records_lost, 0, "{what}");
            reopening_fails_at_each_of(ack, operation, after - before);
        }
    }
}

#[test]
fn an_error_behind_a_mark_takes_back_no_more_than_its_own_records() {
    let mut errors = 0;
    for operation in 1.. {
        let what = format!("error at operation {operation}");
        let mut log = Log::new(AckMode::Durable, 2_048);
        let at = log.disk.operations() + operation;
        log.disk.fail_at(at, Fault::Error(libc::EIO));
        // The mark is not durable when the commit behind it ends the segment.
        let taken = (0..2 * COMMITS).take_while(|number| {
            log.mark();
            log.commit(&[*number]).is_ok()
        });
        let acknowledged = taken.count() as u64;
        if acknowledged == 2 * COMMITS {
            break;
        }
        errors += 1;
        assert!(log.writer().try_reopen().now_or_never().unwrap(), "{what}");
        let end = script(&mut log, 100).0;
        log.close();
        let found = read(&log.disk.crash(CrashImage::SyncedOnly));
        let wanted: std::collections::BTreeSet<u64> = (0..acknowledged).chain(100..end).collect();
        assert!(found.samples.is_superset(&wanted), "{what}: lost");
        assert!(!found.samples.contains(&acknowledged), "{what}: invented");
        assert_eq!(found.replayed.records_lost, 0, "{what}");
    }
    assert!(errors > 20, "{errors}");
}

#[test]
fn what_a_log_written_anew_replaced_does_not_come_back_when_that_is_damaged() {
    let mut log = Log::new(AckMode::Durable, 1 << 20);
    for number in 0..6 {
        log.commit(&[number]).unwrap();
    }
    // It is in the file, and nobody was told that it was stored.
    log.disk
        .fail_at(log.disk.operations() + 2, Fault::Error(libc::EIO));
    assert!(log.commit(&[6]).is_err());
    assert!(log.writer().try_reopen().now_or_never().unwrap());
    drop(log.writer.take());
    let disk = log.disk.kill(1);
    assert_eq!(read(&disk).samples, appended(0..6));
    let anew = segments(&disk).pop().unwrap();
    let mut content = disk.content(&anew).unwrap();
    content[3] ^= 1;
    disk.damage(&anew, content);
    assert_eq!(read(&disk).samples, appended(0..6));
}

#[test]
fn a_log_written_anew_whose_name_is_unsure_outlives_a_start_and_a_power_cut() {
    let mut log = Log::new(AckMode::Fast, 1 << 20);
    for number in 0..6 {
        log.commit(&[number]).unwrap();
    }
    let dir = std::path::Path::new(log_fixture::DIR);
    log.disk.set_hook(Some(Box::new(move |operation| {
        match matches!(operation, Operation::Sync(path) if path.ends_with("00000001.wal"))
            || *operation == Operation::SyncDir(dir)
        {
            true => Verdict::Fail(libc::EIO),
            false => Verdict::Proceed,
        }
    })));
    assert!(log.writer().sync().now_or_never().unwrap().is_err());
    assert!(!log.writer().try_reopen().now_or_never().unwrap());
    drop(log.writer.take());
    // The next process finds it under its name, and cuts off what it replaced.
    let disk = log.disk.kill(1);
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(read(&disk).samples, appended(0..6));
    for image in [CrashImage::SyncedOnly, CrashImage::Random(1)] {
        assert_eq!(read(&disk.crash(image)).samples, appended(0..6));
    }
}

/// The power fails, or the disk does once more, while the log is written anew after an error at `operation`.
fn reopening_fails_at_each_of(ack: AckMode, operation: u64, steps: u64) {
    for step in 1..=steps {
        for fault in [
            Fault::Crash,
            Fault::Error(libc::EIO),
            Fault::Error(libc::ENOSPC),
        ] {
            let what = format!("{ack:?}, operation {operation}, then {fault:?} at {step}");
            let mut log = Log::new(ack, 2_048);
            let at = log.disk.operations() + operation;
            log.disk.fail_at(at, Fault::Error(libc::EIO));
            let (acknowledged, tried) = script(&mut log, 0);
            let _ = log.writer().sync().now_or_never().unwrap();
            log.disk.fail_at(log.disk.operations() + step, fault);
            let reopened = log.writer().try_reopen().now_or_never().unwrap();
            if fault == Fault::Crash {
                assert!(!reopened, "{what}");
                if ack == AckMode::Durable {
                    for image in IMAGES {
                        check_survivor(&log.disk.crash(image), acknowledged, tried, &what);
                    }
                }
                // The process alone dies: what the kernel has is read, whichever segment has it.
                let found = read(&log.disk.crash(CrashImage::Everything));
                assert!(
                    found.samples.is_superset(&appended(0..acknowledged)),
                    "{what}"
                );
                continue;
            }
            let again = reopened || log.writer().try_reopen().now_or_never().unwrap();
            assert!(again, "{what}: not reopened");
            log.commit(&[200]).unwrap();
            log.close();
            let found = read(&log.disk.crash(CrashImage::SyncedOnly));
            let wanted: std::collections::BTreeSet<u64> = (0..acknowledged).chain([200]).collect();
            assert!(found.samples.is_superset(&wanted), "{what}: lost");
            assert_eq!(found.replayed.records_lost, 0, "{what}");
        }
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    for capacity in (0..9_000).step_by(100) {
        let mut log = faulty_log(None);
        log.disk.set_capacity(Some(capacity));
        let (acknowledged, tried) = script(&mut log, 0);
        if acknowledged == 2 * COMMITS {
            continue;
        }
        let error = log.commit(&[tried]).unwrap_err();
        assert!(matches!(error, WalError::Full { .. }), "{error}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(
            !log.writer().try_reopen().now_or_never().unwrap(),
            "still full"
        );
        // The process may die meanwhile.
        let found = read(&log.disk.crash(CrashImage::SyncedOnly));
        assert!(
            found.samples.is_superset(&appended(0..acknowledged)),
            "capacity {capacity}"
        );
        log.disk.set_capacity(None);
        assert!(
            log.writer().try_reopen().now_or_never().unwrap(),
            "capacity {capacity}"
        );
        log.commit(&[acknowledged, acknowledged + 1]).unwrap();
        log.commit(&[acknowledged + 2]).unwrap();
        let found = read(&log.disk.crash(CrashImage::SyncedOnly));
        assert_eq!(
            found.samples,
            appended(0..acknowledged + 3),
            "capacity {capacity}"
        );
        assert_eq!(found.replayed.records_lost, 0);
    }
}

#[test]
fn fast_mode_leaves_a_prefix_without_holes() {
    for seed in 0..400 {
        let mut log = Log::new(AckMode::Fast, 2_048);
        for number in 0..40 {
            log.commit(&[number]).unwrap();
            if number % 11 == seed % 11 {
                log.writer().sync().now_or_never().unwrap().unwrap();
            }
        }
        let synced = (0..40)
            .rev()
            .find(|number| number % 11 == seed % 11)
            .map_or(0, |n| n + 1);
        let disk = log.disk.crash(CrashImage::Random(seed));
        let found = read(&disk);
        let count = found.samples.len() as u64;
        assert_eq!(found.samples, appended(0..count), "seed {seed}: a hole");
        assert!(count >= synced, "seed {seed}: lost what was synced");
        assert_eq!(found.replayed.records_lost, 0, "seed {seed}: called damage");
        assert_eq!(
            read(&disk).samples,
            found.samples,
            "seed {seed}: the cut does not hold"
        );
    }
}

#[test]
fn released_segments_are_written_again_and_their_old_records_never_come_back() {
    let mut log = Log::new(AckMode::Durable, 2_048);
    for number in 0..30 {
        log.commit(&[number]).unwrap();
    }
    let written = log.writer().written_lsn();
    log.writer()
        .release_before(written)
        .now_or_never()
        .unwrap()
        .unwrap();
    let kept = segments(&log.disk).len();
    assert_eq!(kept, 1, "only the open segment is left");
    for number in 30..60 {
        log.commit(&[number]).unwrap();
    }
    let survivor = log.disk.crash(CrashImage::SyncedOnly);
    let found = read_behind(&survivor, written);
    assert_eq!(found.samples, appended(30..60));
    assert_eq!(found.replayed.records_lost, 0);
    // Who asks for what was given up is told that it is gone, and gets the rest.
    let found = read(&survivor);
    let first = *found.samples.first().unwrap();
    assert!((1..30).contains(&first));
    assert_eq!(found.samples, appended(first..60));
    assert!(found.replayed.records_lost > 0);
}

#[test]
fn a_replay_behind_a_record_reads_what_is_behind_it_and_goes_on_behind_both() {
    let mut log = Log::new(AckMode::Durable, 2_048);
    let mut ends = vec![(0, 0)];
    for number in 0..20 {
        log.commit(&[number]).unwrap();
        ends.push((number + 1, log.writer().written_lsn()));
    }
    let written = log.writer().written_lsn();
    for (numbers, covered) in ends {
        let found = read_behind(&log.disk.duplicate(), covered);
        assert_eq!(found.samples, appended(numbers..20), "behind {covered}");
        assert_eq!(found.replayed.records_lost, 0);
        assert_eq!(found.replayed.position.next_lsn, written + 1);
    }
    // The log may have lost what was not durable although somebody else has it: its numbers are not given again.
    let found = read_behind(&log.disk, written + 7);
    assert!(found.samples.is_empty());
    assert_eq!(found.replayed.position.next_lsn, written + 8);
    let options = options(AckMode::Durable, 2_048, [7; 16]);
    let mut log = Log::on(log.disk.clone(), options, found.replayed.position);
    log.commit(&[40]).unwrap();
    let found = read_behind(&log.disk, written + 7);
    assert_eq!(found.samples, appended(40..41));
    assert_eq!(found.replayed.records_lost, 0);
}

#[test]
fn damage_to_a_record_that_somebody_else_has_costs_nothing() {
    let mut log = Log::new(AckMode::Durable, 1 << 20);
    log.commit(&[0]).unwrap();
    let mut long = log.commit_together(100..30_000);
    long.extend(log.commit_together(30_000..60_000));
    let covered = log.writer().written_lsn();
    let behind = log.commit_together(60_000..62_000);
    let path = segments(&log.disk).pop().unwrap();
    let sound = log.disk.content(&path).unwrap();
    assert!(sound.len() > 80 << 10, "long records are passed over");
    for at in [sound.len() / 4, sound.len() * 6 / 10] {
        let mut content = sound.clone();
        content[at] ^= 1;
        let disk = log.disk.duplicate();
        disk.damage(&path, content);
        let found = read_behind(&disk.duplicate(), covered);
        assert_eq!(found.samples, behind);
        assert_eq!(found.replayed.records_lost, 0);
        let found = read(&disk);
        assert_eq!(found.replayed.records_lost, 1);
        assert!(found.samples.is_superset(&behind) && !found.samples.is_superset(&long));
    }
}
