//! The lives of one seed: start (with all that can happen to a start), work, death; at the end a life in which nothing fails.

use crate::damage::{self, Damage, DamageKind, KINDS};
use crate::faults::{FaultCounts, FaultyDisk};
use crate::model::{Ending, Found, Model, Rules, count};
use crate::mutants;
use crate::profile::{FaultRates, Profile};
use crate::random::Random;
use crate::read::{Reach, Read, read_all, read_intact};
use crate::tell::tell;
use crate::workload::{Client, ClientCounts};
use std::collections::BTreeMap;
use storage_engine::io::{CrashImage, Disk, Fault, SimulatedDisk};
use storage_engine::maintenance::MaintenanceStats;
use storage_engine::runtime::simulator::{SimulatedShard, SimulationOptions};
use storage_engine::wal::{AckMode, WalOptions, WalPlace};

/// Where the simulated shard lives.
pub const DATA: &str = "/data";
const WAL: &str = "/data/shard-000/wal";
/// Starts in a row that may fail before the next one is left alone.
const NESTED_MAX: u32 = 3;
/// What the wall clock may show at a start: like the samples, years behind, years ahead.
const WALL_STARTS_MS: [i64; 3] = [1_700_000_000_000, 1_500_000_000_000, 4_000_000_000_000];
/// By how much the wall clock jumps: an hour, ten years, either way.
const WALL_JUMPS_MS: [i64; 4] = [3_600_000, -3_600_000, 315_360_000_000, -315_360_000_000];
/// A sync that is due takes a few operations of at most 2 ms each until it is through.
pub(crate) const SYNC_SLACK_NANOS: u64 = 60_000_000;

/// What a seed has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Starts of the process that came to work.
    pub lives: u64,
    /// Power cuts, deaths of the process, clean stops.
    pub deaths: u64,
    /// Deaths at a chosen operation of the disk, recovery included.
    pub crash_points: u64,
    /// Those of them during recovery.
    pub nested: u64,
    /// Operations that changed the disk.
    pub operations: u64,
    /// Operations that read.
    pub reads: u64,
    /// Operations that failed.
    pub faults: FaultCounts,
    /// Damage of the medium.
    pub damages: BTreeMap<DamageKind, u64>,
    /// Records that replays called lost or cut off.
    pub records_lost: u64,
    /// What the keepers did.
    pub kept: KeeperCounts,
    /// Exemplars sent.
    pub exemplars: u64,
    /// Comparisons of the whole shard with the oracle.
    pub checks: u64,
    /// Samples acknowledged.
    pub samples: u64,
    /// Batches.
    pub batches: ClientCounts,
    /// Virtual time.
    pub nanos: u64,
    /// Fingerprint of all that happened.
    pub trace: u64,
}

/// What the keepers of all lives did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeeperCounts {
    /// Ranges of the head that became blocks, or were empty.
    pub seals: u64,
    /// Blocks written: sealed, late, compacted, cleaned.
    pub blocks: u64,
    /// Those of them that were merged from blocks that overlapped.
    pub overlapping: u64,
    /// Blocks that failed to be written.
    pub failed: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Checkpoints that failed.
    pub checkpoints_failed: u64,
    /// Times that retention took blocks.
    pub retentions: u64,
    /// Times that deletions were cleaned up.
    pub cleanings: u64,
}

impl KeeperCounts {
    fn add(&mut self, stats: &MaintenanceStats) {
        self.seals += stats.head_truncations;
        self.blocks += stats.compactions;
        self.overlapping += stats.vertical_compactions;
        self.failed += stats.compactions_failed;
        self.checkpoints += stats.checkpoints;
        self.checkpoints_failed += stats.checkpoints_failed;
        self.retentions += stats.time_retentions;
        self.cleanings += stats.tombstone_cleanups.count;
    }

    /// Adds what others did.
    pub fn add_all(&mut self, other: &KeeperCounts) {
        self.seals += other.seals;
        self.blocks += other.blocks;
        self.overlapping += other.overlapping;
        self.failed += other.failed;
        self.checkpoints += other.checkpoints;
        self.checkpoints_failed += other.checkpoints_failed;
        self.retentions += other.retentions;
        self.cleanings += other.cleanings;
    }
}

