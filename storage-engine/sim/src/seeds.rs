//! Runs of many seeds, and the list of those that once failed.

use crate::life::{Report, run};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that have failed once. They are run for ever.
pub const KEPT: &str = include_str!("../seeds.txt");

/// A seed and what was wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The panic's words.
    pub text: String,
}

/// The seeds of [`KEPT`]: the first word of each line that is not a comment.
pub fn kept() -> Vec<u64> {
    let lines = KEPT.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

/// Runs one seed; a panic is a failure.
pub fn try_run(seed: u64) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| run(seed))).map_err(|panic| {
        let text = match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => match panic.downcast::<&str>() {
                Ok(text) => (*text).to_owned(),
                Err(_) => "a panic without words".to_owned(),
            },
        };
        Failure { seed, text }
    })
}
