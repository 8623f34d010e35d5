//! File patterns of `file_sd_configs`: `*` and `?` in the last path element only.

use std::io;
use std::path::{Path, PathBuf};

/// The files that match, in order of name. A pattern without wildcard names itself when it exists.
pub(super) fn matching_files(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = pattern.file_name().and_then(|n| n.to_str()) else {
        return Ok(Vec::new());
    };
    if !name.contains(['*', '?']) {
        return Ok(if pattern.exists() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        });
    }
    let folder = parent(pattern);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let file_name = entry?.file_name();
        if let Some(text) = file_name.to_str()
            && matches(name.as_bytes(), text.as_bytes())
        {
            // Joined to the pattern's own folder, so that `__meta_filepath` shows the path as configured.
            found.push(pattern.with_file_name(&file_name));
        }
    }
    found.sort();
    Ok(found)
}

/// The folder to watch for a pattern.
pub(super) fn parent(pattern: &Path) -> &Path {
    match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Iterative wildcard matching: linear in practice, quadratic at worst.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if c == byte || *c == b'?' => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.yml", false),
            ("a*b*c", "a__b__b_c", true),
            ("a*b*c", "a__b__b_", false),
            ("?.yml", "x.yml", true),
            ("?.yml", "xy.yml", false),
            ("*", "anything", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
