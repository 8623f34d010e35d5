//! `ferula check web-config FILE…`: whether files would be taken, as `promtool check web-config` says it.

use super::check;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Checks every file; the exit code is 1 when one is bad and 2 when none is named.
pub fn run(files: impl Iterator<Item = String>) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut complaints = std::io::stderr().lock();
    let (mut checked, mut bad) = (0, 0);
    for file in files {
        checked += 1;
        match check(Path::new(&file)) {
            Ok(warnings) => {
                for warning in warnings {
                    let _ = writeln!(complaints, "{file} WARNING: {warning}");
                }
                let _ = writeln!(out, "{file} SUCCESS");
            }
            Err(error) => {
                bad += 1;
                let _ = writeln!(complaints, "{file} FAILED: {error}");
            }
        }
    }
    match (checked, bad) {
        (0, _) => {
            let _ = writeln!(
                complaints,
                "ferula: error: required argument 'web-config-files' not provided, try --help"
            );
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
