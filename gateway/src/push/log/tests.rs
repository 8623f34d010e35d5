//! The log on a simulated disk: power cuts at every operation, errors, damage, growth.

use super::*;
use ingest::pushgateway::{Change, GroupLimits, Grouping, encode_change, parse_push};
use storage_engine::io::{CrashImage, Fault, SimulatedDisk};

const DIR: &str = "/data/push";
const LIMITS: GroupLimits = GroupLimits {
    groups_max: 100,
    bytes_max: 1 << 30,
};

fn groups() -> Groups {
    Groups::new(LIMITS, 5)
}

fn open(disk: &SimulatedDisk) -> (PushLog, Groups, LogReading) {
    let mut groups = groups();
    let (log, reading) =
        PushLog::open(Arc::new(disk.clone()), Path::new(DIR), &mut groups).unwrap();
    (log, groups, reading)
}

fn change(group: usize, value: usize, metrics: usize) -> Change {
    let grouping = Grouping::from_path(format!("j/g/{group}").as_bytes(), false).unwrap();
    let body: String = (0..metrics)
        .map(|i| format!("x{{i=\"{i}\"}} {value}\n"))
        .collect();
    let push = parse_push(body.as_bytes(), "", &grouping, 5).unwrap();
    Change::Push {
        grouping,
        time_ns: 1_000_000_000 * value as i64,
        replace: true,
        ttl_ms: 0,
        families: push.families,
    }
}

fn push(log: &mut PushLog, groups: &mut Groups, change: Change, at_s: u64) -> io::Result<bool> {
    let mut record = Vec::new();
    encode_change(&change, &mut record);
    groups.apply(change);
    log.append(
        [&record[..]].into_iter(),
        groups,
        true,
        Duration::from_secs(at_s),
    )
}

/// The value that a group shows.
fn value_of(groups: &Groups, group: usize) -> Option<String> {
    let text = groups.page().text();
    let start = format!("x{{g=\"{group}\",i=\"0\"");
    let line = text.lines().find(|line| line.starts_with(&start))?;
    Some(line.rsplit_once(' ')?.1.to_owned())
}

#[test]
fn what_was_written_is_there_again() {
    let disk = SimulatedDisk::new();
    let (mut log, mut groups, _) = open(&disk);
    for value in 1..=10 {
        push(&mut log, &mut groups, change(value % 3, value, 2), 0).unwrap();
    }
    push(
        &mut log,
        &mut groups,
        Change::Delete(Grouping::from_path(b"j/g/0", false).unwrap()),
        0,
    )
    .unwrap();
    let (log, again, reading) = open(&disk);
    assert_eq!(again.page().text(), groups.page().text());
    assert_eq!((reading.records, reading.damaged_bytes), (11, 0));
    assert_eq!(log.sequence, 1);
}

#[test]
fn a_power_cut_anywhere_costs_nothing_acknowledged() {
    let mut operation = 1;
    loop {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/data")).unwrap();
        let before = disk.operations();
        disk.fail_at(before + operation, Fault::Crash);
        let mut acknowledged = 0;
        let mut started = groups();
        if let Ok((mut log, _)) =
            PushLog::open(Arc::new(disk.clone()), Path::new(DIR), &mut started)
        {
            for value in 1..=6 {
                if value == 4 {
                    // A log that is written anew in the middle.
                    log.base = 0;
                    log.end = log.end.max(PUSH_LOG_SLACK_BYTES);
                }
                if push(&mut log, &mut started, change(1, value, 3), 0).is_err() {
                    break;
                }
                acknowledged = value;
            }
        }
        let crashed = disk.has_crashed();
        for image in [
            CrashImage::SyncedOnly,
            CrashImage::Everything,
            CrashImage::Random(operation + 77),
            CrashImage::Random(operation * 991 + 3),
        ] {
            let (mut log, mut again, reading) = open(&disk.crash(image));
            assert_eq!(reading.damaged_bytes, 0, "operation {operation}, {image:?}");
            let value: usize = value_of(&again, 1).map_or(0, |v| v.parse().unwrap());
            assert!(
                value == acknowledged || value == acknowledged + 1,
                "operation {operation}, {image:?}: {acknowledged} acknowledged, {value} found"
            );
            push(&mut log, &mut again, change(1, 9, 1), 0).unwrap();
        }
        if !crashed {
            break;
        }
        operation += 1;
    }
    assert!(operation > 15, "only {operation} operations");
}

