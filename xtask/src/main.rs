//! `cargo xtask <chore>`.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use anyhow::{Result, bail};
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {
            let faults = xtask::tidy::check(&root)?;
            faults.iter().for_each(|f| println!("{f}"));
            println!("{} faults", faults.len());
            Ok(if faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        other => bail!("usage: cargo xtask tidy (got {other:?})"),
    }
}
