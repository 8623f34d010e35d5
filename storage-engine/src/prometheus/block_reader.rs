//! Reads a block directory that Prometheus (or Thanos, Mimir, `promtool`) wrote.
//!
//! Promise: a block whose index cannot be trusted is refused whole; a damaged series or chunk is left out and named, the rest is given. What
//! its tombstones delete is left out. Samples come ascending, one for each time.

use super::INDEX_FILE;
use super::chunk_files::{CHUNKS_DIR, ChunkFiles};
use super::cutting::decode_chunk;
use super::index_reader::{Index, IndexError, PrometheusSeries};
use super::meta::{META_FILE, PrometheusMeta};
use super::order::{order, remove};
use super::tombstones_file::{self, Deleted, TOMBSTONES_FILE};
use crate::io::Disk;
use crate::model::SeriesSamples;
use std::io;
use std::path::Path;

/// Why a block cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusReadError {
    /// A file cannot be had.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// The index cannot be trusted.
    #[error("{path}: {cause}")]
    Index {
        /// The index.
        path: String,
        /// What is wrong.
        cause: IndexError,
    },
}

/// An open block.
pub struct PrometheusBlock {
    meta: PrometheusMeta,
    index: Index,
    chunks: ChunkFiles,
    deleted: Deleted,
}

impl PrometheusBlock {
    /// Opens the block in directory `dir`.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<PrometheusBlock, PrometheusReadError> {
        let failed = |path: &Path, cause: String| PrometheusReadError::File {
            path: path.display().to_string(),
            cause,
        };
        let path = dir.join(META_FILE);
        let bytes = disk.map(&path).map_err(|e| failed(&path, e.to_string()))?;
        let meta = PrometheusMeta::from_json(&bytes).map_err(|cause| failed(&path, cause))?;
        let path = dir.join(INDEX_FILE);
        let bytes = disk.map(&path).map_err(|e| failed(&path, e.to_string()))?;
        let index = Index::open(bytes).map_err(|cause| PrometheusReadError::Index {
            path: path.display().to_string(),
            cause,
        })?;
        let chunks = ChunkFiles::open(disk, &dir.join(CHUNKS_DIR));
        let chunks = chunks.map_err(|(path, cause)| failed(&path, cause))?;
        let path = dir.join(TOMBSTONES_FILE);
        let deleted = match disk.map(&path) {
            Ok(bytes) => tombstones_file::parse(&bytes).map_err(|cause| failed(&path, cause))?,
            // A block that came from object storage may have none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Deleted::new(),
            Err(error) => return Err(failed(&path, error.to_string())),
        };
        Ok(PrometheusBlock {
            meta,
            index,
            chunks,
            deleted,
        })
    }

    /// What the block says about itself.
    pub fn meta(&self) -> &PrometheusMeta {
        &self.meta
    }

    /// Bytes of index and chunks.
    pub fn bytes(&self) -> u64 {
        self.index.bytes() + self.chunks.bytes()
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> &ChunkFiles {
        &self.chunks
    }

    /// Number of series.
    pub fn series_count(&self) -> usize {
        self.index.all().len()
    }

    /// All series, ascending by labels.
    pub fn series(&self) -> impl Iterator<Item = Result<PrometheusSeries, IndexError>> + '_ {
        let all = self.index.all().iter();
        all.map(|&reference| self.index.series(reference))
    }

    /// Puts the samples of a series into `out`, which is emptied before. What is damaged is left out and told to `damage`.
    pub fn read(
        &self,
        series: &PrometheusSeries,
        out: &mut SeriesSamples,
        damage: &mut dyn FnMut(String),
    ) {
        out.clear();
        for chunk in &series.chunks {
            let read = self.read_chunk(chunk.reference, out);
            if let Err(text) = read {
                damage(format!("{}: {text}", series.labels));
            }
        }
        order(out);
        if let Some(ranges) = self.deleted.get(&series.reference) {
            remove(ranges, out);
        }
    }

    fn read_chunk(&self, reference: u64, out: &mut SeriesSamples) -> Result<(), String> {
        let (encoding, data) = self.chunks.get(reference).map_err(|e| e.to_string())?;
        decode_chunk(encoding, data, out)
    }
}