impl Report {
    fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(crate) struct Story {
    pub(crate) profile: Profile,
    pub(crate) random: Random,
    pub(crate) model: Model,
    pub(crate) client: Client,
    pub(crate) disk: SimulatedDisk,
    report: Report,
    /// Acknowledgements from here on may go with the power.
    bound: u64,
    ending: Ending,
    /// The medium has been damaged.
    damaged: bool,
    /// Records that damage has taken from the log; every replay counts them again.
    known_lost: u64,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Power,
    Kill,
    Stop,
}

/// Runs one seed. Panics with what is wrong.
pub fn run(seed: u64) -> Report {
    let mut random = Random::new(seed);
    let profile = Profile::draw(&mut random);
    tell(|| format!("seed {seed}: {profile:#?}"));
    let mut story = Story::new(profile, random);
    for _ in 0..story.profile.lives {
        story.live();
    }
    story.live_in_peace();
    story.report.samples = story.model.acknowledged;
    story.report.exemplars = story.model.exemplars.count() as u64;
    story.report.batches = story.client.counts;
    story.report
}

fn ok<T>(checked: Result<T, String>) -> T {
    checked.unwrap_or_else(|wrong| panic!("{wrong}"))
}

impl Story {
    pub(crate) fn new(profile: Profile, mut random: Random) -> Story {
        let client = Client::new(random.fork());
        let disk = SimulatedDisk::new();
        disk.create_dir_all(DATA.as_ref())
            .expect("BUG: an empty disk refuses");
        mutants::install(&disk);
        let model = Model::new(Rules {
            ties: profile.late_window_ms > 0,
            has_blocks: profile.blocks.is_some(),
            block_range_ms: profile.blocks.map_or(0, |blocks| blocks.range_ms),
            retention_ms: profile.blocks.and_then(|blocks| blocks.retention_ms),
            exemplars_max: profile.exemplars_max,
        });
        Story {
            random,
            model,
            profile,
            client,
            disk,
            report: Report::default(),
            bound: 0,
            ending: Ending::KeepsAll,
            damaged: false,
            known_lost: 0,
        }
    }

    pub(crate) fn options(&mut self) -> SimulationOptions {
        SimulationOptions {
            seed: self.random.bits(),
            shard: self.profile.shard_config(),
            wal: WalOptions {
                place: WalPlace {
                    dir: WAL.into(),
                    store_id: [1; 16],
                    shard: 0,
                },
                segment_bytes: self.profile.segment_bytes,
                ack: self.profile.ack,
            },
            sync_interval_nanos: self.profile.sync_interval_nanos,
            mailbox_messages: self.profile.mailbox_messages,
            maintenance: self.profile.blocks.map(|blocks| blocks.options()),
            wall_start_ms: self.random.pick(&WALL_STARTS_MS),
        }
    }

    fn replace_disk(&mut self, disk: SimulatedDisk) {
        self.report.operations += self.disk.operations();
        self.report.reads += self.disk.reads();
        mutants::install(&disk);
        self.disk = disk;
    }

    /// The power fails now.
    fn cut_power(&mut self) {
        let image = match self.random.below(6) {
            0 | 1 => CrashImage::SyncedOnly,
            2 => CrashImage::Everything,
            _ => CrashImage::Random(self.random.bits()),
        };
        tell(|| {
            format!(
                "power cut: {image:?}; {} operations",
                self.disk.operations()
            )
        });
        if self.profile.ack == AckMode::Fast {
            self.ending = Ending::MayLoseAfter(self.bound);
        }
        let disk = self.disk.crash(image);
        self.replace_disk(disk);
    }

    /// The process dies now.
    fn kill(&mut self) {
        tell(|| format!("process dies; {} operations", self.disk.operations()));
        let disk = self.disk.kill(self.random.bits() | 1);
        self.replace_disk(disk);
    }

    fn die(&mut self, death: Death) {
        self.report.deaths += 1;
        match death {
            Death::Power => self.cut_power(),
            Death::Kill | Death::Stop => self.kill(),
        }
    }

