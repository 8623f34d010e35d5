//! Failing operations of a life: the hook of the simulated disk, and what it has done.

use crate::mutants;
use crate::profile::FaultRates;
use crate::random::Random;
use crate::tell::tell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage_engine::io::{DiskHook, Operation, SimulatedDisk, Verdict};

/// What has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Failed writes.
    pub writes: u64,
    /// Failed syncs of files.
    pub syncs: u64,
    /// Failed syncs of directories, and other changes of names.
    pub names: u64,
    /// Failed reads.
    pub reads: u64,
}

impl FaultCounts {
    /// All together.
    pub fn total(&self) -> u64 {
        self.writes + self.syncs + self.names + self.reads
    }

    /// Has an operation of the log's end failed?
    pub fn touched_log(&self) -> bool {
        self.writes + self.syncs + self.names > 0
    }
}

struct Plan {
    rates: FaultRates,
    random: Random,
    broken: BTreeSet<PathBuf>,
    counts: FaultCounts,
}

/// The failing disk of one life.
pub struct FaultyDisk {
    plan: Arc<Mutex<Plan>>,
    disk: SimulatedDisk,
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plan {
    fn decide(&mut self, operation: &Operation<'_>) -> Verdict {
        tell(|| format!("  {operation:?}"));
        let mutated = mutants::verdict(operation);
        if mutated != Verdict::Proceed {
            return mutated;
        }
        let rates = self.rates;
        let counts = &mut self.counts;
        let (rate, count, path): (u64, &mut u64, &Path) = match operation {
            Operation::Write { path, .. } => (rates.write, &mut counts.writes, path),
            Operation::Sync(path) => (rates.sync, &mut counts.syncs, path),
            Operation::SyncDir(path) => (rates.sync_dir, &mut counts.names, path),
            Operation::Read { path, .. } | Operation::Map(path) => {
                (rates.read, &mut counts.reads, path)
            }
            Operation::CreateDir(path)
            | Operation::Create(path)
            | Operation::Rename(path, _)
            | Operation::HardLink(path, _)
            | Operation::Remove(path)
            | Operation::SetSize(path) => (rates.names, &mut counts.names, path),
            Operation::Open(_) | Operation::List(_) => return Verdict::Proceed,
        };
        if rate == 0 {
            return Verdict::Proceed;
        }
        let fails = self.random.below(100_000) < rate || self.broken.contains(path);
        if !fails {
            return Verdict::Proceed;
        }
        *count += 1;
        if self.rates.for_ever {
            self.broken.insert(path.to_path_buf());
        }
        Verdict::Fail(libc::EIO)
    }
}

impl FaultyDisk {
    /// Lets operations of `disk` fail until this is dropped.
    pub fn new(disk: &SimulatedDisk, rates: FaultRates, random: Random) -> FaultyDisk {
        let plan = Arc::new(Mutex::new(Plan {
            rates,
            random,
            broken: BTreeSet::new(),
            counts: FaultCounts::default(),
        }));
        let hooked = Arc::clone(&plan);
        let hook: DiskHook = Box::new(move |operation| lock(&hooked).decide(operation));
        disk.set_hook(Some(hook));
        FaultyDisk {
            plan,
            disk: disk.clone(),
        }
    }

    /// What has failed so far.
    pub fn counts(&self) -> FaultCounts {
        lock(&self.plan).counts
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        mutants::install(&self.disk);
    }
}
