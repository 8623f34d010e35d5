//! The language tests: Prometheus's own corpus where its directory is at hand, and ours always, over 1, 2 and 7 shards and over a running store.
//!
//! `FERULA_PROMQL_TESTDATA` names the directory of the corpus (default `../shared/promql/testdata` beside the workspace).
//! `FERULA_PROMQL_FILE` runs only files whose name contains it; `FERULA_PROMQL_VERBOSE=1` names each case that was not covered.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the counts per file are the test's product; a file that cannot be read ends it"
)]

mod hosts;

use ferula_query_engine::testlang::{
    CaseOutcome, Command, EvalTime, FileReport, Script, TestHost, run_script,
};
use hosts::{BlockStore, EngineHost, LocalStore, RunningStore, grammar};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the upstream corpus, if it is there; otherwise says that it is not.
fn upstream() -> Option<PathBuf> {
    let dir = match std::env::var_os("FERULA_PROMQL_TESTDATA") {
        Some(dir) => PathBuf::from(dir),
        None => manifest_dir().join("../../shared/promql/testdata"),
    };
    if dir.is_dir() {
        return Some(dir);
    }
    // Past the harness's capture, so that a skip is seen although the test passes.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no upstream corpus in {}",
        dir.display()
    );
    None
}

fn own() -> PathBuf {
    manifest_dir().join("testdata")
}

fn scripts(dir: &Path) -> Vec<(String, Script)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "test"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no .test file in {}", dir.display());
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let script = Script::parse(&std::fs::read_to_string(path).unwrap());
        let script = script.unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, script)
    };
    paths.iter().map(read).collect()
}

/// Instant and range cases of each upstream file, counted with Prometheus's own reader.
const CASES: [(&str, usize, usize); 21] = [
    ("aggregators", 153, 7),
    ("at_modifier", 63, 15),
    ("collision", 2, 0),
    ("duration_expression", 30, 29),
    ("extended_vectors", 162, 7),
    ("fill-modifier", 39, 7),
    ("functions", 394, 37),
    ("histograms", 185, 0),
    ("info", 4, 49),
    ("limit", 13, 24),
    ("literals", 25, 0),
    ("name_label_dropping", 29, 1),
    ("native_histograms", 502, 20),
    ("operators", 113, 101),
    ("range_queries", 5, 13),
    ("selectors", 31, 0),
    ("staleness", 17, 0),
    ("start_timestamps", 7, 19),
    ("subquery", 34, 0),
    ("trig_functions", 19, 0),
    ("type_and_unit", 58, 0),
];

/// How many cases of each upstream file pass, and how many need what is not there; fewer or more is a change that must be looked at.
const REACHED: [(&str, usize, usize); 16] = [
    ("aggregators", 160, 0),
    ("at_modifier", 78, 0),
    ("collision", 2, 0),
    ("duration_expression", 59, 0),
    ("extended_vectors", 169, 0),
    ("fill-modifier", 46, 0),
    ("functions", 431, 0),
    ("histograms", 185, 0),
    ("info", 53, 0),
    ("limit", 37, 0),
    ("literals", 25, 0),
    ("name_label_dropping", 30, 0),
    ("native_histograms", 522, 0),
    ("operators", 214, 0),
    ("staleness", 17, 0),
    ("start_timestamps", 26, 0),
];

#[test]
fn scripts_are_read_as_upstream_reads_them() {
    let Some(dir) = upstream() else { return };
    for (name, script) in scripts(&dir) {
        let (mut instant, mut range) = (0, 0);
        for command in &script.commands {
            if let Command::Eval(case) = command {
                match case.time {
                    EvalTime::Instant(_) => instant += 1,
                    EvalTime::Range { .. } => range += 1,
                }
            }
        }
        if let Some((_, i, r)) = CASES.iter().find(|(n, ..)| *n == name) {
            assert_eq!((instant, range), (*i, *r), "{name}");
        }
    }
}

/// Runs the files of a directory, prints a line for each and a total, and the first line of every failure.
fn run_all(dir: &Path, title: &str, host: &mut dyn TestHost) -> Vec<(String, FileReport)> {
    let only = std::env::var("FERULA_PROMQL_FILE").unwrap_or_default();
    let verbose = std::env::var_os("FERULA_PROMQL_VERBOSE").is_some();
    let (mut passed, mut apart, mut total) = (0, 0, 0);
    let mut reports = Vec::new();
    for (name, script) in scripts(dir) {
        if !name.contains(&only) {
            continue;
        }
        let report = run_script(&script, host, grammar()).unwrap_or_else(|e| panic!("{name}: {e}"));
        println!(
            "{name} {}/{}{}",
            report.passed(),
            report.cases.len(),
            reasons(&report)
        );
        for (case, why) in report.failures() {
            println!("  FAILED {name}:{} {}\n    {why}", case.line, case.expr);
        }
        for case in &report.cases {
            if let CaseOutcome::NotCovered(reason) = case.outcome
                && verbose
            {
                println!(
                    "  not covered, {reason}: {name}:{} {}",
                    case.line, case.expr
                );
            }
        }
        passed += report.passed();
        apart += report.not_covered();
        total += report.cases.len();
        reports.push((name, report));
    }
    println!("{title}: {passed}/{total} ({apart} not covered)");
    reports
}

