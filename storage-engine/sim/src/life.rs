//! The lives of one seed: start (with all that can happen to a start), work, death; at the end a life in which nothing fails.

use crate::damage::{self, DamageKind, KINDS};
use crate::faults::{FaultCounts, FaultyDisk};
use crate::model::{Ending, Found, Model, count};
use crate::mutants;
use crate::profile::{FaultRates, Profile};
use crate::random::Random;
use crate::read::{read_all, read_intact};
use crate::tell::tell;
use crate::workload::{Client, ClientCounts};
use std::collections::BTreeMap;
use storage_engine::io::{CrashImage, Disk, Fault, SimulatedDisk};
use storage_engine::runtime::simulator::{SimulatedShard, SimulationOptions};
use storage_engine::wal::{AckMode, WalOptions, WalPlace};

/// Where the simulated shard lives.
pub const DATA: &str = "/data";
const WAL: &str = "/data/shard-000/wal";
/// Starts in a row that may fail before the next one is left alone.
const NESTED_MAX: u32 = 3;
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
        let model = Model::with_ties(profile.late_window_ms > 0);
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
            maintenance: None,
            wall_start_ms: 0,
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
        let found = self.read(&mut shard);
        self.report.checks += 1;
        let replayed = shard.replayed();
        tell(|| {
            format!(
                "started: {} samples, {replayed:?}, {:?}",
                count(&found),
                self.ending
            )
        });
        assert!(
            replayed.records_lost <= self.known_lost,
            "records are called damaged beyond the {} that were: {replayed:?}",
            self.known_lost
        );
        ok(self.model.check_restart(&found, self.ending));
        self.model.restart(&found);
        self.begin_life(&found);
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
        drop(self.greet(shard));
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
        let found = read_all(&mut shard).found;
        self.report.checks += 1;
        let replayed = shard.replayed();
        tell(|| {
            format!(
                "damaged: {inflicted:?} {kind:?} {} of {} {replayed:?}",
                count(&found),
                count(&intact)
            )
        });
        let counted = replayed.records_lost.saturating_sub(self.known_lost) + replayed.records_cut;
        self.known_lost = self.known_lost.max(replayed.records_lost);
        self.report.records_lost += counted;
        let lost = ok(self.model.check_damaged(&intact, &found));
        if kind == Some(DamageKind::BitFlip) {
            // The last record of all leaves no gap to count, nor does the one in front of what is cut off.
            let uncounted = u64::from(counted == 0 || replayed.records_cut > 0);
            assert!(
                lost.len() as u64 <= counted + uncounted,
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
            let back = read_all(&mut again).found;
            ok(self.model.check_damaged(&intact, &back));
            ok(self.model.check_damaged(&back, &found));
            drop(again);
            self.model.restart(&back);
            self.kill();
        } else {
            self.model.restart(&found);
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

    fn read(&self, shard: &mut SimulatedShard) -> Found {
        match self.damaged {
            true => read_all(shard).found,
            false => read_intact(shard),
        }
    }

    fn check_read(&mut self, shard: &mut SimulatedShard) {
        let found = self.read(shard);
        ok(self.model.check_read(&found));
        self.report.checks += 1;
        self.report.note(count(&found) as u64);
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
