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

/// Syncs that the seeds of the test do not miss, because what follows makes them needless or because a test of its own watches them: file,
/// function and operation, and why they are there.
pub const SPARE: &[(&str, &str, &str)] = &[
    (
        "wal/replay.rs",
        "repair_tail sync_dir",
        "the last one: the next record goes to a new segment, whose own sync of the directory comes before it; this one is for who reads \
         replay alone. The one before anything is cut: seeds rarely need it, storage-engine/tests/wal_crash.rs does",
    ),
    (
        "checkpoint/take.rs",
        "take_checkpoint sync_dir",
        "nothing is given up for a checkpoint before `give_up_old` has synced the same directory; until then the one before it and the log \
         behind that bring everything back",
    ),
    (
        "checkpoint/take.rs",
        "give_up_old sync_dir",
        "the new checkpoint has its name already; an older one that comes back is not read while a newer one is sound, a file of pages \
         that comes back is needed by nobody, and both go with the next checkpoint",
    ),
    (
        "maintenance/directory.rs",
        "open_blocks sync_dir",
        "that of the parents: the replay syncs the same directories before anything is stored. That of the directory: seeds rarely need \
         it, storage-engine/tests/maintenance_crash.rs does",
    ),
    (
        "maintenance/directory.rs",
        "remove_block sync_dir",
        "seeds rarely need it; a test beside it does",
    ),
    (
        "wal/writer.rs",
        "release_before sync_dir",
        "a segment whose name comes back only takes room until the next time; one that is written again gets its name with a sync of its own",
    ),
    (
        "maintenance/keeper.rs",
        "remove_files sync_dir",
        "the removal of the block is durable by then; that of its file of deletions is done again by the next start",
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
            let path = without_parameters(&name);
            let is_name = |part: &&str| !part.is_empty() && !part.starts_with('{');
            let mut parts = path.rsplit("::").filter(is_name);
            // The bodies of asynchronous functions have no names of their own.
            let of_source = || function_at(inside, line).unwrap_or_default();
            let function = parts.next().unwrap_or_else(of_source);
            found = Some(format!("{inside}:{line} {function}"));
        }
    });
    found
}

/// Sources with asynchronous functions that sync.
const SOURCES: [(&str, &str); 3] = [
    (
        "checkpoint/take.rs",
        include_str!("../../src/checkpoint/take.rs"),
    ),
    (
        "maintenance/keeper.rs",
        include_str!("../../src/maintenance/keeper.rs"),
    ),
    ("wal/writer.rs", include_str!("../../src/wal/writer.rs")),
];

/// The function whose body a line belongs to.
fn function_at(file: &str, line: u32) -> Option<&'static str> {
    let (_, source) = SOURCES.iter().find(|(name, _)| *name == file)?;
    let before: Vec<&str> = source.lines().take(line as usize).collect();
    let named = before.iter().rev().find_map(|line| line.split_once("fn "));
    named.and_then(|(_, rest)| rest.split(['(', '<']).next())
}

/// A function's path without what it was made for.
fn without_parameters(name: &str) -> String {
    let mut depth = 0_u32;
    let mut outside = |c: &char| {
        depth += u32::from(*c == '<');
        let is_outside = depth == 0;
        depth = depth.saturating_sub(u32::from(*c == '>'));
        is_outside
    };
    name.chars().filter(|c| outside(c)).collect()
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