/// What was not covered and why, as `; not covered: 3 info()`.
fn reasons(report: &FileReport) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &report.cases {
        if let CaseOutcome::NotCovered(reason) = case.outcome {
            *counts.entry(reason).or_default() += 1;
        }
    }
    let counts: Vec<String> = counts.iter().map(|(r, n)| format!("{n} {r}")).collect();
    match counts.is_empty() {
        true => String::new(),
        false => format!("; not covered: {}", counts.join(", ")),
    }
}

fn check_upstream(title: &str, host: &mut dyn TestHost) {
    let Some(dir) = upstream() else { return };
    let keeps_starts = host.keeps_starts();
    let reports = run_all(&dir, title, host);
    let mut changed = Vec::new();
    for (name, report) in &reports {
        if let Some((_, passed, apart)) = REACHED.iter().find(|(n, ..)| n == name) {
            let found = (report.passed(), report.not_covered());
            let expected = match name.as_str() {
                // What needs start timestamps needs a store that keeps them.
                "start_timestamps" if !keeps_starts => (*apart, *passed),
                _ => (*passed, *apart),
            };
            if found != expected {
                changed.push(format!("{name}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn upstream_corpus_over_one_shard() {
    let mut host = EngineHost::new(LocalStore::new(1));
    check_upstream("upstream, shards: 1", &mut host);
}

#[test]
fn upstream_corpus_over_two_shards() {
    let mut host = EngineHost::new(LocalStore::new(2));
    check_upstream("upstream, shards: 2", &mut host);
}

#[test]
fn upstream_corpus_over_seven_shards() {
    let mut host = EngineHost::new(LocalStore::new(7));
    check_upstream("upstream, shards: 7", &mut host);
}

fn check_own(title: &str, host: &mut dyn TestHost) {
    for (name, report) in run_all(&own(), title, host) {
        let failures: Vec<_> = report.failures().map(|(c, why)| (c.line, why)).collect();
        assert!(failures.is_empty(), "{name}: {failures:#?}");
        assert!(report.passed() >= 10, "{name}: {}", report.passed());
        assert_eq!(report.not_covered(), 0, "{name}");
    }
}

#[test]
fn our_own_scripts_over_local_shards() {
    for shards in [1, 2, 7] {
        let mut host = EngineHost::new(LocalStore::new(shards));
        check_own(&format!("own, {shards} shards"), &mut host);
    }
}

#[test]
fn our_own_scripts_over_a_running_store() {
    let mut host = EngineHost::new(RunningStore::new(2));
    check_own("own, running store", &mut host);
}

#[test]
fn our_own_scripts_over_blocks() {
    for shards in [1, 2, 7] {
        let mut host = EngineHost::new(BlockStore::new(shards));
        check_own(&format!("own, blocks, {shards} shards"), &mut host);
    }
}

#[test]
fn upstream_corpus_over_blocks_of_one_shard() {
    let mut host = EngineHost::new(BlockStore::new(1));
    check_upstream("upstream, blocks, shards: 1", &mut host);
}

#[test]
fn upstream_corpus_over_blocks_of_two_shards() {
    let mut host = EngineHost::new(BlockStore::new(2));
    check_upstream("upstream, blocks, shards: 2", &mut host);
}

#[test]
fn upstream_corpus_over_blocks_of_seven_shards() {
    let mut host = EngineHost::new(BlockStore::new(7));
    check_upstream("upstream, blocks, shards: 7", &mut host);
}

#[test]
fn upstream_corpus_over_a_running_store_of_one_shard() {
    let mut host = EngineHost::new(RunningStore::new(1));
    check_upstream("upstream, running store, shards: 1", &mut host);
}

#[test]
fn upstream_corpus_over_a_running_store_of_two_shards() {
    let mut host = EngineHost::new(RunningStore::new(2));
    check_upstream("upstream, running store, shards: 2", &mut host);
}

#[test]
fn upstream_corpus_over_a_running_store_of_seven_shards() {
    let mut host = EngineHost::new(RunningStore::new(7));
    check_upstream("upstream, running store, shards: 7", &mut host);
}
