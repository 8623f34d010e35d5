//! The files of the UI as the build of `gateway/ui` left them, with what HTTP has to say about each.
//!
//! Promise: a file is compressed at most once in the life of the process. Not here: answering (`ui`).

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::{LazyLock, OnceLock};

/// Path below the root of the UI, hash of the content, content.
type Row = (&'static str, &'static str, &'static [u8]);
const ROWS: &[Row] = include!("../../ui/dist/files.rs");
/// Below this, compressing wins nothing.
const PACKED_BYTES_MIN: usize = 1024;

/// One file.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) hash: &'static str,
    pub(super) content: &'static [u8],
    packed: OnceLock<Option<Vec<u8>>>,
}

pub(super) static FILES: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let assets = ROWS.iter().map(|(path, hash, content)| Asset {
        path,
        hash,
        content,
        packed: OnceLock::new(),
    });
    assets.collect()
});

impl Asset {
    /// The content with gzip, where that is smaller.
    pub(super) fn packed(&'static self) -> Option<&'static [u8]> {
        let packed = self.packed.get_or_init(|| {
            if self.content.len() < PACKED_BYTES_MIN {
                return None;
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(self.content).ok()?;
            encoder
                .finish()
                .ok()
                .filter(|packed| packed.len() < self.content.len())
        });
        packed.as_deref()
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or("") {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }

    /// Does the name end in the build's hash, `name-XXXXXXXX.js`? Then another content has another name.
    pub(super) fn is_named_by_content(&self) -> bool {
        let stem = self.path.rsplit_once('.').map_or("", |(stem, _)| stem);
        let hash = stem.rsplit_once('/').map_or("", |(_, name)| name);
        hash.len() > 9
            && hash.as_bytes()[hash.len() - 9] == b'-'
            && (self.path.ends_with(".js") || self.path.ends_with(".css"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn packed_files_unpack_to_what_they_were() {
        let mut packed_count = 0;
        for asset in FILES.iter() {
            assert_ne!(
                asset.content_type(),
                "application/octet-stream",
                "{}",
                asset.path
            );
            assert_eq!(asset.hash.len(), 16);
            let Some(packed) = asset.packed() else {
                continue;
            };
            packed_count += 1;
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(packed)
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == asset.content, "{}", asset.path);
        }
        assert!(packed_count >= 3, "script, style sheet, licences");
    }

    #[test]
    fn scripts_and_styles_are_named_by_their_content() {
        for asset in FILES.iter() {
            let hashed = asset.path.ends_with(".js") || asset.path.ends_with(".css");
            assert_eq!(asset.is_named_by_content(), hashed, "{}", asset.path);
        }
    }
}