    /// Starts the process; what happens to it on the way is chance. Everything that was promised must be there.
    fn start(&mut self, in_peace: bool) -> SimulatedShard {
        let mut damaged = false;
        // Once in a story: a second damage could bring back what the first took, or take the copy that healed it.
        let first = self.report.lives > 0 && !self.damaged;
        if !in_peace && first && self.random.chance(self.profile.damage) {
            self.settle();
            self.damage();
            damaged = true;
            self.damaged = true;
        }
        for attempt in 0.. {
            let nested = !in_peace && !damaged && attempt < NESTED_MAX;
            let nested = nested && self.random.chance(self.profile.nested);
            let mut faulty = None;
            if nested && self.random.chance(700) {
                let operation = self.disk.operations() + self.random.between(1, 12);
                self.disk.fail_at(operation, Fault::Crash);
            } else if nested {
                // What cannot be read counts as damage of the medium; what else fails ends the start.
                let rates = FaultRates {
                    read: 0,
                    ..self.profile.faults
                };
                faulty = Some(FaultyDisk::new(&self.disk, rates, self.random.fork()));
            }
            let options = self.options();
            match SimulatedShard::open(&self.disk, &options) {
                Ok(shard) => return self.greet(shard),
                Err(error) => {
                    tell(|| format!("start failed: {error}"));
                    let counts = faulty.as_ref().map(FaultyDisk::counts).unwrap_or_default();
                    let excused = self.disk.has_crashed() || counts.total() > 0;
                    assert!(excused, "a start failed: {error}");
                    self.add_faults(counts);
                    self.report.crash_points += u64::from(self.disk.has_crashed());
                    self.report.nested += 1;
                    drop(faulty);
                    let death = match self.random.chance(self.profile.kills) {
                        true => Death::Kill,
                        false => Death::Power,
                    };
                    self.die(death);
                }
            }
        }
        unreachable!("the last start is left alone")
    }

    /// A shard has started: is everything there?
    fn greet(&mut self, mut shard: SimulatedShard) -> SimulatedShard {
        let read = self.read(&mut shard);
        self.report.checks += 1;
        let replayed = shard.replayed();
        tell(|| {
            format!(
                "started: {} samples, {} exemplars, {replayed:?}, {:?}",
                count(&read.found),
                read.exemplars.len(),
                self.ending
            )
        });
        assert!(
            replayed.records_lost <= self.known_lost,
            "records are called damaged beyond the {} that were: {replayed:?}",
            self.known_lost
        );
        let reach = Reach::of(&shard);
        ok(self.model.check_restart(&read, self.ending, &reach));
        ok(self.model.restart(&read));
        self.begin_life(&read.found);
        shard
    }

    fn begin_life(&mut self, found: &Found) {
        self.report.note(count(found) as u64);
        self.report.lives += 1;
        self.ending = Ending::KeepsAll;
        self.bound = 0;
        self.client.restart();
    }

    fn add_faults(&mut self, counts: FaultCounts) {
        let all = &mut self.report.faults;
        all.writes += counts.writes;
        all.syncs += counts.syncs;
        all.names += counts.names;
        all.reads += counts.reads;
    }

    /// A start and a clean power cut in which everything is as promised: what comes after is measured against this.
    fn settle(&mut self) {
        let options = self.options();
        let shard = SimulatedShard::open(&self.disk, &options);
        let shard = shard.unwrap_or_else(|error| panic!("a start failed: {error}"));
        let mut shard = self.greet(shard);
        // A start writes again the definitions that the log holds once.
        shard.run_until(shard.now() + SYNC_SLACK_NANOS);
        drop(shard);
        self.kill();
    }

