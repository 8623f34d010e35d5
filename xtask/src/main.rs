//! `cargo xtask <chore>`.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use anyhow::{Result, bail};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | sim [--seed N] [--runs N] [--threads N] [--aloud 1] \
    | sim-enumerate [--seed N] [--runs N] | sim-mutants [--runs N] [--reach N] | wal-sweep [--every N]";

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let passed = match arguments.first().map(String::as_str) {
        Some("tidy") => {
            let faults = xtask::tidy::check(&root)?;
            faults.iter().for_each(|f| println!("{f}"));
            println!("{} faults", faults.len());
            faults.is_empty()
        }
        Some("sim-mutants") => xtask::simulate::mutants(&arguments[1..])?,
        Some("wal-sweep") => xtask::simulate::wal_sweep(&arguments[1..])?,
        Some("sim-enumerate") => xtask::simulate::enumerate(&arguments[1..])?,
        Some("sim") => xtask::simulate::seeds(&root, &arguments[1..])?,
        other => bail!("{USAGE} (got {other:?})"),
    };
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