#[test]
fn after_an_error_the_log_is_written_anew() {
    for failing in 1..=2 {
        let disk = SimulatedDisk::new();
        let (mut log, mut groups, _) = open(&disk);
        push(&mut log, &mut groups, change(1, 1, 1), 0).unwrap();
        // The write, then the sync.
        disk.fail_at(disk.operations() + failing, Fault::Error(5));
        assert!(push(&mut log, &mut groups, change(1, 2, 1), 10).is_err());
        // No hurry.
        assert!(push(&mut log, &mut groups, change(1, 3, 1), 10).is_err());
        assert!(push(&mut log, &mut groups, change(2, 4, 1), 11).unwrap());
        push(&mut log, &mut groups, change(2, 5, 1), 11).unwrap();
        let (log, again, _) = open(&disk.crash(CrashImage::SyncedOnly));
        assert_eq!(again.page().text(), groups.page().text());
        assert_eq!(log.sequence, 2);
    }
}

#[test]
fn damage_costs_the_push_it_hits() {
    let disk = SimulatedDisk::new();
    let (mut log, mut groups, _) = open(&disk);
    let mut ends = Vec::new();
    for group in 0..4 {
        push(&mut log, &mut groups, change(group, 1, 5), 0).unwrap();
        ends.push(log.size() as usize);
    }
    let path = path_of(Path::new(DIR), 1);
    let whole = disk.content(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[ends[0] + 60] ^= 4;
    disk.damage(&path, damaged.clone());
    let (_, again, reading) = open(&disk);
    assert!(reading.damaged_bytes > 0);
    let found: Vec<bool> = (0..4)
        .map(|group| value_of(&again, group).is_some())
        .collect();
    assert_eq!(found, [true, false, true, true]);
    assert_eq!(disk.content(&path.with_extension("damaged")), Some(damaged));
    // The next start finds a sound log.
    let (_, third, reading) = open(&disk);
    assert_eq!(reading.damaged_bytes, 0);
    assert_eq!(third.page().text(), again.page().text());
}

#[test]
fn a_full_disk_is_no_end() {
    let disk = SimulatedDisk::new();
    let (mut log, mut groups, _) = open(&disk);
    push(&mut log, &mut groups, change(1, 1, 10), 0).unwrap();
    disk.set_capacity(Some(disk.used() + 100));
    assert!(push(&mut log, &mut groups, change(1, 2, 10), 5).is_err());
    assert!(push(&mut log, &mut groups, change(1, 3, 10), 10).is_err());
    disk.set_capacity(None);
    assert!(push(&mut log, &mut groups, change(1, 4, 10), 15).unwrap());
    let (_, again, _) = open(&disk.crash(CrashImage::SyncedOnly));
    assert_eq!(value_of(&again, 1).as_deref(), Some("4"));
}

#[test]
fn the_log_does_not_grow_without_bound() {
    let disk = SimulatedDisk::new();
    let (mut log, mut groups, _) = open(&disk);
    let one = change(1, 1, 20_000);
    let mut rewrites = 0;
    for _ in 0..40 {
        rewrites += usize::from(push(&mut log, &mut groups, one.clone(), 0).unwrap());
    }
    assert!(rewrites >= 1, "{}", log.size());
    assert!(log.size() <= log.base * 2 + PUSH_LOG_SLACK_BYTES);
    assert_eq!(disk.files().len(), 1);
    let (_, again, _) = open(&disk);
    assert_eq!(again.totals(), groups.totals());
}