    /// The medium is damaged, or does not give all of itself. Nothing is invented, and what is lost is bounded and counted.
    fn damage(&mut self) {
        let intact = {
            let options = self.options();
            let shard = SimulatedShard::open(&self.disk.duplicate(), &options);
            read_intact(&mut shard.unwrap_or_else(|error| panic!("a start failed: {error}")))
        };
        let kind = match self.random.chance(200) {
            true => None,
            false => Some(self.random.pick(&KINDS)),
        };
        let mut inflicted = Vec::new();
        let faulty = match kind {
            Some(kind) => {
                inflicted = damage::inflict(&self.disk, kind, &mut self.random);
                *self.report.damages.entry(kind).or_default() += inflicted.len() as u64;
                None
            }
            None => {
                let rates = FaultRates {
                    read: 30_000,
                    ..FaultRates::default()
                };
                Some(FaultyDisk::new(&self.disk, rates, self.random.fork()))
            }
        };
        let options = self.options();
        let mut shard = match SimulatedShard::open(&self.disk, &options) {
            Ok(shard) => shard,
            Err(error) => {
                // A medium that cannot be read may keep a store from starting; it must not make it forget.
                assert!(
                    faulty.is_some(),
                    "damage keeps from starting: {error} {inflicted:?}"
                );
                self.kill();
                return;
            }
        };
        let read = read_all(&mut shard);
        let found = &read.found;
        self.report.checks += 1;
        let replayed = shard.replayed();
        tell(|| {
            format!(
                "damaged: {inflicted:?} {kind:?} {} of {} {replayed:?} {:?}",
                count(found),
                count(&intact.found),
                read.damage
            )
        });
        let counted = replayed.records_lost.saturating_sub(self.known_lost) + replayed.records_cut;
        self.known_lost = self.known_lost.max(replayed.records_lost);
        self.report.records_lost += counted;
        let lost = ok(self.model.check_damaged(&intact.found, &read));
        if kind == Some(DamageKind::BitFlip) {
            // The last record of all leaves no gap to count, nor does the one in front of what is cut off.
            let uncounted = u64::from(counted == 0 || replayed.records_cut > 0);
            let is_log = |damage: &Damage| damage.path.extension().is_some_and(|e| e == "wal");
            // A block and the pages of a checkpoint hold many records; they must say so. A checkpoint has another one behind it.
            let quarantined = shard.maintenance_stats().quarantined;
            let is_said = quarantined > 0 || !read.damage.is_empty();
            let is_page = |damage: &Damage| damage.path.extension().is_some_and(|e| e == "chunks");
            let is_excused = is_said || inflicted.iter().all(is_page);
            assert!(
                lost.len() as u64 <= counted + uncounted
                    || (is_excused && !inflicted.iter().all(is_log)),
                "one bit cost {} records, {counted} are counted: {inflicted:?} {replayed:?}",
                lost.len()
            );
        }
        if let Some(faulty) = faulty {
            let counts = faulty.counts();
            self.add_faults(counts);
            let excused = counts.total() > 0 || lost.is_empty();
            assert!(excused, "lost without a reason: {replayed:?}");
        }
        self.kill();
        if kind.is_none() {
            // What could not be read then can be read now, as far as it was not cut off.
            let options = self.options();
            let again = SimulatedShard::open(&self.disk, &options);
            let mut again = again.unwrap_or_else(|error| panic!("a start failed: {error}"));
            let back = read_all(&mut again);
            ok(self.model.check_damaged(&intact.found, &back));
            ok(self.model.check_damaged(&back.found, &read));
            drop(again);
            ok(self.model.restart(&back));
            self.kill();
        } else {
            ok(self.model.restart(&read));
        }
    }

    /// One life, from start to death.
    fn live(&mut self) {
        let mut shard = self.start(false);
        let death = match self.random.below(1_000) as u32 {
            draw if draw < self.profile.clean_stops => Death::Stop,
            _ if self.random.chance(self.profile.kills) => Death::Kill,
            _ => Death::Power,
        };
        let steps = self.random.between(1, self.profile.steps);
        if death != Death::Stop && self.random.chance(800) {
            let span = self.random.pick(&[10, 60, 300]);
            let operation = self.disk.operations() + self.random.between(1, span);
            self.disk.fail_at(operation, Fault::Crash);
        }
        let rates = self.profile.faults;
        let faulty = FaultyDisk::new(&self.disk, rates, self.random.fork());
        let full = self.random.chance(self.profile.full);
        let full = full.then(|| (self.random.below(steps), self.random.below(steps)));
        let mut failed_at = None;
        for step in 0..steps {
            if let Some((from, to)) = full {
                if step == from {
                    let room = self.disk.used() + self.random.below(3_000);
                    self.disk.set_capacity(Some(room));
                } else if step == to {
                    self.disk.set_capacity(None);
                }
            }
            let before = shard.now();
            self.act(&mut shard);
            if failed_at.is_none() && faulty.counts().touched_log() {
                failed_at = Some(before);
            }
            if self.disk.has_crashed() {
                break;
            }
        }
        let stops = death == Death::Stop && !self.disk.has_crashed();
        if stops {
            shard.stop();
            while shard.step() {}
            assert!(shard.has_ended(), "a shard that is told to stop does not");
        }
        let is_clean = stops && !self.disk.has_crashed();
        let now = shard.now();
        tell(|| {
            format!(
                "life ends: {death:?} at {now}, faults {:?} since {failed_at:?}, crashed {}",
                faulty.counts(),
                self.disk.has_crashed()
            )
        });
        self.client.collect(&self.profile, &mut self.model, now);
        self.report.crash_points += u64::from(self.disk.has_crashed());
        self.report.nanos += now;
        self.report.note(shard.trace_hash());
        self.report.kept.add(&shard.maintenance_stats());
        drop(shard);
        let counts = faulty.counts();
        drop(faulty);
        self.add_faults(counts);
        let end = failed_at.unwrap_or(now).min(now);
        self.bound = end.saturating_sub(self.profile.sync_interval_nanos + SYNC_SLACK_NANOS);
        if is_clean && failed_at.is_none() {
            self.bound = u64::MAX;
        }
        self.die(death);
    }

