//! The language tests: Prometheus's own corpus where its directory is at hand, and ours always.
//!
//! `FERULA_PROMQL_TESTDATA` names the directory of the corpus (default `../shared/promql/testdata` beside the workspace).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the counts per file are the test's product; a file that cannot be read ends it"
)]

use ferula_query_engine::testlang::{Command, Script};
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The directory of the upstream corpus, if it is there; otherwise says that it is not.
fn upstream() -> Option<PathBuf> {
    let dir = match std::env::var_os("FERULA_PROMQL_TESTDATA") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().join("../shared/promql/testdata"),
    };
    if dir.is_dir() {
        return Some(dir);
    }
    println!("SKIPPED: no upstream corpus in {}", dir.display());
    None
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

/// Instant and range cases of each file, counted with Prometheus's own reader.
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

#[test]
fn scripts_are_read_as_upstream_reads_them() {
    use ferula_query_engine::testlang::EvalTime;
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
        println!("{name}: {instant} instant, {range} range cases");
    }
}

#[test]
fn our_own_scripts_are_read() {
    let own = scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
    for (name, script) in &own {
        let evals = |c: &&Command| matches!(c, Command::Eval(_));
        assert!(script.commands.iter().filter(evals).count() >= 10, "{name}");
    }
}
