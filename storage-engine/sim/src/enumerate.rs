//! A crash at every operation of a fixed script, with every image that it may leave, and again at every operation of the recovery.

use crate::life::{SYNC_SLACK_NANOS, Story};
use crate::model::{Ending, Model};
use crate::profile::{BlockProfile, FaultRates, Profile, Workload};
use crate::random::Random;
use crate::read::{Reach, read_intact};
use storage_engine::io::{CrashImage, Fault, SimulatedDisk};
use storage_engine::runtime::simulator::SimulatedShard;
use storage_engine::wal::AckMode;

/// What a script's life looks like.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// Its settings.
    pub profile: Profile,
    /// Draws its life.
    pub seed: u64,
}

/// What became of the states of a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enumerated {
    /// Operations of the script that change the disk.
    pub operations: u64,
    /// States in which a process was started and looked at.
    pub states: u64,
}

/// What is left when the script's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Cut(CrashImage),
    Killed(u64),
}

/// Images looked at after each crash: the operation not done, done, and done in part.
const IMAGES: [Leaves; 7] = [
    Leaves::Cut(CrashImage::SyncedOnly),
    Leaves::Cut(CrashImage::Everything),
    Leaves::Cut(CrashImage::Random(1)),
    Leaves::Cut(CrashImage::Random(2)),
    Leaves::Cut(CrashImage::Random(3)),
    Leaves::Killed(1),
    Leaves::Killed(2),
];

impl Leaves {
    fn of(self, disk: &SimulatedDisk) -> SimulatedDisk {
        match self {
            Leaves::Cut(image) => disk.crash(image),
            Leaves::Killed(seed) => disk.kill(seed),
        }
    }
}

/// The scripts with another course of chance: both promises, small segments, without and with blocks that are sealed, compacted and cleaned.
pub fn scripts(seed: u64) -> Vec<Script> {
    let workload = Workload {
        series: 6,
        batch_samples_max: 6,
        burst_max: 2,
        step_ms: 1_000,
        duplicates: 50,
        conflicts: 50,
        late: 50,
        stale: 50,
        histogram_series: 50,
        checks: 0,
        by_labels: 100,
        deletes: 40,
        exemplars: 200,
        leaps: 0,
        wall_jumps: 0,
        reads: 0,
    };
    let blocks = BlockProfile {
        range_ms: 4_000,
        range_max_ms: 12_000,
        page_samples_max: 3,
        retention_ms: None,
        rounds: 400,
        cleanings: 100,
    };
    let script = |name, ack, blocks| Script {
        name,
        profile: Profile {
            lives: 1,
            steps: 30,
            pause_nanos: 8_000_000,
            ack,
            segment_bytes: 4_096,
            sync_interval_nanos: 20_000_000,
            mailbox_messages: 8,
            pending_bytes_max: 1 << 20,
            series_max: 1 << 20,
            window_ms: None,
            late_window_ms: 3_000,
            exemplars_max: 20,
            blocks,
            workload,
            faults: FaultRates::default(),
            full: 0,
            damage: 0,
            nested: 0,
            clean_stops: 0,
            kills: 0,
        },
        seed,
    };
    vec![
        script("durable", AckMode::Durable, None),
        script("fast", AckMode::Fast, None),
        script("durable with blocks", AckMode::Durable, Some(blocks)),
        script("fast with blocks", AckMode::Fast, Some(blocks)),
    ]
}

struct Ended {
    story: Story,
    ending: Ending,
    crashed: bool,
}

/// Runs the script until operation `crash_at`, or to its end.
fn play(script: &Script, crash_at: u64) -> Ended {
    let mut story = Story::new(script.profile.clone(), Random::new(script.seed));
    story
        .disk
        .fail_at(story.disk.operations() + crash_at, Fault::Crash);
    let options = story.options();
    let mut now = 0;
    if let Ok(mut shard) = SimulatedShard::open(&story.disk, &options) {
        for _ in 0..script.profile.steps {
            if !story.disk.has_crashed() {
                story.act(&mut shard);
            }
        }
        now = shard.now();
        story.client.collect(&story.profile, &mut story.model, now);
    }
    let ending = match script.profile.ack {
        AckMode::Durable => Ending::KeepsAll,
        AckMode::Fast => {
            let late = script.profile.sync_interval_nanos + SYNC_SLACK_NANOS;
            Ending::MayLoseAfter(now.saturating_sub(late))
        }
    };
    Ended {
        crashed: story.disk.has_crashed(),
        story,
        ending,
    }
}

/// Starts a process on `disk` and looks at everything.
fn look(story: &mut Story, model: &Model, disk: &SimulatedDisk, ending: Ending, what: &str) {
    let options = story.options();
    let shard = SimulatedShard::open(disk, &options);
    let mut shard = shard.unwrap_or_else(|error| panic!("{what}: a start failed: {error}"));
    let read = read_intact(&mut shard);
    let reach = Reach::of(&shard);
    assert_eq!(shard.replayed().records_lost, 0, "{what}: called damage");
    if let Err(wrong) = model.check_restart(&read, ending, &reach) {
        panic!("{what}: {wrong}");
    }
}

/// Crashes the script at every `step`th operation; `nested`: the recovery too, at every operation. Panics with what is wrong.
pub fn crash_everywhere(script: &Script, step: usize, nested: bool) -> Enumerated {
    let mut done = Enumerated::default();
    for operation in (1..).step_by(step) {
        let Ended {
            mut story,
            ending,
            crashed,
        } = play(script, operation);
        if !crashed {
            done.operations = story.disk.operations();
            return done;
        }
        let model = story.model.clone();
        for leaves in IMAGES {
            let ending = match leaves {
                Leaves::Killed(_) => Ending::KeepsAll,
                Leaves::Cut(_) => ending,
            };
            let what = format!("{}, operation {operation}, {leaves:?}", script.name);
            let disk = leaves.of(&story.disk);
            look(&mut story, &model, &disk.duplicate(), ending, &what);
            done.states += 1;
            if nested {
                done.states +=
                    crash_recovery(&mut story, &model, &disk, (leaves, operation), &what);
            }
        }
    }
    done
}

/// Crashes the recovery from `disk` at every operation.
fn crash_recovery(
    story: &mut Story,
    model: &Model,
    disk: &SimulatedDisk,
    (leaves, operation): (Leaves, u64),
    what: &str,
) -> u64 {
    let now = Ending::MayLoseAfter(0);
    for at in 1.. {
        let first = disk.duplicate();
        first.fail_at(at, Fault::Crash);
        let options = story.options();
        let opened = SimulatedShard::open(&first, &options);
        if opened.is_ok() {
            return at - 1;
        }
        let next = IMAGES[(at + operation) as usize % IMAGES.len()];
        let ending = match (story.profile.ack, leaves, next) {
            (AckMode::Durable, ..) => Ending::KeepsAll,
            (_, Leaves::Killed(_), Leaves::Killed(_)) => Ending::KeepsAll,
            _ => now,
        };
        let what = format!("{what}, then operation {at} of the recovery, {next:?}");
        look(story, model, &next.of(&first), ending, &what);
    }
    0
}
