//! Rule files by their patterns: read, checked, and refused as a whole when one of them is wrong.

use crate::config::schema::rules::read;
use crate::limits::CONFIG_FILE_BYTES_MAX;
use ::rules::file::{GroupSpec, Names, RuleFile, check};
use query_engine::parse::ParserOptions;
use std::path::{Path, PathBuf};

/// Files that passed all checks, in order.
#[derive(Debug, Clone, Default)]
pub struct LoadedRules {
    files: Vec<(String, RuleFile)>,
}

impl LoadedRules {
    /// All groups with their files' names.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &GroupSpec)> {
        self.files
            .iter()
            .flat_map(|(name, file)| file.groups.iter().map(move |g| (name.as_str(), g)))
    }
}

/// Files that these patterns mean; a pattern without a match means none.
pub fn expand_globs<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for pattern in patterns {
        for file in crate::config::expand(Path::new(pattern)) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

/// Reads and checks files; the error is one line for each thing that is wrong.
pub fn load(
    files: &[PathBuf],
    parser: &ParserOptions,
    names: Names,
) -> Result<LoadedRules, Vec<String>> {
    let mut faults = Vec::new();
    let mut loaded = LoadedRules::default();
    for path in files {
        let name = path.display().to_string();
        match read_file(path).and_then(|text| check_text(&text, parser, names)) {
            Ok(file) => loaded.files.push((name, file)),
            Err(of_file) => faults.extend(of_file.into_iter().map(|f| format!("{name}: {f}"))),
        }
    }
    match faults.is_empty() {
        true => Ok(loaded),
        false => Err(faults),
    }
}

fn read_file(path: &Path) -> Result<String, Vec<String>> {
    let refuse = |reason: String| vec![format!("open {}: {reason}", path.display())];
    let meta = std::fs::metadata(path).map_err(|e| refuse(crate::config::io_reason(&e)))?;
    if meta.len() > CONFIG_FILE_BYTES_MAX {
        return Err(refuse(format!("longer than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| refuse(crate::config::io_reason(&e)))
}

/// The groups of a text, or everything that is wrong with it.
pub fn check_text(
    text: &str,
    parser: &ParserOptions,
    names: Names,
) -> Result<RuleFile, Vec<String>> {
    let file = read(text).map_err(|problem| {
        let place = problem.place;
        vec![format!(
            "{}:{}: yaml: unmarshal errors: {}",
            place.line, place.column, problem.reason
        )]
    })?;
    let faults = check(&file, parser, names);
    match faults.is_empty() {
        true => Ok(file),
        false => Err(faults),
    }
}
