//! Writes a block directory that Prometheus opens: `<ULID>/{meta.json,index,chunks/000001,tombstones}`.
//!
//! Promise: the directory appears whole and durable under its name, or not at all; until then it is `<ULID>.tmp-for-creation`, which
//! Prometheus removes at its start. Not here: which series and samples go in.

use super::chunk_files::{CHUNKS_DIR, ChunkFilesWriter};
use super::cutting::{Encoding, encode_series};
use super::index_writer::{ChunkMeta, IndexWriter};
use super::meta::{META_FILE, PrometheusMeta};
use super::output::Output;
use super::tombstones_file::{TOMBSTONES_FILE, empty_file};
use super::{INDEX_FILE, TEMPORARY_SUFFIX};
use crate::io::Disk;
use crate::model::{Labels, SeriesSamples};
use std::io;
use std::path::{Path, PathBuf};

/// Why a block cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusWriteError {
    /// The disk refuses.
    #[error("write block {path}: {cause}")]
    Io {
        /// The block's directory.
        path: String,
        /// The system's error.
        cause: io::Error,
    },
}

/// A block that grows.
pub struct PrometheusBlockWriter<'d> {
    disk: &'d dyn Disk,
    parent: PathBuf,
    dir: PathBuf,
    chunks: ChunkFilesWriter<'d>,
    index: IndexWriter,
    meta: PrometheusMeta,
    last: Option<Labels>,
}

impl<'d> PrometheusBlockWriter<'d> {
    /// Begins block `ulid` in the directory `parent`. `symbols`: all names and values of labels that will come, ascending, each once.
    pub fn create(
        disk: &'d dyn Disk,
        parent: &Path,
        ulid: &str,
        symbols: Vec<String>,
    ) -> Result<PrometheusBlockWriter<'d>, PrometheusWriteError> {
        let dir = parent.join(format!("{ulid}{TEMPORARY_SUFFIX}"));
        let error = io_error(&dir);
        disk.create_dir_all(&dir.join(CHUNKS_DIR)).map_err(&error)?;
        let index = IndexWriter::create(disk, &dir.join(INDEX_FILE), symbols).map_err(&error)?;
        Ok(PrometheusBlockWriter {
            disk,
            parent: parent.to_owned(),
            chunks: ChunkFilesWriter::new(disk, dir.join(CHUNKS_DIR)),
            index,
            meta: PrometheusMeta::new(ulid.to_owned()),
            dir,
            last: None,
        })
    }

    /// Adds a series, in strictly ascending order of labels; one without samples is left out.
    pub fn add(
        &mut self,
        labels: &Labels,
        samples: &SeriesSamples,
    ) -> Result<(), PrometheusWriteError> {
        let chunks = encode_series(samples);
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(());
        };
        assert!(
            self.last.as_ref().is_none_or(|last| last < labels),
            "BUG: series are not ascending: {labels}"
        );
        let error = io_error(&self.dir);
        let stats = &mut self.meta.stats;
        // Behind the newest sample; the last millisecond of time has nothing behind it.
        let end = last.max_time.saturating_add(1);
        if stats.num_series == 0 {
            (self.meta.min_time, self.meta.max_time) = (first.min_time, end);
        }
        self.meta.min_time = self.meta.min_time.min(first.min_time);
        self.meta.max_time = self.meta.max_time.max(end);
        stats.num_series += 1;
        let mut metas = Vec::with_capacity(chunks.len());
        for chunk in &chunks {
            stats.num_chunks += 1;
            stats.num_samples += u64::from(chunk.count);
            match chunk.encoding {
                Encoding::Xor => stats.num_float_samples += u64::from(chunk.count),
                _ => stats.num_histogram_samples += u64::from(chunk.count),
            }
            metas.push(ChunkMeta {
                min_time: chunk.min_time,
                max_time: chunk.max_time,
                reference: self.chunks.add(chunk).map_err(&error)?,
            });
        }
        self.index.add(labels, &metas).map_err(&error)?;
        self.last = Some(labels.clone());
        Ok(())
    }

    /// Writes the rest, makes it durable and gives the block its name. `None`: nothing was added, and nothing is left but an empty
    /// temporary directory.
    pub fn finish(self) -> Result<Option<PrometheusMeta>, PrometheusWriteError> {
        let error = io_error(&self.dir);
        let (disk, dir) = (self.disk, &self.dir);
        let write = |name: &str, bytes: &[u8]| {
            let mut out = Output::create(disk, &dir.join(name))?;
            out.write(bytes)?;
            out.finish()
        };
        self.chunks.finish().map_err(&error)?;
        self.index.finish().map_err(&error)?;
        if self.meta.stats.num_series == 0 {
            disk.remove(&dir.join(INDEX_FILE)).map_err(&error)?;
            return Ok(None);
        }
        write(TOMBSTONES_FILE, &empty_file()).map_err(&error)?;
        let json = self.meta.to_json().map_err(io::Error::other);
        write(META_FILE, &json.map_err(&error)?).map_err(&error)?;
        disk.sync_dir(dir).map_err(&error)?;
        let named = self.parent.join(&self.meta.ulid);
        disk.rename(dir, &named).map_err(&error)?;
        disk.sync_dir(&self.parent).map_err(&error)?;
        Ok(Some(self.meta))
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> PrometheusWriteError + use<> {
    let path = path.display().to_string();
    move |cause| PrometheusWriteError::Io {
        path: path.clone(),
        cause,
    }
}
