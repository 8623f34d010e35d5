//! Programs that forget a sync: every place in the engine that makes something durable, dropped one at a time, must be caught.
//!
//! Production code carries no switches for this. The disk is asked before each operation; a walk up the stack tells which line of the
//! engine asks, and for one chosen line the sync is only said to be done.

use crate::seeds::try_run;
use backtrace::Frame;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use storage_engine::io::{Operation, SimulatedDisk, Verdict};

/// A line of the engine that makes something durable, as `wal/writer.rs:42 end_segment sync`.
pub type Site = String;

/// Syncs that no run can miss, because what follows makes them needless: file, function and operation, and why they are there.
pub const SPARE: &[(&str, &str, &str)] = &[
    (
        "wal/replay.rs",
        "repair_tail sync_dir",
        "the next record goes to a new segment, whose own sync of the directory comes before it; this one is for who reads replay alone",
    ),
    (
        "maintenance/directory.rs",
        "open_blocks sync_dir",
        "no block is made by this workload, so the directory stays empty",
    ),
];

/// Is this sync one of [`SPARE`]?
pub fn is_spare(site: &str) -> bool {
    SPARE
        .iter()
        .any(|(file, what, _)| site.starts_with(file) && site.ends_with(what))
}

#[derive(Default)]
struct Watch {
    dropped: Option<Site>,
    reached: BTreeMap<Site, u64>,
    known: HashMap<Vec<*mut c_void>, Site>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Frames of this crate's callers that are looked at.
const FRAMES_MAX: usize = 40;

/// Lets the disk ask about syncs, if this thread watches them.
pub(crate) fn install(disk: &SimulatedDisk) {
    let watched = WATCH.with_borrow(Option::is_some);
    disk.set_hook(watched.then(|| -> storage_engine::io::DiskHook { Box::new(verdict) }));
}

/// Notes where a sync comes from; drops it if it is the chosen one.
pub(crate) fn verdict(operation: &Operation<'_>) -> Verdict {
    let what = match operation {
        Operation::Sync(_) => "sync",
        Operation::SyncDir(_) => "sync_dir",
        _ => return Verdict::Proceed,
    };
    WATCH.with_borrow_mut(|watch| {
        let Some(watch) = watch else {
            return Verdict::Proceed;
        };
        let site = watch.site(what);
        let is_dropped = watch.dropped.as_ref() == Some(&site);
        *watch.reached.entry(site).or_default() += 1;
        match is_dropped {
            true => Verdict::Pretend,
            false => Verdict::Proceed,
        }
    })
}

impl Watch {
    fn site(&mut self, what: &str) -> Site {
        let mut stack = Vec::with_capacity(FRAMES_MAX);
        backtrace::trace(|frame: &Frame| {
            stack.push(frame.ip());
            stack.len() < FRAMES_MAX
        });
        if let Some(site) = self.known.get(&stack) {
            return site.clone();
        }
        let line = stack.iter().find_map(|ip| engine_line(*ip));
        let site = format!("{} {what}", line.unwrap_or_else(|| "unknown".to_owned()));
        self.known.insert(stack, site.clone());
        site
    }
}

/// The line of the engine that an address belongs to; none for the disk itself and the executor.
fn engine_line(ip: *mut c_void) -> Option<String> {
    let mut found = None;
    backtrace::resolve(ip, |symbol| {
        let Some((file, line)) = symbol.filename().zip(symbol.lineno()) else {
            return;
        };
        let file = file.to_string_lossy();
        let Some((_, inside)) = file.split_once("storage-engine/src/") else {
            return;
        };
        let is_passage = inside.starts_with("io/") || inside == "runtime/simulator.rs";
        // Of functions that were inlined, the innermost comes first.
        if !is_passage && found.is_none() {
            let name = symbol
                .name()
                .map(|name| format!("{name:#}"))
                .unwrap_or_default();
            // Behind the path of a generic function stands what it was made for.
            let path = name.split("::<").next().unwrap_or_default();
            let mut parts = path.rsplit("::").filter(|part| !part.starts_with('{'));
            let function = parts.next().unwrap_or_default();
            found = Some(format!("{inside}:{line} {function}"));
        }
    });
    found
}

fn watching<T>(dropped: Option<Site>, body: impl FnOnce() -> T) -> (T, BTreeMap<Site, u64>) {
    WATCH.set(Some(Watch {
        dropped,
        ..Watch::default()
    }));
    let result = body();
    let watch = WATCH.take();
    (result, watch.unwrap_or_default().reached)
}

/// The sites that these seeds reach, with how often.
pub fn reached(seeds: impl Iterator<Item = u64>) -> BTreeMap<Site, u64> {
    let run_all = || {
        for seed in seeds {
            let _ = try_run(seed);
        }
    };
    watching(None, run_all).1
}

/// The first of the seeds that fails without this sync, and with what words.
pub fn caught_by(site: &str, seeds: impl Iterator<Item = u64>) -> Option<(u64, String)> {
    let search = || {
        seeds
            .into_iter()
            .find_map(|seed| try_run(seed).err().map(|failure| (seed, failure.text)))
    };
    watching(Some(site.to_owned()), search).0
}
