//! Many seeds over several threads, with one line of figures at the end.

use crate::life::Report;
use crate::seeds::{Failure, try_run};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What many seeds have seen together.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that were run twice and told the same story.
    pub repeated: u64,
    /// Sums over all seeds.
    pub total: Report,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

impl Summary {
    fn add(&mut self, report: &Report) {
        let total = &mut self.total;
        total.lives += report.lives;
        total.deaths += report.deaths;
        total.crash_points += report.crash_points;
        total.nested += report.nested;
        total.operations += report.operations;
        total.reads += report.reads;
        total.faults.writes += report.faults.writes;
        total.faults.syncs += report.faults.syncs;
        total.faults.names += report.faults.names;
        total.faults.reads += report.faults.reads;
        for (kind, count) in &report.damages {
            *total.damages.entry(*kind).or_default() += count;
        }
        total.records_lost += report.records_lost;
        total.kept.add_all(&report.kept);
        total.exemplars += report.exemplars;
        total.checks += report.checks;
        total.samples += report.samples;
        total.batches.sent += report.batches.sent;
        total.batches.answered += report.batches.answered;
        total.batches.refused += report.batches.refused;
        total.batches.failed += report.batches.failed;
        total.batches.rejected += report.batches.rejected;
        total.batches.deleted += report.batches.deleted;
        total.nanos += report.nanos;
        total.trace ^= report.trace;
    }
}

/// Runs `seeds` on `threads` threads; one seed in a hundred is run twice and must tell the same story. `progress` is called with the number
/// of seeds that are done.
pub fn run_seeds(seeds: Range<u64>, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let mut outcome = try_run(seed);
                    let twice = seed.is_multiple_of(100);
                    if twice
                        && let Ok(report) = &outcome
                        && try_run(seed).ok().as_ref() != Some(report)
                    {
                        let text = "the second run differs from the first".to_owned();
                        outcome = Err(Failure { seed, text });
                    }
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.seeds += 1;
                    summary.repeated += u64::from(twice);
                    match outcome {
                        Ok(report) => summary.add(&report),
                        Err(failure) => summary.failures.push(failure),
                    }
                    progress(summary.seeds);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}
