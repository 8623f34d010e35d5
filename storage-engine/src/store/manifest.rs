//! `ferula.json`: what is fixed about a data directory when it is made.
//!
//! Promise: replaced as a whole or not at all; a version that is newer than this program is refused.

use super::OpenError;
use crate::io::{Access, Disk, random_bytes, write_atomically};
use crate::limits::SHARDS_MAX;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Version of the directory's layout.
const FORMAT_VERSION: u32 = 1;
const FILE_NAME: &str = "ferula.json";
/// A larger file is not a manifest.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format_version: u32,
    shard_count: usize,
    store_id: String,
}

/// What is fixed about a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Number of shards.
    pub(super) shard_count: usize,
    /// Identity of the store; binds its log's records.
    pub(super) store_id: [u8; 16],
}

impl Manifest {
    /// Is there one in `dir`?
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join(FILE_NAME).exists()
    }

    /// Reads the manifest of `dir`, which must be there.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Result<Manifest, OpenError> {
        let path = dir.join(FILE_NAME);
        let io_error = |operation: &'static str| {
            let path = path.display().to_string();
            move |error: io::Error| OpenError::Io {
                operation,
                path,
                cause: error.to_string(),
            }
        };
        let file = disk
            .open(&path, Access::Buffered)
            .map_err(io_error("open"))?;
        let bytes = file.size().map_err(io_error("read"))?.min(FILE_BYTES_MAX);
        let mut content = vec![0; bytes as usize];
        let read = file.read_at(0, &mut content).map_err(io_error("read"))?;
        parse(&content[..read]).map_err(|cause| OpenError::Manifest {
            path: path.display().to_string(),
            cause,
        })
    }

    /// Reads the manifest of `dir`, or makes one for `shard_count` shards.
    pub(super) fn load_or_create(
        disk: &dyn Disk,
        dir: &Path,
        shard_count: usize,
    ) -> Result<Manifest, OpenError> {
        let path = dir.join(FILE_NAME);
        match disk.open(&path, Access::Buffered) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Manifest::create(disk, dir, shard_count);
            }
            // Any other error comes again.
            _ => {}
        }
        let manifest = Manifest::load(disk, dir)?;
        if manifest.shard_count != shard_count {
            tracing::info!(
                kept = manifest.shard_count,
                asked = shard_count,
                "the data directory keeps the number of shards that it was made with"
            );
        }
        Ok(manifest)
    }

    fn create(disk: &dyn Disk, dir: &Path, shard_count: usize) -> Result<Manifest, OpenError> {
        let path = dir.join(FILE_NAME);
        let io_error = |error: io::Error| OpenError::Io {
            operation: "write",
            path: path.display().to_string(),
            cause: error.to_string(),
        };
        // A log without a manifest cannot be read, and a new identity would make it worthless.
        let names = disk.list(dir).map_err(io_error)?;
        if names.iter().any(|name| name.starts_with("shard-")) {
            return Err(OpenError::Manifest {
                path: path.display().to_string(),
                cause: "it is missing, but the directory holds shards; restore it".to_owned(),
            });
        }
        Manifest::write_new(disk, &path, shard_count).map_err(io_error)
    }

    /// Writes a manifest with a new identity for `shard_count` shards into `dir`, whatever is there.
    pub(super) fn write_for_snapshot(
        disk: &dyn Disk,
        dir: &Path,
        shard_count: usize,
    ) -> io::Result<()> {
        Manifest::write_new(disk, &dir.join(FILE_NAME), shard_count).map(drop)
    }

    fn write_new(disk: &dyn Disk, path: &Path, shard_count: usize) -> io::Result<Manifest> {
        let store_id: [u8; 16] = random_bytes()?;
        let document = Document {
            format_version: FORMAT_VERSION,
            shard_count,
            store_id: format!("{:032x}", u128::from_be_bytes(store_id)),
        };
        let mut text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
        text.push(b'\n');
        write_atomically(disk, path, &text)?;
        Ok(Manifest {
            shard_count,
            store_id,
        })
    }
}

fn parse(content: &[u8]) -> Result<Manifest, String> {
    let document: Document = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    if document.format_version > FORMAT_VERSION {
        return Err(format!(
            "format version {} is newer than this program's {FORMAT_VERSION}",
            document.format_version
        ));
    }
    if document.shard_count == 0 || document.shard_count > SHARDS_MAX {
        return Err(format!("{} shards", document.shard_count));
    }
    let well_formed = document.store_id.len() == 32;
    match u128::from_str_radix(&document.store_id, 16) {
        Ok(id) if well_formed => Ok(Manifest {
            shard_count: document.shard_count,
            store_id: id.to_be_bytes(),
        }),
        _ => Err(format!(
            "store_id {:?} is not 32 hexadecimal digits",
            document.store_id
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimulatedDisk;

    #[test]
    fn keeps_what_it_was_made_with() {
        let disk = SimulatedDisk::new();
        let dir = Path::new("/data");
        disk.create_dir_all(dir).unwrap();
        let made = Manifest::load_or_create(&disk, dir, 4).unwrap();
        assert_eq!(Manifest::load_or_create(&disk, dir, 2).unwrap(), made);
        let path = dir.join(FILE_NAME);
        for (content, wanted) in [
            (
                r#"{"format_version":2,"shard_count":1,"store_id":""}"#,
                "newer",
            ),
            (
                r#"{"format_version":1,"shard_count":0,"store_id":""}"#,
                "0 shards",
            ),
            (
                r#"{"format_version":1,"shard_count":1,"store_id":"12"}"#,
                "hexadecimal",
            ),
            ("{", "EOF"),
        ] {
            disk.damage(&path, content.as_bytes().to_vec());
            let error = Manifest::load_or_create(&disk, dir, 1)
                .unwrap_err()
                .to_string();
            assert!(error.contains(wanted), "{error}");
        }
        disk.remove(&path).unwrap();
        disk.create(&dir.join("shard-000"), Access::Buffered)
            .unwrap();
        let error = Manifest::load_or_create(&disk, dir, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