    /// One step of a life: batches, a pause, answers, sometimes a look at everything.
    pub(crate) fn act(&mut self, shard: &mut SimulatedShard) {
        let burst = self.random.below(self.profile.workload.burst_max + 1);
        for _ in 0..burst {
            self.client.send(&self.profile, &mut self.model, shard);
        }
        if self.random.chance(self.profile.workload.deletes) {
            self.client.delete(&self.profile, &mut self.model, shard);
        }
        self.client.order(&self.profile, shard);
        if self.random.chance(self.profile.workload.wall_jumps) {
            let jump = self.random.pick(&WALL_JUMPS_MS);
            tell(|| format!("the wall clock jumps by {jump} ms"));
            shard.jump_wall_clock(jump);
        }
        if self.random.chance(300) {
            let polls = self.random.below(20);
            let alive = |_: &u64| !self.disk.has_crashed() && shard.step();
            (0..polls).take_while(alive).count();
        } else {
            let pause = self.random.below(self.profile.pause_nanos);
            let until = shard.now() + pause;
            while shard.now() < until && !self.disk.has_crashed() && shard.step() {}
            if !self.disk.has_crashed() {
                shard.run_until(until);
            }
        }
        if self.disk.has_crashed() {
            return;
        }
        if self.random.chance(self.profile.workload.reads) {
            self.check_read(shard);
        }
        let now = shard.now();
        self.client.collect(&self.profile, &mut self.model, now);
    }

    fn read(&self, shard: &mut SimulatedShard) -> Read {
        match self.damaged {
            true => read_all(shard),
            false => read_intact(shard),
        }
    }

    fn check_read(&mut self, shard: &mut SimulatedShard) {
        let read = self.read(shard);
        ok(self.model.check_read(&read));
        self.report.checks += 1;
        self.report.note(count(&read.found) as u64);
    }

    /// The last life: nothing fails, so everything must work and stay.
    fn live_in_peace(&mut self) {
        let mut shard = self.start(true);
        for _ in 0..3 {
            let taken = self.client.send_all(&self.profile, &mut self.model, &shard);
            assert!(taken, "an idle shard refuses a batch");
            let patience = shard.now() + 10_000_000_000;
            while self.client.is_waiting() {
                assert!(shard.now() < patience, "no answer in ten seconds");
                shard.run_until(shard.now() + 1_000_000);
                let now = shard.now();
                self.client.collect(&self.profile, &mut self.model, now);
            }
        }
        self.check_read(&mut shard);
        shard.stop();
        while shard.step() {}
        assert!(shard.has_ended(), "a shard that is told to stop does not");
        self.report.note(shard.trace_hash());
        self.report.nanos += shard.now();
        drop(shard);
        self.bound = u64::MAX;
        // A clean stop leaves nothing that a power cut could take.
        let survivor = self.disk.crash(CrashImage::SyncedOnly);
        self.replace_disk(survivor);
        drop(self.start(true));
        let disk = SimulatedDisk::new();
        self.replace_disk(disk);
    }
}
