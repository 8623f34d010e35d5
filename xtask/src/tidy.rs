//! House rules: what every file must and must not have.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Largest file that may be committed, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Folders that are not ours to check.
const SKIPPED: [&str; 4] = ["target", ".git", "data", "node_modules"];
/// Folder of built files: of them only the size matters here, `gateway/ui/check` holds them against their sources.
const BUILT: &str = "dist";
/// Words that say "not finished", put together here so that this file does not contain them.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("#[ig", "nore"),
];

/// Every fault as `path: what`.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(root)? {
        let shown = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = path.metadata().with_context(|| shown.clone())?.len();
        if bytes > FILE_BYTES_MAX {
            faults.push(format!(
                "{shown}: {bytes} bytes, more than {FILE_BYTES_MAX}"
            ));
        }
        let is_built = path.components().any(|part| part.as_os_str() == BUILT);
        if path.extension().is_some_and(|e| e == "rs") && !is_built {
            let text = std::fs::read_to_string(&path).with_context(|| shown.clone())?;
            faults.extend(
                source_faults(&text)
                    .into_iter()
                    .map(|f| format!("{shown}: {f}")),
            );
        }
        if path.file_name().is_some_and(|n| n == "format.rs") {
            let page = path
                .parent()
                .and_then(Path::file_name)
                .map(|noun| root.join("docs/format").join(noun).with_extension("md"));
            if !page.is_some_and(|p| p.exists()) {
                faults.push(format!("{shown}: no page in docs/format describes it"));
            }
        }
    }
    Ok(faults)
}

fn source_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let first = text
        .lines()
        .find(|l| !l.trim().is_empty() && !l.starts_with("#!["));
    if !first.is_some_and(|l| l.starts_with("//!")) {
        faults.push("does not open with a paragraph (//!) on what it is for".to_owned());
    }
    for mark in UNFINISHED {
        if text.contains(mark) {
            faults.push(format!("contains {mark}"));
        }
    }
    faults
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(folder) = stack.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            if path.is_symlink() || name.is_some_and(|n| SKIPPED.contains(&n.as_str())) {
                continue;
            }
            if path.is_dir() {
                stack.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let faults = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn faults_are_seen() {
        assert_eq!(
            source_faults("//! Fine.\nfn main() {}\n"),
            Vec::<String>::new()
        );
        assert_eq!(source_faults("fn main() {}\n").len(), 1);
        assert_eq!(
            source_faults(&format!("//! x\n{}\n", UNFINISHED[2])).len(),
            1
        );
    }
}
